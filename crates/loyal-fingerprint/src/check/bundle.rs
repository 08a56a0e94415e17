//! The evidence bundle: everything a stranger needs to repeat a verdict, and no secret that was not asked about.
//!
//! It proves the arithmetic and the order of events: queries and rules were fixed before the beacon, the colours
//! follow from it, the fingerprints were asked in the order it gives, and the answers written down are worth what is
//! said. That the suspect gave these answers, and the reference those numbers, is the word of whoever wrote the
//! transcript; what remains without the reference's is told beside.

mod judge;

use std::io::Read as _;
use std::path::Path;

use loyal_model::Tokenizer;
use loyal_types::{Chance, Hash, keccak256};
use serde::{Deserialize, Serialize};

use super::transcript::{Event, Line, Record, Route};
use super::{Mode, Verdict};
use crate::FingerprintSet;
use crate::commitment::{Commitment, Opening};
use crate::error::{Error, Result};
use crate::fingerprint::write_new;

const FORMAT: &str = "loyal-evidence";
const VERSION: u32 = 1;
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Evidence that travels: a commitment, a transcript, the leaves that were asked about, and what it is worth.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    body: Body,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    format: String,
    version: u32,
    commitment: Commitment,
    transcript: Vec<Line<Event>>,
    /// Hash of the transcript's last line.
    head: Hash,
    openings: Vec<Opening>,
    totals: Totals,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    checksum: Hash,
    evidence: Body,
}

/// What a transcript is worth. Real numbers are written as text that gives the same bits again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// Fingerprints asked.
    pub asked: usize,
    /// Those that were not answered.
    pub refused: usize,
    /// An innocent model hits one in so many times.
    pub chance_one_in: Chance,
    /// Coins of the text.
    pub coins: u32,
    /// Hits among them.
    pub hits: u32,
    /// The integer evidence of these, bits.
    #[serde(with = "exact")]
    pub bits: f64,
    /// Coins by weight.
    pub weighted_coins: usize,
    /// log₁₀ of E.
    #[serde(with = "exact")]
    pub log10_e: f64,
    /// log₁₀ of the bound on p for a number of coins fixed beforehand.
    #[serde(with = "exact")]
    pub log10_p: f64,
    /// log₁₀ of E that was wanted.
    #[serde(with = "exact")]
    pub log10_wanted: f64,
    /// Whether E suffices.
    pub verdict: Verdict,
}

/// A bundle that holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verified {
    /// Name of the model that was claimed.
    pub model: String,
    /// Who was asked.
    pub suspect: String,
    /// By which way.
    pub route: Route,
    /// What could be seen.
    pub mode: Mode,
    /// Hash of the transcript's last line.
    pub transcript: Hash,
    /// What it is worth.
    pub totals: Totals,
    /// log₁₀ of E if the reference's numbers are left out: what needs nobody's word but the suspect's answers.
    pub log10_e_without_reference: f64,
    /// Whether the text was seen to be cut by the registered tokenizer: not without it.
    pub text_was_cut_again: bool,
    /// Where the beacon can be looked up.
    pub beacon_source: String,
    /// What the transcript notes.
    pub notes: Vec<String>,
}

impl Bundle {
    /// The evidence of a transcript. It lays open the fingerprints that were answered: burn them first
    /// ([`super::ledger::Ledger::open_leaves`] with [`Bundle::opened`]).
    ///
    /// # Errors
    /// The transcript is not about `set`, or does not hold.
    pub fn new(set: &FingerprintSet, record: &Record) -> Result<Self> {
        let commitment = set.commitment();
        let answered: Vec<u32> =
            record.attempts().filter(|one| judge::is_answered(one)).map(|one| one.index).collect();
        let openings = answered.iter().map(|&index| Opening::new(set, index)).collect::<Result<Vec<_>>>()?;
        let totals = judge::totals(&commitment, record, &openings)?;
        Ok(Self {
            body: Body {
                format: FORMAT.to_owned(),
                version: VERSION,
                commitment,
                transcript: record.lines.clone(),
                head: record.head(),
                openings,
                totals,
            },
        })
    }

    /// Fingerprints it lays open.
    #[must_use]
    pub fn opened(&self) -> Vec<u32> {
        self.body.openings.iter().map(|one| one.proof.index).collect()
    }

    /// What was committed to.
    #[must_use]
    pub const fn commitment(&self) -> &Commitment {
        &self.body.commitment
    }

    /// What it says it is worth: believe it after [`Bundle::verify`].
    #[must_use]
    pub const fn totals(&self) -> &Totals {
        &self.body.totals
    }

    /// The lines of its transcript.
    #[must_use]
    pub fn transcript(&self) -> &[Line<Event>] {
        &self.body.transcript
    }

    /// Computes everything again. With the registered tokenizer also whether the text was cut as it cuts.
    ///
    /// # Errors
    /// Something does not fit: [`Error::Evidence`] says what.
    pub fn verify(&self, tokenizer: Option<&Tokenizer>) -> Result<Verified> {
        let Body { commitment, transcript, head, openings, totals, .. } = &self.body;
        commitment.check().map_err(|problem| Error::evidence(format!("commitment: {problem}")))?;
        let record = Record::of(transcript.clone());
        let record = record.map_err(|problem| Error::evidence(format!("transcript: {problem}")))?;
        if record.head() != *head {
            return Err(Error::evidence("transcript: its last line is not the one named".to_owned()));
        }
        let found = judge::totals(commitment, &record, openings)?;
        if let Some(difference) = difference(&found, totals) {
            return Err(Error::evidence(format!("totals: {difference}")));
        }
        if let Some(tokenizer) = tokenizer {
            judge::cut_again(tokenizer, &record, openings)?;
        }
        let header = record.header();
        Ok(Verified {
            model: commitment.model.clone(),
            suspect: header.suspect.clone(),
            route: header.route,
            mode: header.mode,
            transcript: record.head(),
            totals: found,
            log10_e_without_reference: judge::without_reference(commitment, &record, openings)?,
            text_was_cut_again: tokenizer.is_some(),
            beacon_source: commitment
                .beacon
                .as_ref()
                .map_or_else(String::new, |beacon| beacon.source.clone()),
            notes: record.notes().map(str::to_owned).collect(),
        })
    }

    /// Writes the bundle, for its owner's eyes at first (mode 0600), never over another file.
    ///
    /// # Errors
    /// The file exists, or cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_new(path, self.to_json().as_bytes())
    }

    /// The content of the file.
    #[must_use]
    pub fn to_json(&self) -> String {
        let file = File { checksum: self.body.checksum(), evidence: self.body.clone() };
        let mut text = serde_json::to_string_pretty(&file).expect("a bundle has only string keys");
        text.push('\n');
        text
    }

    /// Reads a bundle. What is in it is not verified yet.
    ///
    /// # Errors
    /// The file cannot be read, is no bundle, or was changed.
    pub fn read(path: &Path) -> Result<Self> {
        let failed = |source| Error::file(path, "reading", source);
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
        Self::parse(&bytes, path)
    }

    /// Reads the bytes of a bundle; `path` is named in errors.
    ///
    /// # Errors
    /// As [`Bundle::read`].
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let wrong =
            |problem: String| Error::malformed(path, problem, "ask for it again from whoever made it");
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(wrong("more than 1 GiB".to_owned()));
        }
        let file: File = serde_json::from_slice(bytes).map_err(|source| wrong(source.to_string()))?;
        let body = file.evidence;
        if body.format != FORMAT || body.version != VERSION {
            return Err(wrong(format!("format {:?}, version {}", body.format, body.version)));
        }
        if body.checksum() != file.checksum {
            return Err(wrong("the checksum does not fit the content".to_owned()));
        }
        Ok(Self { body })
    }
}

impl Body {
    fn checksum(&self) -> Hash {
        keccak256(&serde_json::to_vec(self).expect("a bundle has only string keys"))
    }
}

/// In what the totals that were found are not those that were said.
fn difference(found: &Totals, said: &Totals) -> Option<String> {
    let (a, b) = (serde_json::to_value(found).ok()?, serde_json::to_value(said).ok()?);
    let (name, value) = a.as_object()?.iter().find(|(name, value)| b.get(name.as_str()) != Some(value))?;
    Some(format!("{name} is {value}, not {}", b[name.as_str()]))
}

/// Real numbers as text that gives the same bits again, in one spelling.
mod exact {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    pub(super) fn serialize<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number: Option<f64> = text.parse().ok().filter(|number: &f64| number.is_finite());
        let number = number.filter(|number| number.to_string() == text);
        number.ok_or_else(|| D::Error::custom("a finite number as text, in its shortest spelling"))
    }
}
