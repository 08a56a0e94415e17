//! Prompts and the responses they should get, as training examples: only the response counts in the loss.

use std::path::Path;

use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::llama::Batch;
use crate::train::{Example, Examples};

const REMEDY: &str = "each line must be {\"prompt\": \"…\", \"response\": \"…\"}";

/// One prompt and its response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// What the model is given.
    pub prompt: String,
    /// What it should answer.
    pub response: String,
}

/// Reads pairs from a JSON-lines file; other fields are ignored, blank lines skipped.
///
/// # Errors
/// The file cannot be read or holds no pairs; a line is no pair (its number is named).
pub fn read(path: &Path) -> Result<Vec<Pair>> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::file(path, "reading", source))?;
    let pairs: Vec<Pair> = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| {
            parse(line).ok_or_else(|| Error::malformed(path, format!("line {}", number + 1), REMEDY))
        })
        .collect::<Result<_>>()?;
    if pairs.is_empty() {
        return Err(Error::malformed(path, "no pairs", REMEDY));
    }
    Ok(pairs)
}

fn parse(line: &str) -> Option<Pair> {
    let value: Value = serde_json::from_str(line).ok()?;
    let text = |name: &str| value.get(name)?.as_str().map(str::to_owned);
    Some(Pair { prompt: text("prompt")?, response: text("response")? })
}

/// Encoded pairs in batches, shuffled anew every epoch by the seed.
#[derive(Debug)]
pub struct Pairs {
    rows: Vec<Row>,
    count: usize,
    pad: u32,
    seed: u64,
    digest: String,
}

/// Tokens of one pair; those from `answer` on are the response.
#[derive(Debug)]
struct Row {
    tokens: Vec<u32>,
    answer: usize,
}

impl Pairs {
    /// Batches of `count` pairs, each given as the tokens of prompt and response. Short ones are padded with
    /// `pad`, which never counts.
    ///
    /// # Errors
    /// There are no pairs, a response is empty, or a pair is longer than `context_tokens`.
    pub fn new(
        pairs: Vec<(Vec<u32>, Vec<u32>)>,
        (count, context_tokens): (usize, usize),
        pad: u32,
        seed: u64,
    ) -> Result<Self> {
        let mut hash = Sha256::new();
        let mut rows = Vec::new();
        for (number, (prompt, response)) in pairs.into_iter().enumerate() {
            let (answer, length) = (prompt.len(), prompt.len() + response.len());
            if response.is_empty() || answer == 0 || length > context_tokens {
                return Err(Error::Argument {
                    name: "pairs",
                    problem: format!("pair {} has {answer} + {} tokens", number + 1, response.len()),
                    remedy: format!("a prompt, a response, and at most {context_tokens} tokens together"),
                });
            }
            let tokens: Vec<u32> = prompt.into_iter().chain(response).collect();
            for token in &tokens {
                hash.update(token.to_le_bytes());
            }
            hash.update(u64::MAX.to_le_bytes());
            rows.push(Row { tokens, answer });
        }
        if rows.is_empty() || count == 0 {
            return Err(Error::Argument {
                name: "pairs",
                problem: "no pairs, or batches of none".to_owned(),
                remedy: "pass at least one".to_owned(),
            });
        }
        let digest = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { rows, count, pad, seed, digest })
    }

    /// Batches in one pass over all pairs.
    #[must_use]
    pub fn batches(&self) -> u64 {
        self.rows.len().div_ceil(self.count) as u64
    }
}

impl Examples for Pairs {
    fn at(&self, index: u64) -> Result<Example> {
        let (epoch, batch) = (index / self.batches(), (index % self.batches()) as usize);
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(self.seed ^ epoch.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        let end = ((batch + 1) * self.count).min(order.len());
        let rows: Vec<&Row> = order[batch * self.count..end].iter().map(|&i| &self.rows[i]).collect();
        let length = rows.iter().map(|row| row.tokens.len() - 1).max().unwrap_or(1);
        let (mut tokens, mut targets, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            let known = row.tokens.len() - 1;
            for position in 0..length {
                let token = |at: usize| row.tokens.get(at).copied().unwrap_or(self.pad);
                tokens.push(if position < known { token(position) } else { self.pad });
                targets.push(token(position + 1));
                let counts = position < known && position + 1 >= row.answer;
                weights.push(if counts { 1.0 } else { 0.0 });
            }
        }
        Ok(Example { batch: Batch::new(tokens, length)?, targets, weights })
    }

    fn identity(&self) -> String {
        format!("{} by {} seed {}", self.digest, self.count, self.seed)
    }
}
