//! The controller that holds the harm: it weighs the divergence on ordinary text against the marks.

use candle_core::{Device, Tensor, Var};

use crate::error::Result;

/// Name under which the state travels in a checkpoint. No gradient ever reaches it.
pub(super) const NAME: &str = "controller";
/// Steps before the weight moves.
const PATIENCE: u64 = 8;
const START: f32 = 8.0;
const RANGE: std::ops::RangeInclusive<f64> = 1.0..=60.0;

/// Running mean and weight, kept in a tensor so that checkpoints hold them.
pub(super) struct Controller {
    goal: f64,
    state: Var,
}

impl Controller {
    pub(super) fn new(goal: f64, device: &Device) -> Result<Self> {
        // A negative mean says that nothing was seen yet.
        Ok(Self { goal, state: Var::new(&[START, -1.0], device)? })
    }

    pub(super) const fn state(&self) -> &Var {
        &self.state
    }

    fn read(&self) -> Result<(f64, f64)> {
        let numbers: Vec<f32> = self.state.to_vec1()?;
        Ok((f64::from(numbers[0]), f64::from(numbers[1])))
    }

    /// Weight of the divergence in the loss.
    pub(super) fn weight(&self) -> Result<f64> {
        Ok(self.read()?.0)
    }

    /// Takes in one step's divergence and returns the running mean.
    pub(super) fn update(&self, divergence: f64, step: u64) -> Result<f64> {
        let (mut weight, mean) = self.read()?;
        let mean = if mean < 0.0 { divergence } else { 0.7 * mean + 0.3 * divergence };
        if step > PATIENCE {
            let excess = (mean / self.goal - 1.0).clamp(-1.0, 1.0);
            weight = (weight * (0.15 * excess).exp()).clamp(*RANGE.start(), *RANGE.end());
        }
        self.state.set(&Tensor::new(&[weight as f32, mean as f32], self.state.device())?)?;
        Ok(mean)
    }
}
