// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Evidence, Coins} from "../src/libraries/Evidence.sol";
import {Parts, Split} from "../src/libraries/Split.sol";
import {Node, Tree} from "../src/libraries/Tree.sol";
import {ModelShares} from "../src/ModelShares.sol";
import {ModelTreasury} from "../src/ModelTreasury.sol";
import {Parameter} from "../src/interfaces/IParameters.sol";
import {HostingState} from "../src/interfaces/IGate.sol";
import {World} from "./World.sol";

/// @notice The golden cases of the design, from the file that Rust reads too.
contract GoldenTest is World {
    using Evidence for Coins;

    string private json;

    function setUp() public override {
        super.setUp();
        json = vm.readFile("test/vectors/golden.json");
    }

    function list(string memory path) private view returns (uint256[] memory) {
        return vm.parseJsonUintArray(json, path);
    }

    function number(string memory path) private view returns (uint256) {
        return vm.parseJsonUint(json, path);
    }

    function test_1_Agreement() public {
        ModelShares shares = sharesOf(contestable("first"));
        uint256[] memory expected = list(".agreement.shares");
        uint256[3] memory keys = [ALICE, BOB, CHARLIE];
        for (uint256 i = 0; i < 3; ++i) {
            eq(shares.balanceOf(vm.addr(keys[i])), expected[i] * 1e18, "holder");
        }
        eq(shares.balanceOf(address(treasuryOf(1))), expected[3] * 1e18, "reserve");
    }

    function test_3_Split() public view {
        uint256[] memory amounts = list(".split.amounts");
        for (uint256 i = 0; i < amounts.length; ++i) {
            Parts memory parts = Split.divide(amounts[i], 250, Split.standard(), true, true);
            eq(parts.fee, list(".split.treasury")[i], "treasury");
            eq(parts.trainers, list(".split.trainers")[i], "trainers");
            eq(parts.host, list(".split.host")[i], "host");
            eq(parts.contributors, list(".split.contributors")[i], "contributors");
            eq(parts.provers, list(".split.provers")[i], "provers");
            eq(parts.validators, list(".split.validators")[i], "validators");
            eq(parts.builder, list(".split.builder")[i], "builder");
            eq(parts.shares, list(".split.shares")[i], "shares");
        }
    }

    function revenue(uint256 modelId) private {
        uint256 amount = number(".per_share.amount");
        coin.mint(address(this), amount);
        coin.approve(address(router), amount);
        router.contribute(modelId, address(coin), amount);
    }

    function pay(ModelShares shares, address[] memory holders, uint256[] memory expected, uint256 dust) private {
        uint256 paid = 0;
        for (uint256 i = 0; i < holders.length; ++i) {
            uint256 amount = shares.withdraw(holders[i], address(coin));
            eq(amount, expected[i], "holder");
            paid += amount;
        }
        eq(number(".per_share.amount") - paid, dust, "dust");
    }

    /// @dev Case 4, and with it the shares of case 2.
    function test_4_RevenuePerShare() public {
        uint256 modelId = active("first");
        ModelShares shares = sharesOf(modelId);
        address[] memory holders = new address[](4);
        (holders[0], holders[1], holders[2]) = (vm.addr(ALICE), vm.addr(BOB), vm.addr(CHARLIE));
        holders[3] = address(treasuryOf(modelId));
        revenue(modelId);
        pay(shares, holders, list(".per_share.before"), number(".per_share.before_dust"));
        uint256 reward = (shares.totalSupply() * number(".fine_tune.reward_bps")) / 10_000;
        ModelTreasury treasury = treasuryOf(modelId);
        vm.prank(owner);
        treasury.pay(shares, vm.addr(DAVID), reward);
        address[] memory five = new address[](5);
        (five[0], five[1], five[2], five[3], five[4]) = (holders[0], holders[1], holders[2], vm.addr(DAVID), holders[3]);
        revenue(modelId);
        pay(shares, five, list(".per_share.after"), number(".per_share.after_dust"));
    }

    function test_5_Royalty() public view {
        uint256 part = number(".royalty.shares_part");
        uint256[] memory expected = list(".royalty.ancestors");
        uint256 left = part;
        for (uint256 i = 0; i < expected.length; ++i) {
            eq(Split.royalty(part, 1_000, i), expected[i], "ancestor");
            left -= expected[i];
        }
        eq(left, number(".royalty.child"), "child");
    }

    function test_6_WindowAndEvidence() public view {
        eq(parameters.get(Parameter.OwnershipWindow), number(".window.seconds"), "window");
        uint256[] memory k = list(".evidence.k");
        for (uint256 i = 0; i < k.length; ++i) {
            uint32 hits = uint32(list(".evidence.hits")[i]);
            int64 bits = Evidence.bitsOf(uint32(k[i]), hits, uint32(list(".evidence.coins")[i]));
            eq((uint256(int256(bits)) * 1_000) >> 32, list(".evidence.millibits")[i], "bits");
            eq(bits >= int64(22) << 32 ? 1 : 0, list(".evidence.convicts_at_22")[i], "convicts");
        }
    }

    function test_7_Tree() public view {
        uint256[] memory amounts = list(".tree.amounts");
        Node[] memory leaves = new Node[](3);
        for (uint32 i = 0; i < 3; ++i) {
            bytes32 digest = keccak256(abi.encode("r", i));
            leaves[i] = Tree.leaf(i, digest, uint128(amounts[i]), uint128(list(".tree.tokens")[i]));
        }
        Node memory top = Tree.parent(Tree.parent(leaves[0], leaves[1]), leaves[2]);
        eq(top.amount, number(".tree.sum_amount"), "amounts");
        eq(top.tokens, number(".tree.sum_tokens"), "tokens");
        eq(Tree.root(3, top), vm.parseJsonBytes32(json, ".tree.root"), "root");
    }

    function test_9_Bond() public {
        uint256 volume = number(".bond.daily_volume");
        eq(volume * parameters.get(Parameter.BondFactor), number(".bond.bond"), "bond");
        uint256 hostingId = serving(active("first"));
        uint32 epoch = today();
        skip(1 days);
        report(hostingId, epoch, 1, uint128(number(".bond.fee_max")));
        eq(uint8(gate.hostingOf(hostingId).state), uint8(HostingState.Active), "carried");
        skip(1 days);
        report(hostingId, epoch + 1, 1, uint128(number(".bond.paused_by")));
        eq(uint8(gate.hostingOf(hostingId).state), uint8(HostingState.Paused), "paused");
    }

    function test_14_LateReport() public {
        for (uint256 i = 0; i < 2; ++i) {
            uint256 hostingId = serving(active(bytes32(i + 1)));
            uint32 epoch = today();
            vm.warp(parameters.epochStart(epoch + 1) + 6 hours + list(".late_report.hours")[i] * 1 hours);
            report(hostingId, epoch, 1, 2_000);
            eq(720e6 - gate.bondOf(hostingId), list(".late_report.fine")[i], "fine");
            bool paused = gate.hostingOf(hostingId).state == HostingState.Paused;
            eq(paused ? 1 : 0, list(".late_report.paused")[i], "paused");
        }
    }

    function test_15_Channel() public view {
        uint256 cumulative = 0;
        for (uint256 i = 0; i < 3; ++i) {
            eq(cumulative + number(".channel.ceiling"), list(".channel.vouchers")[i], "voucher");
            cumulative += list(".channel.charged")[i];
        }
        eq(cumulative, number(".channel.cumulative"), "cumulative");
    }

    function test_20_Genesis() public view {
        uint256 sum = 0;
        for (uint256 i = 0; i < 5; ++i) {
            sum += vesting.vested(i, GENESIS + 10 * 365 days);
            eq(vesting.allocationOf(i).bps, list(".genesis.parts_bps")[i], "part");
        }
        eq(sum, number(".genesis.supply_loyal") * 1e18, "whole");
    }

    // --- case 17: what it takes to convict a host that hides invocations

    function coinsToConviction(uint256 percent, bytes32 seed) private pure returns (uint256) {
        Coins memory coins = Evidence.none(2);
        while (coins.bits < int64(22) << 32) {
            uint256 draw = uint256(keccak256(abi.encode(seed, coins.coins)));
            coins.add(draw % 100 < percent);
        }
        return coins.coins;
    }

    /// @dev The mean of simulated coins, and its 99 % interval, in thousandths.
    function simulated(uint256 percent, uint256 runs, uint256 figure) private pure {
        uint256 sum = 0;
        uint256 squares = 0;
        for (uint256 i = 0; i < runs; ++i) {
            uint256 coins = coinsToConviction(percent, keccak256(abi.encode("run", percent, i)));
            sum += coins;
            squares += coins * coins;
        }
        uint256 mean = (sum * 1_000) / runs;
        uint256 variance = (squares * runs - sum * sum) / (runs * (runs - 1));
        uint256 off = mean > figure ? mean - figure : figure - mean;
        // (2.58 s)^2 / n against the square of what it is off.
        holds(off * off <= (6_656_400 * variance) / runs, "the figure lies in the interval");
    }

    function test_17_UnderReportingHost() public pure {
        simulated(95, 120, 35_600);
        simulated(80, 60, 89_400);
        simulated(70, 30, 211_700);
    }

    /// @dev An innocent model meets either colour evenly, and never comes near.
    function test_17_HonestHost() public pure {
        for (uint256 i = 0; i < 60; ++i) {
            Coins memory coins = Evidence.none(2);
            for (uint256 j = 0; j < 200; ++j) {
                coins.add(uint256(keccak256(abi.encode("honest", i, j))) & 1 == 1);
                holds(coins.bits < int64(22) << 32, "not convicted");
            }
        }
    }
}
