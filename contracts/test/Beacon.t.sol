// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Beacon} from "../src/Beacon.sol";
import {Terms} from "../src/interfaces/IStakeVault.sol";
import {World} from "./World.sol";

contract BeaconTest is World {
    address private one = vm.addr(0x7a1);
    address private two = vm.addr(0x7a2);

    function seat(address validator) private {
        currency.approve(address(vault), 10_000e18);
        vault.bind(Terms(court, validator, validator, address(currency), "validator"), 10_000e18);
    }

    function commitTo(uint32 epoch, address validator, bytes32 secret) private {
        vm.prank(validator);
        beacon.commit(epoch, keccak256(abi.encode(secret, validator)));
    }

    function test_SecretsMakeASeed() public {
        (uint32 epoch, bytes32 first, bytes32 second) = (today() + 2, "first", "second");
        uint64 start = parameters.epochStart(epoch);
        seat(one);
        seat(two);
        vm.warp(start - 1 days);
        commitTo(epoch, one, first);
        commitTo(epoch, two, second);
        vm.warp(start - 12 hours);
        vm.prank(one);
        beacon.reveal(epoch, first);
        vm.prank(two);
        beacon.reveal(epoch, second);
        vm.warp(start);
        vm.prevrandao("random");
        bytes32 seed = beacon.close(epoch);
        bytes32 mix = keccak256(abi.encode(first)) ^ keccak256(abi.encode(second));
        eq(seed, keccak256(abi.encode("loyal/beacon/1", epoch, mix, bytes32("random"))), "seed");
        Beacon.Draw memory draw = beacon.drawOf(epoch);
        holds(!draw.weak && draw.commits == 2 && draw.reveals == 2, "strong");
        vm.expectRevert(abi.encodeWithSelector(Beacon.Beacon_Repeated.selector, epoch));
        beacon.close(epoch);
    }

    function test_WithoutRevealsItIsWeak() public {
        uint32 epoch = today() + 2;
        seat(one);
        vm.warp(parameters.epochStart(epoch) - 1 days);
        commitTo(epoch, one, "withheld");
        vm.warp(parameters.epochStart(epoch));
        beacon.close(epoch);
        holds(beacon.drawOf(epoch).weak, "weak");
        holds(beacon.commitOf(epoch, one) != 0, "the open commit stays for the court");
    }

    function test_TimesAreKept() public {
        uint32 epoch = today() + 3;
        uint64 start = parameters.epochStart(epoch);
        seat(one);
        bytes memory early = abi.encodeWithSelector(Beacon.Beacon_NotReady.selector, epoch);
        vm.warp(start - 1 days - 1);
        vm.expectRevert(early);
        beacon.commit(epoch, "x");
        vm.warp(start - 12 hours);
        vm.expectRevert(early);
        beacon.commit(epoch, "x");
        vm.warp(start - 12 hours - 1);
        commitTo(epoch, one, "secret");
        vm.expectRevert(early);
        vm.prank(one);
        beacon.reveal(epoch, "secret");
        vm.warp(start - 1);
        vm.expectRevert(early);
        beacon.close(epoch);
        vm.expectRevert(early);
        beacon.seed(epoch);
        vm.warp(start);
        vm.expectRevert(early);
        vm.prank(one);
        beacon.reveal(epoch, "secret");
    }

    function test_OnlySeatsAndOnlyOnce() public {
        uint32 epoch = today() + 1;
        vm.expectRevert(abi.encodeWithSelector(Beacon.Beacon_NotValidator.selector, two));
        vm.prank(two);
        beacon.commit(epoch, "x");
        seat(one);
        commitTo(epoch, one, "secret");
        vm.expectRevert(abi.encodeWithSelector(Beacon.Beacon_Repeated.selector, epoch));
        vm.prank(one);
        beacon.commit(epoch, "x");
        skip(12 hours);
        vm.expectRevert(abi.encodeWithSelector(Beacon.Beacon_BadReveal.selector, epoch));
        vm.prank(one);
        beacon.reveal(epoch, "another");
        vm.prank(one);
        beacon.reveal(epoch, "secret");
        vm.expectRevert(abi.encodeWithSelector(Beacon.Beacon_BadReveal.selector, epoch));
        vm.prank(one);
        beacon.reveal(epoch, "secret");
    }

    /// @dev A copied commitment is of no use: the account is part of it.
    function test_ACopiedCommitCannotBeRevealed() public {
        uint32 epoch = today() + 1;
        seat(one);
        seat(two);
        commitTo(epoch, one, "secret");
        bytes32 copied = beacon.commitOf(epoch, one);
        vm.prank(two);
        beacon.commit(epoch, copied);
        skip(12 hours);
        vm.expectRevert(abi.encodeWithSelector(Beacon.Beacon_BadReveal.selector, epoch));
        vm.prank(two);
        beacon.reveal(epoch, "secret");
    }
}
