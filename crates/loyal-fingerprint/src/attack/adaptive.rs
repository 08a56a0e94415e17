//! Attackers who know how marks are made and looked for, but no secret: they choose the strength of an attack by what
//! it costs on text of their own.

use serde::{Deserialize, Serialize};

use super::host::Host;
use super::inference::{Inference, divergence};
use super::utility::{Bench, Rows};

/// Rounds of halving: the strength is known to a part in a thousand.
const ROUNDS: u32 = 12;
/// The strongest noise that is tried, nats.
const NOISE_MAX: f64 = 16.0;

/// What the strength of an attack is chosen for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// As much noise on logits as leaves this share of the accuracy.
    NoiseKeeping {
        /// The share, 0 to 1.
        accuracy: f64,
    },
    /// The other model answers where the two are furthest apart: at this share of ordinary positions.
    DetectAt {
        /// The share, 0 to 1.
        flagged: f64,
    },
}

impl Aim {
    /// The attack at the strength that meets the aim on a bench. `rows` are the raw logits of the host's models there.
    pub(super) fn resolve(self, bench: &Bench<'_>, host: &Host<'_>, rows: &Rows) -> Inference {
        match self {
            Self::NoiseKeeping { accuracy } => {
                let measured = |deviation| {
                    let inference = [Inference::Noise { deviation }];
                    let mut noisy = Host::new(host.llama, host.tokenizer, host.parameters);
                    (noisy.inference, noisy.seed) = (&inference, host.seed);
                    bench.accuracy(&mut noisy, rows)
                };
                let wanted = measured(0.0) * accuracy;
                let (mut low, mut high) = (0.0, NOISE_MAX);
                for _ in 0..ROUNDS {
                    let middle = f64::midpoint(low, high);
                    if measured(middle) >= wanted {
                        low = middle;
                    } else {
                        high = middle;
                    }
                }
                Inference::Noise { deviation: low }
            }
            Self::DetectAt { flagged } => {
                let other = rows.other.as_ref();
                let pairs = rows.own.iter().zip(other.into_iter().flat_map(|rows| rows.iter()));
                let mut found: Vec<f64> = pairs.map(|(own, other)| divergence(own, other)).collect();
                found.sort_by(f64::total_cmp);
                let place = (found.len() as f64 * (1.0 - flagged)) as usize;
                let nats =
                    found.get(place.min(found.len().saturating_sub(1))).copied().unwrap_or(f64::INFINITY);
                Inference::Detect { nats }
            }
        }
    }

    /// Whether another model is asked.
    #[must_use]
    pub const fn needs_other(self) -> bool {
        matches!(self, Self::DetectAt { .. })
    }
}
