//! Innocent models under thousands of secrets: what a sceptic runs before believing a p-value.
//!
//! A model's answers do not depend on secrets, so that each model is asked once; then every secret is a hash away. For
//! each secret the check's own statistics are computed, and compared with two things: with what a p-value promises (at
//! most a share α at or below α, at most a share α of all E ever at 1/α), and with fair coins in the colours' place.
//!
//! **How uniformity is tested.** The p-values that a check publishes are bounds: Chernoff's for weights, an exact but
//! discrete binomial for counts. Neither is uniform for an innocent model, nor should be; it lies above. So the test
//! looks at what is under them. For every mode, two samples of the statistic Σ c·w, with the weights of the same
//! answers, are compared by Kolmogorov–Smirnov: colours by keccak under the secrets, and fair coins from `ChaCha`. If
//! colours are what the theory says, both come from one distribution, whatever the weights are; ties make the test
//! conservative. For plain counts there is also an exact form: the p-value made uniform by splitting each tie with a
//! random point, against the uniform distribution.

mod coins;
mod foreign;
mod forge;
pub mod uniform;

use std::ops::ControlFlow;

use loyal_model::{Llama, Tokenizer};
use loyal_types::{Hash, keccak256};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

use crate::check::{self, Answerer, Attempt, Case, Mode, Request};
use crate::commitment;
use crate::error::{Error, Result};
use crate::fingerprint::{Beacon, FingerprintSet};

use coins::{Coins, Found, Pieces};
pub use foreign::Foreign;
pub use forge::Forged;
use uniform::Randomised;

/// Asks every suspect the queries of `set` and judges its answers under many secrets.
///
/// # Errors
/// The set is not of scheme tilt, a suspect cannot be asked, or `progress` asks to stop ([`Error::Stopped`]).
pub fn run(
    set: &FingerprintSet,
    tokenizer: &Tokenizer,
    suspects: &mut [Suspect<'_>],
    trial: &Trial,
    progress: &mut dyn FnMut(&Progress<'_>) -> ControlFlow<()>,
) -> Result<Report> {
    let set = &bound(set)?;
    let mut report =
        Report { secrets: trial.secrets, fingerprints: set.fingerprints().len(), ..Report::default() };
    let suspects_count = suspects.len();
    for (done, suspect) in suspects.iter_mut().enumerate() {
        let told = Progress { suspect: &suspect.name, done, suspects: suspects_count };
        if progress(&told).is_break() {
            return Err(Error::Stopped);
        }
        let case = Case { set, tokenizer, reference: suspect.reference.as_ref().map(|(_, llama)| *llama) };
        let mut heard = Vec::new();
        for &mode in &suspect.modes {
            heard.push((mode, attempts(&mut *suspect.answerer, &case, mode)?));
        }
        report.lines.extend(judge(set, suspect, &heard, trial)?);
        let greedy = heard.iter().find(|(mode, _)| *mode == Mode::Greedy);
        if let (Some((_, attempts)), true, None) = (greedy, trial.grind_log2 > 0, &report.forged) {
            report.forged = Some(forge::run(set, attempts, trial.grind_log2, trial.seed)?);
        }
    }
    Ok(report)
}

/// An innocent model.
pub struct Suspect<'a> {
    /// What it is.
    pub name: String,
    /// What answers.
    pub answerer: Box<dyn Answerer + 'a>,
    /// What can be seen of its answers.
    pub modes: Vec<Mode>,
    /// The reference of the check with its name: the right one or, to see that it costs power only, a wrong one.
    pub reference: Option<(String, &'a Llama)>,
}

impl std::fmt::Debug for Suspect<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Suspect")
            .field("name", &self.name)
            .field("modes", &self.modes)
            .finish_non_exhaustive()
    }
}

/// How much is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial {
    /// Secrets under which every answer is judged.
    pub secrets: u32,
    /// Commitments a cheating owner tries, as a power of two; 0 for none.
    pub grind_log2: u32,
    /// Seed of secrets and coins.
    pub seed: u64,
}

/// Where a trial stands.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// The suspect at work.
    pub suspect: &'a str,
    /// Suspects that are finished.
    pub done: usize,
    /// Suspects in all.
    pub suspects: usize,
}

/// All that was found.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Report {
    /// Secrets tried.
    pub secrets: u32,
    /// Fingerprints of each.
    pub fingerprints: usize,
    /// Every suspect in every mode.
    pub lines: Vec<Line>,
    /// What a cheating owner reaches against the first suspect that answers greedily.
    pub forged: Option<Forged>,
}

/// Levels at which p-values are counted.
pub const LEVELS: [f64; 4] = [1e-1, 1e-2, 1e-3, 1e-6];

/// One suspect in one mode.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// The suspect.
    pub suspect: String,
    /// The reference it was compared with.
    pub reference: Option<String>,
    /// What was seen.
    pub mode: Mode,
    /// Coins, weighted ones where there are weights.
    pub coins: usize,
    /// Chance of as large a distance from fair coins, if colours are fair coins.
    pub ks_p: f64,
    /// The same of the plain counts' exact p-values against the uniform distribution, for text.
    pub ks_p_exact: Option<f64>,
    /// Secrets with a published p-value at or below each of [`LEVELS`].
    pub at_most: [u32; 4],
    /// Secrets whose E, by the whole rule of a check, was ever at the inverse of each of [`LEVELS`].
    pub e_reached: [u32; 4],
    /// log₁₀ of the least p-value.
    pub least_log10_p: f64,
}

impl Report {
    /// Kolmogorov–Smirnov tests made.
    #[must_use]
    pub fn tests(&self) -> usize {
        self.lines.iter().map(|line| 1 + usize::from(line.ks_p_exact.is_some())).sum()
    }

    /// The least chance among them.
    #[must_use]
    pub fn least_ks_p(&self) -> f64 {
        self.lines.iter().flat_map(|line| line.ks_p_exact.into_iter().chain([line.ks_p])).fold(1.0, f64::min)
    }

    /// Whether the tests find nothing: the least of n chances is above 1 % / n, and no level is passed by more secrets
    /// than it promises, four standard deviations aside.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let most = |level: f64| {
            let expected = f64::from(self.secrets) * level;
            expected + 4.0 * (expected * (1.0 - level)).sqrt()
        };
        let within =
            |counts: &[u32; 4]| counts.iter().zip(LEVELS).all(|(&n, level)| f64::from(n) <= most(level));
        let counts = self.lines.iter().all(|line| within(&line.at_most) && within(&line.e_reached));
        counts && self.least_ks_p() > 0.01 / self.tests().max(1) as f64
    }
}

/// The set, with some beacon: answers are asked for before any is used.
fn bound(set: &FingerprintSet) -> Result<FingerprintSet> {
    if set.beacon().is_some() {
        return Ok(set.clone());
    }
    set.clone().bind(Beacon { seed: Hash::ZERO, source: "none: only the queries are asked".to_owned() })
}

fn attempts(answerer: &mut dyn Answerer, case: &Case<'_>, mode: Mode) -> Result<Vec<Attempt>> {
    let mut heard = Vec::new();
    check::run(answerer, case, &Request::all(case.set, mode), &mut |attempt| {
        heard.push(attempt.clone());
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(heard)
}

/// Beacon number `number` of those that might have been drawn.
fn beacon(purpose: &str, seed: u64, number: u64) -> Hash {
    let purpose = format!("loyal/innocence/1 {purpose}");
    keccak256(&[purpose.as_bytes(), &seed.to_be_bytes(), &number.to_be_bytes()].concat())
}

/// The secrets of a set under a root and a beacon; `first` stands in for the first blinding.
fn secrets(
    set: &FingerprintSet,
    root: Hash,
    beacon: Hash,
    first: Option<Hash>,
) -> impl Iterator<Item = Hash> {
    set.fingerprints().iter().enumerate().map(move |(index, one)| {
        let blinding = if index == 0 { first.unwrap_or(one.blinding) } else { one.blinding };
        commitment::secret(blinding, root, beacon, u32::try_from(index).unwrap_or(u32::MAX))
    })
}

/// One suspect's answers under all secrets.
fn judge(
    set: &FingerprintSet,
    suspect: &Suspect<'_>,
    heard: &[(Mode, Vec<Attempt>)],
    trial: &Trial,
) -> Result<Vec<Line>> {
    let mut pieces = Pieces::default();
    let mut coins = Vec::with_capacity(heard.len());
    for (mode, attempts) in heard {
        coins.push(Coins::new(set, attempts, *mode, &mut pieces)?);
    }
    let judged: Vec<(Vec<Found>, Vec<f64>)> = (0..trial.secrets)
        .into_par_iter()
        .map(|number| {
            let beacon = beacon("beacon", trial.seed, number.into());
            let colours = pieces.colours(&secrets(set, set.leaf_root(), beacon, None).collect::<Vec<_>>());
            let mut draw = ChaCha8Rng::seed_from_u64(trial.seed);
            draw.set_stream(u64::from(number) + 1);
            let fair = pieces.fair(&mut draw);
            let found = coins.iter().map(|coins| coins.weigh(&colours)).collect();
            (found, coins.iter().map(|coins| coins.sum(&fair)).collect())
        })
        .collect();
    let line = |(at, (mode, _)): (usize, &(Mode, Vec<Attempt>))| {
        let found: Vec<Found> = judged.iter().map(|(found, _)| found[at]).collect();
        let fair: Vec<f64> = judged.iter().map(|(_, fair)| fair[at]).collect();
        let sums: Vec<f64> = found.iter().map(|one| one.sum).collect();
        let count = |is: &dyn Fn(&Found, f64) -> bool| {
            LEVELS.map(|level| {
                u32::try_from(found.iter().filter(|one| is(one, level)).count()).unwrap_or(u32::MAX)
            })
        };
        Line {
            suspect: suspect.name.clone(),
            reference: suspect.reference.as_ref().map(|(name, _)| name.clone()),
            mode: *mode,
            coins: coins[at].count(),
            ks_p: uniform::two_samples(&sums, &fair).1,
            ks_p_exact: (!mode.shows_logprobs()).then(|| exact(&coins[at], &found, trial.seed)),
            at_most: count(&|one, level| one.log10_p <= level.log10()),
            e_reached: count(&|one, level| one.log10_e_max >= -level.log10()),
            least_log10_p: found.iter().map(|one| one.log10_p).fold(0.0, f64::min),
        }
    };
    Ok(heard.iter().enumerate().map(line).collect())
}

/// Plain counts as exact p-values, each tie split at a random point, against the uniform distribution.
fn exact(coins: &Coins, found: &[Found], seed: u64) -> f64 {
    let randomised = Randomised::new(coins.plain_count());
    let mut draw = ChaCha8Rng::seed_from_u64(seed ^ 0x7469_6573);
    let values: Vec<f64> = found.iter().map(|one| randomised.p(one.hits, draw.random())).collect();
    uniform::one_sample(&values).1
}
