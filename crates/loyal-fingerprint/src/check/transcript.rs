//! The transcript of a check: what was asked of whom and what came back, chained by hashes, on the disk before more
//! is asked.

use std::fs::File;
use std::path::Path;

use loyal_types::Hash;
use serde::{Deserialize, Serialize};

use super::{Attempt, Mode};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::journal::{self, Journal, Kind, Lock};
use crate::pool::Pool;

pub use crate::journal::Line;

const FORMAT: &str = "loyal-transcript";
const VERSION: u32 = 1;
const KIND: Kind = Kind {
    remedy: "a transcript is never edited: restore it from a copy, or begin another file",
    busy: "another check",
};

/// By which way a suspect is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// Weights at hand.
    Weights,
    /// An endpoint that goes on from a text.
    Completions,
    /// An endpoint that answers messages.
    Chat,
}

/// What a transcript begins with: all that decides how its attempts are weighed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// `loyal-transcript`.
    format: String,
    /// 1.
    version: u32,
    /// Root over the leaves of all fingerprints.
    pub leaf_root: Hash,
    /// The beacon's number.
    pub beacon: Hash,
    /// Name of the scheme.
    pub scheme: String,
    /// Digest of the registered tokenizer.
    pub tokenizer: Hash,
    /// Who is asked: with the beacon it fixes the order.
    pub suspect: String,
    /// By which way.
    pub route: Route,
    /// What can be seen of the answers, decided with ordinary prompts.
    pub mode: Mode,
    /// Draws of each answer.
    pub draws: usize,
    /// What stands around the queries, in order.
    pub frames: Vec<Frame>,
    /// Registrations claimed and suspects tested so far, this one counted.
    pub registrations: u32,
    /// Digest of the unmarked reference's weights, where there is one.
    pub reference: Option<Hash>,
    /// The only pool that is asked, if it is not all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Pool>,
}

impl Header {
    /// The header of a check of `suspect` by `route`.
    #[must_use]
    pub fn new(suspect: &str, route: Route, about: About<'_>) -> Self {
        let About { set, request, registrations, reference } = about;
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            leaf_root: set.leaf_root(),
            beacon: set.beacon().map_or(Hash::ZERO, |beacon| beacon.seed),
            scheme: set.scheme().name().to_owned(),
            tokenizer: set.tokenizer(),
            suspect: suspect.to_owned(),
            route,
            mode: request.mode,
            draws: request.draws,
            frames: request.frames.clone(),
            registrations,
            reference,
            pool: request.pool,
        }
    }

    /// What must be so in every header, said in words where it is not.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.format != FORMAT || self.version != VERSION {
            return Err(format!("format {:?}, version {}", self.format, self.version));
        }
        if self.frames.is_empty() || self.draws == 0 || (self.mode != Mode::Sampled && self.draws != 1) {
            return Err(format!(
                "{} frames and {} draws in mode {}",
                self.frames.len(),
                self.draws,
                self.mode
            ));
        }
        if self.registrations == 0 {
            return Err("no registration, not even this one".to_owned());
        }
        Ok(())
    }
}

/// What a header tells besides who is asked.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The fingerprints.
    pub set: &'a crate::FingerprintSet,
    /// Mode, draws and frames.
    pub request: &'a super::Request,
    /// Registrations claimed and suspects tested so far, this one counted.
    pub registrations: u32,
    /// Digest of the unmarked reference's weights.
    pub reference: Option<Hash>,
}

/// One event of a check.
#[allow(clippy::large_enum_variant, reason = "one header stands at the head of many attempts")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// It begins: the first line, and no other.
    Begun(Header),
    /// A fingerprint was asked.
    Asked(Attempt),
    /// Something a reader should know.
    Noted(String),
}

/// A transcript as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Every line, the header first.
    pub lines: Vec<Line<Event>>,
}

impl Record {
    /// Reads a transcript without touching it. A line that a crash cut short is left out.
    ///
    /// # Errors
    /// The file cannot be read, or is no transcript, or was changed.
    pub fn read(path: &Path) -> Result<Self> {
        let mut file = File::open(path).map_err(|source| Error::file(path, "reading", source))?;
        Self::parse(&journal::read_bounded(&mut file, path)?, path)
    }

    /// Reads the bytes of a transcript; `path` is named in errors.
    ///
    /// # Errors
    /// As [`Record::read`].
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        Self::of(journal::parse(bytes, path, KIND)?.0)
            .map_err(|problem| Error::malformed(path, problem, KIND.remedy))
    }

    /// A record of lines, once they are seen to follow from each other and to begin with the only header.
    pub(crate) fn of(lines: Vec<Line<Event>>) -> Result<Self, String> {
        let mut head = Hash::ZERO;
        for (number, line) in lines.iter().enumerate() {
            if line.previous != head {
                return Err(format!("line {}: it does not follow from the line before", number + 1));
            }
            if matches!(line.event, Event::Begun(_)) != (number == 0) {
                return Err(format!("line {}: a transcript begins once, in its first line", number + 1));
            }
            head = line.hash();
        }
        match lines.first().map(|line| &line.event) {
            Some(Event::Begun(header)) => header.check()?,
            _ => return Err("there is no line in it".to_owned()),
        }
        Ok(Self { lines })
    }

    /// What it begins with.
    #[must_use]
    pub fn header(&self) -> &Header {
        match &self.lines[0].event {
            Event::Begun(header) => header,
            _ => unreachable!("Record::of sees to the first line"),
        }
    }

    /// The attempts, in the order asked.
    pub fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.lines.iter().filter_map(|line| match &line.event {
            Event::Asked(attempt) => Some(attempt),
            _ => None,
        })
    }

    /// The notes, in order.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().filter_map(|line| match &line.event {
            Event::Noted(note) => Some(note.as_str()),
            _ => None,
        })
    }

    /// Hash of the last line.
    #[must_use]
    pub fn head(&self) -> Hash {
        self.lines.last().map_or(Hash::ZERO, Line::hash)
    }
}

/// A transcript that is being written.
#[derive(Debug)]
pub struct Transcript {
    journal: Journal<Event>,
}

impl Transcript {
    /// Begins the transcript at `path`, or opens the one that is there and was begun in the same way. Answers what it
    /// holds already, too.
    ///
    /// # Errors
    /// The file cannot be read or written, another process has it, it was changed, or it belongs to another check.
    pub fn open(path: &Path, header: &Header, time: u64) -> Result<(Self, Vec<Attempt>)> {
        let (mut journal, lines) = Journal::open(path, KIND, Lock::Trying)?;
        if lines.is_empty() {
            journal.append(time, Event::Begun(header.clone()))?;
            return Ok((Self { journal }, Vec::new()));
        }
        let record = Record::of(lines).map_err(|problem| Error::malformed(path, problem, KIND.remedy))?;
        if let Some(what) = difference(record.header(), header) {
            let remedy = "go on with the same settings, or name another file";
            return Err(Error::malformed(path, format!("it belongs to another check: {what}"), remedy));
        }
        let attempts = record.attempts().cloned().collect();
        Ok((Self { journal }, attempts))
    }

    /// Writes down an event; when this returns, it is on the disk.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&mut self, time: u64, event: Event) -> Result<()> {
        self.journal.append(time, event)
    }
}

/// What two headers do not agree in, with both values.
fn difference(there: &Header, here: &Header) -> Option<String> {
    let (a, b) = (serde_json::to_value(there).ok()?, serde_json::to_value(here).ok()?);
    let names: std::collections::BTreeSet<&String> =
        [&a, &b].into_iter().filter_map(|value| value.as_object()).flat_map(|all| all.keys()).collect();
    let of = |value: &serde_json::Value, name: &str| value.get(name).cloned().unwrap_or_default();
    let different: Vec<String> = names
        .into_iter()
        .filter(|name| of(&a, name) != of(&b, name))
        .map(|name| format!("{name} is {} there and {} here", of(&a, name), of(&b, name)))
        .collect();
    (!different.is_empty()).then(|| different.join(", "))
}
