// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {StakeVault} from "../src/StakeVault.sol";
import {Destination, Position, Terms} from "../src/interfaces/IStakeVault.sol";
import {World} from "./World.sol";

contract VaultTest is World {
    Terms private terms;

    function setUp() public override {
        super.setUp();
        terms = Terms(court, user, user, address(currency), "subject");
        currency.approve(address(vault), type(uint256).max);
    }

    function one(address account, uint128 amount) private pure returns (Destination[] memory all) {
        all = new Destination[](1);
        all[0] = Destination(account, amount);
    }

    function test_BindAddsUp(uint96 a, uint96 b) public {
        (a, b) = (uint96(bound(a, 1, 1e24)), uint96(bound(b, 1, 1e24)));
        bytes32 id = vault.bind(terms, a);
        vault.bind(terms, b);
        eq(vault.positionOf(id).bound, uint256(a) + b, "bound");
        eq(vault.boundOf(terms), uint256(a) + b, "by terms");
        eq(currency.balanceOf(address(vault)), uint256(a) + b, "held");
    }

    function test_BindNeedsPartiesAndAmount() public {
        vm.expectRevert(StakeVault.Stake_Empty.selector);
        vault.bind(terms, 0);
        terms.arbiter = address(0);
        vm.expectRevert(StakeVault.Stake_Empty.selector);
        vault.bind(terms, 1);
    }

    function test_AnAssetThatTakesAFeeIsRefused() public {
        coin.mint(address(this), 1_000);
        coin.approve(address(vault), 1_000);
        coin.setFee(100);
        terms.asset = address(coin);
        vm.expectRevert(abi.encodeWithSelector(StakeVault.Stake_AmountChanged.selector, address(coin), 1_000, 990));
        vault.bind(terms, 1_000);
    }

    function test_ThawThenWithdraw() public {
        bytes32 id = vault.bind(terms, 100);
        vm.expectRevert(abi.encodeWithSelector(StakeVault.Stake_NotKeeper.selector, id, address(this)));
        vault.thaw(id, 1);
        vm.startPrank(user);
        vm.expectRevert(StakeVault.Stake_Empty.selector);
        vault.thaw(id, 0);
        vm.expectRevert(abi.encodeWithSelector(StakeVault.Stake_TooMuch.selector, id, 101, 100));
        vault.thaw(id, 101);
        vault.thaw(id, 60);
        vm.stopPrank();
        uint64 thawsAt = vault.positionOf(id).thawsAt;
        eq(thawsAt, vm.getBlockTimestamp() + 14 days, "clock");
        vm.warp(thawsAt - 1);
        vm.expectRevert(abi.encodeWithSelector(StakeVault.Stake_Thawing.selector, id, thawsAt));
        vault.withdraw(id);
        vm.warp(thawsAt);
        vault.withdraw(id);
        eq(currency.balanceOf(user), 60, "owner");
        vm.expectRevert(StakeVault.Stake_Empty.selector);
        vault.withdraw(id);
    }

    /// @dev Invariant 7: an open claim freezes the thaw of what it accuses.
    function test_AClaimFreezes() public {
        bytes32 id = vault.bind(terms, 100);
        vm.prank(user);
        vault.thaw(id, 100);
        vm.expectRevert(abi.encodeWithSelector(StakeVault.Stake_NotArbiter.selector, id, address(this)));
        vault.freeze(id);
        vm.startPrank(court);
        vault.freeze(id);
        vault.freeze(id);
        vault.unfreeze(id);
        vm.stopPrank();
        skip(400 days);
        vm.expectRevert(abi.encodeWithSelector(StakeVault.Stake_Frozen.selector, id));
        vault.withdraw(id);
        vm.prank(court);
        vault.unfreeze(id);
        vault.withdraw(id);
        vm.expectRevert();
        vm.prank(court);
        vault.unfreeze(id);
    }

    /// @dev Invariants 6 and 17: only the arbiter slashes, no more than there is, and the parts are the whole.
    function test_SlashTakesFromBothAndDividesAll(uint128 thawing, uint128 amount) public {
        bytes32 id = vault.bind(terms, 1_000);
        thawing = uint128(bound(thawing, 0, 1_000));
        amount = uint128(bound(amount, 0, 1_200));
        if (thawing != 0) {
            vm.prank(user);
            vault.thaw(id, thawing);
        }
        vm.expectRevert(abi.encodeWithSelector(StakeVault.Stake_NotArbiter.selector, id, user));
        vm.prank(user);
        vault.slash(id, one(user, amount));
        if (amount > 1_000) {
            vm.expectRevert(abi.encodeWithSelector(StakeVault.Stake_TooMuch.selector, id, amount, 1_000));
            vm.prank(court);
            vault.slash(id, one(owner, amount));
            return;
        }
        vm.prank(court);
        vault.slash(id, one(host, amount));
        Position memory position = vault.positionOf(id);
        eq(uint256(position.bound) + position.thawing, 1_000 - amount, "left");
        holds(position.thawing <= thawing && (position.bound == 0 || position.thawing == thawing), "bound goes first");
        eq(vault.distribute(host, address(currency)), amount, "given");
        eq(currency.balanceOf(host), amount, "received");
        eq(vault.distribute(host, address(currency)), 0, "once");
    }

    function test_LoyalBurnsOthersGoToTheTreasury() public {
        bytes32 id = vault.bind(terms, 100);
        uint256 supply = currency.totalSupply();
        vm.prank(court);
        vault.slash(id, one(address(0), 30));
        eq(supply - currency.totalSupply(), 30, "burnt");
        coin.mint(address(this), 100);
        coin.approve(address(vault), 100);
        terms.asset = address(coin);
        id = vault.bind(terms, 100);
        vm.prank(court);
        vault.slash(id, one(address(0), 30));
        eq(vault.rewards(address(timelock), address(coin)), 30, "treasury");
    }

    function test_AHostileAssetCannotComeBackIn() public {
        coin.mint(address(this), 100);
        coin.approve(address(vault), 100);
        terms.asset = address(coin);
        coin.setHook(address(vault), abi.encodeCall(vault.bind, (terms, 1)));
        vault.bind(terms, 100);
        holds(bytes4(coin.hookResult()) == bytes4(keccak256("ReentrancyGuardReentrantCall()")), "guarded");
    }
}
