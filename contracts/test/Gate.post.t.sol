// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Gate} from "../src/Gate.sol";
import {Hosting, HostingState} from "../src/interfaces/IGate.sol";
import {Messages, UsageReport} from "../src/libraries/Messages.sol";
import {Node, Tree} from "../src/libraries/Tree.sol";
import {World} from "./World.sol";

contract GatePostTest is World {
    using Messages for UsageReport;

    uint256 private modelId;
    uint256 private hostingId;
    uint32 private epoch;

    function setUp() public override {
        super.setUp();
        modelId = active("first");
        hostingId = serving(modelId);
        epoch = today();
    }

    function ended(uint256 later) private {
        vm.warp(parameters.epochStart(epoch + 1) + later);
    }

    function bring(UsageReport memory message) private {
        gate.post(message, signed(SIGNER, registry.digest(message.hash())));
    }

    function refused(UsageReport memory message, bytes memory why) private {
        bytes memory signature = signed(SIGNER, registry.digest(message.hash()));
        vm.expectRevert(why);
        gate.post(message, signature);
    }

    function test_TheGateComputesTheRoot() public {
        ended(0);
        bring(UsageReport(hostingId, epoch, 3, 6_000, 60, "top"));
        Gate.Report memory stored = gate.reportOf(hostingId, epoch);
        eq(stored.root, Tree.root(3, Node("top", 6_000, 60)), "root");
        eq(stored.count, 3, "count");
        eq(stored.cumulative, 6_000, "cumulative");
        eq(gate.hostingOf(hostingId).nextEpoch, epoch + 1, "next");
        refused(
            UsageReport(hostingId, epoch, 3, 6_000, 60, "top"),
            abi.encodeWithSelector(Gate.Gate_ReportExists.selector, epoch)
        );
    }

    /// @dev Golden case 9: V = 20 is what a bond of 720 carries; a report of 20.000001 pauses the hosting.
    function test_VolumeAboveTheBondPauses() public {
        ended(0);
        report(hostingId, epoch, 10_000, 20e6);
        eq(uint8(gate.hostingOf(hostingId).state), uint8(HostingState.Active), "20 is carried");
        ++epoch;
        ended(0);
        report(hostingId, epoch, 10_000, 20e6 + 1);
        Hosting memory hosting = gate.hostingOf(hostingId);
        eq(uint8(hosting.state), uint8(HostingState.Paused), "20.000001 is not");
        eq(hosting.bondRequired, 720e6 + 36, "until topped up");
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_BondTooSmall.selector, 720e6, 720e6 + 36));
        vm.prank(host);
        gate.resume(hostingId);
        coin.mint(host, 36);
        vm.startPrank(host);
        coin.approve(address(gate), 36);
        gate.topUp(hostingId, 36);
        gate.resume(hostingId);
        vm.stopPrank();
        eq(uint8(gate.hostingOf(hostingId).state), uint8(HostingState.Active), "served again");
    }

    /// @dev Golden case 14: five hours late cost 36, a day 172.80 and the service.
    function test_LateReportsCost() public {
        ended(6 hours);
        report(hostingId, epoch, 1, 1_000);
        eq(gate.bondOf(hostingId), 720e6, "in time");
        ++epoch;
        ended(11 hours);
        report(hostingId, epoch, 1, 1_000);
        eq(720e6 - gate.bondOf(hostingId), 36e6, "five hours");
        eq(vault.rewards(address(timelock), address(coin)), 7.2e6, "a fifth cannot burn, the treasury has it");
        eq(router.owed(address(sharesOf(modelId)), address(coin)), 28.8e6, "the rest is the holders'");
        coin.mint(address(this), 36e6);
        coin.approve(address(gate), 36e6);
        gate.topUp(hostingId, 36e6);
        ++epoch;
        ended(30 hours);
        report(hostingId, epoch, 1, 1_000);
        eq(720e6 - gate.bondOf(hostingId), 172.8e6, "a day");
        Hosting memory hosting = gate.hostingOf(hostingId);
        eq(uint8(hosting.state), uint8(HostingState.Paused), "paused");
        eq(hosting.bondRequired, 720e6, "until the bond is whole again");
    }

    function test_NobodyNeedsToPostForALapse() public {
        ended(30 hours - 1 hours);
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_BadEpoch.selector, epoch));
        gate.lapse(hostingId);
        ended(29 hours + 1);
        gate.lapse(hostingId);
        eq(720e6 - gate.bondOf(hostingId), 172.8e6, "a day's fine");
        eq(uint8(gate.hostingOf(hostingId).state), uint8(HostingState.Paused), "paused");
        vm.expectRevert();
        gate.lapse(hostingId);
        report(hostingId, epoch, 1, 1_000);
        eq(720e6 - gate.bondOf(hostingId), 172.8e6, "a report after the lapse is not fined again");
    }

    function test_FloorsHold(uint32 count, uint64 tokens) public {
        count = uint32(bound(count, 1, 1_000));
        tokens = uint64(bound(tokens, 0, 1_000_000));
        uint128 least = uint128(uint256(count) * 100 + uint256(tokens) * 1_000 / 1_000);
        ended(0);
        refused(
            UsageReport(hostingId, epoch, count, least - 1, tokens, "top"),
            abi.encodeWithSelector(Gate.Gate_BelowFloor.selector, least - 1, least)
        );
        bring(UsageReport(hostingId, epoch, count, least, tokens, "top"));
    }

    function test_OrderAndTimes() public {
        refused(
            UsageReport(hostingId, epoch, 1, 1_000, 0, "top"),
            abi.encodeWithSelector(Gate.Gate_BadEpoch.selector, epoch)
        );
        ended(1 days);
        refused(
            UsageReport(hostingId, epoch + 1, 1, 1_000, 0, "top"),
            abi.encodeWithSelector(Gate.Gate_ReportMissing.selector, epoch)
        );
        ended(7 days);
        refused(
            UsageReport(hostingId, epoch, 1, 1_000, 0, "top"),
            abi.encodeWithSelector(Gate.Gate_BadEpoch.selector, epoch)
        );
        ended(0);
        refused(UsageReport(hostingId, epoch, 0, 0, 0, "top"), abi.encodeWithSelector(Gate.Gate_BadReport.selector));
        refused(
            UsageReport(99, epoch, 1, 1_000, 0, "top"),
            abi.encodeWithSelector(Gate.Gate_NotActive.selector, 99, HostingState.None)
        );
        bring(UsageReport(hostingId, epoch, 0, 0, 0, 0));
    }

    function test_OnlyTheSigners() public {
        ended(0);
        UsageReport memory message = UsageReport(hostingId, epoch, 1, 1_000, 0, "top");
        bytes memory signature = signed(BOB, registry.digest(message.hash()));
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_BadSignature.selector, hostingId));
        gate.post(message, signature);
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_BadSignature.selector, hostingId));
        gate.post(message, "short");
    }
}
