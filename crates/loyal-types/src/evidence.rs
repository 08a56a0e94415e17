//! Evidence in integers: an e-process over coins of known chance, the same bits in Rust and Solidity.
//!
//! Each coin is an answer that an innocent model gives with known chance p₀ = 1/k. Against "the coins are
//! fair" stands a uniform mixture over every other hit rate; after h hits in n coins the evidence is
//! −log₂((n+1)·C(n,h)) − h·log₂ p₀ − (n−h)·log₂(1−p₀) bits (`fingerprints.md` §5). It may be looked at after
//! every coin: an innocent model ever reaches b bits with chance 2⁻ᵇ at most (Ville's inequality).
//!
//! All logarithms are floored to steps of 2⁻³². One value L(m) stands for log₂ of an integer m wherever it
//! occurs, so that equal factors cancel and every order of coins gives the same bits.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// The chance of a hit by an innocent model: one in `k`, 2 ≤ k ≤ 65,536.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Chance(u32);

/// The number of equally likely answers makes no coin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("one in {found} is no chance of a coin; it must be one in 2 to 65536")]
pub struct ChanceError {
    found: u32,
}

impl Chance {
    /// One half: the chance of a colour.
    pub const HALF: Self = Self(2);

    /// One in `k`.
    ///
    /// # Errors
    /// `k` is not from 2 to 65,536.
    pub const fn one_in(k: u32) -> Result<Self, ChanceError> {
        if k >= 2 && k <= 65_536 { Ok(Self(k)) } else { Err(ChanceError { found: k }) }
    }

    /// The `k` of one in `k`.
    #[must_use]
    pub const fn k(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Chance {
    type Error = ChanceError;

    fn try_from(k: u32) -> Result<Self, ChanceError> {
        Self::one_in(k)
    }
}

impl From<Chance> for u32 {
    fn from(chance: Chance) -> Self {
        chance.0
    }
}

impl fmt::Display for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1/{}", self.0)
    }
}

/// An amount of evidence in steps of 2⁻³² bits; negative where the coins speak for innocence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Bits(i64);

impl Bits {
    /// Whole bits.
    #[must_use]
    pub const fn whole(bits: i32) -> Self {
        Self((bits as i64) << 32)
    }

    /// Evidence as steps of 2⁻³² bits, as a contract holds it.
    #[must_use]
    pub const fn steps(self) -> i64 {
        self.0
    }

    /// The nearest floating-point number of bits, for plots and people.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / (1u64 << 32) as f64
    }
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.as_f64())
    }
}

/// In JSON a plain number of bits, for people: the counts beside it give the exact steps again.
impl Serialize for Bits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.as_f64())
    }
}

/// Coins of one chance, counted. Written to JSON, never read from it: whoever reads counts recomputes the bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Evidence {
    #[serde(rename = "chance_one_in")]
    chance: Chance,
    hits: u32,
    coins: u32,
    bits: Bits,
}

impl Evidence {
    /// No coins yet: zero bits.
    #[must_use]
    pub const fn new(chance: Chance) -> Self {
        Self { chance, hits: 0, coins: 0, bits: Bits(0) }
    }

    /// `hits` hits and `misses` misses, in any order.
    #[must_use]
    pub fn of(chance: Chance, hits: u32, misses: u32) -> Self {
        let coins = (0..hits).map(|_| true).chain((0..misses).map(|_| false));
        coins.fold(Self::new(chance), Self::with)
    }

    /// The evidence after one more coin. The counts stay below 2³¹: longer series saturate, and add nothing.
    #[must_use]
    pub fn with(self, hit: bool) -> Self {
        if self.coins >= u32::MAX >> 1 {
            return self;
        }
        let (coins, hits) = (u64::from(self.coins), u64::from(self.hits));
        let k = u64::from(self.chance.0);
        // A hit multiplies by (h+1)/((n+2)·p₀), a miss by (n−h+1)/((n+2)·(1−p₀)).
        let factor = if hit {
            log2_floor(hits + 1, 1) + log2_floor(k, 1)
        } else {
            log2_floor(coins - hits + 1, 1) + log2_floor(k, k - 1)
        };
        Self {
            chance: self.chance,
            hits: self.hits + u32::from(hit),
            coins: self.coins + 1,
            bits: Bits(self.bits.0 + factor - log2_floor(coins + 2, 1)),
        }
    }

    /// The chance of each coin.
    #[must_use]
    pub const fn chance(&self) -> Chance {
        self.chance
    }

    /// Hits so far.
    #[must_use]
    pub const fn hits(&self) -> u32 {
        self.hits
    }

    /// Coins so far.
    #[must_use]
    pub const fn coins(&self) -> u32 {
        self.coins
    }

    /// The evidence. Bits of different chances add.
    #[must_use]
    pub const fn bits(&self) -> Bits {
        self.bits
    }
}

/// ⌊2³²·log₂(numerator/denominator)⌋ for a fraction of at least one, both below 2³².
///
/// The fraction's mantissa is squared thirty-two times in 63-bit fixed point; each overflow past two is one
/// bit of the logarithm. Solidity repeats the same steps in `uint256`.
fn log2_floor(numerator: u64, denominator: u64) -> i64 {
    let whole = (numerator / denominator).ilog2();
    let scaled = (u128::from(numerator) << 63) / (u128::from(denominator) << whole);
    let mut mantissa = u64::try_from(scaled).expect("a fraction divided by its power of two is below two");
    let mut log = i64::from(whole);
    for _ in 0..32 {
        let square = (u128::from(mantissa) * u128::from(mantissa)) >> 63;
        let overflow = square >> 64 != 0;
        log = (log << 1) | i64::from(overflow);
        mantissa = (square >> u32::from(overflow)) as u64;
    }
    log
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(k: u32, hits: u32, coins: u32, expected: &str) {
        let evidence = Evidence::of(Chance::one_in(k).unwrap(), hits, coins - hits);
        assert_eq!(evidence.bits().to_string(), expected, "{hits}/{coins} at 1/{k}");
    }

    /// The goldens of `fingerprints.md` §5 and `protocol.md` §12.6.
    #[test]
    fn published_figures() {
        check(256, 3, 3, "22.000");
        check(256, 3, 4, "19.684");
        check(2, 27, 27, "22.193");
        check(2, 26, 26, "21.245");
        check(2, 61, 64, "42.631");
        check(2, 3, 64, "42.631");
        check(2, 144, 200, "25.254");
        check(3, 16, 16, "21.272");
    }

    #[test]
    fn three_of_three_convict_exactly() {
        assert_eq!(Evidence::of(Chance::one_in(256).unwrap(), 3, 0).bits(), Bits::whole(22));
    }

    #[test]
    fn the_order_of_coins_does_not_matter() {
        for (k, orders) in [(3, [0b1101_0110_u16, 0b0110_1011, 0b0001_1111]), (256, [0b11, 0b1010, 0b1_0001])]
        {
            let bits = orders.map(|order| {
                let coins = (0..16).map(|i| order >> i & 1 == 1);
                coins.fold(Evidence::new(Chance::one_in(k).unwrap()), Evidence::with)
            });
            assert!(bits.iter().all(|other| *other == bits[0]));
        }
    }

    /// The squaring loses bits downwards; the same loop rounded upwards bounds the truth from above. Where
    /// both agree the floor is proved. Powers of two are exact.
    #[test]
    fn logarithms_are_true_floors() {
        let upper = |numerator: u64, denominator: u64| {
            let whole = (numerator / denominator).ilog2();
            let mut mantissa = (u128::from(numerator) << 63).div_ceil(u128::from(denominator) << whole);
            let mut log = i64::from(whole);
            for _ in 0..32 {
                let square = (mantissa * mantissa).div_ceil(1 << 63);
                let overflow = square >> 64 != 0;
                log = (log << 1) | i64::from(overflow);
                mantissa = if overflow { square.div_ceil(2) } else { square };
            }
            log
        };
        for m in 1..=70_000u64 {
            assert_eq!(log2_floor(m, 1), upper(m, 1), "log2 {m}");
        }
        for k in 2..=65_536 {
            assert_eq!(log2_floor(k, k - 1), upper(k, k - 1), "log2 {k}/{}", k - 1);
        }
        for power in 0..32 {
            assert_eq!(log2_floor(1 << power, 1), power << 32);
        }
    }

    /// Against the closed form in floating point, in the direction and by the bound the design states.
    #[test]
    fn error_is_below_one_step_per_coin() {
        for (k, hits, misses) in [(2, 500, 500), (3, 300, 12), (256, 20, 1_000), (65_536, 1, 3)] {
            let evidence = Evidence::of(Chance::one_in(k).unwrap(), hits, misses);
            let (h, n, p) = (f64::from(hits), f64::from(hits + misses), 1.0 / f64::from(k));
            let choose: f64 =
                (1..=hits).map(|i| ((f64::from(misses) + f64::from(i)) / f64::from(i)).log2()).sum();
            let exact = -(n + 1.0).log2() - choose - h * p.log2() - (n - h) * (1.0 - p).log2();
            let error = (evidence.bits().as_f64() - exact).abs();
            assert!(error < n / (1u64 << 32) as f64 + 1e-9, "{error}");
        }
    }

    #[test]
    fn a_chance_is_one_in_two_at_least() {
        assert!(Chance::one_in(1).is_err() && Chance::one_in(0).is_err() && Chance::one_in(65_537).is_err());
        assert_eq!(Chance::one_in(2), Ok(Chance::HALF));
    }
}
