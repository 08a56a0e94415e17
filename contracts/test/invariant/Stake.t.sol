// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Destination, Position, Terms} from "../../src/interfaces/IStakeVault.sol";
import {World} from "../World.sol";

/// @notice Owners, keepers and arbiters of a few positions, in any order.
contract StakeHandler is World {
    address[3] private owners = [vm.addr(1), vm.addr(2), vm.addr(3)];
    address private arbiter = vm.addr(9);
    uint256 public bound_;
    uint256 public slashed;
    uint256 public burnt;
    uint256 public given;

    function termsAt(uint256 index) public view returns (Terms memory) {
        address who = owners[index % 3];
        return Terms(arbiter, who, who, index % 2 == 0 ? address(currency) : address(coin), "subject");
    }

    function positionAt(uint256 index) public view returns (bytes32 id, Position memory position) {
        id = vault.idOf(termsAt(index));
        position = vault.positionOf(id);
    }

    function bindMore(uint256 index, uint128 amount) external {
        amount = uint128(bound(amount, 1, 1e12));
        Terms memory terms = termsAt(index);
        coin.mint(address(this), amount);
        currency.approve(address(vault), amount);
        coin.approve(address(vault), amount);
        vault.bind(terms, amount);
    }

    function thaw(uint256 index, uint128 amount) external {
        (bytes32 id, Position memory position) = positionAt(index);
        if (position.bound == 0) return;
        amount = uint128(bound(amount, 1, position.bound));
        vm.prank(position.terms.keeper);
        vault.thaw(id, amount);
    }

    function withdraw(uint256 index) external {
        (bytes32 id, Position memory position) = positionAt(index);
        if (position.thawing == 0) return;
        if (vm.getBlockTimestamp() < position.thawsAt) vm.warp(position.thawsAt);
        if (position.freezes != 0) vm.expectRevert();
        vault.withdraw(id);
        (, Position memory afterwards) = positionAt(index);
        holds(position.freezes == 0 || afterwards.thawing == position.thawing, "an open claim holds it");
    }

    function freeze(uint256 index) external {
        (bytes32 id, Position memory position) = positionAt(index);
        if (position.bound == 0 || position.freezes > 3) return;
        vm.prank(arbiter);
        vault.freeze(id);
    }

    function unfreeze(uint256 index) external {
        (bytes32 id, Position memory position) = positionAt(index);
        if (position.freezes == 0) return;
        vm.prank(arbiter);
        vault.unfreeze(id);
    }

    function slash(uint256 index, uint128 amount, uint8 partBps, bool burns) external {
        (bytes32 id, Position memory position) = positionAt(index);
        if (position.terms.owner == address(0)) return;
        amount = uint128(bound(amount, 0, uint256(position.bound) + position.thawing));
        Destination[] memory parts = new Destination[](2);
        parts[0] = Destination(burns ? address(0) : owners[partBps % 3], uint128((uint256(amount) * partBps) / 255));
        parts[1] = Destination(owners[(uint256(partBps) + 1) % 3], amount - parts[0].amount);
        vm.prank(arbiter);
        vault.slash(id, parts);
        (, Position memory afterwards) = positionAt(index);
        uint256 before = uint256(position.bound) + position.thawing;
        eq(before - afterwards.bound - afterwards.thawing, amount, "exactly the slash");
    }

    function strangerSlashes(uint256 index, address caller) external {
        (bytes32 id,) = positionAt(index);
        if (caller == arbiter || caller == address(0)) return;
        vm.expectRevert();
        vm.prank(caller);
        vault.slash(id, new Destination[](0));
    }

    function distribute(uint256 who, bool loyal) external {
        vault.distribute(owners[who % 3], loyal ? address(currency) : address(coin));
    }

    /// @dev Invariant 6.
    function heldIsKnown() external view {
        uint256[2] memory sum;
        for (uint256 i = 0; i < 6; ++i) {
            (, Position memory position) = positionAt(i);
            sum[i % 2] += uint256(position.bound) + position.thawing;
        }
        for (uint256 i = 0; i < 3; ++i) {
            sum[0] += vault.rewards(owners[i], address(currency));
            sum[1] += vault.rewards(owners[i], address(coin));
        }
        sum[1] += vault.rewards(address(timelock), address(coin));
        eq(currency.balanceOf(address(vault)), sum[0], "LOYAL");
        eq(coin.balanceOf(address(vault)), sum[1], "pay asset");
    }
}

contract StakeInvariants {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    StakeHandler private handler;

    function setUp() public {
        handler = new StakeHandler();
        handler.setUp();
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        bytes4[] memory selectors = new bytes4[](8);
        selectors[0] = StakeHandler.bindMore.selector;
        selectors[1] = StakeHandler.thaw.selector;
        selectors[2] = StakeHandler.withdraw.selector;
        selectors[3] = StakeHandler.freeze.selector;
        selectors[4] = StakeHandler.unfreeze.selector;
        selectors[5] = StakeHandler.slash.selector;
        selectors[6] = StakeHandler.strangerSlashes.selector;
        selectors[7] = StakeHandler.distribute.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), selectors);
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function invariant_6_StakeIsHeld() public view {
        handler.heldIsKnown();
    }
}
