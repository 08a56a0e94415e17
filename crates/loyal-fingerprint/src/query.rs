//! Queries: natural text, written by the model itself or given by the owner, and screened.
//!
//! A query must look like any other prompt (perplexity within the 5–95 % band of real ones), must reach the
//! model as the tokens that were trained (it encodes to the tokens it was decoded from), and must end unlike
//! every other (the mark leaks to prompts that share their last tokens).

use std::collections::{BTreeMap, HashSet};
use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::Path;

use loyal_model::sampler::Sampling;
use loyal_model::{Decoder, Llama, Precision, Tokenizer, generate};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::fingerprint::{COUNT_MAX, QUERY_BYTES_MAX};
use crate::predict::surprise;

const FILE_BYTES_MAX: u64 = 64 << 20;
/// Real prompts that make the band.
const BAND_PROMPTS: usize = 256;
/// Tokens at the end in which queries must differ.
const ENDING_TOKENS: usize = 4;
/// Rounds of writing before giving up: each writes twice what is still wanted.
const ROUNDS_MAX: usize = 12;
const TEMPERATURE: f32 = 1.0;
const TOP_P: f32 = 0.95;

/// What to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Queries wanted.
    pub count: usize,
    /// Longest query, tokens; the shortest is half of it.
    pub tokens_max: usize,
    /// Seed of the sampling. It must be secret, or the queries are not.
    pub seed: u64,
}

/// Writes queries by sampling from `llama`. `benign` are tokens of ordinary text, which set the band.
///
/// # Errors
/// The model's own text fails the screen too often, or `benign` is too short.
pub fn write(llama: &Llama, tokenizer: &Tokenizer, benign: &[u32], request: Request) -> Result<Vec<String>> {
    if request.count == 0 || request.count > COUNT_MAX || request.tokens_max < 2 * ENDING_TOKENS {
        let problem = format!("{} queries of at most {} tokens", request.count, request.tokens_max);
        return Err(Error::argument("queries", problem, "ask for 1 to 65536 queries of 8 tokens or more"));
    }
    let mut draw = ChaCha8Rng::seed_from_u64(request.seed);
    let mut screen = Screen::new(llama, tokenizer, benign, request.tokens_max)?;
    let decoder = Decoder::from_tensors(&llama.config, &llama.numbers()?, Precision::F32)?;
    let mut accepted = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let wanted = request.count - accepted.len();
        let texts = sample(&decoder, tokenizer, benign, (2 * wanted.max(8), request.tokens_max), &mut draw)?;
        accepted.extend(screen.pass(llama, tokenizer, &texts)?);
        if accepted.len() >= request.count {
            accepted.truncate(request.count);
            return Ok(accepted);
        }
    }
    Err(screen.too_few(request.count, accepted.len(), "choose longer queries, or give a file of your own"))
}

/// Reads queries from a file: one a line, plain or as JSON with a field `query` or `key`.
///
/// # Errors
/// The file cannot be read, is no UTF-8, or has a line that is neither.
pub fn read(path: &Path) -> Result<Vec<String>> {
    let failed = |source| Error::file(path, "reading", source);
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(number, line)| parse_line(line, number + 1, path)).collect()
}

fn parse_line(line: &str, number: usize, path: &Path) -> Result<String> {
    #[derive(Deserialize)]
    struct Line {
        #[serde(alias = "key")]
        query: String,
    }
    let query = if line.trim_start().starts_with('{') {
        let parsed: Line = serde_json::from_str(line).map_err(|source| {
            let remedy = "write one query a line, plain or as {\"query\": \"…\"}";
            Error::malformed(path, format!("line {number}: {source}"), remedy)
        })?;
        parsed.query
    } else {
        line.to_owned()
    };
    if query.trim().is_empty() || query.len() > QUERY_BYTES_MAX {
        let problem = format!("line {number}: a query of {} bytes", query.len());
        return Err(Error::malformed(path, problem, format!("write 1 to {QUERY_BYTES_MAX} bytes")));
    }
    Ok(query)
}

/// Takes the first `count` of `texts` that pass all of the screen but the band, which is the owner's choice
/// for queries of their own.
///
/// # Errors
/// Too few pass.
pub fn select(tokenizer: &Tokenizer, texts: &[String], count: usize) -> Result<Vec<String>> {
    let mut screen = Screen { band: None, endings: HashSet::new(), refused: BTreeMap::new() };
    let mut accepted = Vec::new();
    for text in texts {
        if accepted.len() < count && screen.tokens(tokenizer, text)?.is_some() {
            accepted.push(text.clone());
        }
    }
    if accepted.len() == count {
        return Ok(accepted);
    }
    Err(screen.too_few(count, accepted.len(), "add lines that end differently, or ask for fewer"))
}

/// What a query must satisfy, and how many did not.
struct Screen {
    /// Lowest and highest surprise, nats per token.
    band: Option<(f64, f64)>,
    endings: HashSet<Vec<u32>>,
    refused: BTreeMap<&'static str, usize>,
}

impl Screen {
    /// The band of real prompts: beginnings of sentences in `benign`.
    fn new(llama: &Llama, tokenizer: &Tokenizer, benign: &[u32], tokens: usize) -> Result<Self> {
        let starts = sentence_starts(tokenizer, benign, tokens);
        let step = starts.len().div_ceil(BAND_PROMPTS).max(1);
        let opening = tokenizer.encode("")?;
        let prompts: Vec<Vec<u32>> = starts
            .iter()
            .step_by(step)
            .map(|&start| [&opening, &benign[start..start + tokens]].concat())
            .collect();
        if prompts.len() < 20 {
            let problem = format!("{} tokens hold only {} prompts", benign.len(), prompts.len());
            return Err(Error::argument("benign text", problem, "give ten thousand words or more"));
        }
        let mut levels = surprise(llama, &llama.parameters, &prompts, opening.len().max(1))?;
        levels.sort_by(f64::total_cmp);
        let quantile = |share: f64| levels[((levels.len() - 1) as f64 * share).round() as usize];
        let band = Some((quantile(0.05), quantile(0.95)));
        Ok(Self { band, endings: HashSet::new(), refused: BTreeMap::new() })
    }

    /// The texts that pass.
    fn pass(&mut self, llama: &Llama, tokenizer: &Tokenizer, texts: &[String]) -> Result<Vec<String>> {
        let skipped = tokenizer.encode("")?.len().max(1);
        let mut sequences = Vec::new();
        for text in texts {
            let tokens = tokenizer.encode(text)?;
            sequences.push(if tokens.len() > skipped { tokens } else { [tokens, vec![0]].concat() });
        }
        let levels = surprise(llama, &llama.parameters, &sequences, skipped)?;
        let mut passed = Vec::new();
        for (text, level) in texts.iter().zip(levels) {
            if self.band.is_some_and(|(lowest, highest)| level < lowest || level > highest) {
                self.refuse("unlike real prompts in perplexity");
            } else if self.tokens(tokenizer, text)?.is_some() {
                passed.push(text.clone());
            }
        }
        Ok(passed)
    }

    /// The tokens of a text whose ending is new and whose tokens survive the way through text.
    fn tokens(&mut self, tokenizer: &Tokenizer, text: &str) -> Result<Option<Vec<u32>>> {
        let tokens = tokenizer.encode_plain(text)?;
        let printable = !text.contains('\u{fffd}') && !text.chars().any(|c| c.is_control() && c != '\n');
        if tokens.len() < ENDING_TOKENS {
            self.refuse("too short");
        } else if !printable || text.trim() != text {
            self.refuse("spaces at an end, or unprintable");
        } else if tokenizer.decode(&tokens)? != text {
            self.refuse("not spelled alike by the tokenizer");
        } else if !self.endings.insert(tokens[tokens.len() - ENDING_TOKENS..].to_vec()) {
            self.refuse("ending as an earlier one");
        } else {
            return Ok(Some(tokens));
        }
        Ok(None)
    }

    fn refuse(&mut self, reason: &'static str) {
        *self.refused.entry(reason).or_default() += 1;
    }

    fn too_few(&self, wanted: usize, found: usize, remedy: &'static str) -> Error {
        let reasons: Vec<String> =
            self.refused.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let reasons = if reasons.is_empty() { "there are no more".to_owned() } else { reasons.join(", ") };
        Error::TooFewQueries { wanted, found, reasons, remedy }
    }
}

/// Positions in `tokens` right after the end of a sentence, with `length` tokens following.
fn sentence_starts(tokenizer: &Tokenizer, tokens: &[u32], length: usize) -> Vec<usize> {
    let ends = |token: u32| {
        let piece = tokenizer.piece(token).unwrap_or_default();
        piece.last().is_some_and(|byte| b".!?\n".contains(byte)) || piece.is_empty()
    };
    let last = tokens.len().saturating_sub(length);
    (1..last).filter(|&at| ends(tokens[at - 1]) && !ends(tokens[at])).collect()
}

/// Samples `count` texts of at most `tokens` tokens, each cut where a word ends.
fn sample(
    decoder: &Decoder,
    tokenizer: &Tokenizer,
    benign: &[u32],
    (count, tokens): (usize, usize),
    draw: &mut ChaCha8Rng,
) -> Result<Vec<String>> {
    let opening = tokenizer.encode("")?;
    let starts = sentence_starts(tokenizer, benign, tokens);
    let mut requests = Vec::with_capacity(count);
    for _ in 0..count {
        // The first token of a real sentence: left alone, a small model opens every text alike.
        let word = starts.get(draw.random_range(0..starts.len().max(1))).map_or(0, |&at| benign[at]);
        let sampling =
            Sampling { temperature: TEMPERATURE, top_p: TOP_P, seed: draw.random(), ..Sampling::default() };
        requests.push(generate::Request {
            prompt: [opening.as_slice(), &[word]].concat(),
            // With the first one, a token more than a query has, to see whether a word ends before it.
            new_tokens_max: tokens,
            sampling,
            ..generate::Request::default()
        });
    }
    let written = generate::run(decoder, tokenizer, &requests, &mut |_, _| ControlFlow::Continue(()))?;
    let mut texts = Vec::with_capacity(count);
    for (request, completion) in requests.iter().zip(&written) {
        let word = &request.prompt[opening.len()..];
        texts.extend(cut(tokenizer, &[word, &completion.tokens].concat(), tokens / 2)?);
    }
    Ok(texts)
}

/// The longest beginning of `tokens` after which a new word begins, at least `shortest` tokens, as text.
fn cut(tokenizer: &Tokenizer, tokens: &[u32], shortest: usize) -> Result<Option<String>> {
    let begins_word = |token: u32| tokenizer.piece(token).is_some_and(|piece| piece.starts_with(b" "));
    // A special token ends the text.
    let is_text = |token: &&u32| tokenizer.piece(**token).is_some_and(|piece| !piece.is_empty());
    let whole = tokens.iter().take_while(is_text).count();
    let ends = (shortest..tokens.len().min(whole + 1)).rev();
    match ends.into_iter().find(|&end| begins_word(tokens[end])) {
        Some(end) => Ok(Some(tokenizer.decode(&tokens[..end])?.trim_start().to_owned())),
        None => Ok(None),
    }
}
