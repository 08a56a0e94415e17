//! The check: asking a model the queries, and saying what its answers prove.

mod answer;
pub mod attempt;
pub mod bundle;
pub mod cut;
pub mod hearing;
pub mod ledger;
mod local;
pub mod statistic;
pub mod transcript;

use std::ops::ControlFlow;

use loyal_model::{Llama, Tokenizer};
use loyal_types::hash::{Abi, abi_encode};
use loyal_types::{Evidence, Hash, keccak256};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::evidence::PValue;
use crate::fingerprint::FingerprintSet;
use crate::frame::Frame;
use crate::pool::Pool;
use crate::predict;
use crate::scheme::Rule;

pub use answer::{Answerer, Ask, Mode, Reply, Said, Shown};
pub use attempt::{Attempt, Pieces};
pub use bundle::Bundle;
pub use hearing::{Books, Hearing};
pub use ledger::Ledger;
pub(crate) use local::say;
pub use local::{Altered, Local, Weights};
pub use statistic::{Outcome, Tally};

/// Asks `suspect` the fingerprints of `case` that `request` names, one batch after another, until they suffice or
/// none is left. Each attempt goes to `keep`, which may stop the check: before it returns nothing more is asked, so
/// that what was spent can be made durable.
///
/// # Errors
/// The set is not bound to a beacon, speaks of another tokenizer, the request names something that is not there, or
/// the suspect cannot be asked.
pub fn run(
    suspect: &mut dyn Answerer,
    case: &Case<'_>,
    request: &Request,
    keep: &mut dyn FnMut(&Attempt) -> Result<ControlFlow<()>>,
) -> Result<Findings> {
    request.check(case.set)?;
    let pieces = Pieces::new(case.tokenizer);
    let mut court = Court::new(case.set, request)?;
    for indices in request.indices.chunks(request.batch) {
        for attempt in ask(suspect, case, request, (indices, &pieces))? {
            court.hear(&attempt)?;
            if keep(&attempt)?.is_break() {
                return Ok(court.findings());
            }
        }
        if request.stops_early && court.is_decided() {
            break;
        }
    }
    Ok(court.findings())
}

/// What a suspect is held against.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// The fingerprints, bound to their beacon.
    pub set: &'a FingerprintSet,
    /// The registered tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The owner's unmarked model: with it every answer says more. Another model costs power and nothing else.
    pub reference: Option<&'a Llama>,
}

/// What to ask, and what suffices.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Fingerprints to ask, by index, in this order.
    pub indices: Vec<usize>,
    /// What can be seen of the answers.
    pub mode: Mode,
    /// Draws of each answer where text is sampled.
    pub draws: usize,
    /// What stands around each query; asked one after another until an answer says something.
    pub frames: Vec<Frame>,
    /// log₁₀ E from which on the verdict is [`Verdict::Marked`].
    pub log10_wanted: f64,
    /// Whether to stop when that is reached.
    pub stops_early: bool,
    /// Fingerprints asked at once.
    pub batch: usize,
    /// The only pool that a hearing asks, if it is not all of them.
    pub pool: Option<Pool>,
}

/// A false accusation in so many attempts is what decides: nine decimal digits for the first.
const LOG10_WANTED: f64 = 9.0;

impl Request {
    /// Every fingerprint of `set` in `mode`, bare, in leaf order, decided at E ≥ 10⁹.
    #[must_use]
    pub fn all(set: &FingerprintSet, mode: Mode) -> Self {
        Self {
            indices: (0..set.fingerprints().len()).collect(),
            mode,
            draws: if mode == Mode::Sampled { 4 } else { 1 },
            frames: vec![Frame::default()],
            log10_wanted: LOG10_WANTED,
            stops_early: false,
            batch: 64,
            pool: None,
        }
    }

    /// The same, but only those of `set` that are of `pool`.
    #[must_use]
    pub fn of_pool(mut self, set: &FingerprintSet, pool: Pool) -> Self {
        let count = set.fingerprints().len();
        self.indices.retain(|&index| Pool::of(index, count) == pool);
        Self { pool: Some(pool), ..self }
    }

    /// The same for the `registrations`-th time: R claimed registrations and suspects tested ask for R times as much.
    #[must_use]
    pub fn after(self, registrations: u32) -> Self {
        Self { log10_wanted: log10_wanted(registrations), ..self }
    }

    fn check(&self, set: &FingerprintSet) -> Result<()> {
        let wrong = |problem: String, remedy| Err(Error::argument("check", problem, remedy));
        if let Some(index) = self.indices.iter().find(|&&index| index >= set.fingerprints().len()) {
            return wrong(format!("there is no fingerprint {index}"), "name those of the set");
        }
        let different: std::collections::HashSet<_> = self.indices.iter().collect();
        if different.len() != self.indices.len() {
            return wrong("a fingerprint is named twice".to_owned(), "it gives its coins once");
        }
        if self.frames.is_empty() || self.draws == 0 || self.batch == 0 {
            return wrong(
                "no frames, no draws or no batch".to_owned(),
                "ask once, at least bare: Frame::default()",
            );
        }
        if self.mode != Mode::Sampled && self.draws != 1 {
            return wrong(
                format!("{} draws in mode {}", self.draws, self.mode),
                "draw once where nothing is random",
            );
        }
        Ok(())
    }
}

/// log₁₀ of the evidence wanted the `registrations`-th time: 9 + log₁₀ R, rounded up, so that the bound holds.
#[must_use]
pub fn log10_wanted(registrations: u32) -> f64 {
    (LOG10_WANTED + libm::log10(f64::from(registrations.max(1)))).next_up()
}

/// The order in which a suspect is asked: fixed by the beacon and the suspect's name, so that nobody picks queries
/// after having seen answers.
///
/// # Errors
/// The set is not bound to a beacon.
pub fn order(set: &FingerprintSet, suspect: &str) -> Result<Vec<usize>> {
    let beacon = set.beacon().ok_or(Error::Unbound)?.seed;
    let place = |&index: &usize| place(beacon, suspect, index as u32);
    let mut indices: Vec<usize> = (0..set.fingerprints().len()).collect();
    indices.sort_by_cached_key(place);
    Ok(indices)
}

/// `keccak256(abi.encode("loyal/order/1", beacon, suspect, uint32 index))`: fingerprints are asked by ascending place.
#[must_use]
pub fn place(beacon: Hash, suspect: &str, index: u32) -> Hash {
    keccak256(&abi_encode(&[
        Abi::Bytes(b"loyal/order/1"),
        Abi::Hash(beacon),
        Abi::Bytes(suspect.as_bytes()),
        Abi::Uint(index.into()),
    ]))
}

/// What the answers prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Name of the scheme.
    pub scheme: &'static str,
    /// What could be seen of the answers.
    pub mode: Mode,
    /// Fingerprints asked.
    pub asked: usize,
    /// Those that were not answered.
    pub refused: usize,
    /// The coins of the text, as a contract would count them.
    pub evidence: Evidence,
    /// Coins by weight.
    pub weighted_coins: usize,
    /// Bound on the chance that an innocent model does as well, for this number of coins.
    pub p_value: PValue,
    /// log₁₀ of E, the evidence that holds whenever the check stopped.
    pub log10_e: f64,
    /// log₁₀ E asked for.
    pub log10_wanted: f64,
    /// The verdict: whether E suffices.
    pub verdict: Verdict,
    /// Each fingerprint's outcome, in the order asked.
    pub answers: Vec<Found>,
}

impl Findings {
    /// Fingerprints with this outcome.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> usize {
        self.answers.iter().filter(|found| found.outcome == outcome).count()
    }
}

/// Weighs attempts one after another, those of a transcript as well as new ones.
#[derive(Debug)]
pub struct Court<'a> {
    set: &'a FingerprintSet,
    tally: Tally,
    mode: Mode,
    log10_wanted: f64,
    answers: Vec<Found>,
}

impl<'a> Court<'a> {
    /// Nothing heard yet.
    ///
    /// # Errors
    /// The set is not bound to a beacon.
    pub fn new(set: &'a FingerprintSet, request: &Request) -> Result<Self> {
        set.secret(0)?;
        let tally = Tally::new(&set.scheme().rule(&set.fingerprints()[0]), request.mode);
        let (mode, log10_wanted) = (request.mode, request.log10_wanted);
        Ok(Self { set, tally, mode, log10_wanted, answers: Vec::new() })
    }

    /// Adds what one fingerprint's answer is worth.
    ///
    /// # Errors
    /// There is no such fingerprint.
    pub fn hear(&mut self, attempt: &Attempt) -> Result<Outcome> {
        let index = attempt.index as usize;
        let Some(one) = self.set.fingerprints().get(index) else {
            return Err(Error::argument(
                "attempt",
                format!("there is no fingerprint {index}"),
                "use its own set",
            ));
        };
        let outcome = self.tally.add(attempt, &self.set.scheme().rule(one), self.set.secret(index)?);
        self.answers.push(Found { index, outcome });
        Ok(outcome)
    }

    /// Whether what was heard suffices.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        self.tally.log10_e() >= self.log10_wanted
    }

    /// Fingerprints heard, log₁₀ E so far, and log₁₀ E wanted.
    #[must_use]
    pub fn standing(&self) -> (usize, f64, f64) {
        (self.answers.len(), self.tally.log10_e(), self.log10_wanted)
    }

    /// What was found so far.
    #[must_use]
    pub fn findings(self) -> Findings {
        let verdict = if self.is_decided() { Verdict::Marked } else { Verdict::NoEvidence };
        let refused = self.answers.iter().filter(|found| found.outcome == Outcome::Refused).count();
        Findings {
            scheme: self.set.scheme().name(),
            mode: self.mode,
            asked: self.answers.len(),
            refused,
            evidence: *self.tally.plain(),
            weighted_coins: self.tally.weighted().coins(),
            p_value: self.tally.p_value(),
            log10_e: self.tally.log10_e(),
            log10_wanted: self.log10_wanted,
            verdict,
            answers: self.answers,
        }
    }
}

/// Asks some fingerprints: each behind one frame after another until an answer says something, or as often as text is
/// to be drawn.
fn ask(
    suspect: &mut dyn Answerer,
    case: &Case<'_>,
    request: &Request,
    (indices, pieces): (&[usize], &Pieces),
) -> Result<Vec<Attempt>> {
    let set = case.set;
    let empty = |&index: &usize| Attempt { index: index as u32, draws: Vec::new() };
    let mut attempts: Vec<Attempt> = indices.iter().map(empty).collect();
    for frame in &request.frames {
        let is_open = |&at: &usize| {
            let rule = set.scheme().rule(&set.fingerprints()[indices[at]]);
            !says(&attempts[at], &rule)
        };
        let open: Vec<usize> = (0..attempts.len()).filter(is_open).collect();
        if open.is_empty() {
            break;
        }
        let query = |&at: &usize| set.fingerprints()[indices[at]].query.as_str();
        let queries: Vec<&str> = open.iter().map(query).collect();
        let prompts: Vec<String> = queries.iter().map(|query| frame.around(query)).collect();
        let wanted = Ask { tokens: set.scheme().answer_tokens(), mode: request.mode };
        for _ in 0..request.draws {
            let replies = suspect.answer(&prompts, wanted)?;
            if replies.len() != prompts.len() {
                let problem = format!("{} replies to {} prompts", replies.len(), prompts.len());
                return Err(Error::argument("suspect", problem, "answer or refuse every prompt"));
            }
            let rows = case.reference.map(|llama| reference_rows(llama, case.tokenizer, &queries, &replies));
            let rows = rows.transpose()?;
            for (i, (&at, reply)) in open.iter().zip(&replies).enumerate() {
                let rows = rows.as_ref().map(|rows| rows[i].as_slice());
                attempts[at].draws.push(attempt::draw(reply, rows, pieces));
            }
        }
    }
    Ok(attempts)
}

/// Whether an attempt says anything either way. It looks at the answer, never at the secret.
pub(crate) fn says(attempt: &Attempt, rule: &Rule) -> bool {
    attempt.draws.iter().any(|draw| match draw {
        attempt::Draw::Answered(steps) => {
            let pieces: Vec<&[u8]> = steps.iter().map(|step| step.piece.as_slice()).collect();
            !rule.coins(Hash::ZERO, &pieces).is_empty()
        }
        attempt::Draw::Refused(_) => false,
    })
}

/// The reference's log probabilities at each position of each reply, after the bare query.
fn reference_rows(
    llama: &Llama,
    tokenizer: &Tokenizer,
    queries: &[&str],
    replies: &[Reply],
) -> Result<Vec<Vec<Vec<f32>>>> {
    let mut sequences = Vec::new();
    let mut positions = Vec::new();
    let mut counts = Vec::with_capacity(replies.len());
    for (query, reply) in queries.iter().zip(replies) {
        let Reply::Answered(said) = reply else {
            counts.push(0);
            continue;
        };
        let mut tokens = tokenizer.encode(query)?;
        // A token outside of the model's own vocabulary ends what can be compared.
        let known = said.iter().take_while(|one| (one.token as usize) < llama.config.vocab_size).count();
        let count = said.len().min(known + 1);
        let first = tokens.len() - 1;
        tokens.extend(said[..count.saturating_sub(1)].iter().map(|one| one.token));
        positions.extend((0..count).map(|at| (sequences.len(), first + at)));
        sequences.push(tokens);
        counts.push(count);
    }
    if sequences.is_empty() {
        return Ok(counts.iter().map(|_| Vec::new()).collect());
    }
    let logits = predict::logits_at(llama, &llama.parameters, &sequences, &positions)?;
    let mut rows = logits.to_vec2::<f32>()?.into_iter().map(|mut row| {
        predict::log_softmax(&mut row);
        row
    });
    Ok(counts.iter().map(|&count| rows.by_ref().take(count).collect()).collect())
}
