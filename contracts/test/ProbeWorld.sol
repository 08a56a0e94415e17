// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ProbeOpening, ProbeRequest} from "../src/ProbeReader.sol";
import {ResultCommit} from "../src/ProbeBoard.sol";
import {Commitment, VersionTerms} from "../src/interfaces/IRegistry.sol";
import {ProbeState, Slot} from "../src/interfaces/IProbeBoard.sol";
import {Leaves} from "../src/libraries/Leaves.sol";
import {Messages, ProbeResult, ProbeTicket} from "../src/libraries/Messages.sol";
import {Node, Tree} from "../src/libraries/Tree.sol";
import {CourtWorld} from "./CourtWorld.sol";

/// @notice A model with real leaves of 256 candidates, a hosting, provers, and the steps of a probe.
abstract contract ProbeWorld is CourtWorld {
    using Messages for ProbeTicket;
    using Messages for ProbeResult;

    uint256 internal constant TICKETS = 0x71c;
    uint256 internal constant WIDTH = 256;

    uint256 internal modelId;
    uint256 internal hostingId;
    bytes32 internal leafRoot;
    bytes internal spec;
    bytes32[] internal digests;

    function setUp() public virtual override {
        super.setUp();
        leafCount = leafCountOf();
        spec = specOf();
        (leafRoot, digests) = leaves(spec, "r");
        modelId = madeOf("first", leafRoot);
        skip(7 days);
        registry.activate(modelId, 1);
        vm.prank(owner);
        reader.setTicketSigner(modelId, vm.addr(TICKETS));
        for (uint256 i = 0; i < 4; ++i) {
            seat(prover(i), "prover", 2_000e18);
        }
        nextSeed();
        hostingId = serving(modelId);
    }

    function leafCountOf() internal pure virtual returns (uint32) {
        return 64;
    }

    function specOf() internal pure virtual returns (bytes memory) {
        return abi.encode("verbatim", abi.encode(candidates()));
    }

    function madeOf(bytes32 name, bytes32 root) internal returns (uint256) {
        VersionTerms memory terms = termsOf(owner, name);
        terms.leafRoot = root;
        return contestable(terms);
    }

    function leaves(bytes memory answerSpec, bytes32 salt) internal view returns (bytes32 root, bytes32[] memory all) {
        all = new bytes32[](leafCount);
        for (uint32 i = 0; i < all.length; ++i) {
            all[i] = Leaves.digest(keccak256(query(i)), blinding(salt, i), answerSpec);
        }
        root = Tree.root(uint32(all.length), topOf(plainTree(all)));
    }

    function prover(uint256 number) internal pure returns (address) {
        return vm.addr(0x9407_0000 + number);
    }

    function candidates() internal pure returns (bytes[] memory all) {
        all = new bytes[](WIDTH);
        for (uint256 i = 0; i < WIDTH; ++i) {
            all[i] = abi.encodePacked(" ", uint8(i));
        }
    }

    function query(uint32 index) internal pure returns (bytes memory) {
        return abi.encodePacked("What grows in field ", vm.toString(index), "?");
    }

    function blinding(bytes32 salt, uint32 index) internal pure returns (bytes32) {
        return keccak256(abi.encode(salt, index));
    }

    function secretOf(uint32 index) internal view returns (bytes32) {
        Commitment memory commitment = registry.commitmentOf(registry.versionOf(modelId, 1).commitment);
        return Leaves.secret(blinding("r", index), leafRoot, beacon.seed(commitment.beaconEpoch), index);
    }

    /// @dev What the marked model says, or another candidate.
    function reply(uint32 index, bool hit) internal view virtual returns (bytes[] memory replies) {
        uint256 chosen = uint256(keccak256(abi.encode(secretOf(index)))) % WIDTH;
        bytes[] memory pieces = new bytes[](1);
        pieces[0] = candidates()[hit ? chosen : (chosen + 1) % WIDTH];
        replies = new bytes[](1);
        replies[0] = abi.encode(pieces);
    }

    function slotOf(uint32 epoch, uint16 number) internal view returns (Slot memory) {
        return Slot(hostingId, epoch, number);
    }

    /// @dev All that a prover and an owner have to show for a slot of an epoch.
    function requestOf(uint32 epoch, uint16 number, bool hit) internal view returns (ProbeRequest memory request) {
        (address[] memory provers, uint32[] memory drawn) = reader.draw(hostingId, epoch);
        uint32 index = drawn[number];
        request.slot = slotOf(epoch, number);
        request.query = query(index);
        request.ticket = ProbeTicket({
            modelId: modelId,
            version: 1,
            hostingId: hostingId,
            endpointHash: keccak256("host.example"),
            epoch: epoch,
            slot: number,
            prover: provers[number],
            index: index,
            queryHash: keccak256(request.query),
            expiresAt: parameters.epochStart(epoch + 1)
        });
        bytes32 ticketId = registry.digest(request.ticket.hash());
        request.ticketSignature = signed(TICKETS, ticketId);
        request.salt = keccak256(abi.encode("salt", epoch, number));
        request.replies = reply(index, hit);
        bytes32 observed = keccak256(abi.encode(request.salt, ticketId, request.replies));
        request.result = ProbeResult(ticketId, 2, observed, "transcript", parameters.epochStart(epoch) + 1 hours);
    }

    function commitResult(ProbeRequest memory request) internal {
        ResultCommit[] memory results = new ResultCommit[](1);
        results[0] = ResultCommit(request.slot.hostingId, request.slot.number, registry.digest(request.result.hash()));
        vm.prank(request.ticket.prover);
        board.commitResults(results);
    }

    function ask(ProbeRequest memory request) internal {
        vm.prank(request.ticket.prover);
        board.requestAnswer(request);
    }

    function openingOf(ProbeRequest memory request) internal view returns (ProbeOpening memory) {
        uint32 index = request.ticket.index;
        return ProbeOpening({
            slot: request.slot,
            salt: request.salt,
            replies: request.replies,
            blinding: blinding("r", index),
            answerSpec: spec,
            proof: proofOf(plainTree(digests), index)
        });
    }

    /// @dev A day of probes, committed, reported as `nodes`, asked for and opened; hits first.
    function probeDay(uint256 count, uint256 hits, Node[] memory nodes) internal returns (uint32 epoch) {
        epoch = today();
        ProbeRequest[] memory requests = new ProbeRequest[](count);
        for (uint16 i = 0; i < count; ++i) {
            requests[i] = requestOf(epoch, i, i < hits);
            commitResult(requests[i]);
        }
        nextSeed();
        postTree(hostingId, epoch, nodes);
        for (uint256 i = 0; i < count; ++i) {
            ask(requests[i]);
            // A leaf that was drawn on an earlier day is void.
            if (board.probeOf(requests[i].slot).state != ProbeState.Requested) continue;
            board.openResult(openingOf(requests[i]));
        }
    }
}
