// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Registry} from "../src/Registry.sol";
import {World} from "./World.sol";

contract RegistrySettingsTest is World {
    function test_ControlPassesOn() public {
        uint256 modelId = contestable("first");
        vm.prank(owner);
        registry.setController(modelId, address(timelock));
        eq(registry.controllerOf(modelId), address(timelock), "controller");
        vm.expectRevert(abi.encodeWithSelector(Registry.Registry_NotController.selector, modelId, owner));
        vm.prank(owner);
        registry.setController(modelId, owner);
        vm.prank(address(timelock));
        registry.transferFrom(address(timelock), owner, modelId);
        eq(registry.controllerOf(modelId), owner, "as any ERC-721");
    }

    function test_FourAssetsAtMost() public {
        uint256 modelId = contestable("first");
        vm.startPrank(owner);
        for (uint160 i = 1; i < 4; ++i) {
            registry.setFloor(modelId, address(i), 1, 1);
        }
        vm.expectRevert(Registry.Registry_AssetLimit.selector);
        registry.setFloor(modelId, address(9), 1, 1);
        registry.setFloor(modelId, address(coin), 7, 8);
        vm.stopPrank();
        eq(registry.floorOf(modelId, address(coin)).perCall, 7, "a floor moves");
        eq(registry.assetsOf(modelId).length, 4, "assets");
        uint256 other = contestable("second");
        vm.expectRevert(Registry.Registry_AssetLimit.selector);
        vm.prank(owner);
        registry.setFloor(other, address(0), 1, 1);
    }

    function test_OpenHosting() public {
        uint256 modelId = contestable("first");
        vm.prank(owner);
        registry.setOpenHosting(modelId, false);
        holds(!registry.modelOf(modelId).openHosting, "closed");
        vm.expectRevert(abi.encodeWithSelector(Registry.Registry_NotController.selector, modelId, host));
        vm.prank(host);
        registry.setOpenHosting(modelId, true);
    }

    function test_DomainIsTheRegistrys() public view {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Loyal"),
                keccak256("1"),
                block.chainid,
                address(registry)
            )
        );
        eq(registry.domainSeparator(), domain, "domain");
        eq(registry.digest("x"), keccak256(abi.encodePacked(hex"1901", domain, bytes32("x"))), "digest");
    }
}
