// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {RevenueRouter, Pool} from "../src/RevenueRouter.sol";
import {Till} from "../src/Till.sol";
import {Parts, Route, Split} from "../src/libraries/Split.sol";
import {World} from "./World.sol";

contract RouterCollectTest is World {
    uint256 private modelId;
    uint256 private hostingId;

    function setUp() public override {
        super.setUp();
        modelId = active("first");
        hostingId = serving(modelId);
    }

    function pool(Pool which) private view returns (uint256) {
        return router.pooled(which, modelId, address(coin));
    }

    /// @dev Golden case 3.
    function test_AMillionIsDivided() public {
        earn(hostingId, builder, 1_000_000);
        eq(router.owed(address(timelock), address(coin)), 25_000, "treasury");
        eq(router.owed(host, address(coin)), 243_750, "host");
        eq(router.owed(builder, address(coin)), 29_250, "builder");
        eq(pool(Pool.Contributors), 48_750, "contributors");
        eq(pool(Pool.Provers), 39_000, "provers");
        eq(pool(Pool.Validators), 29_250, "validators");
        eq(router.owed(address(sharesOf(modelId)), address(coin)), 341_250, "shares");
        uint256 trainers = 0;
        uint256[3] memory parts = [uint256(121_875), 60_937, 60_937];
        uint256[3] memory keys = [ALICE, BOB, CHARLIE];
        for (uint256 i = 0; i < 3; ++i) {
            trainers += router.accrued(modelId, 1, vm.addr(keys[i]), address(coin));
            eq(router.accrued(modelId, 1, vm.addr(keys[i]), address(coin)), parts[i], "trainer");
        }
        eq(trainers, 243_749, "trainers, with a dust of one");
        eq(router.collectedOf(hostingId), 1_000_000, "collected");
    }

    /// @dev Golden case 3, the small amounts.
    function test_SmallAmountsFallToTheShares() public pure {
        Parts memory parts = Split.divide(39, 250, Split.standard(), true, true);
        eq(parts.fee, 0, "fee");
        eq(parts.trainers, 9, "trainers");
        eq(parts.host, 9, "host");
        eq(parts.contributors + parts.provers + parts.validators + parts.builder, 4, "four classes, one each");
        eq(parts.shares, 17, "shares");
        parts = Split.divide(1, 250, Split.standard(), true, true);
        eq(parts.shares, 1, "all of one");
    }

    function test_PartsAreTheWhole(uint128 amount, uint16 feeBps, uint16[7] memory raw, bool trained, bool built)
        public
        pure
    {
        feeBps = uint16(bound(feeBps, 0, 1_000));
        Route memory route = routeOf(raw);
        Parts memory parts = Split.divide(amount, feeBps, route, trained, built);
        uint256 sum = parts.fee + parts.shares + parts.trainers + parts.host + parts.contributors + parts.provers
            + parts.validators + parts.builder;
        eq(sum, amount, "sum");
        holds((trained || parts.trainers == 0) && (built || parts.builder == 0), "empty classes");
    }

    function routeOf(uint16[7] memory raw) private pure returns (Route memory route) {
        uint16 left = 10_000;
        for (uint256 i = 0; i < 6; ++i) {
            raw[i] = uint16(bound(raw[i], 0, left));
            left -= raw[i];
        }
        return Route(left, raw[0], raw[1], raw[2], raw[3], raw[4], raw[5]);
    }

    function test_WithoutABuilderItFallsToTheShares() public {
        earn(hostingId, address(0), 1_000_000);
        eq(router.owed(address(sharesOf(modelId)), address(coin)), 341_250 + 29_250, "shares");
        eq(router.owed(address(0), address(coin)), 0, "nobody");
    }

    /// @dev Invariant 2, the router's half: a repeated collect moves nothing.
    function test_CollectingTwiceMovesNothing() public {
        earn(hostingId, builder, 1_000);
        eq(router.collect(hostingId, builder, address(coin)), 0, "nothing more");
        eq(router.collectedOf(hostingId), 1_000, "collected");
    }

    function test_TillsAreTheRouters() public {
        address till = router.tillOf(hostingId, builder);
        eq(till.code.length, 0, "not there before it is needed");
        earn(hostingId, builder, 1_000);
        holds(till.code.length != 0, "there");
        vm.expectRevert(abi.encodeWithSelector(Till.Till_NotRouter.selector, address(this)));
        Till(till).sweep(coin);
        holds(till != router.tillOf(hostingId, address(0)) && till != router.tillOf(hostingId + 1, builder), "own");
    }

    function test_OtherAssetsAreRefused() public {
        currency.transfer(router.tillOf(hostingId, builder), 100);
        vm.expectRevert(abi.encodeWithSelector(RevenueRouter.Router_AssetRefused.selector, modelId, address(currency)));
        router.collect(hostingId, builder, address(currency));
        vm.prank(owner);
        registry.setFloor(modelId, address(currency), 1, 1);
        router.collect(hostingId, builder, address(currency));
        eq(router.collectedOf(hostingId), 0, "what is reported is in the hosting's asset");
    }

    function test_ManyAtOnce() public {
        coin.mint(router.tillOf(hostingId, builder), 1_000_000);
        bytes[] memory calls = new bytes[](3);
        calls[0] = abi.encodeCall(router.collect, (hostingId, builder, address(coin)));
        calls[1] = abi.encodeCall(router.accrue, (modelId, 1, vm.addr(ALICE), address(coin)));
        calls[2] = abi.encodeCall(router.withdraw, (vm.addr(ALICE), address(coin)));
        router.multicall(calls);
        eq(coin.balanceOf(vm.addr(ALICE)), 121_875, "collected, accrued and withdrawn");
    }

    function test_ContributionsGoToTheHolders() public {
        coin.mint(address(this), 500);
        coin.approve(address(router), 500);
        router.contribute(modelId, address(coin), 500);
        eq(sharesOf(modelId).withdrawable(vm.addr(ALICE), address(coin)), 150, "Alice");
        coin.mint(address(this), 500);
        coin.approve(address(router), 500);
        coin.setFee(100);
        vm.expectRevert(abi.encodeWithSelector(RevenueRouter.Router_AmountChanged.selector, address(coin), 500, 495));
        router.contribute(modelId, address(coin), 500);
    }
}
