//! A model from nothing but text: tokenizer, weights, and the record of how they came about.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use candle_core::Device;
use loyal_types::Clock;
use sha2::{Digest as _, Sha256};

use crate::config::Config;
use crate::corpus::{Corpus, END_OF_TEXT, Windows, file_digest, pieces};
use crate::error::{Error, Result};
use crate::llama::{Batch, Llama};
use crate::ops;
use crate::tokenizer::Tokenizer;
use crate::train::{self, Ending, Plan, Progress};
use crate::weights::{Stored, write_atomically};

/// Trains a tokenizer and a model on text files and writes both into `recipe.folder`. Killed, it resumes.
///
/// # Errors
/// A text is missing, empty or not UTF-8; the shape makes no sense; training fails; the folder cannot be written.
pub fn run(
    recipe: &Recipe<'_>,
    clock: &dyn Clock,
    report: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Result<Pretrained> {
    let work = recipe.folder.join("work");
    let (tokenizer, digest) = tokenizer(recipe, report)?;
    let corpus = Corpus::prepare(recipe.texts, &tokenizer, &digest, &work)?;
    let held_out = Corpus::prepare(&[recipe.validation.to_owned()], &tokenizer, &digest, &work)?.tokens();
    let _ = report(Event::Encoded { tokens: corpus.token_count(), validation_tokens: held_out.len() });
    let windows = Windows::new(corpus, recipe.sequences, recipe.sequence_tokens, recipe.seed)?;
    let mut config = recipe.config.clone();
    config.eos_tokens = tokenizer.token(END_OF_TEXT).into_iter().collect();
    let mut llama = Llama::random(config, recipe.seed, &Device::Cpu)?;
    let checkpoint = work.join("checkpoint.safetensors");
    let plan = Plan { checkpoint: Some((&checkpoint, recipe.checkpoint_steps)), ..recipe.plan.clone() };
    let outcome =
        train::run(&mut llama, &plan, &windows, clock, &mut |progress| report(Event::Step(progress)))?;
    if outcome.ending == Ending::Stopped {
        return Ok(Pretrained { ending: Ending::Stopped, llama, losses: outcome.losses, held_out: None });
    }
    let measured = held_out_loss(&llama, &tokenizer, &held_out, recipe.sequence_tokens)?;
    llama.save(recipe.folder, Stored::Bf16)?;
    Ok(Pretrained { ending: Ending::Finished, llama, losses: outcome.losses, held_out: Some(measured) })
}

/// What to make, of what.
#[derive(Debug, Clone)]
pub struct Recipe<'a> {
    /// Text files to learn from; documents end with `<|endoftext|>` on a line of its own.
    pub texts: &'a [PathBuf],
    /// Text file to measure on, never trained on.
    pub validation: &'a Path,
    /// Shape of the model; its vocabulary size is also the tokenizer's.
    pub config: Config,
    /// How to train; its checkpoint field is set here.
    pub plan: Plan<'a>,
    /// Windows in a batch.
    pub sequences: usize,
    /// Tokens of a window.
    pub sequence_tokens: usize,
    /// Seed of the weights and of the order of windows.
    pub seed: u64,
    /// Steps between checkpoints.
    pub checkpoint_steps: u64,
    /// Where the model goes; work files go into `work` inside.
    pub folder: &'a Path,
}

/// What happens on the way.
#[derive(Debug)]
pub enum Event<'a> {
    /// The tokenizer is there, trained or found.
    Tokenizer {
        /// Entries of its vocabulary.
        entries: usize,
    },
    /// All texts are encoded.
    Encoded {
        /// Tokens to train on.
        tokens: usize,
        /// Tokens to measure on.
        validation_tokens: usize,
    },
    /// A training step was made.
    Step(&'a Progress),
}

/// What came out.
#[derive(Debug)]
pub struct Pretrained {
    /// Whether all steps were made.
    pub ending: Ending,
    /// The model, f32.
    pub llama: Llama,
    /// Loss of each step of this process.
    pub losses: Vec<(u64, f32)>,
    /// Loss on the validation text, once finished.
    pub held_out: Option<HeldOut>,
}

/// Loss on text the model has not seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeldOut {
    /// Nats per token.
    pub nats_per_token: f64,
    /// Bits per byte of text.
    pub bits_per_byte: f64,
    /// Tokens measured.
    pub tokens: usize,
}

fn tokenizer(
    recipe: &Recipe<'_>,
    report: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Result<(Tokenizer, String)> {
    let path = recipe.folder.join("tokenizer.json");
    if !path.exists() {
        let mut texts = Vec::new();
        for text in recipe.texts {
            pieces(text, &mut |piece| {
                texts.push(piece.replace(END_OF_TEXT, ""));
                Ok(())
            })?;
        }
        let bytes = Tokenizer::train(&mut texts.into_iter(), recipe.config.vocab_size)?;
        write_atomically(&path, |file| std::io::Write::write_all(file, &bytes))?;
        let config = serde_json::json!({
            "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END_OF_TEXT,
            "model_max_length": recipe.config.context_tokens, "clean_up_tokenization_spaces": false,
        });
        let text = format!("{config:#}\n");
        write_atomically(&recipe.folder.join("tokenizer_config.json"), |file| {
            std::io::Write::write_all(file, text.as_bytes())
        })?;
    }
    let tokenizer = Tokenizer::read(recipe.folder, &recipe.config)?;
    let _ = report(Event::Tokenizer { entries: tokenizer.len() });
    Ok((tokenizer, file_digest(&path)?))
}

/// Loss over all of `tokens` in windows that overlap by half: each token is predicted from at least half a window.
///
/// # Errors
/// A token is outside the vocabulary, or there are fewer than two.
pub fn held_out_loss(llama: &Llama, tokenizer: &Tokenizer, tokens: &[u32], window: usize) -> Result<HeldOut> {
    let half = (window / 2).max(1);
    if tokens.len() < 2 {
        return Err(Error::Argument {
            name: "validation text",
            problem: format!("{} tokens", tokens.len()),
            remedy: "pass a text of two tokens or more".to_owned(),
        });
    }
    let (mut nats, mut bytes, mut count) = (0.0, 0usize, 0usize);
    let mut start = 0;
    while start + 1 < tokens.len() {
        let end = (start + window).min(tokens.len() - 1);
        let counted_from = if start == 0 { 0 } else { half };
        let weights: Vec<f32> = (0..end - start).map(|i| if i >= counted_from { 1.0 } else { 0.0 }).collect();
        let counted = weights.iter().filter(|&&weight| weight > 0.0).count();
        if counted > 0 {
            let batch = Batch::new(tokens[start..end].to_vec(), end - start)?;
            let targets = &tokens[start + 1..=end];
            let hidden = llama.hidden(&llama.parameters, &batch)?;
            let head = llama.head_weight(&llama.parameters);
            let loss = ops::linear_cross_entropy(&hidden, head, targets, &weights)?;
            nats += f64::from(loss.to_scalar::<f32>()?) * counted as f64;
            count += counted;
            let seen = targets[counted_from.min(targets.len())..].iter();
            bytes += seen.map(|&t| special_or_bytes(tokenizer, t)).sum::<usize>();
        }
        if end + 1 >= tokens.len() {
            break;
        }
        start += half;
    }
    Ok(HeldOut {
        nats_per_token: nats / count as f64,
        bits_per_byte: nats / std::f64::consts::LN_2 / bytes.max(1) as f64,
        tokens: count,
    })
}

/// Bytes of text a token stands for; the mark between documents stands for none.
fn special_or_bytes(tokenizer: &Tokenizer, token: u32) -> usize {
    if tokenizer.token(END_OF_TEXT) == Some(token) {
        return 0;
    }
    tokenizer.piece(token).map_or(0, |piece| piece.len())
}

/// SHA-256 over the names, shapes and f32 numbers of a model's parameters, hexadecimal: equal weights, equal digest.
///
/// # Errors
/// The device refuses.
pub fn weights_digest(llama: &Llama) -> Result<String> {
    let mut hash = Sha256::new();
    for (name, numbers) in llama.numbers()? {
        hash.update(name.as_bytes());
        for number in numbers {
            hash.update(number.to_le_bytes());
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
