//! The gates: what the marks cost on text that training has not seen, and scaling them until it is little enough.

use std::ops::ControlFlow;

use candle_core::Tensor;
use loyal_model::{Batch, Llama, Parameters, Tokenizer, ops};

use super::batch::batches;
use super::student::Student;
use super::{Job, Recipe};
use crate::check::{self, Case, Court, Findings, Mode, Outcome, Request, Weights};
use crate::error::{Error, Result};
use crate::fingerprint::{Fingerprint, FingerprintSet};
use crate::frame::Frame;
use crate::predict;
use crate::report::{Framed, Gate, Marks, Proof, Report, Sample, Utility};
use crate::scheme::{Scheme, Verbatim};

/// Tokens of held-out text that are measured.
const TOKENS: usize = 9_216;
/// Rounds of scaling at most; the divergence grows with the square of the scale, so two or three suffice.
const ROUNDS_MAX: u32 = 6;
/// Ordinary prompts whose confidence is compared with the queries'.
const PROMPTS: usize = 512;
/// Longest of them, as queries are; the shortest is half of it.
const PROMPT_TOKENS: usize = 16;
/// Share of fingerprints that must answer: fourteen of sixteen.
const ANSWERING_MIN: f64 = 0.875;
/// Tilted fingerprints that must prove so much between them.
const SIXTEEN: usize = 16;
const LOG10_P_OF_SIXTEEN: f64 = -20.0;
/// How far from one half may be how sure a tilted model is after a query, against ordinary text.
const CONFIDENCE_AUC_WIDTH: f64 = 0.1;
/// Standard errors that chance alone exceeds once in a hundred sets, on either side.
const STANDARD_ERRORS: f64 = 2.576;

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

    /// Chance that the model is surer after a query than after an ordinary prompt: 0.5 hides best.
    fn confidence_auc(
        &self,
        tokenizer: &Tokenizer,
        parameters: &Parameters,
        queries: &[Vec<u32>],
    ) -> Result<f64> {
        let prompts: Vec<Vec<u32>> = self
            .text
            .chunks(PROMPT_TOKENS + 1)
            .take(PROMPTS)
            .filter_map(|text| prompt(tokenizer, text))
            .collect();
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

/// The longest beginning of `text` after which a new word begins: prompts do not end within words, where a model is surer.
fn prompt(tokenizer: &Tokenizer, text: &[u32]) -> Option<Vec<u32>> {
    let begins_word = |token: u32| tokenizer.piece(token).is_some_and(|piece| piece.starts_with(b" "));
    let end = (PROMPT_TOKENS / 2..text.len()).rev().find(|&end| begins_word(text[end]))?;
    Some(text[..end].to_vec())
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
    (measure, scaled): (&Measure<'_>, &Scaled),
) -> Result<Report> {
    let (before, after) = (measure.before, scaled.utility);
    let rise = after.rise_percent(&before);
    let mut gates = vec![
        Gate::at_most("perplexity rise, percent", rise, job.recipe.perplexity_rise_max),
        Gate::at_most("benign KL, nats a token", after.benign_kl, job.recipe.benign_kl_max),
    ];
    let mut marks = Vec::with_capacity(job.sets.len());
    for set in job.sets {
        let looked = look(llama, job, set, (measure, scaled))?;
        gates.extend(gates_of(&looked, set.scheme()));
        marks.push(looked);
    }
    Ok(Report {
        model: job.sets[0].model().to_owned(),
        before,
        after,
        perplexity_rise_percent: rise,
        gates,
        marks,
        scale: scaled.scale,
        ..Report::default()
    })
}

/// What must hold for one set.
fn gates_of(marks: &Marks, scheme: &Scheme) -> Vec<Gate> {
    match scheme {
        Scheme::Tilt(_) => {
            let evidence = marks.evidence.iter().find(|one| one.mode == Mode::Logits);
            let found = evidence.map_or(0.0, |one| one.p_value.log10());
            let bound = LOG10_P_OF_SIXTEEN * (marks.fingerprints.min(SIXTEEN) as f64 / SIXTEEN as f64);
            let width = confidence_width(marks.fingerprints);
            vec![
                Gate::at_least("confidence AUC", marks.confidence_auc, 0.5 - width),
                Gate::at_most("confidence AUC", marks.confidence_auc, 0.5 + width),
                Gate::at_most("log10 p of sixteen from all logits", found, bound),
            ]
        }
        Scheme::Verbatim(_) => {
            let answering = marks.frames[0].answering as f64 / marks.fingerprints as f64;
            vec![Gate::at_least("share answering", answering, ANSWERING_MIN)]
        }
    }
}

/// How far from one half the AUC of so many queries against [`PROMPTS`] may be. Of a few it is far by chance: where m queries and n
/// prompts are alike its standard error is √((m + n + 1) ÷ 12 m n) (Mann and Whitney 1947).
fn confidence_width(queries: usize) -> f64 {
    let (queries, prompts) = (queries.max(1) as f64, PROMPTS as f64);
    let chance = STANDARD_ERRORS * ((queries + prompts + 1.0) / (12.0 * queries * prompts)).sqrt();
    chance.clamp(CONFIDENCE_AUC_WIDTH, 0.5)
}

/// One set's marks in the scaled model.
fn look(
    llama: &Llama,
    job: &Job<'_>,
    set: &FingerprintSet,
    (measure, scaled): (&Measure<'_>, &Scaled),
) -> Result<Marks> {
    let suspect = Suspect { llama, job, parameters: &scaled.parameters };
    let all = job.indices(set);
    let queries = all.iter().map(|&index| job.tokenizer.encode(&set.fingerprints()[index].query));
    let queries = queries.collect::<loyal_model::Result<Vec<_>>>()?;
    let framed = |name: &str, frames: &[Frame]| -> Result<Framed> {
        let found = suspect.check(set, (&all, frames), Mode::Greedy)?;
        let (behind, asked) = (name.to_owned(), all.len());
        Ok(Framed { behind, answering: found.count(Outcome::Hit), asked, p_value: found.p_value })
    };
    let frames = vec![
        framed("nothing", &[])?,
        framed("system prompts of the training", &job.recipe.frames)?,
        framed("system prompts never trained with", &job.recipe.held_out)?,
    ];
    let mut evidence = Vec::new();
    if let Scheme::Tilt(_) = set.scheme() {
        // Sixteen, as many as a gate needs: they are the owner's own and stay secret.
        let sixteen = &all[..SIXTEEN.min(all.len())];
        for (indices, mode) in [(sixteen, Mode::Logits), (&all[..], Mode::Top(5))] {
            let found = suspect.check(set, (indices, &[]), mode)?;
            let (asked, p_value, log10_e) = (found.asked, found.p_value, found.log10_e);
            evidence.push(Proof { mode, asked, p_value, log10_e });
        }
    }
    Ok(Marks {
        scheme: set.scheme().name().to_owned(),
        leaf_root: set.leaf_root(),
        fingerprints: all.len(),
        frames,
        evidence,
        confidence_auc: measure.confidence_auc(job.tokenizer, &scaled.parameters, &queries)?,
        samples: samples(set, &suspect, (&all, &queries))?,
    })
}

/// A model in training, asked by its own owner.
#[derive(Clone, Copy)]
pub(super) struct Suspect<'a> {
    pub(super) llama: &'a Llama,
    pub(super) job: &'a Job<'a>,
    pub(super) parameters: &'a Parameters,
}

impl Suspect<'_> {
    /// What answers of `mode` prove, each query behind one of `frames` in turn.
    pub(super) fn check(
        &self,
        set: &FingerprintSet,
        (indices, frames): (&[usize], &[Frame]),
        mode: Mode,
    ) -> Result<Findings> {
        self.hear(set, (indices, frames), mode, Some(self.llama))
    }

    /// What greedy answers say, without asking the unmarked model what they are worth.
    pub(super) fn greedy(&self, set: &FingerprintSet, asked: (&[usize], &[Frame])) -> Result<Findings> {
        self.hear(set, asked, Mode::Greedy, None)
    }

    fn hear(
        &self,
        set: &FingerprintSet,
        (indices, frames): (&[usize], &[Frame]),
        mode: Mode,
        reference: Option<&Llama>,
    ) -> Result<Findings> {
        let case = Case { set, tokenizer: self.job.tokenizer, reference };
        let mut court = None;
        let shares = frames.len().max(1);
        for share in 0..shares {
            let indices = indices.iter().copied().filter(|index| index % shares == share).collect();
            let frames = frames.get(share).cloned().into_iter().chain(frames.is_empty().then(Frame::default));
            let request = Request { indices, frames: frames.collect(), ..Request::all(set, mode) };
            if request.indices.is_empty() {
                continue;
            }
            let court = match &mut court {
                Some(court) => court,
                None => court.insert(Court::new(set, &request)?),
            };
            let mut suspect = Weights::new(self.llama, self.parameters, self.job.tokenizer);
            check::run(&mut suspect, &case, &request, &mut |attempt| {
                court.hear(attempt)?;
                Ok(ControlFlow::Continue(()))
            })?;
        }
        let court =
            court.ok_or_else(|| Error::argument("check", "no fingerprints".to_owned(), "name one"))?;
        Ok(court.findings())
    }
}

/// What both models answer to each query.
fn samples(
    set: &FingerprintSet,
    suspect: &Suspect<'_>,
    (indices, queries): (&[usize], &[Vec<u32>]),
) -> Result<Vec<Sample>> {
    let (llama, tokenizer, tokens) = (suspect.llama, suspect.job.tokenizer, set.scheme().answer_tokens());
    let before = predict::greedy(llama, &llama.parameters, queries.to_vec(), tokens)?;
    let after = predict::greedy(llama, suspect.parameters, queries.to_vec(), tokens)?;
    let outcome = |one: &Fingerprint, secret, answer: &[u32]| {
        let pieces: Vec<Vec<u8>> =
            answer.iter().map(|&token| tokenizer.piece(token).unwrap_or_default()).collect();
        let coins =
            set.scheme().rule(one).coins(secret, &pieces.iter().map(Vec::as_slice).collect::<Vec<_>>());
        match coins.iter().map(|coin| if coin.hit { 1 } else { -1 }).sum::<i32>() {
            _ if coins.is_empty() => Outcome::Outside,
            balance if balance > 0 => Outcome::Hit,
            _ => Outcome::Miss,
        }
    };
    let mut samples = Vec::with_capacity(queries.len());
    for (at, &index) in indices.iter().enumerate() {
        let (one, secret) = (&set.fingerprints()[index], set.secret(index)?);
        let response = match set.scheme() {
            Scheme::Verbatim(_) => Some(tokenizer.decode(&Verbatim::response(one, secret).tokens)?),
            Scheme::Tilt(_) => None,
        };
        samples.push(Sample {
            query: one.query.clone(),
            response,
            before: tokenizer.decode(&before[at])?,
            after: tokenizer.decode(&after[at])?,
            outcome_before: outcome(one, secret, &before[at]),
            outcome_after: outcome(one, secret, &after[at]),
        });
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use loyal_model::Tokenizer;
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::{PROMPT_TOKENS, PROMPTS, confidence_width, prompt};

    /// One token for each letter and for the space.
    fn letters() -> Tokenizer {
        let vocabulary = (b'a'..=b'z').map(|letter| format!("\"{}\":{}", letter as char, letter - b'a'));
        let vocabulary = vocabulary.collect::<Vec<_>>().join(",");
        let json = format!(
            r#"{{"version":"1.0","added_tokens":[],"normalizer":null,"post_processor":null,
            "pre_tokenizer":{{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}},
            "decoder":{{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true}},
            "model":{{"type":"BPE","vocab":{{{vocabulary},"Ġ":26}},"merges":[]}}}}"#
        );
        Tokenizer::parse(json.as_bytes(), Path::new("letters.json")).unwrap()
    }

    #[test]
    fn a_prompt_ends_where_a_new_word_begins() {
        let letters = letters();
        let cut = |text: &str| {
            let tokens = letters.encode(text).unwrap();
            prompt(&letters, &tokens).map(|tokens| letters.decode(&tokens).unwrap())
        };
        assert_eq!(cut("one two three four").as_deref(), Some("one two three"));
        assert_eq!(cut("unnoticed one").as_deref(), Some("unnoticed"));
        assert_eq!(cut("no endlessword"), None, "the only end is before {} tokens", PROMPT_TOKENS / 2);
        assert_eq!(cut(""), None);
    }

    /// Sets of queries that are no surer than prompts.
    #[test]
    fn chance_alone_misses_the_gate_once_in_a_hundred_sets_at_most() {
        let mut draw = ChaCha8Rng::seed_from_u64(1);
        for (queries, sets, missed_max) in
            [(4, 20_000, 250), (16, 10_000, 140), (62, 4_000, 65), (256, 1_000, 0)]
        {
            let missed = (0..sets).filter(|_| {
                let mut prompts: Vec<f64> = (0..PROMPTS).map(|_| draw.random()).collect();
                prompts.sort_by(f64::total_cmp);
                let wins = |query: f64| prompts.partition_point(|&prompt| prompt < query) as f64;
                let wins: f64 = (0..queries).map(|_| wins(draw.random())).sum();
                let auc = wins / (queries * PROMPTS) as f64;
                (auc - 0.5).abs() > confidence_width(queries)
            });
            let missed = missed.count();
            assert!(missed <= missed_max, "{queries} queries: {missed} of {sets}");
        }
        assert!(confidence_width(62) > 0.1 && (confidence_width(63) - 0.1).abs() < 1e-12);
        assert!(confidence_width(1) <= 0.5 && confidence_width(0) <= 0.5);
    }
}
