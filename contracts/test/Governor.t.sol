// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";
import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";
import {GovernorFactory} from "../src/GovernorFactory.sol";
import {LoyalGovernor} from "../src/LoyalGovernor.sol";
import {ModelGovernor} from "../src/ModelGovernor.sol";
import {ModelShares} from "../src/ModelShares.sol";
import {ModelTimelock} from "../src/ModelTimelock.sol";
import {ModelTreasury} from "../src/ModelTreasury.sol";
import {Parameters} from "../src/Parameters.sol";
import {ProtocolTimelock} from "../src/ProtocolTimelock.sol";
import {Registry} from "../src/Registry.sol";
import {RevenueRouter} from "../src/RevenueRouter.sol";
import {Parameter} from "../src/interfaces/IParameters.sol";
import {VersionTerms} from "../src/interfaces/IRegistry.sol";
import {Route, Split} from "../src/libraries/Split.sol";
import {World} from "./World.sol";

/// @notice Votes of LOYAL and of a model's shares, from the proposal to what the timelock does.
contract GovernorTest is World {
    LoyalGovernor private loyal;
    GovernorFactory private founder;
    ModelGovernor private governor;
    ModelTimelock private modelLock;
    uint256 private modelId;
    address private whale = vm.addr(0x3a1e);

    function setUp() public override {
        super.setUp();
        loyal = LoyalGovernor(
            payable(put("LoyalGovernor", type(LoyalGovernor).creationCode, abi.encode(currency, timelock)))
        );
        timelock.schedule(
            address(timelock),
            0,
            abi.encodeCall(timelock.grantRole, (timelock.PROPOSER_ROLE(), address(loyal))),
            0,
            0,
            2 days
        );
        skip(2 days);
        timelock.execute(
            address(timelock), 0, abi.encodeCall(timelock.grantRole, (timelock.PROPOSER_ROLE(), address(loyal))), 0, 0
        );
        timelock.renounceRole(timelock.PROPOSER_ROLE(), address(this));
        timelock.renounceRole(timelock.CANCELLER_ROLE(), address(this));
        foundModels();
        vesting.release(0);
        vm.prank(vm.addr(0x9e));
        currency.transfer(whale, 2_000_000_000e18);
        vm.prank(whale);
        currency.delegate(whale);
        skip(1);
    }

    function foundModels() private {
        bytes memory args = abi.encode(registry, router);
        address governorCode = put("ModelGovernor", type(ModelGovernor).creationCode, args);
        address timelockCode = put("ModelTimelock", type(ModelTimelock).creationCode, "");
        args = abi.encode(registry, governorCode, timelockCode);
        founder = GovernorFactory(put("GovernorFactory", type(GovernorFactory).creationCode, args));
        modelId = active("first");
        founder.found(modelId);
        governor = ModelGovernor(payable(founder.governorOf(modelId)));
        modelLock = ModelTimelock(payable(founder.timelockOf(modelId)));
        vm.prank(owner);
        registry.setController(modelId, address(modelLock));
        uint256[3] memory keys = [ALICE, BOB, CHARLIE];
        for (uint256 i = 0; i < 3; ++i) {
            address holder = vm.addr(keys[i]);
            ModelShares shares = sharesOf(modelId);
            vm.prank(holder);
            shares.delegate(holder);
        }
    }

    function call(address target, bytes memory data)
        private
        pure
        returns (address[] memory targets, uint256[] memory values, bytes[] memory calls)
    {
        targets = new address[](1);
        values = new uint256[](1);
        calls = new bytes[](1);
        (targets[0], calls[0]) = (target, data);
    }

    function propose(IGovernor dao, address from, address target, bytes memory data) private returns (uint256) {
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) = call(target, data);
        vm.prank(from);
        return dao.propose(targets, values, calls, "why");
    }

    function isState(IGovernor dao, uint256 id, IGovernor.ProposalState state) private view {
        eq(uint8(dao.state(id)), uint8(state), "state");
    }

    function cast(IGovernor dao, uint256 id, address voter, uint8 support) private {
        vm.prank(voter);
        dao.castVote(id, support);
    }

    function toVote(IGovernor dao, uint256 id) private {
        vm.warp(dao.proposalSnapshot(id) + 1);
    }

    function carryOut(IGovernor dao, uint256 id, uint256 delay, address target, bytes memory data) private {
        vm.warp(dao.proposalDeadline(id) + 1);
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) = call(target, data);
        dao.queue(targets, values, calls, keccak256("why"));
        skip(delay - 1);
        vm.expectRevert();
        dao.execute(targets, values, calls, keccak256("why"));
        skip(1);
        dao.execute(targets, values, calls, keccak256("why"));
    }

    // --- the protocol

    function test_AVoteOfLoyalSetsAParameter() public {
        bytes memory data = abi.encodeCall(Parameters.set, (Parameter.ProtocolFeeBps, 300));
        uint256 id = propose(loyal, whale, address(parameters), data);
        toVote(loyal, id);
        cast(loyal, id, whale, 1);
        carryOut(loyal, id, 2 days, address(parameters), data);
        eq(parameters.get(Parameter.ProtocolFeeBps), 300, "set");
    }

    /// @dev Invariant 16: no vote leaves the bounds, and nobody else sets.
    function test_BoundsHoldForVotesToo() public {
        bytes memory data = abi.encodeCall(Parameters.set, (Parameter.ProtocolFeeBps, 1_001));
        uint256 id = propose(loyal, whale, address(parameters), data);
        toVote(loyal, id);
        cast(loyal, id, whale, 1);
        vm.warp(loyal.proposalDeadline(id) + 1);
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) = call(address(parameters), data);
        loyal.queue(targets, values, calls, keccak256("why"));
        skip(2 days);
        vm.expectRevert();
        loyal.execute(targets, values, calls, keccak256("why"));
        vm.expectRevert(abi.encodeWithSelector(Parameters.Parameters_NotTimelock.selector, whale));
        vm.prank(whale);
        parameters.set(Parameter.ProtocolFeeBps, 300);
    }

    function test_TheQuorumIsFourPercent() public {
        address small = vm.addr(0x5a11);
        vm.prank(vm.addr(0x9e));
        currency.transfer(small, 1_000_000_000e18);
        vm.prank(small);
        currency.delegate(small);
        skip(1);
        uint256 id = propose(loyal, small, address(parameters), "");
        toVote(loyal, id);
        cast(loyal, id, small, 1);
        vm.warp(loyal.proposalDeadline(id) + 1);
        isState(loyal, id, IGovernor.ProposalState.Defeated);
        eq(loyal.quorum(vm.getBlockTimestamp() - 1), (currency.totalSupply() * 4) / 100, "quorum");
    }

    /// @dev Votes bought within a block, or after the snapshot, count for nothing.
    function test_BorrowedVotesDoNotCount() public {
        uint256 id = propose(loyal, whale, address(parameters), "");
        vm.warp(loyal.proposalSnapshot(id));
        vm.prank(whale);
        currency.transfer(user, 2_000_000_000e18);
        vm.prank(user);
        currency.delegate(user);
        vm.prank(user);
        currency.transfer(whale, 2_000_000_000e18);
        toVote(loyal, id);
        vm.prank(whale);
        currency.transfer(builder, 2_000_000_000e18);
        vm.prank(builder);
        currency.delegate(builder);
        cast(loyal, id, user, 1);
        cast(loyal, id, builder, 1);
        (, uint256 pro,) = loyal.proposalVotes(id);
        eq(pro, 0, "nothing");
        cast(loyal, id, whale, 1);
        (, pro,) = loyal.proposalVotes(id);
        eq(pro, 2_000_000_000e18, "who held at the snapshot");
        vm.expectRevert();
        cast(loyal, id, whale, 1);
    }

    function test_AProposalNeedsAMillion() public {
        vm.expectRevert();
        propose(loyal, user, address(parameters), "");
    }

    /// @dev A quorum reached in the last minute leaves a day to answer it.
    function test_ALateQuorumExtendsTheVote() public {
        uint256 id = propose(loyal, whale, address(parameters), "");
        uint256 deadline = loyal.proposalDeadline(id);
        vm.warp(deadline - 60);
        cast(loyal, id, whale, 1);
        eq(loyal.proposalDeadline(id), deadline - 60 + 1 days, "extended");
    }

    function test_ItsProposerMayCancel() public {
        uint256 id = propose(loyal, whale, address(parameters), "");
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) = call(address(parameters), "");
        vm.expectRevert();
        vm.prank(user);
        loyal.cancel(targets, values, calls, keccak256("why"));
        toVote(loyal, id);
        vm.prank(whale);
        loyal.cancel(targets, values, calls, keccak256("why"));
        isState(loyal, id, IGovernor.ProposalState.Canceled);
    }

    /// @dev A timelock without a delay at timestamp 1 would take a queued operation for done.
    function test_NoTimelockLosesItsDelay() public {
        vm.prank(address(timelock));
        timelock.updateDelay(0);
        eq(timelock.getMinDelay(), 1, "never nothing");
        vm.prank(address(modelLock));
        modelLock.updateDelay(0);
        eq(modelLock.getMinDelay(), 1 days, "a day at least");
        vm.expectRevert(LoyalGovernor.Governor_TimelockFixed.selector);
        loyal.updateTimelock(timelock);
        vm.expectRevert(ModelGovernor.Governor_TimelockFixed.selector);
        governor.updateTimelock(modelLock);
        vm.expectRevert(ProtocolTimelock.Timelock_NoDelay.selector);
        new ProtocolTimelock(0, new address[](0));
    }

    // --- a model

    function passes(address target, bytes memory data) private {
        uint256 id = propose(governor, vm.addr(ALICE), target, data);
        toVote(governor, id);
        cast(governor, id, vm.addr(ALICE), 1);
        carryOut(governor, id, 1 days, target, data);
    }

    /// @dev Shares that are bought and given back within the block of the snapshot, or bought after it, vote for nothing.
    function test_BorrowedSharesDoNotVote() public {
        uint256 id = propose(governor, vm.addr(ALICE), address(modelLock), "");
        ModelShares shares = sharesOf(modelId);
        uint256 all = shares.balanceOf(vm.addr(ALICE));
        vm.warp(governor.proposalSnapshot(id));
        vm.prank(vm.addr(ALICE));
        shares.transfer(user, all);
        vm.startPrank(user);
        shares.delegate(user);
        shares.transfer(vm.addr(ALICE), all);
        vm.stopPrank();
        toVote(governor, id);
        vm.prank(vm.addr(ALICE));
        shares.transfer(builder, all);
        vm.prank(builder);
        shares.delegate(builder);
        cast(governor, id, user, 1);
        cast(governor, id, builder, 1);
        (, uint256 pro,) = governor.proposalVotes(id);
        eq(pro, 0, "nothing");
        cast(governor, id, vm.addr(ALICE), 1);
        (, pro,) = governor.proposalVotes(id);
        eq(pro, all, "who held at the snapshot");
    }

    /// @dev Golden case 2: David's fine-tune is approved, and paid 5 % of the shares out of the reserve.
    function test_DavidsFineTune() public {
        VersionTerms memory terms = termsOf(vm.addr(DAVID), "fine-tune");
        terms.termsHash = termsOf(owner, "first").termsHash;
        commit(vm.addr(DAVID), terms.leafRoot, address(modelLock));
        address[] memory targets = new address[](2);
        uint256[] memory values = new uint256[](2);
        bytes[] memory calls = new bytes[](2);
        targets[0] = address(registry);
        calls[0] = abi.encodeCall(Registry.submitVersion, (modelId, terms));
        targets[1] = address(treasuryOf(modelId));
        calls[1] = abi.encodeCall(ModelTreasury.pay, (sharesOf(modelId), vm.addr(DAVID), 50_000e18));
        vm.prank(vm.addr(ALICE));
        uint256 id = governor.propose(targets, values, calls, "fine-tune");
        holds(!governor.isForOwners(id), "half of the votes are enough");
        toVote(governor, id);
        cast(governor, id, vm.addr(ALICE), 1);
        cast(governor, id, vm.addr(BOB), 0);
        vm.warp(governor.proposalDeadline(id) + 1);
        governor.queue(targets, values, calls, keccak256("fine-tune"));
        skip(1 days);
        governor.execute(targets, values, calls, keccak256("fine-tune"));
        string memory json = vm.readFile("test/vectors/golden.json");
        uint256[] memory expected = vm.parseJsonUintArray(json, ".fine_tune.shares");
        eq(sharesOf(modelId).balanceOf(vm.addr(ALICE)), expected[0] * 1e18, "Alice");
        eq(sharesOf(modelId).balanceOf(vm.addr(BOB)), expected[1] * 1e18, "Bob");
        eq(sharesOf(modelId).balanceOf(vm.addr(CHARLIE)), expected[2] * 1e18, "Charlie");
        eq(sharesOf(modelId).balanceOf(vm.addr(DAVID)), expected[3] * 1e18, "David");
        eq(sharesOf(modelId).balanceOf(address(treasuryOf(modelId))), expected[4] * 1e18, "reserve");
        eq(registry.modelOf(modelId).pendingVersion, 2, "in its window");
        skip(7 days);
        registry.activate(modelId, 2);
        eq(registry.modelOf(modelId).activeVersion, 2, "active");
    }

    function needs(address target, bytes memory data, bool owners) private {
        uint256 id = propose(governor, vm.addr(ALICE), target, data);
        holds(governor.isForOwners(id) == owners, "majority");
        skip(1);
    }

    /// @dev Owner, split and terms need two thirds; so does every door that is not known to be harmless.
    function test_WhatNeedsTwoThirds() public {
        needs(address(registry), abi.encodeCall(Registry.setController, (modelId, user)), true);
        needs(address(registry), abi.encodeCall(IERC721.approve, (user, modelId)), true);
        needs(address(registry), abi.encodeCall(Registry.retire, (modelId)), true);
        needs(address(registry), abi.encodeCall(Registry.setOpenHosting, (modelId, false)), false);
        needs(address(registry), abi.encodeCall(Registry.setFloor, (modelId, address(coin), 1, 1)), false);
        Route memory route = Split.standard();
        needs(address(router), abi.encodeCall(RevenueRouter.scheduleRoute, (modelId, route)), true);
        bytes[] memory calls = new bytes[](1);
        calls[0] = abi.encodeCall(RevenueRouter.scheduleRoute, (modelId, route));
        needs(address(router), abi.encodeCall(router.multicall, (calls)), true);
        needs(address(modelLock), abi.encodeCall(modelLock.updateDelay, (1)), true);
        needs(address(governor), "", true);
        needs(address(credentials), "", false);
        VersionTerms memory terms = termsOf(owner, "other terms");
        needs(address(registry), abi.encodeCall(Registry.submitVersion, (modelId, terms)), true);
        terms.termsHash = termsOf(owner, "first").termsHash;
        needs(address(registry), abi.encodeCall(Registry.submitVersion, (modelId, terms)), false);
    }

    function test_TwoThirdsAreMoreThanHalf() public {
        bytes memory data = abi.encodeCall(Registry.setController, (modelId, user));
        uint256 id = propose(governor, vm.addr(ALICE), address(registry), data);
        toVote(governor, id);
        cast(governor, id, vm.addr(ALICE), 1);
        cast(governor, id, vm.addr(BOB), 0);
        cast(governor, id, vm.addr(CHARLIE), 0);
        vm.warp(governor.proposalDeadline(id) + 1);
        isState(governor, id, IGovernor.ProposalState.Defeated);
        id = propose(governor, vm.addr(BOB), address(registry), abi.encodeCall(Registry.setController, (modelId, host)));
        toVote(governor, id);
        cast(governor, id, vm.addr(ALICE), 1);
        cast(governor, id, vm.addr(BOB), 0);
        vm.warp(governor.proposalDeadline(id) + 1);
        isState(governor, id, IGovernor.ProposalState.Succeeded);
    }

    function test_ATieIsNoHalf() public {
        bytes memory data = abi.encodeCall(Registry.setOpenHosting, (modelId, false));
        uint256 id = propose(governor, vm.addr(ALICE), address(registry), data);
        toVote(governor, id);
        cast(governor, id, vm.addr(ALICE), 0);
        cast(governor, id, vm.addr(BOB), 1);
        cast(governor, id, vm.addr(CHARLIE), 1);
        vm.warp(governor.proposalDeadline(id) + 1);
        isState(governor, id, IGovernor.ProposalState.Defeated);
    }

    function test_ATenthOfTheSharesMustVote() public {
        eq(governor.quorum(vm.getBlockTimestamp() - 1), 100_000e18, "a tenth");
        eq(governor.proposalThreshold(), 10_000e18, "one percent to propose");
        passes(address(registry), abi.encodeCall(Registry.setOpenHosting, (modelId, false)));
        holds(!registry.modelOf(modelId).openHosting, "carried out");
    }

    function test_AModelIsFoundedOnce() public {
        vm.expectRevert();
        founder.found(modelId);
        vm.expectRevert(abi.encodeWithSelector(GovernorFactory.Factory_Unknown.selector, 99));
        founder.found(99);
        ModelShares shares = sharesOf(modelId);
        vm.expectRevert();
        governor.initialize(1, shares, modelLock);
        vm.expectRevert();
        modelLock.initialize(1, new address[](0), new address[](0), address(this));
        eq(registry.controllerOf(modelId), address(modelLock), "the timelock controls");
    }
}
