// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ModelShares} from "../src/ModelShares.sol";
import {ModelTreasury} from "../src/ModelTreasury.sol";
import {VersionTerms} from "../src/interfaces/IRegistry.sol";
import {World} from "./World.sol";

contract SharesTest is World {
    uint256 private modelId;
    uint256 private hostingId;
    ModelShares private shares;

    function setUp() public override {
        super.setUp();
        modelId = active("first");
        hostingId = serving(modelId);
        shares = sharesOf(modelId);
    }

    function due(uint256 key) private view returns (uint256) {
        return shares.withdrawable(vm.addr(key), address(coin));
    }

    function reserve() private view returns (uint256) {
        return shares.withdrawable(address(treasuryOf(modelId)), address(coin));
    }

    function david() private {
        ModelTreasury treasury = treasuryOf(modelId);
        vm.prank(owner);
        treasury.pay(shares, vm.addr(DAVID), 50_000e18);
    }

    /// @dev Golden case 4, before David.
    function test_RevenuePerShare() public {
        earn(hostingId, builder, 1_000_000);
        eq(due(ALICE), 102_375, "Alice");
        eq(due(BOB), 51_187, "Bob");
        eq(due(CHARLIE), 51_187, "Charlie");
        eq(reserve(), 136_500, "reserve");
    }

    /// @dev Golden case 4, after David, and golden case 2's transfer out of the reserve.
    function test_RevenuePerShareAfterDavid() public {
        david();
        eq(shares.balanceOf(vm.addr(DAVID)), 50_000e18, "5 %");
        eq(shares.balanceOf(address(treasuryOf(modelId))), 350_000e18, "reserve");
        earn(hostingId, builder, 1_000_000);
        eq(due(ALICE), 102_375, "Alice");
        eq(due(BOB), 51_187, "Bob");
        eq(due(CHARLIE), 51_187, "Charlie");
        eq(due(DAVID), 17_062, "David");
        eq(reserve(), 119_437, "reserve");
    }

    /// @dev Invariant 4: a transfer changes nobody's accrued revenue.
    function test_ATransferTakesNoRevenueAlong(uint256 amount, uint96 earned) public {
        earn(hostingId, builder, earned);
        (uint256 alice, uint256 bob) = (due(ALICE), due(BOB));
        amount = bound(amount, 0, 300_000e18);
        vm.prank(vm.addr(ALICE));
        shares.transfer(vm.addr(BOB), amount);
        eq(due(ALICE), alice, "Alice");
        eq(due(BOB), bob, "Bob");
        vm.prank(vm.addr(BOB));
        shares.transfer(vm.addr(BOB), amount);
        eq(due(BOB), bob, "to oneself");
    }

    function test_EverybodyWithdraws() public {
        earn(hostingId, builder, 1_000_000);
        eq(shares.withdraw(vm.addr(ALICE), address(coin)), 102_375, "Alice");
        eq(shares.withdraw(vm.addr(ALICE), address(coin)), 0, "once");
        eq(coin.balanceOf(vm.addr(ALICE)), 102_375, "received");
        earn(hostingId, builder, 1_000_000);
        router.withdraw(address(shares), address(coin));
        shares.withdraw(vm.addr(ALICE), address(coin));
        shares.withdraw(vm.addr(BOB), address(coin));
        shares.withdraw(vm.addr(CHARLIE), address(coin));
        shares.withdraw(address(treasuryOf(modelId)), address(coin));
        eq(coin.balanceOf(vm.addr(ALICE)), 204_750, "twice as much");
        holds(coin.balanceOf(address(shares)) <= 4, "dust");
        ModelTreasury treasury = treasuryOf(modelId);
        vm.prank(owner);
        treasury.pay(coin, user, 273_000);
        eq(coin.balanceOf(user), 273_000, "the reserve spends its revenue");
    }

    function test_TheReserveIsTheControllers() public {
        ModelTreasury treasury = treasuryOf(modelId);
        vm.expectRevert(abi.encodeWithSelector(ModelTreasury.Treasury_NotController.selector, address(this)));
        treasury.pay(shares, user, 1);
    }

    function test_OnlyTheRouterDivides() public {
        vm.expectRevert(abi.encodeWithSelector(ModelShares.Shares_NotRouter.selector, address(this)));
        shares.distribute(address(coin), 1);
        vm.startPrank(address(router));
        for (uint160 i = 1; i <= 4; ++i) {
            shares.distribute(address(i), 1e6);
        }
        vm.expectRevert(abi.encodeWithSelector(ModelShares.Shares_AssetLimit.selector, address(5)));
        shares.distribute(address(5), 1e6);
        shares.distribute(address(4), 1e6);
        vm.stopPrank();
        eq(shares.assets().length, 4, "assets");
    }

    /// @dev Invariant 5: a version mints once, and no more than 500 bps.
    function test_AVersionMintsForItsMakers(uint256 amount) public {
        amount = bound(amount, 1, 100_000e18);
        VersionTerms memory terms = termsOf(owner, "second");
        commit(owner, terms.leafRoot, owner);
        vm.startPrank(owner);
        bytes memory limit = abi.encodeWithSelector(ModelShares.Shares_MintLimit.selector, 2, amount, 50_000e18);
        vm.expectRevert(limit);
        shares.mint(2, vm.addr(DAVID), amount);
        registry.submitVersion(modelId, terms);
        if (amount > 50_000e18) vm.expectRevert(limit);
        shares.mint(2, vm.addr(DAVID), amount);
        if (amount <= 50_000e18) {
            eq(shares.balanceOf(vm.addr(DAVID)), amount, "minted");
            vm.expectRevert();
            shares.mint(2, vm.addr(DAVID), 1);
        }
        vm.expectRevert();
        shares.mint(1, vm.addr(DAVID), 1);
        vm.stopPrank();
        vm.expectRevert(abi.encodeWithSelector(ModelShares.Shares_NotController.selector, address(this)));
        shares.mint(2, user, 1);
    }

    function test_SharesVote() public {
        vm.prank(vm.addr(ALICE));
        shares.delegate(vm.addr(BOB));
        skip(1);
        eq(shares.getPastVotes(vm.addr(BOB), vm.getBlockTimestamp() - 1), 300_000e18, "votes");
        eq(shares.clock(), vm.getBlockTimestamp(), "clock");
        eq(keccak256(bytes(shares.CLOCK_MODE())), keccak256("mode=timestamp"), "mode");
        eq(shares.nonces(user), 0, "nonces");
        eq(keccak256(bytes(shares.symbol())), keccak256("MDL"), "symbol");
    }

    function test_AHostileAssetCannotComeBackIn() public {
        earn(hostingId, builder, 1_000_000);
        coin.setHook(address(shares), abi.encodeCall(shares.withdraw, (vm.addr(ALICE), address(coin))));
        shares.withdraw(vm.addr(ALICE), address(coin));
        eq(coin.balanceOf(vm.addr(ALICE)), 102_375, "once");
    }
}
