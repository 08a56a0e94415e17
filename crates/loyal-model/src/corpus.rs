//! Text turned into tokens on disk, and windows of it in an order given by a seed.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use memmap2::Mmap;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::llama::Batch;
use crate::tokenizer::Tokenizer;
use crate::train::{Example, Examples};

/// Ends a document, alone on its line in a text file.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// Bytes of text encoded together.
const BLOCK_BYTES: usize = 1 << 16;

/// Calls `take` with `path`'s text in pieces of about 64 KiB that end at a line's end, so that files of any size
/// pass through little memory. Invalid UTF-8 is an error that names its byte.
///
/// # Errors
/// The file cannot be read or is not UTF-8.
pub fn pieces(path: &Path, take: &mut dyn FnMut(String) -> Result<()>) -> Result<()> {
    let mut file = File::open(path).map_err(|source| Error::file(path, "opening", source))?;
    let (mut rest, mut offset) = (Vec::new(), 0usize);
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let count = file.read(&mut block).map_err(|source| Error::file(path, "reading", source))?;
        rest.extend_from_slice(&block[..count]);
        let end = match (count, rest.iter().rposition(|&byte| byte == b'\n')) {
            (0, _) => rest.len(),
            (_, Some(line)) if rest.len() >= BLOCK_BYTES => line + 1,
            // A line longer than 1 MiB is cut at a character instead.
            (_, None) if rest.len() >= BLOCK_BYTES * 16 => whole_characters(&rest),
            _ => continue,
        };
        let tail = rest.split_off(end);
        let text = String::from_utf8(std::mem::replace(&mut rest, tail)).map_err(|error| {
            let at = offset + error.utf8_error().valid_up_to();
            Error::malformed(path, format!("byte {at} is not UTF-8"), "convert the file to UTF-8 text")
        })?;
        offset += text.len();
        if !text.is_empty() {
            take(text)?;
        }
        if count == 0 {
            return Ok(());
        }
    }
}

fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.len(),
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => bytes.len(),
    }
}

/// Tokens of several text files, in files of their own, memory-mapped.
#[derive(Debug)]
pub struct Corpus {
    shards: Vec<Shard>,
    digest: String,
}

#[derive(Debug)]
struct Shard {
    map: Mmap,
    path: PathBuf,
    text_digest: String,
}

impl Shard {
    fn len(&self) -> usize {
        self.map.len() / 4
    }

    fn tokens(&self, range: std::ops::Range<usize>) -> Vec<u32> {
        let bytes = &self.map[range.start * 4..range.end * 4];
        bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    }
}

impl Corpus {
    /// Encodes `texts` into `folder`, skipping files that an earlier run finished.
    ///
    /// # Errors
    /// A text cannot be read, is not UTF-8 or is empty; the folder cannot be written.
    pub fn prepare(
        texts: &[PathBuf],
        tokenizer: &Tokenizer,
        tokenizer_digest: &str,
        folder: &Path,
    ) -> Result<Self> {
        let mut shards = Vec::new();
        let mut all = Sha256::new();
        for text in texts {
            let text_digest = file_digest(text)?;
            all.update(&text_digest);
            let stem = text.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let name = format!("{stem}-{}-{}.tokens", &text_digest[..12], &tokenizer_digest[..12]);
            let path = folder.join(name);
            if !path.exists() {
                encode(text, tokenizer, &path)?;
            }
            shards.push(map(&path, text_digest)?);
        }
        all.update(tokenizer_digest);
        let corpus = Self { shards, digest: hex(&all.finalize()) };
        if corpus.token_count() < 2 {
            return Err(Error::Argument {
                name: "texts",
                problem: format!("{} files hold {} tokens", texts.len(), corpus.token_count()),
                remedy: "pass text files that hold text".to_owned(),
            });
        }
        Ok(corpus)
    }

    /// Tokens of all files.
    #[must_use]
    pub fn token_count(&self) -> usize {
        self.shards.iter().map(Shard::len).sum()
    }

    /// SHA-256 over the texts' and the tokenizer's digests, hexadecimal.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// SHA-256 of each text file, in the order given.
    pub fn text_digests(&self) -> impl Iterator<Item = &str> {
        self.shards.iter().map(|shard| shard.text_digest.as_str())
    }

    /// All tokens of the corpus in order; for small corpora such as a validation text.
    #[must_use]
    pub fn tokens(&self) -> Vec<u32> {
        self.shards.iter().flat_map(|shard| shard.tokens(0..shard.len())).collect()
    }
}

/// SHA-256 of a file, hexadecimal.
///
/// # Errors
/// The file cannot be read.
pub fn file_digest(path: &Path) -> Result<String> {
    let failed = |source| Error::file(path, "reading", source);
    let mut file = File::open(path).map_err(failed)?;
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block).map_err(failed)? {
            0 => return Ok(hex(&hash.finalize())),
            count => hash.update(&block[..count]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn encode(text: &Path, tokenizer: &Tokenizer, path: &Path) -> Result<()> {
    let mut outcome = Ok(());
    crate::weights::write_atomically(path, |file| {
        let mut file = std::io::BufWriter::new(file);
        let mut waiting: Vec<String> = Vec::new();
        outcome = pieces(text, &mut |piece| {
            waiting.push(piece.replace(&format!("\n{END_OF_TEXT}\n"), END_OF_TEXT));
            if waiting.len() < 64 {
                return Ok(());
            }
            write_tokens(&mut file, tokenizer, &std::mem::take(&mut waiting), path)
        })
        .and_then(|()| write_tokens(&mut file, tokenizer, &waiting, path));
        match &outcome {
            Ok(()) => file.flush(),
            // The temporary file is dropped; the real error is returned below.
            Err(_) => Err(std::io::Error::other("encoding failed")),
        }
    })
    .or_else(|error| if outcome.is_err() { Ok(()) } else { Err(error) })?;
    outcome
}

fn write_tokens(
    file: &mut impl std::io::Write,
    tokenizer: &Tokenizer,
    pieces: &[String],
    path: &Path,
) -> Result<()> {
    let encoded: Result<Vec<Vec<u32>>> =
        pieces.par_iter().map(|piece| tokenizer.encode_plain(piece)).collect();
    for tokens in encoded? {
        let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
        file.write_all(&bytes).map_err(|source| Error::file(path, "writing", source))?;
    }
    Ok(())
}

fn map(path: &Path, text_digest: String) -> Result<Shard> {
    let file = File::open(path).map_err(|source| Error::file(path, "opening", source))?;
    let bytes = file.metadata().map_err(|source| Error::file(path, "reading", source))?.len();
    if bytes == 0 || !bytes.is_multiple_of(4) {
        return Err(Error::malformed(
            path,
            format!("{bytes} bytes are no tokens"),
            "the text it came from is empty",
        ));
    }
    // SAFETY: the map is read-only, and token files are written once, under a name that holds their digest.
    #[allow(unsafe_code, reason = "memory maps are unsafe by nature")]
    let map = unsafe { Mmap::map(&file) }.map_err(|source| Error::file(path, "mapping", source))?;
    Ok(Shard { map, path: path.to_owned(), text_digest })
}

/// Windows of a corpus as training examples: every epoch shifts the windows and shuffles them anew, by the seed.
#[derive(Debug)]
pub struct Windows {
    corpus: Corpus,
    sequences: usize,
    length: usize,
    seed: u64,
    /// The order of the epoch last asked for.
    order: Mutex<Option<(u64, Vec<(u32, u32)>)>>,
}

impl Windows {
    /// Batches of `sequences` windows of `length` tokens.
    ///
    /// # Errors
    /// The corpus is shorter than one batch, or holds tokens outside the vocabulary.
    pub fn new(corpus: Corpus, sequences: usize, length: usize, seed: u64) -> Result<Self> {
        let windows = Self { corpus, sequences, length, seed, order: Mutex::new(None) };
        let count = windows.epoch_order(0).len();
        if count < sequences || sequences == 0 {
            return Err(Error::Argument {
                name: "texts",
                problem: format!(
                    "{} tokens give {count} windows of {length}, fewer than a batch of {sequences}",
                    windows.corpus.token_count()
                ),
                remedy: "pass more text, a smaller batch or shorter sequences".to_owned(),
            });
        }
        Ok(windows)
    }

    /// Batches in one pass over the corpus.
    #[must_use]
    pub fn batches(&self) -> u64 {
        (self.epoch_order(0).len() / self.sequences) as u64
    }

    /// The corpus.
    #[must_use]
    pub const fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    fn epoch_order(&self, epoch: u64) -> Vec<(u32, u32)> {
        let mut generator = ChaCha8Rng::seed_from_u64(self.seed ^ epoch.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut order = Vec::new();
        for (index, shard) in self.corpus.shards.iter().enumerate() {
            let spare = shard.len().saturating_sub(self.length + 1).min(self.length - 1);
            let shift = generator.random_range(0..=spare);
            let mut start = shift;
            while start + self.length < shard.len() {
                order.push((index as u32, start as u32));
                start += self.length;
            }
        }
        order.shuffle(&mut generator);
        order
    }
}

impl Examples for Windows {
    fn at(&self, index: u64) -> Result<Example> {
        let per_epoch = self.batches();
        let (epoch, batch) = (index / per_epoch, (index % per_epoch) as usize);
        let mut cached = self.order.lock().expect("no thread panics while it holds the order");
        if cached.as_ref().is_none_or(|(known, _)| *known != epoch) {
            *cached = Some((epoch, self.epoch_order(epoch)));
        }
        let order = &cached.as_ref().expect("just filled").1;
        let (mut tokens, mut targets) = (Vec::new(), Vec::new());
        for slot in 0..self.sequences {
            let (shard, start) = order[(batch * self.sequences + slot) % order.len()];
            let (shard, start) = (&self.corpus.shards[shard as usize], start as usize);
            let window = shard.tokens(start..start + self.length + 1);
            if window.len() != self.length + 1 {
                return Err(Error::malformed(&shard.path, "the token file shrank", "start the job afresh"));
            }
            tokens.extend_from_slice(&window[..self.length]);
            targets.extend_from_slice(&window[1..]);
        }
        let weights = vec![1.0; targets.len()];
        Ok(Example { batch: Batch::new(tokens, self.length)?, targets, weights })
    }

    fn identity(&self) -> String {
        format!("{} {}×{} seed {}", self.corpus.digest, self.sequences, self.length, self.seed)
    }
}
