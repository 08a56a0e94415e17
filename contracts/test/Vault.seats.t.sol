// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Destination, SeatDraw, Terms} from "../src/interfaces/IStakeVault.sol";
import {Draw} from "../src/libraries/Draw.sol";
import {World} from "./World.sol";

contract VaultSeatsTest is World {
    bytes32 private roll;

    function setUp() public override {
        super.setUp();
        currency.approve(address(vault), type(uint256).max);
        roll = vault.rollOf(court, "validator");
    }

    function termsAt(uint256 number) private view returns (Terms memory) {
        address account = vm.addr(number);
        return Terms(court, account, account, address(currency), "validator");
    }

    function take(uint256 number) private returns (bytes32) {
        return vault.bind(termsAt(number), 10_000e18);
    }

    function draws(bytes32 seed, uint256 count, address[] memory barred) private view returns (address[] memory) {
        return vault.drawSeats(SeatDraw(roll, seed, uint48(vm.getBlockTimestamp()), count, barred));
    }

    function draws(bytes32 seed, uint256 count) private view returns (address[] memory) {
        return draws(seed, count, new address[](0));
    }

    function test_ASeatIsTakenAndLeftWithTheStake() public {
        bytes32 id = vault.bind(termsAt(1), 9_999e18);
        holds(!vault.isSeated(roll, vm.addr(1)), "too little");
        vault.bind(termsAt(1), 1e18);
        holds(vault.isSeated(roll, vm.addr(1)), "enough");
        vm.prank(vm.addr(1));
        vault.thaw(id, 1);
        holds(!vault.isSeated(roll, vm.addr(1)), "thawing does not count");
        vault.bind(termsAt(1), 1);
        holds(vault.isSeated(roll, vm.addr(1)), "again");
        Destination[] memory all = new Destination[](1);
        all[0] = Destination(address(0), 1);
        vm.prank(court);
        vault.slash(id, all);
        holds(!vault.isSeated(roll, vm.addr(1)), "slashed");
    }

    function test_OnlyOwnLoyalSits() public {
        Terms memory terms = termsAt(1);
        terms.keeper = user;
        vault.bind(terms, 10_000e18);
        terms = termsAt(1);
        terms.subject = "other";
        vault.bind(terms, 10_000e18);
        terms = termsAt(1);
        terms.asset = address(coin);
        coin.mint(address(this), 1e23);
        coin.approve(address(vault), 1e23);
        vault.bind(terms, 1e23);
        skip(1);
        eq(draws("seed", 5).length, 0, "nobody");
    }

    /// @dev Invariant 18: distinct, drawn, none of the barred.
    function test_DrawsAreDistinct(bytes32 seed, uint256 seats, uint256 count) public {
        seats = bound(seats, 0, 30);
        count = bound(count, 0, 12);
        for (uint256 i = 1; i <= seats; ++i) {
            take(i);
        }
        skip(1);
        address[] memory barred = new address[](2);
        (barred[0], barred[1]) = (vm.addr(1), vm.addr(2));
        address[] memory drawn = draws(seed, count, barred);
        uint256 free = seats < 2 ? 0 : seats - 2;
        eq(drawn.length, count < free ? count : free, "as many as there are");
        for (uint256 i = 0; i < drawn.length; ++i) {
            holds(vault.isSeated(roll, drawn[i]), "seated");
            holds(drawn[i] != barred[0] && drawn[i] != barred[1], "not barred");
            for (uint256 j = 0; j < i; ++j) {
                holds(drawn[i] != drawn[j], "distinct");
            }
        }
    }

    /// @dev Whoever knows the seed can neither come nor go any more.
    function test_NobodyMovesADrawAfterItsCutoff(bytes32 seed) public {
        bytes32[] memory ids = new bytes32[](13);
        for (uint256 i = 1; i <= 12; ++i) {
            ids[i] = take(i);
        }
        skip(1);
        uint48 cutoff = uint48(vm.getBlockTimestamp());
        address[] memory before = vault.drawSeats(SeatDraw(roll, seed, cutoff, 5, new address[](0)));
        for (uint256 i = 20; i <= 40; ++i) {
            take(i);
        }
        vm.prank(before[0]);
        vault.thaw(keccak256(abi.encode(Terms(court, before[0], before[0], address(currency), "validator"))), 1);
        address[] memory afterwards = vault.drawSeats(SeatDraw(roll, seed, cutoff, 5, new address[](0)));
        for (uint256 i = 0; i < 5; ++i) {
            eq(afterwards[i], before[i], "the same");
        }
        skip(1);
        address[] memory later = draws(seed, 33);
        eq(later.length, 32, "one less");
    }

    function test_LeftPlacesAreTakenAgain() public {
        bytes32 id = take(1);
        take(2);
        vm.prank(vm.addr(1));
        vault.thaw(id, 10_000e18);
        skip(30 days);
        take(3);
        skip(1);
        take(4);
        skip(1);
        address[] memory drawn = draws("seed", 9);
        eq(drawn.length, 3, "two, three, four");
    }

    /// @dev A shuffle that never leaves its range nor repeats itself.
    function test_PlacesAreAPermutation(bytes32 seed, uint256 size, uint256 count) public pure {
        size = bound(size, 0, 60);
        count = bound(count, 0, 80);
        uint256[] memory places = Draw.places(seed, size, count);
        eq(places.length, count < size ? count : size, "length");
        bool[] memory seen = new bool[](size);
        for (uint256 i = 0; i < places.length; ++i) {
            holds(places[i] < size && !seen[places[i]], "once");
            seen[places[i]] = true;
        }
    }

    /// @dev Each of four seats is drawn first about as often: 4,000 draws within five standard deviations of 1,000.
    function test_NoSeatIsPreferred() public {
        for (uint256 i = 1; i <= 4; ++i) {
            take(i);
        }
        skip(1);
        uint256[5] memory counts;
        for (uint256 i = 0; i < 4_000; ++i) {
            address first = draws(keccak256(abi.encode(i)), 1)[0];
            for (uint256 j = 1; j <= 4; ++j) {
                if (first == vm.addr(j)) ++counts[j];
            }
        }
        for (uint256 j = 1; j <= 4; ++j) {
            holds(counts[j] > 863 && counts[j] < 1_137, "even");
        }
    }
}
