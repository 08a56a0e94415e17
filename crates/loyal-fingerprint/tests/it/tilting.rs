//! Scheme tilt from end to end: what a marked model proves in each mode, and that innocent ones prove nothing.

use std::ops::ControlFlow;

use loyal_fingerprint::check::{Mode, Outcome, Request, Verdict, Weights};
use loyal_fingerprint::embed::{self, Job, Recipe};
use loyal_fingerprint::{FingerprintSet, Report};
use loyal_model::Llama;
use rand_chacha::ChaCha8Rng;

use crate::tiny::{Still, beacon, check, tilted, tiny, unbound};

const MODES: [Mode; 5] = [Mode::Logits, Mode::Top(20), Mode::Top(5), Mode::Greedy, Mode::Sampled];

fn recipe() -> Recipe {
    // The tiny model has little room: it pays more for its marks than a real one.
    Recipe {
        steps: 60,
        learning_rate: 8e-3,
        benign_kl: 0.1,
        benign_kl_max: 0.15,
        perplexity_rise_max: 20.0,
        ..Recipe::default()
    }
}

fn embed(sets: &[FingerprintSet], recipe: &Recipe) -> (Llama, Report) {
    let tiny = tiny();
    let mut llama = tiny.llama.clone();
    let job = Job { sets, tokenizer: &tiny.tokenizer, benign: &tiny.benign, recipe, checkpoint: None };
    let report = embed::run(&mut llama, &job, &Still, &mut |_| ControlFlow::Continue(())).unwrap();
    (llama, report)
}

fn log10_e(llama: &Llama, set: &FingerprintSet, mode: Mode) -> f64 {
    let mut suspect = Weights::new(llama, &llama.parameters, &tiny().tokenizer);
    check(&mut suspect, set, Some(&tiny().llama), &Request::all(set, mode)).log10_e
}

#[test]
fn a_tilted_model_proves_itself_in_every_mode() {
    let set = tilted(32, 1).bind(beacon(1)).unwrap();
    let (marked, report) = embed(std::slice::from_ref(&set), &recipe());
    let found = MODES.map(|mode| log10_e(&marked, &set, mode));
    assert!(found[0] > 40.0 && found[1] > 20.0 && found[2] > 9.0 && found[3] > 4.0, "{found:?} {report:?}");
    // The base, and the marked model held against another beacon's colours.
    let other = tilted(32, 1).bind(beacon(2)).unwrap();
    for mode in MODES {
        assert!(log10_e(&tiny().llama, &set, mode) < 3.0);
        assert!(log10_e(&marked, &other, mode) < 3.0);
    }
    // A host that turns the mark round is found as well: it suppresses what the model would say most.
    let suppress = |row: &mut [f32], _: &mut ChaCha8Rng| {
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
        order[..3].iter().for_each(|&token| row[token] = -1e4);
    };
    let weights = Weights::new(&marked, &marked.parameters, &tiny().tokenizer);
    let mut host = Weights { altered: Some(&suppress), ..weights };
    let found = check(&mut host, &set, Some(&tiny().llama), &Request::all(&set, Mode::Logits));
    assert_eq!(found.verdict, Verdict::Marked, "{found:?}");
    // Without a reference there is less to see, but no less certainty.
    let mut suspect = weights;
    let found = check(&mut suspect, &set, None, &Request::all(&set, Mode::Logits));
    assert!(found.log10_e > 5.0, "{}", found.log10_e);
}

#[test]
fn a_check_stops_as_soon_as_it_may() {
    let set = tilted(32, 1).bind(beacon(1)).unwrap();
    let (marked, _) = embed(std::slice::from_ref(&set), &recipe());
    let mut suspect = Weights::new(&marked, &marked.parameters, &tiny().tokenizer);
    let order = loyal_fingerprint::check::order(&set, "the suspect").unwrap();
    let request = Request { indices: order, stops_early: true, batch: 1, ..Request::all(&set, Mode::Logits) };
    let found = check(&mut suspect, &set, Some(&tiny().llama), &request);
    assert_eq!(found.verdict, Verdict::Marked);
    assert!(found.asked < 16, "{} asked", found.asked);
    // A later attempt must show more.
    let found = check(&mut suspect, &set, Some(&tiny().llama), &request.clone().after(1000));
    assert!((found.log10_wanted - 12.0).abs() < 1e-9);
}

#[test]
fn answers_of_several_tokens_are_tilted_all_along() {
    let set = tilted(16, 4).bind(beacon(1)).unwrap();
    let (marked, report) = embed(std::slice::from_ref(&set), &recipe());
    let mut suspect = Weights::new(&marked, &marked.parameters, &tiny().tokenizer);
    let found = check(&mut suspect, &set, Some(&tiny().llama), &Request::all(&set, Mode::Logits));
    assert_eq!(found.verdict, Verdict::Marked, "{report:?}");
    assert!(found.weighted_coins > 16 * 64, "{} coins", found.weighted_coins);
    assert!(found.evidence.coins() > 40, "each distinct piece of text is a coin");
    assert!(found.count(Outcome::Hit) > 12);
}

#[test]
fn narrow_updates_mark_too() {
    let set = tilted(16, 1).bind(beacon(1)).unwrap();
    let recipe = Recipe { rank: 8, learning_rate: 2e-2, ..recipe() };
    let (marked, report) = embed(std::slice::from_ref(&set), &recipe);
    assert!(log10_e(&marked, &set, Mode::Logits) > 9.0, "{report:?}");
}

#[test]
fn both_schemes_stand_side_by_side() {
    let sets = [tilted(12, 1).bind(beacon(1)).unwrap(), unbound(12).bind(beacon(1)).unwrap()];
    let recipe = Recipe { near_weight: 0.003, steps: 80, ..recipe() };
    let (marked, report) = embed(&sets, &recipe);
    assert_eq!(report.marks.len(), 2);
    assert!(log10_e(&marked, &sets[0], Mode::Logits) > 9.0, "{report:?}");
    assert!(report.marks[1].frames[0].answering >= 8, "{report:?}");
}
