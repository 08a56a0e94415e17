// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ModelShares} from "../src/ModelShares.sol";
import {Split} from "../src/libraries/Split.sol";
import {World} from "./World.sol";

contract RouterRoyaltyTest is World {
    /// @dev Golden case 5.
    function test_FourAncestors() public {
        uint256[6] memory models;
        models[0] = active("eve");
        for (uint256 i = 1; i < 6; ++i) {
            models[i] = child(bytes32(i), models[i - 1]);
        }
        uint256 hostingId = serving(models[5]);
        earn(hostingId, builder, 1_000_000);
        uint256[5] memory parts = [uint256(277_267), 34_125, 17_062, 8_531, 4_265];
        for (uint256 i = 0; i < 5; ++i) {
            eq(router.owed(address(sharesOf(models[5 - i])), address(coin)), parts[i], "generation");
        }
        eq(router.owed(address(sharesOf(models[0])), address(coin)), 0, "the fifth gets nothing");
        ModelShares shares = sharesOf(models[4]);
        shares.withdraw(vm.addr(ALICE), address(coin));
        eq(coin.balanceOf(vm.addr(ALICE)), 10_237, "30 % of the parent's 34,125");
    }

    function test_RoyaltiesArePartOfTheShares(uint128 part, uint16 bps) public pure {
        bps = uint16(bound(bps, 0, 2_000));
        uint256 total = 0;
        for (uint256 i = 0; i < 4; ++i) {
            total += Split.royalty(part, bps, i);
        }
        holds(total <= part, "never more");
    }

    function test_AParentWithoutTheAssetGetsItInItsTreasury() public {
        uint256 parent = active("parent");
        uint256 modelId = child("child", parent);
        vm.prank(owner);
        registry.setFloor(modelId, address(currency), 1, 1);
        uint256 hostingId = serving(modelId);
        currency.transfer(router.tillOf(hostingId, builder), 1_000_000);
        router.collect(hostingId, builder, address(currency));
        eq(router.owed(address(treasuryOf(parent)), address(currency)), 34_125, "treasury of the parent");
    }
}
