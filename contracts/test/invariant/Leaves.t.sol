// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {FiredLeaf, LeakEvidence} from "../../src/examiners/LeakExaminer.sol";
import {LeafOpening, OwnershipEvidence} from "../../src/examiners/OwnershipExaminer.sol";
import {ClaimKind} from "../../src/interfaces/IDisputeCourt.sol";
import {ProbeState} from "../../src/interfaces/IProbeBoard.sol";
import {Delivery, Messages} from "../../src/libraries/Messages.sol";
import {Node, Tree} from "../../src/libraries/Tree.sol";
import {ProbeOpening, ProbeRequest} from "../../src/ProbeReader.sol";
import {ProbeWorld} from "../ProbeWorld.sol";

/// @notice Fingerprints that are probed, shown to a court as one's own, and traced, in any order.
contract LeafHandler is ProbeWorld {
    using Messages for Delivery;

    bytes32 private commitment;
    uint64 private committedAt;
    mapping(uint256 index => uint256) private uses;
    address private thief = vm.addr(0x7413f);
    uint256 private names = 100;
    bytes32[] private subset;

    function prepare() external {
        setUp();
        commitment = registry.versionOf(modelId, 1).commitment;
        committedAt = registry.commitmentOf(commitment).committedAt;
        currency.transfer(thief, 1_000_000e18);
        wealth(owner);
        currency.transfer(claimant, 10_000_000e18);
        currency.transfer(owner, 10_000_000e18);
        for (uint256 i = 48; i < 64; ++i) {
            subset.push(digests[i]);
        }
    }

    /// @dev A day passes, in which the hosting served nothing.
    function nextDay() private {
        uint32 epoch = today();
        nextSeed();
        postTree(hostingId, epoch, new Node[](0));
    }

    /// @dev What a leaf counts in is younger than its root.
    function count(uint256 index, uint64 accused) private {
        holds(committedAt < accused, "older than what it convicts");
        ++uses[index];
    }

    function probe(uint256 many) external {
        uint32 epoch = today();
        ProbeRequest[] memory requests = new ProbeRequest[](1 + many % 4);
        for (uint16 i = 0; i < requests.length; ++i) {
            requests[i] = requestOf(epoch, i, true);
            commitResult(requests[i]);
        }
        nextDay();
        for (uint256 i = 0; i < requests.length; ++i) {
            uint32 index = requests[i].ticket.index;
            bool burnt = registry.isBurnt(commitment, index);
            ask(requests[i]);
            bool isVoid = board.probeOf(requests[i].slot).state == ProbeState.Void;
            holds(isVoid == burnt, "a burnt leaf is void");
            if (isVoid) continue;
            ProbeOpening memory opening = openingOf(requests[i]);
            board.openResult(opening);
            count(index, parameters.epochStart(epoch));
            vm.expectRevert();
            board.openResult(opening);
        }
    }

    function own(uint256 which) external {
        address maker = owner;
        owner = thief;
        bytes32 name = bytes32(++names);
        // The thief's commitment takes a day.
        uint32 epoch = today();
        uint256 stolen = madeOf(name, name);
        owner = maker;
        postTree(hostingId, epoch, new Node[](0));
        bytes memory evidence = abi.encode(OwnershipEvidence(modelId, 1, stolen, 1, 256, 1));
        bytes32 claimId = announce(owner, ClaimKind.Ownership, evidence);
        vm.prank(owner);
        judge.open(ClaimKind.Ownership, evidence, bytes32(claims));
        nextDay();
        uint32[] memory drawn = ownership.leavesOf(claimId);
        if (drawn.length == 0) return;
        uint32 place = uint32(which % drawn.length);
        uint32 index = drawn[place];
        LeafOpening[] memory one = new LeafOpening[](1);
        one[0] = LeafOpening(place, query(index), blinding("r", index), spec, proofOf(plainTree(digests), index));
        bool burnt = registry.isBurnt(commitment, index);
        if (burnt) vm.expectRevert();
        ownership.openLeaves(claimId, one);
        if (!burnt) count(index, registry.versionOf(stolen, 1).committedAt);
    }

    function trace(uint256 from) external {
        uint256 traced = bonded(modelId);
        vm.prank(owner);
        gate.prepare(traced, "copy", Tree.root(16, topOf(plainTree(subset))));
        bytes32 root = Tree.root(16, topOf(plainTree(subset)));
        Delivery memory made = Delivery(traced, 1, "copy", root, "build", uint64(vm.getBlockTimestamp()));
        gate.deliver(made, signed(SIGNER, registry.digest(made.hash())));
        uint256 least = leak.firedMin();
        if (least > 16) return;
        from %= 17 - least;
        LeakEvidence memory data;
        (data.hostingId, data.endpointHash, data.transcriptHash) = (traced, "elsewhere", bytes32(++names));
        data.fired = new FiredLeaf[](least);
        bool burnt = false;
        for (uint32 i = 0; i < least; ++i) {
            uint32 place = uint32(from) + i;
            data.fired[i] =
                FiredLeaf(subset[place], proofOf(plainTree(digests), 48 + place), proofOf(plainTree(subset), place));
            if (registry.isBurnt(commitment, 48 + place)) burnt = true;
        }
        bytes memory evidence = abi.encode(data);
        announce(claimant, ClaimKind.Leak, evidence);
        if (burnt) vm.expectRevert();
        vm.prank(claimant);
        judge.open(ClaimKind.Leak, evidence, bytes32(claims));
        for (uint256 i = 0; !burnt && i < least; ++i) {
            count(48 + from + i, made.deliveredAt);
        }
    }

    /// @dev Invariant 9.
    function usedOnce() external view {
        for (uint32 i = 0; i < 64; ++i) {
            holds(uses[i] <= 1, "in one claim");
            holds(registry.isBurnt(commitment, i) == (uses[i] == 1), "burnt with it");
        }
    }
}

contract LeafInvariants {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    LeafHandler private handler;

    function setUp() public {
        handler = new LeafHandler();
        handler.prepare();
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        bytes4[] memory selectors = new bytes4[](3);
        selectors[0] = LeafHandler.probe.selector;
        selectors[1] = LeafHandler.own.selector;
        selectors[2] = LeafHandler.trace.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), selectors);
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    /// forge-config: default.invariant.runs = 32
    /// forge-config: default.invariant.depth = 48
    function invariant_9_ALeafIsBurntOnce() public view {
        handler.usedOnce();
    }
}
