//! Events in order, each once, across restarts and reorganisations.
//!
//! A [`Cursor`] names the last block read and the hashes of those before it. When the chain no longer has that block,
//! the reader goes back to the newest one both know, and says from which block on events no longer hold.

use std::{collections::VecDeque, io::Write as _, path::Path};

use alloy_primitives::{Address, B256, U64};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Client, Failure, Outcome, chain::Event};

/// Blocks whose hashes a cursor remembers: a deeper reorganisation is an error, not a guess.
const REMEMBERED_MAX: usize = 256;
/// Blocks asked for at once.
const RANGE_BLOCKS_MAX: u64 = 1_000;

/// How far a reader has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// The chain it was made on.
    chain_id: u64,
    /// The first block that is read at all.
    first: u64,
    /// Blocks read with their hashes, newest last.
    read: VecDeque<(u64, B256)>,
}

/// What the reader found next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Events of blocks up to this one, in order.
    Events {
        /// The last block they cover.
        until: u64,
        /// The events.
        events: Vec<Event>,
    },
    /// The chain was reorganised: whatever was read of this block and later is undone.
    Undone {
        /// The first block that is gone.
        from: u64,
    },
    /// Nothing new.
    Quiet,
}

impl Cursor {
    /// Before the block `first` of a chain.
    #[must_use]
    pub const fn new(chain_id: u64, first: u64) -> Self {
        Self { chain_id, first, read: VecDeque::new() }
    }

    /// Reads a cursor from a file, or `None` where there is none.
    ///
    /// # Errors
    /// [`Failure::Cursor`] where the file is something else.
    pub fn load(path: &Path) -> Outcome<Option<Self>> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fault(path, &error)),
        };
        serde_json::from_str(&text).map(Some).map_err(|error| fault(path, &error))
    }

    /// Writes the cursor to a file, whole or not at all. Save it after what was read has been used.
    ///
    /// # Errors
    /// [`Failure::Cursor`] where it cannot be written.
    pub fn save(&self, path: &Path) -> Outcome<()> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(serde_json::to_string(self)?.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(|error| fault(path, &error))
    }

    /// The next step, by which the cursor moves on.
    ///
    /// # Errors
    /// The endpoint's; [`Failure::OtherChain`]; [`Failure::Cursor`] where the reorganisation is deeper than the cursor
    /// remembers. The cursor stays where it was.
    pub fn advance(&mut self, client: &Client, addresses: &[Address]) -> Outcome<Step> {
        if client.chain_id() != self.chain_id {
            return Err(Failure::OtherChain { found: client.chain_id(), wanted: self.chain_id });
        }
        if let Some(from) = self.step_back(client)? {
            return Ok(Step::Undone { from });
        }
        let head: U64 = client.ask("eth_blockNumber", json!([]))?;
        let from = self.read.back().map_or(self.first, |(number, _)| number + 1);
        let until = head.to::<u64>().min(from.saturating_add(RANGE_BLOCKS_MAX - 1));
        if from > until {
            return Ok(Step::Quiet);
        }
        let before = hash(client, until)?;
        let events = client.events(addresses, from, until)?;
        // A block that changed between the two questions would mix two chains: nothing is taken then.
        let Some(until_hash) = before.filter(|before| hash(client, until) == Ok(Some(*before))) else {
            return Ok(Step::Quiet);
        };
        let mut seen: Vec<(u64, B256)> =
            events.iter().map(|event| (event.block_number.to(), event.block_hash)).collect();
        seen.push((until, until_hash));
        seen.dedup();
        self.read.extend(seen);
        while self.read.len() > REMEMBERED_MAX {
            self.read.pop_front();
        }
        Ok(Step::Events { until, events })
    }

    /// Forgets blocks the chain no longer has, and says the first of them.
    fn step_back(&mut self, client: &Client) -> Outcome<Option<u64>> {
        let mut kept = self.read.clone();
        while let Some((number, known)) = kept.back() {
            if hash(client, *number)? == Some(*known) {
                break;
            }
            kept.pop_back();
        }
        if kept.len() == self.read.len() {
            return Ok(None);
        }
        if kept.is_empty() && self.read.len() == REMEMBERED_MAX {
            return Err(Failure::Cursor {
                path: "the cursor".to_owned(),
                why: "the chain was reorganised deeper than it remembers; read from the first block again"
                    .to_owned(),
            });
        }
        let from = kept.back().map_or(self.first, |(number, _)| number + 1);
        self.read = kept;
        Ok(Some(from))
    }
}

fn hash(client: &Client, number: u64) -> Outcome<Option<B256>> {
    let block: Value = client.ask("eth_getBlockByNumber", json!([U64::from(number), false]))?;
    Ok(serde_json::from_value(block["hash"].clone()).ok())
}

fn fault(path: &Path, why: &dyn std::fmt::Display) -> Failure {
    Failure::Cursor { path: path.display().to_string(), why: why.to_string() }
}
