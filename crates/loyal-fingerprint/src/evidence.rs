//! Exact evidence from coins: a p-value for a series of fixed length, and bits that hold at any stopping time.

pub mod weighted;

use std::fmt;

use loyal_types::{Chance, Evidence};
use num_bigint::BigUint;
use serde::{Serialize, Serializer};

/// Which outcomes count as at least as strange as the one seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// As many hits or more.
    Upper,
    /// As many hits or more, or as few or fewer, whichever is rarer, doubled: where an attacker may flip the
    /// sign of the mark (chance ½ only).
    Both,
}

/// An upper bound on the chance that an innocent model does as much, held as its logarithm: it may be far
/// below what a floating-point number can hold.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct PValue {
    log10: f64,
}

impl PValue {
    /// Nothing seen.
    pub const ONE: Self = Self { log10: 0.0 };

    /// The decimal logarithm of the bound; never above zero, never below the truth.
    #[must_use]
    pub const fn log10(self) -> f64 {
        self.log10
    }

    /// The bound as a number, at least the smallest positive one.
    #[must_use]
    pub fn value(self) -> f64 {
        // The power's own rounding error is far below one part in 10¹².
        (10f64.powf(self.log10) * (1.0 + 1e-12)).clamp(f64::MIN_POSITIVE, 1.0)
    }

    /// Twice the bound, at most one.
    #[must_use]
    pub fn doubled(self) -> Self {
        Self { log10: (self.log10 + std::f64::consts::LOG10_2.next_up()).next_up().min(0.0) }
    }

    /// From a natural logarithm that is a bound already.
    fn from_ln(ln: f64) -> Self {
        let log10 = ln / std::f64::consts::LN_10;
        Self { log10: (log10 + 4.0 * f64::EPSILON * log10.abs()).min(0.0) }
    }

    /// The ratio of two integers, rounded up.
    fn ratio(numerator: &BigUint, denominator: &BigUint) -> Self {
        if numerator >= denominator {
            return Self::ONE;
        }
        // p ≤ quotient·2^−shift with a quotient of 62 to 64 bits.
        let shift = denominator.bits() - numerator.bits() + 62;
        let quotient = (numerator << shift) / denominator + 1u32;
        let quotient = u64::try_from(quotient).expect("the shift leaves at most 63 bits");
        let log10 = libm::log10((quotient as f64).next_up()) - shift as f64 * std::f64::consts::LOG10_2;
        // Each of the four operations errs by at most one unit in the last place of its result.
        let slack = 8.0 * f64::EPSILON * (shift as f64 * std::f64::consts::LOG10_2 + 20.0);
        Self { log10: (log10 + slack).min(0.0) }
    }
}

impl fmt::Display for PValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rounded up in the last digit, so that what is printed is a bound as well.
        if self.log10 > -3.0 {
            return write!(f, "{:.4}", ((self.value() - 1e-12) * 1e4).ceil() / 1e4);
        }
        let exponent = self.log10.floor();
        let mantissa = (10f64.powf(self.log10 - exponent) * 10.0 + 1e-9).ceil() / 10.0;
        if mantissa >= 10.0 {
            return write!(f, "1.0e{}", exponent + 1.0);
        }
        write!(f, "{mantissa:.1}e{exponent}")
    }
}

impl Serialize for PValue {
    /// `{"log10": −30.5, "value": 3.2e−31}`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut object = serializer.serialize_struct("PValue", 2)?;
        object.serialize_field("log10", &self.log10)?;
        object.serialize_field("value", &self.value())?;
        object.end()
    }
}

/// The chance that an innocent model does as much, for a series whose length was fixed beforehand: the exact
/// binomial tail, computed in integers and rounded up once at the end.
#[must_use]
pub fn p_value(evidence: &Evidence, tail: Tail) -> PValue {
    let (hits, coins) = (evidence.hits(), evidence.coins());
    match tail {
        Tail::Upper => upper_tail(evidence.chance(), hits, coins),
        Tail::Both => {
            debug_assert_eq!(evidence.chance(), Chance::HALF, "both tails are alike only for fair coins");
            upper_tail(Chance::HALF, hits.max(coins - hits), coins).doubled()
        }
    }
}

/// P(at least `hits` of `coins`) = Σ C(n, i)·(k−1)ⁿ⁻ⁱ / kⁿ over i from `hits` to n.
fn upper_tail(chance: Chance, hits: u32, coins: u32) -> PValue {
    if hits == 0 {
        return PValue::ONE;
    }
    let mut term = BigUint::from(1u32);
    let mut sum = term.clone();
    for i in (hits..coins).rev() {
        // From C(n, i+1)·(k−1)ⁿ⁻ⁱ⁻¹ to C(n, i)·(k−1)ⁿ⁻ⁱ; the division leaves no rest.
        term = term * (i + 1) * (chance.k() - 1) / (coins - i);
        sum += &term;
    }
    PValue::ratio(&sum, &BigUint::from(chance.k()).pow(coins))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Pascal's triangle over rationals kept as (numerator, denominator = kⁿ): another road to the same tail.
    fn oracle(k: u32, hits: u32, coins: u32) -> (BigUint, BigUint) {
        let mut row = vec![BigUint::from(1u32)];
        for _ in 0..coins {
            let mut next = vec![BigUint::ZERO; row.len() + 1];
            for (i, weight) in row.iter().enumerate() {
                next[i] += weight * (k - 1);
                next[i + 1] += weight;
            }
            row = next;
        }
        let sum = row.iter().skip(hits as usize).fold(BigUint::ZERO, |sum, weight| sum + weight);
        (sum, BigUint::from(k).pow(coins))
    }

    fn p(k: u32, hits: u32, coins: u32) -> PValue {
        let evidence = Evidence::of(Chance::one_in(k).unwrap(), hits, coins - hits);
        p_value(&evidence, Tail::Upper)
    }

    proptest! {
        #[test]
        fn tails_bound_the_exact_ratio_tightly(k in 2u32..300, coins in 0u32..90, share in 0.0f64..1.0) {
            let hits = (f64::from(coins) * share).round() as u32;
            let (numerator, denominator) = oracle(k, hits, coins);
            let found = p(k, hits, coins);
            // 10^log10 as a rational must not lie below the exact ratio, nor more than 10⁻¹⁰ above it:
            // compare value·denominator with numerator where the value is a normal number.
            if found.log10() > -300.0 {
                let scaled = |value: f64| {
                    let (mantissa, exponent) = decompose(value);
                    (BigUint::from(mantissa), exponent)
                };
                let (mantissa, exponent) = scaled(found.value());
                prop_assert!((mantissa * &denominator) >= (&numerator << exponent));
                let (mantissa, exponent) = scaled(found.value() * (1.0 - 1e-10));
                if hits > 0 {
                    prop_assert!((mantissa * &denominator) < (&numerator << exponent));
                }
            }
        }
    }

    /// value = mantissa·2^−exponent.
    fn decompose(value: f64) -> (u64, u64) {
        let bits = value.to_bits();
        let exponent = (bits >> 52) & 0x7ff;
        ((bits & ((1 << 52) - 1)) | (1 << 52), 1075 - exponent)
    }

    #[test]
    fn plain_cases() {
        assert_eq!(p(3, 0, 64), PValue::ONE);
        assert_eq!(p(3, 0, 0), PValue::ONE);
        // 3⁻⁶⁴ = 10^−30.5358.
        assert!((p(3, 64, 64).log10() + 64.0 * 3f64.log10()).abs() < 1e-10);
        assert!((p(2, 1, 1).value() - 0.5).abs() < 1e-11);
        // Beyond what a float holds.
        assert!((p(256, 2_000, 2_000).log10() + 2_000.0 * 256f64.log10()).abs() < 1e-8);
        assert_eq!(p(256, 2_000, 2_000).value(), f64::MIN_POSITIVE);
    }

    #[test]
    fn both_sides_are_alike_for_fair_coins() {
        let both = |hits, misses| p_value(&Evidence::of(Chance::HALF, hits, misses), Tail::Both).log10();
        assert_eq!(both(61, 3), both(3, 61));
        assert_eq!(both(32, 32), 0.0);
        assert!((both(64, 0) + 63.0 * std::f64::consts::LOG10_2).abs() < 1e-9);
    }

    #[test]
    fn what_is_printed_is_a_bound() {
        for (hits, expected) in [(64, "3.0e-31"), (1, "1.0000"), (30, "0.0169")] {
            assert_eq!(p(3, hits, 64).to_string(), expected);
        }
    }
}
