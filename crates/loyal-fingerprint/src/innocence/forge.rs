//! Owners who cheat: many secrets tried, answers left out. What it gains them, and why not when the order is kept:
//! leaf root, then beacon, then secrets.

use loyal_types::{Evidence, Hash, keccak256};
use rayon::prelude::*;
use serde::Serialize;

use super::coins::Pieces;
use super::{Coins, beacon, secrets};
use crate::check::{Attempt, Mode};
use crate::commitment;
use crate::error::{Error, Result};
use crate::evidence::{Tail, p_value};
use crate::fingerprint::FingerprintSet;

/// Beacons drawn after the commitment, to see what a forged one is worth then.
const BEACONS: u32 = 256;

/// What a forger reaches against an innocent model's text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forged {
    /// Secrets tried, as a power of two.
    pub tried_log2: u32,
    /// log₁₀ of the least p-value among them, where the beacon was known before the commitment.
    pub known_beacon_log10_p: f64,
    /// The same, times the number of tries: what an honest bound must count.
    pub corrected_log10_p: f64,
    /// Mean of log₁₀ p of that very commitment under beacons drawn afterwards.
    pub later_beacon_log10_p: f64,
    /// The least of those.
    pub later_beacon_least_log10_p: f64,
    /// Beacons drawn.
    pub beacons: u32,
    /// Answers that agree with the colours, of all answers.
    pub agreeing: (u32, u32),
    /// log₁₀ p if only those answers are shown.
    pub picked_log10_p: f64,
    /// log₁₀ p with every answer counted, as a transcript that holds every attempt forces.
    pub whole_log10_p: f64,
    /// Mean of log₁₀ p of the picked queries alone, committed to and then given later beacons.
    pub picked_later_log10_p: f64,
}

/// Tries 2^`tried_log2` commitments against greedy answers, and picks answers.
pub(super) fn run(set: &FingerprintSet, attempts: &[Attempt], tried_log2: u32, seed: u64) -> Result<Forged> {
    if tried_log2 > 32 {
        return Err(Error::argument("grind", format!("2^{tried_log2} secrets"), "choose 32 or less"));
    }
    let mut pieces = Pieces::default();
    let coins = Coins::new(set, attempts, Mode::Greedy, &mut pieces)?;
    let digests: Vec<Hash> = set.commitment().digests;
    let known = beacon("known too early", seed, 0);
    // One blinding changes its leaf, so the root, and so every secret.
    let commit = |number: u64| {
        let blinding = keccak256(&[b"grind".as_slice(), &number.to_be_bytes()].concat());
        let mut first = set.fingerprints()[0].clone();
        first.blinding = blinding;
        let mut digests = digests.clone();
        digests[0] = commitment::digest(set.scheme(), &first);
        (blinding, commitment::root_of(&digests))
    };
    let hits = |(blinding, root): (Hash, Hash), beacon: Hash| {
        let secrets: Vec<Hash> = secrets(set, root, beacon, Some(blinding)).collect();
        coins.weigh(&pieces.colours(&secrets)).hits
    };
    let count = coins.plain_count();
    let log10_p = |hits: u32, count: u32| {
        p_value(&Evidence::of(set.scheme().chance(), hits, count - hits), Tail::Both).log10()
    };
    let tries = (0..1u64 << tried_log2).into_par_iter().map(|number| {
        let hits = hits(commit(number), known);
        // The strangest count; of equals the first try.
        ((2 * i64::from(hits) - i64::from(count)).abs(), std::cmp::Reverse(number), hits)
    });
    let (_, std::cmp::Reverse(best), best_hits) = tries.max().unwrap_or((0, std::cmp::Reverse(0), 0));
    let later = |at: u32| beacon("drawn later", seed, at.into());
    let best = commit(best);
    let afterwards: Vec<f64> =
        (0..BEACONS).into_par_iter().map(|at| log10_p(hits(best, later(at)), count)).collect();
    let whole: Vec<Hash> = secrets(set, set.leaf_root(), known, None).collect();
    let colours = pieces.colours(&whole);
    let agreeing = coins.weigh(&colours).hits;
    let picked: Vec<bool> = coins.plain_pieces().map(|piece| colours[piece]).collect();
    let picked_later = |at: u32| {
        let secrets: Vec<Hash> = secrets(set, set.leaf_root(), later(at), None).collect();
        let colours = pieces.colours(&secrets);
        let shown = coins.plain_pieces().zip(&picked).filter(|(_, picked)| **picked);
        log10_p(shown.map(|(piece, _)| u32::from(colours[piece])).sum(), agreeing)
    };
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let known_beacon_log10_p = log10_p(best_hits, count);
    Ok(Forged {
        tried_log2,
        known_beacon_log10_p,
        corrected_log10_p: (known_beacon_log10_p + f64::from(tried_log2) * std::f64::consts::LOG10_2)
            .min(0.0),
        later_beacon_log10_p: mean(&afterwards),
        later_beacon_least_log10_p: afterwards.iter().copied().fold(0.0, f64::min),
        beacons: BEACONS,
        agreeing: (agreeing, count),
        picked_log10_p: log10_p(agreeing, agreeing),
        whole_log10_p: log10_p(agreeing, count),
        picked_later_log10_p: mean(&(0..BEACONS).map(picked_later).collect::<Vec<_>>()),
    })
}
