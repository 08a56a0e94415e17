// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Coins, Evidence} from "../src/libraries/Evidence.sol";
import {Test} from "./Vm.sol";

contract EvidenceTest is Test {
    using Evidence for Coins;

    /// @dev Golden case 6 and the rest of the shared file: the same steps as in Rust.
    function test_BitsAreThoseOfRust() public view {
        string memory json = vm.readFile("test/vectors/evidence.json");
        uint256[] memory k = vm.parseJsonUintArray(json, ".k");
        uint256[] memory hits = vm.parseJsonUintArray(json, ".hits");
        uint256[] memory misses = vm.parseJsonUintArray(json, ".misses");
        int256[] memory bits = vm.parseJsonIntArray(json, ".steps");
        holds(k.length == bits.length && k.length >= 8, "lengths");
        for (uint256 i = 0; i < k.length; ++i) {
            Coins memory coins = Evidence.counted(uint32(k[i]), uint32(hits[i]), uint32(misses[i]));
            eq(uint256(int256(coins.bits)), uint256(bits[i]), "steps");
        }
    }

    function test_ThreeOfThreeConvictExactly() public pure {
        eq(uint256(int256(Evidence.counted(256, 3, 0).bits)), uint256(22) << 32, "22 bits");
        holds(Evidence.counted(256, 3, 1).bits < int64(22) << 32, "3 of 4 do not");
    }

    function test_TheOrderDoesNotMatter(uint16 order, uint32 k) public pure {
        k = uint32(bound(k, 2, 65_536));
        Coins memory mixed = Evidence.none(k);
        uint32 hits = 0;
        for (uint256 i = 0; i < 16; ++i) {
            bool hit = (order >> i) & 1 == 1;
            mixed.add(hit);
            if (hit) ++hits;
        }
        Coins memory sorted = Evidence.counted(k, hits, 16 - hits);
        eq(uint256(int256(mixed.bits)), uint256(int256(sorted.bits)), "bits");
        eq(mixed.hits, hits, "hits");
        eq(mixed.coins, 16, "coins");
    }

    function test_LogarithmsOfPowersAreExact(uint8 power) public pure {
        power = uint8(bound(power, 0, 31));
        eq(uint256(int256(Evidence.log2(uint32(1) << power, 1))), uint256(power) << 32, "log2");
    }

    function test_SeriesSaturate() public pure {
        Coins memory coins = Coins(256, 5, Evidence.COINS_MAX, 77);
        coins.add(true);
        holds(coins.coins == Evidence.COINS_MAX && coins.bits == 77, "nothing is added");
    }

    function test_AChanceIsOneInTwoAtLeast() public {
        vm.expectRevert(abi.encodeWithSelector(Evidence.Evidence_BadChance.selector, 1));
        this.none(1);
        vm.expectRevert(abi.encodeWithSelector(Evidence.Evidence_BadChance.selector, 65_537));
        this.none(65_537);
    }

    function none(uint32 k) external pure returns (Coins memory) {
        return Evidence.none(k);
    }
}
