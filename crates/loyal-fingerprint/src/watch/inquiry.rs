//! An inquiry: what is asked of one model behind one endpoint, from the first visit to the last.

use std::path::{Path, PathBuf};

use loyal_types::Hash;
use serde::{Deserialize, Serialize};

use super::portrait::Portrait;
use crate::FingerprintSet;
use crate::check::transcript::{Record, Route};
use crate::check::{Case, Court, Findings, Hearing, Mode, Request};
use crate::error::{Error, Result};
use crate::pool::Pool;

/// An inquiry as the diary has it. Everything that decides how answers are weighed is fixed here, before a fingerprint is
/// spent on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inquiry {
    /// Its number, from one.
    pub number: u32,
    /// Registrations claimed and suspects tested so far, this one counted.
    pub registrations: u32,
    /// What it is about.
    pub matter: Matter,
}

/// What an inquiry is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matter {
    /// The endpoint, as the diary knows it.
    pub endpoint: String,
    /// Name of the suspect in the transcript: the endpoint's address and the model there.
    pub suspect: String,
    /// Why it was begun.
    pub cause: Cause,
    /// By which way it is asked.
    pub route: Route,
    /// What can be seen of the answers.
    pub mode: Mode,
    /// Draws of each answer.
    pub draws: usize,
    /// The only pool that is asked, if it is not all of them.
    pub pool: Option<Pool>,
    /// Digest of the unmarked reference's weights, where there is one.
    pub reference: Option<Hash>,
    /// What it answered to ordinary prompts when the inquiry began.
    pub portrait: Portrait,
}

/// Why an inquiry was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Nobody asked this endpoint before.
    First,
    /// Something else answers there than before, and what that shows in.
    Changed(String),
    /// The inquiry of this number found marks, and this one asks whose copy they came from.
    Traced(u32),
}

impl Inquiry {
    /// Its transcript in the folder of the watch.
    #[must_use]
    pub fn transcript(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{:03}.transcript", self.number))
    }

    /// How to ask: one fingerprint after another, so that a kill loses the answer of one at most.
    #[must_use]
    pub fn request(&self, set: &FingerprintSet) -> Request {
        let matter = &self.matter;
        let mut request = Request::all(set, matter.mode).after(self.registrations);
        if let Some(pool) = matter.pool {
            request = request.of_pool(set, pool);
        }
        request.draws = matter.draws;
        request.batch = 1;
        // Who leaked it is told by all that answers and all that does not.
        request.stops_early = !self.is_trace();
        request
    }

    /// The check that goes on with it.
    #[must_use]
    pub fn hearing<'a>(&'a self, case: Case<'a>) -> Hearing<'a> {
        Hearing {
            case,
            request: self.request(case.set),
            suspect: &self.matter.suspect,
            route: self.matter.route,
            registrations: self.registrations,
            reference: self.matter.reference,
            limit: usize::MAX,
        }
    }

    /// Whether it asks whose copy it is.
    #[must_use]
    pub const fn is_trace(&self) -> bool {
        matches!(self.matter.cause, Cause::Traced(_))
    }

    /// What its transcript in `folder` says; nothing before its first line is whole.
    ///
    /// # Errors
    /// The transcript cannot be read or was changed.
    pub fn record(&self, folder: &Path) -> Result<Option<Record>> {
        let path = self.transcript(folder);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::file(&path, "reading", source)),
        };
        if bytes.contains(&b'\n') { Record::parse(&bytes, &path).map(Some) } else { Ok(None) }
    }

    /// What was found so far.
    ///
    /// # Errors
    /// As [`Inquiry::record`]; or the set is not bound.
    pub fn findings(&self, set: &FingerprintSet, folder: &Path) -> Result<Findings> {
        let mut court = Court::new(set, &self.request(set))?;
        if let Some(record) = self.record(folder)? {
            for attempt in record.attempts() {
                court.hear(attempt)?;
            }
        }
        Ok(court.findings())
    }

    /// Fingerprints that it may ask in all.
    #[must_use]
    pub fn size(&self, set: &FingerprintSet) -> usize {
        let count = set.fingerprints().len();
        self.matter.pool.map_or(count, |pool| pool.indices(count).count())
    }
}

/// log₁₀ of a bound on the chance that any of so many inquiries ever finds marks where none are, `claimed` registrations and
/// suspects having been counted before them: Σ 10⁻⁹/k for k = claimed + 1 to claimed + inquiries, rounded up.
#[must_use]
pub fn log10_chance_of_any(claimed: u32, inquiries: u32) -> f64 {
    let sum: f64 =
        (claimed.saturating_add(1)..=claimed.saturating_add(inquiries)).map(|k| 1.0 / f64::from(k)).sum();
    (libm::log10(sum) - 9.0 + 1e-9).next_up()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_suspects_cost_little() {
        assert!((log10_chance_of_any(0, 1) + 9.0).abs() < 1e-6);
        // 1 + 1/2 + … + 1/1000 is 7.485.
        assert!((log10_chance_of_any(0, 1000) + 9.0 - 7.485_470_9_f64.log10()).abs() < 1e-6);
        assert!(log10_chance_of_any(1000, 10) < -11.0);
    }
}
