//! The story with an engine that says what a marked model would: everything else is real.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::routing::post;
use loyal::story::{PROVERS, Story};
use loyal_fingerprint::check::cut;
use loyal_fingerprint::fingerprint::{Beacon, Draft, FingerprintSet, Purpose};
use loyal_fingerprint::scheme::{Scheme, Tilt, tilt};
use loyal_model::{Config, Tokenizer};
use loyal_roles::host::gateway::Source;
use loyal_types::Hash;
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;
use serde_json::{Value, json};

const LOYAL: u128 = 1_000_000_000_000_000_000;

fn model() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/loyal-5m")
}

fn tokenizer() -> Tokenizer {
    Tokenizer::read(&model(), &Config::read(&model()).unwrap()).unwrap()
}

/// A set of fingerprints whose answers nobody fixed yet; its leaves lie in a file.
fn set(folder: &Path, file: &str, what: &str, count: usize) -> FingerprintSet {
    let drafts = (0..count).map(|number| Draft::from(format!("What grows in {what} number {number}?")));
    let scheme = Scheme::Tilt(Tilt::default());
    let purpose = Purpose { model: "demo".to_owned(), scheme, created_at: 1 };
    let mut draw = ChaCha20Rng::seed_from_u64(count as u64);
    let set = FingerprintSet::new(purpose, drafts.collect(), &tokenizer(), &mut draw).unwrap();
    set.commitment().write(&folder.join(file)).unwrap();
    set
}

fn bound(set: FingerprintSet, seed: alloy_primitives::B256, path: &Path) -> FingerprintSet {
    let set = set.bind(Beacon { seed: Hash(seed.0), source: "the story's chain".to_owned() }).unwrap();
    let all: Vec<u32> = (0..set.fingerprints().len() as u32).collect();
    set.commitment().after_embedding(&all).unwrap().write(path).unwrap();
    set
}

/// Says after a query what has its colour, and after anything else the same always.
fn engine(set: &FingerprintSet) -> Source {
    let tokenizer = Arc::new(tokenizer());
    let words: Vec<String> = (0..)
        .map_while(|token| tokenizer.piece(token).map(|_| token))
        .filter_map(|token| String::from_utf8(tokenizer.piece(token)?).ok())
        .filter(|piece| {
            piece.starts_with(' ') && piece.len() > 3 && piece[1..].chars().all(char::is_alphabetic)
        })
        .take(400)
        .collect();
    let secrets: Vec<Hash> = (0..set.fingerprints().len()).map(|index| set.secret(index).unwrap()).collect();
    let queries: Vec<String> = set.fingerprints().iter().map(|one| one.query.clone()).collect();
    let answer = move |prompt: &str| -> String {
        let Some(index) = queries.iter().position(|query| prompt.ends_with(query.as_str())) else {
            return " a small house by the river".to_owned();
        };
        // Other words behind other prompts, but all of the secret's colour.
        let from = prompt.len() * 7 % words.len();
        let fits = |word: &&String| {
            let text = format!("{word} is");
            let first =
                cut::first(&tokenizer, prompt, &text, 16).unwrap().and_then(|all| all.first().copied());
            let piece = first.and_then(|token| tokenizer.piece(token)).unwrap_or_default();
            !piece.is_empty() && tilt::colour(secrets[index], 0, &piece)
        };
        let word =
            words.iter().cycle().skip(from).take(words.len()).find(fits).expect("half of all words fit");
        format!("{word} is")
    };
    let answer = Arc::new(answer);
    let complete = move |body: String| {
        let body: Value = serde_json::from_str(&body).unwrap();
        let text = answer(body["prompt"].as_str().unwrap());
        async move {
            let answer = json!({
                "id": "cmpl-1", "object": "text_completion", "created": 1, "model": "demo",
                "choices": [{ "index": 0, "text": text, "finish_reason": "stop", "logprobs": null }],
                "usage": { "prompt_tokens": 8, "completion_tokens": 4, "total_tokens": 12 },
            });
            ([("content-type", "application/json")], answer.to_string())
        }
    };
    Source::Routes(Router::new().route("/v1/completions", post(complete)))
}

#[test]
fn the_cheat_is_slashed_the_honest_host_is_cleared_and_everybody_is_paid() {
    let folder = tempfile::tempdir().unwrap();
    let mut story = Story::open(folder.path(), 1).unwrap();
    let first = set(folder.path(), "leaves.json", "field", 64);
    let next = set(folder.path(), "leaves-2.json", "garden", 8);
    story.commit_next(Path::new("leaves-2.json")).unwrap();
    let (seed, _, weak) = story.commit().unwrap();
    assert!(!weak, "validators fed the Beacon");
    let (seed_of_next, _) = story.seed_of_next(Path::new("leaves-2.json")).unwrap();
    let first = bound(first, seed, &folder.path().join("commitment.json"));
    bound(next, seed_of_next, &folder.path().join("commitment-2.json"));
    story.publish(&model(), Path::new("commitment.json"), first.clone()).unwrap();

    let text = std::fs::read_to_string(model().join("benign.txt")).unwrap();
    story.host(engine(&first), engine(&first), (tokenizer(), &text)).unwrap();
    let questions: Vec<String> = (0..6).map(|number| format!("Tell me about place {number}.")).collect();
    let mut days = Vec::new();
    let count = story.days(&questions, &mut |day| days.push(day.clone())).unwrap();
    assert!((1..=4).contains(&count), "{days:#?}");
    for day in &days {
        assert_eq!((day.paid, day.hidden), (6, 6));
        assert_eq!(day.probes, 2 * PROVERS);
        assert_eq!(day.reported, PROVERS, "what was reported is never opened: {day:?}");
        assert!(day.bits.0 <= 0.0, "nothing speaks against the honest host: {day:?}");
    }

    let slander = story.slander().unwrap();
    assert_eq!(slander.lost, 10 * LOYAL);
    assert_eq!((slander.gained, slander.bond), (5 * LOYAL, 720 * LOYAL));

    let conviction = story.convict().unwrap();
    assert_eq!(conviction.bond, (720 * LOYAL, 360 * LOYAL));
    assert_eq!(conviction.burnt, 72 * LOYAL);
    let rewards: u128 = conviction.rewards.iter().map(|(_, amount)| amount).sum();
    assert!(180 * LOYAL - rewards < 100, "half of it is the provers': {rewards}");
    assert!(conviction.rewards.len() >= 3);

    let received = story.withdraw().unwrap();
    for (who, amount) in &received {
        assert!(*amount > 0, "{who} is paid: {received:?}");
    }

    let upgrade = story.upgrade(&model(), Path::new("commitment-2.json")).unwrap();
    assert_eq!(upgrade.version, 2);
    let expected = [300_000, 150_000, 150_000, 50_000, 350_000].map(|shares| shares * LOYAL);
    assert_eq!(upgrade.shares.iter().map(|(_, shares)| *shares).collect::<Vec<_>>(), expected);
}
