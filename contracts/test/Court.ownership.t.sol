// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {DisputeCourt} from "../src/DisputeCourt.sol";
import {Jury} from "../src/Jury.sol";
import {Registry} from "../src/Registry.sol";
import {Examiner} from "../src/examiners/Examiner.sol";
import {LeafOpening, OwnershipEvidence} from "../src/examiners/OwnershipExaminer.sol";
import {ClaimKind, ClaimState, Outcome} from "../src/interfaces/IDisputeCourt.sol";
import {ModelState, VersionState, VersionTerms} from "../src/interfaces/IRegistry.sol";
import {Ballot} from "../src/libraries/Messages.sol";
import {ProbeWorld} from "./ProbeWorld.sol";

/// @notice The claim that a jury decides, and with it what holds for every jury.
contract CourtOwnershipTest is ProbeWorld {
    uint256 private accused;
    uint256 private accusedHosting;
    address private thief = vm.addr(0x7413f);

    function setUp() public override {
        super.setUp();
        wealth(owner);
        claimant = owner;
        seatValidators(20);
        currency.transfer(thief, 10_000e18);
        wealth(thief);
        owner = thief;
        accused = madeOf("thief", "other leaves");
        owner = claimant;
        accusedHosting = serving(accused);
    }

    function evidence() private view returns (OwnershipEvidence memory) {
        return OwnershipEvidence(modelId, 1, accused, 1, 256, 1);
    }

    function bad(OwnershipEvidence memory data, bytes32 fact) private {
        refused(
            ClaimKind.Ownership, abi.encode(data), abi.encodeWithSelector(Examiner.Examiner_BadEvidence.selector, fact)
        );
    }

    function opening(bytes32 claimId, uint32 place) private view returns (LeafOpening[] memory all) {
        uint32 index = ownership.leavesOf(claimId)[place];
        all = new LeafOpening[](1);
        all[0] = LeafOpening(place, query(index), blinding("r", index), spec, proofOf(plainTree(digests), index));
    }

    /// @dev A claim, and all its sixteen leaves laid open.
    function opened() private returns (bytes32 claimId) {
        claimId = claim(ClaimKind.Ownership, abi.encode(evidence()));
        nextSeed();
        for (uint32 i = 0; i < 16; ++i) {
            ownership.openLeaves(claimId, opening(claimId, i));
        }
    }

    /// @dev Golden case 6: a claim one second before the window ends, and none at its end.
    function test_TheWindowEndsTheClaims() public {
        uint64 ends = registry.versionOf(accused, 1).windowEnds;
        bytes memory data = abi.encode(evidence());
        announce(owner, ClaimKind.Ownership, data);
        vm.warp(ends - 2);
        bytes32 claimId = announce(owner, ClaimKind.Ownership, data);
        vm.prank(owner);
        judge.open(ClaimKind.Ownership, data, bytes32(claims));
        isState(claimId, ClaimState.Open);
        vm.warp(ends);
        vm.expectRevert(abi.encodeWithSelector(Registry.Registry_WindowOpen.selector, ends));
        registry.activate(accused, 1);
    }

    function test_AtItsEndTheWindowIsClosed() public {
        uint64 ends = registry.versionOf(accused, 1).windowEnds;
        vm.warp(ends - 1);
        refused(
            ClaimKind.Ownership,
            abi.encode(evidence()),
            abi.encodeWithSelector(Registry.Registry_WindowClosed.selector, ends)
        );
    }

    function test_WhatIsNoEvidence() public {
        OwnershipEvidence memory data = evidence();
        (data.modelId, data.accusedModel) = (accused, modelId);
        claimant = thief;
        bad(data, "commitment is not the earlier");
        claimant = owner;
        data = evidence();
        data.k = 1;
        bad(data, "rounds or chance");
        data = evidence();
        data.rounds = 5;
        bad(data, "rounds or chance");
        data = evidence();
        claimant = user;
        bad(data, "claimant's model");
    }

    function test_ADeclaredParentIsNoTheft() public {
        VersionTerms memory terms = termsOf(owner, "fork");
        (terms.parentModel, terms.parentVersion) = (modelId, 1);
        OwnershipEvidence memory data = evidence();
        data.accusedModel = contestable(terms);
        bad(data, "declared parent");
    }

    /// @dev Half of the owner's bond to the claimant, half to the treasury; locked revenue to the claimant's model.
    function test_ATakenModelGoesWithItsRevenue() public {
        earn(accusedHosting, address(0), 1e6);
        uint256 before = router.owed(address(sharesOf(modelId)), address(coin));
        bytes32 claimId = opened();
        expireClaim(claimId);
        vote(claimId, 1, 5, 16, 16);
        isState(claimId, ClaimState.Ruled);
        expireClaim(claimId);
        judge.execute(claimId);
        eq(uint8(registry.stateOf(accused, 1)), uint8(VersionState.Revoked), "revoked");
        eq(uint8(registry.modelOf(accused).state), uint8(ModelState.Revoked), "model");
        eq(vault.rewards(owner, address(currency)), 500e18, "claimant");
        eq(vault.rewards(address(timelock), address(currency)), 500e18, "treasury");
        router.release(accusedHosting, address(0), address(coin));
        eq(router.owed(address(sharesOf(modelId)), address(coin)) - before, 1e6, "all of the revenue");
        eq(registry.versionOf(accused, 1).openClaims, 0, "no claim open");
    }

    /// @dev Too little evidence is no "upheld", whatever a ballot says; leaves that stay closed count against the claimant.
    function test_ABallotNeedsItsEvidence() public {
        bytes32 claimId = claim(ClaimKind.Ownership, abi.encode(evidence()));
        nextSeed();
        ownership.openLeaves(claimId, opening(claimId, 0));
        holds(ownership.weigh(claimId, Outcome.Upheld, 7, 7) == Outcome.Dismissed, "15 closed");
        for (uint32 i = 1; i < 16; ++i) {
            ownership.openLeaves(claimId, opening(claimId, i));
        }
        holds(ownership.weigh(claimId, Outcome.Upheld, 7, 7) == Outcome.Upheld, "53 bits");
        holds(ownership.weigh(claimId, Outcome.Upheld, 5, 5) == Outcome.Dismissed, "37 bits");
        holds(ownership.weigh(claimId, Outcome.Forged, 16, 16) == Outcome.Dismissed, "no forgery here");
        holds(ownership.weigh(claimId, Outcome.Upheld, 5_000, 5_000) == Outcome.Dismissed, "too many");
    }

    /// @dev 40 bits and the logarithm of how often the claimant ever committed.
    function test_WhoRegistersOftenNeedsMore() public {
        vm.prank(owner);
        registry.commitLeaves("others", 64);
        bytes32 claimId = claim(ClaimKind.Ownership, abi.encode(evidence()));
        eq(uint64(ownership.caseOf(claimId).bitsMin), uint256(41) << 32, "two commitments");
    }

    function test_OnlyDrawnLeavesOnceEach() public {
        bytes32 claimId = claim(ClaimKind.Ownership, abi.encode(evidence()));
        nextSeed();
        LeafOpening[] memory all = opening(claimId, 3);
        ownership.openLeaves(claimId, all);
        bytes memory why = abi.encodeWithSelector(Examiner.Examiner_BadEvidence.selector, bytes32("leaf is not drawn"));
        vm.expectRevert(why);
        ownership.openLeaves(claimId, all);
        all = opening(claimId, 4);
        all[0].place = 5;
        vm.expectRevert(why);
        ownership.openLeaves(claimId, all);
        all = opening(claimId, 4);
        all[0].answerSpec = abi.encode("tilt", abi.encode(uint16(1)));
        vm.expectRevert(abi.encodeWithSelector(Examiner.Examiner_BadEvidence.selector, bytes32("another chance")));
        ownership.openLeaves(claimId, all);
        all = opening(claimId, 4);
        all[0].query = "another";
        vm.expectRevert();
        ownership.openLeaves(claimId, all);
        skip(3 days);
        all = opening(claimId, 4);
        vm.expectRevert(abi.encodeWithSelector(Examiner.Examiner_BadAnswer.selector, bytes32("claim is not open")));
        ownership.openLeaves(claimId, all);
    }

    function test_WhoLaysNothingOpenHasShownNothing() public {
        bytes32 claimId = claim(ClaimKind.Ownership, abi.encode(evidence()));
        expireClaim(claimId);
        ended(claimId, Outcome.Dismissed);
        eq(judge.owed(thief), 500e18, "half the bond");
        skip(7 days);
        registry.activate(accused, 1);
    }

    function test_ADroppedClaimMayComeAgain() public {
        bytes32 claimId = claim(ClaimKind.Ownership, abi.encode(evidence()));
        vm.expectRevert(abi.encodeWithSelector(DisputeCourt.Court_NotParty.selector, address(this)));
        judge.drop(claimId);
        vm.prank(owner);
        judge.drop(claimId);
        eq(judge.owed(owner), 500e18, "half back");
        eq(judge.owed(thief), 500e18, "half to whom it accused");
        ended(claimId, Outcome.Dropped);
        isState(claim(ClaimKind.Ownership, abi.encode(evidence())), ClaimState.Open);
    }

    // --- juries

    /// @dev Fewer than half of the seats are no jury, also where there are not more validators.
    function test_TwoOfFiveAreNoJury() public {
        bytes32 claimId = opened();
        expireClaim(claimId);
        address[] memory members = drawJury(claimId, 1);
        Ballot memory said = ballot(claimId, 1, Outcome.Upheld, 16, 16);
        for (uint256 i = 0; i < 2; ++i) {
            bytes32 commitment = commitmentOf(said, members[i]);
            vm.prank(members[i]);
            jury.commitBallot(claimId, 1, commitment);
        }
        vm.warp(jury.panelOf(claimId, 1).commitBy + 1);
        for (uint256 i = 0; i < 2; ++i) {
            vm.prank(members[i]);
            jury.revealBallot(said);
        }
        expireClaim(claimId);
        eq(judge.claimOf(claimId).round, 2, "a larger one is called");
    }

    /// @dev Invariant 18: distinct, drawn, no party.
    function test_AJuryIsDistinctAndNoParty() public {
        seat(owner, "validator", 10_000e18);
        bytes32 claimId = opened();
        expireClaim(claimId);
        address[] memory members = drawJury(claimId, 1);
        eq(members.length, 5, "size");
        for (uint256 i = 0; i < 5; ++i) {
            holds(members[i] != owner, "no party");
            for (uint256 j = 0; j < i; ++j) {
                holds(members[i] != members[j], "distinct");
            }
        }
        vm.expectRevert(Jury.Jury_Drawn.selector);
        jury.draw(claimId, 1);
    }

    function test_NoSeatAfterTheCallIsDrawn() public {
        bytes32 claimId = opened();
        expireClaim(claimId);
        for (uint256 i = 100; i < 140; ++i) {
            seat(vm.addr(validatorKey(i)), "validator", 10_000e18);
        }
        address[] memory members = drawJury(claimId, 1);
        for (uint256 i = 0; i < 5; ++i) {
            bool early = false;
            for (uint256 j = 0; j < 20; ++j) {
                if (members[i] == vm.addr(validatorKey(j))) early = true;
            }
            holds(early, "seated before");
        }
    }

    /// @dev Invariant 18: a copied commitment opens for nobody but its author.
    function test_ACopiedBallotDoesNotOpen() public {
        bytes32 claimId = opened();
        expireClaim(claimId);
        address[] memory members = drawJury(claimId, 1);
        Ballot memory said = ballot(claimId, 1, Outcome.Upheld, 16, 16);
        bytes32 commitment = commitmentOf(said, members[0]);
        vm.prank(members[0]);
        jury.commitBallot(claimId, 1, commitment);
        vm.prank(members[1]);
        jury.commitBallot(claimId, 1, commitment);
        vm.expectRevert(Jury.Jury_TooEarly.selector);
        vm.prank(members[0]);
        jury.revealBallot(said);
        vm.warp(jury.panelOf(claimId, 1).commitBy + 1);
        vm.expectRevert(Jury.Jury_BadBallot.selector);
        vm.prank(members[1]);
        jury.revealBallot(said);
        vm.prank(members[0]);
        jury.revealBallot(said);
        vm.expectRevert(Jury.Jury_BadBallot.selector);
        vm.prank(members[0]);
        jury.revealBallot(said);
        Ballot memory second = ballot(claimId, 2, Outcome.Upheld, 16, 16);
        vm.expectRevert();
        vm.prank(members[0]);
        jury.revealBallot(second);
    }

    /// @dev A ballot names its round: what was committed to for the first jury opens for no second one.
    function test_NoReplayAcrossRounds() public {
        bytes32 claimId = opened();
        expireClaim(claimId);
        vote(claimId, 1, 5, 16, 16);
        vm.startPrank(judge.claimOf(claimId).accused);
        currency.approve(court, type(uint256).max);
        judge.appeal(claimId);
        vm.stopPrank();
        address[] memory members = drawJury(claimId, 2);
        Ballot memory first = ballot(claimId, 1, Outcome.Upheld, 16, 16);
        bytes32 commitment = commitmentOf(first, members[0]);
        vm.prank(members[0]);
        jury.commitBallot(claimId, 2, commitment);
        vm.warp(jury.panelOf(claimId, 2).commitBy + 1);
        vm.startPrank(members[0]);
        vm.expectRevert(Jury.Jury_Late.selector);
        jury.revealBallot(first);
        Ballot memory second = ballot(claimId, 2, Outcome.Upheld, 16, 16);
        vm.expectRevert(Jury.Jury_BadBallot.selector);
        jury.revealBallot(second);
        vm.stopPrank();
    }

    function test_OnlyMembersInTime() public {
        bytes32 claimId = opened();
        expireClaim(claimId);
        vm.expectRevert();
        jury.draw(claimId, 1);
        address[] memory members = drawJury(claimId, 1);
        vm.expectRevert(abi.encodeWithSelector(Jury.Jury_NotDrawn.selector, address(this)));
        jury.commitBallot(claimId, 1, "ballot");
        vm.expectRevert(Jury.Jury_BadBallot.selector);
        vm.prank(members[0]);
        jury.commitBallot(claimId, 1, 0);
        vm.warp(jury.panelOf(claimId, 1).commitBy + 1);
        vm.expectRevert(Jury.Jury_Late.selector);
        vm.prank(members[0]);
        jury.commitBallot(claimId, 1, "ballot");
        Ballot memory said = ballot(claimId, 1, Outcome.Upheld, 1, 1);
        vm.warp(jury.panelOf(claimId, 1).revealBy + 1);
        vm.expectRevert(Jury.Jury_Late.selector);
        vm.prank(members[0]);
        jury.revealBallot(said);
    }

    function test_AMissedVoteCostsOnePercentOnce() public {
        bytes32 claimId = opened();
        expireClaim(claimId);
        address[] memory members = drawJury(claimId, 1);
        bytes memory why = abi.encodeWithSelector(Jury.Jury_NotMissed.selector, members[0]);
        vm.expectRevert(why);
        jury.fineVoter(claimId, 1, members[0]);
        vm.warp(jury.panelOf(claimId, 1).revealBy + 1);
        uint256 supply = currency.totalSupply();
        jury.fineVoter(claimId, 1, members[0]);
        eq(supply - currency.totalSupply(), 100e18, "burnt");
        vm.expectRevert(why);
        jury.fineVoter(claimId, 1, members[0]);
    }

    function test_AMissedSecretCostsOnePercentOnce() public {
        address validator = vm.addr(validatorKey(0));
        uint32 epoch = today() + 1;
        if (vm.getBlockTimestamp() + 12 hours >= parameters.epochStart(epoch)) epoch += 1;
        vm.warp(parameters.epochStart(epoch) - 1 days);
        vm.prank(validator);
        beacon.commit(epoch, "secret");
        bytes memory why = abi.encodeWithSelector(Jury.Jury_NotMissed.selector, validator);
        vm.expectRevert(why);
        jury.fineSecret(epoch, validator);
        vm.warp(parameters.epochStart(epoch));
        uint256 supply = currency.totalSupply();
        jury.fineSecret(epoch, validator);
        eq(supply - currency.totalSupply(), 100e18, "burnt");
        vm.expectRevert(why);
        jury.fineSecret(epoch, validator);
    }

    /// @dev The losing side appeals once, for twice the bond, to eleven.
    function test_AnAppealTurnsTheVerdict() public {
        bytes32 claimId = opened();
        expireClaim(claimId);
        vote(claimId, 1, 0, 0, 16);
        isState(claimId, ClaimState.Ruled);
        vm.prank(owner);
        judge.appeal(claimId);
        vm.expectRevert(abi.encodeWithSelector(DisputeCourt.Court_BadState.selector, claimId, ClaimState.Voting));
        vm.prank(owner);
        judge.appeal(claimId);
        vote(claimId, 2, 11, 16, 16);
        ended(claimId, Outcome.Upheld);
        eq(judge.owed(owner), 3_000e18, "bond and appeal back");
        eq(jury.panelOf(claimId, 2).members.length, 11, "eleven");
    }

    function test_ALostAppealCostsThreeBonds() public {
        bytes32 claimId = opened();
        expireClaim(claimId);
        vote(claimId, 1, 0, 0, 16);
        vm.prank(owner);
        judge.appeal(claimId);
        uint256 supply = currency.totalSupply();
        vote(claimId, 2, 0, 0, 16);
        ended(claimId, Outcome.Dismissed);
        eq(judge.owed(thief), 1_500e18, "half to the winner");
        eq(supply - currency.totalSupply(), 1_500e18 - 16 * uint256(93_750_000_000_000_000_000), "nothing but dust");
    }

    function test_TheWinnerDoesNotAppeal() public {
        bytes32 claimId = opened();
        expireClaim(claimId);
        vote(claimId, 1, 0, 0, 16);
        vm.expectRevert(abi.encodeWithSelector(DisputeCourt.Court_NotParty.selector, user));
        vm.prank(user);
        judge.appeal(claimId);
        uint64 deadline = judge.claimOf(claimId).deadline;
        vm.expectRevert(abi.encodeWithSelector(DisputeCourt.Court_TooEarly.selector, deadline));
        judge.rule(claimId);
        vm.warp(deadline + 1);
        vm.expectRevert(abi.encodeWithSelector(DisputeCourt.Court_Late.selector, deadline));
        vm.prank(owner);
        judge.appeal(claimId);
    }

    /// @dev A silent jury is followed by a larger one, and that by the governor or by time.
    function test_TheGovernorDecidesWhereJuriesAreSilent() public {
        bytes32 claimId = opened();
        expireClaim(claimId);
        expireClaim(claimId);
        eq(judge.claimOf(claimId).round, 2, "a larger one");
        expireClaim(claimId);
        isState(claimId, ClaimState.Hung);
        vm.expectRevert(abi.encodeWithSelector(DisputeCourt.Court_NotParty.selector, address(this)));
        judge.decide(claimId, Outcome.Upheld);
        vm.expectRevert(abi.encodeWithSelector(DisputeCourt.Court_BadOutcome.selector, Outcome.Forged));
        vm.prank(address(timelock));
        judge.decide(claimId, Outcome.Forged);
        vm.prank(address(timelock));
        judge.decide(claimId, Outcome.Upheld);
        judge.execute(claimId);
        eq(uint8(registry.stateOf(accused, 1)), uint8(VersionState.Revoked), "revoked");
    }

    function test_TimeAcquitsWhereNobodyJudged() public {
        bytes32 claimId = opened();
        for (uint256 i = 0; i < 4; ++i) {
            expireClaim(claimId);
        }
        ended(claimId, Outcome.Dismissed);
        vm.expectRevert(abi.encodeWithSelector(DisputeCourt.Court_BadState.selector, claimId, ClaimState.Executed));
        judge.rule(claimId);
    }

    function test_VotersHaveTheirPartOfThePool() public {
        earn(accusedHosting, address(0), 64e6);
        skip(1);
        bytes32 claimId = opened();
        expireClaim(claimId);
        vote(claimId, 1, 0, 0, 16);
        vm.expectRevert(abi.encodeWithSelector(DisputeCourt.Court_BadState.selector, claimId, ClaimState.Ruled));
        judge.payVoters(claimId, address(coin));
        expireClaim(claimId);
        vm.warp(registry.versionOf(accused, 1).windowEnds);
        registry.activate(accused, 1);
        router.release(accusedHosting, address(0), address(coin));
        address voter = jury.votersFor(claimId, 1, Outcome.Dismissed)[0];
        judge.payVoters(claimId, address(coin));
        eq(coin.balanceOf(voter), uint256(1_872_000) / 64, "3 % of the rest, a sixty-fourth of it");
        vm.expectRevert(abi.encodeWithSelector(DisputeCourt.Court_PoolPaid.selector, claimId, address(coin)));
        judge.payVoters(claimId, address(coin));
    }

    function test_OnlyTheCourtConvenesAndOnlyOfficersSlash() public {
        vm.expectRevert(abi.encodeWithSelector(Jury.Jury_NotCourt.selector, address(this)));
        jury.convene(0, 1, 5, new address[](0));
        bytes memory refusal = abi.encodeWithSelector(DisputeCourt.Court_NotParty.selector, address(this));
        vm.expectRevert(refusal);
        judge.slashSeat("validator", vm.addr(validatorKey(0)), 100);
        vm.expectRevert(refusal);
        judge.burnLeaf(0, 0);
        vm.expectRevert(abi.encodeWithSelector(Examiner.Examiner_NotCourt.selector, address(this)));
        ownership.open(0, address(this), "");
    }
}
