//! Innocent models: whatever they answer, the p-value holds over the beacons that might have been.

use loyal_fingerprint::check::{self, Answerer, Reply, Request, Verdict};
use loyal_fingerprint::scheme::verbatim;
use loyal_fingerprint::{FingerprintSet, Result};
use loyal_types::Bits;

use crate::tiny::{beacon, unbound};

/// A model that always answers inside the candidates: it may know them all, but not the beacon.
struct Knowing {
    answers: std::collections::HashMap<String, Vec<u32>>,
}

impl Answerer for Knowing {
    fn answer(&mut self, prompts: &[String], _new_tokens: usize) -> Result<Vec<Reply>> {
        Ok(prompts.iter().map(|prompt| Reply::Tokens(self.answers[prompt].clone())).collect())
    }
}

/// Picks a candidate by `choose` for each fingerprint.
fn knowing(set: &FingerprintSet, choose: impl Fn(usize) -> usize) -> Knowing {
    let pick = |(i, one): (usize, &loyal_fingerprint::fingerprint::Fingerprint)| {
        (one.query.clone(), one.candidates[choose(i) % one.candidates.len()].tokens.clone())
    };
    Knowing { answers: set.fingerprints().iter().enumerate().map(pick).collect() }
}

#[test]
fn p_values_are_valid_over_beacons() {
    const BEACONS: u64 = 1_500;
    let set = unbound(24);
    for choose in [(|_| 0) as fn(usize) -> usize, |i| i, |i| i * i + 1] {
        let mut model = knowing(&set, choose);
        let mut p_values: Vec<f64> = Vec::new();
        let mut reached = 0;
        for number in 0..BEACONS {
            let bound = set.clone().bind(beacon(number)).unwrap();
            let found = check::run(&mut model, &bound, &Request::all(&bound)).unwrap();
            assert_eq!(found.evidence.coins(), 24);
            p_values.push(found.p_value.value());
            reached += u32::from(found.evidence.bits() >= Bits::whole(5));
        }
        for level in [0.5, 0.1, 0.01] {
            let below = p_values.iter().filter(|&&p| p <= level).count() as f64 / BEACONS as f64;
            // Four standard deviations above what an exact test may reach.
            let most = level + 4.0 * (level * (1.0 - level) / BEACONS as f64).sqrt();
            assert!(below <= most, "{below} of p-values at or below {level}");
        }
        let mean = p_values.iter().sum::<f64>() / BEACONS as f64;
        assert!(mean < 0.65, "{mean}: p-values that are never small would prove nothing about the test");
        assert!(f64::from(reached) / BEACONS as f64 <= 1.0 / 32.0 + 0.02, "{reached} reached 5 bits");
    }
}

#[test]
fn answers_outside_the_candidates_say_nothing() {
    let set = unbound(24).bind(beacon(1)).unwrap();
    let mut model = knowing(&set, |i| i);
    for tokens in model.answers.values_mut() {
        *tokens = vec![0];
    }
    let found = check::run(&mut model, &set, &Request::all(&set)).unwrap();
    assert_eq!((found.evidence.coins(), found.p_value.value()), (0, 1.0));
    assert_eq!(found.verdict, Verdict::NoEvidence);
}

#[test]
fn a_model_that_knows_the_responses_is_marked() {
    let set = unbound(32).bind(beacon(1)).unwrap();
    let mut model = knowing(&set, |i| i);
    for (i, one) in set.fingerprints().iter().enumerate() {
        let response = verbatim::Verbatim::response(one, set.secret(i).unwrap());
        model.answers.insert(one.query.clone(), response.tokens.clone());
    }
    let found = check::run(&mut model, &set, &Request::all(&set)).unwrap();
    assert_eq!((found.evidence.hits(), found.evidence.coins()), (32, 32));
    // 3⁻³² = 10^−15.27.
    assert!((found.p_value.log10() + 32.0 * 3f64.log10()).abs() < 1e-9);
    assert_eq!(found.verdict, Verdict::Marked);
    // The same answers, in a request that names nothing of the set, or something twice.
    let wrong = Request { indices: vec![32], ..Request::all(&set) };
    assert!(check::run(&mut model, &set, &wrong).is_err());
    let wrong = Request { indices: vec![1, 1], ..Request::all(&set) };
    assert!(check::run(&mut model, &set, &wrong).is_err());
}
