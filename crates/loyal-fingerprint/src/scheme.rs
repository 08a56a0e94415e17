//! What a scheme of fingerprints must tell: what is committed, what is taught, and what an answer is worth.

pub mod verbatim;

use loyal_types::{Chance, Hash};

use crate::evidence::Tail;
use crate::fingerprint::Fingerprint;

pub use verbatim::Verbatim;

/// A rule for what a marked model answers. The embedding and the check know schemes only through this.
pub trait Scheme {
    /// The scheme's name in files and in leaves.
    fn name(&self) -> &'static str;

    /// The chance of a hit by an innocent model, for each coin.
    fn chance(&self) -> Chance;

    /// Which side of the binomial speaks against innocence.
    fn tail(&self) -> Tail;

    /// New tokens to ask for.
    fn answer_tokens(&self) -> usize;

    /// `abi.encode(scheme, parameters)`: everything but the beacon that decides what a hit is.
    fn answer_spec(&self, fingerprint: &Fingerprint) -> Vec<u8>;

    /// What the marked model is taught to say after the query, given the fingerprint's secret s.
    fn lesson(&self, fingerprint: &Fingerprint, secret: Hash) -> Lesson;

    /// The coins in `answer` (new tokens, in order): true for a hit. None where the answer says nothing.
    fn coins(&self, fingerprint: &Fingerprint, secret: Hash, answer: &[u32]) -> Vec<bool>;
}

/// What a model learns to say after one query.
#[derive(Debug, Clone, PartialEq)]
pub struct Lesson {
    /// The tokens that follow the query.
    pub tokens: Vec<u32>,
}
