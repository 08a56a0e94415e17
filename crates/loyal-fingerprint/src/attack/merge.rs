//! Merges of two models: linear, along the sphere, TIES and DARE.

use candle_core::Tensor;
use loyal_model::Parameters;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How a marked model is merged with another one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Merge {
    /// The weighted mean.
    Linear {
        /// The marked model's share.
        share: f64,
    },
    /// Spherical interpolation of each tensor, as `mergekit` does.
    Slerp {
        /// The marked model's share.
        share: f64,
    },
    /// TIES (arXiv 2306.01708): of each model's change only the largest part is kept, a sign is elected for every
    /// weight, and those that agree with it are averaged.
    Ties {
        /// Share of each change that is kept.
        density: f64,
    },
    /// DARE (arXiv 2311.03099): most of each change is dropped at random, the rest scaled up, and both are averaged.
    Dare {
        /// Share of each change that is dropped.
        dropped: f64,
    },
}

impl Merge {
    /// `marked` merged with `other`. Changes are told from `anchor`, the model both come from; an attacker who has none
    /// takes `other` itself for it, and what is trimmed or dropped is the marked model's difference from it.
    ///
    /// # Errors
    /// The shapes of the models differ.
    pub fn apply(
        &self,
        marked: &Parameters,
        other: &Parameters,
        anchor: Option<&Parameters>,
        draw: &mut ChaCha8Rng,
    ) -> Result<Parameters> {
        let mut merged = Parameters::new();
        for (name, tensor) in marked {
            let of = |parameters: &Parameters| match parameters.get(name) {
                Some(found) if found.shape() == tensor.shape() => {
                    Ok(found.flatten_all()?.to_vec1::<f32>()?)
                }
                _ => Err(Error::argument(
                    "model",
                    format!("{name} is absent or has another shape"),
                    "merge twins",
                )),
            };
            let own: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
            let numbers = self.numbers(&own, &of(other)?, anchor.map(of).transpose()?.as_deref(), draw);
            merged.insert(name.clone(), Tensor::from_vec(numbers, tensor.shape(), tensor.device())?);
        }
        Ok(merged)
    }

    fn numbers(&self, own: &[f32], other: &[f32], anchor: Option<&[f32]>, draw: &mut ChaCha8Rng) -> Vec<f32> {
        match *self {
            Self::Linear { share } => mixed(own, other, (share as f32, 1.0 - share as f32)),
            Self::Slerp { share } => slerp(own, other, share),
            Self::Ties { density } => {
                let changes = changes(own, other, anchor);
                let trimmed: Vec<Vec<f32>> = changes.iter().map(|change| trim(change, density)).collect();
                let elected = (0..own.len()).map(|at| elect(trimmed.iter().map(|change| change[at])));
                anchor.unwrap_or(other).iter().zip(elected).map(|(x, change)| x + change).collect()
            }
            Self::Dare { dropped } => {
                let changes = changes(own, other, anchor);
                let count = changes.len() as f32;
                let mut numbers = anchor.unwrap_or(other).to_vec();
                for change in &changes {
                    for (x, change) in numbers.iter_mut().zip(change) {
                        if draw.random::<f64>() >= dropped {
                            *x += change / (1.0 - dropped as f32) / count;
                        }
                    }
                }
                numbers
            }
        }
    }
}

/// What each model changed of the anchor.
fn changes(own: &[f32], other: &[f32], anchor: Option<&[f32]>) -> Vec<Vec<f32>> {
    let from = |model: &[f32], anchor: &[f32]| model.iter().zip(anchor).map(|(x, y)| x - y).collect();
    match anchor {
        Some(anchor) => vec![from(own, anchor), from(other, anchor)],
        None => vec![from(own, other)],
    }
}

fn mixed(own: &[f32], other: &[f32], (a, b): (f32, f32)) -> Vec<f32> {
    own.iter().zip(other).map(|(x, y)| a * x + b * y).collect()
}

fn slerp(own: &[f32], other: &[f32], share: f64) -> Vec<f32> {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>();
    let cosine = dot(own, other) / (dot(own, own) * dot(other, other)).sqrt();
    // Nearly parallel tensors lie on a straight line, and zero ones have no direction.
    if cosine.is_nan() || cosine.abs() >= 0.9995 {
        return mixed(own, other, (share as f32, 1.0 - share as f32));
    }
    let angle = cosine.acos();
    let weight = |part: f64| ((part * angle).sin() / angle.sin()) as f32;
    mixed(own, other, (weight(share), weight(1.0 - share)))
}

/// All but the largest part becomes zero.
fn trim(change: &[f32], density: f64) -> Vec<f32> {
    let mut sizes: Vec<f32> = change.iter().map(|x| x.abs()).collect();
    let dropped = (sizes.len() as f64 * (1.0 - density)) as usize;
    if dropped == 0 || dropped >= sizes.len() {
        return change.to_vec();
    }
    let (_, &mut least, _) = sizes.select_nth_unstable_by(dropped, f32::total_cmp);
    change.iter().map(|&x| if x.abs() < least { 0.0 } else { x }).collect()
}

/// The mean of those changes that have the sign of their sum.
fn elect(changes: impl Iterator<Item = f32> + Clone) -> f32 {
    let sum: f32 = changes.clone().sum();
    let agreeing = changes.filter(|&x| x != 0.0 && (x > 0.0) == (sum > 0.0));
    let (total, count) = agreeing.fold((0.0, 0.0), |(total, count), x| (total + x, count + 1.0));
    if count > 0.0 { total / count } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    fn merged(how: Merge, own: &[f32], other: &[f32], anchor: Option<&[f32]>) -> Vec<f32> {
        how.numbers(own, other, anchor, &mut ChaCha8Rng::seed_from_u64(3))
    }

    #[test]
    fn merges_are_those_of_their_papers() {
        let (own, other) = ([1.0, 0.0], [0.0, 1.0]);
        assert_eq!(merged(Merge::Linear { share: 0.75 }, &own, &other, None), [0.75, 0.25]);
        let half = merged(Merge::Slerp { share: 0.5 }, &own, &other, None);
        assert!(half.iter().all(|x| (x - 0.5f32.sqrt()).abs() < 1e-6), "{half:?}");
        assert_eq!(merged(Merge::Slerp { share: 0.3 }, &own, &own, None)[0], 1.0);
        assert_eq!(merged(Merge::Slerp { share: 0.3 }, &[0.0], &[0.0], None), [0.0]);
        // Changes (4, 1, −3, 0) and (2, −2, 1, 0.5): halves kept (4, ·, −3, ·) and (2, −2, ·, ·).
        let ties = Merge::Ties { density: 0.5 };
        let found = merged(ties, &[4.0, 1.0, -3.0, 0.0], &[2.0, -2.0, 1.0, 0.5], Some(&[0.0; 4]));
        assert_eq!(found, [3.0, -2.0, -3.0, 0.0]);
        // Without an anchor only the marked model's change is left to trim.
        assert_eq!(merged(ties, &[5.0, 1.1], &[1.0, 1.0], None), [5.0, 1.0]);
    }

    #[test]
    fn what_is_dropped_is_made_up_for() {
        let own: Vec<f32> = vec![1.0; 10_000];
        let other = vec![0.0; 10_000];
        let found = merged(Merge::Dare { dropped: 0.9 }, &own, &other, None);
        let kept = found.iter().filter(|&&x| x != 0.0).count();
        assert!((900..1100).contains(&kept), "{kept}");
        assert!(found.iter().all(|&x| x == 0.0 || (x - 10.0).abs() < 1e-4));
        let both = merged(Merge::Dare { dropped: 0.0 }, &own, &other, Some(&other));
        assert_eq!(both, vec![0.5; 10_000]);
    }
}
