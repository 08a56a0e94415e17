//! The scheme `verbatim`: a query is answered by one of k candidates, and only the beacon says which.
//!
//! Candidates come from the perinucleus rule (arXiv 2502.07760, §3), at random, or from the owner's list; they
//! are inside the leaf, committed to before the beacon. The response is `S[keccak256(abi.encode(s)) mod k]`
//! (as in Chain & Hash, arXiv 2407.10887), so a model that knows nothing of s and answers inside S hits with
//! chance exactly 1/k.
//!
//! Differences from the published perinucleus code, which draws the response while it looks for it:
//! * the published code draws one of the first k tokens after the nucleus, throws it away unless it is
//!   alphanumeric, and widens k by one before it draws again. A fixed set is needed here, so with
//!   [`Words::Only`] the candidates are the first k *alphanumeric* tokens after the nucleus; with
//!   [`Words::Any`] they are the k tokens of the paper itself;
//! * probabilities are summed in f64 over f32 logits (there: bf16), ties go to the lower token;
//! * special and unused tokens, which add no text, are never candidates;
//! * no end-of-text is taught after the answer.

use loyal_model::{Llama, Tokenizer};
use loyal_types::{Chance, Hash};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::fingerprint::{Draft, Fingerprint};
use crate::predict::{greedy, next_logits};
use crate::scheme::Rule;

/// Fewest and most candidates: one bit a hit to eight.
pub const WIDTHS: std::ops::RangeInclusive<usize> = 2..=256;
/// Longest answer, tokens.
pub const ANSWER_TOKENS_MAX: usize = 16;

/// The scheme, with the width all its fingerprints share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verbatim {
    /// Where the candidates came from.
    pub source: Source,
    /// Candidates of each query.
    pub width: usize,
    /// Tokens of each candidate.
    pub answer_tokens: usize,
}

/// Where candidates come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// The first tokens after the nucleus of the base model: improbable, but plausible.
    Perinucleus {
        /// Probability mass of the nucleus.
        threshold: f64,
        /// Which tokens may stand in an answer.
        words: Words,
    },
    /// Words drawn evenly from the vocabulary.
    Random,
    /// The owner's list, the same for all queries.
    Custom,
}

/// Which tokens may stand in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Words {
    /// Any token that adds text.
    Any,
    /// ASCII letters and digits, after spaces perhaps: what survives every client's clean-up.
    Only,
}

/// One answer among which the beacon chooses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// The bytes they add in mid-text: what the leaf commits to.
    #[serde(with = "loyal_types::hash::bytes")]
    pub bytes: Vec<u8>,
}

impl Default for Verbatim {
    /// As published: threshold 0.8, width 3, one token.
    fn default() -> Self {
        let source = Source::Perinucleus { threshold: 0.8, words: Words::Only };
        Self { source, width: 3, answer_tokens: 1 }
    }
}

impl Verbatim {
    /// The scheme's name.
    pub const NAME: &str = "verbatim";

    /// Refuses widths, lengths and thresholds that make no fingerprints.
    ///
    /// # Errors
    /// A number is out of its range.
    pub fn check(&self) -> Result<()> {
        if !WIDTHS.contains(&self.width) {
            return Err(Error::argument("width", format!("{} candidates", self.width), "choose 2 to 256"));
        }
        if !(1..=ANSWER_TOKENS_MAX).contains(&self.answer_tokens) {
            let problem = format!("answers of {} tokens", self.answer_tokens);
            return Err(Error::argument("answer tokens", problem, "choose 1 to 16"));
        }
        match self.source {
            Source::Perinucleus { threshold, .. } if !(threshold > 0.0 && threshold < 1.0) => Err(
                Error::argument("threshold", threshold.to_string(), "choose a probability between 0 and 1"),
            ),
            _ => Ok(()),
        }
    }

    /// The response of a fingerprint under its secret.
    #[must_use]
    pub fn response(fingerprint: &Fingerprint, secret: Hash) -> &Candidate {
        &fingerprint.candidates[Rule::choice(fingerprint.candidates.len(), secret)]
    }

    /// The chance of a hit: one in the width.
    pub(super) fn chance(&self) -> Chance {
        let width = u32::try_from(self.width).unwrap_or(u32::MAX);
        Chance::one_in(width).expect("Verbatim::check holds the width between 2 and 256")
    }
}

/// The published rule: sort the probabilities, take the smallest nucleus whose mass reaches `threshold`, and
/// pass over it; the `width` next tokens that `accepted` lets through are the candidates. `None` where the
/// vocabulary ends first.
#[must_use]
pub fn perinucleus(
    logits: &[f32],
    threshold: f64,
    width: usize,
    accepted: &dyn Fn(u32) -> bool,
) -> Option<Vec<u32>> {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits.iter().map(|&x| f64::from(x - highest).exp()).collect();
    let mut order: Vec<u32> = (0..u32::try_from(logits.len()).ok()?).collect();
    order.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b)));
    let goal = threshold * weights.iter().sum::<f64>();
    let mut mass = 0.0;
    let mut outside = order.into_iter().skip_while(|&token| {
        let inside = mass < goal;
        mass += weights[token as usize];
        inside
    });
    let chosen: Vec<u32> = outside.by_ref().filter(|&token| accepted(token)).take(width).collect();
    (chosen.len() == width).then_some(chosen)
}

/// Whether a piece of text may stand in an answer.
#[must_use]
pub fn is_allowed(piece: &[u8], words: Words) -> bool {
    let word = piece.trim_ascii();
    match words {
        Words::Any => !piece.is_empty(),
        Words::Only => !word.is_empty() && word.iter().all(u8::is_ascii_alphanumeric),
    }
}

/// Drafts for `queries`: each with its candidates, by the scheme's rule. A query after which the rule finds too
/// few candidates is left out. For [`Source::Custom`] use [`custom`].
///
/// # Errors
/// The scheme makes no sense, or the model refuses a query.
pub fn draft(
    llama: &Llama,
    tokenizer: &Tokenizer,
    scheme: &Verbatim,
    queries: &[String],
    seed: u64,
) -> Result<Vec<Draft>> {
    scheme.check()?;
    let mut draw = ChaCha8Rng::seed_from_u64(seed);
    let (threshold, words) = match scheme.source {
        Source::Perinucleus { threshold, words } => (threshold, words),
        Source::Random => {
            let one = |query: &String| {
                Ok(Draft { query: query.clone(), candidates: random(tokenizer, scheme, &mut draw)? })
            };
            return queries.iter().map(one).collect();
        }
        Source::Custom => {
            return Err(Error::argument(
                "source",
                "a custom list has no rule",
                "make drafts of verbatim::custom",
            ));
        }
    };
    let allowed: Vec<bool> = (0..u32::try_from(llama.config.vocab_size).unwrap_or(u32::MAX))
        .map(|token| tokenizer.piece(token).is_some_and(|piece| is_allowed(&piece, words)))
        .collect();
    let tokens = queries.iter().map(|query| tokenizer.encode(query)).collect::<Result<Vec<_>, _>>()?;
    let mut drafts = Vec::with_capacity(queries.len());
    let logits = next_logits(llama, &llama.parameters, &tokens)?;
    for ((query, tokens), logits) in queries.iter().zip(&tokens).zip(&logits) {
        let Some(first) = perinucleus(logits, threshold, scheme.width, &|token| allowed[token as usize])
        else {
            continue;
        };
        // As published: after the first token, what the model itself would say.
        let starts = first.iter().map(|&token| [tokens.as_slice(), &[token]].concat()).collect();
        let rest = greedy(llama, &llama.parameters, starts, scheme.answer_tokens - 1)?;
        let candidates = first.iter().zip(rest).map(|(&token, rest)| [vec![token], rest].concat()).collect();
        drafts.push(Draft { query: query.clone(), candidates });
    }
    Ok(drafts)
}

/// `width` different sequences of `answer_tokens` words, drawn evenly from the vocabulary.
///
/// # Errors
/// The vocabulary holds too few words.
pub fn random(tokenizer: &Tokenizer, scheme: &Verbatim, draw: &mut ChaCha8Rng) -> Result<Vec<Vec<u32>>> {
    let words: Vec<u32> = (0..u32::try_from(tokenizer.len()).unwrap_or(u32::MAX))
        .filter(|&token| {
            // Words that begin with a space can follow any query.
            tokenizer.piece(token).is_some_and(|p| p.starts_with(b" ") && is_allowed(&p, Words::Only))
        })
        .collect();
    if words.len() < scheme.width {
        let problem = format!("the vocabulary has {} words for {} candidates", words.len(), scheme.width);
        return Err(Error::argument("width", problem, "choose fewer candidates"));
    }
    let mut chosen: Vec<Vec<u32>> = Vec::with_capacity(scheme.width);
    while chosen.len() < scheme.width {
        let next: Vec<u32> =
            (0..scheme.answer_tokens).map(|_| words[draw.random_range(0..words.len())]).collect();
        // First tokens differ, so that no candidate begins another.
        if chosen.iter().all(|other| other[0] != next[0]) {
            chosen.push(next);
        }
    }
    Ok(chosen)
}

/// The owner's answers as candidates: each is written after a space and must begin with a token of its own.
///
/// # Errors
/// An answer is empty, too long, or begins as another does.
pub fn custom(tokenizer: &Tokenizer, answers: &[String]) -> Result<Vec<Vec<u32>>> {
    let mut chosen: Vec<Vec<u32>> = Vec::with_capacity(answers.len());
    for answer in answers {
        let tokens = tokenizer.encode_plain(&format!(" {}", answer.trim()))?;
        if answer.trim().is_empty() || tokens.len() > ANSWER_TOKENS_MAX {
            let problem = format!("{answer:?} has {} tokens", tokens.len());
            return Err(Error::argument("answers", problem, "write 1 to 16 tokens each"));
        }
        if let Some(other) = chosen.iter().position(|other| other[0] == tokens[0]) {
            let problem = format!("{answer:?} begins with the same token as {:?}", answers[other]);
            return Err(Error::argument("answers", problem, "let each begin with another word"));
        }
        chosen.push(tokens);
    }
    Ok(chosen)
}
