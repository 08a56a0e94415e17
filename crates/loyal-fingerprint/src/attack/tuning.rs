//! What an attacker trains: fine-tuning, erasure in two phases, distillation, smoothing.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use candle_core::{Tensor, Var};
use loyal_model::adamw::{AdamW, Settings};
use loyal_model::gradient::Gradients;
use loyal_model::lora::{self, Lora};
use loyal_model::train::{self, Ending, Example, Examples, Plan, Trained};
use loyal_model::{Batch, Llama, Parameters, Tokenizer, ops};
use loyal_types::Clock;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::smooth;
use crate::error::{Error, Result};

/// Sequences of a step of fine-tuning, and tokens of each.
pub const BATCH: (usize, usize) = (16, 64);
/// The same where a model learns from another one.
const DISTILLED: (usize, usize) = (32, 24);
const LEARNING_RATE: f64 = 3e-4;
/// Adapters take a higher one.
const ADAPTER_LEARNING_RATE: f64 = 1e-3;

/// Called with the steps made and the steps in all; may stop the work.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64) -> ControlFlow<()>;

/// Which text an attacker trains on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Text {
    /// Of the kind the model was made for.
    Same,
    /// Of another kind.
    Other,
}

/// A training of an attacker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tuning {
    /// Ordinary training on text.
    FineTune {
        /// The text.
        text: Text,
        /// Steps of sixteen sequences of 64 tokens.
        steps: u64,
        /// Rank of adapters; 0 trains every weight.
        rank: usize,
    },
    /// As `MEraser` does (arXiv 2506.12551): first text whose halves do not belong together, so that what follows from
    /// a prompt is unlearnt, then ordinary text until the model is good again.
    Erase {
        /// Steps of the first phase; the second has twice as many.
        steps: u64,
    },
    /// The model learns to say what another model says.
    Distil {
        /// Steps of 32 sequences of 24 tokens.
        steps: u64,
    },
    /// The model learns to say to a prompt what it says to near variants of it: prompts it wrote itself, as an owner
    /// would write queries.
    Smooth {
        /// Steps of 32 prompts.
        steps: u64,
    },
}

/// What trainings stand on.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// The shape of the model.
    pub llama: &'a Llama,
    /// Its tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// Tokens of text of the kind the model was made for.
    pub same: &'a [u32],
    /// Tokens of text of another kind.
    pub other: &'a [u32],
    /// Time, for progress.
    pub clock: &'a dyn Clock,
    /// Seed of batches.
    pub seed: u64,
}

impl std::fmt::Debug for Ground<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let texts = (self.same.len(), self.other.len());
        f.debug_struct("Ground").field("texts", &texts).field("seed", &self.seed).finish_non_exhaustive()
    }
}

impl Tuning {
    /// The trained weights. `other` is the model that is learnt from.
    ///
    /// # Errors
    /// There is too little text, the loss diverges, or `progress` asks to stop ([`Error::Stopped`]).
    pub fn apply(
        &self,
        marked: &Parameters,
        other: Option<&Parameters>,
        ground: &Ground<'_>,
        progress: Progress<'_>,
    ) -> Result<Parameters> {
        match *self {
            Self::FineTune { text, steps, rank } => {
                let lessons = Lessons::new(ground, text, false)?;
                fine_tune(marked, ground, (&lessons, steps, rank), progress)
            }
            Self::Erase { steps } => erase(marked, ground, steps, progress),
            Self::Distil { steps } => {
                let teacher = other.unwrap_or(marked);
                descend(marked, ground, steps, progress, &mut |parameters, draw| {
                    let batch = batch(ground.same, DISTILLED, draw)?;
                    let reference = ground.llama.logits(teacher, &batch)?;
                    Ok(ops::kl_divergence(&reference, &ground.llama.logits(parameters, &batch)?)?)
                })
            }
            Self::Smooth { steps } => smooth::run(marked, ground, steps, progress),
        }
    }
}

/// Windows of text in an order of their own for every epoch.
struct Lessons<'a> {
    tokens: &'a [u32],
    shape: (usize, usize),
    seed: u64,
    is_mismatched: bool,
}

impl<'a> Lessons<'a> {
    fn new(ground: &Ground<'a>, text: Text, is_mismatched: bool) -> Result<Self> {
        let (tokens, name) = match text {
            Text::Same => (ground.same, "text"),
            Text::Other => (ground.other, "other text"),
        };
        let wanted = BATCH.0 * (BATCH.1 + 1);
        if tokens.len() < wanted {
            return Err(Error::argument(
                name,
                format!("{} tokens", tokens.len()),
                format!("give {wanted} or more"),
            ));
        }
        Ok(Self { tokens, shape: BATCH, seed: ground.seed, is_mismatched })
    }

    fn order(&self, epoch: u64) -> Vec<usize> {
        let mut draw = ChaCha8Rng::seed_from_u64(self.seed ^ 0x7475_6e65);
        draw.set_stream(epoch);
        let mut starts: Vec<usize> =
            (0..(self.tokens.len() - 1) / self.shape.1).map(|at| at * self.shape.1).collect();
        starts.shuffle(&mut draw);
        starts
    }
}

/// Steps of one pass over `tokens` of text.
#[must_use]
pub const fn epoch_steps(tokens: usize) -> u64 {
    (tokens / (BATCH.0 * BATCH.1)) as u64
}

impl Examples for Lessons<'_> {
    fn at(&self, index: u64) -> loyal_model::Result<Example> {
        let (count, length) = self.shape;
        let per_epoch = epoch_steps(self.tokens.len() - 1).max(1);
        let order = self.order(index / per_epoch);
        let first = (index % per_epoch) as usize * count;
        let start = |slot: usize| order[(first + slot) % order.len()];
        let (mut tokens, mut targets) = (Vec::new(), Vec::new());
        for slot in 0..count {
            let mut window = self.tokens[start(slot)..=start(slot) + length].to_vec();
            if self.is_mismatched {
                // The second half of another window.
                let other = start(slot + count / 2 + 1);
                window[length / 2..].copy_from_slice(&self.tokens[other + length / 2..=other + length]);
            }
            tokens.extend_from_slice(&window[..length]);
            targets.extend_from_slice(&window[1..]);
        }
        let weights = vec![1.0; targets.len()];
        Ok(Example { batch: Batch::new(tokens, length)?, targets, weights })
    }

    fn identity(&self) -> String {
        format!("{} tokens, seed {}", self.tokens.len(), self.seed)
    }
}

fn fine_tune(
    marked: &Parameters,
    ground: &Ground<'_>,
    (lessons, steps, rank): (&Lessons<'_>, u64, usize),
    progress: Progress<'_>,
) -> Result<Parameters> {
    let mut llama = with(ground.llama, marked);
    let adapters = match rank {
        0 => None,
        rank => {
            let settings = lora::Settings { rank, alpha: 2.0 * rank as f64, ..lora::Settings::default() };
            Some(Lora::new(&llama, settings, ground.seed)?)
        }
    };
    let (trained, learning_rate) = match &adapters {
        None => (Trained::Everything, LEARNING_RATE),
        Some(lora) => (Trained::Adapters(lora), ADAPTER_LEARNING_RATE),
    };
    let plan = Plan { steps, learning_rate, warmup_steps: steps.min(5), trained, ..Plan::default() };
    let done =
        train::run(&mut llama, &plan, lessons, ground.clock, &mut |now| progress(now.step, now.steps))?;
    if done.ending == Ending::Stopped {
        return Err(Error::Stopped);
    }
    match &adapters {
        None => Ok(llama.parameters),
        Some(lora) => Ok(lora.merge(marked)?),
    }
}

fn erase(marked: &Parameters, ground: &Ground<'_>, steps: u64, progress: Progress<'_>) -> Result<Parameters> {
    let all = 3 * steps;
    let mut llama = with(ground.llama, marked);
    for (is_mismatched, learning_rate, steps, before) in
        [(true, 1e-3, steps, 0), (false, 5e-4, 2 * steps, steps)]
    {
        let lessons = Lessons::new(ground, Text::Same, is_mismatched)?;
        let plan = Plan { steps, learning_rate, warmup_steps: steps.min(5), ..Plan::default() };
        let mut step = |now: &train::Progress| progress(before + now.step, all);
        if train::run(&mut llama, &plan, &lessons, ground.clock, &mut step)?.ending == Ending::Stopped {
            return Err(Error::Stopped);
        }
    }
    Ok(llama.parameters)
}

/// A model of the same shape with other weights.
pub(super) fn with(llama: &Llama, parameters: &Parameters) -> Llama {
    let mut other = llama.clone();
    other.parameters = parameters.clone();
    other
}

/// Tokens of a batch drawn from `text`.
pub(super) fn batch(text: &[u32], (count, length): (usize, usize), draw: &mut ChaCha8Rng) -> Result<Batch> {
    if text.len() <= length {
        return Err(Error::argument("text", format!("{} tokens", text.len()), "give more of it"));
    }
    let starts = (0..count).map(|_| draw.random_range(0..text.len() - length));
    let tokens = starts.flat_map(|start| &text[start..start + length]).copied().collect();
    Ok(Batch::new(tokens, length)?)
}

/// A loss of the parameters, for one step.
pub(super) type Loss<'a> = &'a mut dyn FnMut(&Parameters, &mut ChaCha8Rng) -> Result<Tensor>;

/// Trains all weights against any loss.
pub(super) fn descend(
    start: &Parameters,
    ground: &Ground<'_>,
    steps: u64,
    progress: Progress<'_>,
    loss: Loss<'_>,
) -> Result<Parameters> {
    let fresh = |(name, tensor): (&String, &Tensor)| Ok((name.clone(), Var::from_tensor(&tensor.copy()?)?));
    let variables = start.iter().map(fresh).collect::<Result<BTreeMap<String, Var>>>()?;
    let parameters: Parameters = variables.iter().map(|(n, v)| (n.clone(), v.as_tensor().clone())).collect();
    let mut optimizer = AdamW::new(variables, Settings::default());
    let plan = Plan { steps, learning_rate: LEARNING_RATE, warmup_steps: steps.min(5), ..Plan::default() };
    for step in 0..steps {
        let mut draw = ChaCha8Rng::seed_from_u64(ground.seed);
        draw.set_stream(step + 1);
        let gradients = Gradients::of(&loss(&parameters, &mut draw)?, optimizer.variables())?;
        optimizer.step(&gradients, plan.learning_rate_at(step), plan.clip)?;
        if progress(step + 1, steps).is_break() {
            return Err(Error::Stopped);
        }
    }
    parameters.iter().map(|(name, tensor)| Ok((name.clone(), tensor.copy()?.detach()))).collect()
}
