//! Weights at hand as a suspect: parameters that answer as a host would have them answer, or a decoder.

use std::fmt;
use std::ops::ControlFlow;

use loyal_model::{Decoder, Llama, Parameters, Tokenizer, generate};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::answer::{Answerer, Ask, Mode, Reply, Said, Shown};
use super::attempt::top;
use crate::error::{Error, Result};
use crate::predict;

/// What a host does to the logits before it answers.
pub type Altered<'a> = &'a dyn Fn(&mut [f32], &mut ChaCha8Rng);

/// Parameters at hand: a model's own, or those of a merged, quantised or pruned copy.
#[derive(Clone, Copy)]
pub struct Weights<'a> {
    /// The model's shape.
    pub llama: &'a Llama,
    /// Its parameters.
    pub parameters: &'a Parameters,
    /// Its tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// What is done to its logits.
    pub altered: Option<Altered<'a>>,
    /// Seed of draws, and of what alters logits.
    pub seed: u64,
}

impl fmt::Debug for Weights<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Weights")
            .field("altered", &self.altered.is_some())
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

impl<'a> Weights<'a> {
    /// An honest host of `parameters`.
    #[must_use]
    pub const fn new(llama: &'a Llama, parameters: &'a Parameters, tokenizer: &'a Tokenizer) -> Self {
        Self { llama, parameters, tokenizer, altered: None, seed: 0 }
    }
}

impl Answerer for Weights<'_> {
    fn answer(&mut self, prompts: &[String], ask: Ask) -> Result<Vec<Reply>> {
        let sequences = prompts.iter().map(|prompt| self.tokenizer.encode(prompt));
        let mut sequences = sequences.collect::<loyal_model::Result<Vec<_>>>()?;
        let mut answers = vec![Vec::with_capacity(ask.tokens); prompts.len()];
        let mut draw = ChaCha8Rng::seed_from_u64(self.seed);
        self.seed = self.seed.wrapping_add(1);
        for _ in 0..ask.tokens {
            let rows = predict::next_logits(self.llama, self.parameters, &sequences)?;
            for ((sequence, answer), mut row) in sequences.iter_mut().zip(&mut answers).zip(rows) {
                if let Some(alter) = self.altered {
                    alter(&mut row, &mut draw);
                }
                let said = say(row, ask.mode, &mut draw);
                sequence.push(said.token);
                answer.push(said);
            }
        }
        Ok(answers.into_iter().map(Reply::Answered).collect())
    }
}

/// One token out of logits.
pub(crate) fn say(mut row: Vec<f32>, mode: Mode, draw: &mut ChaCha8Rng) -> Said {
    let highest = predict::highest(&row);
    predict::log_softmax(&mut row);
    match mode {
        Mode::Greedy => Said { token: highest, shown: Shown::Nothing },
        Mode::Sampled => Said { token: predict::sample(&row, draw.random()), shown: Shown::Nothing },
        Mode::Top(k) => {
            let shown = top(&row, k.into()).into_iter().map(|token| (token, row[token as usize]));
            Said { token: highest, shown: Shown::Top(shown.collect()) }
        }
        Mode::Logits => Said { token: highest, shown: Shown::All(row) },
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
    fn answer(&mut self, prompts: &[String], ask: Ask) -> Result<Vec<Reply>> {
        if ask.mode != Mode::Greedy {
            let remedy = "ask a decoder for greedy text; weights show more";
            return Err(Error::argument("mode", ask.mode.to_string(), remedy));
        }
        let mut requests = Vec::with_capacity(prompts.len());
        for prompt in prompts {
            let prompt = self.tokenizer.encode(prompt)?;
            requests.push(generate::Request {
                prompt,
                new_tokens_max: ask.tokens,
                stop_at_eos: false,
                ..generate::Request::default()
            });
        }
        let mut go_on = |_: usize, _: &str| ControlFlow::Continue(());
        let answers = generate::run(self.decoder, self.tokenizer, &requests, &mut go_on)?;
        let said = |token| Said { token, shown: Shown::Nothing };
        Ok(answers
            .into_iter()
            .map(|one| Reply::Answered(one.tokens.into_iter().map(said).collect()))
            .collect())
    }
}
