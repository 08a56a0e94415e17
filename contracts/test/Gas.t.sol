// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ChannelConfig, VoucherClaim} from "../src/interfaces/IInvocationChannel.sol";
import {Creation} from "../src/ModelFactory.sol";
import {Messages, UsageReport} from "../src/libraries/Messages.sol";
import {World} from "./World.sol";

/// @notice The cost of every step, kept in `snapshots/GasTest.json`; `FORGE_SNAPSHOT_CHECK=true` compares.
/// @dev Isolated: every call is a transaction of its own, with cold storage and the 21,000 of a transaction.
/// forge-config: default.isolate = true
contract GasTest is World {
    using Messages for UsageReport;

    function redeem(ChannelConfig memory config, uint128 total, string memory name) private {
        VoucherClaim[] memory entries = voucher(config, USER, total, total);
        bytes memory signature = signed(SIGNER, channel.getClaimBatchDigest(entries));
        channel.claimWithSignature(entries, signature);
        vm.snapshotGasLastCall(name);
    }

    function test_AModelAndItsHosting() public {
        Creation memory creation = draft(owner, termsOf(owner, "first"));
        vm.startPrank(owner);
        uint256 modelId = factory.create(creation);
        vm.snapshotGasLastCall("create a model");
        registry.setFloor(modelId, address(coin), 100, 1_000);
        vm.stopPrank();
        skip(7 days);
        registry.activate(modelId, 1);
        vm.snapshotGasLastCall("activate a version");
        uint256 hostingId = serving(modelId);
        vm.snapshotGasLastCall("deliver");
        uint32 epoch = today();
        skip(1 days);
        UsageReport memory message = UsageReport(hostingId, epoch, 1_000, 2e6, 0, "top");
        gate.post(message, signed(SIGNER, registry.digest(message.hash())));
        vm.snapshotGasLastCall("post a report");
    }

    function test_Payments() public {
        uint256 hostingId = serving(active("first"));
        ChannelConfig memory config = channelOf(router.tillOf(hostingId, builder), "salt");
        fund(config, 1e9);
        vm.snapshotGasLastCall("deposit");
        redeem(config, 1e6, "redeem under a signature, first");
        redeem(config, 2e6, "redeem under a signature, steady");
        channel.settle(config.receiver, address(coin));
        vm.snapshotGasLastCall("settle, first");
        router.collect(hostingId, builder, address(coin));
        vm.snapshotGasLastCall("collect, first");
        VoucherClaim[] memory entries = voucher(config, USER, 3e6, 3e6);
        vm.prank(config.receiverAuthorizer);
        channel.claim(entries);
        vm.snapshotGasLastCall("redeem by its authorizer, steady");
        channel.settle(config.receiver, address(coin));
        vm.snapshotGasLastCall("settle, steady");
        router.collect(hostingId, builder, address(coin));
        vm.snapshotGasLastCall("collect, steady");
        router.withdraw(host, address(coin));
        vm.snapshotGasLastCall("withdraw, host");
        sharesOf(1).withdraw(vm.addr(ALICE), address(coin));
        vm.snapshotGasLastCall("withdraw, holder");
        router.accrue(1, 1, vm.addr(ALICE), address(coin));
        vm.snapshotGasLastCall("accrue, trainer");
    }

    function test_TwentyVouchersInOneTransaction() public {
        address till = router.tillOf(serving(active("first")), builder);
        VoucherClaim[] memory entries = new VoucherClaim[](20);
        for (uint256 i = 0; i < 20; ++i) {
            ChannelConfig memory config = channelOf(till, bytes32(i));
            fund(config, 1e6);
            entries[i] = voucher(config, USER, 1e6, 2e5)[0];
        }
        bytes memory signature = signed(SIGNER, channel.getClaimBatchDigest(entries));
        channel.claimWithSignature(entries, signature);
        vm.snapshotGasLastCall("redeem 20, first");
        for (uint256 i = 0; i < 20; ++i) {
            entries[i].totalClaimed = 4e5;
        }
        signature = signed(SIGNER, channel.getClaimBatchDigest(entries));
        channel.claimWithSignature(entries, signature);
        vm.snapshotGasLastCall("redeem 20, steady");
    }
}
