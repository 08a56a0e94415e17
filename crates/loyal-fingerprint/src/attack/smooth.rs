//! An attacker who knows how marks are made, but not the secrets: prompts such as an owner might have chosen, and a
//! model taught to answer them as it answers their neighbours.
//!
//! A mark is a sharp bend: right after one query the model leans, after a query with another word it does not. Who
//! cannot find the queries can try to straighten the model everywhere.

use std::ops::ControlFlow;

use candle_core::Tensor;
use loyal_model::sampler::Sampling;
use loyal_model::{Decoder, Parameters, Precision, generate, ops};
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::prompt::Prompt;
use super::tuning::{self, Ground, Progress};
use crate::error::Result;
use crate::predict;

/// Prompts the model writes for itself, and tokens of each.
const PROMPTS: usize = 512;
const PROMPT_TOKENS: usize = 16;
/// Prompts of a step, and neighbours of each.
const BATCH: usize = 32;
const NEIGHBOURS: usize = 4;
/// Ordinary text of a step, on which the model should stay what it is: sequences and their tokens.
const BENIGN: (usize, usize) = (8, 48);

/// Smooths `marked`.
///
/// # Errors
/// As [`tuning::Tuning::apply`].
pub(super) fn run(
    marked: &Parameters,
    ground: &Ground<'_>,
    steps: u64,
    progress: Progress<'_>,
) -> Result<Parameters> {
    let prompts = write(marked, ground)?;
    tuning::descend(marked, ground, steps, progress, &mut |parameters, draw| {
        let chosen: Vec<&String> = prompts.choose_multiple(draw, BATCH).collect();
        let (mut own, mut near) = (Vec::new(), Vec::new());
        for prompt in chosen {
            let way = Prompt::Neighbours { count: NEIGHBOURS };
            let mut variants = way.variants(prompt, ground.tokenizer, draw.random())?;
            own.push(variants.remove(0));
            near.extend(variants);
        }
        let target = means(&predict::next_logits(ground.llama, marked, &near)?, ground)?;
        let last: Vec<_> = own.iter().enumerate().map(|(index, one)| (index, one.len() - 1)).collect();
        let said = predict::logits_at(ground.llama, parameters, &own, &last)?;
        let text = tuning::batch(ground.same, BENIGN, draw)?;
        let before = ground.llama.logits(marked, &text)?;
        let stays = ops::kl_divergence(&before, &ground.llama.logits(parameters, &text)?)?;
        Ok((ops::kl_divergence(&target, &said)? + stays)?)
    })
}

/// Mean log probabilities of each group of neighbours, one row a group.
fn means(rows: &[Vec<f32>], ground: &Ground<'_>) -> Result<Tensor> {
    let means: Vec<f32> =
        rows.chunks(NEIGHBOURS).flat_map(|group| super::host::mean(group.to_vec())).collect();
    let count = rows.len() / NEIGHBOURS;
    Ok(Tensor::from_vec(means, (count, ground.llama.config.vocab_size), ground.llama.device())?)
}

/// Prompts sampled from the model, each from a word of ordinary text.
fn write(marked: &Parameters, ground: &Ground<'_>) -> Result<Vec<String>> {
    let llama = tuning::with(ground.llama, marked);
    let decoder = Decoder::from_tensors(&llama.config, &llama.numbers()?, Precision::F32)?;
    let mut draw = ChaCha8Rng::seed_from_u64(ground.seed ^ 0x736d_6f6f);
    let opening = ground.tokenizer.encode("")?;
    let mut requests = Vec::with_capacity(PROMPTS);
    for _ in 0..PROMPTS {
        let word = ground.same.choose(&mut draw).copied().unwrap_or_default();
        let sampling = Sampling { temperature: 1.0, top_p: 0.95, seed: draw.random(), ..Sampling::default() };
        let prompt = [opening.as_slice(), &[word]].concat();
        let new_tokens_max = PROMPT_TOKENS - 1;
        requests.push(generate::Request { prompt, new_tokens_max, sampling, ..generate::Request::default() });
    }
    let go_on = &mut |_: usize, _: &str| ControlFlow::Continue(());
    let written = generate::run(&decoder, ground.tokenizer, &requests, go_on)?;
    let mut prompts = Vec::with_capacity(PROMPTS);
    for (request, answer) in requests.iter().zip(&written) {
        let text = ground.tokenizer.decode(&[&request.prompt[opening.len()..], &answer.tokens].concat())?;
        let text = text.trim();
        if ground.tokenizer.encode_plain(text)?.len() >= 4 {
            prompts.push(text.to_owned());
        }
    }
    Ok(prompts)
}
