//! What a prover keeps: for each slot the ticket, what was asked, what came back, and what became of it.
//!
//! One file for each slot, written whole before anything that it speaks of leaves this machine. A prover that is killed
//! at any point goes on from its files and the chain. Only an answer that had come and was not written down yet is asked for
//! again: one invocation, of the same words, to the same host.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use alloy_primitives::{B256, Bytes, keccak256};
use alloy_sol_types::SolValue as _;
use loyal_access::document::{SignedReceipt, SignedTicket, decimal};
use loyal_protocol::message;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ticket::Slot;

/// Larger files are none of ours.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// An invocation that was not probed for: it hides the probes, and its receipt is looked for in the report.
pub const ORDINARY: u8 = 0;
/// An invocation that asks the fingerprint.
pub const PROBE: u8 = 1;

/// One slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// Which.
    pub slot: Slot,
    /// The leaf that is asked.
    pub leaf: u32,
    /// When it is asked, in unix seconds.
    #[serde(with = "decimal")]
    pub due_at: u64,
    /// The ticket, once the owner gave it.
    pub held: Option<Held>,
    /// The invocations, in the order in which they are made.
    pub sends: Vec<Send>,
    /// What was committed to, written before it is.
    pub result: Option<Outcome>,
    /// Whether nothing is left to do.
    pub is_over: bool,
    /// How it ended, or why it could not go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A ticket and its query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// The ticket.
    pub ticket: SignedTicket,
    /// What may be asked by it; secret until the result is laid open.
    pub query: String,
}

/// One invocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Send {
    /// [`PROBE`] or [`ORDINARY`].
    pub kind: u8,
    /// The whole prompt; that of a probe ends with its query.
    pub prompt: String,
    /// The answer; none before it came, or where there was none.
    pub text: Option<String>,
    /// The receipt.
    pub receipt: Option<SignedReceipt>,
    /// How often it was tried.
    pub attempt_count: u32,
    /// Why there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Whether the receipt was found in the posted report; none before it was looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_reported: Option<bool>,
}

/// What a prover says it saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Outcome {
    /// Hides the replies until they are laid open.
    pub salt: B256,
    /// Each reply as the list of its pieces, `abi.encode(bytes[])`.
    pub replies: Vec<Bytes>,
    /// 0 by the host's receipts, 1 by an attested client, 2 by several provers.
    pub mode: u8,
    /// Hash of what was sent and what came back.
    pub transcript_hash: B256,
    /// When, in unix seconds.
    #[serde(with = "decimal")]
    pub observed_at: u64,
}

impl Outcome {
    /// The message that is committed to by its digest.
    #[must_use]
    pub fn message(&self, ticket_id: B256) -> message::ProbeResult {
        let observed = (self.salt, ticket_id, self.replies.clone()).abi_encode_params();
        message::ProbeResult {
            ticketId: ticket_id,
            mode: self.mode,
            observedCommit: keccak256(observed),
            transcriptHash: self.transcript_hash,
            observedAt: self.observed_at,
        }
    }
}

impl Entry {
    /// The probe's own invocations.
    pub fn probes(&self) -> impl Iterator<Item = &Send> {
        self.sends.iter().filter(|send| send.kind == PROBE)
    }
}

/// The folder of a prover.
#[derive(Debug)]
pub struct Ledger {
    folder: PathBuf,
    entries: BTreeMap<Slot, Entry>,
    _lock: File,
}

impl Ledger {
    /// Opens a folder, or makes it.
    ///
    /// # Errors
    /// Another prover has it open; a file in it is damaged.
    pub fn open(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|error| Error::file(folder, error))?;
        let path = folder.join("lock");
        let lock = File::options().create(true).append(true).open(&path);
        let lock = lock.map_err(|error| Error::file(&path, error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(Error::file(folder, "another prover works here; one folder is for one prover"));
            }
            Err(std::fs::TryLockError::Error(error)) => return Err(Error::file(&path, error)),
        }
        let entries = read_all(folder)?;
        Ok(Self { folder: folder.to_owned(), entries, _lock: lock })
    }

    /// What a folder holds, while another process may be writing.
    ///
    /// # Errors
    /// A file in it is damaged.
    pub fn peek(folder: &Path) -> Result<Vec<Entry>> {
        Ok(read_all(folder)?.into_values().collect())
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// All entries, oldest epoch first within a hosting.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// What is kept of a slot.
    #[must_use]
    pub fn entry(&self, slot: Slot) -> Option<&Entry> {
        self.entries.get(&slot)
    }

    /// Slots in which something is left to do.
    #[must_use]
    pub fn open_slots(&self) -> Vec<Slot> {
        self.entries.values().filter(|entry| !entry.is_over).map(|entry| entry.slot).collect()
    }

    /// Keeps an entry, on the disk when this returns.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep(&mut self, entry: Entry) -> Result<()> {
        let path = self.folder.join(name_of(entry.slot));
        let write = || -> std::io::Result<()> {
            // Private to the account from the beginning: it holds queries that nobody else may know yet.
            let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
            serde_json::to_writer_pretty(&mut file, &entry)?;
            file.write_all(b"\n")?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|error| Error::file(&path, error))?;
        self.entries.insert(entry.slot, entry);
        Ok(())
    }
}

fn name_of(slot: Slot) -> String {
    format!("probe-{}-{}-{}.json", slot.hosting, slot.epoch, slot.number)
}

fn read_all(folder: &Path) -> Result<BTreeMap<Slot, Entry>> {
    let mut entries = BTreeMap::new();
    let listed = match std::fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(entries),
        Err(error) => return Err(Error::file(folder, error)),
    };
    for file in listed {
        let file = file.map_err(|error| Error::file(folder, error))?;
        let name = file.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with("probe-") && name.ends_with(".json"))
        else {
            continue;
        };
        let path = file.path();
        let bytes = read(&path).map_err(|error| Error::file(&path, error))?;
        let entry: Entry = serde_json::from_slice(&bytes).map_err(|error| {
            Error::file(&path, format!("{error}; it was written whole, so somebody changed it"))
        })?;
        if name != name_of(entry.slot) {
            return Err(Error::file(&path, format!("it is about {}", entry.slot)));
        }
        entries.insert(entry.slot, entry);
    }
    Ok(entries)
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u16) -> Entry {
        Entry {
            slot: Slot { hosting: 1, epoch: 2, number },
            leaf: 9,
            due_at: 77,
            held: None,
            sends: vec![Send {
                kind: PROBE,
                prompt: "a query".to_owned(),
                text: Some("an answer".to_owned()),
                receipt: None,
                attempt_count: 1,
                problem: None,
                is_reported: None,
            }],
            result: None,
            is_over: number == 1,
            note: None,
        }
    }

    #[test]
    fn what_was_kept_is_there_again_and_one_prover_has_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path()).unwrap();
        for number in 0..3 {
            ledger.keep(entry(number)).unwrap();
        }
        assert!(Ledger::open(folder.path()).unwrap_err().to_string().contains("one folder"));
        let changed = Entry { is_over: true, ..entry(2) };
        ledger.keep(changed.clone()).unwrap();
        drop(ledger);
        let again = Ledger::open(folder.path()).unwrap();
        assert_eq!(again.open_slots(), [entry(0).slot]);
        assert_eq!(again.entry(changed.slot), Some(&changed));
        let path = folder.path().join("probe-1-2-0.json");
        drop(again);
        std::fs::write(&path, "{}").unwrap();
        assert!(Ledger::open(folder.path()).unwrap_err().to_string().contains("probe-1-2-0.json"));
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_may_read_a_query() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        Ledger::open(folder.path()).unwrap().keep(entry(0)).unwrap();
        let found = std::fs::metadata(folder.path().join("probe-1-2-0.json")).unwrap();
        assert_eq!(found.permissions().mode() & 0o077, 0);
    }
}
