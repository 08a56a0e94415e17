//! Evidence from coins of unequal weight: a bound for a fixed number, and a wager that may stop at any time.
//!
//! Given everything a suspect said and what the reference said to the same text, a coin's weight x ≥ 0 is fixed and
//! only its sign c = ±1 is left to chance: an independent fair coin, because the colours were drawn after the queries
//! were committed to. Two figures follow, both two-sided, since a host may turn the mark round.
//!
//! * For a number of coins chosen beforehand: `p ≤ 2·min_λ exp(Σ ln cosh(λx) − λ|Σ c·x|)` (Chernoff).
//! * At any time: E, the mean of `E±(κ) = Π(1 ± tanh(κx)·c)` over both signs and κ = 1, ⅓, 1/9, 1/27. Each factor has mean
//!   one for an innocent model, so that E ever reaches 1/α with chance α at most (Ville's inequality). The smaller fractions
//!   keep a wager alive whose weights say more than the marks do: with κ = 1 alone, weights that are mostly noise (no
//!   reference, or a wrong one) lose everything that the marks win.
//!
//! Logarithms and hyperbolic functions come from `libm`, written in Rust over IEEE 754 operations: every machine gets
//! the same bits. Their errors and those of the sums are bounded and added against the claimant.

use super::PValue;

/// Bound on the relative error of one function of `libm` and the arithmetic around it, in units of ε: the functions
/// themselves err by one unit in the last place or two.
const SLACK_ULPS: f64 = 16.0;
/// Fractions of a weight that are bet, side by side.
pub(crate) const FRACTIONS: [f64; 4] = [1.0, 1.0 / 3.0, 1.0 / 9.0, 1.0 / 27.0];
/// Steps of the grid over λ.
const GRID: u32 = 48;

/// Coins of unequal weight, counted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Weighted {
    /// |x| of every coin.
    weights: Vec<f64>,
    /// Σ c·x, in either direction.
    sum: f64,
    /// ln E⁺ and ln E⁻ for each fraction, and the sum of the sizes of the largest terms.
    wealth: [[f64; 2]; FRACTIONS.len()],
    sizes: f64,
}

impl Weighted {
    /// One more coin: `weight` of any sign, and whether its colour was +1. A weight that is no number, or zero, is no
    /// coin.
    pub fn push(&mut self, weight: f64, hit: bool) {
        if weight == 0.0 || !weight.is_finite() {
            return;
        }
        let signed = if hit { weight } else { -weight };
        self.weights.push(weight.abs());
        self.sum += signed;
        for (wealth, fraction) in self.wealth.iter_mut().zip(FRACTIONS) {
            let terms = terms(signed * fraction);
            wealth[0] += terms[0];
            wealth[1] += terms[1];
            if fraction == 1.0 {
                self.sizes += terms[0].abs().max(terms[1].abs());
            }
        }
    }

    /// Coins so far.
    #[must_use]
    pub const fn coins(&self) -> usize {
        self.weights.len()
    }

    /// log₁₀ of E, rounded down.
    #[must_use]
    pub fn log10_e(&self) -> f64 {
        let all = || self.wealth.iter().flatten().copied();
        let high = all().fold(f64::NEG_INFINITY, f64::max);
        let parts: f64 = all().map(|one| libm::exp(one - high)).sum();
        let sum = high + libm::log(parts / all().count() as f64);
        let slack = (self.coins() as f64 + SLACK_ULPS) * f64::EPSILON * (self.sizes + sum.abs() + 1.0);
        (sum - slack) / std::f64::consts::LN_10
    }

    /// The bound for a number of coins that was fixed beforehand, rounded up.
    #[must_use]
    pub fn p_value(&self) -> PValue {
        let scale = self.weights.iter().map(|x| x * x).sum::<f64>().sqrt();
        if scale == 0.0 {
            return PValue::ONE;
        }
        // The exponent is convex in λ: a grid over four decades, then the golden section between its neighbours.
        let at = |i: u32| 0.02 * libm::exp(f64::from(i) * libm::log(2e4) / f64::from(GRID)) / scale;
        let best = (0..=GRID).min_by(|&a, &b| self.exponent(at(a)).total_cmp(&self.exponent(at(b))));
        let best = best.expect("the grid is not empty");
        let (mut low, mut high) = (at(best.saturating_sub(1)), at(best + 1));
        let golden = 0.618_033_988_749_894_9;
        for _ in 0..24 {
            let (a, b) = (high - golden * (high - low), low + golden * (high - low));
            if self.exponent(a) < self.exponent(b) {
                high = b;
            } else {
                low = a;
            }
        }
        // Any λ gives a valid bound; the middle is the one taken.
        PValue::from_ln(self.exponent_rounded_up(f64::midpoint(low, high))).doubled()
    }

    /// Σ ln cosh(λx) − λ|S|.
    fn exponent(&self, lambda: f64) -> f64 {
        self.weights.iter().map(|&x| ln_cosh(lambda * x)).sum::<f64>() - lambda * self.sum.abs()
    }

    fn exponent_rounded_up(&self, lambda: f64) -> f64 {
        let spread: f64 = self.weights.iter().map(|&x| ln_cosh(lambda * x)).sum();
        // |S| itself was summed with rounding; its terms are the weights.
        let size: f64 = spread + lambda * self.weights.iter().sum::<f64>();
        let slack = (self.coins() as f64 + SLACK_ULPS) * f64::EPSILON * (size + 1.0);
        spread - lambda * self.sum.abs() + slack
    }
}

/// What a bet of `bet_nats` adds to the logarithms of E⁺ and E⁻.
pub(crate) fn terms(bet_nats: f64) -> [f64; 2] {
    // A bet of everything could lose everything to one rounding error.
    let bet = libm::tanh(bet_nats).clamp(-0.999_999, 0.999_999);
    [libm::log1p(bet), libm::log1p(-bet)]
}

/// ln cosh(y) = |y| + ln(1 + exp(−2|y|)) − ln 2.
fn ln_cosh(y: f64) -> f64 {
    let y = y.abs();
    // Cancellation would leave nothing of small ones: ln cosh(y) ≤ y²/2 everywhere.
    if y < 1e-4 { y * y / 2.0 } else { y + libm::log1p(libm::exp(-2.0 * y)) - std::f64::consts::LN_2 }
}

/// What a piece of text that the reference gives probability `p` is worth if it has the colour +1, in nats of half
/// log odds: `gro(p) = ½ ln[(p·e^−d + (1−p)·cosh d)/(p·e^d + (1−p)·cosh d)] + d`, d = 1.5. Near d where the piece was
/// improbable before (the tilt must have brought it), near 0 where it was certain anyway.
#[must_use]
pub fn growth(p: f64) -> f64 {
    const D: f64 = 1.5;
    let p = p.clamp(0.0, 1.0);
    let rest = (1.0 - p) * libm::cosh(D);
    0.5 * libm::log((p * libm::exp(-D) + rest) / (p * libm::exp(D) + rest)) + D
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(coins: &[(f64, bool)]) -> Weighted {
        let mut weighted = Weighted::default();
        coins.iter().for_each(|&(weight, hit)| weighted.push(weight, hit));
        weighted
    }

    /// P(|Σ ε·w| ≥ |S|) over all signs, counted.
    fn exact(weights: &[f64], sum: f64) -> f64 {
        let count = 1u32 << weights.len();
        let at_least = (0..count).filter(|signs| {
            let s: f64 =
                (0..weights.len()).map(|i| if signs >> i & 1 == 1 { weights[i] } else { -weights[i] }).sum();
            s.abs() >= sum.abs() - 1e-12
        });
        at_least.count() as f64 / f64::from(count)
    }

    proptest! {
        #[test]
        fn the_bound_is_above_the_exact_tail(
            coins in prop::collection::vec((0.01f64..1.5, any::<bool>()), 1..14)
        ) {
            let weighted = of(&coins);
            let weights: Vec<f64> = coins.iter().map(|coin| coin.0).collect();
            prop_assert!(weighted.p_value().value() >= exact(&weights, weighted.sum));
        }

        /// The wager is fair: over all signs, E has mean one.
        #[test]
        fn wealth_has_mean_one(weights in prop::collection::vec(0.01f64..1.5, 1..11)) {
            let count = 1u32 << weights.len();
            let wealth = |signs: u32| {
                let coins: Vec<_> =
                    weights.iter().enumerate().map(|(i, &w)| (w, signs >> i & 1 == 1)).collect();
                10f64.powf(of(&coins).log10_e())
            };
            let mean = (0..count).map(wealth).sum::<f64>() / f64::from(count);
            prop_assert!((mean - 1.0).abs() < 1e-9, "{}", mean);
        }
    }

    #[test]
    fn equal_coins_are_near_the_binomial() {
        // 64 of 64: exactly 2·2⁻⁶⁴; Chernoff reaches it as λ grows.
        let all = of(&[(1.0, true); 64]);
        let exact = (2.0f64).log10() - 64.0 * (2.0f64).log10();
        assert!((all.p_value().log10() - exact).abs() < 0.01, "{:?}", all.p_value());
        // All wrong is as strange as all right.
        assert_eq!(of(&[(1.0, false); 64]).p_value(), all.p_value());
        let even: Vec<_> = (0..64).map(|i| (1.0, i % 2 == 0)).collect();
        assert_eq!(of(&even).p_value(), PValue::ONE);
        assert!(of(&even).log10_e() < 0.0);
    }

    #[test]
    fn nothing_says_nothing() {
        assert_eq!(of(&[]).p_value(), PValue::ONE);
        assert!(of(&[]).log10_e() <= 0.0);
        let odd = of(&[(f64::NAN, true), (f64::INFINITY, true), (0.0, true)]);
        assert_eq!(odd.coins(), 0);
    }

    /// Bits found on x86-64; whoever finds others must not judge claims.
    #[test]
    fn the_same_bits_everywhere() {
        let coins: Vec<_> = (0..200).map(|i| (0.01 * f64::from(i % 90), i % 7 != 0)).collect();
        let found = of(&coins);
        let bits = (found.log10_e().to_bits(), found.p_value().log10().to_bits());
        let golden = (4_624_729_199_870_876_019, 13_849_220_927_810_002_473);
        assert_eq!(bits, golden, "log10 E {}, log10 p {}", found.log10_e(), found.p_value().log10());
    }

    #[test]
    fn growth_rewards_what_was_improbable() {
        assert!((growth(0.0) - 1.5).abs() < 1e-12);
        assert!(growth(1.0).abs() < 1e-12);
        assert!(growth(0.2) > growth(0.5) && growth(0.5) > growth(0.9));
    }
}
