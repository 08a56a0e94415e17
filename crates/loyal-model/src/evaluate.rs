//! How well a model predicts a text, and how far two models are apart on it.

use crate::decoder::Decoder;
use crate::error::{Error, Result};
use crate::sampler::{argmax, log_total};
use crate::tokenizer::Tokenizer;

/// How well a model predicts a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    /// Bits needed per byte of text; comparable between tokenizers.
    pub bits_per_byte: f64,
    /// e to the nats per token.
    pub perplexity: f64,
    /// Tokens that were predicted.
    pub tokens: usize,
    /// Bytes of the text.
    pub bytes: usize,
    /// Mean negative log-likelihood, nats per token.
    pub nats_per_token: f64,
    /// How often the most probable token was the right one, 0 to 1.
    pub top1_accuracy: f64,
}

/// How far another model is from a base on a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Divergence {
    /// Mean KL(base ‖ other), nats per token.
    pub kl_nats: f64,
    /// How often both find the same token most probable, 0 to 1.
    pub top1_agreement: f64,
    /// Tokens that were compared.
    pub tokens: usize,
}

/// Evaluates `decoder` on `text`, cut into windows of `window_tokens` that are predicted one by one, each
/// from its own start. With a BOS token every window begins with it and all of its tokens are predicted; else
/// the first token of each window is context only.
///
/// # Errors
/// The text has fewer than two tokens, or the window does not fit the context.
pub fn run(decoder: &Decoder, tokenizer: &Tokenizer, text: &str, window_tokens: usize) -> Result<Evaluation> {
    let vocab = decoder.config().vocab_size;
    let (mut nats, mut hits, mut tokens, mut bytes) = (0.0, 0usize, 0usize, 0usize);
    for window in windows(decoder, tokenizer, text, window_tokens)? {
        let logits = decoder.feed_all(&mut decoder.session(), &window[..window.len() - 1])?;
        for (logits, &next) in logits.chunks_exact(vocab).zip(&window[1..]) {
            nats += log_total(logits) - f64::from(logits[next as usize]);
            hits += usize::from(argmax(logits) == next);
            tokens += 1;
            bytes += tokenizer.piece(next).map_or(0, |piece| piece.len());
        }
    }
    let nats_per_token = nats / tokens as f64;
    Ok(Evaluation {
        bits_per_byte: nats / std::f64::consts::LN_2 / bytes.max(1) as f64,
        perplexity: nats_per_token.exp(),
        tokens,
        bytes,
        nats_per_token,
        top1_accuracy: hits as f64 / tokens as f64,
    })
}

/// Mean KL divergence of `other` from `base` on `text`, in the same windows as [`run`].
///
/// # Errors
/// As [`run`], or the vocabularies differ in size.
pub fn compare(
    base: &Decoder,
    other: &Decoder,
    tokenizer: &Tokenizer,
    text: &str,
    window_tokens: usize,
) -> Result<Divergence> {
    let vocab = base.config().vocab_size;
    if other.config().vocab_size != vocab {
        return Err(Error::Argument {
            name: "other",
            problem: format!("it has {} tokens, the base {vocab}", other.config().vocab_size),
            remedy: "compare models with the same tokenizer".to_owned(),
        });
    }
    let (mut kl, mut agreed, mut tokens) = (0.0, 0usize, 0usize);
    for window in windows(base, tokenizer, text, window_tokens)? {
        let fed = &window[..window.len() - 1];
        let ours = base.feed_all(&mut base.session(), fed)?;
        let theirs = other.feed_all(&mut other.session(), fed)?;
        for (p, q) in ours.chunks_exact(vocab).zip(theirs.chunks_exact(vocab)) {
            kl += divergence(p, q);
            agreed += usize::from(argmax(p) == argmax(q));
            tokens += 1;
        }
    }
    let count = tokens as f64;
    Ok(Divergence { kl_nats: kl / count, top1_agreement: agreed as f64 / count, tokens })
}

/// KL(p ‖ q) of two distributions given as logits, nats.
#[must_use]
pub fn divergence(p: &[f32], q: &[f32]) -> f64 {
    let (p_shift, q_shift) = (log_total(p), log_total(q));
    let terms = p.iter().zip(q).map(|(&p, &q)| {
        let (p, q) = (f64::from(p) - p_shift, f64::from(q) - q_shift);
        let probability = p.exp();
        // 0 · log 0 = 0, also where a logit is -∞.
        if probability == 0.0 { 0.0 } else { probability * (p - q) }
    });
    terms.sum::<f64>().max(0.0)
}

/// The text's tokens in windows, each of at least two.
fn windows(
    decoder: &Decoder,
    tokenizer: &Tokenizer,
    text: &str,
    window_tokens: usize,
) -> Result<Vec<Vec<u32>>> {
    let context = decoder.config().context_tokens;
    let wrong = |name, problem: String, remedy: &str| {
        Err(Error::Argument { name, problem, remedy: remedy.to_owned() })
    };
    if window_tokens < 2 || window_tokens > context {
        let problem = format!("a window of {window_tokens} tokens");
        return wrong("window_tokens", problem, &format!("give from 2 to {context}, the model's context"));
    }
    let plain = tokenizer.encode_plain(text)?;
    let marked = tokenizer.encode(text)?;
    // What `encode` puts before a text: BOS, or nothing.
    let prefix = &marked[..marked.len().saturating_sub(plain.len()).min(window_tokens / 2)];
    let prefix = if marked[prefix.len()..].starts_with(&plain) { prefix } else { &[] };
    let list: Vec<Vec<u32>> = plain
        .chunks(window_tokens - prefix.len())
        .map(|chunk| [prefix, chunk].concat())
        .filter(|window| window.len() > 1)
        .collect();
    if list.is_empty() {
        return wrong("text", "it has too few tokens to predict one".to_owned(), "give a longer text");
    }
    Ok(list)
}
