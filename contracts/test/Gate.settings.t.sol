// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Gate} from "../src/Gate.sol";
import {HostingState} from "../src/interfaces/IGate.sol";
import {World} from "./World.sol";

contract GateSettingsTest is World {
    uint256 private modelId;
    uint256 private hostingId;

    function setUp() public override {
        super.setUp();
        modelId = active("first");
        hostingId = serving(modelId);
    }

    function test_SignersHaveAHistory() public {
        uint48 then = uint48(vm.getBlockTimestamp());
        skip(100);
        vm.prank(host);
        gate.rotateSigner(hostingId, vm.addr(BOB));
        eq(gate.signerAt(hostingId, then), vm.addr(SIGNER), "then");
        eq(gate.signerAt(hostingId, then + 99), vm.addr(SIGNER), "until");
        eq(gate.signerAt(hostingId, then + 100), vm.addr(BOB), "now");
        eq(gate.signerAt(hostingId, then - 1), address(0), "before");
    }

    function test_OnlyTheHostSets() public {
        bytes memory refusal = abi.encodeWithSelector(Gate.Gate_NotHost.selector, hostingId, address(this));
        vm.expectRevert(refusal);
        gate.rotateSigner(hostingId, vm.addr(BOB));
        vm.expectRevert(refusal);
        gate.setEndpoint(hostingId, "x");
        vm.expectRevert(refusal);
        gate.setPrice(hostingId, 1);
        vm.expectRevert(refusal);
        gate.pause(hostingId);
        vm.expectRevert(refusal);
        gate.resume(hostingId);
        vm.expectRevert(refusal);
        gate.exit(hostingId);
    }

    function test_EndpointAndPrice() public {
        vm.startPrank(host);
        gate.setEndpoint(hostingId, "elsewhere");
        gate.setPrice(hostingId, 20e6);
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_BondTooSmall.selector, 720e6, 720e6 + 36));
        gate.setPrice(hostingId, 20e6 + 1);
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_BelowFloor.selector, 99, 100));
        gate.setPrice(hostingId, 99);
        vm.stopPrank();
        eq(gate.hostingOf(hostingId).endpointHash, "elsewhere", "endpoint");
        eq(gate.hostingOf(hostingId).price, 20e6, "price");
    }

    function test_AnybodyRaisesABond() public {
        coin.mint(address(this), 80e6);
        coin.approve(address(gate), 80e6);
        gate.topUp(hostingId, 80e6);
        eq(gate.bondOf(hostingId), 800e6, "bond");
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_NotActive.selector, 99, HostingState.None));
        gate.topUp(99, 1);
    }

    function test_PauseAndResumeTheSameDay() public {
        vm.startPrank(host);
        gate.pause(hostingId);
        eq(uint8(gate.hostingOf(hostingId).state), uint8(HostingState.Paused), "paused");
        gate.resume(hostingId);
        vm.stopPrank();
        eq(uint8(gate.hostingOf(hostingId).state), uint8(HostingState.Active), "active");
    }

    function test_ResumeNeedsTheReportsOfWhatWasServed() public {
        uint32 epoch = today();
        vm.prank(host);
        gate.pause(hostingId);
        skip(1 days);
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_ReportMissing.selector, epoch));
        vm.prank(host);
        gate.resume(hostingId);
        report(hostingId, epoch, 1, 1_000);
        skip(5 days);
        vm.prank(host);
        gate.resume(hostingId);
        eq(gate.hostingOf(hostingId).nextEpoch, today(), "days without service need no report");
    }

    function test_Images() public {
        vm.startPrank(owner);
        gate.setImage(modelId, "image", 5_000_000_000);
        eq(gate.imageUntil(modelId, "image"), 5_000_000_000, "allowed");
        gate.setImage(modelId, "image", 0);
        vm.stopPrank();
        eq(gate.imageUntil(modelId, "image"), 0, "revoked");
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_NotController.selector, modelId, host));
        vm.prank(host);
        gate.setImage(modelId, "image", 1);
    }
}
