//! Conversations remembered for callers that send no history.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::{Interaction, Session};
use crate::{Error, Result, Ulid};

/// Earlier questions and answers by `activity_id`, within bounds: the conversation silent for longest is forgotten
/// first. Whoever knows an `activity_id` (80 random bits) continues that conversation, and nobody else does.
#[derive(Debug)]
pub struct History {
    bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    by_activity: HashMap<Ulid, Conversation>,
    /// Identifiers by their last use, some of them out of date.
    order: VecDeque<(Ulid, u64)>,
    uses: u64,
    bytes: usize,
    file: Option<(PathBuf, File)>,
}

#[derive(Debug, Default)]
struct Conversation {
    interactions: Vec<Interaction>,
    bytes: usize,
    used: u64,
}

#[derive(Serialize, Deserialize)]
struct Line {
    activity_id: Ulid,
    interaction: Interaction,
}

impl History {
    /// In memory, of at most `bytes_max` bytes as JSON.
    #[must_use]
    pub fn in_memory(bytes_max: usize) -> Self {
        Self { bytes_max, state: Mutex::default() }
    }

    /// In memory and in a file of JSON lines, which is read first. A line that was written half, as after a power
    /// cut, is left out.
    ///
    /// # Errors
    /// [`Error::Server`] where the file cannot be read or is something else.
    pub fn in_file(path: &Path, bytes_max: usize) -> Result<Self> {
        let bad = |why: String| Error::Server { what: "history", why: format!("{}: {why}", path.display()) };
        let io = |error: std::io::Error| bad(error.to_string());
        let mut file = OpenOptions::new().create(true).append(true).read(true).open(path).map_err(io)?;
        let history = Self::in_memory(bytes_max);
        let mut reader = BufReader::new(&file);
        let (mut line, mut number, mut half) = (Vec::new(), 0, false);
        while reader.read_until(b'\n', &mut line).map_err(io)? > 0 {
            number += 1;
            half = !line.ends_with(b"\n");
            match serde_json::from_slice::<Line>(line.strip_suffix(b"\n").unwrap_or(&line)) {
                Ok(line) => history.lock().add(line.activity_id, line.interaction, bytes_max),
                Err(error) if error.is_eof() => {}
                Err(error) => return Err(bad(format!("line {number}: {error}"))),
            }
            line.clear();
        }
        if half {
            // The next line shall not be glued to this one.
            writeln!(file).map_err(io)?;
        }
        history.lock().file = Some((path.to_owned(), file));
        Ok(history)
    }

    /// The conversation a session continues: its own history, or the remembered one where it brings none.
    #[must_use]
    pub fn complete(&self, session: &Session) -> Session {
        if !session.interactions().is_empty() {
            return session.clone();
        }
        let mut state = self.lock();
        state.uses += 1;
        let used = state.uses;
        let Some(known) = state.by_activity.get_mut(&session.activity_id()) else { return session.clone() };
        known.used = used;
        let session = session.with_interactions(known.interactions.clone());
        state.order.push_back((session.activity_id(), used));
        session
    }

    /// Adds a question with its answer.
    ///
    /// # Errors
    /// [`Error::Server`] where the file cannot be written; memory has it then.
    pub fn add(&self, activity_id: Ulid, interaction: Interaction) -> Result<()> {
        let mut state = self.lock();
        let Some((path, file)) = &mut state.file else {
            state.add(activity_id, interaction, self.bytes_max);
            return Ok(());
        };
        let bad = |why: String| Error::Server { what: "history", why: format!("{}: {why}", path.display()) };
        let line = Line { activity_id, interaction };
        let written = serde_json::to_string(&line).map_err(|error| bad(error.to_string())).and_then(|text| {
            file.write_all((text + "\n").as_bytes()).map_err(|error| bad(error.to_string()))
        });
        state.add(activity_id, line.interaction, self.bytes_max);
        written
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes_of(interaction: &Interaction) -> usize {
    let mut counted = Counted(0);
    // Only a writer that fails could fail here.
    let _ = serde_json::to_writer(&mut counted, interaction);
    counted.0
}

/// Counts bytes in place of keeping them.
struct Counted(usize);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl State {
    fn add(&mut self, activity_id: Ulid, interaction: Interaction, bytes_max: usize) {
        let bytes = bytes_of(&interaction);
        if bytes > bytes_max {
            return;
        }
        self.uses += 1;
        let used = self.uses;
        let conversation = self.by_activity.entry(activity_id).or_default();
        conversation.interactions.push(interaction);
        conversation.bytes += bytes;
        conversation.used = used;
        self.bytes += bytes;
        self.order.push_back((activity_id, used));
        self.forget(bytes_max);
    }

    /// Drops the conversations silent for longest until the rest fits.
    fn forget(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            if self.by_activity.len() == 1 {
                // The one conversation left keeps its newest part.
                let Some(only) = self.by_activity.values_mut().next() else { break };
                let dropped = only.interactions.remove(0);
                let bytes = bytes_of(&dropped);
                only.bytes -= bytes;
                self.bytes -= bytes;
                continue;
            }
            let Some((oldest, used)) = self.order.pop_front() else { break };
            if self.by_activity.get(&oldest).is_some_and(|conversation| conversation.used == used) {
                let dropped = self.by_activity.remove(&oldest).map_or(0, |conversation| conversation.bytes);
                self.bytes -= dropped;
            }
        }
        // Uses that later ones overtook.
        if self.order.len() > 2 * self.by_activity.len() + 64 {
            let by_activity = &self.by_activity;
            self.order.retain(|(id, used)| by_activity.get(id).is_some_and(|known| known.used == *used));
        }
    }
}
