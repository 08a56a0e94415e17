//! Training of a byte-level BPE vocabulary: the most frequent pair is merged, again and again.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use rayon::prelude::*;
use serde_json::{Map, Value, json};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer as _};

use crate::error::{Error, Result};

const END_OF_TEXT: &str = "<|endoftext|>";
/// A pair that occurs once is no pattern.
const FREQUENCY_MIN: i64 = 2;
const CHUNK_BYTES: usize = 1 << 16;
const BATCH_BYTES: usize = 8 << 20;

type Pair = (u32, u32);

/// GPT-2's spelling of the 256 bytes as printable characters.
#[derive(Debug)]
pub(super) struct Alphabet {
    chars: [char; 256],
    bytes: HashMap<char, u8>,
}

impl Alphabet {
    pub(super) fn new() -> Self {
        let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
        let mut chars = ['\0'; 256];
        let mut substitute = 0x100..;
        for byte in 0..=255u8 {
            chars[byte as usize] = if printable(byte) {
                char::from(byte)
            } else {
                substitute
                    .next()
                    .and_then(char::from_u32)
                    .expect("the first 68 code points from 256 on are characters")
            };
        }
        let bytes = (0..=255u8).map(|byte| (chars[byte as usize], byte)).collect();
        Self { chars, bytes }
    }

    /// The bytes that a vocabulary entry spells; an entry with other characters stands for itself.
    pub(super) fn bytes(&self, text: &str) -> Vec<u8> {
        let spelt: Option<Vec<u8>> = text.chars().map(|c| self.bytes.get(&c).copied()).collect();
        spelt.unwrap_or_else(|| text.as_bytes().to_vec())
    }
}

pub(super) fn train(texts: &mut dyn Iterator<Item = String>, vocab_size: usize) -> Result<Vec<u8>> {
    if vocab_size <= 256 {
        return Err(Error::Argument {
            name: "vocab_size",
            problem: format!("{vocab_size} has no room for 256 bytes and {END_OF_TEXT}"),
            remedy: "give at least 257".to_owned(),
        });
    }
    let words = count_words(texts)?;
    if words.is_empty() {
        return Err(Error::Argument {
            name: "texts",
            problem: "there is no text to train a tokenizer on".to_owned(),
            remedy: "give text files that are not empty".to_owned(),
        });
    }
    let vocabulary = Vocabulary::learn(&words, vocab_size);
    let bytes =
        serde_json::to_vec(&vocabulary.to_json()).expect("JSON values with string keys can be written");
    Ok(bytes)
}

/// Words (already spelt in the byte alphabet) and how often each occurs.
fn count_words(texts: &mut dyn Iterator<Item = String>) -> Result<BTreeMap<String, i64>> {
    let mut counts = BTreeMap::new();
    let mut batch = Vec::new();
    let mut size = 0;
    loop {
        let text = texts.next();
        let ended = text.is_none();
        if let Some(text) = text {
            size += text.len();
            batch.extend(text.split(END_OF_TEXT).flat_map(chunks).map(str::to_owned));
        }
        if ended || size > BATCH_BYTES {
            let parts: Vec<HashMap<String, i64>> =
                batch.par_iter().map(|text| split(text)).collect::<Result<_>>()?;
            for (word, count) in parts.into_iter().flatten() {
                *counts.entry(word).or_insert(0) += count;
            }
            batch.clear();
            size = 0;
        }
        if ended {
            return Ok(counts);
        }
    }
}

/// Cuts a long text at line ends, so that the parts can be split side by side.
fn chunks(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let from = rest.ceil_char_boundary(CHUNK_BYTES.min(rest.len()));
        let end = rest[from..].find('\n').map_or(rest.len(), |i| from + i + 1);
        let (chunk, tail) = rest.split_at(end);
        rest = tail;
        Some(chunk)
    })
}

fn split(text: &str) -> Result<HashMap<String, i64>> {
    let mut counts = HashMap::new();
    let mut parts = PreTokenizedString::from(text);
    let splitter = ByteLevel::new(false, true, true);
    splitter.pre_tokenize(&mut parts).map_err(|e| Error::Tokenizer(e.to_string()))?;
    for (word, _, _) in parts.get_splits(OffsetReferential::Original, OffsetType::Byte) {
        match counts.get_mut(word) {
            Some(count) => *count += 1,
            None => {
                counts.insert(word.to_owned(), 1);
            }
        }
    }
    Ok(counts)
}

/// The tokens learnt so far and the pairs they came from.
struct Vocabulary {
    tokens: Vec<String>,
    merges: Vec<Pair>,
}

/// The training state: words as tokens, and where each pair occurs.
struct Pairs {
    words: Vec<(Vec<u32>, i64)>,
    counts: HashMap<Pair, i64>,
    places: HashMap<Pair, Vec<usize>>,
    /// Most frequent first, then lowest tokens; entries may be stale and are looked up again when popped.
    queue: BinaryHeap<(i64, Reverse<Pair>)>,
}

impl Vocabulary {
    fn learn(words: &BTreeMap<String, i64>, vocab_size: usize) -> Self {
        let mut alphabet = Alphabet::new().chars;
        alphabet.sort_unstable();
        let mut tokens = vec![END_OF_TEXT.to_owned()];
        tokens.extend(alphabet.iter().map(char::to_string));
        let id = |c: char| alphabet.binary_search(&c).map_or(0, |i| i as u32 + 1);
        let words = words.iter().map(|(word, &count)| (word.chars().map(id).collect(), count)).collect();
        let mut vocabulary = Self { tokens, merges: Vec::new() };
        let mut pairs = Pairs::new(words);
        // Two pairs may spell the same token; the first one made it.
        let mut known: std::collections::HashSet<String> = vocabulary.tokens.iter().cloned().collect();
        while vocabulary.tokens.len() < vocab_size {
            let Some(pair) = pairs.pop() else { break };
            let text =
                format!("{}{}", vocabulary.tokens[pair.0 as usize], vocabulary.tokens[pair.1 as usize]);
            if !known.insert(text.clone()) {
                continue;
            }
            pairs.merge(pair, vocabulary.tokens.len() as u32);
            vocabulary.tokens.push(text);
            vocabulary.merges.push(pair);
        }
        vocabulary
    }

    fn to_json(&self) -> Value {
        let vocab: Map<String, Value> =
            self.tokens.iter().enumerate().map(|(id, text)| (text.clone(), json!(id))).collect();
        let text = |token: u32| self.tokens[token as usize].as_str();
        let merges: Vec<Value> = self.merges.iter().map(|&(a, b)| json!([text(a), text(b)])).collect();
        let end = json!({"SpecialToken": {"id": END_OF_TEXT, "type_id": 0}});
        let (first, second) =
            (json!({"Sequence": {"id": "A", "type_id": 0}}), json!({"Sequence": {"id": "B", "type_id": 1}}));
        json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": [{
                "id": 0, "content": END_OF_TEXT, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true,
            }],
            "normalizer": null,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
            "post_processor": {
                "type": "TemplateProcessing", "single": [end, first], "pair": [end, first, end, second],
                "special_tokens": {END_OF_TEXT: {"id": END_OF_TEXT, "ids": [0], "tokens": [END_OF_TEXT]}},
            },
            "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                "vocab": vocab, "merges": merges,
            },
        })
    }
}

impl Pairs {
    fn new(words: Vec<(Vec<u32>, i64)>) -> Self {
        let mut pairs =
            Self { words, counts: HashMap::new(), places: HashMap::new(), queue: BinaryHeap::new() };
        for place in 0..pairs.words.len() {
            pairs.count(place, 1);
        }
        pairs.queue = pairs.counts.iter().map(|(&pair, &count)| (count, Reverse(pair))).collect();
        pairs
    }

    /// Adds (or, with -1, takes away) the pairs of one word.
    fn count(&mut self, place: usize, sign: i64) {
        let (word, frequency) = &self.words[place];
        for window in word.windows(2) {
            let pair = (window[0], window[1]);
            *self.counts.entry(pair).or_insert(0) += sign * frequency;
            if sign > 0 {
                let places = self.places.entry(pair).or_default();
                if places.last() != Some(&place) {
                    places.push(place);
                }
            }
        }
    }

    fn pop(&mut self) -> Option<Pair> {
        loop {
            let (count, Reverse(pair)) = self.queue.pop()?;
            let now = self.counts.get(&pair).copied().unwrap_or(0);
            if now < FREQUENCY_MIN {
                continue;
            }
            if now == count {
                return Some(pair);
            }
            self.queue.push((now, Reverse(pair)));
        }
    }

    fn merge(&mut self, pair: Pair, token: u32) {
        let mut places = self.places.remove(&pair).unwrap_or_default();
        places.sort_unstable();
        places.dedup();
        let mut touched = Vec::new();
        for place in places {
            self.count(place, -1);
            replace(&mut self.words[place].0, pair, token);
            self.count(place, 1);
            touched.extend(self.words[place].0.windows(2).map(|window| (window[0], window[1])));
        }
        self.counts.remove(&pair);
        touched.sort_unstable();
        touched.dedup();
        // Only pairs with the new token can have become more frequent.
        touched.retain(|&(a, b)| a == token || b == token);
        for pair in touched {
            self.queue.push((self.counts[&pair], Reverse(pair)));
        }
    }
}

fn replace(word: &mut Vec<u32>, pair: Pair, token: u32) {
    let (mut read, mut write) = (0, 0);
    while read < word.len() {
        let hit = read + 1 < word.len() && (word[read], word[read + 1]) == pair;
        word[write] = if hit { token } else { word[read] };
        read += if hit { 2 } else { 1 };
        write += 1;
    }
    word.truncate(write);
}
