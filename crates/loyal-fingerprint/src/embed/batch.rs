//! What a step sees: fingerprints behind frames, near misses, and ordinary text.

use loyal_model::{Batch, Llama, Parameters, Tokenizer};
use rand::Rng as _;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;

use super::Job;
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::predict;

/// Share of batches whose queries stand behind something.
const FRAMED: f64 = 0.5;
/// Of those, share behind other text rather than a given frame.
const OTHER_TEXT: f64 = 0.6;
/// Tokens of other text before a query.
const PREFIX_TOKENS: std::ops::Range<usize> = 2..20;
/// Near misses in a step.
const NEAR_MISSES: usize = 12;
/// Ordinary text in a step: sequences and their tokens.
const BENIGN: (usize, usize) = (16, 48);
/// The same where something is measured.
const MEASURED: (usize, usize) = (8, 96);

/// All fingerprints as lessons.
pub(super) struct Lessons<'a> {
    llama: &'a Llama,
    tokenizer: &'a Tokenizer,
    queries: Vec<String>,
    answers: Vec<Vec<u32>>,
    /// Tokens that near misses are made of: those that add text.
    words: Vec<u32>,
    benign: Benign<'a>,
    frames: &'a [Frame],
    batch: usize,
}

/// One batch of lessons: sequences, the positions that predict, and what they should predict.
pub(super) struct Lesson {
    pub(super) sequences: Vec<Vec<u32>>,
    pub(super) positions: Vec<(usize, usize)>,
    pub(super) targets: Vec<u32>,
}

impl<'a> Lessons<'a> {
    pub(super) fn new(llama: &'a Llama, job: &'a Job<'a>) -> Result<Self> {
        job.set.fits(job.tokenizer)?;
        let (scheme, fingerprints) = (job.set.scheme(), job.set.fingerprints());
        let mut answers = Vec::with_capacity(fingerprints.len());
        for (index, one) in fingerprints.iter().enumerate() {
            let tokens = scheme.lesson(one, job.set.secret(index)?).tokens;
            if let Some(token) = tokens.iter().find(|&&token| token as usize >= llama.config.vocab_size) {
                let problem = format!("fingerprint {index} answers with token {token}");
                return Err(Error::argument("fingerprints", problem, "use those written for this model"));
            }
            answers.push(tokens);
        }
        let text = |token: &u32| job.tokenizer.piece(*token).is_some_and(|piece| !piece.is_empty());
        let vocabulary = u32::try_from(job.tokenizer.len()).unwrap_or(u32::MAX);
        Ok(Self {
            llama,
            tokenizer: job.tokenizer,
            queries: fingerprints.iter().map(|one| one.query.clone()).collect(),
            answers,
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

    /// A batch of different fingerprints, half of the batches behind frames.
    pub(super) fn draw(&self, draw: &mut ChaCha8Rng) -> Result<Lesson> {
        let count = self.batch.min(self.count());
        let rows = index::sample(draw, self.count(), count).into_vec();
        let framed = draw.random::<f64>() < FRAMED;
        let mut asked = Vec::with_capacity(count);
        for row in rows {
            let frame = if framed { self.frame(draw)? } else { Frame::default() };
            asked.push((row, frame.tokens(&self.queries[row], self.tokenizer)?));
        }
        Ok(self.lesson(asked))
    }

    fn frame(&self, draw: &mut ChaCha8Rng) -> Result<Frame> {
        if self.frames.is_empty() || draw.random::<f64>() < OTHER_TEXT {
            let tokens = self.benign.window(draw.random_range(PREFIX_TOKENS), draw);
            let before = format!("{}\n", self.tokenizer.decode(tokens)?.trim());
            return Ok(Frame { before, after: String::new() });
        }
        Ok(self.frames[draw.random_range(0..self.frames.len())].clone())
    }

    fn lesson(&self, asked: Vec<(usize, Vec<u32>)>) -> Lesson {
        let mut lesson = Lesson { sequences: Vec::new(), positions: Vec::new(), targets: Vec::new() };
        for (sequence, (row, mut tokens)) in asked.into_iter().enumerate() {
            let answer = &self.answers[row];
            let first = tokens.len() - 1;
            lesson.positions.extend((0..answer.len()).map(|at| (sequence, first + at)));
            lesson.targets.extend_from_slice(answer);
            tokens.extend_from_slice(&answer[..answer.len() - 1]);
            lesson.sequences.push(tokens);
        }
        lesson
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

    /// How many fingerprints answer greedily, each behind one of `frames` in turn.
    pub(super) fn answering(&self, parameters: &Parameters, frames: &[Frame]) -> Result<usize> {
        let plain = Frame::default();
        let mut right = 0;
        for start in (0..self.count()).step_by(64) {
            let rows = start..(start + 64).min(self.count());
            let frame = |row: usize| if frames.is_empty() { &plain } else { &frames[row % frames.len()] };
            let ask = |row: usize| Ok((row, frame(row).tokens(&self.queries[row], self.tokenizer)?));
            let lesson = self.lesson(rows.map(ask).collect::<Result<_>>()?);
            let logits = predict::logits_at(self.llama, parameters, &lesson.sequences, &lesson.positions)?;
            let best: Vec<u32> = logits.to_vec2::<f32>()?.iter().map(|row| predict::highest(row)).collect();
            let mut positions = lesson.positions.iter().zip(best.iter().zip(&lesson.targets)).peekable();
            while let Some(((sequence, _), (found, wanted))) = positions.next() {
                let mut all = found == wanted;
                while let Some((_, (found, wanted))) = positions.next_if(|((next, _), _)| next == sequence) {
                    all &= found == wanted;
                }
                right += usize::from(all);
            }
        }
        Ok(right)
    }
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
        let (trained, held_out) = tokens.split_at(tokens.len() / 4 * 3);
        let least = 2 * MEASURED.0 * MEASURED.1;
        if held_out.len() < least || llama.config.context_tokens < MEASURED.1 {
            let problem = format!("{} tokens are too few to measure by", tokens.len());
            return Err(Error::argument("benign text", problem, format!("give {} tokens or more", 4 * least)));
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
