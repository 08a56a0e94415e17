// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Node, Proof, Tree} from "../../src/libraries/Tree.sol";
import {Messages, Receipt} from "../../src/libraries/Messages.sol";
import {CourtWorld} from "../CourtWorld.sol";

/// @notice A host that posts reports of any size, and somebody who tries to open their leaves with whatever there is.
contract TreeHandler is CourtWorld {
    using Messages for Receipt;

    uint256 private constant COUNT_MAX = 40;
    /// The reports whose sums are counted again after each step; all of them are still tried.
    uint256 private constant RECENT = 4;

    uint256 private hostingId;
    uint32[] private epochs;
    mapping(uint32 epoch => Receipt[]) private logged;
    uint256 public opened;

    function prepare() external {
        setUp();
        hostingId = serving(active("first"));
    }

    /// @dev A day's receipts, of amounts that differ.
    function post(uint256 count, uint96 amount) external {
        uint32 epoch = today();
        count = bound(count, 0, COUNT_MAX);
        Receipt[] storage receipts = logged[epoch];
        for (uint32 i = 0; i < count; ++i) {
            receipts.push(receiptOf(hostingId, i, 2_000 + uint128(amount) % (1_000 * (i + 1))));
        }
        skip(1 days);
        postTree(hostingId, epoch, treeOf(receipts));
        epochs.push(epoch);
    }

    /// @dev Any leaf with any proof: only the one that is there opens, by its own proof, with its own sums.
    function open(uint256 day, uint256 leaf, uint256 other, uint256 what) external {
        if (epochs.length == 0) return;
        uint32 epoch = epochs[day % epochs.length];
        Receipt[] memory receipts = logged[epoch];
        if (receipts.length == 0) return;
        uint32 index = uint32(leaf % receipts.length);
        Node[] memory nodes = treeOf(receipts);
        Proof memory proof = proofOf(nodes, index);
        Receipt memory receipt = receipts[index];
        bytes32 root = gate.reportOf(hostingId, epoch).root;
        holds(opens(proof, receipt, root), "the leaf that is there");
        ++opened;
        what %= 7;
        if (what == 0) receipt.requestHash = bytes32(other);
        if (what == 1) receipt.amount += uint128(bound(other, 1, 1e12));
        if (what == 2) receipt.tokensOut += uint32(bound(other, 1, 1_000));
        if (what == 3) receipt = receipts[(index + 1) % receipts.length];
        if (what == 4) proof.index = uint32(other % (receipts.length + 1));
        if (what == 5) proof.count = uint32(bound(other, 0, 2 * COUNT_MAX));
        if (what == 6 && proof.siblings.length != 0) {
            proof.siblings[other % proof.siblings.length].amount += 1;
        }
        bool same = proof.index == index && proof.count == receipts.length
            && digestOf(receipt) == digestOf(receipts[index]) && (what != 6 || proof.siblings.length == 0);
        holds(same || !opens(proof, receipt, root), "and no other");
    }

    function opens(Proof memory proof, Receipt memory receipt, bytes32 root) private view returns (bool) {
        uint128 tokens = uint128(receipt.tokensIn) + receipt.tokensOut;
        return Tree.verify(proof, digestOf(receipt), receipt.amount, tokens, root);
    }

    function digestOf(Receipt memory receipt) private view returns (bytes32) {
        return registry.digest(receipt.hash());
    }

    /// @dev Invariant 11: the totals that the gate counts are the sums of the leaves.
    function totalsAreSums() external view {
        uint256 from = epochs.length > RECENT ? epochs.length - RECENT : 0;
        for (uint256 i = from; i < epochs.length; ++i) {
            Receipt[] storage receipts = logged[epochs[i]];
            uint256 amount = 0;
            for (uint256 j = 0; j < receipts.length; ++j) {
                amount += receipts[j].amount;
            }
            eq(gate.reportOf(hostingId, epochs[i]).amount, amount, "amount");
            eq(gate.reportOf(hostingId, epochs[i]).count, receipts.length, "count");
        }
    }
}

contract TreeInvariants {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    TreeHandler private handler;

    function setUp() public {
        handler = new TreeHandler();
        handler.prepare();
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        bytes4[] memory selectors = new bytes4[](3);
        selectors[0] = TreeHandler.post.selector;
        selectors[1] = TreeHandler.open.selector;
        selectors[2] = TreeHandler.open.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), selectors);
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function invariant_11_OneDigestOpensAndTotalsAreSums() public view {
        handler.totalsAreSums();
    }
}
