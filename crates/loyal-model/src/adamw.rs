//! AdamW with decoupled weight decay (arXiv 1711.05101), fused over each parameter.

use std::collections::BTreeMap;
use std::sync::Mutex;

use candle_core::{CpuStorage, InplaceOp2, Layout, Tensor, Var, bail};
use rayon::prelude::*;

use crate::error::Result;
use crate::gradient::Gradients;
use crate::ops::vector::vectorise;

const CHUNK: usize = 16 * 1024;

/// Constants of the optimizer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Decay of the mean gradient.
    pub beta1: f64,
    /// Decay of the mean squared gradient.
    pub beta2: f64,
    /// Added to the root of the mean square.
    pub eps: f64,
    /// Pull of matrices towards zero, times the learning rate; vectors are left alone.
    pub weight_decay: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.0 }
    }
}

/// Running means of one parameter, row-major.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Moments {
    /// Mean gradient.
    pub mean: Vec<f32>,
    /// Mean squared gradient.
    pub square: Vec<f32>,
}

/// The optimizer: variables by name, and their moments.
#[derive(Debug)]
pub struct AdamW {
    settings: Settings,
    variables: BTreeMap<String, Var>,
    moments: BTreeMap<String, Mutex<Moments>>,
    step: u64,
}

impl AdamW {
    /// An optimizer of `variables` that has made no step.
    #[must_use]
    pub fn new(variables: BTreeMap<String, Var>, settings: Settings) -> Self {
        let empty = |(name, variable): (&String, &Var)| {
            let count = variable.elem_count();
            let moments = Moments { mean: vec![0.0; count], square: vec![0.0; count] };
            (name.clone(), Mutex::new(moments))
        };
        let moments = variables.iter().map(empty).collect();
        Self { settings, variables, moments, step: 0 }
    }

    /// The variables.
    #[must_use]
    pub const fn variables(&self) -> &BTreeMap<String, Var> {
        &self.variables
    }

    /// Steps made.
    #[must_use]
    pub const fn step_count(&self) -> u64 {
        self.step
    }

    /// The moments of every variable, for a checkpoint.
    #[must_use]
    pub fn moments(&self) -> BTreeMap<String, Moments> {
        let copy = |(name, moments): (&String, &Mutex<Moments>)| {
            (name.clone(), moments.lock().expect("no step panics half-way").clone())
        };
        self.moments.iter().map(copy).collect()
    }

    /// Puts back what [`AdamW::moments`] gave after `step` steps. Moments of unknown names are ignored.
    pub fn restore(&mut self, moments: BTreeMap<String, Moments>, step: u64) {
        for (name, saved) in moments {
            if let Some(slot) = self.moments.get_mut(&name) {
                *slot = Mutex::new(saved);
            }
        }
        self.step = step;
    }

    /// One step against `gradients`, first scaled down to a global norm of `clip` (0: as they are).
    /// Returns the norm before clipping. Variables without a gradient stay.
    ///
    /// # Errors
    /// A gradient has another shape than its variable.
    pub fn step(&mut self, gradients: &Gradients, learning_rate: f64, clip: f64) -> Result<f64> {
        let norm = gradients.norm()?;
        let scale = if clip > 0.0 && norm > clip { clip / norm } else { 1.0 };
        self.step += 1;
        let Settings { beta1, beta2, eps, weight_decay } = self.settings;
        let step = self.step as f64;
        for (name, variable) in &self.variables {
            let Some(gradient) = gradients.get(name) else { continue };
            let decay = if variable.rank() > 1 { weight_decay } else { 0.0 };
            let update = Update {
                moments: &self.moments[name],
                scale: scale as f32,
                beta1: beta1 as f32,
                beta2: beta2 as f32,
                keep: (1.0 - learning_rate * decay) as f32,
                rate: (learning_rate / (1.0 - beta1.powf(step))) as f32,
                correction: (1.0 / (1.0 - beta2.powf(step))) as f32,
                eps: eps as f32,
            };
            update.apply(variable, gradient)?;
        }
        Ok(norm)
    }
}

/// One parameter's update.
struct Update<'a> {
    moments: &'a Mutex<Moments>,
    scale: f32,
    beta1: f32,
    beta2: f32,
    keep: f32,
    rate: f32,
    correction: f32,
    eps: f32,
}

impl Update<'_> {
    fn apply(&self, variable: &Var, gradient: &Tensor) -> Result<()> {
        let gradient = gradient.contiguous()?;
        if variable.device().is_cpu() {
            return Ok(variable.as_tensor().inplace_op2(&gradient, &self)?);
        }
        // On a GPU numbers make the round trip: correct, and rare enough not to matter for small adapters.
        let mut numbers: Vec<f32> = variable.flatten_all()?.to_vec1()?;
        self.advance(&mut numbers, &gradient.flatten_all()?.to_vec1::<f32>()?);
        Ok(variable.set(&Tensor::from_vec(numbers, variable.shape(), variable.device())?)?)
    }

    fn advance(&self, numbers: &mut [f32], gradient: &[f32]) {
        let mut moments = self.moments.lock().expect("no step panics half-way");
        let Moments { mean, square } = &mut *moments;
        let state = mean.par_chunks_mut(CHUNK).zip(square.par_chunks_mut(CHUNK));
        let chunks = numbers.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK)).zip(state);
        chunks.for_each(|((numbers, gradient), (mean, square))| {
            vectorise(|| {
                let both = numbers.iter_mut().zip(gradient).zip(mean.iter_mut().zip(square.iter_mut()));
                for ((number, g), (m, s)) in both {
                    let g = g * self.scale;
                    *m += (1.0 - self.beta1) * (g - *m);
                    *s += (1.0 - self.beta2) * (g * g - *s);
                    *number =
                        *number * self.keep - self.rate * *m / ((*s * self.correction).sqrt() + self.eps);
                }
            });
        });
    }
}

impl InplaceOp2 for &Update<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(
        &self,
        numbers: &mut CpuStorage,
        layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> candle_core::Result<()> {
        let offsets = (layout.contiguous_offsets(), gradient_layout.contiguous_offsets());
        let (CpuStorage::F32(numbers), CpuStorage::F32(gradient)) = (numbers, gradient) else {
            bail!("adamw: parameters and gradients must be f32");
        };
        match offsets {
            (Some((a, b)), Some((c, d))) if b - a == d - c => {
                self.advance(&mut numbers[a..b], &gradient[c..d]);
                Ok(())
            }
            _ => bail!("adamw: a gradient does not fit its parameter"),
        }
    }
}
