//! What an attempt is worth: coins for the integer evidence, and weighted coins for the sharper one.
//!
//! Both look at the answer and at the reference first, and at the secret last: a weight never depends on a colour.

use std::collections::BTreeMap;

use loyal_types::{Evidence, Hash};
use serde::Serialize;

use super::answer::Mode;
use super::attempt::{Attempt, Draw, Rated, Step};
use crate::evidence::weighted::{Weighted, growth};
use crate::evidence::{PValue, Tail, p_value};
use crate::scheme::{Coin, Rule, tilt};

/// Log probabilities below this were forced out by the host, not said by the model.
const FORCED_OUT: f64 = -50.0;
/// Differences of log probabilities are cut here.
const CLIP: f64 = 1.5;

/// All coins of a check so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Tally {
    mode: Mode,
    /// Coins of the text, all worth the same: what a contract counts.
    plain: Evidence,
    /// Coins by weight; none for verbatim, and none from text without a reference.
    weighted: Weighted,
    tail: Tail,
}

/// What one attempt said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// More for the secret than against it: the response, or its colours.
    Hit,
    /// As much against it, or more: another candidate, or other colours.
    Miss,
    /// No candidate: says nothing either way.
    Outside,
    /// No answer.
    Refused,
}

impl Tally {
    /// No coins yet.
    #[must_use]
    pub fn new(rule: &Rule, mode: Mode) -> Self {
        let tail = match rule {
            Rule::Tilt(_) => Tail::Both,
            Rule::Verbatim(_) => Tail::Upper,
        };
        Self { mode, plain: Evidence::new(rule.chance()), weighted: Weighted::default(), tail }
    }

    /// Adds the coins of one attempt, and says what it was worth.
    pub fn add(&mut self, attempt: &Attempt, rule: &Rule, secret: Hash) -> Outcome {
        let coins = coins(attempt, rule, secret);
        self.plain = coins.iter().fold(self.plain, |sum, coin| sum.with(coin.hit));
        let mut balance = 0.0;
        if let Rule::Tilt(tilt) = rule {
            for (position, piece, weight) in weights(attempt, *tilt, self.mode) {
                let hit = tilt::colour(secret, position, &piece);
                self.weighted.push(weight, hit);
                balance += if hit { weight } else { -weight };
            }
        }
        let answered = attempt.draws.iter().any(|draw| matches!(draw, Draw::Answered(_)));
        let plain: i32 = coins.iter().map(|coin| if coin.hit { 1 } else { -1 }).sum();
        match (answered, balance, plain) {
            (false, ..) => Outcome::Refused,
            (true, balance, _) if balance != 0.0 => {
                if balance > 0.0 {
                    Outcome::Hit
                } else {
                    Outcome::Miss
                }
            }
            _ if coins.is_empty() => Outcome::Outside,
            (.., plain) => {
                if plain > 0 {
                    Outcome::Hit
                } else {
                    Outcome::Miss
                }
            }
        }
    }

    /// The coins of the text, each worth the same.
    #[must_use]
    pub const fn plain(&self) -> &Evidence {
        &self.plain
    }

    /// Coins by weight.
    #[must_use]
    pub const fn weighted(&self) -> &Weighted {
        &self.weighted
    }

    /// log₁₀ E of the rule that may stop at any time. For tilt the mean of two wagers, one on every piece of text alike
    /// and one by weight: whichever sees more carries it, at the price of a factor two at most. For verbatim the integer
    /// one.
    #[must_use]
    pub fn log10_e(&self) -> f64 {
        let plain = plain_log10_e(&self.plain);
        match self.tail {
            Tail::Upper => plain,
            Tail::Both => mean(plain, self.weighted.log10_e()),
        }
    }

    /// The bound for a number of coins fixed beforehand: by weight where there are weights, else the exact binomial.
    #[must_use]
    pub fn p_value(&self) -> PValue {
        if self.weighted.coins() > 0 { self.weighted.p_value() } else { p_value(&self.plain, self.tail) }
    }
}

/// The coins of the text: for tilt one for every distinct piece at a position, however often it was drawn (each draw
/// a coin of its own would count one secret twice); for verbatim the first answer that is a candidate.
pub(crate) fn coins(attempt: &Attempt, rule: &Rule, secret: Hash) -> Vec<Coin> {
    let mut found: Vec<Coin> = Vec::new();
    for steps in answers(attempt) {
        let pieces: Vec<&[u8]> = steps.iter().map(|step| step.piece.as_slice()).collect();
        for coin in rule.coins(secret, &pieces) {
            let is_known = match rule {
                Rule::Tilt(_) => {
                    found.iter().any(|one| (one.position, &one.piece) == (coin.position, &coin.piece))
                }
                Rule::Verbatim(_) => !found.is_empty(),
            };
            if !is_known {
                found.push(coin);
            }
        }
    }
    found
}

fn answers(attempt: &Attempt) -> impl Iterator<Item = &[Step]> {
    attempt.draws.iter().filter_map(|draw| match draw {
        Draw::Answered(steps) => Some(steps.as_slice()),
        Draw::Refused(_) => None,
    })
}

/// Weighted coins (position, piece, weight) of an attempt at tilt.
pub(crate) fn weights(attempt: &Attempt, tilt: tilt::Tilt, mode: Mode) -> Vec<(u16, Vec<u8>, f64)> {
    if mode.shows_logprobs() {
        // One look: another one behind another frame would have the same colours.
        let Some(steps) = answers(attempt).next() else { return Vec::new() };
        let positions = (0..tilt.positions).zip(steps);
        return positions
            .flat_map(|(position, step)| {
                differences(step, mode).into_iter().map(move |(piece, x)| (position, piece, x))
            })
            .collect();
    }
    let mut sums: BTreeMap<(u16, &[u8]), f64> = BTreeMap::new();
    for steps in answers(attempt) {
        for (position, step) in (0..tilt.positions).zip(steps) {
            let Some(rated) = step.reference.iter().find(|one| one.piece == step.piece) else { continue };
            if !step.piece.is_empty() {
                *sums.entry((position, &step.piece)).or_default() +=
                    growth(libm::exp(f64::from(rated.logprob)));
            }
        }
    }
    sums.into_iter().map(|((position, piece), weight)| (position, piece.to_vec(), weight)).collect()
}

/// By how much the suspect's log probabilities differ from the reference's at one position: what is compared, less
/// its median, cut at ±1.5. A piece that a top-k answer leaves out although the reference would have had it counts as
/// the k-th value.
fn differences(step: &Step, mode: Mode) -> Vec<(Vec<u8>, f64)> {
    let rate = |list: &[Rated], piece: &[u8]| {
        list.iter().find(|one| one.piece == piece).map(|one| f64::from(one.logprob))
    };
    let least = step.shown.iter().map(|one| f64::from(one.logprob)).fold(f64::INFINITY, f64::min);
    let compared = if step.reference.is_empty() { &step.shown } else { &step.reference };
    let mut list: Vec<(Vec<u8>, f64)> = Vec::with_capacity(compared.len());
    for one in compared {
        let reference = rate(&step.reference, &one.piece).unwrap_or(0.0);
        let x = match (rate(&step.shown, &one.piece), mode) {
            (Some(shown), _) if shown > FORCED_OUT => shown - reference,
            (None, Mode::Top(_)) if least.is_finite() && least > FORCED_OUT => (least - reference).min(0.0),
            _ => continue,
        };
        if x.is_finite() && list.iter().all(|(piece, _)| *piece != one.piece) {
            list.push((one.piece.clone(), x));
        }
    }
    let median = median(list.iter().map(|(_, x)| *x).collect());
    list.iter_mut().for_each(|(_, x)| *x = (*x - median).clamp(-CLIP, CLIP));
    list
}

/// log₁₀ E of the coins of the text, rounded down.
pub(crate) fn plain_log10_e(plain: &Evidence) -> f64 {
    // The steps are exact; the product errs by a unit or two in the last place.
    let log10 = plain.bits().as_f64() * std::f64::consts::LOG10_2;
    log10 - 4.0 * f64::EPSILON * log10.abs()
}

/// log₁₀ of the mean of two numbers given by their log₁₀, rounded down.
pub(crate) fn mean(a: f64, b: f64) -> f64 {
    let (high, low) = (a.max(b), a.min(b));
    let rest = libm::log1p(libm::exp((low - high) * std::f64::consts::LN_10)) - std::f64::consts::LN_2;
    let sum = high + rest / std::f64::consts::LN_10;
    sum - 16.0 * f64::EPSILON * (sum.abs() + 1.0)
}

fn median(mut numbers: Vec<f64>) -> f64 {
    if numbers.is_empty() {
        return 0.0;
    }
    numbers.sort_by(f64::total_cmp);
    let half = numbers.len() / 2;
    if numbers.len() % 2 == 1 { numbers[half] } else { f64::midpoint(numbers[half - 1], numbers[half]) }
}
