// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ColourMatcher} from "../src/ColourMatcher.sol";
import {VerbatimMatcher} from "../src/VerbatimMatcher.sol";
import {Coins, Evidence} from "../src/libraries/Evidence.sol";
import {Leaves} from "../src/libraries/Leaves.sol";
import {Test} from "./Vm.sol";

contract MatchersTest is Test {
    ColourMatcher private tilt = new ColourMatcher();
    VerbatimMatcher private verbatim = new VerbatimMatcher();
    bytes32 private constant SECRET = bytes32(hex"1111111111111111111111111111111111111111111111111111111111111111");

    function one(bytes memory first, bytes memory second) private pure returns (bytes[] memory replies) {
        bytes[] memory pieces = new bytes[](second.length == 0 ? 1 : 2);
        pieces[0] = first;
        if (second.length != 0) pieces[1] = second;
        replies = new bytes[](1);
        replies[0] = abi.encode(pieces);
    }

    function colour(uint16 positions, bytes memory first, bytes memory second)
        private
        view
        returns (uint16 hits, uint16 coins)
    {
        uint32 k;
        (k, hits, coins) = tilt.count(SECRET, abi.encode(positions), one(first, second));
        eq(k, 2, "k");
    }

    /// @dev The goldens of the design: " cat" is −1 at 0 and 1, "é" −1 at 0 and +1 at 1.
    function test_ColoursAreThoseOfRust() public view {
        (uint16 hits, uint16 coins) = colour(2, " cat", " cat");
        eq(hits, 0, "cat");
        eq(coins, 2, "two places, two coins");
        (hits, coins) = colour(2, hex"c3a9", hex"c3a9");
        eq(hits, 1, "e acute");
        (hits, coins) = colour(1, hex"c3a9", hex"c3a9");
        eq(coins, 1, "one place");
        (hits, coins) = colour(2, "", hex"c3a9");
        eq(coins, 1, "an empty piece is no coin");
    }

    function test_ARepeatedPieceIsOneCoin() public view {
        bytes[] memory replies = new bytes[](3);
        replies[0] = one(" cat", "")[0];
        replies[1] = one(" cat", "")[0];
        replies[2] = one(" dog", "")[0];
        (,, uint16 coins) = tilt.count(SECRET, abi.encode(uint16(1)), replies);
        eq(coins, 2, "distinct pieces");
    }

    function test_PositionsAreOneToSixteen() public {
        vm.expectRevert(abi.encodeWithSelector(ColourMatcher.Matcher_BadPositions.selector, 0));
        tilt.count(SECRET, abi.encode(uint16(0)), new bytes[](0));
        vm.expectRevert(abi.encodeWithSelector(ColourMatcher.Matcher_BadPositions.selector, 17));
        tilt.count(SECRET, abi.encode(uint16(17)), new bytes[](0));
    }

    function words() private pure returns (bytes memory) {
        bytes[] memory candidates = new bytes[](3);
        (candidates[0], candidates[1], candidates[2]) = (" cat", " ca", " dog");
        return abi.encode(candidates);
    }

    function coinsOf(bytes memory first, bytes memory second) private view returns (uint16 hits, uint16 coins) {
        (, hits, coins) = verbatim.count(SECRET, words(), one(first, second));
    }

    /// @dev The cases of Rust's `candidates_are_found_at_the_ends_of_pieces`.
    function test_CandidatesEndWherePiecesEnd() public view {
        uint256 chosen = uint256(keccak256(abi.encode(SECRET))) % 3;
        (uint16 hits, uint16 coins) = coinsOf(" cat", "s");
        eq(coins, 1, " cat");
        eq(hits, chosen == 0 ? 1 : 0, "hit");
        (hits, coins) = coinsOf(" ca", "t");
        eq(hits, chosen == 0 ? 1 : 0, "over two pieces");
        (hits, coins) = coinsOf(" ca", "b");
        eq(hits, chosen == 1 ? 1 : 0, "the shorter one");
        (, coins) = coinsOf(" cats", "");
        eq(coins, 0, "longer than any");
        (, coins) = coinsOf("", "");
        eq(coins, 0, "empty");
        (, coins) = coinsOf(" do", "");
        eq(coins, 0, "too short");
    }

    function test_TheFirstAnswerInsideCounts() public view {
        bytes[] memory replies = new bytes[](3);
        replies[0] = one(" bird", "")[0];
        replies[1] = one(" dog", "")[0];
        replies[2] = one(" cat", "")[0];
        (uint32 k, uint16 hits, uint16 coins) = verbatim.count(SECRET, words(), replies);
        eq(k, 3, "k");
        eq(coins, 1, "one coin");
        eq(hits, uint256(keccak256(abi.encode(SECRET))) % 3 == 2 ? 1 : 0, "the dog");
    }

    function test_WidthsAreTwoTo256() public {
        bytes memory rule = abi.encode(new bytes[](1));
        vm.expectRevert(abi.encodeWithSelector(VerbatimMatcher.Matcher_BadWidth.selector, 1));
        verbatim.count(SECRET, rule, new bytes[](0));
        rule = abi.encode(new bytes[](257));
        vm.expectRevert(abi.encodeWithSelector(VerbatimMatcher.Matcher_BadWidth.selector, 257));
        verbatim.count(SECRET, rule, new bytes[](0));
    }

    /// @dev At once or coin by coin, the same bits.
    function test_ClosedFormIsTheSum(uint32 k, uint32 hits, uint32 misses) public pure {
        k = uint32(bound(k, 2, 65_536));
        hits = uint32(bound(hits, 0, 40));
        misses = uint32(bound(misses, 0, 40));
        Coins memory coins = Evidence.counted(k, hits, misses);
        holds(Evidence.bitsOf(k, hits, hits + misses) == coins.bits, "bits");
    }

    /// @dev Unknown coins never add evidence over any way they could have fallen.
    function test_UnknownCoinsFallWorst(uint32 k, uint32 hits, uint32 misses, uint32 unknown, uint32 as_) public pure {
        k = uint32(bound(k, 2, 300));
        hits = uint32(bound(hits, 0, 30));
        misses = uint32(bound(misses, 0, 30));
        unknown = uint32(bound(unknown, 0, 6));
        as_ = uint32(bound(as_, 0, unknown));
        int64 worst = Evidence.adverse(k, hits, hits + misses, unknown);
        holds(worst <= Evidence.bitsOf(k, hits, hits + misses) || unknown == 0, "not more than now");
        if (k == 256 && misses == 0) {
            holds(worst <= Evidence.bitsOf(k, hits + as_, hits + misses + unknown), "not more than any");
        }
    }

    function test_PoolsDoNotMeet(uint32 count) public pure {
        count = uint32(bound(count, 4, type(uint32).max));
        (uint32 first, uint32 size) = Leaves.forOwnership(count);
        (uint32 start, uint32 probes) = Leaves.forProbes(count);
        holds(first + size <= start && uint256(start) + probes <= count, "apart");
        holds(size != 0 && probes != 0, "something in each");
    }
}
