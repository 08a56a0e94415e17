//! SwiGLU: silu(gate) · up.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::rows;
use super::vector::{exp, vectorise};

const CHUNK: usize = 16 * 1024;

pub(super) struct SwiGlu;

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

impl CustomOp2 for SwiGlu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        gate_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (gate, up) = (rows::slice(gate, gate_layout)?, rows::slice(up, up_layout)?);
        if gate.len() != up.len() {
            bail!("swiglu: {} gates for {} numbers", gate.len(), up.len());
        }
        let mut y = vec![0.0; gate.len()];
        let chunks = y.par_chunks_mut(CHUNK).zip(gate.par_chunks(CHUNK)).zip(up.par_chunks(CHUNK));
        chunks.for_each(|((y, gate), up)| {
            vectorise(|| {
                for ((y, &gate), &up) in y.iter_mut().zip(gate).zip(up) {
                    *y = gate * sigmoid(gate) * up;
                }
            });
        });
        Ok((CpuStorage::F32(y), gate_layout.shape().clone()))
    }

    fn bwd(
        &self,
        gate: &Tensor,
        up: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let shape = gate.shape().clone();
        let (for_gate, for_up) = rows::with(gate, |gate| {
            rows::with(up, |up| rows::with(gradient, |gradient| Ok(gradients(gate, up, gradient))))
        })?;
        Ok((
            Some(Tensor::from_vec(for_gate, shape.clone(), gate.device())?),
            Some(Tensor::from_vec(for_up, shape, gate.device())?),
        ))
    }
}

fn gradients(gate: &[f32], up: &[f32], gradient: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let (mut for_gate, mut for_up) = (vec![0.0; gate.len()], vec![0.0; gate.len()]);
    let outputs = for_gate.par_chunks_mut(CHUNK).zip(for_up.par_chunks_mut(CHUNK));
    let inputs = gate.par_chunks(CHUNK).zip(up.par_chunks(CHUNK)).zip(gradient.par_chunks(CHUNK));
    outputs.zip(inputs).for_each(|((for_gate, for_up), ((gate, up), gradient))| {
        vectorise(|| {
            let outputs = for_gate.iter_mut().zip(for_up.iter_mut());
            for ((for_gate, for_up), ((&gate, &up), &g)) in outputs.zip(gate.iter().zip(up).zip(gradient)) {
                let s = sigmoid(gate);
                *for_up = g * gate * s;
                *for_gate = g * up * s * (1.0 + gate * (1.0 - s));
            }
        });
    });
    (for_gate, for_up)
}
