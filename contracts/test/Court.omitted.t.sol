// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {DisputeCourt} from "../src/DisputeCourt.sol";
import {Examiner} from "../src/examiners/Examiner.sol";
import {ClaimKind, ClaimState, Outcome} from "../src/interfaces/IDisputeCourt.sol";
import {Messages, Receipt} from "../src/libraries/Messages.sol";
import {Node, Proof, Tree} from "../src/libraries/Tree.sol";
import {CourtWorld} from "./CourtWorld.sol";

contract CourtOmittedTest is CourtWorld {
    using Messages for Receipt;

    uint256 private modelId;
    uint256 private hostingId;
    Receipt[] private receipts;
    uint32 private epoch;

    function setUp() public override {
        super.setUp();
        modelId = active("first");
        hostingId = serving(modelId);
        epoch = today();
        for (uint32 i = 0; i < 3; ++i) {
            receipts.push(receiptOf(hostingId, i, 2_000));
        }
    }

    function evidence(Receipt memory receipt) private view returns (bytes memory) {
        return abi.encode(receipt, signReceipt(receipt));
    }

    function post() private {
        skip(1 days);
        postTree(hostingId, epoch, treeOf(receipts));
    }

    /// @dev Golden case 10: 36.00 goes 18.00 / 10.80 / 7.20.
    function test_ASilentHostLosesThirtySix() public {
        Receipt memory omitted = receiptOf(hostingId, 1, 2_000);
        omitted.requestHash = "left out";
        post();
        bytes32 claimId = claim(ClaimKind.Omitted, evidence(omitted));
        isState(claimId, ClaimState.Open);
        eq(vault.positionOf(gate.hostingOf(hostingId).position).freezes, 1, "frozen");
        expireClaim(claimId);
        isState(claimId, ClaimState.Final);
        judge.execute(claimId);
        eq(vault.rewards(claimant, address(coin)), 18e6, "claimant");
        eq(router.owed(address(sharesOf(modelId)), address(coin)), 10.8e6, "shares");
        eq(vault.rewards(address(timelock), address(coin)), 7.2e6, "burnt");
        eq(vault.positionOf(gate.hostingOf(hostingId).position).freezes, 0, "thawed");
        eq(judge.owed(claimant), 10e18, "bond back");
    }

    /// @dev Golden case 10: the same receipt shown included.
    function test_AnIncludedReceiptEndsTheClaim() public {
        post();
        Node[] memory nodes = treeOf(receipts);
        bytes32 claimId = claim(ClaimKind.Omitted, evidence(receipts[1]));
        uint256 supply = currency.totalSupply();
        judge.answer(claimId, abi.encode(proofOf(nodes, 1)));
        ended(claimId, Outcome.Dismissed);
        eq(judge.owed(host), 5e18, "half the bond to the host");
        eq(supply - currency.totalSupply(), 5e18, "half burnt, no jury sat");
        eq(judge.owed(claimant), 0, "claimant");
        eq(gate.bondOf(hostingId), 720e6, "bond");
        refused(
            ClaimKind.Omitted,
            evidence(receipts[1]),
            abi.encodeWithSelector(
                DisputeCourt.Court_SubjectTaken.selector,
                keccak256(abi.encode("omitted", registry.digest(receipts[1].hash()))),
                claimId
            )
        );
    }

    function test_AnotherLeafIsNoAnswer() public {
        post();
        Node[] memory nodes = treeOf(receipts);
        bytes32 claimId = claim(ClaimKind.Omitted, evidence(receipts[1]));
        vm.expectRevert(abi.encodeWithSelector(Examiner.Examiner_BadAnswer.selector, bytes32("leaf")));
        judge.answer(claimId, abi.encode(proofOf(nodes, 2)));
        Proof memory proof = proofOf(nodes, 1);
        proof.siblings[0].hash = "other";
        vm.expectRevert(Tree.Tree_BadProof.selector);
        judge.answer(claimId, abi.encode(proof));
        vm.warp(judge.claimOf(claimId).deadline + 1);
        vm.expectRevert(abi.encodeWithSelector(DisputeCourt.Court_Late.selector, judge.claimOf(claimId).deadline));
        judge.answer(claimId, abi.encode(proofOf(nodes, 1)));
    }

    function test_ANumberPastTheCountConvictsAtOnce() public {
        Receipt memory past = receiptOf(hostingId, 3, 2_000);
        post();
        bytes32 claimId = claim(ClaimKind.Omitted, evidence(past));
        isState(claimId, ClaimState.Executed);
        eq(gate.bondOf(hostingId), 684e6, "36 gone");
    }

    function test_AnUnreportedDayCountsNothingAfterAWeek() public {
        Receipt memory receipt = receiptOf(hostingId, 0, 2_000);
        bytes memory data = evidence(receipt);
        skip(1 days);
        uint256 last = parameters.epochStart(epoch + 1) + 7 days;
        refused(ClaimKind.Omitted, data, abi.encodeWithSelector(Examiner.Examiner_TooEarly.selector, last));
        vm.warp(last);
        isState(claim(ClaimKind.Omitted, data), ClaimState.Executed);
    }

    function test_AReceiptOfAnotherDayThanItsTimesIsOmitted() public {
        Receipt memory receipt = receiptOf(hostingId, 0, 2_000);
        receipt.epoch += 1_000;
        isState(claim(ClaimKind.Omitted, evidence(receipt)), ClaimState.Executed);
    }

    function test_OnlyTheHostsSignatureCounts() public {
        Receipt memory receipt = receiptOf(hostingId, 9, 2_000);
        bytes memory why = abi.encodeWithSelector(Examiner.Examiner_BadEvidence.selector, bytes32("receipt signature"));
        bytes memory other = abi.encode(receipt, signed(USER, registry.digest(receipt.hash())));
        post();
        refused(ClaimKind.Omitted, other, why);
        receipt.issuedAt = uint64(vm.getBlockTimestamp() + 1 days);
        refused(ClaimKind.Omitted, evidence(receipt), why);
        receipt.issuedAt = GENESIS;
        refused(ClaimKind.Omitted, evidence(receipt), why);
    }

    /// @dev A hundred times the amount, where that is more; half of the bond for all receipts of a day.
    function test_ManyReceiptsOfADayCostHalfTheBond(uint128 amount) public {
        amount = uint128(bound(amount, 1, type(uint128).max));
        post();
        uint256 bond = 720e6;
        uint256 taken = 0;
        for (uint32 i = 0; i < 12; ++i) {
            Receipt memory receipt = receiptOf(hostingId, 10 + i, i == 5 ? amount : 1);
            (receipt.epoch, receipt.issuedAt) = (epoch, parameters.epochStart(epoch) + 1);
            receipt.issuedAt = receipts[0].issuedAt;
            uint256 expected = (bond * 500) / 10_000;
            if (i == 5 && uint256(amount) * 100 > expected) expected = uint256(amount) * 100;
            if (expected > 360e6 - taken) expected = 360e6 - taken;
            claim(ClaimKind.Omitted, evidence(receipt));
            taken += expected;
            bond -= expected;
            eq(gate.bondOf(hostingId), bond, "bond");
        }
        eq(judge.takenOf(hostingId, epoch), taken, "taken");
        holds(taken <= 360e6, "half at most");
    }

    /// @dev An accomplice could hold a receipt, drop the claim and hold it again.
    function test_AClaimThatHoldsBySilenceStays() public {
        post();
        bytes32 claimId = claim(ClaimKind.Omitted, evidence(receipts[1]));
        vm.expectRevert(abi.encodeWithSelector(DisputeCourt.Court_BadKind.selector, ClaimKind.Omitted));
        vm.prank(claimant);
        judge.drop(claimId);
    }
}
