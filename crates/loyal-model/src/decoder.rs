//! A model that answers: the forward pass with a KV cache, on a CPU, without a tensor engine.

mod attention;
mod layer;
mod matrix;
mod session;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

pub use session::Session;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::kernels::{Inputs, Isa, Pool, Product, multiply};
use crate::quantize::Precision;
use crate::weights::Weights;
use layer::Layer;
use matrix::Matrix;

/// Tokens that go through the layers together. More would only take more memory.
const ROWS_MAX: usize = 128;

/// A model ready to answer. Several threads may feed their sessions to one decoder; they take turns at its
/// threads. Answers are the same bit for bit whether sequences are fed alone or in a batch, in one piece
/// or in several.
#[derive(Debug)]
pub struct Decoder {
    config: Config,
    precision: Precision,
    embedding: Matrix,
    layers: Vec<Layer>,
    norm: Vec<f32>,
    /// Absent where the embedding matrix is the output matrix.
    head: Option<Matrix>,
    frequencies: Vec<f32>,
    isa: Isa,
    pool: Pool,
    scratch: Mutex<Vec<Scratch>>,
}

/// One token on its way through the layers.
#[derive(Debug, Clone, Copy)]
struct Row {
    session: usize,
    token: u32,
    position: usize,
    /// Whether its logits are asked for.
    wanted: bool,
}

/// Buffers that are kept from one pass to the next.
#[derive(Debug, Default)]
struct Scratch {
    rows: Vec<Row>,
    /// The residual stream.
    hidden: Vec<f32>,
    normed: Inputs,
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    /// Answers of attention, by task (see `attention`).
    tasks: Vec<f32>,
    attended: Inputs,
    gate: Inputs,
    up: Vec<f32>,
    delta: Vec<f32>,
    angles: Vec<(f32, f32)>,
    runs: Vec<attention::Run>,
}

/// Where the weights come from.
pub(crate) enum Source<'a> {
    File(&'a Arc<Weights>),
    Memory(&'a BTreeMap<String, Vec<f32>>),
}

impl Decoder {
    /// Opens the model in `folder`. Weights that `precision` leaves as they are stay in the mapped file and
    /// come in as they are used.
    ///
    /// # Errors
    /// A file is missing, malformed or of a kind this crate does not run, or weights and shape do not fit.
    pub fn open(folder: &Path, precision: Precision) -> Result<Self> {
        let config = Config::read(folder)?;
        let weights = Arc::new(Weights::open(folder)?);
        weights.check(&config)?;
        Self::build(config, &Source::File(&weights), precision)
    }

    /// A decoder of a model in memory: its parameters by Hugging Face name (see [`Config::parameters`]).
    ///
    /// # Errors
    /// A parameter is missing or has another size.
    pub fn from_tensors(
        config: &Config,
        tensors: &BTreeMap<String, Vec<f32>>,
        precision: Precision,
    ) -> Result<Self> {
        Self::build(config.clone(), &Source::Memory(tensors), precision)
    }

    fn build(config: Config, source: &Source<'_>, precision: Precision) -> Result<Self> {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let (vocab, hidden) = (config.vocab_size, config.hidden_size);
        let matrix = |name: &str, shape| source.matrix(name, shape, precision);
        Ok(Self {
            embedding: matrix("model.embed_tokens.weight", [vocab, hidden])?,
            layers: (0..config.layer_count)
                .map(|index| Layer::build(&config, source, index, precision))
                .collect::<Result<_>>()?,
            norm: source.vector("model.norm.weight", hidden)?,
            head: if config.tied { None } else { Some(matrix("lm_head.weight", [vocab, hidden])?) },
            frequencies: config.rope_frequencies(),
            isa: Isa::detect(),
            pool: Pool::new(threads),
            scratch: Mutex::default(),
            precision,
            config,
        })
    }

    /// The same decoder on `threads` threads (as many as the machine has, unless this is called).
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.pool = Pool::new(threads);
        self
    }

    /// The model's shape.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// How the weights are kept.
    #[must_use]
    pub const fn precision(&self) -> Precision {
        self.precision
    }

    /// An empty sequence.
    #[must_use]
    pub fn session(&self) -> Session {
        Session::new(&self.config)
    }

    /// Feeds `tokens` to `session` and answers the logits after the last one, `vocab_size` of them.
    ///
    /// # Errors
    /// There is no token, a token is not in the vocabulary, or the context overflows; `session` stays as it was.
    pub fn feed(&self, session: &mut Session, tokens: &[u32]) -> Result<Vec<f32>> {
        let mut logits = Vec::new();
        self.feed_into(session, tokens, &mut logits)?;
        Ok(logits)
    }

    /// As [`Decoder::feed`], into a buffer that is kept from one token to the next.
    ///
    /// # Errors
    /// As [`Decoder::feed`].
    pub fn feed_into(&self, session: &mut Session, tokens: &[u32], logits: &mut Vec<f32>) -> Result<()> {
        logits.clear();
        self.pass(&mut [session], &[tokens], Wanted::Last, logits)
    }

    /// Feeds `tokens` to `session` and answers the logits after each, token after token.
    ///
    /// # Errors
    /// As [`Decoder::feed`].
    pub fn feed_all(&self, session: &mut Session, tokens: &[u32]) -> Result<Vec<f32>> {
        let mut logits = Vec::new();
        self.pass(&mut [session], &[tokens], Wanted::All, &mut logits)?;
        Ok(logits)
    }

    /// Feeds several sequences at once, reading the weights once for all, and answers the logits after the
    /// last token of each.
    ///
    /// # Errors
    /// As [`Decoder::feed`], or there are not as many sessions as token lists; all sessions stay as they were.
    pub fn feed_batch(&self, sessions: &mut [&mut Session], tokens: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        let mut logits = Vec::new();
        self.pass(sessions, tokens, Wanted::Last, &mut logits)?;
        Ok(logits.chunks_exact(self.config.vocab_size).map(<[f32]>::to_vec).collect())
    }

    /// As [`Decoder::feed_batch`], one sequence's logits after another's, into a buffer that is kept.
    ///
    /// # Errors
    /// As [`Decoder::feed_batch`].
    pub fn feed_batch_into(
        &self,
        sessions: &mut [&mut Session],
        tokens: &[&[u32]],
        logits: &mut Vec<f32>,
    ) -> Result<()> {
        logits.clear();
        self.pass(sessions, tokens, Wanted::Last, logits)
    }

    fn pass(
        &self,
        sessions: &mut [&mut Session],
        tokens: &[&[u32]],
        wanted: Wanted,
        logits: &mut Vec<f32>,
    ) -> Result<()> {
        self.check(sessions, tokens)?;
        let kept = self.scratch.lock().ok().and_then(|mut list| list.pop());
        let mut scratch = kept.unwrap_or_default();
        scratch.rows.clear();
        for (index, (session, tokens)) in sessions.iter().zip(tokens).enumerate() {
            let last = tokens.len() - 1;
            scratch.rows.extend(tokens.iter().enumerate().map(|(i, &token)| Row {
                session: index,
                token,
                position: session.length + i,
                wanted: wanted == Wanted::All || i == last,
            }));
        }
        let rows = std::mem::take(&mut scratch.rows);
        for rows in rows.chunks(ROWS_MAX) {
            self.forward(sessions, rows, &mut scratch, logits);
        }
        for (session, tokens) in sessions.iter_mut().zip(tokens) {
            session.length += tokens.len();
        }
        scratch.rows = rows;
        if let Ok(mut list) = self.scratch.lock() {
            list.push(scratch);
        }
        Ok(())
    }

    fn check(&self, sessions: &[&mut Session], tokens: &[&[u32]]) -> Result<()> {
        let argument = |problem: String, remedy: &str| {
            Err(Error::Argument { name: "tokens", problem, remedy: remedy.to_owned() })
        };
        if sessions.len() != tokens.len() {
            let problem = format!("{} lists for {} sessions", tokens.len(), sessions.len());
            return argument(problem, "give one list of tokens to each session");
        }
        for (session, tokens) in sessions.iter().zip(tokens) {
            if !session.fits(&self.config) {
                return argument(
                    "the session belongs to another model".to_owned(),
                    "use this decoder's session()",
                );
            }
            if tokens.is_empty() {
                return argument("there are none".to_owned(), "feed at least one, such as the BOS token");
            }
            if let Some(token) = tokens.iter().find(|&&token| token as usize >= self.config.vocab_size) {
                let problem = format!("token {token} is not below {}", self.config.vocab_size);
                return argument(problem, "use the tokenizer that came with the model");
            }
            if session.length + tokens.len() > self.config.context_tokens {
                return Err(Error::ContextOverflow {
                    prompt_tokens: session.length + tokens.len(),
                    new_tokens: 0,
                    context_tokens: self.config.context_tokens,
                });
            }
        }
        Ok(())
    }

    /// Sends `rows` through all layers and appends the logits that are wanted.
    fn forward(
        &self,
        sessions: &mut [&mut Session],
        rows: &[Row],
        scratch: &mut Scratch,
        logits: &mut Vec<f32>,
    ) {
        let width = self.config.hidden_size;
        scratch.hidden.resize(rows.len() * width, 0.0);
        for (row, hidden) in rows.iter().zip(scratch.hidden.chunks_exact_mut(width)) {
            self.embedding.copy_row(row.token as usize, hidden);
        }
        layer::set_angles(&self.frequencies, rows, &mut scratch.angles);
        attention::set_runs(rows, &mut scratch.runs);
        for layer in &self.layers {
            self.attend(layer, sessions, rows, scratch);
            self.feed_forward(layer, scratch);
        }
        let wanted = rows.iter().filter(|row| row.wanted).count();
        if wanted > 0 {
            self.answer(rows, wanted, scratch, logits);
        }
    }

    fn answer(&self, rows: &[Row], wanted: usize, scratch: &mut Scratch, logits: &mut Vec<f32>) {
        let width = self.config.hidden_size;
        let mut normed = scratch.normed.resize(wanted, width).chunks_exact_mut(width);
        for (_, hidden) in rows.iter().zip(scratch.hidden.chunks_exact(width)).filter(|(row, _)| row.wanted) {
            if let Some(out) = normed.next() {
                self.isa.rms_norm(hidden, &self.norm, self.config.rms_norm_eps as f32, out);
            }
        }
        self.prepare(&mut scratch.normed);
        let start = logits.len();
        logits.resize(start + wanted * self.config.vocab_size, 0.0);
        let matrix = self.head.as_ref().unwrap_or(&self.embedding).view();
        let out = &mut logits[start..];
        multiply(&self.pool, self.isa, &scratch.normed, &mut [Product { matrix, out }]);
    }

    /// Rounds inputs where the weights are integers.
    fn prepare(&self, inputs: &mut Inputs) {
        if matches!(self.precision, Precision::Int8 | Precision::Int4) {
            inputs.quantize(self.isa);
        }
    }
}

/// Whose logits a pass answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Last,
    All,
}

impl Source<'_> {
    fn matrix(&self, name: &str, shape: [usize; 2], precision: Precision) -> Result<Matrix> {
        match self {
            Self::File(weights) => Matrix::open(weights, name, shape, precision),
            Self::Memory(_) => {
                Ok(Matrix::from_numbers(self.vector(name, shape[0] * shape[1])?, shape, precision))
            }
        }
    }

    fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>> {
        match self {
            Self::File(weights) => Ok(weights.expect(name, &[length])?.to_f32()),
            Self::Memory(tensors) => match tensors.get(name) {
                Some(numbers) if numbers.len() == length => Ok(numbers.clone()),
                found => Err(Error::Mismatch {
                    path: "(memory)".into(),
                    name: name.to_owned(),
                    expected: format!("{length} numbers"),
                    found: found.map_or_else(|| "no such tensor".to_owned(), |found| found.len().to_string()),
                }),
            },
        }
    }
}
