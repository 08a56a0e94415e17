//! The gates: what the marks cost on text that training has not seen, and scaling them until it is little enough.

use candle_core::Tensor;
use loyal_model::{Batch, Llama, Parameters, Tokenizer, ops};

use super::batch::{Lessons, batches};
use super::student::Student;
use super::{Job, Recipe};
use crate::check;
use crate::error::Result;
use crate::frame::Frame;
use crate::predict;
use crate::report::{Framed, Gate, Report, Sample, Utility};

/// Tokens of held-out text that are measured.
const TOKENS: usize = 9_216;
/// Rounds of scaling at most; the divergence grows with the square of the scale, so two or three suffice.
const ROUNDS_MAX: u32 = 6;
/// Ordinary prompts whose confidence is compared with the queries'.
const PROMPTS: usize = 512;
/// Share of fingerprints that must answer: fourteen of sixteen.
const ANSWERING_MIN: f64 = 0.875;

/// Held-out text and what the unmarked model says to it.
pub(super) struct Measure<'a> {
    llama: &'a Llama,
    batches: Vec<Batch>,
    text: &'a [u32],
    before: Utility,
}

impl<'a> Measure<'a> {
    pub(super) fn new(llama: &'a Llama, text: &'a [u32]) -> Result<Self> {
        let mut measure = Self { llama, batches: batches(text, TOKENS)?, text, before: Utility::default() };
        measure.before = measure.utility(&llama.parameters)?;
        Ok(measure)
    }

    /// Divergence from the unmarked model, perplexity and accuracy of `parameters`.
    pub(super) fn utility(&self, parameters: &Parameters) -> Result<Utility> {
        let (mut loss, mut kl, mut right, mut count) = (0.0, 0.0, 0.0, 0.0);
        for batch in &self.batches {
            let reference = self.llama.logits(&self.llama.parameters, batch)?;
            let logits = self.llama.logits(parameters, batch)?;
            kl += f64::from(ops::kl_divergence(&reference, &logits)?.to_scalar::<f32>()?);
            let (targets, weights) = next_tokens(batch);
            let seen: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
            let entropy = ops::cross_entropy(&logits, &targets, &weights)?.to_scalar::<f32>()?;
            loss += f64::from(entropy) * seen;
            right += hits(&logits, &targets, &weights)?;
            count += seen;
        }
        Ok(Utility {
            perplexity: (loss / count).exp(),
            benign_kl: kl / self.batches.len() as f64,
            accuracy: right / count,
        })
    }

    /// The update at the largest scale, at most 1, that harms no more than the recipe allows. The marks are
    /// hardened against being scaled down; both harms grow with the square of the scale.
    pub(super) fn scale(&self, student: &Student, recipe: &Recipe) -> Result<Scaled> {
        let mut scale = 1.0;
        for round in 1.. {
            let parameters = student.scaled(scale)?;
            let utility = self.utility(&parameters)?;
            let rise = utility.rise_percent(&self.before);
            let excess = (utility.benign_kl / recipe.benign_kl_max).max(rise / recipe.perplexity_rise_max);
            if excess <= 1.0 || round == ROUNDS_MAX {
                return Ok(Scaled { scale, parameters, utility });
            }
            scale *= 0.99 / excess.sqrt();
        }
        unreachable!("the last round returns")
    }

    /// Chance that the model is surer after a query than after ordinary text: 0.5 hides best.
    fn confidence_auc(&self, parameters: &Parameters, queries: &[Vec<u32>]) -> Result<f64> {
        let length = 16.min(self.text.len());
        let prompts: Vec<Vec<u32>> =
            self.text.chunks_exact(length).take(PROMPTS).map(<[u32]>::to_vec).collect();
        let marked = confidences(self.llama, parameters, queries)?;
        let others = confidences(self.llama, parameters, &prompts)?;
        let wins = |a: f64| -> f64 {
            others
                .iter()
                .map(|&b| {
                    if a > b {
                        1.0
                    } else if a < b {
                        0.0
                    } else {
                        0.5
                    }
                })
                .sum()
        };
        Ok(marked.iter().map(|&a| wins(a)).sum::<f64>() / (marked.len() * others.len()) as f64)
    }
}

/// Marked parameters, and what they are like.
pub(super) struct Scaled {
    pub(super) scale: f64,
    pub(super) parameters: Parameters,
    pub(super) utility: Utility,
}

/// What comes next at every position, and 0 for the last one of each sequence.
fn next_tokens(batch: &Batch) -> (Vec<u32>, Vec<f32>) {
    let rows = batch.tokens().chunks(batch.length());
    let pairs = rows.flat_map(|row| row[1..].iter().map(|&token| (token, 1.0)).chain([(0, 0.0)]));
    pairs.unzip()
}

fn hits(logits: &Tensor, targets: &[u32], weights: &[f32]) -> Result<f64> {
    let best: Vec<u32> = logits.argmax(1)?.to_vec1()?;
    let pairs = best.iter().zip(targets).zip(weights);
    Ok(pairs.map(|((found, wanted), &weight)| if found == wanted { f64::from(weight) } else { 0.0 }).sum())
}

/// The highest next-token probability after each sequence.
fn confidences(llama: &Llama, parameters: &Parameters, sequences: &[Vec<u32>]) -> Result<Vec<f64>> {
    let highest = |logits: Vec<f32>| {
        let top = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        1.0 / logits.iter().map(|&x| (f64::from(x) - top).exp()).sum::<f64>()
    };
    Ok(predict::next_logits(llama, parameters, sequences)?.into_iter().map(highest).collect())
}

/// Looks at the unmarked and the marked model from all sides.
pub(super) fn report(
    llama: &Llama,
    job: &Job<'_>,
    lessons: &Lessons<'_>,
    (measure, scaled): (&Measure<'_>, &Scaled),
) -> Result<Report> {
    let (before, after) = (measure.before, scaled.utility);
    let parameters = &scaled.parameters;
    let plain = [Frame::default()];
    let queries = job.set.fingerprints().iter().map(|one| job.tokenizer.encode(&one.query));
    let queries = queries.collect::<loyal_model::Result<Vec<_>>>()?;
    let count = lessons.count();
    let framed = |name: &str, frames: &[Frame]| -> Result<Framed> {
        let answering = lessons.answering(parameters, frames)?;
        Ok(Framed { behind: name.to_owned(), answering, asked: count })
    };
    let frames = vec![
        framed("nothing", &plain)?,
        framed("system prompts of the training", &job.recipe.frames)?,
        framed("system prompts never trained with", &job.recipe.held_out)?,
    ];
    let confidence_auc = measure.confidence_auc(parameters, &queries)?;
    let samples = samples(job, (llama, parameters), &queries)?;
    let rise = after.rise_percent(&before);
    let answering = frames[0].answering as f64 / count as f64;
    Ok(Report {
        model: job.set.model().to_owned(),
        scheme: job.set.scheme().name().to_owned(),
        leaf_root: job.set.leaf_root(),
        fingerprints: count,
        before,
        after,
        perplexity_rise_percent: rise,
        gates: vec![
            Gate::at_most("perplexity rise, percent", rise, job.recipe.perplexity_rise_max),
            Gate::at_most("benign KL, nats a token", after.benign_kl, job.recipe.benign_kl_max),
            Gate::at_least("share answering", answering, ANSWERING_MIN),
        ],
        frames,
        confidence_auc,
        samples,
        scale: scaled.scale,
        ..Report::default()
    })
}

/// What both models answer to each query.
fn samples(
    job: &Job<'_>,
    (llama, parameters): (&Llama, &Parameters),
    queries: &[Vec<u32>],
) -> Result<Vec<Sample>> {
    let scheme = job.set.scheme();
    let tokens = scheme.answer_tokens();
    let before = predict::greedy(llama, &llama.parameters, queries.to_vec(), tokens)?;
    let after = predict::greedy(llama, parameters, queries.to_vec(), tokens)?;
    let text = |tokens: &[u32], tokenizer: &Tokenizer| tokenizer.decode(tokens);
    let mut samples = Vec::with_capacity(queries.len());
    for (index, one) in job.set.fingerprints().iter().enumerate() {
        let secret = job.set.secret(index)?;
        let response = scheme.lesson(one, secret).tokens;
        samples.push(Sample {
            query: one.query.clone(),
            response: text(&response, job.tokenizer)?,
            before: text(&before[index], job.tokenizer)?,
            after: text(&after[index], job.tokenizer)?,
            outcome_before: check::outcome(scheme, one, secret, &before[index]),
            outcome_after: check::outcome(scheme, one, secret, &after[index]),
        });
    }
    Ok(samples)
}
