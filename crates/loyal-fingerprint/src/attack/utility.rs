//! What an attack costs the host: how good the answers still are that it sells.

use std::rc::Rc;

use loyal_model::{Llama, Parameters, Tokenizer};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::host::{Host, mean};
use super::inference::Beside;
use crate::check::{Said, Shown};
use crate::error::{Error, Result};
use crate::predict;

/// Share of a uniform distribution that is mixed in before a surprise is taken: a filter that leaves a token out would
/// otherwise have an infinite perplexity, however good its text.
pub const FLOOR: f64 = 0.01;

/// Windows that go through a model together.
const TOGETHER: usize = 8;

/// How good a host's answers are.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Utility {
    /// Perplexity of real continuations of real prompts.
    pub perplexity: f64,
    /// How often the likeliest token is the real one, 0 to 1.
    pub accuracy: f64,
    /// Perplexity, under the unmarked model, of what the host says greedily.
    pub greedy_perplexity: f64,
    /// The same of what it says when text is drawn at temperature 1.
    pub sampled_perplexity: f64,
}

/// How much of the marked model's utility is left, 1 for all of it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Kept {
    /// Ratio of the accuracies: what "utility kept" means where one figure stands for it.
    pub accuracy: f64,
    /// Perplexity before, divided by that after.
    pub perplexity: f64,
    /// The same of what is said greedily: above 1 where an attack makes text plainer.
    pub greedy: f64,
    /// The same of what is drawn.
    pub sampled: f64,
}

impl Utility {
    /// What is left of `before`.
    #[must_use]
    pub fn kept_of(&self, before: &Self) -> Kept {
        Kept {
            accuracy: self.accuracy / before.accuracy,
            perplexity: before.perplexity / self.perplexity,
            greedy: before.greedy_perplexity / self.greedy_perplexity,
            sampled: before.sampled_perplexity / self.sampled_perplexity,
        }
    }
}

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Pieces of real text.
    pub windows: usize,
    /// Tokens of each that are the prompt.
    pub prompt_tokens: usize,
    /// Tokens of each that are predicted.
    pub answer_tokens: usize,
    /// Prompts to which text is generated.
    pub generations: usize,
    /// Tokens of each generated text.
    pub generated_tokens: usize,
}

impl Default for Extent {
    /// Three thousand predicted tokens and two times 192 generated ones.
    fn default() -> Self {
        Self { windows: 48, prompt_tokens: 24, answer_tokens: 64, generations: 24, generated_tokens: 8 }
    }
}

/// Text nobody has trained on, and the unmarked model that judges what is generated.
#[derive(Debug)]
pub struct Bench<'a> {
    judge: (&'a Llama, &'a Parameters),
    tokenizer: &'a Tokenizer,
    extent: Extent,
    windows: Vec<Window>,
}

#[derive(Debug, Clone)]
struct Window {
    /// The prompt as it is asked; its tokens are those the text gives.
    prompt: String,
    answer: Vec<u32>,
}

/// Raw logits at every predicted token of a bench.
pub(super) type Raw = Rc<Vec<Vec<f32>>>;

/// Those of a host's own model and of the one it asks beside. Attacks that change nothing but logits share them.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    pub(super) own: Raw,
    pub(super) other: Option<Raw>,
}

impl<'a> Bench<'a> {
    /// Cuts `text` into windows.
    ///
    /// # Errors
    /// There is too little of it.
    pub fn new(judge: &'a Llama, tokenizer: &'a Tokenizer, text: &[u32], extent: Extent) -> Result<Self> {
        let length = extent.prompt_tokens + extent.answer_tokens;
        let wanted = length * extent.windows;
        if extent.windows == 0 || extent.prompt_tokens < 2 || extent.answer_tokens == 0 || text.len() < wanted
        {
            let problem = format!("{} tokens of held-out text", text.len());
            return Err(Error::argument("text", problem, format!("give {wanted} or more")));
        }
        // Spread over all of it.
        let stride = text.len() / extent.windows;
        let window = |at: usize| {
            let (prompt, answer) = text[at * stride..at * stride + length].split_at(extent.prompt_tokens);
            Ok(Window { prompt: tokenizer.decode(prompt)?, answer: answer.to_vec() })
        };
        let windows = (0..extent.windows).map(window).collect::<Result<_>>()?;
        Ok(Self { judge: (judge, &judge.parameters), tokenizer, extent, windows })
    }

    /// How good a host's answers are.
    ///
    /// # Errors
    /// The models refuse.
    pub fn measure(&self, host: &mut Host<'_>) -> Result<Utility> {
        let rows = self.rows(host)?;
        self.measure_on(host, &rows)
    }

    /// Raw logits of a host's models.
    pub(super) fn rows(&self, host: &Host<'_>) -> Result<Rows> {
        let other = match host.other {
            Some(other) if host.asks_other() => Some(self.raw(host, other)?),
            _ => None,
        };
        Ok(Rows { own: self.raw(host, host.parameters)?, other })
    }

    /// [`Bench::measure`] with raw logits that are known.
    pub(super) fn measure_on(&self, host: &mut Host<'_>, rows: &Rows) -> Result<Utility> {
        let (perplexity, accuracy) = self.predict(host, rows);
        let mut greedy = |row: Vec<f32>, _: &mut ChaCha8Rng| predict::highest(&row);
        let greedy_perplexity = self.generate(host, &mut greedy)?;
        let mut sampled = |mut row: Vec<f32>, draw: &mut ChaCha8Rng| {
            predict::log_softmax(&mut row);
            predict::sample(&row, draw.random())
        };
        let sampled_perplexity = self.generate(host, &mut sampled)?;
        Ok(Utility { perplexity, accuracy, greedy_perplexity, sampled_perplexity })
    }

    /// Accuracy alone, without generating: what a tuned attack looks at.
    pub(super) fn accuracy(&self, host: &mut Host<'_>, rows: &Rows) -> f64 {
        self.predict(host, rows).1
    }

    /// Logits at every predicted token: what the host's model would be asked, followed by the real text.
    pub(super) fn raw(&self, host: &Host<'_>, parameters: &Parameters) -> Result<Raw> {
        let mut rows = Vec::new();
        for windows in self.windows.chunks(TOGETHER) {
            let (mut sequences, mut positions, mut variants) = (Vec::new(), Vec::new(), Vec::new());
            for window in windows {
                let asked = host.variants(&window.prompt)?;
                variants.push(asked.len());
                for mut sequence in asked {
                    let first = sequence.len() - 1;
                    sequence.extend_from_slice(&window.answer[..window.answer.len() - 1]);
                    positions.extend((0..window.answer.len()).map(|at| (sequences.len(), first + at)));
                    sequences.push(sequence);
                }
            }
            let found =
                predict::logits_at(host.llama, parameters, &sequences, &positions)?.to_vec2::<f32>()?;
            let mut found = found.into_iter();
            for (window, variants) in windows.iter().zip(variants) {
                let count = window.answer.len();
                let found: Vec<Vec<f32>> = found.by_ref().take(count * variants).collect();
                rows.extend(
                    (0..count).map(|at| mean(found.iter().skip(at).step_by(count).cloned().collect())),
                );
            }
        }
        Ok(Rc::new(rows))
    }

    /// Perplexity and accuracy of the real text under altered logits.
    fn predict(&self, host: &mut Host<'_>, rows: &Rows) -> (f64, f64) {
        let mut draw = host.draw();
        let targets = self.windows.iter().flat_map(|window| window.answer.iter().enumerate());
        let (mut nats, mut right, mut count) = (0.0, 0.0, 0.0);
        for (index, ((position, &target), row)) in targets.zip(rows.own.iter()).enumerate() {
            let mut row = row.clone();
            let other = rows.other.as_ref().map(|rows| rows[index].as_slice());
            host.alter(&mut row, Beside { position, other }, &mut draw);
            right += f64::from(u8::from(predict::highest(&row) == target));
            nats += surprise(&mut row, target);
            count += 1.0;
        }
        ((nats / count).exp(), right / count)
    }

    /// Perplexity under the judge of what a host says.
    fn generate(
        &self,
        host: &mut Host<'_>,
        choose: &mut dyn FnMut(Vec<f32>, &mut ChaCha8Rng) -> u32,
    ) -> Result<f64> {
        let count = self.extent.generations.min(self.windows.len());
        let prompts: Vec<String> = self.windows[..count].iter().map(|window| window.prompt.clone()).collect();
        let mut say =
            |row: Vec<f32>, draw: &mut ChaCha8Rng| Said { token: choose(row, draw), shown: Shown::Nothing };
        let answers = host.talk(&prompts, self.extent.generated_tokens, &mut say)?;
        let (mut nats, mut tokens) = (0.0, 0.0);
        for (prompt, answer) in prompts.iter().zip(answers) {
            let mut sequence = self.tokenizer.encode(prompt)?;
            let asked = sequence.len();
            sequence.extend(answer.iter().map(|said| said.token));
            let surprise = predict::surprise(self.judge.0, self.judge.1, &[sequence], asked)?;
            nats += surprise.iter().sum::<f64>() * answer.len() as f64;
            tokens += answer.len() as f64;
        }
        Ok((nats / tokens).exp())
    }
}

/// −ln of the target's probability, a uniform distribution mixed in.
fn surprise(row: &mut [f32], target: u32) -> f64 {
    let count = row.len() as f64;
    predict::log_softmax(row);
    let probability = row.get(target as usize).map_or(0.0, |&x| f64::from(x).exp());
    -((1.0 - FLOOR) * probability + FLOOR / count).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surprise_has_a_floor() {
        let mut row = [0.0, 1f32.ln(), 2f32.ln(), super::super::inference::OUT];
        // Probabilities ¼, ¼, ½, 0 among four tokens.
        assert!((surprise(&mut row.clone(), 2) + (0.99 * 0.5 + 0.0025f64).ln()).abs() < 1e-6);
        assert!((surprise(&mut row, 3) + 0.0025f64.ln()).abs() < 1e-6);
    }

    #[test]
    fn what_is_kept_is_relative() {
        let before =
            Utility { perplexity: 50.0, accuracy: 0.4, greedy_perplexity: 5.0, sampled_perplexity: 60.0 };
        let after =
            Utility { perplexity: 100.0, accuracy: 0.3, greedy_perplexity: 4.0, sampled_perplexity: 60.0 };
        let kept = after.kept_of(&before);
        assert!((kept.accuracy - 0.75).abs() < 1e-12 && (kept.perplexity - 0.5).abs() < 1e-12);
        assert!((kept.greedy - 1.25).abs() < 1e-12 && (kept.sampled - 1.0).abs() < 1e-12);
    }
}
