//! What a run did, line after line, each with the hash of the one before: to replay it exactly, or to go on where it broke.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use loyal_types::Clock;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::llm::Call;
use crate::{Error, Result};

/// Bytes of one line.
const LINE_BYTES_MAX: usize = 4 << 20;

/// What a line tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The run begins: goal, style, seed.
    Run,
    /// A plan of subtasks.
    Plan,
    /// What a model is asked.
    Ask,
    /// What it answered.
    Answer,
    /// A tool is called.
    Call,
    /// What it gave back.
    Result,
    /// What a check found.
    Check,
    /// A bound was reached.
    Budget,
    /// The run ended.
    End,
}

/// One line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    /// Its number, from zero.
    pub n: u64,
    /// Milliseconds since the run began.
    pub at: u64,
    /// The subtask it belongs to.
    pub node: String,
    /// What it tells.
    pub kind: Kind,
    /// The facts.
    pub body: Box<RawValue>,
    /// SHA-256 of the line before, in lower hex; of nothing for the first.
    pub prev: String,
}

/// The log of one run. Lines of an earlier log are used up first: what they tell is not done again.
pub struct Log {
    clock: Arc<dyn Clock + Send + Sync>,
    began: Duration,
    past: VecDeque<Line>,
    n: u64,
    at: u64,
    prev: [u8; 32],
    out: Out,
}

enum Out {
    Memory(Memory),
    Writer(Box<dyn Write + Send + Sync>),
}

/// Lines in memory, to be read while the run still goes on.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    /// The lines so far.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Log {
    /// A log that is written to `out` line by line.
    #[must_use]
    pub fn new(out: impl Write + Send + Sync + 'static, clock: Arc<dyn Clock + Send + Sync>) -> Self {
        Self::with(Out::Writer(Box::new(out)), clock)
    }

    /// A log in memory.
    #[must_use]
    pub fn in_memory(clock: Arc<dyn Clock + Send + Sync>) -> (Self, Memory) {
        let memory = Memory::default();
        (Self::with(Out::Memory(memory.clone()), clock), memory)
    }

    fn with(out: Out, clock: Arc<dyn Clock + Send + Sync>) -> Self {
        let began = clock.elapsed();
        let prev = Sha256::digest([]).into();
        Self { clock, began, past: VecDeque::new(), n: 0, at: 0, prev, out }
    }

    /// With a clock that stands at `now`: for a run within another one, whose budgets count from that.
    pub(crate) fn beginning_at(mut self, now: Duration) -> Self {
        self.at = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.began = self.clock.elapsed().checked_sub(now).unwrap_or_default();
        self
    }

    /// With the lines of an earlier log, or of its beginning: the run takes from them what models and tools said and what
    /// time it was, and writes them again, byte for byte.
    ///
    /// # Errors
    /// [`Error::BadLog`] where a line is damaged, missing or changed. A last line that was written half is left out.
    pub fn resuming(mut self, earlier: &[u8]) -> Result<Self> {
        self.past = read(earlier)?.into();
        // Time goes on where it stood.
        let passed = Duration::from_millis(self.past.back().map_or(0, |line| line.at));
        self.began = self.clock.elapsed().checked_sub(passed).unwrap_or_default();
        Ok(self)
    }

    /// Time since the run began, as of the last line.
    #[must_use]
    pub const fn now(&self) -> Duration {
        Duration::from_millis(self.at)
    }

    /// What time it is, in seconds of Unix.
    pub(crate) fn unix_seconds(&self) -> u64 {
        self.clock.unix_seconds()
    }

    /// The call that comes next in the earlier log, if that is what comes next.
    pub(crate) fn next_call(&self, node: &str) -> Option<Call> {
        let past = self.past.front().filter(|past| past.kind == Kind::Call && past.node == node)?;
        serde_json::from_str(past.body.get()).ok()
    }

    /// Whether what comes next is in the earlier log.
    #[must_use]
    pub fn is_replaying(&self) -> bool {
        !self.past.is_empty()
    }

    /// SHA-256 of the last line: it commits to the whole run.
    #[must_use]
    pub fn hash(&self) -> String {
        hex(&self.prev)
    }

    /// Writes a line about what this program decides. In a replay it must be the next line.
    ///
    /// # Errors
    /// [`Error::BadLog`] where the earlier log tells something else, or the log cannot be written.
    pub fn note(&mut self, node: &str, kind: Kind, body: &(impl Serialize + ?Sized)) -> Result<()> {
        let body = serde_json::value::to_raw_value(body).map_err(|error| bad(self.n, error.to_string()))?;
        let at = match self.past.pop_front() {
            Some(past) if past.kind == kind && past.node == node && past.body.get() == body.get() => past.at,
            Some(past) => {
                let why = format!(
                    "the earlier log tells {:?} {}, this run {kind:?} {}",
                    past.kind, past.body, body
                );
                return Err(bad(self.n, clip(why)));
            }
            None => self.elapsed(),
        };
        self.write(at, node, kind, body)
    }

    /// What the earlier log says came in here, if it still says anything.
    ///
    /// # Errors
    /// [`Error::BadLog`] where it tells something else.
    pub fn recorded<T: for<'a> Deserialize<'a>>(&mut self, node: &str, kind: Kind) -> Result<Option<T>> {
        let Some(past) = self.past.pop_front() else { return Ok(None) };
        if past.kind != kind || past.node != node {
            return Err(bad(
                self.n,
                clip(format!("the earlier log tells {:?} {}, this run {kind:?}", past.kind, past.body)),
            ));
        }
        let value = serde_json::from_str(past.body.get()).map_err(|error| bad(self.n, error.to_string()))?;
        self.write(past.at, node, kind, past.body)?;
        Ok(Some(value))
    }

    /// Writes what came in from outside.
    ///
    /// # Errors
    /// [`Error::BadLog`] where the log cannot be written.
    pub fn record(&mut self, node: &str, kind: Kind, body: &(impl Serialize + ?Sized)) -> Result<()> {
        let body = serde_json::value::to_raw_value(body).map_err(|error| bad(self.n, error.to_string()))?;
        let at = self.elapsed();
        self.write(at, node, kind, body)
    }

    fn elapsed(&self) -> u64 {
        let passed = self.clock.elapsed().saturating_sub(self.began);
        u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).max(self.at)
    }

    fn write(&mut self, at: u64, node: &str, kind: Kind, body: Box<RawValue>) -> Result<()> {
        let line = Line { n: self.n, at, node: node.to_owned(), kind, body, prev: hex(&self.prev) };
        let mut text = serde_json::to_string(&line).map_err(|error| bad(self.n, error.to_string()))?;
        if text.len() > LINE_BYTES_MAX {
            return Err(bad(self.n, format!("a line has at most {LINE_BYTES_MAX} bytes")));
        }
        self.prev = Sha256::digest(text.as_bytes()).into();
        text.push('\n');
        match &mut self.out {
            Out::Memory(memory) => {
                memory.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(text.as_bytes());
            }
            Out::Writer(out) => {
                let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
                written.map_err(|error| bad(self.n, error.to_string()))?;
            }
        }
        self.n += 1;
        self.at = at;
        Ok(())
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("n", &self.n).field("past", &self.past.len()).finish_non_exhaustive()
    }
}

/// The lines of a log, each checked against the one before.
///
/// # Errors
/// [`Error::BadLog`] where a line is damaged, missing or changed. A last line that was written half is left out.
pub fn read(bytes: &[u8]) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    let mut prev: [u8; 32] = Sha256::digest([]).into();
    for text in bytes.split_inclusive(|byte| *byte == b'\n') {
        let n = lines.len() as u64;
        let Some(text) = text.strip_suffix(b"\n") else { break };
        let line: Line = serde_json::from_slice(text).map_err(|error| bad(n, error.to_string()))?;
        if line.n != n || line.prev != hex(&prev) {
            return Err(bad(n, "it does not follow the line before".to_owned()));
        }
        prev = Sha256::digest(text).into();
        lines.push(line);
    }
    Ok(lines)
}

fn bad(n: u64, why: String) -> Error {
    Error::BadLog { n, why }
}

fn clip(mut why: String) -> String {
    why.truncate(why.floor_char_boundary(500));
    why
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
