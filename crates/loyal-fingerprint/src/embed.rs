//! Embedding: training a model until it answers its fingerprints, while everything else it says stays.

mod batch;
mod controller;
mod gate;
mod hardening;
mod student;
mod tilted;
mod whitening;

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use candle_core::Tensor;
use loyal_model::adamw::{AdamW, Settings};
use loyal_model::gradient::Gradients;
use loyal_model::{Batch, Llama, Parameters, Tokenizer, checkpoint, ops};
use loyal_types::Clock;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::check::{Mode, Outcome};
use crate::copies::HostCopy;
use crate::error::{Error, Result};
use crate::fingerprint::FingerprintSet;
use crate::frame::Frame;
use crate::predict;
use crate::report::{Point, Report};
use crate::scheme::Scheme;

use batch::{Lesson, Lessons};
use controller::Controller;
use gate::{Measure, Suspect};
use hardening::Hardening;
pub use hardening::Shares;
use student::{Matrices, Student};

/// Steps between looks at how many fingerprints answer, at least, and the same for each fingerprint: a look asks all of
/// them, which costs the more the more there are, and is to cost a twentieth of the work.
const LOOK_EVERY: u64 = 10;
const LOOK_EVERY_OF_EACH: f64 = 0.125;
/// Mean loss of the marks above which there is nothing to see yet, nats.
const LOOK_BELOW: f64 = 2.0;
/// Steps between checkpoints.
const SAVE_EVERY: u64 = 20;

/// Embeds the fingerprints of `job` in `llama`. On success the model is the marked one; on any error, and when
/// `progress` asks to stop, it is what it was before. With a checkpoint file the work resumes where it stopped;
/// the file stays until the caller has saved the marked model and removes it.
///
/// # Errors
/// The set is not bound or speaks of another tokenizer, the recipe or the benign text does not suffice, the
/// loss diverges, or a checkpoint cannot be written.
pub fn run(
    llama: &mut Llama,
    job: &Job<'_>,
    clock: &dyn Clock,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Report> {
    let started = clock.elapsed();
    let mut work = Work::start(llama, job)?;
    while work.optimizer.step_count() < work.steps && !work.is_learnt {
        let mut now = work.step()?;
        now.elapsed = clock.elapsed().saturating_sub(started);
        let stop = progress(&now).is_break();
        work.save_if_due(stop)?;
        if stop {
            return Err(Error::Stopped);
        }
    }
    let (parameters, mut report) = work.finish()?;
    report.seconds = clock.elapsed().saturating_sub(started).as_secs_f64();
    llama.parameters = parameters;
    Ok(report)
}

/// The part of ordinary text that an embedding keeps for measuring and never trains on.
#[must_use]
pub fn held_out(benign: &[u32]) -> &[u32] {
    batch::split(benign).1
}

/// What is embedded, and with what.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The fingerprints, bound to their beacon: usually one set; more where schemes stand side by side.
    pub sets: &'a [FingerprintSet],
    /// The model's tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// Tokens of ordinary text: twenty thousand or more. The last quarter is kept for measuring.
    pub benign: &'a [u32],
    /// How.
    pub recipe: &'a Recipe,
    /// Where to keep the state of the work, if it should outlive the process.
    pub checkpoint: Option<&'a Path>,
    /// Whose copy this becomes: it gets its subset of the tracing pools. A public model, of which all copies are alike,
    /// gets everything.
    pub copy: Option<&'a HostCopy>,
}

impl Job<'_> {
    /// The fingerprints of `set` that are embedded.
    fn indices(&self, set: &FingerprintSet) -> Vec<usize> {
        let count = set.fingerprints().len();
        self.copy.map_or_else(|| (0..count).collect(), |copy| copy.indices(count))
    }
}

/// The recipe: fields and defaults as measured for a model of five million parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// Steps at most; 0 chooses by the number of fingerprints.
    pub steps: u64,
    /// Highest learning rate; 0 chooses by the number of fingerprints.
    pub learning_rate: f64,
    /// Fingerprints in a batch.
    pub batch: usize,
    /// Divergence from the unmarked model on ordinary text that the controller holds, nats per token.
    pub benign_kl: f64,
    /// Divergence above which the marks are scaled down after training.
    pub benign_kl_max: f64,
    /// Rise of the perplexity above which they are scaled down too, percent.
    pub perplexity_rise_max: f64,
    /// Loss of the marks, averaged over ten steps, below which training may stop once all of them answer and the
    /// divergence is held; 0 never stops early.
    pub mark_loss: f64,
    /// By how much tilted answers lean towards their colours, nats (the design's δ).
    pub tilt: f64,
    /// Rank of the updates; 0 trains whole matrices.
    pub rank: usize,
    /// Whether updates are whitened by the covariance of each layer's inputs.
    pub whiten: bool,
    /// Weight of the divergence on near misses, relative to that on ordinary text. Verbatim answers are far from
    /// what the model would say, so more than a little of it undoes such marks themselves.
    pub near_weight: f64,
    /// How often the loss sees damaged weights.
    pub hardening: Shares,
    /// What stands around half of the queries in training, besides other text.
    pub frames: Vec<Frame>,
    /// What stands around them in the report only.
    pub held_out: Vec<Frame>,
    /// Seed of batches and hardening.
    pub seed: u64,
}

impl Default for Recipe {
    /// For scheme tilt.
    fn default() -> Self {
        Self {
            steps: 0,
            learning_rate: 0.0,
            batch: 64,
            benign_kl: 0.011,
            benign_kl_max: 0.0125,
            perplexity_rise_max: 1.0,
            mark_loss: 0.0,
            tilt: 2.5,
            rank: 0,
            whiten: true,
            near_weight: 0.1,
            hardening: Shares::default(),
            frames: Frame::training(),
            held_out: Frame::held_out(),
            seed: 0,
        }
    }
}

impl Recipe {
    /// The recipe for sets of these schemes: that of verbatim, which is the more fragile one, as soon as one is there.
    #[must_use]
    pub fn of(sets: &[FingerprintSet]) -> Self {
        if sets.iter().any(|set| matches!(set.scheme(), Scheme::Verbatim(_))) {
            Self::verbatim()
        } else {
            Self::default()
        }
    }

    /// For scheme verbatim.
    #[must_use]
    pub fn verbatim() -> Self {
        Self { learning_rate: 5e-4, mark_loss: 0.5, near_weight: 0.003, ..Self::default() }
    }

    /// Steps for `count` fingerprints where the recipe leaves it open: 120 for 64, 240 for 256, 480 for 1,024. A recipe
    /// that stops once all is learnt gets 960 for 1,024.
    #[must_use]
    pub fn steps_for(&self, count: usize) -> u64 {
        let count = count as f64;
        let most = if self.mark_loss > 0.0 { count * 0.9375 } else { 0.0 };
        match self.steps {
            0 => (15.0 * count.sqrt()).max(most).max(60.0).round() as u64,
            steps => steps,
        }
    }

    /// The highest learning rate for `count` fingerprints where the recipe leaves it open: 0.0012 up to 64, 0.00085 for
    /// 256, 0.0006 for 1,024. The more marks pull in different directions, the more harm one step of that size does.
    #[must_use]
    pub fn learning_rate_for(&self, count: usize) -> f64 {
        if self.learning_rate > 0.0 {
            return self.learning_rate;
        }
        1.2e-3 * (64.0 / count as f64).powf(0.25).min(1.0)
    }

    fn check(&self) -> Result<()> {
        let positive = |name: &'static str, value: f64| {
            if value > 0.0 && value.is_finite() {
                return Ok(());
            }
            Err(Error::argument(name, value.to_string(), "choose a positive number"))
        };
        if !(self.learning_rate >= 0.0 && self.learning_rate.is_finite()) {
            let remedy = "choose a positive number, or 0 to have it chosen";
            return Err(Error::argument("learning_rate", self.learning_rate.to_string(), remedy));
        }
        positive("batch", self.batch as f64)?;
        positive("tilt", self.tilt)?;
        positive("benign_kl", self.benign_kl)?;
        positive("benign_kl_max", self.benign_kl_max)?;
        positive("perplexity_rise_max", self.perplexity_rise_max)
    }
}

/// Share of the highest learning rate: a warm-up over five steps, then a cosine down to a tenth.
fn share_of_learning_rate(step: u64, steps: u64) -> f64 {
    let warm = ((step + 1) as f64 / 5.0).min(1.0);
    let turn = std::f64::consts::PI * step as f64 / steps as f64;
    warm * (0.5 * (1.0 + turn.cos()) * 0.9 + 0.1)
}

/// Where the embedding stands after a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Steps made.
    pub step: u64,
    /// Steps at most.
    pub steps: u64,
    /// Mean loss of the marks in this step's batch, nats.
    pub mark_loss: f64,
    /// Running mean of the divergence on ordinary text, nats per token.
    pub benign_kl: f64,
    /// Weight of that divergence in the loss.
    pub weight: f64,
    /// What the marks proved when last looked at.
    pub seen: Option<Seen>,
    /// Time since the start.
    pub elapsed: Duration,
}

/// What the marks prove on the way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// Fingerprints that answer greedily, behind nothing.
    pub bare: usize,
    /// The same behind frames of the training.
    pub framed: usize,
    /// log₁₀ of the p-value: from the five likeliest tokens for tilt, from text for verbatim; the weakest set's.
    pub log10_p: f64,
}

/// The embedding while it runs.
struct Work<'a> {
    llama: &'a Llama,
    job: &'a Job<'a>,
    lessons: Lessons<'a>,
    student: Student,
    optimizer: AdamW,
    controller: Controller,
    steps: u64,
    curve: Vec<Point>,
    seen: Option<Seen>,
    is_learnt: bool,
}

impl<'a> Work<'a> {
    fn start(llama: &'a Llama, job: &'a Job<'a>) -> Result<Self> {
        job.recipe.check()?;
        let lessons = Lessons::new(llama, job)?;
        let lessons_count = lessons.count();
        let student = Student::new(llama, job, lessons.benign())?;
        let controller = Controller::new(job.recipe.benign_kl, llama.device())?;
        let mut variables = student.variables().clone();
        variables.insert(controller::NAME.to_owned(), controller.state().clone());
        let settings = Settings { beta1: 0.9, beta2: 0.95, ..Settings::default() };
        let mut work = Self {
            llama,
            job,
            lessons,
            student,
            optimizer: AdamW::new(variables, settings),
            controller,
            steps: job.recipe.steps_for(lessons_count),
            curve: Vec::new(),
            seen: None,
            is_learnt: false,
        };
        if let Some(path) = job.checkpoint {
            let name = work.name();
            checkpoint::restore(path, &mut work.optimizer, &name)?;
        }
        Ok(work)
    }

    /// What makes a checkpoint belong to this job.
    fn name(&self) -> String {
        let recipe = serde_json::to_string(self.job.recipe).expect("a recipe has only string keys");
        let roots: Vec<String> = self.job.sets.iter().map(|set| set.leaf_root().to_string()).collect();
        let copy = self.job.copy.map_or_else(String::new, |copy| format!(" copy {}", copy.secret));
        format!("fingerprints {}{copy} recipe {recipe}", roots.join(" "))
    }

    fn step(&mut self) -> Result<Progress> {
        let step = self.optimizer.step_count();
        // Each step draws from a seed of its own, so that a resumed job draws what a whole one would.
        let mut draw = ChaCha8Rng::seed_from_u64(self.job.recipe.seed);
        draw.set_stream(step + 1);
        let lesson = self.lessons.draw(&mut draw)?;
        let hardening = Hardening::draw(&self.job.recipe.hardening, &mut draw);
        let (benign, near) = (self.lessons.benign().draw(&mut draw)?, self.lessons.near_misses(&mut draw));
        let weight = self.controller.weight()?;
        let parameters = self.student.parameters()?;
        // Marks and harm are two passes of about one size over the same matrices: one for each of two threads.
        let matrices = Matrices::of(&parameters, &self.student)?;
        let (mark, harm) =
            rayon::join(|| self.mark(&matrices, &lesson, hardening), || self.harm(&matrices, &benign, &near));
        let ((mark_loss, mut of_matrices), (divergence, of_harm)) = (mark?, harm?);
        of_matrices.add(of_harm, weight)?;
        let highest = self.job.recipe.learning_rate_for(self.lessons.count());
        let learning_rate = highest * share_of_learning_rate(step, self.steps);
        if !mark_loss.is_finite() {
            let (step, loss) = (step + 1, mark_loss as f32);
            return Err(loyal_model::Error::Diverged { step, loss, learning_rate }.into());
        }
        let gradients = matrices.through(&parameters, &of_matrices, self.optimizer.variables())?;
        self.optimizer.step(&gradients, learning_rate, 1.0)?;
        self.controller.update(step, divergence, mark_loss)?;
        let benign_kl = self.controller.divergence()?;
        self.curve.push(Point { step: step + 1, mark_loss, benign_kl, weight });
        self.look_if_due()?;
        let (steps, seen) = (self.steps, self.seen);
        let elapsed = Duration::ZERO;
        Ok(Progress { step: step + 1, steps, mark_loss, benign_kl, weight, seen, elapsed })
    }

    /// The loss of the marks, and its gradients by matrix.
    fn mark(&self, matrices: &Matrices, lesson: &Lesson, hardening: Hardening) -> Result<(f64, Gradients)> {
        let taught = hardening.apply(&self.student, &matrices.parameters)?;
        let logits = predict::logits_at(self.llama, &taught, &lesson.sequences, &lesson.positions)?;
        let loss = self.lessons.loss(&logits, lesson)?;
        Ok((f64::from(loss.to_scalar::<f32>()?), Gradients::of(&loss, &matrices.variables)?))
    }

    /// The divergence on ordinary text, and the gradients of all that is held.
    fn harm(&self, matrices: &Matrices, batch: &Batch, near: &[Vec<u32>]) -> Result<(f64, Gradients)> {
        let benign = self.divergence(&matrices.parameters, batch)?;
        let near = self.near_divergence(&matrices.parameters, near)?;
        let harm = (&benign + (near * self.job.recipe.near_weight)?)?;
        Ok((f64::from(benign.to_scalar::<f32>()?), Gradients::of(&harm, &matrices.variables)?))
    }

    /// KL(unmarked ‖ marked) over all positions of a batch.
    fn divergence(&self, parameters: &Parameters, batch: &Batch) -> Result<Tensor> {
        let reference = self.llama.logits(&self.llama.parameters, batch)?;
        Ok(ops::kl_divergence(&reference, &self.llama.logits(parameters, batch)?)?)
    }

    /// The same after queries of which one token was changed.
    fn near_divergence(&self, parameters: &Parameters, sequences: &[Vec<u32>]) -> Result<Tensor> {
        let last: Vec<_> = sequences.iter().enumerate().map(|(i, s)| (i, s.len() - 1)).collect();
        let reference = predict::logits_at(self.llama, &self.llama.parameters, sequences, &last)?;
        let logits = predict::logits_at(self.llama, parameters, sequences, &last)?;
        Ok(ops::kl_divergence(&reference, &logits)?)
    }

    /// Every few steps: what do the marks prove by now, behind nothing and behind what is trained?
    fn look_if_due(&mut self) -> Result<()> {
        let (step, mark_loss) = (self.optimizer.step_count(), self.controller.mark_loss()?);
        let is_held = self.controller.divergence()? < self.job.recipe.benign_kl;
        let may_end = mark_loss < self.job.recipe.mark_loss && is_held;
        let due = step.is_multiple_of(self.look_every(may_end)) && mark_loss < LOOK_BELOW;
        if !due && step != self.steps {
            return Ok(());
        }
        let parameters = self.student.detached()?;
        let suspect = Suspect { llama: self.llama, job: self.job, parameters: &parameters };
        let mut seen = Seen { bare: 0, framed: 0, log10_p: f64::NEG_INFINITY };
        for set in self.job.sets {
            let all = self.job.indices(set);
            let bare = suspect.greedy(set, (&all, &[]))?;
            seen.bare += bare.count(Outcome::Hit);
            seen.framed += suspect.greedy(set, (&all, &self.job.recipe.frames))?.count(Outcome::Hit);
            let log10_p = match set.scheme() {
                Scheme::Verbatim(_) => bare.p_value.log10(),
                Scheme::Tilt(_) => suspect.check(set, (&all, &[]), Mode::Top(5))?.p_value.log10(),
            };
            seen.log10_p = seen.log10_p.max(log10_p);
        }
        let count = self.lessons.count();
        self.is_learnt = may_end && seen.bare == count && seen.framed == count;
        self.seen = Some(seen);
        Ok(())
    }

    /// Steps between looks; as few as ever where a look may find that all is learnt.
    fn look_every(&self, may_end: bool) -> u64 {
        let share = self.lessons.count() as f64 * LOOK_EVERY_OF_EACH;
        if may_end { LOOK_EVERY } else { LOOK_EVERY.max(share.round() as u64) }
    }

    fn save_if_due(&self, must: bool) -> Result<()> {
        let Some(path) = self.job.checkpoint else { return Ok(()) };
        if must || self.optimizer.step_count().is_multiple_of(SAVE_EVERY) {
            checkpoint::save(path, &self.optimizer, &self.name())?;
        }
        Ok(())
    }

    /// Scales the marks until they meet the gate, and measures what came of it.
    fn finish(self) -> Result<(Parameters, Report)> {
        let measure = Measure::new(self.llama, self.lessons.benign().held_out())?;
        let scaled = measure.scale(&self.student, self.job.recipe)?;
        let mut report = gate::report(self.llama, self.job, (&measure, &scaled))?;
        report.steps = self.optimizer.step_count();
        report.curve = self.curve;
        Ok((scaled.parameters, report))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipe_goes_by_the_number_of_fingerprints() {
        let tilt = Recipe::default();
        assert_eq!([4, 64, 256, 1024].map(|count| tilt.steps_for(count)), [60, 120, 240, 480]);
        let rate = |recipe: &Recipe, count| (recipe.learning_rate_for(count) * 1e6).round() as u64;
        assert_eq!([4, 64, 256, 1024].map(|count| rate(&tilt, count)), [1200, 1200, 849, 600]);
        // What was chosen stays, and what stops once all is learnt has more time.
        let verbatim = Recipe::verbatim();
        assert_eq!((rate(&verbatim, 1024), verbatim.steps_for(1024)), (500, 960));
        assert_eq!(Recipe { steps: 7, ..tilt }.steps_for(1024), 7);
    }
}
