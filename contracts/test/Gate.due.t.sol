// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Gate} from "../src/Gate.sol";
import {World} from "./World.sol";

contract GateDueTest is World {
    uint256 private modelId;
    uint256 private hostingId;
    uint32 private epoch;

    function setUp() public override {
        super.setUp();
        modelId = active("first");
        hostingId = serving(modelId);
        epoch = today();
        skip(1 days);
        report(hostingId, epoch, 1_000, 10e6);
    }

    function test_WhatWasReportedIsPaidOutOfTheBond(uint256 collected) public {
        collected = bound(collected, 0, 10e6 - 1);
        earn(hostingId, builder, collected);
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_NothingDue.selector, hostingId));
        gate.settleDue(hostingId, epoch);
        skip(7 days);
        eq(gate.settleDue(hostingId, epoch), 10e6 - collected, "due");
        eq(router.collectedOf(hostingId), 10e6, "collected");
        eq(gate.bondOf(hostingId), 710e6 + collected, "bond");
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_NothingDue.selector, hostingId));
        gate.settleDue(hostingId, epoch);
    }

    function test_NothingIsDueThatWasCollected() public {
        earn(hostingId, builder, 10e6);
        skip(7 days);
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_NothingDue.selector, hostingId));
        gate.settleDue(hostingId, epoch);
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_NothingDue.selector, hostingId));
        gate.settleDue(hostingId, epoch + 1);
    }

    function test_AThawingBondPaysToo() public {
        skip(1 days);
        report(hostingId, epoch + 1, 0, 0);
        vm.prank(host);
        gate.exit(hostingId);
        skip(7 days);
        eq(gate.settleDue(hostingId, epoch), 10e6, "due");
    }
}
