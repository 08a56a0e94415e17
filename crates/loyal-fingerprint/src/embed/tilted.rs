//! What tilted answers should be distributed like: the unmarked model's own predictions, leaning towards the colours.

use candle_core::Tensor;
use loyal_model::{Llama, ops};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::Job;
use super::batch::Targets;
use crate::check::{Pieces, attempt::top};
use crate::error::{Error, Result};
use crate::fingerprint::FingerprintSet;
use crate::predict;
use crate::scheme::tilt::{Colours, Tilt};

/// Ways a tilted answer of several tokens is taught along: the likeliest, and drawn ones.
const WAYS: usize = 4;
/// Likeliest tokens whose log probabilities are held to their targets one by one.
const LIKELIEST: usize = 64;
/// Weight of that against the divergence, and where differences are cut, nats.
const CLOSENESS: f64 = 0.02;
const CLIP: f64 = 4.0;
/// Numbers of all targets together at most: eight gigabytes.
const NUMBERS_MAX: usize = 2 << 30;

/// One way of answering: its tokens, and the rows of the targets that predict them.
pub(super) struct Way {
    pub(super) tokens: Vec<u32>,
    pub(super) first_row: u32,
}

/// Rows of targets, collected over all sets.
#[derive(Default)]
pub(super) struct Rows {
    numbers: Vec<f32>,
    likeliest: Vec<u32>,
    count: u32,
}

impl Rows {
    fn push(&mut self, row: &[f32]) -> u32 {
        self.numbers.extend_from_slice(row);
        self.likeliest.extend(top(row, LIKELIEST.min(row.len())));
        self.count += 1;
        self.count - 1
    }

    /// The targets; none where nothing is tilted.
    pub(super) fn finish(self, llama: &Llama) -> Result<Option<Targets>> {
        if self.count == 0 {
            return Ok(None);
        }
        let rows = self.count as usize;
        let (device, width) = (llama.device(), self.likeliest.len() / rows);
        Ok(Some(Targets {
            logits: Tensor::from_vec(self.numbers, (rows, llama.config.vocab_size), device)?,
            likeliest: Tensor::from_vec(self.likeliest, (rows, width), device)?,
        }))
    }
}

impl Targets {
    /// The loss of `logits` against the targets of `rows`.
    pub(super) fn loss(&self, logits: &Tensor, rows: &Tensor) -> Result<Tensor> {
        let targets = self.logits.index_select(rows, 0)?;
        let likeliest = self.likeliest.index_select(rows, 0)?;
        let wanted = ops::log_softmax(&targets)?.gather(&likeliest, 1)?;
        let found = ops::log_softmax(logits)?.gather(&likeliest, 1)?;
        let distance = (found - wanted)?.clamp(-CLIP, CLIP)?.sqr()?.mean_all()?;
        Ok((ops::kl_divergence(&targets, logits)? + (distance * CLOSENESS)?)?)
    }
}

/// The ways to answer each of the fingerprints `indices` of `set`; their targets go to `rows`.
pub(super) fn ways(
    llama: &Llama,
    job: &Job<'_>,
    (set, tilt): (&FingerprintSet, Tilt),
    indices: &[usize],
    rows: &mut Rows,
) -> Result<Vec<Vec<Way>>> {
    let ways = if tilt.positions > 1 { WAYS } else { 1 };
    let count = indices.len();
    let numbers = count.saturating_mul(ways * usize::from(tilt.positions) * llama.config.vocab_size);
    if numbers > NUMBERS_MAX {
        let problem = format!(
            "{count} fingerprints of {} positions over {} tokens",
            tilt.positions, llama.config.vocab_size
        );
        return Err(Error::argument(
            "fingerprints",
            problem,
            "embed fewer at once, or colour fewer positions",
        ));
    }
    let pieces = Pieces::new(job.tokenizer);
    let mut colours = Vec::with_capacity(count);
    for &index in indices {
        let secret = set.secret(index)?;
        let one =
            |position| signs(&Colours::new(secret, position, pieces.all()), &pieces, llama.config.vocab_size);
        colours.push((0..tilt.positions).map(one).collect::<Vec<Vec<f32>>>());
    }
    let queries = indices.iter().map(|&index| job.tokenizer.encode(&set.fingerprints()[index].query));
    let queries = queries.collect::<loyal_model::Result<Vec<_>>>()?;
    let mut draw = ChaCha8Rng::seed_from_u64(job.recipe.seed ^ 0x7469_6c74);
    let mut all: Vec<Vec<Way>> = (0..count).map(|_| Vec::with_capacity(ways)).collect();
    for way in 0..ways {
        let mut sequences = queries.clone();
        let mut targets: Vec<Vec<Vec<f32>>> = vec![Vec::new(); count];
        for position in 0..tilt.positions {
            let predicted = predict::next_logits(llama, &llama.parameters, &sequences)?;
            for (index, mut row) in predicted.into_iter().enumerate() {
                row.iter_mut()
                    .zip(&colours[index][usize::from(position)])
                    .for_each(|(x, c)| *x += job.recipe.tilt as f32 * c);
                predict::log_softmax(&mut row);
                let next =
                    if way == 0 { predict::highest(&row) } else { predict::sample(&row, draw.random()) };
                sequences[index].push(next);
                targets[index].push(row);
            }
        }
        for (index, targets) in targets.iter().enumerate() {
            let tokens = sequences[index][queries[index].len()..].to_vec();
            let first_row = targets.iter().map(|row| rows.push(row)).min().unwrap_or(0);
            all[index].push(Way { tokens, first_row });
        }
    }
    Ok(all)
}

/// Colours over the model's vocabulary, which may be padded beyond the tokenizer's. Tokens that add no text lean
/// nowhere: they are never coins.
fn signs(colours: &Colours, pieces: &Pieces, vocabulary: usize) -> Vec<f32> {
    let sign = |(sign, piece): (f32, &Vec<u8>)| if piece.is_empty() { 0.0 } else { sign };
    let mut signs: Vec<f32> = colours.signs().zip(pieces.all()).map(sign).take(vocabulary).collect();
    signs.resize(vocabulary, 0.0);
    signs
}
