//! Hardening: the loss sees the marks as they will be after merging, quantising or pruning.

use candle_core::Tensor;
use loyal_model::{Parameters, quantize};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::student::Student;
use crate::error::Result;

/// Shares of the steps in which the loss sees damaged weights; the rest sees them whole.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shares {
    /// Only a fraction of the update is left.
    pub fraction: f64,
    /// The smallest such fraction.
    pub fraction_min: f64,
    /// Stored in four bits.
    pub int4: f64,
    /// The smallest weights are zero.
    pub pruned: f64,
}

impl Default for Shares {
    fn default() -> Self {
        Self { fraction: 0.35, fraction_min: 0.3, int4: 0.15, pruned: 0.10 }
    }
}

/// What happens to the weights before the marks are looked for in them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Hardening {
    /// Nothing.
    None,
    /// Only a fraction of the update is left, as after a merge with the unmarked model.
    Fraction(f64),
    /// Stored in four bits.
    Int4,
    /// The smallest weights are zero: those below this share of their layer's mean magnitude.
    Pruned(f64),
}

impl Hardening {
    pub(super) fn draw(shares: &Shares, draw: &mut ChaCha8Rng) -> Self {
        let (point, share) = (draw.random::<f64>(), draw.random::<f64>());
        let Shares { fraction, fraction_min, int4, pruned } = *shares;
        match point {
            x if x < fraction => Self::Fraction(fraction_min + share * (1.0 - fraction_min)),
            x if x < fraction + int4 => Self::Int4,
            x if x < fraction + int4 + pruned => Self::Pruned(0.45),
            _ => Self::None,
        }
    }

    /// The parameters after it; gradients pass through to `parameters`.
    pub(super) fn apply(self, student: &Student, parameters: &Parameters) -> Result<Parameters> {
        let changed = |name: &str, tensor: &Tensor| -> Result<Tensor> {
            if !student.learns(name) {
                return Ok(tensor.clone());
            }
            match self {
                Self::None => Ok(tensor.clone()),
                Self::Fraction(share) => {
                    let base = &student.base()[name];
                    Ok((base + ((tensor - base)? * share)?)?)
                }
                Self::Int4 => {
                    let error = (quantized(&tensor.detach(), 4)? - tensor.detach())?;
                    Ok((tensor + error)?)
                }
                Self::Pruned(share) => {
                    let size = tensor.detach().abs()?;
                    let least = size.mean_all()?.to_scalar::<f32>()? * share as f32;
                    let kept = size.ge(f64::from(least))?.to_dtype(tensor.dtype())?;
                    Ok((tensor * kept)?)
                }
            }
        };
        parameters.iter().map(|(name, tensor)| Ok((name.clone(), changed(name, tensor)?))).collect()
    }
}

/// A matrix as it comes back from storage in `bits` bits.
fn quantized(matrix: &Tensor, bits: u32) -> Result<Tensor> {
    let mut numbers: Vec<f32> = matrix.flatten_all()?.to_vec1()?;
    quantize::fake_quantize(&mut numbers, matrix.dim(1)?, bits);
    Ok(Tensor::from_vec(numbers, matrix.shape(), matrix.device())?)
}
