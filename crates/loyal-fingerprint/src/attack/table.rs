//! What a battery has measured.

use std::collections::BTreeMap;

use loyal_types::Hash;
use serde::{Deserialize, Serialize};

use super::row::{Group, Relative, Swept};
use super::utility::{Extent, Kept, Utility};
use crate::check::Mode;

/// What makes a journal belong to a battery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Name of the scheme.
    pub scheme: String,
    /// Root of the fingerprints' leaves.
    pub leaf_root: Hash,
    /// Fingerprints.
    pub fingerprints: usize,
    /// Digest of all models and texts.
    pub digest: Hash,
    /// How much is measured.
    pub extent: Extent,
    /// Steps that make a sibling.
    pub sibling_steps: u64,
    /// The seed.
    pub seed: u64,
}

/// What one attack came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The row's name.
    pub name: String,
    /// The row's digest.
    pub row: Hash,
    /// Its kind.
    pub group: Group,
    /// Models the attacker owns.
    pub owns: Vec<Relative>,
    /// Its place in a family.
    pub swept: Option<Swept>,
    /// What the marks still prove, by what can be seen.
    pub evidence: Vec<Seen>,
    /// How good the answers are.
    pub utility: Utility,
    /// How much of the marked model's utility is left.
    pub kept: Kept,
    /// Time taken.
    pub seconds: f64,
}

/// What is proven in one mode.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// What can be seen of the answers.
    pub mode: Mode,
    /// log₁₀ of the bound on the chance that an innocent model does as well.
    pub log10_p: f64,
    /// log₁₀ of the evidence that holds at any stopping time.
    pub log10_e: f64,
    /// Coins of the text that speak for the mark, and all of them.
    pub coins: (u32, u32),
}

impl Line {
    /// log₁₀ p in one mode, 0 where it was not looked at.
    #[must_use]
    pub fn log10_p(&self, mode: Mode) -> f64 {
        self.evidence.iter().find(|seen| seen.mode == mode).map_or(0.0, |seen| seen.log10_p)
    }

    /// log₁₀ p in the mode that shows most.
    #[must_use]
    pub fn best(&self) -> f64 {
        self.evidence.iter().map(|seen| seen.log10_p).fold(0.0, f64::min)
    }
}

/// All that was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Of what.
    pub header: Header,
    /// One line for each row.
    pub lines: Vec<Line>,
}

impl Table {
    /// Attacks that keep `kept` of the accuracy without owning the twin, and leave less evidence than 10^`log10_p` in
    /// the best mode: where the marks end.
    #[must_use]
    pub fn defeats(&self, kept: f64, log10_p: f64) -> Vec<&Line> {
        let defeats = |line: &&Line| {
            line.kept.accuracy >= kept && line.best() > log10_p && !line.owns.contains(&Relative::Twin)
        };
        self.lines.iter().filter(defeats).collect()
    }

    /// Families of attacks by strength.
    #[must_use]
    pub fn families(&self) -> BTreeMap<&str, Vec<&Line>> {
        let mut families: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
        for line in &self.lines {
            if let Some(swept) = &line.swept {
                families.entry(&swept.family).or_default().push(line);
            }
        }
        let value = |line: &Line| line.swept.as_ref().map_or(0.0, |swept| swept.value);
        families.values_mut().for_each(|lines| lines.sort_by(|a, b| value(a).total_cmp(&value(b))));
        families
    }
}
