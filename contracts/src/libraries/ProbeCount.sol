// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Probe} from "../interfaces/IProbeBoard.sol";
import {Destination} from "../interfaces/IStakeVault.sol";
import {Coins, Evidence} from "./Evidence.sol";

/// @notice Coins of one chance.
struct Side {
    uint32 hits;
    uint32 coins;
}

/// @notice What probes of a window came to. Probes that stayed closed, or had no ticket, are `unopened`.
struct Count {
    uint32 unopened;
    uint32 attested;
    uint32[] chances;
    mapping(uint32 k => Side) sides;
    address[] provers;
    mapping(address prover => bool) isKnown;
    mapping(address prover => uint32) hitsOf;
    mapping(address prover => uint32) missesOf;
}

/// @title One count of coins for all provers and days of a window
/// @notice Bits of different chances add. Where the chance is one half, both sides speak: a host can turn a tilt round.
library ProbeCount {
    using Evidence for Coins;

    uint256 internal constant PROVERS_MAX = 128;
    uint256 internal constant CHANCES_MAX = 4;
    uint32 internal constant UNOPENED_MAX = 256;

    /// @dev The probes of a window have more chances than it can hold.
    error Count_TooManyChances(uint32 k);

    /// @notice Adds an opened probe.
    function add(Count storage self, Probe storage probe) internal {
        if (probe.coins == 0) return;
        _know(self, probe.k, probe.prover);
        Side storage side = self.sides[probe.k];
        side.hits += probe.hits;
        side.coins += probe.coins;
        self.hitsOf[probe.prover] += probe.hits;
        self.missesOf[probe.prover] += probe.k == 2 ? probe.coins - probe.hits : 0;
        if (probe.mode == 1) ++self.attested;
    }

    /// @notice Takes out a probe that was added.
    function remove(Count storage self, Probe storage probe) internal {
        if (probe.coins == 0) return;
        Side storage side = self.sides[probe.k];
        side.hits -= probe.hits;
        side.coins -= probe.coins;
        self.hitsOf[probe.prover] -= probe.hits;
        self.missesOf[probe.prover] -= probe.k == 2 ? probe.coins - probe.hits : 0;
        if (probe.mode == 1) --self.attested;
    }

    /// @notice The evidence, in steps of 2^-32 bits: all coins, then the unopened ones, each where it gives fewest bits.
    function bits(Count storage self) internal view returns (int64 sum) {
        if (self.unopened > UNOPENED_MAX) return 0;
        uint256 length = self.chances.length;
        Coins[] memory all = new Coins[](length);
        for (uint256 i = 0; i < length; ++i) {
            uint32 k = self.chances[i];
            Side memory side = self.sides[k];
            all[i] = Coins(k, side.hits, side.coins, Evidence.bitsOf(k, side.hits, side.coins));
        }
        if (length != 0) _addUnopened(all, self.unopened);
        for (uint256 i = 0; i < length; ++i) {
            sum += all[i].bits;
        }
    }

    /// @notice How many provers have coins on the side that speaks.
    function quorum(Count storage self) internal view returns (uint32 count) {
        for (uint256 i = 0; i < self.provers.length; ++i) {
            if (_speaksFor(self, self.provers[i]) != 0) ++count;
        }
    }

    /// @notice The provers on the side that speaks, by their coins.
    function parts(Count storage self) internal view returns (Destination[] memory all) {
        all = new Destination[](quorum(self));
        uint256 found = 0;
        for (uint256 i = 0; i < self.provers.length; ++i) {
            uint32 coins = _speaksFor(self, self.provers[i]);
            if (coins != 0) all[found++] = Destination(self.provers[i], coins);
        }
    }

    function _addUnopened(Coins[] memory all, uint32 unopened) private pure {
        for (uint32 j = 0; j < unopened; ++j) {
            uint256 place = 0;
            Coins memory least = all[0].worse();
            for (uint256 i = 1; i < all.length; ++i) {
                Coins memory other = all[i].worse();
                if (other.bits - all[i].bits < least.bits - all[place].bits) (place, least) = (i, other);
            }
            all[place] = least;
        }
    }

    /// @dev Colours turned round speak by their misses.
    function _speaksFor(Count storage self, address prover) private view returns (uint32) {
        Side storage half = self.sides[2];
        bool turned = half.hits * 2 < half.coins;
        return turned ? self.missesOf[prover] : self.hitsOf[prover];
    }

    function _know(Count storage self, uint32 k, address prover) private {
        if (self.sides[k].coins == 0) _list(self, k);
        if (self.isKnown[prover] || self.provers.length == PROVERS_MAX) return;
        self.isKnown[prover] = true;
        self.provers.push(prover);
    }

    function _list(Count storage self, uint32 k) private {
        for (uint256 i = 0; i < self.chances.length; ++i) {
            if (self.chances[i] == k) return;
        }
        require(self.chances.length < CHANCES_MAX, Count_TooManyChances(k));
        self.chances.push(k);
    }
}
