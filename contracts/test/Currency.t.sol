// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {LoyalCurrency} from "../src/LoyalCurrency.sol";
import {Wallet} from "./Coin.sol";
import {World} from "./World.sol";

contract CurrencyTest is World {
    bytes32 private constant TRANSFER = keccak256(
        "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    bytes32 private constant RECEIVE = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );

    function authorized(bytes32 kind, address from, address to, uint256 value, bytes32 nonce)
        private
        view
        returns (bytes memory)
    {
        bytes32 hash = keccak256(abi.encode(kind, from, to, value, 0, type(uint256).max, nonce));
        return signed(USER, keccak256(abi.encodePacked(hex"1901", currency.DOMAIN_SEPARATOR(), hash)));
    }

    function test_SupplyIsTheCap() public {
        eq(currency.totalSupply(), 2 ** 35 * 1e18, "supply");
        vm.expectRevert(abi.encodeWithSelector(LoyalCurrency.Loyal_CapExceeded.selector, currency.CAP(), 1));
        vm.prank(address(timelock));
        currency.mint(address(this), 1);
    }

    /// @dev Invariant 19: never past the cap, whatever is burnt and minted.
    function test_WhatIsBurntMayBeMinted(uint256 burnt, uint256 minted) public {
        burnt = bound(burnt, 0, currency.balanceOf(address(this)));
        minted = bound(minted, 0, 2 ** 40 * 1e18);
        currency.burn(burnt);
        if (minted > burnt) vm.expectRevert();
        vm.prank(address(timelock));
        currency.mint(address(this), minted);
        holds(currency.totalSupply() <= currency.CAP(), "cap");
    }

    function test_OnlyTheTimelockMints(address caller) public {
        vm.assume(caller != address(timelock));
        vm.expectRevert(abi.encodeWithSelector(LoyalCurrency.Loyal_NotTimelock.selector, caller));
        vm.prank(caller);
        currency.mint(caller, 1);
    }

    function test_TransferUnderAFreeNonce(bytes32 nonce, uint80 value) public {
        currency.transfer(user, value);
        bytes memory signature = authorized(TRANSFER, user, owner, value, nonce);
        uint256 before = currency.balanceOf(owner);
        currency.transferWithAuthorization(user, owner, value, 0, type(uint256).max, nonce, signature);
        eq(currency.balanceOf(owner) - before, value, "moved");
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, user, nonce));
        currency.transferWithAuthorization(user, owner, value, 0, type(uint256).max, nonce, signature);
    }

    function test_OnlyThePayeeReceives() public {
        currency.transfer(user, 5);
        bytes memory signature = authorized(RECEIVE, user, host, 5, "nonce");
        vm.expectRevert();
        currency.receiveWithAuthorization(user, host, 5, 0, type(uint256).max, "nonce", signature);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        vm.prank(host);
        currency.receiveWithAuthorization(user, host, 6, 0, type(uint256).max, "nonce", signature);
        vm.prank(host);
        currency.receiveWithAuthorization(user, host, 5, 0, type(uint256).max, "nonce", signature);
        eq(currency.balanceOf(host), 5, "received");
    }

    function test_ContractsAuthorizeToo() public {
        Wallet wallet = new Wallet(user);
        currency.transfer(address(wallet), 5);
        bytes memory signature = authorized(TRANSFER, address(wallet), host, 5, "nonce");
        currency.transferWithAuthorization(address(wallet), host, 5, 0, type(uint256).max, "nonce", signature);
        eq(currency.balanceOf(host), 5, "received");
    }

    function test_VotesCountBySeconds() public {
        eq(currency.clock(), vm.getBlockTimestamp(), "clock");
        eq(keccak256(bytes(currency.CLOCK_MODE())), keccak256("mode=timestamp"), "mode");
        eq(currency.nonces(user), 0, "nonce");
        vm.prank(owner);
        currency.delegate(owner);
        skip(1);
        eq(currency.getPastVotes(owner, vm.getBlockTimestamp() - 1), currency.balanceOf(owner), "votes");
    }
}
