// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

/// @notice A node of the tree: a hash and the sums below it.
struct Node {
    bytes32 hash;
    uint128 amount;
    uint128 tokens;
}

/// @notice The siblings that lead from leaf `index` of `count` to the top, bottom first.
struct Proof {
    uint32 index;
    uint32 count;
    Node[] siblings;
}

/// @title The one tree of the protocol: a positional binary Merkle-sum tree
/// @notice A plain tree is the same with zero sums. Positions are part of the hashes, so that an index drawn by chance
/// names exactly one leaf.
library Tree {
    /// @dev The proof has too few or too many siblings, or its index is not below its count.
    error Tree_BadProof();

    /// @notice The node of leaf `index`.
    function leaf(uint32 index, bytes32 digest, uint128 amount, uint128 tokens) internal pure returns (Node memory) {
        return Node(keccak256(abi.encode(uint8(0), index, digest, amount, tokens)), amount, tokens);
    }

    /// @notice The node above two others. Reverts where a sum exceeds 128 bits.
    function parent(Node memory left, Node memory right) internal pure returns (Node memory) {
        bytes32 hash = keccak256(
            abi.encode(uint8(1), left.hash, left.amount, left.tokens, right.hash, right.amount, right.tokens)
        );
        return Node(hash, left.amount + right.amount, left.tokens + right.tokens);
    }

    /// @notice The hash that commits to the number of leaves and to the top.
    function root(uint32 count, Node memory top) internal pure returns (bytes32) {
        return keccak256(abi.encode(uint8(2), count, top.hash, top.amount, top.tokens));
    }

    /// @notice Whether the leaf is the one at `proof.index` of the tree with root `expected`.
    /// @dev Every sibling must be used, so a proof has one form only.
    function verify(Proof memory proof, bytes32 digest, uint128 amount, uint128 tokens, bytes32 expected)
        internal
        pure
        returns (bool)
    {
        if (proof.index >= proof.count) return false;
        Node memory node = leaf(proof.index, digest, amount, tokens);
        uint256 index = proof.index;
        uint256 used = 0;
        for (uint256 width = proof.count; width > 1; width = (width + 1) / 2) {
            // slither-disable-next-line incorrect-exp — the neighbour of an index: exclusive or is meant.
            if ((index ^ 1) < width) {
                if (used == proof.siblings.length) return false;
                Node memory sibling = proof.siblings[used++];
                if (!_fits(node.amount, sibling.amount) || !_fits(node.tokens, sibling.tokens)) return false;
                node = index & 1 == 0 ? parent(node, sibling) : parent(sibling, node);
            }
            index >>= 1;
        }
        return used == proof.siblings.length && root(proof.count, node) == expected;
    }

    /// @notice As `verify`, but reverts.
    function check(Proof memory proof, bytes32 digest, uint128 amount, uint128 tokens, bytes32 expected) internal pure {
        require(verify(proof, digest, amount, tokens, expected), Tree_BadProof());
    }

    function _fits(uint128 a, uint128 b) private pure returns (bool) {
        return uint256(a) + b <= type(uint128).max;
    }
}
