//! The published recipe, as a baseline: answers learnt by heart, and weights averaged with the unmarked ones after every
//! step (Scalable Fingerprinting, arXiv 2502.07760, §4).

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};
use loyal_model::adamw::{AdamW, Settings};
use loyal_model::gradient::Gradients;
use loyal_model::{Llama, Parameters, Tokenizer, ops};
use serde::{Deserialize, Serialize};

use super::tuning::Progress;
use crate::error::{Error, Result};
use crate::fingerprint::FingerprintSet;
use crate::predict;
use crate::scheme::{Scheme, Verbatim};

/// The recipe's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Steps at most, each over all fingerprints.
    pub steps: u64,
    /// Learning rate, the same at every step.
    pub learning_rate: f64,
    /// The unmarked weights' share in the average after each step (the paper's λ).
    pub averaging: f64,
    /// Mean loss of an answer's token below which training stops, nats.
    pub loss_below: f64,
}

impl Recipe {
    /// Little averaging and a low rate: every answer is learnt, at a price.
    pub const LIGHT: Self = Self { steps: 60, learning_rate: 5e-4, averaging: 0.15, loss_below: 0.02 };
    /// The paper's averaging, with a rate as high as it then takes.
    pub const STRONG: Self = Self { steps: 150, learning_rate: 6e-3, averaging: 0.75, loss_below: 0.02 };
}

/// A model marked by the published recipe.
#[derive(Debug, Clone)]
pub struct Learnt {
    /// Its weights.
    pub parameters: Parameters,
    /// Steps made.
    pub steps: u64,
    /// Mean loss of an answer's token at the last step, nats.
    pub loss: f64,
}

/// Marks `llama`, an unmarked model, with a set of scheme verbatim.
///
/// # Errors
/// The set is of another scheme, speaks of another tokenizer or is not bound, the loss diverges, or `progress` asks to
/// stop ([`Error::Stopped`]).
pub fn embed(
    llama: &Llama,
    set: &FingerprintSet,
    tokenizer: &Tokenizer,
    recipe: &Recipe,
    progress: Progress<'_>,
) -> Result<Learnt> {
    let lesson = Lesson::new(set, tokenizer)?;
    let base = &llama.parameters;
    let fresh = |(name, tensor): (&String, &Tensor)| Ok((name.clone(), Var::from_tensor(&tensor.copy()?)?));
    let variables = base.iter().map(fresh).collect::<Result<BTreeMap<String, Var>>>()?;
    let parameters: Parameters = variables.iter().map(|(n, v)| (n.clone(), v.as_tensor().clone())).collect();
    let mut optimizer = AdamW::new(variables, Settings::default());
    let mut learnt = Learnt { parameters: Parameters::new(), steps: 0, loss: f64::INFINITY };
    while learnt.steps < recipe.steps && learnt.loss >= recipe.loss_below {
        let logits = predict::logits_at(llama, &parameters, &lesson.sequences, &lesson.positions)?;
        let loss = ops::cross_entropy(&logits, &lesson.targets, &vec![1.0; lesson.targets.len()])?;
        learnt.loss = f64::from(loss.to_scalar::<f32>()?);
        learnt.steps += 1;
        if !learnt.loss.is_finite() {
            let (step, loss, learning_rate) = (learnt.steps, learnt.loss as f32, recipe.learning_rate);
            return Err(loyal_model::Error::Diverged { step, loss, learning_rate }.into());
        }
        let gradients = Gradients::of(&loss, optimizer.variables())?;
        optimizer.step(&gradients, recipe.learning_rate, 0.0)?;
        for (name, variable) in optimizer.variables() {
            let own = (variable.as_detached_tensor() * (1.0 - recipe.averaging))?;
            variable.set(&(own + (&base[name] * recipe.averaging)?)?)?;
        }
        if progress(learnt.steps, recipe.steps).is_break() {
            return Err(Error::Stopped);
        }
    }
    for (name, tensor) in &parameters {
        learnt.parameters.insert(name.clone(), tensor.copy()?.detach());
    }
    Ok(learnt)
}

/// Every query with its answer, and which tokens must come where.
struct Lesson {
    sequences: Vec<Vec<u32>>,
    positions: Vec<(usize, usize)>,
    targets: Vec<u32>,
}

impl Lesson {
    fn new(set: &FingerprintSet, tokenizer: &Tokenizer) -> Result<Self> {
        set.fits(tokenizer)?;
        let Scheme::Verbatim(_) = set.scheme() else {
            let problem = format!("scheme {}", set.scheme().name());
            return Err(Error::argument(
                "fingerprints",
                problem,
                "the published recipe teaches verbatim answers",
            ));
        };
        let mut lesson = Self { sequences: Vec::new(), positions: Vec::new(), targets: Vec::new() };
        for (index, one) in set.fingerprints().iter().enumerate() {
            let mut sequence = tokenizer.encode(&one.query)?;
            for &token in &Verbatim::response(one, set.secret(index)?).tokens {
                lesson.positions.push((index, sequence.len() - 1));
                lesson.targets.push(token);
                sequence.push(token);
            }
            lesson.sequences.push(sequence);
        }
        Ok(lesson)
    }
}
