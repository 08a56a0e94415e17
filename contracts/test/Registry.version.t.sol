// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Creation} from "../src/ModelFactory.sol";
import {Registry} from "../src/Registry.sol";
import {Model, ModelState, Version, VersionState, VersionTerms} from "../src/interfaces/IRegistry.sol";
import {World} from "./World.sol";

contract RegistryVersionTest is World {
    function second(uint256 modelId) private returns (uint32 version) {
        VersionTerms memory terms = termsOf(vm.addr(DAVID), "second");
        commit(vm.addr(DAVID), terms.leafRoot, owner);
        vm.prank(owner);
        version = registry.submitVersion(modelId, terms);
    }

    function test_OnlyTheFactoryRegisters() public {
        vm.expectRevert(abi.encodeWithSelector(Registry.Registry_NotFactory.selector, address(this)));
        registry.register(owner, address(1), address(2), true, termsOf(owner, "first"));
    }

    function test_WindowThenActive() public {
        uint256 modelId = contestable("first");
        Version memory version = registry.versionOf(modelId, 1);
        eq(version.windowEnds - version.committedAt, 7 days, "window");
        holds(registry.isServeable(modelId, 1), "served while contestable");
        vm.warp(version.windowEnds - 1);
        vm.expectRevert(abi.encodeWithSelector(Registry.Registry_WindowOpen.selector, version.windowEnds));
        registry.activate(modelId, 1);
        vm.warp(version.windowEnds);
        registry.activate(modelId, 1);
        eq(registry.modelOf(modelId).activeVersion, 1, "active");
        vm.expectRevert(Registry.Registry_BadState.selector);
        registry.activate(modelId, 1);
    }

    function test_ANewVersionSupersedesTheOld() public {
        uint256 modelId = active("first");
        uint32 version = second(modelId);
        eq(registry.modelOf(modelId).pendingVersion, 2, "pending");
        skip(7 days);
        registry.activate(modelId, version);
        eq(uint8(registry.stateOf(modelId, 1)), uint8(VersionState.Superseded), "grace");
        holds(registry.isServeable(modelId, 1), "served in grace");
        skip(14 days);
        eq(uint8(registry.stateOf(modelId, 1)), uint8(VersionState.Retired), "retired by time");
        eq(uint8(registry.versionOf(modelId, 1).state), uint8(VersionState.Retired), "as seen");
        holds(!registry.isServeable(modelId, 1), "not served any more");
        eq(registry.modelOf(modelId).activeVersion, 2, "one active version");
    }

    function test_OneWindowAtATime() public {
        uint256 modelId = active("first");
        second(modelId);
        VersionTerms memory terms = termsOf(owner, "third");
        commit(owner, terms.leafRoot, owner);
        vm.expectRevert();
        vm.prank(owner);
        registry.submitVersion(modelId, terms);
    }

    function test_OnlyTheControllerSubmits() public {
        uint256 modelId = active("first");
        vm.expectRevert(abi.encodeWithSelector(Registry.Registry_NotController.selector, modelId, address(this)));
        registry.submitVersion(modelId, termsOf(owner, "second"));
        modelId = contestable("other");
        vm.expectRevert(Registry.Registry_BadState.selector);
        vm.prank(owner);
        registry.submitVersion(modelId, termsOf(owner, "second"));
    }

    function test_FingerprintsComeFirstAndAreTheSubmitters() public {
        uint256 modelId = active("first");
        VersionTerms memory terms = termsOf(owner, "second");
        vm.startPrank(owner);
        vm.expectRevert(Registry.Registry_OrderBroken.selector);
        registry.submitVersion(modelId, terms);
        vm.stopPrank();
        commit(owner, terms.leafRoot, vm.addr(DAVID));
        vm.startPrank(owner);
        vm.expectRevert(Registry.Registry_OrderBroken.selector);
        registry.submitVersion(modelId, terms);
        terms = termsOf(owner, "first");
        vm.expectRevert(abi.encodeWithSelector(Registry.Registry_RootUsed.selector, terms.leafRoot));
        registry.submitVersion(modelId, terms);
        vm.stopPrank();
    }

    function test_ParentsAreKnownAndKept() public {
        uint256 parent = active("parent");
        VersionTerms memory terms = termsOf(owner, "child");
        (terms.parentModel, terms.parentVersion) = (parent, 2);
        Creation memory creation = draft(owner, terms);
        vm.expectRevert(abi.encodeWithSelector(Registry.Registry_BadParent.selector, parent, 2));
        vm.prank(owner);
        factory.create(creation);
        uint256 modelId = child("heir", parent);
        terms = termsOf(owner, "orphan");
        commit(owner, terms.leafRoot, owner);
        vm.startPrank(owner);
        vm.expectRevert(abi.encodeWithSelector(Registry.Registry_BadParent.selector, 0, 0));
        registry.submitVersion(modelId, terms);
        (terms.parentModel, terms.parentVersion) = (parent, 1);
        registry.submitVersion(modelId, terms);
        terms = termsOf(owner, "own");
        (terms.parentModel, terms.parentVersion) = (parent, 1);
        vm.expectRevert();
        registry.submitVersion(parent, terms);
        vm.stopPrank();
    }

    function test_Retire() public {
        uint256 modelId = active("first");
        uint256 waiting = active("second model");
        second(waiting);
        vm.startPrank(owner);
        registry.retire(modelId);
        holds(!registry.isServeable(modelId, 1), "not served");
        vm.expectRevert(Registry.Registry_BadState.selector);
        registry.retire(modelId);
        vm.expectRevert(Registry.Registry_BadState.selector);
        registry.retire(waiting);
        vm.stopPrank();
        Model memory model = registry.modelOf(modelId);
        eq(uint8(model.state), uint8(ModelState.Retired), "retired");
    }

    function test_UnknownVersions() public {
        vm.expectRevert(abi.encodeWithSelector(Registry.Registry_Unknown.selector, 9, 1));
        registry.activate(9, 1);
        vm.expectRevert(abi.encodeWithSelector(Registry.Registry_Unknown.selector, 9, 1));
        registry.versionOf(9, 1);
    }
}
