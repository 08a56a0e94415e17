// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {RevenueRouter, Pool} from "../src/RevenueRouter.sol";
import {Grant} from "../src/libraries/Messages.sol";
import {Route, Split} from "../src/libraries/Split.sol";
import {World} from "./World.sol";

contract RouterPolicyTest is World {
    uint256 private modelId;
    uint256 private hostingId;

    function setUp() public override {
        super.setUp();
        modelId = active("first");
        hostingId = serving(modelId);
    }

    /// @dev Invariant 16, the half about routes: a change never touches revenue already collected.
    function test_ARouteChangesWithTheNextEpoch() public {
        earn(hostingId, builder, 1_000_000);
        vm.prank(owner);
        router.scheduleRoute(modelId, Route(4_500, 2_500, 1_500, 500, 400, 300, 300));
        eq(router.owed(host, address(coin)), 243_750, "what was collected stays");
        earn(hostingId, builder, 1_000_000);
        eq(router.owed(host, address(coin)), 2 * 243_750, "this epoch stays");
        skip(1 days);
        earn(hostingId, builder, 1_000_000);
        eq(router.owed(host, address(coin)), 2 * 243_750 + 146_250, "the next is divided anew");
        vm.prank(owner);
        router.scheduleRoute(modelId, Split.standard());
        eq(router.routeOf(modelId).host, 1_500, "until then as it is");
    }

    function test_StepsAndSums() public {
        vm.startPrank(owner);
        vm.expectRevert(RevenueRouter.Router_RouteStep.selector);
        router.scheduleRoute(modelId, Route(4_501, 2_500, 1_499, 500, 400, 300, 300));
        vm.expectRevert(abi.encodeWithSelector(RevenueRouter.Router_RouteSum.selector, 9_999));
        router.scheduleRoute(modelId, Route(3_499, 2_500, 2_500, 500, 400, 300, 300));
        vm.stopPrank();
        vm.expectRevert(abi.encodeWithSelector(RevenueRouter.Router_NotController.selector, modelId, address(this)));
        router.scheduleRoute(modelId, Split.standard());
    }

    function test_NewTrainersLeaveTheOldOnesTheirs() public {
        earn(hostingId, builder, 1_000_000);
        Grant[] memory trainers = new Grant[](1);
        trainers[0] = Grant(vm.addr(DAVID), 1);
        vm.prank(owner);
        router.setTrainers(modelId, trainers);
        earn(hostingId, builder, 1_000_000);
        eq(router.accrued(modelId, 2, vm.addr(DAVID), address(coin)), 243_750, "David");
        eq(router.accrued(modelId, 1, vm.addr(ALICE), address(coin)), 121_875, "Alice keeps hers");
        router.accrue(modelId, 1, vm.addr(ALICE), address(coin));
        eq(router.accrue(modelId, 1, vm.addr(ALICE), address(coin)), 0, "once");
        eq(router.withdraw(vm.addr(ALICE), address(coin)), 121_875, "withdrawn");
        eq(router.withdraw(vm.addr(ALICE), address(coin)), 0, "once");
        uint256[] memory models = new uint256[](1);
        models[0] = modelId;
        eq(router.withdrawable(vm.addr(DAVID), address(coin), models), 243_750, "one call shows all");
        eq(router.withdrawable(host, address(coin), new uint256[](0)), 2 * 243_750, "the host's");
    }

    function test_TrainersAreNamedOnceAndWithWeight() public {
        Grant[] memory trainers = new Grant[](0);
        vm.startPrank(owner);
        vm.expectRevert(RevenueRouter.Router_BadTrainers.selector);
        router.setTrainers(modelId, trainers);
        trainers = new Grant[](65);
        vm.expectRevert(RevenueRouter.Router_BadTrainers.selector);
        router.setTrainers(modelId, trainers);
        trainers = new Grant[](2);
        trainers[0] = Grant(user, 1);
        trainers[1] = Grant(user, 1);
        vm.expectRevert(RevenueRouter.Router_BadTrainers.selector);
        router.setTrainers(modelId, trainers);
        trainers[1] = Grant(host, 0);
        vm.expectRevert(RevenueRouter.Router_BadTrainers.selector);
        router.setTrainers(modelId, trainers);
        vm.stopPrank();
        vm.expectRevert(abi.encodeWithSelector(RevenueRouter.Router_NotController.selector, modelId, address(this)));
        router.setTrainers(modelId, trainers);
        vm.expectRevert(abi.encodeWithSelector(RevenueRouter.Router_NotParty.selector, address(this)));
        router.openTrainers(modelId, trainers);
    }

    function test_PoolsAreForWhoDividesThem() public {
        earn(hostingId, builder, 1_000_000);
        address[3] memory parties = [ledger, probeBoard, court];
        uint256[3] memory amounts = [uint256(48_750), 39_000, 29_250];
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectRevert(abi.encodeWithSelector(RevenueRouter.Router_NotParty.selector, address(this)));
            router.drawPool(Pool(i), modelId, address(coin), user, 1);
            vm.expectRevert(abi.encodeWithSelector(RevenueRouter.Router_PoolEmpty.selector, amounts[i] + 1, amounts[i]));
            vm.prank(parties[i]);
            router.drawPool(Pool(i), modelId, address(coin), user, amounts[i] + 1);
            vm.prank(parties[i]);
            router.drawPool(Pool(i), modelId, address(coin), user, amounts[i]);
        }
        eq(coin.balanceOf(user), 117_000, "drawn");
    }
}
