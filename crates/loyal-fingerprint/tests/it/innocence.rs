//! Innocent models: whatever they answer, the p-value holds over the beacons that might have been.

use std::ops::ControlFlow;

use loyal_fingerprint::check::{
    self, Answerer, Ask, Case, Court, Findings, Mode, Reply, Request, Said, Shown, Verdict, Weights,
};
use loyal_fingerprint::scheme::verbatim;
use loyal_fingerprint::{FingerprintSet, Result};
use loyal_model::Llama;

use crate::tiny::{beacon, check, tilted, tiny, unbound};

/// A model that always answers inside the candidates: it may know them all, but not the beacon.
struct Knowing {
    answers: std::collections::HashMap<String, Vec<u32>>,
}

impl Answerer for Knowing {
    fn answer(&mut self, prompts: &[String], _ask: Ask) -> Result<Vec<Reply>> {
        let said = |&token: &u32| Said { token, shown: Shown::Nothing };
        let answer = |prompt| Reply::Answered(self.answers[prompt].iter().map(said).collect());
        Ok(prompts.iter().map(answer).collect())
    }
}

fn ask(model: &mut Knowing, set: &FingerprintSet) -> Findings {
    check(model, set, None, &Request::all(set, Mode::Greedy))
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
            let found = ask(&mut model, &bound);
            assert_eq!(found.evidence.coins(), 24);
            p_values.push(found.p_value.value());
            reached += u32::from(found.evidence.bits() >= loyal_types::Bits::whole(5));
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
    let found = ask(&mut model, &set);
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
    let found = ask(&mut model, &set);
    assert_eq!((found.evidence.hits(), found.evidence.coins()), (32, 32));
    // 3⁻³² = 10^−15.27.
    assert!((found.p_value.log10() + 32.0 * 3f64.log10()).abs() < 1e-9);
    assert_eq!(found.verdict, Verdict::Marked);
    // The same answers, in a request that names nothing of the set, or something twice.
    let case = Case { set: &set, tokenizer: &tiny().tokenizer, reference: None };
    for indices in [vec![32], vec![1, 1]] {
        let wrong = Request { indices, ..Request::all(&set, Mode::Greedy) };
        assert!(check::run(&mut model, &case, &wrong, &mut |_| Ok(ControlFlow::Continue(()))).is_err());
    }
}

/// The same answers of an innocent model weighed under many beacons: a p-value at or below α comes with chance α at
/// most, and E reaches 1/α with chance α at most. With the right reference, a wrong one, and none.
#[test]
fn tilted_evidence_is_valid_over_beacons() {
    const BEACONS: u64 = 1_000;
    let set = tilted(24, 2);
    let asked = set.clone().bind(beacon(0)).unwrap();
    let tiny = tiny();
    let stranger = Llama::random(tiny.llama.config.clone(), 99, tiny.llama.device()).unwrap();
    for mode in [Mode::Logits, Mode::Top(5), Mode::Greedy, Mode::Sampled] {
        // An innocent reference, one that differs from the suspect everywhere, and none.
        for reference in [Some(&stranger), Some(&tiny.llama), None] {
            let mut attempts = Vec::new();
            let request = Request::all(&asked, mode);
            let case = Case { set: &asked, tokenizer: &tiny.tokenizer, reference };
            let mut suspect = Weights::new(&tiny.llama, &tiny.llama.parameters, &tiny.tokenizer);
            check::run(&mut suspect, &case, &request, &mut |attempt| {
                attempts.push(attempt.clone());
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
            let (mut small, mut large) = ([0; 3], 0);
            for number in 1..=BEACONS {
                let bound = set.clone().bind(beacon(number)).unwrap();
                let mut court = Court::new(&bound, &request).unwrap();
                for attempt in &attempts {
                    court.hear(attempt).unwrap();
                }
                let found = court.findings();
                for (count, level) in small.iter_mut().zip([0.5, 0.1, 0.01]) {
                    *count += u32::from(found.p_value.value() <= level);
                }
                large += u32::from(found.log10_e >= 1.0);
            }
            for (count, level) in small.into_iter().zip([0.5, 0.1, 0.01]) {
                let share = f64::from(count) / BEACONS as f64;
                let most = level + 4.0 * (level * (1.0 - level) / BEACONS as f64).sqrt();
                assert!(share <= most, "{mode}: {share} of p-values at or below {level}");
            }
            assert!(f64::from(large) / BEACONS as f64 <= 0.1 + 0.04, "{mode}: {large} reached E = 10");
        }
    }
}
