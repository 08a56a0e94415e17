// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

/// @title What the answers to one fingerprint are worth, for one scheme
interface IMatcher {
    /// @notice The coins in answers: each is a hit with chance 1/k for a model that knows nothing of `secret`.
    /// @param parameters What the leaf says besides the scheme's name.
    /// @param replies One for each time the query was sent: `abi.encode(bytes[] pieces)`.
    function count(bytes32 secret, bytes calldata parameters, bytes[] calldata replies)
        external
        pure
        returns (uint32 k, uint16 hits, uint16 coins);
}
