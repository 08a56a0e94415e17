// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {RevenueRouter} from "../src/RevenueRouter.sol";
import {World} from "./World.sol";

contract RouterReleaseTest is World {
    uint256 private modelId;
    uint256 private hostingId;

    function setUp() public override {
        super.setUp();
        modelId = contestable("first");
        hostingId = serving(modelId);
        earn(hostingId, builder, 1_000_000);
    }

    /// @dev Invariant 15: revenue of a contestable version leaves only at activation or revocation, and wholly.
    function test_LockedUntilActive() public {
        eq(router.locked(router.tillOf(hostingId, builder), address(coin)), 1_000_000, "locked");
        vm.expectRevert(abi.encodeWithSelector(RevenueRouter.Router_Locked.selector, modelId, 1));
        router.release(hostingId, builder, address(coin));
        skip(7 days);
        registry.activate(modelId, 1);
        router.release(hostingId, builder, address(coin));
        eq(router.owed(host, address(coin)), 243_750, "the usual split");
        eq(router.locked(router.tillOf(hostingId, builder), address(coin)), 0, "wholly");
        eq(router.release(hostingId, builder, address(coin)), 0, "once");
    }

    function test_RevokedGoesToTheWinner() public {
        uint256 winner = active("winner");
        vm.prank(court);
        registry.revoke(modelId, 1, winner);
        router.release(hostingId, builder, address(coin));
        eq(router.owed(address(sharesOf(winner)), address(coin)), 1_000_000, "all of it");
        eq(router.owed(host, address(coin)), 0, "nothing for the host");
        earn(hostingId, builder, 7);
        eq(router.owed(address(sharesOf(winner)), address(coin)), 1_000_007, "what comes later too");
    }

    function test_RevokedWithoutAWinnerGoesToTheTreasury() public {
        vm.prank(court);
        registry.revoke(modelId, 1, 0);
        router.release(hostingId, builder, address(coin));
        eq(router.owed(address(timelock), address(coin)), 1_000_000, "treasury");
    }
}
