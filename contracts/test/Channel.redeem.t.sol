// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {InvocationChannel} from "../src/InvocationChannel.sol";
import {ChannelConfig, VoucherClaim} from "../src/interfaces/IInvocationChannel.sol";
import {Wallet} from "./Coin.sol";
import {World} from "./World.sol";

contract ChannelRedeemTest is World {
    ChannelConfig private config;

    function setUp() public override {
        super.setUp();
        config = channelOf(address(0x7111), "salt");
        fund(config, 10_000);
    }

    function redeem(uint128 ceiling, uint128 total) private {
        VoucherClaim[] memory entries = voucher(config, USER, ceiling, total);
        bytes memory signature = signed(SIGNER, channel.getClaimBatchDigest(entries));
        channel.claimWithSignature(entries, signature);
    }

    function redeemed() private view returns (uint128 total) {
        (, total) = channel.channels(channel.getChannelId(config));
    }

    /// @dev Golden case 15: ceiling 1,000, charged 700, 700, 900.
    function test_ThreeInvocationsOneRedemption() public {
        uint128[3] memory charged = [uint128(700), 700, 900];
        uint128[3] memory ceilings = [uint128(1_000), 1_700, 2_400];
        uint128 cumulative = 0;
        for (uint256 i = 0; i < 3; ++i) {
            eq(ceilings[i], cumulative + 1_000, "ceiling of the next voucher");
            cumulative += charged[i];
        }
        eq(cumulative, 2_300, "cumulative");
        redeem(2_400, cumulative);
        eq(redeemed(), 2_300, "redeemed once");
        redeem(1_700, 1_400);
        redeem(2_400, cumulative);
        eq(redeemed(), 2_300, "a stale voucher moves nothing");
        channel.settle(config.receiver, address(coin));
        channel.settle(config.receiver, address(coin));
        eq(coin.balanceOf(config.receiver), 2_300, "settled once");
    }

    /// @dev Golden case 15, its end: who redeems inside the delay wins against the payer's withdrawal.
    function test_RedeemWinsTheRace() public {
        vm.prank(user);
        channel.initiateWithdraw(config, 10_000);
        skip(1 days - 1);
        redeem(2_400, 2_300);
        skip(1);
        vm.prank(user);
        channel.finalizeWithdraw(config);
        eq(coin.balanceOf(user), 7_700, "the payer's rest");
        channel.settle(config.receiver, address(coin));
        eq(coin.balanceOf(config.receiver), 2_300, "the receiver's");
    }

    function test_CeilingAndBalanceHold(uint128 ceiling, uint128 total) public {
        total = uint128(bound(total, 1, type(uint128).max));
        VoucherClaim[] memory entries = voucher(config, USER, ceiling, total);
        if (total > ceiling) vm.expectRevert(InvocationChannel.ClaimExceedsCeiling.selector);
        else if (total > 10_000) vm.expectRevert(InvocationChannel.ClaimExceedsBalance.selector);
        vm.prank(config.receiver);
        channel.claim(entries);
    }

    function test_OnlyTheReceiversSide(address caller) public {
        vm.assume(caller != config.receiver && caller != config.receiverAuthorizer);
        VoucherClaim[] memory entries = voucher(config, USER, 100, 100);
        vm.expectRevert(InvocationChannel.NotAuthorizedToClaim.selector);
        vm.prank(caller);
        channel.claim(entries);
        vm.prank(config.receiverAuthorizer);
        channel.claim(entries);
        eq(redeemed(), 100, "redeemed");
    }

    function test_SignaturesAreTheRightOnes() public {
        VoucherClaim[] memory entries = voucher(config, BOB, 100, 100);
        vm.expectRevert(InvocationChannel.InvalidSignature.selector);
        vm.prank(config.receiver);
        channel.claim(entries);
        entries = voucher(config, USER, 100, 100);
        bytes memory signature = signed(BOB, channel.getClaimBatchDigest(entries));
        vm.expectRevert(InvocationChannel.InvalidSignature.selector);
        channel.claimWithSignature(entries, signature);
        vm.expectRevert(InvocationChannel.EmptyBatch.selector);
        channel.claimWithSignature(new VoucherClaim[](0), signature);
        vm.expectRevert(InvocationChannel.EmptyBatch.selector);
        channel.claim(new VoucherClaim[](0));
    }

    function test_ABatchHasOneAuthorizer() public {
        VoucherClaim[] memory both = new VoucherClaim[](2);
        both[0] = voucher(config, USER, 100, 100)[0];
        ChannelConfig memory other = config;
        other.receiverAuthorizer = vm.addr(BOB);
        both[1] = voucher(other, USER, 100, 100)[0];
        bytes memory signature = signed(SIGNER, channel.getClaimBatchDigest(both));
        vm.expectRevert(InvocationChannel.NotReceiverAuthorizer.selector);
        channel.claimWithSignature(both, signature);
    }

    function test_AnAuthorizerSpendsForThePayer() public {
        config.payerAuthorizer = vm.addr(ALICE);
        fund(config, 500);
        VoucherClaim[] memory entries = voucher(config, USER, 100, 100);
        vm.expectRevert(InvocationChannel.InvalidSignature.selector);
        vm.prank(config.receiver);
        channel.claim(entries);
        entries = voucher(config, ALICE, 100, 100);
        vm.prank(config.receiver);
        channel.claim(entries);
        eq(redeemed(), 100, "redeemed");
    }

    function test_AContractPaysToo() public {
        config.payer = address(new Wallet(user));
        fund(config, 500);
        VoucherClaim[] memory entries = voucher(config, USER, 100, 100);
        vm.prank(config.receiver);
        channel.claim(entries);
        eq(redeemed(), 100, "redeemed");
    }

    function test_ManyCallsInOne() public {
        bytes[] memory calls = new bytes[](2);
        calls[0] = abi.encodeCall(channel.claim, (voucher(config, USER, 100, 100)));
        calls[1] = abi.encodeCall(channel.settle, (config.receiver, address(coin)));
        vm.prank(config.receiver);
        channel.multicall(calls);
        eq(coin.balanceOf(config.receiver), 100, "settled");
    }
}
