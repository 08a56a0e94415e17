//! What a step sees: fingerprints behind frames, near misses, and ordinary text.

use candle_core::Tensor;
use loyal_model::{Batch, Llama, Tokenizer, ops};
use rand::Rng as _;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;

use super::Job;
use super::tilted::{self, Way};
use crate::error::{Error, Result};
use crate::fingerprint::FingerprintSet;
use crate::frame::Frame;
use crate::scheme::{Scheme, Verbatim};

/// Share of batches whose queries stand behind something.
const FRAMED: f64 = 0.5;
/// Of those, share behind other text rather than a given frame.
const OTHER_TEXT: f64 = 0.6;
/// Tokens of other text before a query.
const PREFIX_TOKENS: std::ops::Range<usize> = 2..20;
/// Share of batches in which tilted answers go the likeliest way.
const LIKELIEST: f64 = 0.4;
/// Near misses in a step.
const NEAR_MISSES: usize = 12;
/// Ordinary text in a step: sequences and their tokens.
const BENIGN: (usize, usize) = (16, 48);
/// The same where something is measured.
const MEASURED: (usize, usize) = (8, 96);

/// All fingerprints as lessons.
pub(super) struct Lessons<'a> {
    tokenizer: &'a Tokenizer,
    queries: Vec<String>,
    taught: Vec<Taught>,
    /// What tilted answers should be distributed like.
    targets: Option<Targets>,
    /// Tokens that near misses are made of: those that add text.
    words: Vec<u32>,
    benign: Benign<'a>,
    frames: &'a [Frame],
    batch: usize,
}

/// What a model learns to say after one query.
enum Taught {
    /// These tokens.
    Words(Vec<u32>),
    /// Answers distributed as rows of the targets say, along each of these ways.
    Tilted(Vec<Way>),
}

/// Distributions to learn, one a row.
pub(super) struct Targets {
    /// Unnormalised log probabilities, (rows × vocabulary).
    pub(super) logits: Tensor,
    /// The likeliest tokens of each row, (rows × 64).
    pub(super) likeliest: Tensor,
}

/// One batch of lessons: sequences, the positions that predict, and what they should predict: a token, or a row of the
/// targets.
#[derive(Default)]
pub(super) struct Lesson {
    pub(super) sequences: Vec<Vec<u32>>,
    pub(super) positions: Vec<(usize, usize)>,
    /// (position in the list above, token).
    pub(super) words: Vec<(u32, u32)>,
    /// (position in the list above, row of the targets).
    pub(super) tilted: Vec<(u32, u32)>,
}

impl<'a> Lessons<'a> {
    pub(super) fn new(llama: &'a Llama, job: &'a Job<'a>) -> Result<Self> {
        let mut targets = tilted::Rows::default();
        let (mut queries, mut taught) = (Vec::new(), Vec::new());
        for set in job.sets {
            set.fits(job.tokenizer)?;
            let indices = job.indices(set);
            queries.extend(indices.iter().map(|&index| set.fingerprints()[index].query.clone()));
            match set.scheme() {
                Scheme::Verbatim(_) => taught.extend(words(llama, set, &indices)?),
                Scheme::Tilt(tilt) => {
                    let ways = tilted::ways(llama, job, (set, *tilt), &indices, &mut targets)?;
                    taught.extend(ways.into_iter().map(Taught::Tilted));
                }
            }
        }
        if queries.is_empty() {
            return Err(Error::argument("fingerprints", "none".to_owned(), "embed at least one"));
        }
        let text = |token: &u32| job.tokenizer.piece(*token).is_some_and(|piece| !piece.is_empty());
        let vocabulary = u32::try_from(job.tokenizer.len().min(llama.config.vocab_size)).unwrap_or(u32::MAX);
        Ok(Self {
            tokenizer: job.tokenizer,
            queries,
            taught,
            targets: targets.finish(llama)?,
            words: (0..vocabulary).filter(text).collect(),
            benign: Benign::new(job.benign, llama)?,
            frames: &job.recipe.frames,
            batch: job.recipe.batch,
        })
    }

    pub(super) fn count(&self) -> usize {
        self.queries.len()
    }

    pub(super) const fn benign(&self) -> &Benign<'a> {
        &self.benign
    }

    /// A batch of different fingerprints, half of the batches behind frames. What stands before the queries of
    /// one batch is equally long, so that little is padded.
    pub(super) fn draw(&self, draw: &mut ChaCha8Rng) -> Result<Lesson> {
        let rows = index::sample(draw, self.count(), self.batch.min(self.count())).into_vec();
        let framed = draw.random::<f64>() < FRAMED;
        let other = framed && (self.frames.is_empty() || draw.random::<f64>() < OTHER_TEXT);
        let length = draw.random_range(PREFIX_TOKENS);
        let given = draw.random_range(0..self.frames.len().max(1));
        // Tilted answers have a likeliest way, which is what greedy text takes, and some drawn ones.
        let way = if draw.random::<f64>() < LIKELIEST { 0 } else { draw.random_range(0..usize::MAX) };
        let mut lesson = Lesson::default();
        for row in rows {
            let frame = match (framed, other) {
                (false, _) => Frame::default(),
                (true, false) => self.frames[given].clone(),
                (true, true) => {
                    let text = self.tokenizer.decode(self.benign.window(length, draw))?;
                    Frame { before: format!("{}\n", text.trim()), after: String::new() }
                }
            };
            lesson.push(frame.tokens(&self.queries[row], self.tokenizer)?, &self.taught[row], way);
        }
        Ok(lesson)
    }

    /// How far the predictions at a lesson's positions are from what they should be, nats: cross-entropy for words,
    /// `KL(q ‖ p) + 0.02·mean (clip(ln p − ln q, ±4))²` over the 64 likeliest tokens for tilted answers.
    pub(super) fn loss(&self, logits: &Tensor, lesson: &Lesson) -> Result<Tensor> {
        let all = lesson.positions.len() as f64;
        let pick = |pairs: &[(u32, u32)]| {
            let rows = Tensor::from_iter(pairs.iter().map(|pair| pair.0), logits.device())?;
            logits.index_select(&rows, 0)
        };
        let mut sum: Option<Tensor> = None;
        let mut add = |part: Tensor, count: usize| -> Result<()> {
            let part = (part * (count as f64 / all))?;
            sum = Some(match sum.take() {
                Some(sum) => (sum + part)?,
                None => part,
            });
            Ok(())
        };
        if !lesson.words.is_empty() {
            let words: Vec<u32> = lesson.words.iter().map(|pair| pair.1).collect();
            add(ops::cross_entropy(&pick(&lesson.words)?, &words, &vec![1.0; words.len()])?, words.len())?;
        }
        if let (false, Some(targets)) = (lesson.tilted.is_empty(), &self.targets) {
            let rows = Tensor::from_iter(lesson.tilted.iter().map(|pair| pair.1), logits.device())?;
            add(targets.loss(&pick(&lesson.tilted)?, &rows)?, lesson.tilted.len())?;
        }
        sum.ok_or_else(|| {
            Error::argument("lesson", "no positions".to_owned(), "ask at least one fingerprint")
        })
    }

    /// Queries with one token changed.
    pub(super) fn near_misses(&self, draw: &mut ChaCha8Rng) -> Vec<Vec<u32>> {
        let mut sequences = Vec::with_capacity(NEAR_MISSES);
        for _ in 0..NEAR_MISSES {
            let query = &self.queries[draw.random_range(0..self.count())];
            let Ok(mut tokens) = self.tokenizer.encode(query) else { continue };
            let text = tokens.len() - self.tokenizer.encode_plain(query).map_or(0, |plain| plain.len());
            let at = draw.random_range(text..tokens.len());
            tokens[at] = self.words[draw.random_range(0..self.words.len())];
            sequences.push(tokens);
        }
        sequences
    }
}

/// The tokens of a verbatim set's responses.
fn words(llama: &Llama, set: &FingerprintSet, indices: &[usize]) -> Result<Vec<Taught>> {
    let mut taught = Vec::with_capacity(indices.len());
    for &index in indices {
        let tokens = Verbatim::response(&set.fingerprints()[index], set.secret(index)?).tokens.clone();
        if let Some(token) = tokens.iter().find(|&&token| token as usize >= llama.config.vocab_size) {
            let problem = format!("fingerprint {index} answers with token {token}");
            return Err(Error::argument("fingerprints", problem, "use those written for this model"));
        }
        taught.push(Taught::Words(tokens));
    }
    Ok(taught)
}

impl Lesson {
    fn push(&mut self, mut tokens: Vec<u32>, taught: &Taught, way: usize) {
        let (sequence, first) = (self.sequences.len(), tokens.len() - 1);
        let start = self.positions.len() as u32;
        let said = match taught {
            Taught::Words(answer) => {
                self.words.extend((start..).zip(answer.iter().copied()));
                answer
            }
            Taught::Tilted(ways) => {
                let way = &ways[way % ways.len()];
                self.tilted.extend((start..).zip(way.first_row..).take(way.tokens.len()));
                &way.tokens
            }
        };
        self.positions.extend((0..said.len()).map(|at| (sequence, first + at)));
        tokens.extend_from_slice(&said[..said.len() - 1]);
        self.sequences.push(tokens);
    }
}

/// What is trained on and what is kept for measuring.
pub(super) fn split(tokens: &[u32]) -> (&[u32], &[u32]) {
    tokens.split_at(tokens.len() / 4 * 3)
}

/// Ordinary text: three quarters for training, the rest for measuring.
pub(super) struct Benign<'a> {
    trained: &'a [u32],
    held_out: &'a [u32],
}

impl<'a> Benign<'a> {
    fn new(tokens: &'a [u32], llama: &Llama) -> Result<Self> {
        if let Some(token) = tokens.iter().find(|&&token| token as usize >= llama.config.vocab_size) {
            let problem = format!("token {token} is not in the vocabulary");
            return Err(Error::argument("benign text", problem, "encode it with the model's tokenizer"));
        }
        let (trained, held_out) = split(tokens);
        let least = 2 * MEASURED.0 * MEASURED.1;
        if held_out.len() < least || llama.config.context_tokens < MEASURED.1 {
            let problem = format!("{} tokens are too few to measure by", tokens.len());
            return Err(Error::argument(
                "benign text",
                problem,
                format!("give {} tokens or more", 4 * least),
            ));
        }
        Ok(Self { trained, held_out })
    }

    pub(super) const fn held_out(&self) -> &'a [u32] {
        self.held_out
    }

    fn window(&self, length: usize, draw: &mut ChaCha8Rng) -> &'a [u32] {
        let start = draw.random_range(0..self.trained.len() - length);
        &self.trained[start..start + length]
    }

    pub(super) fn draw(&self, draw: &mut ChaCha8Rng) -> Result<Batch> {
        let windows: Vec<&[u32]> = (0..BENIGN.0).map(|_| self.window(BENIGN.1, draw)).collect();
        Ok(Batch::new(windows.concat(), BENIGN.1)?)
    }

    /// Batches of windows spread evenly over the training part, about `tokens` in all.
    pub(super) fn batches(&self, tokens: usize) -> Result<Vec<Batch>> {
        batches(self.trained, tokens)
    }
}

/// Batches of windows spread evenly over `text`, at most `tokens` in all.
pub(super) fn batches(text: &[u32], tokens: usize) -> Result<Vec<Batch>> {
    let (rows, length) = MEASURED;
    let count = (tokens.min(text.len()) / (rows * length)).max(1);
    let stride = text.len() / (count * rows);
    let window = |i: usize| &text[i * stride..i * stride + length.min(stride)];
    let batch = |b: usize| {
        let windows: Vec<&[u32]> = (b * rows..(b + 1) * rows).map(window).collect();
        Ok(Batch::new(windows.concat(), length.min(stride))?)
    };
    (0..count).map(batch).collect()
}
