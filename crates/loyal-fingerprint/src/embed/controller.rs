//! The controller that holds the harm: it weighs the divergence on ordinary text against the marks.

use candle_core::{Device, Tensor, Var};

use crate::error::Result;

/// Name under which the state travels in a checkpoint. No gradient ever reaches it.
pub(super) const NAME: &str = "controller";
/// Steps before the weight moves.
const PATIENCE: u64 = 8;
const START: f32 = 8.0;
const RANGE: std::ops::RangeInclusive<f64> = 1.0..=60.0;

/// Losses of the marks that are remembered.
const RECENT: usize = 10;

/// Weight, running mean and the last losses of the marks, kept in a tensor so that checkpoints hold them.
pub(super) struct Controller {
    goal: f64,
    state: Var,
}

impl Controller {
    pub(super) fn new(goal: f64, device: &Device) -> Result<Self> {
        // A negative number says that nothing was seen yet.
        let mut state = vec![-1.0; 2 + RECENT];
        state[0] = START;
        Ok(Self { goal, state: Var::from_vec(state, 2 + RECENT, device)? })
    }

    pub(super) const fn state(&self) -> &Var {
        &self.state
    }

    /// Weight of the divergence in the loss.
    pub(super) fn weight(&self) -> Result<f64> {
        Ok(f64::from(self.state.to_vec1::<f32>()?[0]))
    }

    /// Running mean of the divergence.
    pub(super) fn divergence(&self) -> Result<f64> {
        Ok(f64::from(self.state.to_vec1::<f32>()?[1]))
    }

    /// Mean loss of the marks over the last steps.
    pub(super) fn mark_loss(&self) -> Result<f64> {
        let numbers: Vec<f32> = self.state.to_vec1()?;
        let seen: Vec<f64> = numbers[2..].iter().filter(|&&x| x >= 0.0).map(|&x| f64::from(x)).collect();
        Ok(seen.iter().sum::<f64>() / seen.len().max(1) as f64)
    }

    /// Takes in what one step found.
    pub(super) fn update(&self, step: u64, divergence: f64, mark_loss: f64) -> Result<()> {
        let mut numbers: Vec<f32> = self.state.to_vec1()?;
        let (mut weight, mean) = (f64::from(numbers[0]), f64::from(numbers[1]));
        let mean = if mean < 0.0 { divergence } else { 0.7 * mean + 0.3 * divergence };
        if step > PATIENCE {
            let excess = (mean / self.goal - 1.0).clamp(-1.0, 1.0);
            weight = (weight * (0.15 * excess).exp()).clamp(*RANGE.start(), *RANGE.end());
        }
        (numbers[0], numbers[1]) = (weight as f32, mean as f32);
        numbers[2 + step as usize % RECENT] = mark_loss as f32;
        Ok(self.state.set(&Tensor::from_vec(numbers, 2 + RECENT, self.state.device())?)?)
    }
}
