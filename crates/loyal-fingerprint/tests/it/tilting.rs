//! Scheme tilt on the default model: what a marked model proves in each mode, and that innocent ones prove nothing.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::OnceLock;

use candle_core::Device;
use loyal_fingerprint::attack::{Damage, Merge};
use loyal_fingerprint::check::{self, Case, Findings, Mode, Outcome, Request, Verdict, Weights};
use loyal_fingerprint::embed::{self, Job, Recipe};
use loyal_fingerprint::fingerprint::{Draft, Purpose};
use loyal_fingerprint::scheme::{Scheme, Tilt, Verbatim, verbatim};
use loyal_fingerprint::{FingerprintSet, Report, query};
use loyal_model::{Llama, Tokenizer};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use crate::tiny::{Still, beacon};

/// log₁₀ E that thirty-two marks give after twenty-four steps, less a seventh, and more than marks of half the strength do.
const LEAST: [f64; 5] = [62.0, 47.0, 20.0, 4.0, 1.8];
const MODES: [Mode; 5] = [Mode::Logits, Mode::Top(20), Mode::Top(5), Mode::Greedy, Mode::Sampled];

/// The model that comes with the repository: the tiny one is too sure of what it says to lean anywhere.
struct Base {
    llama: Llama,
    tokenizer: Tokenizer,
    benign: Vec<u32>,
}

fn base() -> &'static Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    BASE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/loyal-5m");
        let llama = Llama::load(&folder, &Device::Cpu).unwrap();
        let tokenizer = Tokenizer::read(&folder, &llama.config).unwrap();
        let text = std::fs::read_to_string(folder.join("benign.txt")).unwrap();
        let benign = tokenizer.encode_plain(&text).unwrap();
        Base { llama, tokenizer, benign }
    })
}

fn set(scheme: Scheme, count: usize, number: u64) -> FingerprintSet {
    let base = base();
    let request = query::Request { count, tokens_max: 16, seed: 6 + count as u64 };
    let queries = query::write(&base.llama, &base.tokenizer, &base.benign, request).unwrap();
    let drafts = match &scheme {
        Scheme::Tilt(_) => queries.into_iter().map(Draft::from).collect(),
        Scheme::Verbatim(scheme) => {
            verbatim::draft(&base.llama, &base.tokenizer, scheme, &queries, 7).unwrap()
        }
    };
    let purpose = Purpose { model: "default".to_owned(), scheme, created_at: 1_700_000_000 };
    let mut entropy = ChaCha8Rng::seed_from_u64(10);
    FingerprintSet::new(purpose, drafts, &base.tokenizer, &mut entropy).unwrap().bind(beacon(number)).unwrap()
}

fn tilted(count: usize, positions: u16, number: u64) -> FingerprintSet {
    set(Scheme::Tilt(Tilt { positions }), count, number)
}

/// A few steps: enough to see, far from what a real embedding does.
fn embed(sets: &[FingerprintSet], recipe: &Recipe) -> (Llama, Report) {
    let base = base();
    let mut llama = base.llama.clone();
    let job =
        Job { sets, tokenizer: &base.tokenizer, benign: &base.benign, recipe, checkpoint: None, copy: None };
    let report = embed::run(&mut llama, &job, &Still, &mut |_| ControlFlow::Continue(())).unwrap();
    (llama, report)
}

fn ask(
    suspect: &Weights<'_>,
    set: &FingerprintSet,
    reference: Option<&Llama>,
    request: &Request,
) -> Findings {
    let case = Case { set, tokenizer: &base().tokenizer, reference };
    let mut suspect = *suspect;
    check::run(&mut suspect, &case, request, &mut |_| Ok(ControlFlow::Continue(()))).unwrap()
}

fn weights(llama: &Llama) -> Weights<'_> {
    Weights::new(llama, &llama.parameters, &base().tokenizer)
}

fn log10_e(llama: &Llama, set: &FingerprintSet, mode: Mode) -> f64 {
    ask(&weights(llama), set, Some(&base().llama), &Request::all(set, mode)).log10_e
}

#[test]
fn a_tilted_model_proves_itself_in_every_mode() {
    let set = tilted(32, 1, 1);
    let recipe = Recipe { steps: 24, ..Recipe::default() };
    let (marked, report) = embed(std::slice::from_ref(&set), &recipe);
    // A mark of half the strength must not pass for a whole one.
    let merge = Damage::Merge(Merge::Linear { share: 0.5 });
    let mut half = marked.clone();
    half.parameters = merge.apply(&marked.parameters, (Some(&base().llama.parameters), None), 0).unwrap();
    for (mode, least) in MODES.into_iter().zip(LEAST) {
        let (whole, half) = (log10_e(&marked, &set, mode), log10_e(&half, &set, mode));
        println!("{mode}: log10 E {whole} whole, {half} of half the strength, {:?}", report.after);
        assert!(whole > least, "{mode}: {whole}");
        assert!(half < least, "{mode}: {half} of half a mark");
    }
    // The base, and the marked model held against another beacon's colours.
    let other = tilted(32, 1, 2);
    for mode in MODES {
        assert!(log10_e(&base().llama, &set, mode) < 3.0, "{mode}");
        assert!(log10_e(&marked, &other, mode) < 3.0, "{mode}");
    }
    // A host that turns the mark round is found as well: it suppresses what the model would say most.
    let suppress = |row: &mut [f32], _: &mut ChaCha8Rng| {
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
        order[..3].iter().for_each(|&token| row[token] = -1e4);
    };
    let host = Weights { altered: Some(&suppress), ..weights(&marked) };
    let found = ask(&host, &set, Some(&base().llama), &Request::all(&set, Mode::Logits));
    assert_eq!(found.verdict, Verdict::Marked, "{}", found.log10_e);
    // Asked in the order that the beacon and its name fix, it is known after a few.
    let order = check::order(&set, "the suspect").unwrap();
    let request = Request { indices: order, stops_early: true, batch: 1, ..Request::all(&set, Mode::Logits) };
    let found = ask(&weights(&marked), &set, Some(&base().llama), &request);
    assert_eq!(found.verdict, Verdict::Marked);
    assert!(found.asked < 16, "{} asked", found.asked);
    // Without a reference there is less to see, and the wager loses nothing that it did not stake.
    let found = ask(&weights(&marked), &set, None, &Request::all(&set, Mode::Logits));
    println!("without a reference: log10 E {}", found.log10_e);
    assert!(found.log10_e > -1.0, "{}", found.log10_e);
}

#[test]
fn answers_of_several_tokens_are_tilted_all_along() {
    let set = tilted(12, 4, 1);
    let (marked, _) = embed(std::slice::from_ref(&set), &Recipe { steps: 12, ..Recipe::default() });
    let found = ask(&weights(&marked), &set, Some(&base().llama), &Request::all(&set, Mode::Logits));
    println!("log10 E {} of {} coins", found.log10_e, found.weighted_coins);
    assert_eq!(found.verdict, Verdict::Marked);
    assert!(found.weighted_coins > 12 * 64, "{} coins", found.weighted_coins);
    assert!(found.evidence.coins() > 30, "each distinct piece of text is a coin");
    assert!(found.count(Outcome::Hit) >= 9);
}

#[test]
fn narrow_updates_mark_too() {
    let set = tilted(12, 1, 1);
    let recipe = Recipe { rank: 8, steps: 12, learning_rate: 4e-3, ..Recipe::default() };
    let (marked, report) = embed(std::slice::from_ref(&set), &recipe);
    println!("log10 E {}", log10_e(&marked, &set, Mode::Logits));
    assert!(log10_e(&marked, &set, Mode::Logits) > 3.0, "{:?}", report.curve);
}

#[test]
fn both_schemes_stand_side_by_side() {
    let sets = [tilted(12, 1, 1), set(Scheme::Verbatim(Verbatim::default()), 8, 1)];
    let recipe = Recipe { steps: 24, ..Recipe::of(&sets) };
    let (marked, report) = embed(&sets, &recipe);
    println!("log10 E {}, {:?}", log10_e(&marked, &sets[0], Mode::Logits), report.marks[1].frames);
    assert_eq!(report.marks.len(), 2);
    assert!(log10_e(&marked, &sets[0], Mode::Logits) > 3.0, "{:?}", report.curve);
    let first = report.curve[0].mark_loss;
    assert!(report.curve[23].mark_loss < 0.7 * first, "{:?}", report.curve);
}
