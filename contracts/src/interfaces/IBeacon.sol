// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

/// @title The randomness of an epoch
interface IBeacon {
    /// @notice The seed of an epoch; reverts before it is closed.
    function seed(uint32 epoch) external view returns (bytes32);
}
