//! Gradients by parameter name: taken from a loss, added up, measured.

use std::collections::BTreeMap;

use candle_core::{Storage, Tensor, Var};
use rayon::prelude::*;

use crate::error::Result;
use crate::llama::{Batch, Llama, Parameters};
use crate::ops::vector::{sum, vectorise};

/// Gradients of some variables.
#[derive(Debug, Clone, Default)]
pub struct Gradients(BTreeMap<String, Tensor>);

impl Gradients {
    /// Runs the backward pass of `loss` and keeps the gradients of `variables`.
    ///
    /// # Errors
    /// The tensor engine fails.
    pub fn of(loss: &Tensor, variables: &BTreeMap<String, Var>) -> Result<Self> {
        let mut store = loss.backward()?;
        let taken = variables.iter().filter_map(|(name, v)| Some((name.clone(), store.remove(v)?)));
        Ok(Self(taken.collect()))
    }

    /// The gradient of one variable, if the loss depends on it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    /// Names of the variables that have a gradient.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Adds `others` times `factor`.
    ///
    /// # Errors
    /// Shapes differ.
    pub fn add(&mut self, others: Self, factor: f64) -> Result<()> {
        for (name, other) in others.0 {
            let other = if factor == 1.0 { other } else { (other * factor)? };
            let sum = match self.0.remove(&name) {
                Some(own) => (own + other)?,
                None => other,
            };
            self.0.insert(name, sum);
        }
        Ok(())
    }

    /// The Euclidean norm over all gradients.
    ///
    /// # Errors
    /// The device refuses.
    pub fn norm(&self) -> Result<f64> {
        let mut total = 0.0;
        for gradient in self.0.values() {
            total += square_sum(&gradient.contiguous()?)?;
        }
        Ok(total.sqrt())
    }
}

/// Σ x² in fixed chunks, so that the sum does not depend on the number of threads.
fn square_sum(tensor: &Tensor) -> Result<f64> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else {
        drop(storage);
        return Ok(f64::from(tensor.sqr()?.sum_all()?.to_scalar::<f32>()?));
    };
    let numbers = storage.as_slice::<f32>()?;
    let start = layout.start_offset();
    let numbers = &numbers[start..start + layout.shape().elem_count()];
    let of_chunk = |chunk: &[f32]| f64::from(vectorise(|| sum(chunk, |x| x * x)));
    let sums: Vec<f64> = numbers.par_chunks(4096).map(of_chunk).collect();
    Ok(sums.iter().sum())
}

/// Gradients of the masked cross-entropy of `batch`, keeping only each block's input and computing the block
/// again on the way back (activation checkpointing, arXiv 1604.06174): memory of one block instead of all.
///
/// `parameters` must be variables themselves or independent of them; returns the loss and the gradients of
/// those parameters that are variables.
///
/// # Errors
/// As [`Llama::hidden`].
pub fn checkpointed(
    llama: &Llama,
    parameters: &Parameters,
    variables: &BTreeMap<String, Var>,
    batch: &Batch,
    loss: &dyn Fn(&Tensor) -> Result<Tensor>,
) -> Result<(f32, Gradients)> {
    let shape = (batch.count(), batch.length());
    let frozen: Parameters =
        parameters.iter().map(|(name, tensor)| (name.clone(), tensor.detach())).collect();
    let mut inputs = vec![llama.embed(&frozen, batch)?];
    for layer in 0..llama.config.layer_count {
        let next = llama.block(&frozen, layer, &inputs[layer], shape, &mut |_, _| Ok(()))?;
        inputs.push(next);
    }
    let last = Var::from_tensor(&inputs.pop().expect("the embedding is an input"))?;
    let value = loss(&llama.norm(parameters, &last)?)?;
    let (mut gradients, mut slope) = segment(&value, variables, &last)?;
    for layer in (0..llama.config.layer_count).rev() {
        let x = Var::from_tensor(&inputs.pop().expect("every block had an input"))?;
        let y = llama.block(parameters, layer, &x, shape, &mut |_, _| Ok(()))?;
        let (of_block, of_input) = segment(&(y * slope)?.sum_all()?, variables, &x)?;
        gradients.add(of_block, 1.0)?;
        slope = of_input;
    }
    let surrogate = (llama.embed(parameters, batch)? * slope)?.sum_all()?;
    gradients.add(Gradients::of(&surrogate, variables)?, 1.0)?;
    Ok((value.to_scalar()?, gradients))
}

/// Gradients of one segment's parameters and of its input.
fn segment(value: &Tensor, variables: &BTreeMap<String, Var>, input: &Var) -> Result<(Gradients, Tensor)> {
    let mut store = value.backward()?;
    let of_input = match store.remove(input) {
        Some(gradient) => gradient,
        None => input.zeros_like()?,
    };
    let taken = variables.iter().filter_map(|(name, v)| Some((name.clone(), store.remove(v)?)));
    Ok((Gradients(taken.collect()), of_input))
}
