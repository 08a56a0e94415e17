// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Beacon} from "../src/Beacon.sol";
import {Registry} from "../src/Registry.sol";
import {Commitment} from "../src/interfaces/IRegistry.sol";
import {World} from "./World.sol";

contract RegistryCommitTest is World {
    function test_LeavesThenSeedThenFingerprints() public {
        uint32 epoch = today();
        vm.prank(owner);
        registry.commitLeaves("leaves", 1_024);
        Commitment memory commitment = registry.commitmentOf(registry.commitmentId(owner, "leaves"));
        eq(commitment.beaconEpoch, epoch + 1, "answers depend on the next seed");
        vm.expectRevert(abi.encodeWithSelector(Beacon.Beacon_NotReady.selector, epoch + 1));
        vm.prank(owner);
        registry.commitFingerprints("leaves", "embedded", owner);
        nextSeed();
        vm.prank(owner);
        registry.commitFingerprints("leaves", "embedded", owner);
        eq(registry.fingerprintRootOf(owner, "leaves"), bytes32("embedded"), "root");
    }

    function test_ARootIsUsedOnce() public {
        commit(owner, "leaves", owner);
        vm.expectRevert(abi.encodeWithSelector(Registry.Registry_RootUsed.selector, bytes32("leaves")));
        vm.prank(owner);
        registry.commitLeaves("leaves", 1_024);
        vm.expectRevert(abi.encodeWithSelector(Registry.Registry_RootUsed.selector, bytes32("other")));
        vm.prank(owner);
        registry.commitFingerprints("leaves", "other", owner);
    }

    function test_NobodyTakesARootFirst(address thief) public {
        vm.assume(thief != owner);
        vm.prank(thief);
        registry.commitLeaves("leaves", 1);
        commit(owner, "leaves", owner);
        eq(registry.fingerprintRootOf(thief, "leaves"), bytes32(0), "the thief's");
    }

    function test_OrderAndEmptiness() public {
        vm.expectRevert(Registry.Registry_OrderBroken.selector);
        registry.commitFingerprints("leaves", "embedded", owner);
        vm.expectRevert(Registry.Registry_Empty.selector);
        registry.commitLeaves(0, 1);
        vm.expectRevert(Registry.Registry_Empty.selector);
        registry.commitLeaves("leaves", 0);
        vm.expectRevert(Registry.Registry_Empty.selector);
        registry.commitFingerprints("leaves", 0, owner);
        vm.expectRevert(Registry.Registry_Empty.selector);
        registry.commitFingerprints("leaves", "embedded", address(0));
    }
}
