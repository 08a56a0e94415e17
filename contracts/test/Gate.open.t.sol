// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Gate, Opening} from "../src/Gate.sol";
import {Hosting, HostingState} from "../src/interfaces/IGate.sol";
import {Delivery, Messages} from "../src/libraries/Messages.sol";
import {World} from "./World.sol";

contract GateOpenTest is World {
    using Messages for Delivery;

    function refused(Opening memory ask, bytes memory why) private {
        vm.expectRevert(why);
        vm.prank(host);
        gate.open(ask);
    }

    function test_BondThenDeliveryThenActive() public {
        uint256 modelId = active("first");
        uint256 hostingId = bonded(modelId);
        eq(gate.bondOf(hostingId), 720e6, "bond");
        eq(uint8(gate.hostingOf(hostingId).state), uint8(HostingState.Bonded), "bonded");
        Delivery memory message = delivery(hostingId);
        gate.deliver(message, signed(SIGNER, registry.digest(message.hash())));
        Hosting memory hosting = gate.hostingOf(hostingId);
        eq(uint8(hosting.state), uint8(HostingState.Active), "active");
        eq(hosting.nextEpoch, today(), "the first report is today's");
        bytes memory signature = signed(SIGNER, registry.digest(message.hash()));
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_NotActive.selector, hostingId, HostingState.Active));
        gate.deliver(message, signature);
    }

    function test_WhatIsRefused() public {
        uint256 modelId = active("first");
        Opening memory ask = opening(modelId);
        ask.version = 2;
        refused(ask, abi.encodeWithSelector(Gate.Gate_VersionInactive.selector, modelId, 2));
        ask = opening(modelId);
        ask.asset = address(currency);
        refused(ask, abi.encodeWithSelector(Gate.Gate_AssetRefused.selector, modelId, address(currency)));
        ask = opening(modelId);
        ask.price = 99;
        refused(ask, abi.encodeWithSelector(Gate.Gate_BelowFloor.selector, 99, 100));
        ask = opening(modelId);
        ask.bond = 2_000 * 36 - 1;
        refused(ask, abi.encodeWithSelector(Gate.Gate_BondTooSmall.selector, 71_999, 72_000));
        ask = opening(modelId);
        ask.signer = address(gate);
        refused(ask, abi.encodeWithSelector(Gate.Gate_BadSigner.selector, address(gate)));
        ask.signer = address(0);
        refused(ask, abi.encodeWithSelector(Gate.Gate_BadSigner.selector, address(0)));
    }

    function test_AClosedModelPreparesItsCopies() public {
        uint256 modelId = active("first");
        vm.prank(owner);
        registry.setOpenHosting(modelId, false);
        uint256 hostingId = bonded(modelId);
        Delivery memory message = delivery(hostingId);
        bytes memory signature = signed(SIGNER, registry.digest(message.hash()));
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_NotOpen.selector, modelId));
        gate.deliver(message, signature);
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_NotController.selector, modelId, host));
        vm.prank(host);
        gate.prepare(hostingId, "copy", "subset");
        vm.startPrank(owner);
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_OtherCopy.selector, hostingId));
        gate.prepare(hostingId, 0, "subset");
        gate.prepare(hostingId, "copy", "subset");
        vm.stopPrank();
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_OtherCopy.selector, hostingId));
        gate.deliver(message, signature);
        (message.copyRoot, message.subsetRoot) = ("copy", "subset");
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_BadSignature.selector, hostingId));
        gate.deliver(message, signature);
        gate.deliver(message, signed(SIGNER, registry.digest(message.hash())));
    }

    function test_DeliveriesAreOfNowAndOfThisVersion() public {
        uint256 hostingId = bonded(active("first"));
        Delivery memory message = delivery(hostingId);
        message.deliveredAt += 1;
        bytes memory signature = signed(SIGNER, registry.digest(message.hash()));
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_OtherCopy.selector, hostingId));
        gate.deliver(message, signature);
        message = delivery(hostingId);
        message.version = 2;
        signature = signed(SIGNER, registry.digest(message.hash()));
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_OtherCopy.selector, hostingId));
        gate.deliver(message, signature);
    }

    function test_ARetiredModelIsNotDelivered() public {
        uint256 modelId = active("first");
        uint256 hostingId = bonded(modelId);
        vm.prank(owner);
        registry.retire(modelId);
        Delivery memory message = delivery(hostingId);
        bytes memory signature = signed(SIGNER, registry.digest(message.hash()));
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_VersionInactive.selector, modelId, 1));
        gate.deliver(message, signature);
    }
}
