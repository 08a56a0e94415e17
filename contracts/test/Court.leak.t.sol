// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Opening} from "../src/Gate.sol";
import {Registry} from "../src/Registry.sol";
import {Examiner} from "../src/examiners/Examiner.sol";
import {FiredLeaf, LeakEvidence} from "../src/examiners/LeakExaminer.sol";
import {ClaimKind, ClaimState, Outcome} from "../src/interfaces/IDisputeCourt.sol";
import {HostingState} from "../src/interfaces/IGate.sol";
import {Delivery, Messages} from "../src/libraries/Messages.sol";
import {Tree} from "../src/libraries/Tree.sol";
import {ProbeWorld} from "./ProbeWorld.sol";

contract CourtLeakTest is ProbeWorld {
    using Messages for Delivery;

    uint256 private traced;
    bytes32[] private subset;
    uint32[] private chosen;
    Delivery private delivered;

    function setUp() public override {
        super.setUp();
        seatValidators(12);
        for (uint32 i = 48; i < 64; ++i) {
            chosen.push(i);
            subset.push(digests[i]);
        }
        traced = bonded(modelId);
        vm.startPrank(owner);
        gate.prepare(traced, "copy", Tree.root(16, topOf(plainTree(subset))));
        gate.setImage(modelId, "image", uint64(vm.getBlockTimestamp() + 365 days));
        vm.stopPrank();
        bytes32 subsetRoot = Tree.root(16, topOf(plainTree(subset)));
        delivered = Delivery(traced, 1, "copy", subsetRoot, "image", uint64(vm.getBlockTimestamp()));
        gate.deliver(delivered, signed(SIGNER, registry.digest(delivered.hash())));
    }

    function evidence(uint256 count, bool attested) private view returns (LeakEvidence memory data) {
        data.hostingId = traced;
        data.endpointHash = "elsewhere";
        data.transcriptHash = "transcript";
        data.fired = new FiredLeaf[](count);
        for (uint32 i = 0; i < count; ++i) {
            data.fired[i] = FiredLeaf(subset[i], proofOf(plainTree(digests), chosen[i]), proofOf(plainTree(subset), i));
        }
        if (!attested) return data;
        data.delivery = delivered;
        data.signature = signed(SIGNER, registry.digest(delivered.hash()));
    }

    function bad(LeakEvidence memory data, bytes32 fact) private {
        refused(ClaimKind.Leak, abi.encode(data), abi.encodeWithSelector(Examiner.Examiner_BadEvidence.selector, fact));
    }

    function convicted(bool attested) private returns (bytes32 claimId) {
        claimId = claim(ClaimKind.Leak, abi.encode(evidence(11, attested)));
        expireClaim(claimId);
        vote(claimId, 1, 5, 0, 0);
        expireClaim(claimId);
        judge.execute(claimId);
    }

    function test_AnAttestedCopyCostsHalfTheBond() public {
        convicted(true);
        eq(vault.rewards(claimant, address(coin)), 180e6, "claimant");
        eq(uint8(gate.hostingOf(traced).state), uint8(HostingState.Exiting), "closed");
        skip(14 days);
        gate.close(traced);
        eq(coin.balanceOf(host), 360e6, "the other half");
    }

    /// @dev Whoever embeds holds every copy: without an attested build nobody is slashed.
    function test_AnotherCopyOnlyClosesTheHosting() public {
        convicted(false);
        eq(uint8(gate.hostingOf(traced).state), uint8(HostingState.Exiting), "closed");
        skip(14 days);
        gate.close(traced);
        eq(coin.balanceOf(host), 720e6, "all of it");
    }

    /// @dev Two hostings and one in a thousand: eleven leaves.
    function test_SoManyLeavesAreNoChance() public {
        eq(leak.firedMin(), 11, "least");
        bad(evidence(10, true), "too few leaves");
        LeakEvidence memory data = evidence(11, true);
        data.fired[5] = data.fired[4];
        bad(data, "order of leaves");
        data = evidence(11, true);
        data.endpointHash = keccak256("host.example");
        bad(data, "endpoint is registered");
        data = evidence(11, true);
        data.hostingId = hostingId;
        bad(data, "copy is not traced");
        data = evidence(11, true);
        data.fired[0].subset.siblings[0].hash = "other";
        refused(ClaimKind.Leak, abi.encode(data), abi.encodeWithSelector(Tree.Tree_BadProof.selector));
    }

    function test_ALeafTracesOnce() public {
        bytes32 claimId = claim(ClaimKind.Leak, abi.encode(evidence(11, true)));
        LeakEvidence memory data = evidence(11, true);
        data.transcriptHash = "another";
        refused(ClaimKind.Leak, abi.encode(data), abi.encodeWithSelector(Registry.Registry_LeafSpent.selector, 48));
        holds(leak.weigh(claimId, Outcome.Forged, 0, 0) == Outcome.Dismissed, "no forgery here");
    }

    function test_AForeignSignatureAttestsNothing() public {
        LeakEvidence memory data = evidence(11, true);
        data.signature = signed(USER, registry.digest(delivered.hash()));
        holds(!leak.isAttested(claim(ClaimKind.Leak, abi.encode(data))), "not attested");
    }

    function test_AJuryMayAcquit() public {
        bytes32 claimId = claim(ClaimKind.Leak, abi.encode(evidence(11, true)));
        vm.prank(host);
        judge.plead(claimId, "");
        expireClaim(claimId);
        vote(claimId, 1, 2, 0, 0);
        expireClaim(claimId);
        ended(claimId, Outcome.Dismissed);
        eq(judge.owed(host), 150e18, "own bond and half");
        eq(gate.bondOf(traced), 720e6, "bond");
    }
}
