//! Candidate sets equal the published rule on the same logits.

use loyal_fingerprint::scheme::verbatim::{Words, is_allowed, perinucleus};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    threshold: f64,
    width: usize,
    logits: Vec<f32>,
    candidates: Vec<u32>,
}

#[test]
fn equal_the_published_rule() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../golden/perinucleus.json")).unwrap();
    assert_eq!(cases.len(), 24);
    let mut found = 0;
    for case in cases {
        let chosen = perinucleus(&case.logits, case.threshold, case.width, &|_| true);
        match chosen {
            Some(chosen) => {
                assert_eq!(chosen, case.candidates);
                found += 1;
            }
            // The published code takes what is left; a set of fixed width needs them all.
            None => assert!(case.candidates.len() < case.width),
        }
    }
    assert!(found >= 20, "only {found} cases have enough tokens outside the nucleus");
}

#[test]
fn a_certain_token_is_the_whole_nucleus() {
    // Probabilities 0.9, 0.05, 0.03, 0.02.
    let logits = [0.05f32, 0.9, 0.02, 0.03].map(f32::ln);
    assert_eq!(perinucleus(&logits, 0.8, 2, &|_| true), Some(vec![0, 3]));
    assert_eq!(perinucleus(&logits, 0.8, 2, &|token| token != 0), Some(vec![3, 2]));
    assert_eq!(perinucleus(&logits, 0.8, 4, &|_| true), None);
}

#[test]
fn equal_probabilities_go_by_token() {
    assert_eq!(perinucleus(&[0.0; 10], 0.5, 3, &|_| true), Some(vec![5, 6, 7]));
}

#[test]
fn words_are_letters_and_digits() {
    for (piece, any, only) in [
        (" cat", true, true),
        ("ing", true, true),
        ("7", true, true),
        (" ", true, false),
        (",", true, false),
        (" don't", true, false),
        ("é", true, false),
        ("", false, false),
    ] {
        assert_eq!(is_allowed(piece.as_bytes(), Words::Any), any, "{piece:?}");
        assert_eq!(is_allowed(piece.as_bytes(), Words::Only), only, "{piece:?}");
    }
}
