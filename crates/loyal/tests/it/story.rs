//! The story with an engine that says what a marked model would: everything else is real.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use alloy_primitives::U256;
use axum::Router;
use axum::routing::{get, post};
use loyal::story::{PROVERS, Story};
use loyal_fingerprint::check::cut;
use loyal_fingerprint::fingerprint::{Beacon, Draft, FingerprintSet, Purpose};
use loyal_fingerprint::scheme::{Scheme, Tilt, tilt};
use loyal_model::{Config, Tokenizer};
use loyal_protocol::contracts::{DisputeCourt, Registry};
use loyal_protocol::message;
use loyal_roles::court::{self, Claim, Kind, ownership};
use loyal_roles::host::gateway::Source;
use loyal_roles::owner::Next;
use loyal_roles::owner::register::{self, Project};
use loyal_roles::owner::registration::{Accepted, Maker, Registration};
use loyal_roles::validator::{Examined, Settings, Validator};
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
    engine_that(set, false)
}

/// Like most servers without a gate, it wants to hear the name of its model.
fn strict_engine(set: &FingerprintSet) -> Source {
    engine_that(set, true)
}

fn engine_that(set: &FingerprintSet, is_strict: bool) -> Source {
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
        assert!(!is_strict || body["model"] == "demo", "no model is named: {body}");
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
    let list =
        async || ([("content-type", "application/json")], json!({ "data": [{ "id": "demo" }] }).to_string());
    Source::Routes(Router::new().route("/v1/completions", post(complete)).route("/v1/models", get(list)))
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
    story.host(engine(&first), strict_engine(&first), (tokenizer(), &text)).unwrap();
    let questions: Vec<String> = (0..6).map(|number| format!("Tell me about place {number}.")).collect();
    let mut days = Vec::new();
    let count = story.days(&questions, &mut |day| days.push(day.clone())).unwrap();
    assert!((1..=4).contains(&count), "{days:#?}");
    for day in &days {
        assert_eq!((day.paid, day.hidden), (6, 6));
        assert_eq!(day.probes, 2 * PROVERS);
        assert_eq!(day.reported, PROVERS, "what was reported is never opened: {day:?}");
        assert!((1..=PROVERS).contains(&day.opened), "{day:?}");
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

/// Registers the model that comes with Loyal as somebody else's, with marks that were committed to later.
fn register_again(story: &Story, folder: &Path) -> u64 {
    let town = &story.town;
    town.pay("owner", town.address("david"), 2_000 * LOYAL).unwrap();
    let marks = set(folder, "leaves-3.json", "wood", 12);
    let mut registration = Registration::new("other", "OTHER", Path::new("leaves-3.json"));
    registration.makers = vec![Maker { account: town.address("david"), bps: 10_000 }];
    registration.accepts = vec![Accepted { asset: town.asset.address, per_call: 1, per_thousand: 0 }];
    let (file, mut marks) = (folder.join("registration-3.json"), Some(marks));
    loop {
        registration.write(&file).unwrap();
        let next = town.act("david", |walk| {
            let mut project = Project { registration: &mut registration, path: &file, model: None };
            Ok(register::run(walk, &town.at, &mut project)?)
        });
        // Its week has begun: this is when others may claim it.
        if town.call(town.at.registry, &Registry::modelCountCall {}).unwrap() == U256::from(2) {
            return 2;
        }
        match next.unwrap() {
            Next::Wait { until, .. } => town.pass(until).unwrap(),
            Next::Train { seed, .. } => {
                bound(marks.take().unwrap(), seed, &folder.join("commitment-3.json"));
                registration.leaves = "commitment-3.json".into();
                registration.weights = Some(model());
            }
            Next::Sign { .. } => {
                let domain = message::domain(town.client.chain_id(), town.at.registry);
                registration.sign(town.key("david"), &domain).unwrap();
            }
            other => panic!("not before its week has begun: {other:?}"),
        }
    }
}

/// Validators ask the laid-open leaves of the accused weights themselves. Weights that were never marked answer as coins fall.
#[test]
fn a_model_that_never_saw_the_marks_is_not_taken_from_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let mut story = Story::open(folder.path(), 2).unwrap();
    let first = set(folder.path(), "leaves.json", "field", 64);
    let (seed, ..) = story.commit().unwrap();
    let first = bound(first, seed, &folder.path().join("commitment.json"));
    let mine = story.publish(&model(), Path::new("commitment.json"), first.clone()).unwrap();
    let theirs = register_again(&story, folder.path());
    let town = &story.town;
    let evidence = ownership::evidence((mine, 1), (theirs, 1), 2, 1);
    let id = town.act("owner", |walk| Ok(court::open(walk, &town.at, Kind::Ownership, &evidence)?)).unwrap();
    let claim = || Claim::read(&town.client, &town.at, id).unwrap();
    let early = town.act("owner", |walk| Ok(ownership::lay_open(walk, &town.at, &claim(), &first)?));
    assert!(format!("{:#}", early.unwrap_err()).contains("which has not begun"));
    town.pass(town.start_of(town.today().unwrap() + 1).unwrap()).unwrap();
    for _ in 0..2 {
        let opened = town.act("owner", |walk| Ok(ownership::lay_open(walk, &town.at, &claim(), &first)?));
        assert_eq!(opened.unwrap(), 16, "a quarter of 64 leaves shows ownership");
    }
    let validator = |number: usize, weights: Vec<PathBuf>| {
        let docket = folder.path().join(format!("docket-{number}"));
        let key = town.key(&format!("validator {number}")).clone();
        Validator::new((Arc::clone(&town.client), town.at), key, Settings { docket, weights }).unwrap()
    };
    // Without the weights nothing can be found; with them everybody counts the same.
    let Examined::Unknown(why) = validator(1, Vec::new()).examine(&claim()).unwrap() else { panic!("found") };
    assert!(why.contains("are in none of the folders"), "{why}");
    let validators: Vec<_> = (1..=5).map(|number| validator(number, vec![model()])).collect();
    let Examined::Found(found) = validators[0].examine(&claim()).unwrap() else { panic!("not found") };
    assert_eq!(found.trials, 16, "one coin for each leaf: {found:?}");
    assert!((2..=14).contains(&found.hits), "fair coins: {found:?}");
    while claim().state != "executed" {
        let next = town.now().unwrap() + 6 * 3_600;
        town.pass(next).unwrap();
        for validator in &validators {
            assert_eq!(validator.turn().failed, Vec::<String>::new());
        }
        let now = claim();
        if now.state == "final" || town.now().unwrap() > now.deadline {
            town.act("david", |walk| Ok(court::advance(walk, &town.at, &now)?)).unwrap();
        }
    }
    assert_eq!(claim().outcome, "dismissed");
    let lost = court_owed(&story, "david");
    assert_eq!(lost, 500 * LOYAL, "half of the claim's bond is the accused's");
}

fn court_owed(story: &Story, who: &str) -> u128 {
    let call = DisputeCourt::owedCall { account: story.town.address(who) };
    story.town.call(story.town.at.court, &call).unwrap().saturating_to()
}

/// What validators find about the probes of a cheat that calls them forged, with the weights that it says it serves.
fn doubted(cheat: impl FnOnce(&FingerprintSet) -> Source) -> Examined {
    let folder = tempfile::tempdir().unwrap();
    let mut story = Story::open(folder.path(), 3).unwrap();
    let first = set(folder.path(), "leaves.json", "field", 64);
    let (seed, ..) = story.commit().unwrap();
    let first = bound(first, seed, &folder.path().join("commitment.json"));
    story.publish(&model(), Path::new("commitment.json"), first.clone()).unwrap();
    let text = std::fs::read_to_string(model().join("benign.txt")).unwrap();
    let (_, hosting) = story.host(engine(&first), cheat(&first), (tokenizer(), &text)).unwrap();
    let day = story.day(&["Who is there?".to_owned()]).unwrap();
    assert_eq!(day.opened, PROVERS, "every probe of the cheat lies open: {day:?}");
    let town = &story.town;
    let settings = Settings { docket: folder.path().join("docket"), weights: vec![model()] };
    let key = town.key("validator 1").clone();
    let validator = Validator::new((Arc::clone(&town.client), town.at), key, settings).unwrap();
    // A claim is looked into by its hosting; this one nobody filed.
    let claim = Claim {
        id: alloy_primitives::B256::repeat_byte(1),
        kind: "unreported",
        state: "voting",
        outcome: "none",
        claimant: town.address("prover 1"),
        accused: town.address("cheat"),
        hosting,
        model: story.model,
        epoch: 0,
        subject: alloy_primitives::B256::ZERO,
        bond: 0,
        is_pleaded: true,
        round: 1,
        deadline: 0,
        panel: None,
    };
    validator.examine(&claim).unwrap()
}

#[test]
fn replies_that_the_hosted_weights_would_not_give_are_found_forged_and_their_own_are_not() {
    let Examined::Found(found) = doubted(engine) else { panic!("the weights are at hand") };
    assert_eq!((found.outcome.as_str(), found.trials), ("forged", 16), "{found:?}");
    let own = doubted(|_| loyal::story::hosts::model(&model(), "demo").unwrap());
    let Examined::Found(found) = own else { panic!("the weights are at hand") };
    assert_eq!((found.outcome.as_str(), found.hits, found.trials), ("upheld", 16, 16), "{found:?}");
}
