//! The check: asking a model the queries, and saying what its answers prove.

use std::ops::ControlFlow;

use loyal_model::{Decoder, Llama, Parameters, Tokenizer, generate};
use loyal_types::{Bits, Evidence, Hash};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::evidence::{PValue, p_value};
use crate::fingerprint::{Fingerprint, FingerprintSet};
use crate::frame::Frame;
use crate::predict;
use crate::scheme::Scheme;

/// Prompts that are asked together.
const BATCH: usize = 64;

/// Asks `suspect` every fingerprint of `set` that `request` names and counts what the answers are worth.
///
/// A fingerprint gives its coins once: where it is asked behind several frames, the first answer that says
/// anything counts, and the others are not looked at.
///
/// # Errors
/// The set is not bound to a beacon, names something that is not there, or the suspect cannot be asked.
pub fn run(suspect: &mut dyn Answerer, set: &FingerprintSet, request: &Request) -> Result<Findings> {
    request.check(set)?;
    let scheme = set.scheme();
    let mut answers: Vec<Found> = Vec::with_capacity(request.indices.len());
    let mut evidence = Evidence::new(scheme.chance());
    for indices in request.indices.chunks(BATCH) {
        for (&index, asked) in indices.iter().zip(ask(suspect, set, indices, &request.frames)?) {
            let (one, secret) = (&set.fingerprints()[index], set.secret(index)?);
            let coins = |reply: &Reply| match reply {
                Reply::Tokens(tokens) => scheme.coins(one, secret, tokens),
                Reply::Refused => Vec::new(),
            };
            let telling = asked.iter().position(|reply| !coins(reply).is_empty());
            let counted = &asked[telling.unwrap_or(0)];
            evidence = coins(counted).into_iter().fold(evidence, Evidence::with);
            let outcome = match counted {
                Reply::Tokens(tokens) => outcome(scheme, one, secret, tokens),
                Reply::Refused => Outcome::Refused,
            };
            answers.push(Found { index, outcome });
        }
    }
    let p_value = p_value(&evidence, scheme.tail());
    let verdict = if evidence.bits() >= request.bits && p_value.log10() < 0.0 {
        Verdict::Marked
    } else {
        Verdict::NoEvidence
    };
    Ok(Findings { asked: answers.len(), evidence, p_value, bits_wanted: request.bits, verdict, answers })
}

/// Something that continues prompts: weights at hand, or an endpoint.
pub trait Answerer {
    /// Continues each prompt by at most `new_tokens` tokens.
    ///
    /// # Errors
    /// It cannot be asked. A refusal to answer is a [`Reply::Refused`].
    fn answer(&mut self, prompts: &[String], new_tokens: usize) -> Result<Vec<Reply>>;
}

/// What came back for one prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// New tokens, in the registered tokenizer's vocabulary.
    Tokens(Vec<u32>),
    /// No answer; it counts neither way.
    Refused,
}

/// What to ask, and what suffices.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Fingerprints to ask, by index.
    pub indices: Vec<usize>,
    /// What stands around each query; asked one after another until an answer says something.
    pub frames: Vec<Frame>,
    /// Evidence from which on the verdict is [`Verdict::Marked`].
    pub bits: Bits,
}

impl Request {
    /// Every fingerprint of `set`, bare, decided at 40 bits: what a claim of ownership needs at the first attempt.
    #[must_use]
    pub fn all(set: &FingerprintSet) -> Self {
        let indices = (0..set.fingerprints().len()).collect();
        Self { indices, frames: vec![Frame::default()], bits: Bits::whole(40) }
    }

    fn check(&self, set: &FingerprintSet) -> Result<()> {
        let wrong = |problem: String, remedy| Err(Error::argument("check", problem, remedy));
        if let Some(index) = self.indices.iter().find(|&&index| index >= set.fingerprints().len()) {
            return wrong(format!("there is no fingerprint {index}"), "name those of the set");
        }
        let different: std::collections::HashSet<_> = self.indices.iter().collect();
        if different.len() != self.indices.len() {
            return wrong("a fingerprint is named twice".to_owned(), "one coin each is all there is");
        }
        if self.frames.is_empty() {
            return wrong("no frames".to_owned(), "ask at least bare: Frame::default()");
        }
        Ok(())
    }
}

/// What one answer is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The response.
    Hit,
    /// Another candidate.
    Miss,
    /// No candidate: says nothing either way.
    Outside,
    /// No answer.
    Refused,
}

/// What the answers prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// These are the marked weights, or weights made from them.
    Marked,
    /// No evidence. That is not a proof of innocence.
    NoEvidence,
}

/// One fingerprint's outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The fingerprint.
    pub index: usize,
    /// What its answer was worth.
    pub outcome: Outcome,
}

/// All that was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Findings {
    /// Fingerprints asked.
    pub asked: usize,
    /// The coins: answers that could have been a hit, and those that were.
    pub evidence: Evidence,
    /// Bound on the chance that an innocent model does as well, for this number of coins.
    pub p_value: PValue,
    /// Bits asked for.
    pub bits_wanted: Bits,
    /// The verdict at that bound.
    pub verdict: Verdict,
    /// Each fingerprint's outcome.
    pub answers: Vec<Found>,
}

/// What `answer` is worth.
pub(crate) fn outcome(scheme: &dyn Scheme, one: &Fingerprint, secret: Hash, answer: &[u32]) -> Outcome {
    match scheme.coins(one, secret, answer).as_slice() {
        [] => Outcome::Outside,
        coins if coins.contains(&true) => Outcome::Hit,
        _ => Outcome::Miss,
    }
}

/// The replies of each fingerprint, one a frame.
fn ask(
    suspect: &mut dyn Answerer,
    set: &FingerprintSet,
    indices: &[usize],
    frames: &[Frame],
) -> Result<Vec<Vec<Reply>>> {
    let mut replies: Vec<Vec<Reply>> = vec![Vec::with_capacity(frames.len()); indices.len()];
    for frame in frames {
        let query = |&index: &usize| frame.around(&set.fingerprints()[index].query);
        let prompts: Vec<String> = indices.iter().map(query).collect();
        let round = suspect.answer(&prompts, set.scheme().answer_tokens())?;
        if round.len() != prompts.len() {
            let problem = format!("{} replies to {} prompts", round.len(), prompts.len());
            return Err(Error::argument("suspect", problem, "answer or refuse every prompt"));
        }
        for (list, reply) in replies.iter_mut().zip(round) {
            list.push(reply);
        }
    }
    Ok(replies)
}

/// Parameters at hand, answering greedily: a model's own, or those of a merged, quantised or pruned copy.
#[derive(Debug)]
pub struct Weights<'a> {
    /// The model's shape.
    pub llama: &'a Llama,
    /// Its parameters.
    pub parameters: &'a Parameters,
    /// Its tokenizer.
    pub tokenizer: &'a Tokenizer,
}

impl Answerer for Weights<'_> {
    fn answer(&mut self, prompts: &[String], new_tokens: usize) -> Result<Vec<Reply>> {
        let sequences = prompts.iter().map(|prompt| self.tokenizer.encode(prompt));
        let sequences = sequences.collect::<loyal_model::Result<Vec<_>>>()?;
        let answers = predict::greedy(self.llama, self.parameters, sequences, new_tokens)?;
        Ok(answers.into_iter().map(Reply::Tokens).collect())
    }
}

/// A decoder at hand, answering greedily, at whatever precision it holds its weights.
#[derive(Debug)]
pub struct Local<'a> {
    /// The model.
    pub decoder: &'a Decoder,
    /// Its tokenizer.
    pub tokenizer: &'a Tokenizer,
}

impl Answerer for Local<'_> {
    fn answer(&mut self, prompts: &[String], new_tokens: usize) -> Result<Vec<Reply>> {
        let mut requests = Vec::with_capacity(prompts.len());
        for prompt in prompts {
            let prompt = self.tokenizer.encode(prompt)?;
            requests.push(generate::Request {
                prompt,
                new_tokens_max: new_tokens,
                stop_at_eos: false,
                ..generate::Request::default()
            });
        }
        let mut go_on = |_: usize, _: &str| ControlFlow::Continue(());
        let answers = generate::run(self.decoder, self.tokenizer, &requests, &mut go_on)?;
        Ok(answers.into_iter().map(|answer| Reply::Tokens(answer.tokens)).collect())
    }
}
