//! From text to tokens and back, as `tokenizer.json` says.

mod trainer;

use std::path::Path;

use serde_json::Value;

use crate::config::Config;
use crate::error::{Error, Result};

const FILE: &str = "tokenizer.json";
/// The largest published tokenizer (262,144 tokens) takes 33 MB.
const FILE_BYTES_MAX: u64 = 256 << 20;
const TOKEN_COUNT_MAX: usize = 1 << 24;
const REMEDY: &str = "download tokenizer.json again from the same place as the weights";

/// A tokenizer: byte-level BPE (Llama 3, SmolLM2, Qwen) or SentencePiece with byte fallback (Llama 2).
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    pieces: Vec<Option<Box<[u8]>>>,
    spacing: Spacing,
}

/// What happens to a space at the very start of a decoded text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spacing {
    Kept,
    /// SentencePiece writes a space before every text; decoding takes it away.
    OneStripped,
}

/// How the vocabulary spells bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spelling {
    /// Every byte is one printable character (GPT-2).
    ByteLevel,
    /// `▁` is a space, `<0x0A>` a byte.
    Pieces,
}

impl Tokenizer {
    /// Reads `tokenizer.json` in `folder`, for a model of shape `config`.
    ///
    /// # Errors
    /// The file is missing, malformed or of another kind, or has tokens that `config` has no room for.
    pub fn read(folder: &Path, config: &Config) -> Result<Self> {
        let path = folder.join(FILE);
        let failed = |source| Error::file(&path, "reading", source);
        let size = std::fs::metadata(&path).map_err(failed)?.len();
        if size > FILE_BYTES_MAX {
            return Err(Error::malformed(&path, format!("{size} bytes is too long for a tokenizer"), REMEDY));
        }
        let tokenizer = Self::parse(&std::fs::read(&path).map_err(failed)?, &path)?;
        if tokenizer.len() > config.vocab_size {
            return Err(Error::Mismatch {
                path,
                name: "highest token".to_owned(),
                expected: format!("below vocab_size {} of config.json", config.vocab_size),
                found: format!("{}; take both files from the same model", tokenizer.len() - 1),
            });
        }
        Ok(tokenizer)
    }

    /// Reads a tokenizer from the bytes of a `tokenizer.json`; `path` is named in errors.
    ///
    /// # Errors
    /// The bytes are no tokenizer, or one of a kind this crate does not decode.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let value: Value = serde_json::from_slice(bytes).map_err(|e| Error::malformed(path, e, REMEDY))?;
        check_merges(&value["model"])
            .and_then(|()| check_templates(&value["post_processor"]))
            .map_err(|problem| Error::malformed(path, problem, REMEDY))?;
        let (spelling, spacing) = decoder(&value, path)?;
        let mut inner =
            tokenizers::Tokenizer::from_bytes(bytes).map_err(|e| Error::malformed(path, e, REMEDY))?;
        // The caller decides what fits, as in `transformers`.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|e| Error::malformed(path, e, REMEDY))?;
        let pieces = pieces(&inner, spelling, path)?;
        Ok(Self { inner, pieces, spacing })
    }

    /// Tokens of `text`, with the special tokens (BOS) that the post-processor of `tokenizer.json` adds.
    ///
    /// # Errors
    /// The tokenizer cannot spell the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.tokens(text, true)
    }

    /// Tokens of `text` and nothing else. Special tokens written out in the text are still recognised.
    ///
    /// # Errors
    /// The tokenizer cannot spell the text.
    pub fn encode_plain(&self, text: &str) -> Result<Vec<u32>> {
        self.tokens(text, false)
    }

    fn tokens(&self, text: &str, add_special: bool) -> Result<Vec<u32>> {
        match self.inner.encode_fast(text, add_special) {
            Ok(encoding) => Ok(encoding.get_ids().to_vec()),
            Err(cause) => Err(Error::Tokenizer(cause.to_string())),
        }
    }

    /// The text of `tokens`; special tokens add nothing, nor do those that the vocabulary lacks (models are
    /// often padded beyond it), and bytes that are not UTF-8 become U+FFFD.
    ///
    /// Equal to `transformers` (without its optional clean-up of spaces) wherever the bytes are UTF-8.
    ///
    /// # Errors
    /// None today; a tokenizer that cannot decode would say so here.
    pub fn decode(&self, tokens: &[u32]) -> Result<String> {
        let mut stream = self.stream();
        let mut text = String::new();
        for &token in tokens {
            text.extend(stream.push(token));
        }
        text.extend(stream.finish());
        Ok(text)
    }

    /// The bytes that `token` adds in the middle of a text: nothing for a special token, `None` for a
    /// token that is not in the vocabulary.
    #[must_use]
    pub fn piece(&self, token: u32) -> Option<Vec<u8>> {
        self.bytes(token).map(<[u8]>::to_vec)
    }

    fn bytes(&self, token: u32) -> Option<&[u8]> {
        self.pieces.get(token as usize)?.as_deref()
    }

    /// The token that is written `text` in the vocabulary ("<|endoftext|>").
    #[must_use]
    pub fn token(&self, text: &str) -> Option<u32> {
        self.inner.token_to_id(text)
    }

    /// A decoder that is fed one token at a time.
    #[must_use]
    pub const fn stream(&self) -> TextStream<'_> {
        TextStream { tokenizer: self, pending: Vec::new(), started: false }
    }

    /// A decoder of what comes after `tokens`: after a text a first space is kept, at the start of one it goes.
    #[must_use]
    pub fn stream_after(&self, tokens: &[u32]) -> TextStream<'_> {
        let started = tokens.iter().any(|&token| self.bytes(token).is_some_and(|bytes| !bytes.is_empty()));
        TextStream { started, ..self.stream() }
    }

    /// The highest token plus one.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Whether there is no token at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Trains a byte-level BPE tokenizer and returns its `tokenizer.json`. Token 0 is `<|endoftext|>`, which
    /// [`Tokenizer::encode`] puts before every text, 1 to 256 are the bytes, the rest merges, at most
    /// `vocab_size` tokens in all. The same texts give the same bytes.
    ///
    /// # Errors
    /// `vocab_size` is below 257, or the texts are empty.
    pub fn train(texts: &mut dyn Iterator<Item = String>, vocab_size: usize) -> Result<Vec<u8>> {
        trainer::train(texts, vocab_size)
    }
}

/// Decodes token by token; never cuts a character in two.
#[derive(Debug, Clone)]
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    pending: Vec<u8>,
    started: bool,
}

impl TextStream<'_> {
    /// Takes one token; answers the text that is certain by now.
    pub fn push(&mut self, token: u32) -> Option<String> {
        let bytes = self.tokenizer.bytes(token).unwrap_or_default();
        if bytes.is_empty() {
            return None;
        }
        let strip = !self.started && self.tokenizer.spacing == Spacing::OneStripped;
        self.started = true;
        self.pending.extend_from_slice(if strip { bytes.strip_prefix(b" ").unwrap_or(bytes) } else { bytes });
        let open = incomplete_tail(&self.pending);
        let certain = self.pending.len() - open;
        if certain == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&self.pending[..certain]).into_owned();
        self.pending.drain(..certain);
        Some(text)
    }

    /// The end of the text: bytes of a character that never came to its end become U+FFFD.
    pub fn finish(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.pending);
        (!rest.is_empty()).then(|| String::from_utf8_lossy(&rest).into_owned())
    }
}

/// How many bytes at the end may still become a character.
fn incomplete_tail(bytes: &[u8]) -> usize {
    let from = bytes.len().saturating_sub(3);
    for start in (from..bytes.len()).rev() {
        if !(0x80..0xC0).contains(&bytes[start]) {
            let open = std::str::from_utf8(&bytes[start..]).is_err_and(|e| e.error_len().is_none());
            return if open { bytes.len() - start } else { 0 };
        }
    }
    0
}

/// Reads the `decoder` section: how tokens are spelt, and whether the first space goes.
fn decoder(value: &Value, path: &Path) -> Result<(Spelling, Spacing)> {
    let decoder = &value["decoder"];
    let list = match decoder["decoders"].as_array() {
        Some(list) => list.as_slice(),
        None => std::slice::from_ref(decoder),
    };
    let mut found = (None, Spacing::Kept);
    for step in list {
        match step["type"].as_str().unwrap_or("none") {
            "ByteLevel" => found.0 = Some(Spelling::ByteLevel),
            "ByteFallback" => found.0 = Some(Spelling::Pieces),
            "Replace" if step["pattern"]["String"] == "▁" && step["content"] == " " => {}
            "Fuse" => {}
            "Strip" if step["content"] == " " && step["start"] == 1 && step["stop"] == 0 => {
                found.1 = Spacing::OneStripped;
            }
            "Metaspace" if step["replacement"] == "▁" => {
                let kept = step["prepend_scheme"] == "never" || step["add_prefix_space"] == false;
                found = (Some(Spelling::Pieces), if kept { Spacing::Kept } else { Spacing::OneStripped });
            }
            other => {
                let what = format!("tokenizer decoder {other}");
                let supported = "byte-level BPE and SentencePiece with byte fallback";
                return Err(Error::Unsupported { path: path.to_owned(), what, supported });
            }
        }
    }
    match found {
        (Some(spelling), spacing) => Ok((spelling, spacing)),
        _ => Err(Error::malformed(path, "no decoder section that says how bytes are spelt", REMEDY)),
    }
}

fn pieces(inner: &tokenizers::Tokenizer, spelling: Spelling, path: &Path) -> Result<Vec<Option<Box<[u8]>>>> {
    let vocabulary = inner.get_vocab(true);
    let added = inner.get_added_tokens_decoder();
    let count = vocabulary.values().max().map_or(0, |&highest| highest as usize + 1);
    if count == 0 || count > TOKEN_COUNT_MAX {
        let problem = format!("the vocabulary has {} tokens, the highest {count}", vocabulary.len());
        return Err(Error::malformed(path, problem, REMEDY));
    }
    let alphabet = trainer::Alphabet::new();
    let mut pieces = vec![None; count];
    for (text, token) in vocabulary {
        let special = added.get(&token).is_some_and(|added| added.special);
        pieces[token as usize] = Some(match spelling {
            _ if special => Box::default(),
            Spelling::ByteLevel => alphabet.bytes(&text).into_boxed_slice(),
            Spelling::Pieces => match byte_token(&text) {
                Some(byte) => Box::new([byte]) as Box<[u8]>,
                None => text.replace('▁', " ").into_bytes().into_boxed_slice(),
            },
        });
    }
    Ok(pieces)
}

/// The byte that `<0x0A>` stands for.
fn byte_token(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() == 2 { u8::from_str_radix(digits, 16).ok() } else { None }
}

/// Refuses templates with special tokens that they do not explain: the crate `tokenizers` panics on them.
fn check_templates(processor: &Value) -> std::result::Result<(), String> {
    for inner in processor["processors"].as_array().into_iter().flatten() {
        check_templates(inner)?;
    }
    let known = &processor["special_tokens"];
    let pieces = ["single", "pair"].into_iter().filter_map(|name| processor[name].as_array()).flatten();
    for id in pieces.filter_map(|piece| piece["SpecialToken"]["id"].as_str()) {
        if known.get(id).is_none() {
            return Err(format!(
                "the template of the post-processor names {id:?}, which special_tokens lacks"
            ));
        }
    }
    Ok(())
}

/// Refuses merges that make no token of the vocabulary: the crate `tokenizers` panics on some of them.
fn check_merges(model: &Value) -> std::result::Result<(), String> {
    let (Some(vocab), Some(merges)) = (model["vocab"].as_object(), model["merges"].as_array()) else {
        return Ok(());
    };
    let prefix = model["continuing_subword_prefix"].as_str().unwrap_or_default();
    for merge in merges {
        let pair = match merge {
            Value::String(text) => text.split_once(' '),
            _ => merge[0].as_str().zip(merge[1].as_str()),
        };
        let whole = pair.and_then(|(left, right)| Some(format!("{left}{}", right.strip_prefix(prefix)?)));
        if whole.is_none_or(|whole| !vocab.contains_key(&whole)) {
            return Err(format!("the merge {merge} makes no token of the vocabulary"));
        }
    }
    Ok(())
}
