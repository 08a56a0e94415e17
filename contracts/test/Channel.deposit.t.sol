// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ApprovalCollector} from "../src/ApprovalCollector.sol";
import {AuthorizationCollector} from "../src/AuthorizationCollector.sol";
import {InvocationChannel} from "../src/InvocationChannel.sol";
import {ChannelConfig} from "../src/interfaces/IInvocationChannel.sol";
import {World} from "./World.sol";

contract ChannelDepositTest is World {
    bytes32 private constant RECEIVE = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );

    function test_OutOfAnAllowance(uint128 a, uint128 b) public {
        ChannelConfig memory config = channelOf(address(this), "salt");
        (a, b) = (uint128(bound(a, 1, 2 ** 127)), uint128(bound(b, 1, 2 ** 127 - 1)));
        fund(config, a);
        fund(config, b);
        (uint128 balance, uint128 redeemed) = channel.channels(channel.getChannelId(config));
        eq(balance, uint256(a) + b, "balance");
        eq(redeemed, 0, "redeemed");
        eq(coin.balanceOf(address(channel)), balance, "held");
    }

    /// @dev Whoever holds an allowance must not choose the channel: its vouchers could be his.
    function test_OnlyThePayerBegins() public {
        ChannelConfig memory config = channelOf(address(this), "salt");
        config.payerAuthorizer = vm.addr(0x7e1f);
        coin.mint(user, 100);
        vm.prank(user);
        coin.approve(address(approvals), 100);
        bytes memory refusal = abi.encodeWithSelector(ApprovalCollector.Collector_NotPayer.selector, user);
        vm.expectRevert(refusal);
        channel.deposit(config, 100, address(approvals), "");
        vm.expectRevert(refusal);
        approvals.deposit(config, 100);
        bytes32 id = channel.getChannelId(config);
        vm.expectRevert(abi.encodeWithSelector(ApprovalCollector.Collector_NotChannel.selector, address(this)));
        approvals.collect(user, address(coin), 100, id, "");
    }

    function test_UnderASignature() public {
        ChannelConfig memory config = channelOf(address(this), "salt");
        config.token = address(currency);
        currency.transfer(user, 100);
        bytes32 id = channel.getChannelId(config);
        bytes memory data = authorization(id, 7, 100);
        vm.expectRevert(abi.encodeWithSelector(AuthorizationCollector.Collector_NotChannel.selector, address(this)));
        authorizations.collect(user, address(currency), 100, id, data);
        channel.deposit(config, 100, address(authorizations), data);
        eq(currency.balanceOf(address(channel)), 100, "held");
        vm.expectRevert();
        channel.deposit(config, 100, address(authorizations), data);
        currency.transfer(user, 100);
        config.salt = "another channel";
        data = authorization(id, 8, 100);
        vm.expectRevert();
        channel.deposit(config, 100, address(authorizations), data);
    }

    function authorization(bytes32 channelId, uint256 salt, uint256 amount) private view returns (bytes memory) {
        bytes32 nonce = keccak256(abi.encode(channelId, salt));
        bytes32 hash =
            keccak256(abi.encode(RECEIVE, user, address(authorizations), amount, uint256(0), type(uint256).max, nonce));
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", currency.DOMAIN_SEPARATOR(), hash));
        return abi.encode(uint256(0), type(uint256).max, salt, signed(USER, digest));
    }

    function test_EveryPartMustBeThere() public {
        ChannelConfig memory config = channelOf(address(this), "salt");
        vm.expectRevert(InvocationChannel.ZeroDeposit.selector);
        channel.deposit(config, 0, address(approvals), "");
        vm.expectRevert(InvocationChannel.InvalidCollector.selector);
        channel.deposit(config, 1, address(0), "");
        config.withdrawDelay = 15 minutes - 1;
        vm.expectRevert(InvocationChannel.WithdrawDelayOutOfRange.selector);
        channel.deposit(config, 1, address(approvals), "");
        config.withdrawDelay = 30 days + 1;
        vm.expectRevert(InvocationChannel.WithdrawDelayOutOfRange.selector);
        channel.deposit(config, 1, address(approvals), "");
        for (uint256 i = 0; i < 4; ++i) {
            config = channelOf(address(this), "salt");
            if (i == 0) config.payer = address(0);
            if (i == 1) config.receiver = address(0);
            if (i == 2) config.receiverAuthorizer = address(0);
            if (i == 3) config.token = address(0);
            vm.expectRevert(InvocationChannel.InvalidChannel.selector);
            channel.deposit(config, 1, address(approvals), "");
        }
    }

    function test_NoFeesNoOverflow() public {
        ChannelConfig memory config = channelOf(address(this), "salt");
        coin.mint(user, 100);
        coin.setFee(100);
        vm.startPrank(user);
        coin.approve(address(approvals), 100);
        vm.expectRevert(InvocationChannel.DepositCollectionFailed.selector);
        approvals.deposit(config, 100);
        vm.stopPrank();
        coin.setFee(0);
        fund(config, type(uint128).max - 5);
        vm.startPrank(user);
        coin.approve(address(approvals), 6);
        vm.expectRevert(InvocationChannel.DepositOverflow.selector);
        approvals.deposit(config, 6);
        vm.stopPrank();
    }

    function test_IdIsTheStandards() public view {
        ChannelConfig memory config = channelOf(address(this), "salt");
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("x402 Batch Settlement"),
                keccak256("1"),
                block.chainid,
                address(channel)
            )
        );
        bytes32 hash = keccak256(abi.encode(channel.CHANNEL_CONFIG_TYPEHASH(), config));
        eq(channel.getChannelId(config), keccak256(abi.encodePacked(hex"1901", domain, hash)), "id");
        eq(bytes4(channel.CHANNEL_CONFIG_TYPEHASH()), hex"1c9a06ce", "config");
        eq(bytes4(channel.VOUCHER_TYPEHASH()), hex"1e1bd6ff", "voucher");
        eq(bytes4(channel.REFUND_TYPEHASH()), hex"be23ad08", "refund");
        eq(bytes4(channel.CLAIM_BATCH_TYPEHASH()), hex"42bd57c0", "batch");
    }
}
