// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {InvocationChannel} from "../../src/InvocationChannel.sol";
import {ChannelConfig, VoucherClaim} from "../../src/interfaces/IInvocationChannel.sol";
import {World} from "../World.sol";

/// @notice Payers and receivers who do what they may, in any order; the numbers they hold others to.
contract ChannelHandler is World {
    uint256 private constant COUNT = 4;

    mapping(uint256 => uint128) public largestSigned;
    mapping(uint256 => uint128) public lastRedeemed;
    uint256 public steps;

    function config(uint256 index) public view returns (ChannelConfig memory) {
        return channelOf(address(uint160(0x7000 + index / 2)), bytes32(index));
    }

    function idOf(uint256 index) public view returns (bytes32) {
        return channel.getChannelId(config(index));
    }

    function deposit(uint256 index, uint128 amount) external {
        fund(config(index % COUNT), uint128(bound(amount, 1, 1e12)));
        ++steps;
    }

    function redeem(uint256 index, uint128 ceiling, uint128 total) external {
        index %= COUNT;
        (uint128 balance, uint128 before) = channel.channels(idOf(index));
        ceiling = uint128(bound(ceiling, 0, uint256(balance) * 2));
        uint128 most = ceiling < balance ? ceiling : balance;
        total = uint128(bound(total, 0, most));
        if (ceiling > largestSigned[index]) largestSigned[index] = ceiling;
        VoucherClaim[] memory entries = voucher(config(index), USER, ceiling, total);
        bytes memory signature = signed(SIGNER, channel.getClaimBatchDigest(entries));
        channel.claimWithSignature(entries, signature);
        (, uint128 afterwards) = channel.channels(idOf(index));
        holds(afterwards == (total > before ? total : before), "a repeated redemption moves nothing");
        ++steps;
    }

    function settle(uint256 index) external {
        channel.settle(config(index % COUNT).receiver, address(coin));
        ++steps;
    }

    function initiate(uint256 index, uint128 amount) external {
        index %= COUNT;
        (uint128 balance, uint128 redeemed) = channel.channels(idOf(index));
        (, uint40 since) = channel.pendingWithdrawals(idOf(index));
        if (balance == redeemed || since != 0) return;
        amount = uint128(bound(amount, 1, balance - redeemed));
        ChannelConfig memory entry = config(index);
        vm.prank(user);
        channel.initiateWithdraw(entry, amount);
        ++steps;
    }

    function finalize(uint256 index) external {
        index %= COUNT;
        (, uint40 since) = channel.pendingWithdrawals(idOf(index));
        if (since == 0) return;
        if (vm.getBlockTimestamp() < uint256(since) + 1 days) skip(1 days);
        ChannelConfig memory entry = config(index);
        vm.prank(user);
        channel.finalizeWithdraw(entry);
        ++steps;
    }

    function refund(uint256 index, uint128 amount) external {
        ChannelConfig memory entry = config(index % COUNT);
        amount = uint128(bound(amount, 1, 1e12));
        vm.prank(entry.receiver);
        channel.refund(entry, amount);
        ++steps;
    }

    /// @dev Invariant 1.
    function balanceHolds() external view {
        uint256 owed = 0;
        for (uint256 i = 0; i < COUNT; ++i) {
            (uint128 balance, uint128 redeemed) = channel.channels(idOf(i));
            owed += balance - redeemed;
        }
        for (uint256 i = 0; i < COUNT / 2; ++i) {
            (uint128 redeemed, uint128 settled) = channel.receivers(address(uint160(0x7000 + i)), address(coin));
            owed += redeemed - settled;
        }
        eq(coin.balanceOf(address(channel)), owed, "what the channels owe is what they hold");
    }

    /// @dev Invariant 2.
    function redeemedNeverFalls() external {
        for (uint256 i = 0; i < COUNT; ++i) {
            (uint128 balance, uint128 redeemed) = channel.channels(idOf(i));
            holds(redeemed >= lastRedeemed[i], "never falls");
            holds(redeemed <= largestSigned[i] && redeemed <= balance, "never above voucher and balance");
            lastRedeemed[i] = redeemed;
        }
    }
}

contract ChannelInvariants {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    ChannelHandler private handler;

    function setUp() public {
        handler = new ChannelHandler();
        handler.setUp();
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        bytes4[] memory selectors = new bytes4[](6);
        selectors[0] = ChannelHandler.deposit.selector;
        selectors[1] = ChannelHandler.redeem.selector;
        selectors[2] = ChannelHandler.settle.selector;
        selectors[3] = ChannelHandler.initiate.selector;
        selectors[4] = ChannelHandler.finalize.selector;
        selectors[5] = ChannelHandler.refund.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), selectors);
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    /// @dev One campaign for both numbers: what costs is the calls.
    function invariant_1_2_EscrowIsWhatIsOwedAndRedeemedNeverFalls() public {
        handler.balanceHolds();
        handler.redeemedNeverFalls();
    }
}
