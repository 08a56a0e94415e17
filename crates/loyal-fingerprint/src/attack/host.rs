//! A host that hides: weights it has changed, prompts it rewrites, logits it alters, another model it asks.

use std::collections::BTreeMap;
use std::fmt;

use loyal_model::{Llama, Parameters, Tokenizer};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::inference::{Beside, Inference, OUT};
use super::prompt::Prompt;
use crate::check::{Answerer, Ask, Reply, Said, say};
use crate::error::Result;
use crate::predict;

/// Numbers of logits that are kept for when they are asked for again.
const KEPT_NUMBERS_MAX: usize = 1 << 25;

/// A host. The same seed gives the same answers.
pub struct Host<'a> {
    /// The shape of its models.
    pub llama: &'a Llama,
    /// Their tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// What it serves.
    pub parameters: &'a Parameters,
    /// Another model it asks beside.
    pub other: Option<&'a Parameters>,
    /// What it does to prompts.
    pub prompt: Option<&'a Prompt>,
    /// What it does to logits, in this order.
    pub inference: &'a [Inference],
    /// Seed of everything it draws.
    pub seed: u64,
    kept: BTreeMap<(bool, Vec<u32>), Vec<f32>>,
    asked: u64,
}

/// A host's own model, or the one it asks beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Own,
    Other,
}

impl fmt::Debug for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Host");
        shown.field("other", &self.other.is_some()).field("prompt", &self.prompt);
        shown.field("inference", &self.inference).field("seed", &self.seed).finish_non_exhaustive()
    }
}

impl<'a> Host<'a> {
    /// An honest host of `parameters`.
    #[must_use]
    pub const fn new(llama: &'a Llama, tokenizer: &'a Tokenizer, parameters: &'a Parameters) -> Self {
        Self {
            llama,
            tokenizer,
            parameters,
            other: None,
            prompt: None,
            inference: &[],
            seed: 0,
            kept: BTreeMap::new(),
            asked: 0,
        }
    }

    /// What the model is asked in place of `prompt`.
    pub(super) fn variants(&self, prompt: &str) -> Result<Vec<Vec<u32>>> {
        match self.prompt {
            Some(way) => way.variants(prompt, self.tokenizer, self.seed),
            None => Ok(vec![self.tokenizer.encode(prompt)?]),
        }
    }

    fn opening(&self, prompt: &str) -> Result<Vec<u32>> {
        self.prompt.map_or(Ok(Vec::new()), |way| way.opening(prompt, self.tokenizer))
    }

    pub(super) fn asks_other(&self) -> bool {
        self.other.is_some() && self.inference.iter().any(Inference::needs_other)
    }

    /// A generator for one round of answers.
    pub(super) fn draw(&mut self) -> ChaCha8Rng {
        let mut draw = ChaCha8Rng::seed_from_u64(self.seed);
        self.asked += 1;
        draw.set_stream(self.asked);
        draw
    }

    /// Alters one row of logits.
    pub(super) fn alter(&self, row: &mut [f32], beside: Beside<'_>, draw: &mut ChaCha8Rng) {
        self.inference.iter().for_each(|one| one.apply(row, beside, draw));
    }

    /// Logits after each talk, before they are altered: the mean of the log probabilities after its variants.
    fn next(&mut self, which: Which, talks: &[Talk]) -> Result<Vec<Vec<f32>>> {
        let all: Vec<&Vec<u32>> = talks.iter().flat_map(|talk| &talk.sequences).collect();
        let is_other = which == Which::Other;
        let unknown = |sequence: &&&Vec<u32>| !self.kept.contains_key(&(is_other, (**sequence).clone()));
        let mut missing: Vec<Vec<u32>> =
            all.iter().filter(unknown).map(|&sequence| sequence.clone()).collect();
        missing.sort_unstable();
        missing.dedup();
        let parameters = match (which, self.other) {
            (Which::Other, Some(other)) => other,
            _ => self.parameters,
        };
        let found = predict::next_logits(self.llama, parameters, &missing)?;
        let mut fresh: BTreeMap<Vec<u32>, Vec<f32>> = missing.into_iter().zip(found).collect();
        let row = |sequence: &Vec<u32>| {
            let known = self.kept.get(&(is_other, sequence.clone()));
            known.or_else(|| fresh.get(sequence)).expect("it was there or has been computed").clone()
        };
        let rows = talks.iter().map(|talk| mean(talk.sequences.iter().map(row).collect())).collect();
        // First words are asked for in every mode and at every draw; what follows differs.
        if talks.iter().all(|talk| talk.said == 0) {
            let room = KEPT_NUMBERS_MAX / self.llama.config.vocab_size;
            while self.kept.len() < room {
                let Some((sequence, row)) = fresh.pop_first() else { break };
                self.kept.insert((is_other, sequence), row);
            }
        }
        Ok(rows)
    }

    /// Altered logits of the next token of each talk, the tokens an opening forces aside.
    fn rows(&mut self, talks: &[Talk], draw: &mut ChaCha8Rng) -> Result<Vec<Vec<f32>>> {
        let mut rows = self.next(Which::Own, talks)?;
        let others = if self.asks_other() { Some(self.next(Which::Other, talks)?) } else { None };
        for (at, (row, talk)) in rows.iter_mut().zip(talks).enumerate() {
            let other = others.as_ref().map(|rows| rows[at].as_slice());
            self.alter(row, Beside { position: talk.said, other }, draw);
        }
        Ok(rows)
    }

    /// Continues prompts by `tokens` tokens, each chosen by `choose` from altered logits.
    pub(super) fn talk(
        &mut self,
        prompts: &[String],
        tokens: usize,
        choose: &mut dyn FnMut(Vec<f32>, &mut ChaCha8Rng) -> Said,
    ) -> Result<Vec<Vec<Said>>> {
        let mut draw = self.draw();
        let talks = prompts.iter().map(|prompt| {
            Ok(Talk { sequences: self.variants(prompt)?, opening: self.opening(prompt)?, said: 0 })
        });
        let mut talks = talks.collect::<Result<Vec<_>>>()?;
        let mut answers = vec![Vec::with_capacity(tokens); prompts.len()];
        for position in 0..tokens {
            let open: Vec<usize> =
                (0..talks.len()).filter(|&at| talks[at].opening.len() <= position).collect();
            let asked: Vec<Talk> = open.iter().map(|&at| talks[at].clone()).collect();
            let mut rows = self.rows(&asked, &mut draw)?.into_iter();
            for (at, talk) in talks.iter_mut().enumerate() {
                let said = match talk.opening.get(position) {
                    // Its sequence ends with the opening already.
                    Some(&token) => choose(forced(token, self.llama.config.vocab_size), &mut draw),
                    None => {
                        let row = rows.next().expect("there is a row for every talk without an opening");
                        let said = choose(row, &mut draw);
                        talk.sequences.iter_mut().for_each(|sequence| sequence.push(said.token));
                        said
                    }
                };
                talk.said += 1;
                answers[at].push(said);
            }
        }
        Ok(answers)
    }
}

/// One prompt and what has been said to it.
#[derive(Debug, Clone)]
struct Talk {
    sequences: Vec<Vec<u32>>,
    opening: Vec<u32>,
    said: usize,
}

fn forced(token: u32, vocabulary: usize) -> Vec<f32> {
    let mut row = vec![OUT; vocabulary];
    row[token as usize] = 0.0;
    row
}

/// The mean of log probabilities; a single row stays as it is.
pub(super) fn mean(mut rows: Vec<Vec<f32>>) -> Vec<f32> {
    if rows.len() < 2 {
        return rows.pop().unwrap_or_default();
    }
    rows.iter_mut().for_each(|row| predict::log_softmax(row));
    let count = rows.len() as f32;
    let mut sum = vec![0.0; rows[0].len()];
    rows.iter().for_each(|row| sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x / count));
    sum
}

impl Answerer for Host<'_> {
    fn answer(&mut self, prompts: &[String], ask: Ask) -> Result<Vec<Reply>> {
        let answers = self.talk(prompts, ask.tokens, &mut |row, draw| say(row, ask.mode, draw))?;
        Ok(answers.into_iter().map(Reply::Answered).collect())
    }
}
