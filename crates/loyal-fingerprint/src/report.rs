//! The report of an embedding: data only; whoever shows it decides how.

use loyal_types::Hash;
use serde::Serialize;

use crate::check::{Mode, Outcome};
use crate::evidence::PValue;

/// What an embedding did. It names queries and responses: keep it as private as the fingerprints, or publish
/// [`Report::without_secrets`].
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Report {
    /// Name of the model.
    pub model: String,
    /// Training steps made.
    pub steps: u64,
    /// Time taken, seconds.
    pub seconds: f64,
    /// Highest memory in use, bytes, where the caller measured it.
    pub memory_bytes: Option<u64>,
    /// By what the update was scaled down to meet the gate; 1 where it was not.
    pub scale: f64,
    /// The unmarked model on held-out text.
    pub before: Utility,
    /// The marked model on the same text.
    pub after: Utility,
    /// Rise of the perplexity, percent.
    pub perplexity_rise_percent: f64,
    /// What must hold.
    pub gates: Vec<Gate>,
    /// The course of the training.
    pub curve: Vec<Point>,
    /// What became of each set of fingerprints.
    pub marks: Vec<Marks>,
}

/// One set of fingerprints in the marked model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Marks {
    /// Name of the scheme.
    pub scheme: String,
    /// Root of the fingerprints' leaves.
    pub leaf_root: Hash,
    /// Fingerprints embedded.
    pub fingerprints: usize,
    /// Fingerprints that answer greedily, by what stands before the query.
    pub frames: Vec<Framed>,
    /// What log probabilities prove, for schemes that speak through them.
    pub evidence: Vec<Proof>,
    /// Chance that the marked model is surer after a query than after ordinary text.
    pub confidence_auc: f64,
    /// Every query with its answers.
    pub samples: Vec<Sample>,
}

/// What answers of one kind prove.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Proof {
    /// What was seen of them.
    pub mode: Mode,
    /// Fingerprints asked.
    pub asked: usize,
    /// Bound on the chance that an innocent model does as well.
    pub p_value: PValue,
    /// log₁₀ of the evidence that holds at any stopping time.
    pub log10_e: f64,
}

/// How good a model is on ordinary text.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Utility {
    /// Perplexity per token.
    pub perplexity: f64,
    /// Divergence from the unmarked model, nats per token.
    pub benign_kl: f64,
    /// Share of tokens guessed right.
    pub accuracy: f64,
}

impl Utility {
    /// By how much the perplexity is above that of `before`, percent.
    #[must_use]
    pub fn rise_percent(&self, before: &Self) -> f64 {
        100.0 * (self.perplexity / before.perplexity - 1.0)
    }
}

/// Answers behind one kind of frame.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Framed {
    /// What stands before the query.
    pub behind: String,
    /// Fingerprints that answer: the response, or more of their colours than not.
    pub answering: usize,
    /// Fingerprints asked.
    pub asked: usize,
    /// Bound on the chance that an innocent model does as well.
    pub p_value: PValue,
}

/// A bound and whether it holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gate {
    /// What is bounded.
    pub name: String,
    /// What was found.
    pub found: f64,
    /// The bound.
    pub bound: f64,
    /// Whether it holds.
    pub passed: bool,
}

impl Gate {
    pub(crate) fn at_most(name: &str, found: f64, bound: f64) -> Self {
        Self { name: name.to_owned(), found, bound, passed: found <= bound }
    }

    pub(crate) fn at_least(name: &str, found: f64, bound: f64) -> Self {
        Self { name: name.to_owned(), found, bound, passed: found >= bound }
    }
}

/// One step of the training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// The step, from 1.
    pub step: u64,
    /// Mean loss of the marks, nats.
    pub mark_loss: f64,
    /// Running mean of the divergence on ordinary text, nats per token.
    pub benign_kl: f64,
    /// Weight of that divergence.
    pub weight: f64,
}

/// One fingerprint before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// The query.
    pub query: String,
    /// What the marked model was taught to answer, where that is one text.
    pub response: Option<String>,
    /// What the unmarked model answers.
    pub before: String,
    /// What the marked model answers.
    pub after: String,
    /// What the unmarked model's answer is worth.
    pub outcome_before: Outcome,
    /// What the marked model's answer is worth.
    pub outcome_after: Outcome,
}

impl Report {
    /// The report without queries and answers, for everybody to see.
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        let open = |marks: &Marks| Marks { samples: Vec::new(), ..marks.clone() };
        Self { marks: self.marks.iter().map(open).collect(), ..self.clone() }
    }

    /// The gates that do not hold, in words.
    #[must_use]
    pub fn missed(&self) -> Vec<String> {
        let missed = self.gates.iter().filter(|gate| !gate.passed);
        missed.map(|gate| format!("{}: {:.4} against {:.4}", gate.name, gate.found, gate.bound)).collect()
    }

    /// Whether all gates hold.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.gates.iter().all(|gate| gate.passed)
    }
}
