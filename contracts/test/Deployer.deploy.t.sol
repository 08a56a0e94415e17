// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Deployer} from "../src/Deployer.sol";
import {Till} from "../src/Till.sol";
import {World} from "./World.sol";

contract DeployerDeployTest is World {
    function test_AnAddressIsKnownBeforeTheCode(bytes32 name, address router_) public {
        vm.assume(deployer.addressOf(address(this), name).code.length == 0);
        address expected = deployer.addressOf(address(this), name);
        bytes memory code = abi.encodePacked(type(Till).creationCode, abi.encode(router_));
        eq(deployer.deploy(name, code), expected, "address");
        eq(Till(expected).router(), router_, "code");
        holds(deployer.addressOf(user, name) != expected, "another account has other addresses");
    }

    function test_EverythingIsWhereItWasExpected() public view {
        eq(address(gate), at("Gate"), "gate");
        eq(address(registry.court()), at("DisputeCourt"), "a court that comes later");
        eq(address(gate.router()), address(router), "router");
        eq(address(router.gate()), address(gate), "gate");
        eq(factory.sharesCode(), at("ModelShares"), "shares");
    }
}
