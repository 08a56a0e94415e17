//! RMSNorm, forward and backward in one pass over each row.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::rows;
use super::vector::{sum, vectorise};

/// Rows whose gradients for the weight are summed together: fixed, so that sums do not depend on threads.
const BLOCK: usize = 32;

pub(super) struct RmsNorm {
    pub(super) eps: f32,
}

impl RmsNorm {
    #[inline(always)]
    fn inverse(&self, row: &[f32]) -> f32 {
        1.0 / (sum(row, |x| x * x) / row.len() as f32 + self.eps).sqrt()
    }
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight) = (rows::slice(x, x_layout)?, rows::slice(weight, weight_layout)?);
        let width = weight.len();
        if width == 0 || !x.len().is_multiple_of(width) {
            bail!("rms_norm: {} numbers do not split into rows of {width}", x.len());
        }
        let mut y = vec![0.0; x.len()];
        let blocks = y.par_chunks_mut(width * BLOCK).zip(x.par_chunks(width * BLOCK));
        blocks.for_each(|(y, x)| {
            vectorise(|| {
                for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                    let inverse = self.inverse(x);
                    for ((y, x), w) in y.iter_mut().zip(x).zip(weight) {
                        *y = x * inverse * w;
                    }
                }
            });
        });
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (shape, width) = (x.shape().clone(), weight.elem_count());
        let (for_x, for_weight) =
            rows::with(x, |x| rows::with(weight, |w| rows::with(gradient, |g| Ok(self.gradients(x, w, g)))))?;
        Ok((
            Some(Tensor::from_vec(for_x, shape, x.device())?),
            weight.track_op().then(|| Tensor::from_vec(for_weight, width, x.device())).transpose()?,
        ))
    }
}

impl RmsNorm {
    fn gradients(&self, x: &[f32], weight: &[f32], gradient: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let width = weight.len();
        let mut for_x = vec![0.0; x.len()];
        let size = width * BLOCK;
        let blocks = for_x.par_chunks_mut(size).zip(x.par_chunks(size)).zip(gradient.par_chunks(size));
        let partial: Vec<Vec<f32>> = blocks
            .map(|((for_x, x), g)| {
                let mut for_weight = vec![0.0; width];
                let rows =
                    for_x.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(g.chunks_exact(width));
                vectorise(|| {
                    for ((for_x, x), g) in rows {
                        self.row_gradients(RowGradients { x, weight, g, for_x, for_weight: &mut for_weight });
                    }
                });
                for_weight
            })
            .collect();
        let mut for_weight = vec![0.0; width];
        for block in partial {
            for (sum, number) in for_weight.iter_mut().zip(block) {
                *sum += number;
            }
        }
        (for_x, for_weight)
    }

    #[inline(always)]
    fn row_gradients(&self, row: RowGradients<'_>) {
        let RowGradients { x, weight, g, for_x, for_weight } = row;
        let inverse = self.inverse(x);
        for (out, (((x, w), g), sum)) in
            for_x.iter_mut().zip(x.iter().zip(weight).zip(g).zip(for_weight.iter_mut()))
        {
            let slope = g * x * inverse;
            *sum += slope;
            *out = slope * w;
        }
        let mean = sum(for_x, |slope| slope) / x.len() as f32;
        for (((out, x), w), g) in for_x.iter_mut().zip(x).zip(weight).zip(g) {
            *out = inverse * (g * w - x * inverse * mean);
        }
    }
}

struct RowGradients<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    g: &'a [f32],
    for_x: &'a mut [f32],
    for_weight: &'a mut [f32],
}
