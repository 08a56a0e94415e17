// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Parameters} from "../src/Parameters.sol";
import {Parameter} from "../src/interfaces/IParameters.sol";
import {ProtocolTimelock} from "../src/ProtocolTimelock.sol";
import {World} from "./World.sol";

contract ParametersSetTest is World {
    /// @dev Invariant 16, the half about parameters.
    function test_OnlyTheTimelockAndOnlyInsideTheBounds(address caller, uint8 which, uint256 value) public {
        Parameter parameter = Parameter(bound(which, 0, uint8(type(Parameter).max)));
        (uint256 min, uint256 max) = parameters.bounds(parameter);
        uint256 before = parameters.get(parameter);
        holds(before >= min && before <= max && max != 0, "default");
        if (caller != address(timelock)) {
            vm.expectRevert(abi.encodeWithSelector(Parameters.Parameters_NotTimelock.selector, caller));
            vm.prank(caller);
            parameters.set(parameter, before);
        }
        bool inside = value >= min && value <= max;
        if (!inside) {
            vm.expectRevert(
                abi.encodeWithSelector(Parameters.Parameters_OutOfBounds.selector, parameter, value, min, max)
            );
        }
        vm.prank(address(timelock));
        parameters.set(parameter, value);
        eq(parameters.get(parameter), inside ? value : before, "value");
        value = bound(value, min, max);
        vm.prank(address(timelock));
        parameters.set(parameter, value);
        eq(parameters.get(parameter), value, "value inside");
    }

    function test_ThroughTheTimelock() public {
        bytes memory call = abi.encodeCall(Parameters.set, (Parameter.ProtocolFeeBps, 300));
        timelock.schedule(address(parameters), 0, call, 0, 0, 2 days);
        vm.expectRevert();
        timelock.execute(address(parameters), 0, call, 0, 0);
        skip(2 days);
        vm.prank(user);
        timelock.execute(address(parameters), 0, call, 0, 0);
        eq(parameters.get(Parameter.ProtocolFeeBps), 300, "executed");
    }

    function test_ATimelockHasADelay() public {
        vm.expectRevert(ProtocolTimelock.Timelock_NoDelay.selector);
        new ProtocolTimelock(0, new address[](0));
    }

    function test_Epochs(uint32 epoch, uint32 second) public view {
        second = uint32(bound(second, 0, 86_399));
        uint256 time = uint256(GENESIS) + uint256(epoch) * 86_400 + second;
        eq(parameters.epochAt(time), epoch, "epoch");
        eq(parameters.epochStart(epoch), time - second, "start");
    }

    function test_NothingBeforeGenesis() public {
        vm.expectRevert(abi.encodeWithSelector(Parameters.Parameters_BeforeGenesis.selector, GENESIS - 1));
        parameters.epochAt(GENESIS - 1);
    }
}
