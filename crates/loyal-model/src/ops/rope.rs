//! Rotary position embedding; its backward is the rotation the other way.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::rows;

/// Cosines and sines of every position, shared.
#[derive(Debug, Clone)]
pub struct Rotary {
    cos: Arc<Vec<f32>>,
    sin: Arc<Vec<f32>>,
    half: usize,
}

impl Rotary {
    /// Tables for positions 0 to `length` from frequencies in radians per token.
    #[must_use]
    pub fn new(frequencies: &[f32], length: usize) -> Self {
        let angles = (0..length).flat_map(|position| frequencies.iter().map(move |f| position as f32 * f));
        let (cos, sin) = angles.map(|angle| (angle.cos(), angle.sin())).unzip();
        Self { cos: Arc::new(cos), sin: Arc::new(sin), half: frequencies.len() }
    }

    /// Half the head size.
    #[must_use]
    pub fn half(&self) -> usize {
        self.half
    }

    /// Positions the tables hold.
    #[must_use]
    pub fn length(&self) -> usize {
        self.cos.len().checked_div(self.half).unwrap_or(0)
    }

    pub(super) fn tensors(&self, length: usize, device: &Device) -> Result<(Tensor, Tensor)> {
        if length > self.length() {
            bail!("rope: {length} positions asked of a table of {}", self.length());
        }
        let count = length * self.half;
        let cos = Tensor::from_slice(&self.cos[..count], (length, self.half), device)?;
        Ok((cos, Tensor::from_slice(&self.sin[..count], (length, self.half), device)?))
    }
}

pub(super) struct Rope {
    pub(super) rotary: Rotary,
    pub(super) length: usize,
    pub(super) inverse: bool,
}

impl Rope {
    fn turn(&self, x: &[f32], width: usize) -> Vec<f32> {
        let half = self.rotary.half;
        let sign = if self.inverse { -1.0 } else { 1.0 };
        let mut y = vec![0.0; x.len()];
        y.par_chunks_mut(width).zip(x.par_chunks(width)).with_min_len(64).enumerate().for_each(
            |(row, (y, x))| {
                let start = row % self.length * half;
                let (cos, sin) =
                    (&self.rotary.cos[start..start + half], &self.rotary.sin[start..start + half]);
                for (y, x) in y.chunks_exact_mut(2 * half).zip(x.chunks_exact(2 * half)) {
                    let ((y0, y1), (x0, x1)) = (y.split_at_mut(half), x.split_at(half));
                    for i in 0..half {
                        let sin = sin[i] * sign;
                        y0[i] = x0[i] * cos[i] - x1[i] * sin;
                        y1[i] = x1[i] * cos[i] + x0[i] * sin;
                    }
                }
            },
        );
        y
    }
}

impl CustomOp1 for Rope {
    fn name(&self) -> &'static str {
        "rope"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let width = layout.shape().dims2()?.1;
        if self.length > self.rotary.length() || !width.is_multiple_of(2 * self.rotary.half) {
            bail!("rope: rows of {width} at {} positions do not fit the tables", self.length);
        }
        Ok((CpuStorage::F32(self.turn(rows::slice(x, layout)?, width)), layout.shape().clone()))
    }

    fn bwd(&self, _x: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let back = Self { rotary: self.rotary.clone(), length: self.length, inverse: !self.inverse };
        gradient.contiguous()?.apply_op1_no_bwd(&back).map(Some)
    }
}
