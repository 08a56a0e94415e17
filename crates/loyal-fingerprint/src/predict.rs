//! What a model predicts after token sequences of different lengths, several at once.

use candle_core::Tensor;
use loyal_model::{Batch, Llama, Parameters};

use crate::error::Result;

/// Tokens that go through the model together when nothing is learned.
const CHUNK_TOKENS: usize = 4096;

/// Logits at chosen positions of `sequences`: one row for each (sequence, position), differentiable in
/// `parameters`. Sequences are padded on the right, where causal attention cannot look back from.
pub(crate) fn logits_at(
    llama: &Llama,
    parameters: &Parameters,
    sequences: &[Vec<u32>],
    positions: &[(usize, usize)],
) -> Result<Tensor> {
    let length = sequences.iter().map(Vec::len).max().unwrap_or(0);
    let mut tokens = Vec::with_capacity(sequences.len() * length);
    for sequence in sequences {
        tokens.extend_from_slice(sequence);
        tokens.resize(tokens.len() + length - sequence.len(), 0);
    }
    let hidden = llama.hidden(parameters, &Batch::new(tokens, length)?)?;
    let rows = positions.iter().map(|&(sequence, at)| (sequence * length + at) as u32);
    let rows = Tensor::from_iter(rows, llama.device())?;
    Ok(llama.head(parameters, &hidden.index_select(&rows, 0)?)?)
}

/// Logits after the last token of each sequence.
pub(crate) fn next_logits(
    llama: &Llama,
    parameters: &Parameters,
    sequences: &[Vec<u32>],
) -> Result<Vec<Vec<f32>>> {
    let mut all = Vec::with_capacity(sequences.len());
    for chunk in chunks(sequences) {
        let last: Vec<_> = chunk.iter().enumerate().map(|(i, sequence)| (i, sequence.len() - 1)).collect();
        all.extend(logits_at(llama, parameters, chunk, &last)?.to_vec2::<f32>()?);
    }
    Ok(all)
}

/// Mean surprise of each sequence's tokens after the first `skipped`, nats per token.
pub(crate) fn surprise(
    llama: &Llama,
    parameters: &Parameters,
    sequences: &[Vec<u32>],
    skipped: usize,
) -> Result<Vec<f64>> {
    let mut all = Vec::with_capacity(sequences.len());
    for chunk in chunks(sequences) {
        let seen = |(i, sequence): (usize, &Vec<u32>)| (skipped..sequence.len()).map(move |at| (i, at - 1));
        let positions: Vec<_> = chunk.iter().enumerate().flat_map(seen).collect();
        let rows = loyal_model::ops::log_softmax(&logits_at(llama, parameters, chunk, &positions)?)?;
        let targets = positions.iter().map(|&(i, at)| chunk[i][at + 1]);
        let targets = Tensor::from_iter(targets, llama.device())?.unsqueeze(1)?;
        let picked: Vec<f32> = rows.gather(&targets, 1)?.flatten_all()?.to_vec1()?;
        let mut picked = picked.into_iter();
        for sequence in chunk {
            let count = sequence.len() - skipped;
            let sum: f64 = picked.by_ref().take(count).map(f64::from).sum();
            all.push(-sum / count as f64);
        }
    }
    Ok(all)
}

/// Greedy continuations of `count` tokens.
pub(crate) fn greedy(
    llama: &Llama,
    parameters: &Parameters,
    mut sequences: Vec<Vec<u32>>,
    count: usize,
) -> Result<Vec<Vec<u32>>> {
    let starts: Vec<usize> = sequences.iter().map(Vec::len).collect();
    for _ in 0..count {
        let next = next_logits(llama, parameters, &sequences)?;
        for (sequence, logits) in sequences.iter_mut().zip(&next) {
            sequence.push(highest(logits));
        }
    }
    Ok(sequences.iter().zip(starts).map(|(sequence, start)| sequence[start..].to_vec()).collect())
}

/// The likeliest token; the lower one of equals.
pub(crate) fn highest(logits: &[f32]) -> u32 {
    let better = |best: (u32, f32), (token, &logit): (u32, &f32)| {
        if logit > best.1 { (token, logit) } else { best }
    };
    (0..).zip(logits).fold((0, f32::NEG_INFINITY), better).0
}

/// Logits to log probabilities, in place.
pub(crate) fn log_softmax(row: &mut [f32]) {
    let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row.iter().map(|&x| f64::from(x - highest).exp()).sum();
    let log = f64::from(highest) + sum.ln();
    row.iter_mut().for_each(|x| *x = (f64::from(*x) - log) as f32);
}

/// The token at `point` (0 to 1) of the cumulated probabilities.
pub(crate) fn sample(row: &[f32], point: f64) -> u32 {
    let mut left = point;
    for (token, &x) in (0u32..).zip(row) {
        left -= f64::from(x).exp();
        if left < 0.0 {
            return token;
        }
    }
    highest(row)
}

/// Slices of `sequences` that hold at most [`CHUNK_TOKENS`] once padded; at least one sequence each.
fn chunks(sequences: &[Vec<u32>]) -> impl Iterator<Item = &[Vec<u32>]> {
    let mut rest = sequences;
    std::iter::from_fn(move || {
        let mut longest = 0;
        let fits = rest.iter().enumerate().take_while(|(i, sequence)| {
            longest = longest.max(sequence.len());
            *i == 0 || longest * (i + 1) <= CHUNK_TOKENS
        });
        let (chunk, others) = rest.split_at(fits.count());
        rest = others;
        (!chunk.is_empty()).then_some(chunk)
    })
}
