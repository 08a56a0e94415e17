// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

/// @notice Coins of one chance, counted, and their evidence in steps of 2^-32 bits.
struct Coins {
    uint32 k;
    uint32 hits;
    uint32 coins;
    int64 bits;
}

/// @title Evidence in integers: an e-process over coins of known chance, the same bits as in Rust
/// @notice Each coin is an answer that an innocent model gives with chance 1/k. Against "the coins are fair" stands a
/// uniform mixture over every other hit rate. An innocent model ever reaches b bits with chance 2^-b at most, however
/// often one looks (Ville's inequality).
/// @dev Logarithms are floored to steps of 2^-32. One value L(m) stands for log2 of an integer m wherever it occurs, so
/// that equal factors cancel and every order of coins gives the same bits.
library Evidence {
    /// @dev One in `k` is no chance of a coin; it must be one in 2 to 65,536.
    error Evidence_BadChance(uint32 k);

    uint32 internal constant COINS_MAX = type(uint32).max >> 1;

    /// @notice No coins yet: zero bits.
    function none(uint32 k) internal pure returns (Coins memory) {
        require(k >= 2 && k <= 65_536, Evidence_BadChance(k));
        return Coins(k, 0, 0, 0);
    }

    /// @notice The evidence after `hits` hits and `misses` misses, in any order.
    function counted(uint32 k, uint32 hits, uint32 misses) internal pure returns (Coins memory coins) {
        coins = none(k);
        for (uint32 i = 0; i < hits; ++i) {
            add(coins, true);
        }
        for (uint32 i = 0; i < misses; ++i) {
            add(coins, false);
        }
    }

    /// @notice The evidence of `hits` hits in `coins` coins at once: what coin after coin comes to, with factors cancelled.
    /// @dev log2 of h!·m!/(n+1)! · k^h · (k/(k−1))^m, with one L for each integer that is left.
    function bitsOf(uint32 k, uint32 hits, uint32 coins) internal pure returns (int64 bits) {
        require(k >= 2 && k <= 65_536 && hits <= coins && coins < COINS_MAX, Evidence_BadChance(k));
        uint32 misses = coins - hits;
        (uint32 more, uint32 fewer) = hits > misses ? (hits, misses) : (misses, hits);
        for (uint32 i = 2; i <= fewer; ++i) {
            bits += log2(i, 1);
        }
        for (uint32 i = more + 1; i <= coins + 1; ++i) {
            bits -= log2(i, 1);
        }
        bits += int64(uint64(hits)) * log2(k, 1) + int64(uint64(misses)) * log2(k, k - 1);
    }

    /// @notice The evidence left when `unknown` more coins fall, one after another, on the side that gives fewer bits.
    function adverse(uint32 k, uint32 hits, uint32 coins, uint32 unknown) internal pure returns (int64) {
        Coins memory least = Coins(k, hits, coins, bitsOf(k, hits, coins));
        for (uint32 i = 0; i < unknown; ++i) {
            least = worse(least);
        }
        return least.bits;
    }

    /// @notice One more coin, on the side that gives fewer bits.
    function worse(Coins memory self) internal pure returns (Coins memory) {
        Coins memory hit = Coins(self.k, self.hits, self.coins, self.bits);
        Coins memory miss = Coins(self.k, self.hits, self.coins, self.bits);
        add(hit, true);
        add(miss, false);
        return hit.bits < miss.bits ? hit : miss;
    }

    /// @notice One more coin. Longer series than `COINS_MAX` saturate, and add nothing.
    /// @dev A hit multiplies by (h+1)/((n+2)·p), a miss by (n−h+1)/((n+2)·(1−p)).
    function add(Coins memory self, bool hit) internal pure {
        if (self.coins >= COINS_MAX) return;
        int64 factor = hit
            ? log2(self.hits + 1, 1) + log2(self.k, 1)
            : log2(self.coins - self.hits + 1, 1) + log2(self.k, self.k - 1);
        self.bits += factor - log2(self.coins + 2, 1);
        self.coins += 1;
        if (hit) self.hits += 1;
    }

    /// @notice ⌊2^32·log2(numerator/denominator)⌋ for a fraction of at least one, both below 2^32.
    /// @dev The fraction's mantissa is squared thirty-two times in 63-bit fixed point; each overflow past two is one bit
    /// of the logarithm.
    function log2(uint32 numerator, uint32 denominator) internal pure returns (int64) {
        unchecked {
            uint256 whole = 0;
            for (uint256 quotient = numerator / denominator; quotient > 1; quotient >>= 1) {
                ++whole;
            }
            // slither-disable-next-line divide-before-multiply — the floors are the definition.
            uint256 mantissa = (uint256(numerator) << 63) / (uint256(denominator) << whole);
            uint256 log = whole;
            for (uint256 i = 0; i < 32; ++i) {
                uint256 square = (mantissa * mantissa) >> 63;
                uint256 overflow = square >> 64;
                log = (log << 1) | overflow;
                mantissa = square >> overflow;
            }
            // forge-lint: disable-next-line(unsafe-typecast) — at most 32 whole and 32 binary digits.
            return int64(uint64(log));
        }
    }
}
