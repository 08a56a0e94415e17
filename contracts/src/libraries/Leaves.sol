// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

/// @title What the leaves of a commitment are for, by their places, and what their fingerprints are made of
/// @notice The first quarter shows ownership and is never probed, the next half is for probes, the last quarter traces copies.
library Leaves {
    /// @notice The leaves that show ownership: from `start` on, `size` of them.
    function forOwnership(uint32 count) internal pure returns (uint32 start, uint32 size) {
        return (0, count < 4 ? count : count / 4);
    }

    /// @notice The leaves that are probed.
    function forProbes(uint32 count) internal pure returns (uint32 start, uint32 size) {
        return count < 4 ? (0, count) : (count / 4, count / 2);
    }

    /// @notice The digest of a leaf: query and answer open separately.
    function digest(bytes32 queryHash, bytes32 blinding, bytes memory answerSpec) internal pure returns (bytes32) {
        return keccak256(abi.encode(queryHash, keccak256(abi.encode(blinding, answerSpec))));
    }

    /// @notice The secret that colours answers or picks them; nobody knew it before the Beacon's seed.
    function secret(bytes32 blinding, bytes32 leafRoot, bytes32 seed, uint32 index) internal pure returns (bytes32) {
        return keccak256(abi.encode("loyal/fingerprint/1", blinding, leafRoot, seed, index));
    }
}
