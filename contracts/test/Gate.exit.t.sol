// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Gate} from "../src/Gate.sol";
import {HostingState} from "../src/interfaces/IGate.sol";
import {StakeVault} from "../src/StakeVault.sol";
import {World} from "./World.sol";

contract GateExitTest is World {
    uint256 private hostingId;

    function setUp() public override {
        super.setUp();
        hostingId = serving(active("first"));
    }

    function test_ExitThenReportThenClose() public {
        uint32 epoch = today();
        vm.prank(host);
        gate.exit(hostingId);
        eq(uint8(gate.hostingOf(hostingId).state), uint8(HostingState.Exiting), "exiting");
        uint64 exitsAt = gate.hostingOf(hostingId).exitsAt;
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_Exiting.selector, exitsAt));
        gate.close(hostingId);
        skip(1 days);
        report(hostingId, epoch, 1, 1_000);
        vm.warp(exitsAt);
        gate.close(hostingId);
        eq(coin.balanceOf(host), 720e6, "bond back");
        eq(uint8(gate.hostingOf(hostingId).state), uint8(HostingState.Closed), "closed");
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_NotActive.selector, hostingId, HostingState.Closed));
        gate.close(hostingId);
    }

    /// @dev Invariant 8: time alone frees the bond, whatever the host leaves undone.
    function test_ALastReportNeverPostedLapses() public {
        uint32 epoch = today();
        vm.prank(host);
        gate.exit(hostingId);
        skip(14 days);
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_ReportMissing.selector, epoch));
        gate.close(hostingId);
        gate.lapse(hostingId);
        gate.close(hostingId);
        eq(coin.balanceOf(host), 720e6, "nothing is bound, so nothing was fined");
    }

    function test_ReportsMustBeThere() public {
        uint32 epoch = today();
        skip(1 days);
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_ReportMissing.selector, epoch));
        vm.prank(host);
        gate.exit(hostingId);
        report(hostingId, epoch, 1, 1_000);
        vm.prank(host);
        gate.pause(hostingId);
        skip(1 days);
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_ReportMissing.selector, epoch + 1));
        vm.prank(host);
        gate.exit(hostingId);
        report(hostingId, epoch + 1, 1, 1_000);
        skip(9 days);
        vm.prank(host);
        gate.exit(hostingId);
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_NotActive.selector, hostingId, HostingState.Exiting));
        vm.prank(host);
        gate.exit(hostingId);
    }

    function test_AClaimHoldsTheHost() public {
        vm.prank(court);
        gate.freeze(hostingId);
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_ClaimOpen.selector, hostingId));
        vm.prank(host);
        gate.exit(hostingId);
        vm.prank(court);
        gate.unfreeze(hostingId);
        uint32 epoch = today();
        vm.prank(host);
        gate.exit(hostingId);
        skip(1 days);
        report(hostingId, epoch, 0, 0);
        vm.prank(court);
        gate.freeze(hostingId);
        skip(14 days);
        vm.expectRevert(abi.encodeWithSelector(StakeVault.Stake_Frozen.selector, gate.hostingOf(hostingId).position));
        gate.close(hostingId);
    }

    function test_ABondedHostingLeavesAtOnce() public {
        uint256 other = bonded(active("second"));
        vm.prank(host);
        gate.exit(other);
        skip(14 days);
        gate.close(other);
        eq(coin.balanceOf(host), 720e6, "bond back");
    }
}
