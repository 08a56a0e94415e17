// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Registry} from "../src/Registry.sol";
import {ModelState, VersionState, VersionTerms} from "../src/interfaces/IRegistry.sol";
import {World} from "./World.sol";

contract RegistryCourtTest is World {
    /// @dev The window of golden case 6: one second before its end a claim is accepted, at its end refused.
    function test_ClaimsInsideTheWindow() public {
        uint256 modelId = contestable("first");
        uint64 ends = registry.versionOf(modelId, 1).windowEnds;
        vm.warp(ends - 1);
        vm.prank(court);
        registry.openClaim(modelId, 1);
        vm.warp(ends);
        vm.expectRevert(abi.encodeWithSelector(Registry.Registry_WindowClosed.selector, ends));
        vm.prank(court);
        registry.openClaim(modelId, 1);
        vm.expectRevert(abi.encodeWithSelector(Registry.Registry_WindowOpen.selector, ends));
        registry.activate(modelId, 1);
        vm.prank(court);
        registry.closeClaim(modelId, 1);
        registry.activate(modelId, 1);
        vm.expectRevert(Registry.Registry_BadState.selector);
        vm.prank(court);
        registry.openClaim(modelId, 1);
    }

    function test_TheFirstVersionTakesTheModelWithIt() public {
        uint256 claimant = active("claimant");
        uint256 modelId = contestable("first");
        vm.prank(court);
        registry.revoke(modelId, 1, claimant);
        eq(uint8(registry.stateOf(modelId, 1)), uint8(VersionState.Revoked), "version");
        eq(uint8(registry.modelOf(modelId).state), uint8(ModelState.Revoked), "model");
        holds(!registry.isServeable(modelId, 1), "not served");
        skip(30 days);
        vm.expectRevert(Registry.Registry_BadState.selector);
        registry.activate(modelId, 1);
        vm.expectRevert(Registry.Registry_BadState.selector);
        vm.prank(court);
        registry.revoke(modelId, 1, claimant);
    }

    function test_ALaterVersionLeavesTheModel() public {
        uint256 modelId = active("first");
        VersionTerms memory terms = termsOf(owner, "second");
        commit(owner, terms.leafRoot, owner);
        vm.prank(owner);
        registry.submitVersion(modelId, terms);
        vm.prank(court);
        registry.revoke(modelId, 2, 0);
        eq(registry.modelOf(modelId).activeVersion, 1, "the first stays active");
        eq(registry.modelOf(modelId).pendingVersion, 0, "nothing waits");
    }

    /// @dev Invariant 14: a revoked model does not come back through a version that waited.
    function test_ARevokedModelStaysRevoked() public {
        uint256 modelId = active("first");
        VersionTerms memory terms = termsOf(owner, "second");
        commit(owner, terms.leafRoot, owner);
        vm.prank(owner);
        registry.submitVersion(modelId, terms);
        vm.prank(court);
        registry.revoke(modelId, 1, 0);
        skip(7 days);
        vm.expectRevert(Registry.Registry_BadState.selector);
        registry.activate(modelId, 2);
        eq(uint8(registry.modelOf(modelId).state), uint8(ModelState.Revoked), "terminal");
    }

    function test_AnActiveVersionCanGo() public {
        uint256 modelId = active("first");
        vm.expectRevert(abi.encodeWithSelector(Registry.Registry_Unknown.selector, 77, 0));
        vm.prank(court);
        registry.revoke(modelId, 1, 77);
        vm.prank(court);
        registry.revoke(modelId, 1, 0);
        eq(registry.modelOf(modelId).activeVersion, 0, "no active version");
    }

    function test_ALeafBurnsOnce(uint32 index) public {
        uint256 modelId = contestable("first");
        bytes32 commitment = registry.versionOf(modelId, 1).commitment;
        index = uint32(bound(index, 0, 1_023));
        vm.startPrank(court);
        registry.burnLeaf(commitment, index);
        holds(registry.isBurnt(commitment, index), "burnt");
        vm.expectRevert(abi.encodeWithSelector(Registry.Registry_LeafSpent.selector, index));
        registry.burnLeaf(commitment, index);
        vm.expectRevert(abi.encodeWithSelector(Registry.Registry_LeafSpent.selector, 1_024));
        registry.burnLeaf(commitment, 1_024);
        vm.stopPrank();
    }

    function test_OnlyTheCourt() public {
        bytes memory refusal = abi.encodeWithSelector(Registry.Registry_NotCourt.selector, address(this));
        vm.expectRevert(refusal);
        registry.revoke(1, 1, 0);
        vm.expectRevert(refusal);
        registry.openClaim(1, 1);
        vm.expectRevert(refusal);
        registry.closeClaim(1, 1);
        vm.expectRevert(refusal);
        registry.burnLeaf(0, 0);
    }
}
