// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ResultCommit} from "../src/ProbeBoard.sol";
import {ProbeOpening, ProbeRequest} from "../src/ProbeReader.sol";
import {ClaimKind} from "../src/interfaces/IDisputeCourt.sol";
import {Ballot, Messages, ProbeResult, Receipt} from "../src/libraries/Messages.sol";
import {Node} from "../src/libraries/Tree.sol";
import {ProbeWorld} from "./ProbeWorld.sol";

/// @notice The cost of every step of claims and probes, kept in `snapshots/CourtGasTest.json`.
/// @dev Isolated: every call is a transaction of its own, with cold storage and the 21,000 of a transaction.
/// forge-config: default.isolate = true
contract CourtGasTest is ProbeWorld {
    using Messages for ProbeResult;

    function test_Receipts() public {
        Receipt[] memory receipts = new Receipt[](3);
        for (uint32 i = 0; i < 3; ++i) {
            receipts[i] = receiptOf(hostingId, i, 2_000);
        }
        uint32 epoch = today();
        nextSeed();
        Node[] memory nodes = treeOf(receipts);
        postTree(hostingId, epoch, nodes);
        bytes memory evidence = abi.encode(receipts[1], signReceipt(receipts[1]));
        bytes32 claimId = announce(claimant, ClaimKind.Omitted, evidence);
        vm.prank(claimant);
        judge.open(ClaimKind.Omitted, evidence, bytes32(claims));
        vm.snapshotGasLastCall("open, omitted");
        judge.answer(claimId, abi.encode(proofOf(nodes, 1)));
        vm.snapshotGasLastCall("answer, omitted");
        Receipt memory other = receiptOf(hostingId, 1, 1);
        (other.epoch, other.issuedAt) = (receipts[1].epoch, receipts[1].issuedAt);
        evidence = abi.encode(receipts[1], signReceipt(receipts[1]), other, signReceipt(other));
        announce(claimant, ClaimKind.Equivocation, evidence);
        vm.prank(claimant);
        judge.open(ClaimKind.Equivocation, evidence, bytes32(claims));
        vm.snapshotGasLastCall("open and execute, equivocation");
    }

    function test_ProbesAndTheirClaim() public {
        uint32 epoch = today();
        ProbeRequest[] memory requests = new ProbeRequest[](3);
        for (uint16 i = 0; i < 3; ++i) {
            requests[i] = requestOf(epoch, i, true);
            commitResult(requests[i]);
        }
        vm.snapshotGasLastCall("commit a result");
        nextSeed();
        postTree(hostingId, epoch, new Node[](0));
        for (uint256 i = 0; i < 3; ++i) {
            ask(requests[i]);
            if (i == 2) vm.snapshotGasLastCall("request an answer");
            ProbeOpening memory opening = openingOf(requests[i]);
            board.openResult(opening);
        }
        vm.snapshotGasLastCall("open an answer of 256 candidates");
        bytes memory evidence = abi.encode(hostingId, uint32(0));
        bytes32 claimId = announce(claimant, ClaimKind.Unreported, evidence);
        vm.prank(claimant);
        judge.open(ClaimKind.Unreported, evidence, bytes32(claims));
        vm.snapshotGasLastCall("open, unreported");
        expireClaim(claimId);
        vm.snapshotGasLastCall("rule, unreported");
        judge.execute(claimId);
        vm.snapshotGasLastCall("execute, unreported");
    }
}
