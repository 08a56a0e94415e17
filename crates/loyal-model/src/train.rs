//! Training: one loop for pretraining, fine-tuning and adapters, resumable to the bit.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use candle_core::{Tensor, Var};
use loyal_types::Clock;

use crate::adamw::{self, AdamW};
use crate::checkpoint;
use crate::error::{Error, Result};
use crate::gradient::{self, Gradients};
use crate::llama::{Batch, Llama, Parameters};
use crate::lora::Lora;
use crate::ops;

/// Trains `llama` on `examples` by `plan` and returns how it went. With a checkpoint file the job resumes where
/// a killed one stopped, to the same bits. `report` is called after each step and may stop the job, which then
/// leaves a checkpoint and an [`Ending::Stopped`].
///
/// # Errors
/// The plan makes no sense, an example does not fit, the loss diverges, or a checkpoint cannot be written.
pub fn run(
    llama: &mut Llama,
    plan: &Plan<'_>,
    examples: &dyn Examples,
    clock: &dyn Clock,
    report: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Outcome> {
    plan.check()?;
    let mut job = Job::start(llama, plan, examples)?;
    let (started, first) = (clock.elapsed(), job.optimizer.step_count());
    let mut losses = Vec::new();
    while job.optimizer.step_count() < plan.steps {
        let step = job.optimizer.step_count();
        let learning_rate = plan.learning_rate_at(step);
        let taken = job.step(step, learning_rate)?;
        losses.push((step, taken.loss));
        let progress = Progress {
            step: step + 1,
            steps: plan.steps,
            loss: taken.loss,
            gradient_norm: taken.norm,
            learning_rate,
            tokens: taken.tokens * (step + 1 - first),
            elapsed: clock.elapsed().saturating_sub(started),
            first_step: first,
        };
        let stop = report(&progress).is_break();
        job.save_if_due(stop)?;
        if stop {
            job.finish()?;
            return Ok(Outcome { ending: Ending::Stopped, losses });
        }
    }
    job.finish()?;
    Ok(Outcome { ending: Ending::Finished, losses })
}

/// One training example batch: what goes in, what should come out, and how much each row counts.
#[derive(Debug, Clone)]
pub struct Example {
    /// The sequences.
    pub batch: Batch,
    /// The next token after each position.
    pub targets: Vec<u32>,
    /// Weight of each position; 0 masks it out.
    pub weights: Vec<f32>,
}

/// Where examples come from: a pure function of the index, so that a resumed job sees what a whole one would.
pub trait Examples {
    /// Micro-batch number `index`, counted from 0 over the whole job.
    ///
    /// # Errors
    /// The source cannot be read.
    fn at(&self, index: u64) -> Result<Example>;

    /// What identifies the source in a checkpoint.
    fn identity(&self) -> String;
}

/// What is trained.
#[derive(Debug, Clone, Copy)]
pub enum Trained<'a> {
    /// Every parameter.
    Everything,
    /// Adapters; the model's own parameters stay.
    Adapters(&'a Lora),
}

/// How to train.
#[derive(Debug, Clone)]
pub struct Plan<'a> {
    /// Steps in all.
    pub steps: u64,
    /// Micro-batches whose gradients are averaged in each step.
    pub accumulation: usize,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Steps of linear warm-up.
    pub warmup_steps: u64,
    /// The cosine ends at this fraction of the highest learning rate.
    pub floor: f64,
    /// Largest global gradient norm; 0 for no limit.
    pub clip: f64,
    /// The optimizer's constants.
    pub optimizer: adamw::Settings,
    /// What is trained.
    pub trained: Trained<'a>,
    /// Weight of KL(base ‖ model) on the same examples, against the model as it was at the start.
    pub kl_to_base: f64,
    /// Weight of the squared distance to the model as it was at the start.
    pub l2_to_base: f64,
    /// Whether to recompute blocks on the way back and save memory.
    pub recompute: bool,
    /// Where to keep checkpoints, and after how many steps.
    pub checkpoint: Option<(&'a Path, u64)>,
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Self {
            steps: 100,
            accumulation: 1,
            learning_rate: 1e-3,
            warmup_steps: 10,
            floor: 0.1,
            clip: 1.0,
            optimizer: adamw::Settings::default(),
            trained: Trained::Everything,
            kl_to_base: 0.0,
            l2_to_base: 0.0,
            recompute: false,
            checkpoint: None,
        }
    }
}

impl Plan<'_> {
    /// The learning rate of step `step`, counted from 0: linear warm-up, then a cosine to the floor.
    #[must_use]
    pub fn learning_rate_at(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return self.learning_rate * (step + 1) as f64 / self.warmup_steps as f64;
        }
        let rest = self.steps.saturating_sub(self.warmup_steps).max(1) as f64;
        let part = ((step - self.warmup_steps) as f64 / rest).min(1.0);
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * part).cos());
        self.learning_rate * (self.floor + (1.0 - self.floor) * cosine)
    }

    fn check(&self) -> Result<()> {
        let wrong = |name, problem: String, remedy: &str| {
            Err(Error::Argument { name, problem, remedy: remedy.to_owned() })
        };
        if !(self.learning_rate > 0.0 && self.learning_rate < 10.0) {
            return wrong("learning rate", self.learning_rate.to_string(), "choose one between 0 and 10");
        }
        if self.accumulation == 0 {
            return wrong("accumulation", "0 micro-batches".to_owned(), "choose 1 or more");
        }
        if self.recompute && (self.kl_to_base != 0.0 || self.l2_to_base != 0.0) {
            let problem = "recomputing blocks cannot be combined with a pull to the base".to_owned();
            return wrong("recompute", problem, "turn one of them off");
        }
        Ok(())
    }

    fn identity(&self, examples: &dyn Examples) -> String {
        format!(
            "steps {} accumulation {} rate {} warm-up {} floor {} clip {} {:?} kl {} l2 {} adapters {} on {}",
            self.steps,
            self.accumulation,
            self.learning_rate,
            self.warmup_steps,
            self.floor,
            self.clip,
            self.optimizer,
            self.kl_to_base,
            self.l2_to_base,
            matches!(self.trained, Trained::Adapters(_)),
            examples.identity()
        )
    }
}

/// What is known after a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Steps made, counted from 1.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    /// Mean loss of the step, nats per counted token.
    pub loss: f32,
    /// Gradient norm before clipping.
    pub gradient_norm: f64,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Tokens this process has trained on.
    pub tokens: u64,
    /// Time this process has trained.
    pub elapsed: Duration,
    /// Steps that were there when this process took over.
    pub first_step: u64,
}

impl Progress {
    /// Tokens a second.
    #[must_use]
    pub fn tokens_per_second(&self) -> f64 {
        self.tokens as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Time left at the pace so far.
    #[must_use]
    pub fn left(&self) -> Duration {
        let made = (self.step - self.first_step).max(1) as f64;
        self.elapsed.mul_f64((self.steps - self.step) as f64 / made)
    }
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All steps were made.
    Finished,
    /// It was asked to stop; a checkpoint, if the plan keeps them, holds the state.
    Stopped,
}

/// What a job leaves.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// Loss of each step this process made.
    pub losses: Vec<(u64, f32)>,
}

/// A job in progress.
struct Job<'a> {
    llama: &'a mut Llama,
    base: Option<Parameters>,
    plan: &'a Plan<'a>,
    examples: &'a dyn Examples,
    optimizer: AdamW,
    identity: String,
}

/// What one step did.
struct Taken {
    loss: f32,
    norm: f64,
    tokens: u64,
}

impl<'a> Job<'a> {
    fn start(llama: &'a mut Llama, plan: &'a Plan<'a>, examples: &'a dyn Examples) -> Result<Self> {
        let needs_base = plan.kl_to_base != 0.0 || plan.l2_to_base != 0.0;
        let base = needs_base
            .then(|| llama.parameters.iter().map(|(name, tensor)| (name.clone(), tensor.detach())).collect());
        let variables = match plan.trained {
            Trained::Everything => {
                let fresh = |(name, t): (&String, &Tensor)| Ok((name.clone(), Var::from_tensor(&t.copy()?)?));
                llama.parameters.iter().map(fresh).collect::<Result<BTreeMap<_, _>>>()?
            }
            Trained::Adapters(lora) => lora.variables(),
        };
        if let Trained::Everything = plan.trained {
            llama.parameters = variables.iter().map(|(n, v)| (n.clone(), v.as_tensor().clone())).collect();
        }
        let mut optimizer = AdamW::new(variables, plan.optimizer);
        let identity = plan.identity(examples);
        if let Some((path, _)) = plan.checkpoint {
            checkpoint::restore(path, &mut optimizer, &identity)?;
        }
        Ok(Self { llama, base, plan, examples, optimizer, identity })
    }

    fn parameters(&self) -> Result<Parameters> {
        match self.plan.trained {
            Trained::Everything => Ok(self.llama.parameters.clone()),
            Trained::Adapters(lora) => lora.apply(&self.llama.parameters),
        }
    }

    fn step(&mut self, step: u64, learning_rate: f64) -> Result<Taken> {
        let mut sum = Gradients::default();
        let (mut loss, mut tokens) = (0.0, 0);
        for part in 0..self.plan.accumulation as u64 {
            let example = self.examples.at(step * self.plan.accumulation as u64 + part)?;
            let (value, gradients) = self.gradients(&example)?;
            sum.add(gradients, 1.0 / self.plan.accumulation as f64)?;
            loss += value / self.plan.accumulation as f32;
            tokens += example.batch.tokens().len() as u64;
        }
        let norm = sum.norm()?;
        if !loss.is_finite() || !norm.is_finite() {
            return Err(Error::Diverged { step: step + 1, loss, learning_rate });
        }
        self.optimizer.step(&sum, learning_rate, self.plan.clip)?;
        Ok(Taken { loss, norm, tokens })
    }

    fn gradients(&self, example: &Example) -> Result<(f32, Gradients)> {
        let parameters = self.parameters()?;
        let head = self.llama.head_weight(&parameters);
        let variables = self.optimizer.variables();
        let of_hidden = |hidden: &Tensor| {
            Ok(ops::linear_cross_entropy(hidden, head, &example.targets, &example.weights)?)
        };
        if self.plan.recompute {
            return gradient::checkpointed(self.llama, &parameters, variables, &example.batch, &of_hidden);
        }
        let hidden = self.llama.hidden(&parameters, &example.batch)?;
        let own = of_hidden(&hidden)?;
        let mut loss = own.clone();
        if let Some(base) = &self.base {
            loss = (loss + self.pull(base, &parameters, &hidden, example)?)?;
        }
        Ok((own.to_scalar()?, Gradients::of(&loss, variables)?))
    }

    /// What holds the model near the base.
    fn pull(
        &self,
        base: &Parameters,
        now: &Parameters,
        hidden: &Tensor,
        example: &Example,
    ) -> Result<Tensor> {
        let mut pull = Tensor::zeros((), candle_core::DType::F32, self.llama.device())?;
        if self.plan.kl_to_base != 0.0 {
            let reference = self.llama.logits(base, &example.batch)?;
            let kl = ops::kl_divergence(&reference, &self.llama.head(now, hidden)?)?;
            pull = (pull + (kl * self.plan.kl_to_base)?)?;
        }
        if self.plan.l2_to_base != 0.0 {
            for (name, parameter) in now {
                let distance = (parameter - &base[name])?.sqr()?.sum_all()?;
                pull = (pull + (distance * self.plan.l2_to_base)?)?;
            }
        }
        Ok(pull)
    }

    fn save_if_due(&self, now: bool) -> Result<()> {
        let Some((path, every)) = self.plan.checkpoint else { return Ok(()) };
        let step = self.optimizer.step_count();
        if now || step == self.plan.steps || (every > 0 && step.is_multiple_of(every)) {
            checkpoint::save(path, &self.optimizer, &self.identity)?;
        }
        Ok(())
    }

    /// Leaves plain tensors, not variables, in the model.
    fn finish(self) -> Result<()> {
        if let Trained::Everything = self.plan.trained {
            for tensor in self.llama.parameters.values_mut() {
                *tensor = tensor.copy()?.detach();
            }
        }
        Ok(())
    }
}
