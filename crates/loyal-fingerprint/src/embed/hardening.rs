//! Hardening: the loss sees the marks as they will be after merging, quantising or pruning.

use loyal_model::{Parameters, quantize};
use candle_core::Tensor;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::student::Student;
use crate::error::Result;

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
    pub(super) fn draw(draw: &mut ChaCha8Rng) -> Self {
        match draw.random::<f64>() {
            x if x < 0.40 => Self::None,
            x if x < 0.75 => Self::Fraction(draw.random_range(0.3..1.0)),
            x if x < 0.90 => Self::Int4,
            _ => Self::Pruned(0.45),
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
