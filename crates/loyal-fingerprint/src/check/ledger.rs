//! The ledger of spent fingerprints: what was asked of whom, so that it is not asked again where it may be known.
//!
//! A query that a host has seen may be recognised the second time, by that host and by all it talks to. So each is
//! written down, on the disk, before it is sent; a crash may lose an answer, never an entry.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use loyal_types::Hash;
use serde::{Deserialize, Serialize};

use crate::FingerprintSet;
use crate::error::{Error, Result};
use crate::journal::{self, Journal, Kind, Line, Lock};

const FORMAT: &str = "loyal-ledger";
const VERSION: u32 = 1;
const KIND: Kind = Kind {
    remedy: "a ledger is never edited: restore it from a copy; without it spent fingerprints would be asked again",
    busy: "another check",
};

/// What happened to fingerprints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Event {
    /// The first line: whose fingerprints these are.
    Begun { format: String, version: u32, leaf_root: Hash },
    /// They are about to be asked of a host.
    Spent { host: String, indices: Vec<u32> },
    /// They are about to be laid open to everybody.
    Opened { indices: Vec<u32> },
}

/// Whom a fingerprint is meant for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The host that is about to be asked.
    pub host: String,
    /// Hosts that may tell each other what they were asked.
    pub colluders: Colluders,
}

/// Who may talk to a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Colluders {
    /// These.
    Named(BTreeSet<String>),
    /// Everybody.
    All,
}

/// Why a fingerprint may not be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Burnt {
    /// It was asked of this host before, in another check or in one whose answer was lost.
    Spent(String),
    /// It was laid open.
    Opened,
}

impl std::fmt::Display for Burnt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Spent(host) => write!(f, "not asked: spent on {host} before"),
            Self::Opened => f.write_str("not asked: laid open before"),
        }
    }
}

/// The ledger of one set. It is locked only while it is looked at or written to: checks of different hosts may run
/// at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    path: PathBuf,
    leaf_root: Hash,
}

impl Ledger {
    /// The ledger beside a secret file. It is named after the leaf root (`0123456789abcdef.ledger`), so that copies of
    /// the secret in one folder, before and after the beacon, share it.
    #[must_use]
    pub fn beside(secret: &Path, set: &FingerprintSet) -> Self {
        let leaf_root = set.leaf_root();
        let name = format!("{}.ledger", &leaf_root.to_string()[2..18]);
        Self { path: secret.with_file_name(name), leaf_root }
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Spends those of `indices` that `target` may be asked, and says why not of each other: one answer for each
    /// index, in order. When this returns, it is on the disk; only then may they be sent.
    ///
    /// # Errors
    /// The ledger cannot be read or written, was changed, or is another set's.
    pub fn spend(&self, target: &Target, indices: &[u32], time: u64) -> Result<Vec<Option<Burnt>>> {
        let (mut journal, past) = self.open(time)?;
        let answers: Vec<Option<Burnt>> = indices.iter().map(|&index| past.burnt(target, index)).collect();
        let free = indices.iter().zip(&answers).filter(|(_, burnt)| burnt.is_none());
        let free: Vec<u32> = free.map(|(&index, _)| index).collect();
        if !free.is_empty() {
            journal.append(time, Event::Spent { host: target.host.clone(), indices: free })?;
        }
        Ok(answers)
    }

    /// Those of `indices` that `target` may still be asked, in order. Nothing is spent.
    ///
    /// # Errors
    /// The ledger cannot be read, was changed, or is another set's.
    pub fn free(&self, target: &Target, indices: &[u32]) -> Result<Vec<u32>> {
        let past = self.read()?;
        Ok(indices.iter().copied().filter(|&index| past.burnt(target, index).is_none()).collect())
    }

    /// Burns `indices` for everybody: they are about to be laid open.
    ///
    /// # Errors
    /// As [`Ledger::spend`].
    pub fn open_leaves(&self, indices: &[u32], time: u64) -> Result<()> {
        let (mut journal, past) = self.open(time)?;
        let fresh: Vec<u32> = indices.iter().copied().filter(|index| !past.opened.contains(index)).collect();
        if fresh.is_empty() { Ok(()) } else { journal.append(time, Event::Opened { indices: fresh }) }
    }

    /// How many fingerprints were asked of each host, and how many were laid open.
    ///
    /// # Errors
    /// As [`Ledger::spend`], but that it is not there: then nothing was spent.
    pub fn summary(&self) -> Result<Summary> {
        Ok(Summary::of(&self.read()?))
    }

    /// What it holds, if it is there.
    fn read(&self) -> Result<Past> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Past::default()),
            Err(source) => return Err(Error::file(&self.path, "reading", source)),
        };
        let bytes = journal::read_bounded(&mut file, &self.path)?;
        let (lines, _) = journal::parse(&bytes, &self.path, KIND)?;
        self.past(&lines)
    }

    fn open(&self, time: u64) -> Result<(Journal<Event>, Past)> {
        let (mut journal, lines) = Journal::open(&self.path, KIND, Lock::Waiting)?;
        if lines.is_empty() {
            let begun =
                Event::Begun { format: FORMAT.to_owned(), version: VERSION, leaf_root: self.leaf_root };
            journal.append(time, begun)?;
        }
        let past = self.past(&lines)?;
        Ok((journal, past))
    }

    fn past(&self, lines: &[Line<Event>]) -> Result<Past> {
        let wrong = |problem: String| Err(Error::malformed(&self.path, problem, KIND.remedy));
        let mut past = Past::default();
        for (number, line) in lines.iter().enumerate() {
            match &line.event {
                Event::Begun { format, version, .. } if format != FORMAT || *version != VERSION => {
                    return wrong(format!("format {format:?}, version {version}"));
                }
                Event::Begun { leaf_root, .. } if *leaf_root != self.leaf_root => {
                    return wrong(format!("it is the ledger of {leaf_root}, not of {}", self.leaf_root));
                }
                Event::Begun { .. } if number == 0 => {}
                _ if number == 0 => return wrong("it has no first line".to_owned()),
                Event::Begun { .. } => return wrong(format!("line {}: it begins twice", number + 1)),
                Event::Spent { host, indices } => {
                    past.spent.extend(indices.iter().map(|&index| (index, host.clone())));
                }
                Event::Opened { indices } => past.opened.extend(indices),
            }
        }
        Ok(past)
    }
}

#[derive(Debug, Default)]
struct Past {
    spent: BTreeSet<(u32, String)>,
    opened: BTreeSet<u32>,
}

impl Past {
    fn burnt(&self, target: &Target, index: u32) -> Option<Burnt> {
        if self.opened.contains(&index) {
            return Some(Burnt::Opened);
        }
        let mut hosts = self.spent.range((index, String::new())..).take_while(|(spent, _)| *spent == index);
        let knows = |host: &str| match &target.colluders {
            Colluders::All => true,
            Colluders::Named(named) => *host == target.host || named.contains(host),
        };
        hosts.find(|(_, host)| knows(host)).map(|(_, host)| Burnt::Spent(host.clone()))
    }
}

/// What a ledger says, counted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Summary {
    /// Fingerprints asked of each host.
    pub spent: std::collections::BTreeMap<String, usize>,
    /// Fingerprints laid open.
    pub opened: usize,
}

impl Summary {
    fn of(past: &Past) -> Self {
        let mut summary = Self { opened: past.opened.len(), ..Self::default() };
        for (_, host) in &past.spent {
            *summary.spent.entry(host.clone()).or_default() += 1;
        }
        summary
    }
}
