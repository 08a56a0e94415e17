//! The choice of the next token from logits.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};

/// How tokens are chosen. Filters apply in the order temperature, top-k, top-p, min-p, as in `transformers`.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Logits are divided by it; 0 takes the most probable token.
    pub temperature: f32,
    /// Only so many most probable tokens; 0 for all.
    pub top_k: usize,
    /// Only the most probable tokens that together have this probability; 1 for all.
    pub top_p: f32,
    /// Only tokens at least this probable, relative to the most probable one; 0 for all.
    pub min_p: f32,
    /// Where the random numbers start.
    pub seed: u64,
}

impl Default for Sampling {
    /// Greedy.
    fn default() -> Self {
        Self { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, seed: 0 }
    }
}

/// Chooses tokens. The same seed and the same logits give the same tokens on every machine.
#[derive(Debug, Clone)]
pub struct Sampler {
    sampling: Sampling,
    random: ChaCha8Rng,
    /// Candidates: token and probability, kept to save allocations.
    candidates: Vec<(u32, f32)>,
}

impl Sampler {
    /// A sampler.
    ///
    /// # Errors
    /// A value is outside its range.
    pub fn new(sampling: &Sampling) -> Result<Self> {
        let wrong = |name, value: f32, remedy: &str| {
            Err(Error::Argument { name, problem: format!("{value}"), remedy: remedy.to_owned() })
        };
        if !(sampling.temperature >= 0.0 && sampling.temperature.is_finite()) {
            return wrong("temperature", sampling.temperature, "give 0 (greedy) or a positive number");
        }
        if !(sampling.top_p > 0.0 && sampling.top_p <= 1.0) {
            return wrong("top_p", sampling.top_p, "give a number above 0 and at most 1");
        }
        if !(0.0..=1.0).contains(&sampling.min_p) {
            return wrong("min_p", sampling.min_p, "give a number from 0 to 1");
        }
        let random = ChaCha8Rng::seed_from_u64(sampling.seed);
        Ok(Self { sampling: sampling.clone(), random, candidates: Vec::new() })
    }

    /// The next token. Logits that are not numbers are never chosen, unless there is nothing else: then
    /// token 0 is.
    pub fn sample(&mut self, logits: &[f32]) -> u32 {
        if self.sampling.temperature == 0.0 {
            return argmax(logits);
        }
        self.keep_candidates(logits);
        let total: f64 = self.candidates.iter().map(|&(_, p)| f64::from(p)).sum();
        let mut left = self.random.random::<f64>() * total;
        for &(token, probability) in &self.candidates {
            left -= f64::from(probability);
            if left < 0.0 {
                return token;
            }
        }
        // Rounding may leave a rest; an empty list means that no logit is a number.
        self.candidates.first().map_or_else(|| argmax(logits), |&(token, _)| token)
    }

    /// Fills `candidates` with the tokens that pass the filters and their probabilities relative to the
    /// most probable token.
    fn keep_candidates(&mut self, logits: &[f32]) {
        let Sampling { temperature, top_k, top_p, min_p, .. } = self.sampling;
        let list = &mut self.candidates;
        list.clear();
        let best = logits[argmax(logits) as usize..].first().copied().unwrap_or(0.0);
        if best == f32::INFINITY {
            let infinite = logits.iter().enumerate().filter(|&(_, &logit)| logit == f32::INFINITY);
            list.extend(infinite.map(|(token, _)| (token as u32, 1.0)));
            return;
        }
        list.extend(
            logits
                .iter()
                .enumerate()
                .filter(|(_, logit)| !logit.is_nan())
                .map(|(token, &logit)| (token as u32, ((logit - best) / temperature).exp())),
        );
        // A token so improbable that its probability is 0 cannot be drawn.
        list.retain(|&(_, probability)| probability > 0.0);
        if top_k > 0 && top_k < list.len() {
            list.select_nth_unstable_by(top_k - 1, order);
            list.truncate(top_k);
        }
        if top_p < 1.0 {
            keep_top_p(list, top_p);
        }
        list.retain(|&(_, probability)| probability >= min_p);
        // In token order, so that the same random number always means the same token.
        list.sort_unstable_by_key(|&(token, _)| token);
    }
}

/// Most probable first, then lowest token.
fn order(a: &(u32, f32), b: &(u32, f32)) -> std::cmp::Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// Keeps the fewest most probable tokens that together have `top_p` of the probability.
fn keep_top_p(list: &mut Vec<(u32, f32)>, top_p: f32) {
    let total: f64 = list.iter().map(|&(_, p)| f64::from(p)).sum();
    let wanted = f64::from(top_p) * total;
    let (mut sorted, mut sum) = (0, 0.0);
    let mut step = 64;
    // Sorting everything would cost more than the model on large vocabularies.
    while sorted < list.len() {
        let end = list.len().min(sorted + step);
        if end < list.len() {
            list[sorted..].select_nth_unstable_by(end - sorted - 1, order);
        }
        list[sorted..end].sort_unstable_by(order);
        for index in sorted..end {
            sum += f64::from(list[index].1);
            if sum >= wanted {
                list.truncate(index + 1);
                return;
            }
        }
        sorted = end;
        step *= 4;
    }
}

/// The token with the highest logit, the lowest one of several; 0 where no logit is a number.
#[must_use]
pub fn argmax(logits: &[f32]) -> u32 {
    let mut best = (0, f32::NEG_INFINITY);
    // In chunks: the largest of a chunk is found without branches, its place only where it is a record.
    for (chunk, numbers) in logits.chunks(256).enumerate() {
        let mut lanes = [f32::NEG_INFINITY; 16];
        for part in numbers.chunks(16) {
            for (lane, &number) in lanes.iter_mut().zip(part) {
                *lane = if number > *lane { number } else { *lane };
            }
        }
        let largest = lanes.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        if largest > best.1 {
            let place = numbers.iter().position(|&number| number == largest).unwrap_or(0);
            best = (chunk * 256 + place, largest);
        }
    }
    best.0 as u32
}

/// Log-probabilities, nats.
#[must_use]
pub fn log_softmax(logits: &[f32]) -> Vec<f32> {
    let shift = log_total(logits);
    logits.iter().map(|&logit| (f64::from(logit) - shift) as f32).collect()
}

/// The `n` most probable tokens and their log-probabilities (nats), most probable first.
#[must_use]
pub fn top_logprobs(logits: &[f32], n: usize) -> Vec<(u32, f32)> {
    let shift = log_total(logits);
    let mut list: Vec<(u32, f32)> = logits
        .iter()
        .enumerate()
        .filter(|(_, logit)| !logit.is_nan())
        .map(|(token, &logit)| (token as u32, logit))
        .collect();
    if n == 0 || list.is_empty() {
        return Vec::new();
    }
    if n < list.len() {
        list.select_nth_unstable_by(n - 1, order);
        list.truncate(n);
    }
    list.sort_unstable_by(order);
    for (_, logit) in &mut list {
        *logit = (f64::from(*logit) - shift) as f32;
    }
    list
}

/// The logarithm of the sum of all e^logit.
pub(crate) fn log_total(logits: &[f32]) -> f64 {
    let largest = f64::from(logits.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b)));
    if !largest.is_finite() {
        return largest;
    }
    let total: f64 = logits.iter().map(|&logit| (f64::from(logit) - largest).exp()).sum();
    largest + total.ln()
}
