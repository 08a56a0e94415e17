// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Gate} from "../src/Gate.sol";
import {HostingState} from "../src/interfaces/IGate.sol";
import {Destination} from "../src/interfaces/IStakeVault.sol";
import {World} from "./World.sol";

contract GateConvictTest is World {
    uint256 private modelId;
    uint256 private hostingId;

    function setUp() public override {
        super.setUp();
        modelId = active("first");
        hostingId = serving(modelId);
    }

    function claimant(uint128 amount) private view returns (Destination[] memory all) {
        all = new Destination[](1);
        all[0] = Destination(user, amount);
    }

    /// @dev The figures of golden case 10: 36.00 goes 18.00 / 10.80 / 7.20.
    function test_HalfClaimantsThirtySharesTwentyBurnt() public {
        vm.prank(court);
        gate.convict(hostingId, 36e6, claimant(18e6), false);
        eq(vault.rewards(user, address(coin)), 18e6, "claimant");
        eq(router.owed(address(sharesOf(modelId)), address(coin)), 10.8e6, "shares");
        eq(vault.rewards(address(timelock), address(coin)), 7.2e6, "burnt");
        eq(gate.hostingOf(hostingId).convictions, 1, "convictions");
        eq(uint8(gate.hostingOf(hostingId).state), uint8(HostingState.Active), "goes on");
    }

    /// @dev Invariant 17: the parts are the slash, claimants get half at most.
    function test_PartsAreTheSlash(uint128 amount, uint128 given) public {
        amount = uint128(bound(amount, 1, 720e6));
        given = uint128(bound(given, 0, amount));
        if (given > amount / 2) {
            vm.expectRevert(abi.encodeWithSelector(Gate.Gate_ClaimantsShare.selector, given, amount));
        }
        vm.prank(court);
        gate.convict(hostingId, amount, claimant(given), false);
        if (given > amount / 2) return;
        uint256 sum = vault.rewards(user, address(coin)) + vault.rewards(address(timelock), address(coin))
            + router.owed(address(sharesOf(modelId)), address(coin));
        eq(sum, amount, "sum");
        eq(gate.bondOf(hostingId), 720e6 - amount, "left");
    }

    function test_AClosedHostingKeepsWhatIsLeft() public {
        vm.prank(court);
        gate.convict(hostingId, 360e6, claimant(180e6), true);
        eq(uint8(gate.hostingOf(hostingId).state), uint8(HostingState.Exiting), "exiting");
        skip(14 days);
        gate.close(hostingId);
        eq(coin.balanceOf(host), 360e6, "the rest");
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_NotActive.selector, hostingId, HostingState.Closed));
        vm.prank(court);
        gate.convict(hostingId, 1, claimant(0), false);
    }

    function test_ClosedWithoutASlash() public {
        vm.prank(court);
        gate.convict(hostingId, 0, new Destination[](0), true);
        eq(gate.bondOf(hostingId), 0, "all thaws");
        skip(14 days);
        gate.close(hostingId);
        eq(coin.balanceOf(host), 720e6, "all back");
    }

    function test_OnlyTheCourt() public {
        bytes memory refusal = abi.encodeWithSelector(Gate.Gate_NotCourt.selector, address(this));
        vm.expectRevert(refusal);
        gate.convict(hostingId, 1, claimant(0), false);
        vm.expectRevert(refusal);
        gate.freeze(hostingId);
        vm.expectRevert(refusal);
        gate.unfreeze(hostingId);
    }
}
