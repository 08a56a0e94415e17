//! A model with another tokenizer: its text is cut into the registered tokenizer's pieces, as an endpoint's is.

use std::fmt;

use loyal_model::{Llama, Tokenizer};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::check::{Answerer, Ask, Mode, Reply, Said, Shown};
use crate::error::{Error, Result};
use crate::predict;

/// Tokens of its own for each registered one that is wanted: pieces may be short.
const TOKENS_EACH: usize = 4;

/// A model that says text and nothing else.
pub struct Foreign<'a> {
    /// The model.
    pub llama: &'a Llama,
    /// Its own tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The one the fingerprints speak of.
    pub registered: &'a Tokenizer,
    /// Seed of draws.
    pub seed: u64,
}

impl fmt::Debug for Foreign<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Foreign")
            .field("tokens", &self.tokenizer.len())
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

impl Answerer for Foreign<'_> {
    fn answer(&mut self, prompts: &[String], ask: Ask) -> Result<Vec<Reply>> {
        if ask.mode.shows_logprobs() {
            let remedy = "another tokenizer's log probabilities are of other tokens; look at text";
            return Err(Error::argument("mode", ask.mode.to_string(), remedy));
        }
        let sequences = prompts.iter().map(|prompt| self.tokenizer.encode(prompt));
        let mut sequences = sequences.collect::<loyal_model::Result<Vec<_>>>()?;
        let starts: Vec<usize> = sequences.iter().map(Vec::len).collect();
        let mut draw = ChaCha8Rng::seed_from_u64(self.seed);
        self.seed = self.seed.wrapping_add(1);
        for _ in 0..ask.tokens * TOKENS_EACH {
            let rows = predict::next_logits(self.llama, &self.llama.parameters, &sequences)?;
            for (sequence, mut row) in sequences.iter_mut().zip(rows) {
                sequence.push(match ask.mode {
                    Mode::Sampled => {
                        predict::log_softmax(&mut row);
                        predict::sample(&row, draw.random())
                    }
                    _ => predict::highest(&row),
                });
            }
        }
        let mut replies = Vec::with_capacity(prompts.len());
        for ((prompt, sequence), start) in prompts.iter().zip(&sequences).zip(starts) {
            let mut text = self.tokenizer.stream_after(&sequence[..start]);
            let mut said: String = sequence[start..].iter().filter_map(|&token| text.push(token)).collect();
            said.extend(text.finish());
            // Continuing the prompt, as the check of an endpoint cuts it.
            let asked = self.registered.encode(prompt)?;
            let whole = self.registered.encode(&format!("{prompt}{said}"))?;
            let common = asked.iter().zip(&whole).take_while(|(a, b)| a == b).count();
            let tokens = whole[common..].iter().take(ask.tokens);
            replies
                .push(Reply::Answered(tokens.map(|&token| Said { token, shown: Shown::Nothing }).collect()));
        }
        Ok(replies)
    }
}
