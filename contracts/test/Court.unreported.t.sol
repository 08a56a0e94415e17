// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ProbeBoard} from "../src/ProbeBoard.sol";
import {ProbeRequest} from "../src/ProbeReader.sol";
import {Examiner} from "../src/examiners/Examiner.sol";
import {ShownReceipt} from "../src/examiners/UsageExaminer.sol";
import {ClaimKind, ClaimState, Outcome} from "../src/interfaces/IDisputeCourt.sol";
import {HostingState} from "../src/interfaces/IGate.sol";
import {ProbeState, Slot} from "../src/interfaces/IProbeBoard.sol";
import {Messages, Ballot, Receipt} from "../src/libraries/Messages.sol";
import {Node} from "../src/libraries/Tree.sol";
import {ProbeWorld} from "./ProbeWorld.sol";

contract CourtUnreportedTest is ProbeWorld {
    using Messages for Receipt;

    Receipt[] private logged;
    bytes[] private prompts;

    function none() private pure returns (Node[] memory) {
        return new Node[](0);
    }

    function evidence() private view returns (bytes memory) {
        return abi.encode(hostingId, uint32(0));
    }

    /// @dev The host logs the probe of a slot as an ordinary invocation, behind a prefix.
    function log(uint16 number, uint128 amount) private {
        (, uint32[] memory drawn) = reader.draw(hostingId, today());
        bytes memory prompt = abi.encodePacked("Tell me, friend. ", query(drawn[number]));
        Receipt memory receipt = receiptOf(hostingId, uint32(logged.length), amount);
        receipt.requestHash = keccak256(abi.encode(bytes32("salt"), keccak256(prompt), bytes32("params")));
        receipt.issuedAt = parameters.epochStart(today()) + 1 hours;
        logged.push(receipt);
        prompts.push(prompt);
    }

    function showing(uint32 epoch, uint16 number, uint256 place) private view returns (ShownReceipt[] memory shown) {
        (, uint32[] memory drawn) = reader.draw(hostingId, epoch);
        shown = new ShownReceipt[](1);
        shown[0] = ShownReceipt({
            slot: slotOf(epoch, number),
            receipt: logged[place],
            proof: proofOf(treeOf(logged), uint32(place)),
            salt: "salt",
            prompt: prompts[place],
            paramsHash: "params",
            querySize: query(drawn[number]).length
        });
    }

    /// @dev Golden case 12: two provers, or three hits of four, are refused at opening.
    function test_TooLittleIsRefused() public {
        bytes memory why = abi.encodeWithSelector(Examiner.Examiner_BadEvidence.selector, bytes32("bits or provers"));
        probeDay(2, 2, none());
        refused(ClaimKind.Unreported, evidence(), why);
        probeDay(0, 0, none());
        refused(ClaimKind.Unreported, abi.encode(hostingId, uint32(7)), why);
    }

    function test_ThreeOfFourAreRefused() public {
        probeDay(4, 3, none());
        refused(
            ClaimKind.Unreported,
            evidence(),
            abi.encodeWithSelector(Examiner.Examiner_BadEvidence.selector, bytes32("bits or provers"))
        );
    }

    /// @dev The host reports every day that it served nothing.
    function nextDay() private {
        nextSeed();
        postTree(hostingId, today() - 1, none());
    }

    function outlast(bytes32 claimId) private {
        while (vm.getBlockTimestamp() <= judge.claimOf(claimId).deadline) {
            nextDay();
        }
        judge.rule(claimId);
    }

    /// @dev Golden case 12: three of three unshown cost half the bond, the second time the rest and the hosting.
    function test_HalfTheBondThenAllOfIt() public {
        uint32 epoch = probeDay(3, 3, none());
        (address[] memory provers,) = reader.draw(hostingId, epoch);
        bytes32 claimId = claim(ClaimKind.Unreported, evidence());
        outlast(claimId);
        judge.execute(claimId);
        eq(gate.bondOf(hostingId), 360e6, "half");
        for (uint256 i = 0; i < 3; ++i) {
            eq(vault.rewards(provers[i], address(coin)), 60e6, "by hit");
        }
        eq(router.owed(address(sharesOf(modelId)), address(coin)), 108e6, "shares");
        eq(judge.owed(claimant), 100e18, "bond back");
        holds(board.summaryOf(hostingId, 0).bits == 0, "the count is used up");
        nextDay();
        probeDay(3, 3, none());
        bytes32 again = claim(ClaimKind.Unreported, evidence());
        outlast(again);
        judge.execute(again);
        eq(gate.bondOf(hostingId), 0, "all");
        eq(uint8(gate.hostingOf(hostingId).state), uint8(HostingState.Exiting), "closed");
        skip(14 days);
        gate.close(hostingId);
        eq(coin.balanceOf(host), 0, "nothing back");
    }

    /// @dev Golden case 12: one shown reported, and the claim is dismissed.
    function test_OneReceiptEndsTheClaim() public {
        log(0, 2_000);
        log(2, 2_000);
        uint32 epoch = probeDay(3, 3, treeOf(logged));
        bytes32 claimId = claim(ClaimKind.Unreported, evidence());
        vm.expectRevert(abi.encodeWithSelector(ProbeBoard.Probe_Held.selector, hostingId, 0));
        vm.prank(address(usage));
        board.hold(hostingId, 0);
        vm.prank(host);
        judge.answer(claimId, abi.encode(showing(epoch, 2, 1)));
        ended(claimId, Outcome.Dismissed);
        eq(judge.owed(host), 50e18, "half the bond");
        eq(uint8(board.probeOf(slotOf(epoch, 2)).state), uint8(ProbeState.Shown), "shown");
        eq(uint64(board.summaryOf(hostingId, 0).provers), 2, "the others count on");
        eq(gate.bondOf(hostingId), 720e6, "bond");
        holds(judge.claimOn(judge.claimOf(claimId).subject) == 0, "may be claimed again");
    }

    function badAnswer(bytes32 claimId, ShownReceipt[] memory shown, bytes32 fact) private {
        vm.expectRevert(abi.encodeWithSelector(Examiner.Examiner_BadAnswer.selector, fact));
        judge.answer(claimId, abi.encode(shown));
    }

    function test_OnlyTheReceiptOfTheProbeAnswers() public {
        log(0, 2_000);
        log(1, 50);
        logged[1].amount = 50;
        log(2, 2_000);
        uint32 epoch = probeDay(3, 3, treeOf(logged));
        bytes32 claimId = claim(ClaimKind.Unreported, evidence());
        badAnswer(claimId, showing(epoch, 1, 0), "prompt has another query");
        badAnswer(claimId, showing(epoch, 1, 1), "amount below floor");
        badAnswer(claimId, showing(epoch, 3, 0), "slot");
        ShownReceipt[] memory shown = showing(epoch, 0, 0);
        shown[0].salt = "other";
        badAnswer(claimId, shown, "request hash");
        shown = showing(epoch, 0, 0);
        shown[0].querySize = 1_000;
        badAnswer(claimId, shown, "query size");
        shown = showing(epoch, 0, 0);
        shown[0].proof.count -= 1;
        badAnswer(claimId, shown, "leaf");
    }

    /// @dev A host that sees the query and then reports it comes too late.
    function test_AReportAfterTheRequestDoesNotAnswer() public {
        log(0, 2_000);
        uint32 epoch = today();
        ProbeRequest[] memory requests = new ProbeRequest[](3);
        for (uint16 i = 0; i < 3; ++i) {
            requests[i] = requestOf(epoch, i, true);
            commitResult(requests[i]);
        }
        nextSeed();
        skip(30 hours);
        for (uint256 i = 0; i < 3; ++i) {
            ask(requests[i]);
            board.openResult(openingOf(requests[i]));
        }
        skip(1);
        postTree(hostingId, epoch, treeOf(logged));
        bytes32 claimId = claim(ClaimKind.Unreported, evidence());
        badAnswer(claimId, showing(epoch, 0, 0), "report is younger than request");
    }

    function plea(uint32 epoch, uint16 count) private view returns (bytes memory) {
        Slot[] memory slots = new Slot[](count);
        for (uint16 i = 0; i < count; ++i) {
            slots[i] = slotOf(epoch, i);
        }
        return abi.encode(slots);
    }

    function allSay(bytes32 claimId, uint8 round, Outcome outcome) private {
        address[] memory members = drawJury(claimId, round);
        Ballot memory said = ballot(claimId, round, outcome, 0, 0);
        for (uint256 i = 0; i < members.length; ++i) {
            bytes32 commitment = commitmentOf(said, members[i]);
            vm.prank(members[i]);
            jury.commitBallot(claimId, round, commitment);
        }
        vm.warp(jury.panelOf(claimId, round).commitBy + 1);
        for (uint256 i = 0; i < members.length; ++i) {
            vm.prank(members[i]);
            jury.revealBallot(said);
        }
        expireClaim(claimId);
    }

    /// @dev Only probes that count can be called forged: a verdict about another could not be carried out.
    function test_APleaNamesProbesThatCount() public {
        uint32 epoch = probeDay(3, 3, none());
        bytes32 claimId = claim(ClaimKind.Unreported, evidence());
        vm.startPrank(host);
        bytes memory four = plea(epoch, 4);
        vm.expectRevert(abi.encodeWithSelector(Examiner.Examiner_BadAnswer.selector, bytes32("slot")));
        judge.plead(claimId, four);
        bytes memory nothing = plea(epoch, 0);
        vm.expectRevert(abi.encodeWithSelector(Examiner.Examiner_BadAnswer.selector, bytes32("number of slots")));
        judge.plead(claimId, nothing);
        vm.stopPrank();
        holds(usage.weigh(claimId, Outcome.Forged, 0, 0) == Outcome.Dismissed, "nobody was called a forger");
    }

    /// @dev A host that pleads forgery posts the same bond and is heard; forgers lose a quarter of their seats.
    function test_ForgersLoseAQuarter() public {
        seatValidators(5);
        skip(1);
        uint32 epoch = probeDay(3, 3, none());
        (address[] memory provers,) = reader.draw(hostingId, epoch);
        bytes32 claimId = claim(ClaimKind.Unreported, evidence());
        vm.prank(host);
        judge.plead(claimId, plea(epoch, 2));
        expireClaim(claimId);
        isState(claimId, ClaimState.Voting);
        allSay(claimId, 1, Outcome.Forged);
        isState(claimId, ClaimState.Ruled);
        expireClaim(claimId);
        ended(claimId, Outcome.Forged);
        eq(judge.owed(host), 150e18, "own bond and half the claimant's");
        eq(judge.owed(vm.addr(validatorKey(0))), 10e18, "each of five a fifth of the other half");
        bytes32 roll = vault.rollOf(court, "prover");
        holds(!vault.isSeated(roll, provers[0]) && !vault.isSeated(roll, provers[1]), "seats gone");
        holds(vault.isSeated(roll, provers[2]), "nobody accused this one");
        eq(gate.bondOf(hostingId), 720e6, "bond");
        eq(board.summaryOf(hostingId, 0).provers, 1, "struck");
    }

    function test_AHeardHostMayStillLose() public {
        seatValidators(5);
        skip(1);
        uint32 epoch = probeDay(3, 3, none());
        bytes32 claimId = claim(ClaimKind.Unreported, evidence());
        vm.prank(host);
        judge.plead(claimId, plea(epoch, 1));
        vm.expectRevert();
        vm.prank(host);
        judge.plead(claimId, plea(epoch, 1));
        expireClaim(claimId);
        allSay(claimId, 1, Outcome.Upheld);
        expireClaim(claimId);
        judge.execute(claimId);
        eq(gate.bondOf(hostingId), 360e6, "half");
        eq(judge.owed(claimant), 150e18, "own bond and half the host's");
    }

    /// @dev Nobody sat: what the contract saw holds.
    function test_WithoutAnyJuryTheCountHolds() public {
        uint32 epoch = probeDay(3, 3, none());
        bytes32 claimId = claim(ClaimKind.Unreported, evidence());
        vm.prank(host);
        judge.plead(claimId, plea(epoch, 1));
        expireClaim(claimId);
        expireClaim(claimId);
        isState(claimId, ClaimState.Voting);
        expireClaim(claimId);
        isState(claimId, ClaimState.Hung);
        expireClaim(claimId);
        ended(claimId, Outcome.Upheld);
        eq(judge.owed(claimant), 150e18, "half the host's bond burns");
    }
}
