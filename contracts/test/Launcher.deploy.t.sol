// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Launcher} from "../src/Launcher.sol";
import {Till} from "../src/Till.sol";
import {World} from "./World.sol";

contract LauncherDeployTest is World {
    function test_AnAddressIsKnownBeforeTheCode(bytes32 name, address router_) public {
        vm.assume(launcher.addressOf(address(this), name).code.length == 0);
        address expected = launcher.addressOf(address(this), name);
        bytes memory code = abi.encodePacked(type(Till).creationCode, abi.encode(router_));
        eq(launcher.deploy(name, code), expected, "address");
        eq(Till(expected).router(), router_, "code");
        holds(launcher.addressOf(user, name) != expected, "another account has other addresses");
    }

    function test_EverythingIsWhereItWasExpected() public view {
        eq(address(gate), at("Gate"), "gate");
        eq(address(registry.court()), at("DisputeCourt"), "a court that comes later");
        eq(address(gate.router()), address(router), "router");
        eq(address(router.gate()), address(gate), "gate");
        eq(factory.sharesCode(), at("ModelShares"), "shares");
    }
}
