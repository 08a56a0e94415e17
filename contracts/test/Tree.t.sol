// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Node, Proof, Tree} from "../src/libraries/Tree.sol";
import {Test} from "./Vm.sol";

contract TreeTest is Test {
    function entry(uint32 i) private pure returns (bytes32 digest, uint128 amount, uint128 tokens) {
        return (keccak256(abi.encode("r", i)), 1_000 * (uint128(i) + 1), 10 * (uint128(i) + 1));
    }

    /// @dev All rows of the golden tree of `count` leaves.
    function rows(uint32 count) private pure returns (Node[][] memory all) {
        all = new Node[][](34);
        all[0] = new Node[](count);
        for (uint32 i = 0; i < count; ++i) {
            (bytes32 digest, uint128 amount, uint128 tokens) = entry(i);
            all[0][i] = Tree.leaf(i, digest, amount, tokens);
        }
        for (uint256 r = 0; all[r].length > 1; ++r) {
            uint256 width = all[r].length;
            all[r + 1] = new Node[]((width + 1) / 2);
            for (uint256 i = 0; i < width; i += 2) {
                all[r + 1][i / 2] = i + 1 < width ? Tree.parent(all[r][i], all[r][i + 1]) : all[r][i];
            }
        }
    }

    function prove(uint32 index, uint32 count) private pure returns (Proof memory proof, bytes32 root) {
        Node[][] memory all = rows(count);
        uint256 used = 0;
        uint256 position = index;
        Node[] memory siblings = new Node[](33);
        uint256 r = 0;
        for (; all[r].length > 1; ++r) {
            if ((position ^ 1) < all[r].length) siblings[used++] = all[r][position ^ 1];
            position >>= 1;
        }
        root = Tree.root(count, all[r][0]);
        proof = Proof(index, count, new Node[](used));
        for (uint256 i = 0; i < used; ++i) {
            proof.siblings[i] = siblings[i];
        }
    }

    /// @dev Golden case 7, and every tree of the shared file.
    function test_RootsAreThoseOfRust() public view {
        string memory json = vm.readFile("test/vectors/tree.json");
        uint256[] memory counts = vm.parseJsonUintArray(json, ".counts");
        bytes32[] memory roots = vm.parseJsonBytes32Array(json, ".roots");
        eq(counts.length, roots.length, "lengths");
        for (uint256 i = 0; i < counts.length; ++i) {
            (, bytes32 root) = prove(0, uint32(counts[i]));
            eq(root, roots[i], "root");
        }
        eq(Tree.root(0, Node(0, 0, 0)), vm.parseJsonBytes32(json, ".empty"), "the empty tree");
        eq(roots[2], 0x100a114f0890c80b18d23d28b718afd33f5a912fd1cde01964fbfe0ae38e7c4e, "golden");
    }

    function test_EveryLeafAndNothingElse(uint32 count, uint32 index, uint32 other) public pure {
        count = uint32(bound(count, 1, 40));
        index = uint32(bound(index, 0, count - 1));
        (Proof memory proof, bytes32 root) = prove(index, count);
        (bytes32 digest, uint128 amount, uint128 tokens) = entry(index);
        holds(Tree.verify(proof, digest, amount, tokens, root), "in the tree");
        holds(!Tree.verify(proof, digest, amount + 1, tokens, root), "another amount");
        holds(!Tree.verify(proof, digest, amount, tokens + 1, root), "other tokens");
        holds(!Tree.verify(proof, bytes32(uint256(digest) + 1), amount, tokens, root), "another digest");
        if (other != index) {
            proof.index = other;
            holds(!Tree.verify(proof, digest, amount, tokens, root), "another place");
            proof.index = index;
        }
        Node[] memory longer = new Node[](proof.siblings.length + 1);
        for (uint256 i = 0; i < proof.siblings.length; ++i) {
            longer[i] = proof.siblings[i];
        }
        Proof memory padded = Proof(index, count, longer);
        holds(!Tree.verify(padded, digest, amount, tokens, root), "one form only");
        if (count > 1) {
            Proof memory empty = Proof(index, count, new Node[](0));
            holds(!Tree.verify(empty, digest, amount, tokens, root), "all siblings");
        }
    }

    function test_SumsDoNotWrap() public {
        Node memory huge = Node("x", type(uint128).max, 0);
        Proof memory proof = Proof(0, 2, new Node[](1));
        proof.siblings[0] = huge;
        holds(!Tree.verify(proof, "d", 1, 0, "root"), "a sum that wraps proves nothing");
        vm.expectRevert();
        this.parent(huge, huge);
        vm.expectRevert(Tree.Tree_BadProof.selector);
        this.check(proof, "root");
    }

    function parent(Node memory a, Node memory b) external pure returns (Node memory) {
        return Tree.parent(a, b);
    }

    function check(Proof memory proof, bytes32 root) external pure {
        Tree.check(proof, "d", 1, 0, root);
    }
}
