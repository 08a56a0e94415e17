// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {InvocationChannel} from "../src/InvocationChannel.sol";
import {ChannelConfig} from "../src/interfaces/IInvocationChannel.sol";
import {World} from "./World.sol";

contract ChannelWithdrawTest is World {
    ChannelConfig private config;

    event ChannelClosed(bytes32 indexed channelId, ChannelConfig config);

    function setUp() public override {
        super.setUp();
        config = channelOf(address(0x7111), "salt");
        fund(config, 1_000);
    }

    function test_ThePayerGetsItsRest(uint128 amount) public {
        amount = uint128(bound(amount, 1, 1_000));
        vm.startPrank(user);
        channel.initiateWithdraw(config, amount);
        vm.expectRevert(InvocationChannel.WithdrawalAlreadyPending.selector);
        channel.initiateWithdraw(config, 1);
        skip(1 days - 1);
        vm.expectRevert(InvocationChannel.WithdrawDelayNotElapsed.selector);
        channel.finalizeWithdraw(config);
        skip(1);
        if (amount == 1_000) {
            vm.expectEmit(address(channel));
            emit ChannelClosed(channel.getChannelId(config), config);
        }
        channel.finalizeWithdraw(config);
        vm.expectRevert(InvocationChannel.WithdrawalNotPending.selector);
        channel.finalizeWithdraw(config);
        vm.stopPrank();
        eq(coin.balanceOf(user), amount, "back");
    }

    function test_OnlyThePayersSide() public {
        vm.expectRevert(InvocationChannel.InvalidChannel.selector);
        channel.initiateWithdraw(config, 1);
        vm.startPrank(user);
        vm.expectRevert(InvocationChannel.NothingToWithdraw.selector);
        channel.initiateWithdraw(config, 0);
        vm.expectRevert(InvocationChannel.WithdrawAmountExceedsAvailable.selector);
        channel.initiateWithdraw(config, 1_001);
        channel.initiateWithdraw(config, 1_000);
        vm.stopPrank();
        skip(1 days);
        vm.expectRevert(InvocationChannel.NotAuthorizedToFinalizeWithdraw.selector);
        channel.finalizeWithdraw(config);
    }

    function test_RefundsReduceAWaitingWithdrawal() public {
        vm.prank(user);
        channel.initiateWithdraw(config, 600);
        vm.prank(config.receiver);
        channel.refund(config, 200);
        (uint128 amount, uint40 since) = channel.pendingWithdrawals(channel.getChannelId(config));
        eq(amount, 400, "less is asked");
        holds(since != 0, "still waiting");
        vm.prank(config.receiver);
        channel.refund(config, 400);
        (amount, since) = channel.pendingWithdrawals(channel.getChannelId(config));
        holds(amount == 0 && since == 0, "nothing is asked");
        eq(coin.balanceOf(user), 600, "given back");
    }

    function test_RefundUnderASignatureIsUsedOnce() public {
        bytes32 id = channel.getChannelId(config);
        bytes memory signature = signed(SIGNER, channel.getRefundDigest(id, 0, 300));
        vm.expectRevert(InvocationChannel.InvalidRefundNonce.selector);
        channel.refundWithSignature(config, 300, 1, signature);
        vm.expectRevert(InvocationChannel.InvalidSignature.selector);
        channel.refundWithSignature(config, 301, 0, signature);
        channel.refundWithSignature(config, 300, 0, signature);
        vm.expectRevert(InvocationChannel.InvalidRefundNonce.selector);
        channel.refundWithSignature(config, 300, 0, signature);
        eq(coin.balanceOf(user), 300, "given back");
    }

    function test_RefundIsCappedAndTheReceivers() public {
        vm.expectRevert(InvocationChannel.NotAuthorizedToRefund.selector);
        channel.refund(config, 1);
        vm.startPrank(config.receiver);
        vm.expectRevert(InvocationChannel.ZeroRefund.selector);
        channel.refund(config, 0);
        channel.refund(config, 5_000);
        eq(coin.balanceOf(user), 1_000, "all and no more");
        channel.refund(config, 1);
        vm.stopPrank();
        eq(channel.refundNonce(channel.getChannelId(config)), 2, "the nonce moves even so");
        fund(config, 10);
        (uint128 balance,) = channel.channels(channel.getChannelId(config));
        eq(balance, 10, "an empty channel opens again");
    }

    function test_SettleWithoutAnythingIsQuiet() public {
        channel.settle(config.receiver, address(coin));
        eq(coin.balanceOf(config.receiver), 0, "nothing");
    }
}
