//! The choice of tokens.

use loyal_model::sampler::{Sampler, Sampling, argmax, log_softmax, top_logprobs};
use proptest::prelude::*;

fn sampling(temperature: f32, seed: u64) -> Sampling {
    Sampling { temperature, seed, ..Sampling::default() }
}

/// How often each token is drawn in `draws`.
fn shares(sampling: &Sampling, logits: &[f32], draws: usize) -> Vec<f64> {
    let mut sampler = Sampler::new(sampling).unwrap();
    let mut counts = vec![0.0; logits.len()];
    for _ in 0..draws {
        counts[sampler.sample(logits) as usize] += 1.0 / draws as f64;
    }
    counts
}

#[test]
fn greedy_takes_the_first_of_the_best() {
    let mut greedy = Sampler::new(&Sampling::default()).unwrap();
    assert_eq!(greedy.sample(&[0.0, 3.0, -1.0, 3.0]), 1);
    assert_eq!(greedy.sample(&[f32::NAN, -5.0, f32::NEG_INFINITY]), 1);
    assert_eq!(greedy.sample(&[f32::NAN, f32::NAN]), 0);
}

#[test]
fn draws_follow_the_softmax_of_the_logits() {
    let logits = [0.0f32, 1.0, 2.0, -1.0, f32::NEG_INFINITY, f32::NAN];
    for temperature in [0.5, 1.0, 2.0] {
        let weights: Vec<f64> = logits[..4].iter().map(|&l| f64::from(l / temperature).exp()).collect();
        let total: f64 = weights.iter().sum();
        let found = shares(&sampling(temperature, 7), &logits, 20_000);
        for (token, weight) in weights.iter().enumerate() {
            assert!((found[token] - weight / total).abs() < 0.015, "{temperature} {token}: {found:?}");
        }
        assert!(found[4] == 0.0 && found[5] == 0.0);
    }
}

#[test]
fn filters_keep_the_most_probable() {
    // Probabilities 0.5, 0.25, 0.125, 0.125.
    let logits = [0.5f32, 0.25, 0.125, 0.125].map(f32::ln);
    let drawn = |sampling: Sampling| {
        let shares = shares(&sampling, &logits, 3000);
        (0..4).filter(|&token| shares[token] > 0.0).collect::<Vec<_>>()
    };
    let base = || sampling(1.0, 3);
    assert_eq!(drawn(Sampling { top_k: 1, ..base() }), [0]);
    assert_eq!(drawn(Sampling { top_k: 3, ..base() }), [0, 1, 2]);
    assert_eq!(drawn(Sampling { top_p: 0.4, ..base() }), [0]);
    assert_eq!(drawn(Sampling { top_p: 0.7, ..base() }), [0, 1]);
    assert_eq!(drawn(Sampling { top_p: 0.8, ..base() }), [0, 1, 2]);
    assert_eq!(drawn(Sampling { min_p: 0.3, ..base() }), [0, 1]);
    assert_eq!(drawn(base()), [0, 1, 2, 3]);
}

#[test]
fn values_out_of_range_are_refused() {
    for (name, wrong) in [
        ("temperature", Sampling { temperature: -1.0, ..Sampling::default() }),
        ("temperature", Sampling { temperature: f32::NAN, ..Sampling::default() }),
        ("top_p", Sampling { top_p: 0.0, ..Sampling::default() }),
        ("top_p", Sampling { top_p: 1.5, ..Sampling::default() }),
        ("min_p", Sampling { min_p: -0.1, ..Sampling::default() }),
    ] {
        let error = Sampler::new(&wrong).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("give"), "{error}");
    }
}

#[test]
fn logprobs_add_up() {
    let logits = [1.0f32, 3.0, f32::NEG_INFINITY, 2.0];
    let all = log_softmax(&logits);
    let total: f64 = all.iter().map(|&l| f64::from(l).exp()).sum();
    assert!((total - 1.0).abs() < 1e-6);
    let top = top_logprobs(&logits, 2);
    assert_eq!(top, [(1, all[1]), (3, all[3])]);
    assert_eq!(top_logprobs(&logits, 9).len(), 4);
    assert!(top_logprobs(&logits, 0).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_logits_give_a_token_of_the_vocabulary_and_the_same_one_again(
        logits in prop::collection::vec(prop_oneof![8 => -50.0f32..50.0, 1 => Just(f32::NAN), 1 => Just(f32::INFINITY), 1 => Just(f32::NEG_INFINITY)], 1..700),
        temperature in 0.0f32..3.0, top_k in 0usize..20, top_p in 0.01f32..=1.0, min_p in 0.0f32..=1.0, seed: u64,
    ) {
        let sampling = Sampling { temperature, top_k, top_p, min_p, seed };
        let (mut one, mut other) = (Sampler::new(&sampling).unwrap(), Sampler::new(&sampling).unwrap());
        for _ in 0..5 {
            let token = one.sample(&logits);
            prop_assert!((token as usize) < logits.len());
            prop_assert_eq!(token, other.sample(&logits));
            let usable = logits.iter().any(|l| *l > f32::NEG_INFINITY);
            prop_assert!(!usable || logits[token as usize] > f32::NEG_INFINITY);
        }
        let best = logits.iter().copied().filter(|l| !l.is_nan()).fold(f32::NEG_INFINITY, f32::max);
        prop_assert!(logits[argmax(&logits) as usize] == best || best == f32::NEG_INFINITY);
    }

    #[test]
    fn top_p_keeps_the_fewest_tokens_with_enough_mass(
        logits in prop::collection::vec(-8.0f32..8.0, 2..400), top_p in 0.05f32..0.95,
    ) {
        let mut probabilities: Vec<(usize, f64)> =
            log_softmax(&logits).iter().map(|&l| f64::from(l).exp()).enumerate().collect();
        probabilities.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut sum = 0.0;
        let kept: Vec<usize> = probabilities.iter().take_while(|(_, p)| {
            let before = sum;
            sum += p;
            before < f64::from(top_p) + 1e-4
        }).map(|&(token, _)| token).collect();
        let mut sampler = Sampler::new(&Sampling { temperature: 1.0, top_p, ..Sampling::default() }).unwrap();
        for _ in 0..50 {
            let token = sampler.sample(&logits) as usize;
            prop_assert!(kept.contains(&token), "{token} is not among {} tokens", kept.len());
        }
    }
}
