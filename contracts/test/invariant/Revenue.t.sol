// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ModelShares} from "../../src/ModelShares.sol";
import {Pool} from "../../src/RevenueRouter.sol";
import {Grant} from "../../src/libraries/Messages.sol";
import {Route} from "../../src/libraries/Split.sol";
import {World} from "../World.sol";

/// @notice A parent, a child and a child in its window earn, and everybody does what he may with it.
contract RevenueHandler is World {
    uint256[3] public models;
    uint256[3] public hostings;
    uint256[5] private keys = [ALICE, BOB, CHARLIE, DAVID, USER];
    uint256 public collected;
    uint256 public withdrawn;
    uint256 public settles;
    uint256 public collections;
    bool private transferred;

    function prepare() external {
        setUp();
        models[0] = active("parent");
        models[1] = child("child", models[0]);
        models[2] = contestable("late");
        for (uint256 i = 0; i < 3; ++i) {
            hostings[i] = serving(models[i]);
        }
    }

    function collect(uint256 index, bool built, uint96 amount) external {
        amount = uint96(bound(amount, 1, 1e15));
        earn(hostings[index % 3], built ? builder : address(0), amount);
        collected += amount;
        ++collections;
    }

    function transferShares(uint256 index, uint256 from, uint256 to, uint256 amount) external {
        ModelShares shares = sharesOf(models[index % 3]);
        (address payer, address payee) = (vm.addr(keys[from % 5]), vm.addr(keys[to % 5]));
        uint256 both = shares.withdrawable(payer, address(coin));
        uint256 other = shares.withdrawable(payee, address(coin));
        amount = bound(amount, 0, shares.balanceOf(payer));
        vm.prank(payer);
        shares.transfer(payee, amount);
        eq(shares.withdrawable(payer, address(coin)), both, "the payer's revenue");
        eq(shares.withdrawable(payee, address(coin)), other, "the payee's revenue");
        ++settles;
    }

    function withdrawShares(uint256 index, uint256 who) external {
        withdrawn += sharesOf(models[index % 3]).withdraw(vm.addr(keys[who % 5]), address(coin));
        ++settles;
    }

    function withdrawOwed(uint256 who) external {
        address[4] memory accounts = [host, builder, address(timelock), vm.addr(keys[who % 5])];
        withdrawn += router.withdraw(accounts[who % 4], address(coin));
    }

    function accrueTrainer(uint256 index, uint256 crew, uint256 who) external {
        uint256 modelId = models[index % 3];
        crew = 1 + crew % router.crewCount(modelId);
        router.accrue(modelId, uint32(crew), vm.addr(keys[who % 5]), address(coin));
        ++settles;
    }

    function nameTrainers(uint256 index, uint16 a, uint16 b) external {
        Grant[] memory trainers = new Grant[](2);
        trainers[0] = Grant(vm.addr(DAVID), uint16(bound(a, 1, 10_000)));
        trainers[1] = Grant(vm.addr(ALICE), uint16(bound(b, 1, 10_000)));
        vm.prank(owner);
        router.setTrainers(models[index % 3], trainers);
    }

    function changeRoute(uint256 index, uint16 step) external {
        uint256 modelId = models[index % 3];
        Route memory route = router.routeOf(modelId);
        step = uint16(bound(step, 0, route.shares < 1_000 ? route.shares : 1_000));
        route.shares -= step;
        route.host += step;
        uint256 before = router.owed(host, address(coin));
        vm.prank(owner);
        router.scheduleRoute(modelId, route);
        eq(router.owed(host, address(coin)), before, "what was collected stays");
    }

    function passDay(uint256 days_) external {
        skip(bound(days_, 1, 3) * 1 days);
        if (!transferred && vm.getBlockTimestamp() >= registry.versionOf(models[2], 1).windowEnds) {
            transferred = true;
            registry.activate(models[2], 1);
        }
    }

    function release(bool built) external {
        if (!transferred) return;
        router.release(hostings[2], built ? builder : address(0), address(coin));
    }

    function owedSum() public view returns (uint256 sum) {
        address[3] memory plain = [host, builder, address(timelock)];
        for (uint256 i = 0; i < 3; ++i) {
            sum += router.owed(plain[i], address(coin));
        }
        for (uint256 i = 0; i < 5; ++i) {
            sum += router.owed(vm.addr(keys[i]), address(coin));
        }
        for (uint256 i = 0; i < 3; ++i) {
            sum += router.owed(address(sharesOf(models[i])), address(coin));
            sum += coin.balanceOf(address(sharesOf(models[i])));
            for (uint256 p = 0; p < 3; ++p) {
                sum += router.pooled(Pool(p), models[i], address(coin));
            }
            sum += accruedSum(models[i]);
        }
    }

    function accruedSum(uint256 modelId) public view returns (uint256 sum) {
        for (uint32 crew = 1; crew <= router.crewCount(modelId); ++crew) {
            for (uint256 i = 0; i < 5; ++i) {
                sum += router.accrued(modelId, crew, vm.addr(keys[i]), address(coin));
            }
        }
    }

    function lockedSum() public view returns (uint256) {
        return router.locked(router.tillOf(hostings[2], builder), address(coin))
            + router.locked(router.tillOf(hostings[2], address(0)), address(coin));
    }

    /// @dev Invariant 3: a unit of dust is lost at most in each trainer's accrual of each collection.
    function everythingIsSomebodys() external view {
        uint256 known = owedSum() + lockedSum() + withdrawn;
        holds(known <= collected, "no more than came in");
        holds(collected - known <= 64 * crewDust(), "dust");
    }

    function crewDust() private view returns (uint256) {
        return collections + settles + 1;
    }

    function conserved() external view {
        uint256 held = coin.balanceOf(address(router));
        uint256 outside = 0;
        for (uint256 i = 0; i < 3; ++i) {
            outside += coin.balanceOf(address(sharesOf(models[i])));
        }
        eq(held + outside + withdrawn, collected, "nothing appears, nothing is lost");
    }

    /// @dev Invariant 4.
    function sharesCoverTheirHolders() external view {
        for (uint256 i = 0; i < 3; ++i) {
            ModelShares shares = sharesOf(models[i]);
            uint256 sum = shares.withdrawable(address(treasuryOf(models[i])), address(coin));
            for (uint256 k = 0; k < 5; ++k) {
                sum += shares.withdrawable(vm.addr(keys[k]), address(coin));
            }
            uint256 covered = coin.balanceOf(address(shares)) + router.owed(address(shares), address(coin));
            holds(sum <= covered, "covered");
            // One unit may be lost each time somebody's revenue is settled, and one per holder at last.
            holds(covered - sum <= 2 * settles + 6, "dust");
        }
    }

    /// @dev Invariant 5.
    function supplyIsTheSum() external view {
        for (uint256 i = 0; i < 3; ++i) {
            ModelShares shares = sharesOf(models[i]);
            uint256 sum = shares.balanceOf(address(treasuryOf(models[i])));
            for (uint256 k = 0; k < 5; ++k) {
                sum += shares.balanceOf(vm.addr(keys[k]));
            }
            eq(sum, shares.totalSupply(), "supply");
            eq(shares.totalSupply(), 1_000_000e18, "nobody minted");
        }
    }

    /// @dev Invariant 15: a contestable version's revenue stays in the router, whole.
    function lockedWhileContestable() external view {
        if (transferred) return;
        holds(lockedSum() <= coin.balanceOf(address(router)), "locked");
        eq(router.owed(address(sharesOf(models[2])), address(coin)), 0, "nothing left");
    }
}

contract RevenueInvariants {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    RevenueHandler private handler;

    function setUp() public {
        handler = new RevenueHandler();
        handler.prepare();
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        bytes4[] memory selectors = new bytes4[](9);
        selectors[0] = RevenueHandler.collect.selector;
        selectors[1] = RevenueHandler.transferShares.selector;
        selectors[2] = RevenueHandler.withdrawShares.selector;
        selectors[3] = RevenueHandler.withdrawOwed.selector;
        selectors[4] = RevenueHandler.accrueTrainer.selector;
        selectors[5] = RevenueHandler.nameTrainers.selector;
        selectors[6] = RevenueHandler.changeRoute.selector;
        selectors[7] = RevenueHandler.passDay.selector;
        selectors[8] = RevenueHandler.release.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), selectors);
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    /// @dev One campaign for four numbers: what costs is the calls. The holders are asked at the end of a run.
    function invariant_3_5_15_EverythingIsSomebodys() public view {
        handler.conserved();
        handler.supplyIsTheSum();
        handler.lockedWhileContestable();
    }

    /// @dev Invariants 3 and 4 over every account, once a run: each asks some sixty balances.
    function afterInvariant() public view {
        handler.everythingIsSomebodys();
        handler.sharesCoverTheirHolders();
    }
}
