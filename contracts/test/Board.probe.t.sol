// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ProbeBoard, ResultCommit} from "../src/ProbeBoard.sol";
import {ProbeOpening, ProbeReader, ProbeRequest} from "../src/ProbeReader.sol";
import {ProbeState, Slot, Summary} from "../src/interfaces/IProbeBoard.sol";
import {Evidence} from "../src/libraries/Evidence.sol";
import {Messages, ProbeResult, ProbeTicket} from "../src/libraries/Messages.sol";
import {Node} from "../src/libraries/Tree.sol";
import {ProbeWorld} from "./ProbeWorld.sol";

contract BoardProbeTest is ProbeWorld {
    using Messages for ProbeTicket;
    using Messages for ProbeResult;

    function none() private pure returns (Node[] memory) {
        return new Node[](0);
    }

    function isProbe(Slot memory slot, ProbeState state) private view {
        eq(uint8(board.probeOf(slot).state), uint8(state), "probe");
    }

    function bitsNow() private view returns (int64) {
        return board.summaryOf(hostingId, 0).bits;
    }

    function commitAndReport() private returns (ProbeRequest memory request) {
        uint32 epoch = today();
        request = requestOf(epoch, 0, true);
        commitResult(request);
        nextSeed();
        postTree(hostingId, epoch, none());
    }

    function test_ADrawNamesDistinctProversAndLeavesOfTheMiddle() public view {
        (address[] memory provers, uint32[] memory drawn) = reader.draw(hostingId, today());
        eq(provers.length, 4, "all seats");
        eq(drawn.length, 16, "slots");
        for (uint256 i = 0; i < drawn.length; ++i) {
            holds(drawn[i] >= 16 && drawn[i] < 48, "pool of probes");
            for (uint256 j = 0; j < i; ++j) {
                holds(drawn[i] != drawn[j], "distinct leaves");
                if (i < 4) holds(provers[i] != provers[j], "distinct provers");
            }
        }
    }

    /// @dev Golden case 6: 3 of 3 at 1 in 256 are 22 bits exactly, 3 of 4 are 19.684.
    function test_ThreeHitsAreTwentyTwoBits() public {
        uint32 epoch = probeDay(3, 3, none());
        Summary memory summary = board.summaryOf(hostingId, 0);
        eq(uint64(summary.bits), uint256(22) << 32, "bits");
        eq(summary.provers, 3, "provers");
        isProbe(slotOf(epoch, 0), ProbeState.Opened);
        holds(
            registry.isBurnt(registry.versionOf(modelId, 1).commitment, board.probeOf(slotOf(epoch, 0)).index), "burnt"
        );
    }

    function test_AMissTakesBitsAway() public {
        probeDay(4, 3, none());
        holds(bitsNow() == 84_540_927_085, "19.684");
    }

    function test_ACommitIsTheDrawnProversOnce() public {
        ProbeRequest memory request = requestOf(today(), 0, true);
        ResultCommit[] memory results = new ResultCommit[](1);
        results[0] = ResultCommit(hostingId, 1, "result");
        vm.expectRevert(abi.encodeWithSelector(ProbeBoard.Probe_NotDrawn.selector, request.ticket.prover));
        vm.prank(request.ticket.prover);
        board.commitResults(results);
        commitResult(request);
        results[0].slot = 0;
        vm.expectRevert(abi.encodeWithSelector(ProbeBoard.Probe_BadState.selector, ProbeState.Committed));
        vm.prank(request.ticket.prover);
        board.commitResults(results);
    }

    function test_AnswersWaitForTheReport() public {
        uint32 epoch = today();
        ProbeRequest memory request = requestOf(epoch, 0, true);
        commitResult(request);
        vm.expectRevert(ProbeBoard.Probe_TooEarly.selector);
        ask(request);
        nextSeed();
        vm.expectRevert(ProbeBoard.Probe_TooEarly.selector);
        ask(request);
        skip(30 hours);
        ask(request);
        isProbe(request.slot, ProbeState.Requested);
    }

    function test_OnlyTheProverLaysItOpen() public {
        ProbeRequest memory request = commitAndReport();
        vm.expectRevert(abi.encodeWithSelector(ProbeBoard.Probe_NotDrawn.selector, address(this)));
        board.requestAnswer(request);
        skip(31 days);
        vm.expectRevert(ProbeBoard.Probe_Late.selector);
        ask(request);
    }

    function spoilt(ProbeRequest memory request, bytes32 fact) private {
        vm.expectRevert(abi.encodeWithSelector(ProbeReader.Probe_BadResult.selector, fact));
        ask(request);
    }

    function test_WhatIsLaidOpenIsWhatWasCommitted() public {
        ProbeRequest memory request = commitAndReport();
        request.result.observedAt += 1;
        spoilt(request, "result");
        request.result.observedAt -= 1;
        request.replies = reply(request.ticket.index, false);
        spoilt(request, "replies");
        request.replies = new bytes[](5);
        spoilt(request, "number of replies");
        request.replies = reply(request.ticket.index, true);
        request.query = "another";
        spoilt(request, "query");
        request.query = query(request.ticket.index);
        request.ticket.version = 2;
        spoilt(request, "ticket");
        request.ticket.version = 1;
        request.ticket.index += 1;
        spoilt(request, "leaf is not the drawn one");
        request.ticket.index -= 1;
        request.ticketSignature = signed(USER, registry.digest(request.ticket.hash()));
        spoilt(request, "ticket signature");
    }

    /// @dev A ticket of another chain, another epoch or another slot is another digest.
    function test_ATicketIsForOneSlotOfOneDay() public {
        uint32 epoch = today();
        ProbeRequest memory request = requestOf(epoch, 0, true);
        request.ticket.epoch = epoch + 1;
        bytes32 ticketId = registry.digest(request.ticket.hash());
        request.ticketSignature = signed(TICKETS, ticketId);
        request.result.ticketId = ticketId;
        request.result.observedCommit = keccak256(abi.encode(request.salt, ticketId, request.replies));
        commitResult(request);
        nextSeed();
        postTree(hostingId, epoch, none());
        spoilt(request, "ticket");
    }

    function test_AnOpeningIsTheCommittedLeaf() public {
        ProbeRequest memory request = commitAndReport();
        ask(request);
        ProbeOpening memory opening = openingOf(request);
        opening.salt = "other";
        vm.expectRevert(abi.encodeWithSelector(ProbeReader.Probe_BadResult.selector, bytes32("replies")));
        board.openResult(opening);
        opening = openingOf(request);
        opening.proof.index += 1;
        vm.expectRevert(abi.encodeWithSelector(ProbeReader.Probe_BadResult.selector, bytes32("leaf")));
        board.openResult(opening);
        opening = openingOf(request);
        opening.blinding = "other";
        vm.expectRevert();
        board.openResult(opening);
        skip(2 hours + 1);
        opening = openingOf(request);
        vm.expectRevert(ProbeBoard.Probe_Late.selector);
        board.openResult(opening);
    }

    /// @dev An answer not opened in two hours: 10 LOYAL to the prover, and a coin on the side that gives fewer bits.
    function test_AClosedAnswerCostsItsOwner() public {
        currency.approve(address(board), 15e18);
        board.fund(modelId, 15e18);
        uint32 epoch = today();
        ProbeRequest[] memory requests = new ProbeRequest[](4);
        for (uint16 i = 0; i < 4; ++i) {
            requests[i] = requestOf(epoch, i, true);
            commitResult(requests[i]);
        }
        nextSeed();
        postTree(hostingId, epoch, none());
        for (uint256 i = 0; i < 4; ++i) {
            ask(requests[i]);
            if (i < 3) board.openResult(openingOf(requests[i]));
        }
        vm.expectRevert(ProbeBoard.Probe_TooEarly.selector);
        board.expire(requests[3].slot);
        vm.expectRevert(abi.encodeWithSelector(ProbeBoard.Probe_PurseBound.selector, 15e18));
        vm.prank(owner);
        board.defund(modelId, owner, 6e18);
        skip(2 hours + 1);
        board.expire(requests[3].slot);
        eq(currency.balanceOf(requests[3].ticket.prover), 10e18, "prover");
        holds(bitsNow() == 84_540_927_085, "as a miss");
        uint256 before = currency.balanceOf(owner);
        vm.prank(owner);
        board.defund(modelId, owner, 5e18);
        eq(currency.balanceOf(owner) - before, 5e18, "the rest");
        eq(board.purseOf(modelId), 0, "purse");
    }

    function test_ARefusedTicketIsACoinAgainstTheOwner() public {
        uint32 epoch = today();
        (address[] memory provers,) = reader.draw(hostingId, epoch);
        ResultCommit[] memory results = new ResultCommit[](1);
        results[0] = ResultCommit(hostingId, 3, 0);
        vm.expectRevert(ProbeBoard.Probe_TooEarly.selector);
        vm.prank(provers[3]);
        board.commitResults(results);
        skip(12 hours);
        vm.prank(provers[3]);
        board.commitResults(results);
        isProbe(slotOf(epoch, 3), ProbeState.Refused);
        probeDay(3, 3, none());
        holds(bitsNow() == 84_540_927_085, "3 of 4");
    }

    /// @dev Hit, miss, closed or refused: the count is what fell, and closed ones fall where they give fewest bits.
    /// forge-config: default.fuzz.runs = 48
    /// forge-config: long.fuzz.runs = 1024
    function test_TheCountIsTheSum(uint8 fates) public {
        uint32 epoch = today();
        ProbeRequest[4] memory requests;
        uint32[4] memory counts;
        for (uint16 i = 0; i < 4; ++i) {
            requests[i] = requestOf(epoch, i, (fates >> (2 * i)) & 3 == 0);
            if ((fates >> (2 * i)) & 3 != 3) commitResult(requests[i]);
        }
        skip(12 hours);
        for (uint16 i = 0; i < 4; ++i) {
            ++counts[(fates >> (2 * i)) & 3];
            if ((fates >> (2 * i)) & 3 != 3) continue;
            ResultCommit[] memory results = new ResultCommit[](1);
            results[0] = ResultCommit(hostingId, i, 0);
            vm.prank(requests[i].ticket.prover);
            board.commitResults(results);
        }
        nextSeed();
        postTree(hostingId, epoch, none());
        for (uint16 i = 0; i < 4; ++i) {
            uint8 fate = (fates >> (2 * i)) & 3;
            if (fate != 3) ask(requests[i]);
            if (fate < 2) board.openResult(openingOf(requests[i]));
        }
        skip(3 hours);
        for (uint16 i = 0; i < 4; ++i) {
            if ((fates >> (2 * i)) & 3 == 2) board.expire(requests[i].slot);
        }
        uint32 coins = counts[0] + counts[1];
        int64 expected = coins == 0 ? int64(0) : Evidence.adverse(256, counts[0], coins, counts[2] + counts[3]);
        holds(bitsNow() == expected, "bits");
        eq(board.summaryOf(hostingId, 0).provers, counts[0], "provers with a hit");
    }

    function test_ALeafIsAskedForOnce() public {
        ProbeRequest memory request = commitAndReport();
        bytes32 commitment = registry.versionOf(modelId, 1).commitment;
        vm.prank(court);
        registry.burnLeaf(commitment, request.ticket.index);
        ask(request);
        isProbe(request.slot, ProbeState.Void);
        eq(board.pendingOf(modelId), 0, "nobody waits");
    }

    /// @dev Every committed result has an equal part of the epoch's pool.
    function test_ResultsSharePool() public {
        probeDay(3, 1, none());
        earn(hostingId, address(0), 1_000_000);
        uint32 epoch = today() - 1;
        uint256 pool = 39_000;
        (address[] memory provers,) = reader.draw(hostingId, epoch);
        for (uint16 i = 0; i < 3; ++i) {
            board.payout(slotOf(epoch, i), address(coin));
            eq(coin.balanceOf(provers[i]), pool / 3, "equal parts");
        }
        vm.expectRevert(ProbeBoard.Probe_NothingDue.selector);
        board.payout(slotOf(epoch, 0), address(coin));
        vm.expectRevert(ProbeBoard.Probe_NothingDue.selector);
        board.payout(slotOf(epoch, 3), address(coin));
        Slot memory now_ = slotOf(today(), 0);
        vm.expectRevert(ProbeBoard.Probe_TooEarly.selector);
        board.payout(now_, address(coin));
    }

    function test_AnEmptySlotCostsOnePercentOnce() public {
        uint32 epoch = today();
        (address[] memory provers,) = reader.draw(hostingId, epoch);
        nextSeed();
        Slot memory slot = slotOf(epoch, 2);
        vm.expectRevert(abi.encodeWithSelector(ProbeBoard.Probe_NotServing.selector, hostingId));
        board.fine(slot);
        report(hostingId, epoch, 10, 20_000);
        uint256 supply = currency.totalSupply();
        board.fine(slot);
        eq(supply - currency.totalSupply(), 20e18, "burnt");
        holds(!vault.isSeated(vault.rollOf(court, "prover"), provers[2]), "below a seat");
        vm.expectRevert(abi.encodeWithSelector(ProbeBoard.Probe_BadState.selector, ProbeState.None));
        board.fine(slot);
        skip(7 days);
        slot = slotOf(epoch, 1);
        vm.expectRevert(ProbeBoard.Probe_Late.selector);
        board.fine(slot);
    }

    function test_OnlyTheExaminerHoldsAndStrikes() public {
        bytes memory refusal = abi.encodeWithSelector(ProbeBoard.Probe_NotExaminer.selector, address(this));
        vm.expectRevert(refusal);
        board.hold(hostingId, 0);
        Slot memory slot = slotOf(1, 0);
        vm.expectRevert(refusal);
        board.strike(slot, true);
        vm.expectRevert(refusal);
        board.settle(hostingId, 0, true);
        vm.expectRevert(abi.encodeWithSelector(ProbeReader.Probe_NotController.selector, modelId, address(this)));
        reader.setTicketSigner(modelId, user);
        vm.expectRevert(abi.encodeWithSelector(ProbeBoard.Probe_NotController.selector, modelId, address(this)));
        board.defund(modelId, user, 0);
    }

    function test_AHostDoesNotProbeItself() public {
        seat(host, "prover", 2_000e18);
        nextSeed();
        uint32 epoch = today();
        (address[] memory provers,) = reader.draw(hostingId, epoch);
        ResultCommit[] memory results = new ResultCommit[](1);
        for (uint16 i = 0; i < provers.length; ++i) {
            if (provers[i] != host) continue;
            results[0] = ResultCommit(hostingId, i, "result");
        }
        vm.expectRevert(abi.encodeWithSelector(ProbeBoard.Probe_NotDrawn.selector, host));
        vm.prank(host);
        board.commitResults(results);
    }
}
