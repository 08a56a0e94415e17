//! What is said about an endpoint after a visit, on one line: for people, or as JSON.

use loyal_fingerprint::check::Verdict;
use serde::Serialize;
use serde_json::json;

use super::Watch;
use crate::clock::SystemClock;
use crate::{output, time};
use loyal_types::Clock as _;

/// What is said.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Told {
    /// The endpoint.
    pub(super) endpoint: String,
    /// What came of the visit, in words.
    pub(super) outcome: String,
    /// Whether it could not be asked.
    pub(super) failed: bool,
    /// Requests sent to it so far, and what they cost.
    pub(super) requests: u64,
    /// What these cost at most.
    pub(super) cost: String,
    /// When it is visited next, in unix seconds.
    pub(super) due: Option<u64>,
    /// Where its newest inquiry stands.
    #[serde(flatten)]
    pub(super) standing: Option<Standing>,
}

/// Where an inquiry stands.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Standing {
    /// Its number.
    pub(super) inquiry: u32,
    /// Who is asked.
    pub(super) suspect: String,
    /// Why it was begun.
    pub(super) cause: loyal_fingerprint::watch::Cause,
    /// What can be seen.
    pub(super) mode: String,
    /// Fingerprints asked, and how many there are.
    pub(super) asked: usize,
    /// Of so many.
    pub(super) of: usize,
    /// Those that were not answered.
    pub(super) refused: usize,
    /// log₁₀ of the evidence.
    pub(super) log10_e: f64,
    /// log₁₀ of the evidence wanted.
    pub(super) log10_wanted: f64,
    /// Whether it suffices.
    pub(super) verdict: Verdict,
    /// Whose copies are named so far.
    pub(super) named: Vec<String>,
    /// Where its dossiers lie.
    pub(super) dossiers: Vec<String>,
}

impl Watch<'_> {
    /// Says it.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub(super) fn tell(&self, told: &Told) -> anyhow::Result<()> {
        if self.args.site.json {
            return output::json(&json!(told));
        }
        output::line(&told.text())
    }
}

impl Told {
    fn text(&self) -> String {
        let mut text = format!("{}  {}", self.endpoint, self.outcome);
        if let Some(one) = &self.standing {
            let verdict = match one.verdict {
                Verdict::Marked => "MARKED",
                Verdict::NoEvidence => "no evidence so far",
            };
            text.push_str(&format!(
                "\n  inquiry {}: {verdict}, {} of {} asked ({}), E = 1e{:.1} of 1e{:.1}",
                one.inquiry, one.asked, one.of, one.mode, one.log10_e, one.log10_wanted
            ));
            if !one.named.is_empty() {
                text.push_str(&format!("; made from the copy of {}", one.named.join(", ")));
            }
            for dossier in &one.dossiers {
                text.push_str(&format!("\n  dossier {dossier}"));
            }
        }
        let mut spent = format!("{} requests so far", self.requests);
        if self.cost != "0" {
            spent.push_str(&format!(", {} at most", self.cost));
        }
        if let Some(due) = self.due {
            spent.push_str(&format!("; next visit {}", time::text(due, SystemClock.unix_seconds())));
        }
        text.push_str(&format!("\n  {spent}"));
        text
    }
}
