//! What a host does to a model's logits before it answers.

use rand::Rng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::check::attempt::top;
use crate::predict;

/// The logit of a token that the host lets nobody see.
pub const OUT: f32 = -1e4;

/// An alteration of one position's logits. Ranks count from 1, the likeliest.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inference {
    /// The likeliest tokens are never said.
    Suppress {
        /// How many.
        ranks: usize,
    },
    /// The likeliest token is left out now and then.
    SuppressSometimes {
        /// How often, 0 to 1.
        share: f64,
    },
    /// The likeliest token is left out where the model is sure of it.
    Gate {
        /// From which probability on.
        confidence: f64,
    },
    /// Some ranks get the same probability, together what they had.
    Flatten {
        /// The first of them.
        first: usize,
        /// The last of them.
        last: usize,
    },
    /// Some ranks are dealt out anew.
    Shuffle {
        /// The first of them.
        first: usize,
        /// The last of them.
        last: usize,
    },
    /// Of the three likeliest tokens one that is nearly as likely as the first takes its place.
    NearTies {
        /// How near, nats.
        nats: f64,
    },
    /// Normal noise on every logit.
    Noise {
        /// Its standard deviation, nats.
        deviation: f64,
    },
    /// Log probabilities are rounded.
    Round {
        /// To multiples of this, nats.
        nats: f64,
    },
    /// Log probabilities say nothing but the rank: Zipf's law stands in their place.
    RankOnly,
    /// Only the likeliest tokens that together have this probability.
    TopP {
        /// The probability.
        share: f64,
    },
    /// Only the likeliest tokens.
    TopK {
        /// How many.
        ranks: usize,
    },
    /// Logits are divided.
    Temperature {
        /// By this.
        divisor: f64,
    },
    /// The logarithms of two models' probabilities, mixed.
    Ensemble {
        /// The marked model's share.
        share: f64,
    },
    /// The other model answers wherever the two are further apart than this.
    Detect {
        /// Kullback–Leibler divergence of the other model from the marked one, nats.
        nats: f64,
    },
    /// The other model says the first tokens of each answer.
    First {
        /// How many.
        tokens: usize,
    },
}

/// What a host knows beside the logits themselves.
#[derive(Debug, Clone, Copy, Default)]
pub struct Beside<'a> {
    /// Position in the answer, from 0.
    pub position: usize,
    /// Another model's logits at the same place.
    pub other: Option<&'a [f32]>,
}

impl Inference {
    /// Whether another model is asked too.
    #[must_use]
    pub const fn needs_other(&self) -> bool {
        matches!(self, Self::Ensemble { .. } | Self::Detect { .. } | Self::First { .. })
    }

    /// Alters `row` in place. What needs another model leaves it alone where there is none.
    pub fn apply(&self, row: &mut [f32], beside: Beside<'_>, draw: &mut ChaCha8Rng) {
        match *self {
            Self::Suppress { ranks } => suppress(row, ranks),
            Self::SuppressSometimes { share } => {
                if draw.random::<f64>() < share {
                    suppress(row, 1);
                }
            }
            Self::Gate { confidence } => {
                if surest(row) > confidence {
                    suppress(row, 1);
                }
            }
            Self::Flatten { first, last } => flatten(row, first, last),
            Self::Shuffle { first, last } => shuffle(row, (first, last), draw),
            Self::NearTies { nats } => near_ties(row, nats as f32, draw),
            Self::Noise { deviation } => {
                row.iter_mut().for_each(|x| *x += deviation as f32 * normal(draw));
            }
            Self::Round { nats } => {
                predict::log_softmax(row);
                row.iter_mut().for_each(|x| *x = (*x / nats as f32).round() * nats as f32);
            }
            Self::RankOnly => {
                let order = top(row, row.len());
                for (rank, token) in (1u32..).zip(order) {
                    row[token as usize] = -(f64::from(rank).ln() as f32);
                }
            }
            Self::TopP { share } => top_p(row, share),
            Self::TopK { ranks } => {
                let kept: Vec<(u32, f32)> =
                    top(row, ranks).into_iter().map(|t| (t, row[t as usize])).collect();
                keep(row, &kept);
            }
            Self::Temperature { divisor } => row.iter_mut().for_each(|x| *x /= divisor as f32),
            Self::Ensemble { .. } | Self::Detect { .. } | Self::First { .. } => self.ask_other(row, beside),
        }
    }

    fn ask_other(&self, row: &mut [f32], Beside { position, other }: Beside<'_>) {
        let Some(other) = other else { return };
        match *self {
            Self::First { tokens } if position < tokens => row.copy_from_slice(other),
            Self::Ensemble { share } => {
                let mut other = other.to_vec();
                predict::log_softmax(&mut other);
                predict::log_softmax(row);
                row.iter_mut()
                    .zip(&other)
                    .for_each(|(x, y)| *x = share as f32 * *x + (1.0 - share as f32) * y);
            }
            Self::Detect { nats } if divergence(row, other) > nats => row.copy_from_slice(other),
            _ => {}
        }
    }
}

/// KL(softmax of `row` ‖ softmax of `other`), nats.
#[must_use]
pub fn divergence(row: &[f32], other: &[f32]) -> f64 {
    let (mut own, mut other) = (row.to_vec(), other.to_vec());
    predict::log_softmax(&mut own);
    predict::log_softmax(&mut other);
    let term = |(&p, &q): (&f32, &f32)| f64::from(p).exp() * (f64::from(p) - f64::from(q));
    own.iter().zip(&other).map(term).sum()
}

/// The highest probability.
fn surest(row: &[f32]) -> f64 {
    let highest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    1.0 / row.iter().map(|&x| (f64::from(x) - highest).exp()).sum::<f64>()
}

fn suppress(row: &mut [f32], ranks: usize) {
    for token in top(row, ranks) {
        row[token as usize] = OUT;
    }
}

/// Tokens at ranks `first` to `last`, likeliest first.
fn ranked(row: &[f32], (first, last): (usize, usize)) -> Vec<u32> {
    top(row, last.min(row.len())).split_off(first.saturating_sub(1).min(row.len()))
}

fn flatten(row: &mut [f32], first: usize, last: usize) {
    let tokens = ranked(row, (first, last));
    let highest = tokens.first().map_or(0.0, |&token| f64::from(row[token as usize]));
    let sum: f64 = tokens.iter().map(|&token| (f64::from(row[token as usize]) - highest).exp()).sum();
    let level = highest + (sum / tokens.len().max(1) as f64).ln();
    tokens.iter().for_each(|&token| row[token as usize] = level as f32);
}

fn shuffle(row: &mut [f32], ranks: (usize, usize), draw: &mut ChaCha8Rng) {
    let tokens = ranked(row, ranks);
    let mut values: Vec<f32> = tokens.iter().map(|&token| row[token as usize]).collect();
    values.shuffle(draw);
    tokens.iter().zip(values).for_each(|(&token, value)| row[token as usize] = value);
}

fn near_ties(row: &mut [f32], nats: f32, draw: &mut ChaCha8Rng) {
    let tokens = top(row, 3);
    let Some(&first) = tokens.first() else { return };
    let near = tokens.iter().filter(|&&token| row[first as usize] - row[token as usize] < nats).count();
    if near > 1 {
        row.swap(first as usize, tokens[draw.random_range(0..near)] as usize);
    }
}

fn top_p(row: &mut [f32], share: f64) {
    let order = top(row, row.len());
    let mut probabilities = row.to_vec();
    predict::log_softmax(&mut probabilities);
    let mut before = 0.0;
    let mut kept = Vec::new();
    for token in order {
        if before >= share && !kept.is_empty() {
            break;
        }
        before += f64::from(probabilities[token as usize]).exp();
        kept.push((token, row[token as usize]));
    }
    keep(row, &kept);
}

fn keep(row: &mut [f32], kept: &[(u32, f32)]) {
    row.fill(OUT);
    kept.iter().for_each(|&(token, logit)| row[token as usize] = logit);
}

/// A normally distributed number (Box–Muller).
pub(super) fn normal(draw: &mut ChaCha8Rng) -> f32 {
    let (u, v): (f32, f32) = (1.0 - draw.random::<f32>(), draw.random());
    (-2.0 * u.ln()).sqrt() * (std::f32::consts::TAU * v).cos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    fn altered(what: Inference, row: &[f32]) -> Vec<f32> {
        altered_beside(what, row, Beside::default())
    }

    fn altered_beside(what: Inference, row: &[f32], beside: Beside<'_>) -> Vec<f32> {
        let mut row = row.to_vec();
        what.apply(&mut row, beside, &mut ChaCha8Rng::seed_from_u64(1));
        row
    }

    const ROW: [f32; 5] = [0.0, 3.0, 1.0, 2.0, -1.0];

    #[test]
    fn ranks_are_what_they_say() {
        assert_eq!(altered(Inference::Suppress { ranks: 2 }, &ROW), [0.0, OUT, 1.0, OUT, -1.0]);
        assert_eq!(altered(Inference::TopK { ranks: 2 }, &ROW), [OUT, 3.0, OUT, 2.0, OUT]);
        assert_eq!(altered(Inference::Temperature { divisor: 2.0 }, &ROW), [0.0, 1.5, 0.5, 1.0, -0.5]);
        // Probabilities .636, .234, .086, .032, .012.
        assert_eq!(altered(Inference::TopP { share: 0.7 }, &ROW), [OUT, 3.0, OUT, 2.0, OUT]);
        assert_eq!(altered(Inference::TopP { share: 1e-9 }, &ROW), [OUT, 3.0, OUT, OUT, OUT]);
        assert_eq!(altered(Inference::Gate { confidence: 0.7 }, &ROW), ROW);
        assert_eq!(altered(Inference::Gate { confidence: 0.6 }, &ROW)[1], OUT);
        assert_eq!(altered(Inference::SuppressSometimes { share: 0.0 }, &ROW), ROW);
        assert_eq!(altered(Inference::SuppressSometimes { share: 1.0 }, &ROW)[1], OUT);
    }

    #[test]
    fn flattening_and_shuffling_keep_the_mass_and_the_rest() {
        let flat = altered(Inference::Flatten { first: 2, last: 3 }, &ROW);
        assert_eq!((flat[0], flat[1], flat[4]), (0.0, 3.0, -1.0));
        assert_eq!(flat[2], flat[3]);
        assert!((2.0 * f64::from(flat[2]).exp() - (1f64.exp() + 2f64.exp())).abs() < 1e-5);
        let mixed = altered(Inference::Shuffle { first: 1, last: 3 }, &ROW);
        let sorted = |row: &[f32]| {
            let mut row = row.to_vec();
            row.sort_by(f32::total_cmp);
            row
        };
        assert_eq!((sorted(&mixed), mixed[0], mixed[4]), (sorted(&ROW), 0.0, -1.0));
        let only = altered(Inference::RankOnly, &ROW);
        assert_eq!((top(&only, 5), only[1], only[3]), (top(&ROW, 5), 0.0, -(2f32.ln())));
    }

    #[test]
    fn ties_are_swapped_only_where_they_are_near() {
        assert_eq!(altered(Inference::NearTies { nats: 0.5 }, &ROW), ROW);
        let firsts: Vec<u32> = (0..64)
            .map(|seed| {
                let mut row = ROW.to_vec();
                let mut draw = ChaCha8Rng::seed_from_u64(seed);
                Inference::NearTies { nats: 1.5 }.apply(&mut row, Beside::default(), &mut draw);
                predict::highest(&row)
            })
            .collect();
        assert!(firsts.iter().all(|first| [1, 3].contains(first)));
        assert!(firsts.contains(&1) && firsts.contains(&3));
    }

    #[test]
    fn the_other_model_answers_where_it_is_asked() {
        let other = [0.0, 1.0, 2.0, 3.0, 4.0];
        let beside = |position| Beside { position, other: Some(&other) };
        let first = Inference::First { tokens: 1 };
        assert_eq!(altered_beside(first, &ROW, beside(0)), other);
        assert_eq!(altered_beside(first, &ROW, beside(1)), ROW);
        assert_eq!(altered_beside(first, &ROW, Beside::default()), ROW);
        assert!(divergence(&ROW, &ROW).abs() < 1e-9);
        let apart = divergence(&ROW, &other);
        let (at, below) =
            (Inference::Detect { nats: apart + 1e-6 }, Inference::Detect { nats: apart - 1e-6 });
        assert_eq!(altered_beside(at, &ROW, beside(0)), ROW);
        assert_eq!(altered_beside(below, &ROW, beside(0)), other);
        let half = altered_beside(Inference::Ensemble { share: 0.5 }, &ROW, beside(0));
        // Differences of logits are the means of both models'.
        assert!((half[1] - half[0] - 2.0).abs() < 1e-5 && (half[4] - half[0] - 1.5).abs() < 1e-5);
    }
}
