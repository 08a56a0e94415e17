// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {GenesisVesting} from "../src/GenesisVesting.sol";
import {World} from "./World.sol";

contract VestingReleaseTest is World {
    /// @dev Golden case 20: the five allocations are 2^35 exactly, at the end of time.
    function test_GenesisSumsExactly() public view {
        uint256 sum = 0;
        for (uint256 i = 0; i < vesting.COUNT(); ++i) {
            sum += vesting.vested(i, uint256(GENESIS) + 100 * 365 days);
        }
        eq(sum, 2 ** 35 * 1e18, "sum");
        eq(vesting.vested(0, GENESIS), (2 ** 35 * 1e18 * uint256(44) / 100) * 3 / 10, "initiatives at the start");
        eq(vesting.vested(2, GENESIS), 2 ** 35 * 1e18 * uint256(2) / 100, "public at the start");
        eq(vesting.vested(3, uint256(GENESIS) + 365 days), 0, "team at its cliff");
        eq(vesting.vested(3, uint256(GENESIS) + 4 * 365 days), 2 ** 35 * 1e18 * uint256(11) / 100, "team half way");
        eq(vesting.vested(4, uint256(GENESIS) - 1), 0, "before");
    }

    function test_NeverFallsNeverTooMuch(uint256 index, uint64 a, uint64 b) public view {
        index = bound(index, 0, 4);
        (uint256 early, uint256 late) = a < b ? (a, b) : (b, a);
        holds(vesting.vested(index, early) <= vesting.vested(index, late), "monotone");
        uint256 total = vesting.supply() * vesting.allocationOf(index).bps / 10_000;
        holds(vesting.vested(index, late) <= total, "bounded");
    }

    function test_ReleaseInSteps() public {
        address beneficiary = vm.addr(0x9e);
        uint256 before = currency.balanceOf(beneficiary);
        uint256 first = vesting.release(0);
        eq(vesting.release(0), 0, "nothing more");
        skip(2 * 365 days);
        uint256 second = vesting.release(0);
        eq(currency.balanceOf(beneficiary) - before, first + second, "received");
        eq(first + second, vesting.vested(0, vm.getBlockTimestamp()), "as vested");
        skip(100 * 365 days);
        for (uint256 i = 0; i < 5; ++i) {
            vesting.release(i);
        }
        eq(currency.balanceOf(address(vesting)), 0, "all is released in the end");
    }

    function test_TheBeneficiaryPassesItOn() public {
        vm.expectRevert(abi.encodeWithSelector(GenesisVesting.Vesting_NotBeneficiary.selector, address(this)));
        vesting.setBeneficiary(1, user);
        vm.prank(vm.addr(0x9e));
        vesting.setBeneficiary(1, user);
        uint256 amount = vesting.release(1);
        eq(currency.balanceOf(user), amount, "to the new one");
    }
}
