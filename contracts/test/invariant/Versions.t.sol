// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ModelState, Version, VersionState, VersionTerms} from "../../src/interfaces/IRegistry.sol";
import {World} from "../World.sol";

/// @notice A model's versions, its claims and its court, in any order.
contract VersionHandler is World {
    uint256 public modelId;
    uint32[] private revoked;
    uint256 private names;

    function prepare() external {
        setUp();
        modelId = active("first");
    }

    function submit() external {
        if (registry.modelOf(modelId).state != ModelState.Active || registry.modelOf(modelId).pendingVersion != 0) {
            return;
        }
        VersionTerms memory terms = termsOf(owner, bytes32(++names));
        commit(owner, terms.leafRoot, owner);
        vm.prank(owner);
        registry.submitVersion(modelId, terms);
    }

    function activate(uint256 version) external {
        uint32 which = pick(version);
        Version memory entry = registry.versionOf(modelId, which);
        bool may = entry.state == VersionState.Contestable && vm.getBlockTimestamp() >= entry.windowEnds
            && entry.openClaims == 0 && registry.modelOf(modelId).state == ModelState.Active;
        if (!may) vm.expectRevert();
        registry.activate(modelId, which);
    }

    function openClaim(uint256 version) external {
        uint32 which = pick(version);
        Version memory entry = registry.versionOf(modelId, which);
        bool may = entry.state == VersionState.Contestable && vm.getBlockTimestamp() < entry.windowEnds;
        if (!may) vm.expectRevert();
        vm.prank(court);
        registry.openClaim(modelId, which);
    }

    function closeClaim(uint256 version) external {
        uint32 which = pick(version);
        if (registry.versionOf(modelId, which).openClaims == 0) return;
        vm.prank(court);
        registry.closeClaim(modelId, which);
    }

    function revoke(uint256 version, uint8 chance) external {
        uint32 which = pick(version);
        VersionState state = registry.stateOf(modelId, which);
        bool may = state == VersionState.Contestable || state == VersionState.Active;
        if (!may || which == 1 || chance > 60) return;
        vm.prank(court);
        registry.revoke(modelId, which, 0);
        revoked.push(which);
    }

    function pass(uint256 time) external {
        skip(bound(time, 1 hours, 8 days));
    }

    function pick(uint256 version) private view returns (uint32) {
        return uint32(1 + version % registry.modelOf(modelId).versionCount);
    }

    /// @dev Invariant 14.
    function oneActive() external view {
        uint256 count = 0;
        for (uint32 i = 1; i <= registry.modelOf(modelId).versionCount; ++i) {
            if (registry.stateOf(modelId, i) != VersionState.Active) continue;
            ++count;
            eq(registry.modelOf(modelId).activeVersion, i, "the one the model names");
        }
        holds(count <= 1, "one at most");
    }

    function revokedIsTerminal() external view {
        for (uint256 i = 0; i < revoked.length; ++i) {
            eq(uint8(registry.stateOf(modelId, revoked[i])), uint8(VersionState.Revoked), "terminal");
        }
    }
}

contract VersionInvariants {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    VersionHandler private handler;

    function setUp() public {
        handler = new VersionHandler();
        handler.prepare();
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        bytes4[] memory selectors = new bytes4[](6);
        selectors[0] = VersionHandler.submit.selector;
        selectors[1] = VersionHandler.activate.selector;
        selectors[2] = VersionHandler.openClaim.selector;
        selectors[3] = VersionHandler.closeClaim.selector;
        selectors[4] = VersionHandler.revoke.selector;
        selectors[5] = VersionHandler.pass.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), selectors);
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function invariant_14_OneActiveVersionAndRevokedIsTerminal() public view {
        handler.oneActive();
        handler.revokedIsTerminal();
    }
}
