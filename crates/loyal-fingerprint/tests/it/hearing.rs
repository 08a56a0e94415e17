//! Checks that last: ledger, transcript, resumption, and evidence that a stranger computes again.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use loyal_fingerprint::check::hearing::{self, Books, Hearing};
use loyal_fingerprint::check::ledger::{Burnt, Colluders, Ledger, Target};
use loyal_fingerprint::check::transcript::{Record, Route};
use loyal_fingerprint::check::{
    Answerer, Ask, Bundle, Case, Findings, Mode, Pieces, Reply, Request, Said, Shown, Verdict, order,
};
use loyal_fingerprint::fingerprint::{Draft, Purpose};
use loyal_fingerprint::scheme::{Rule, Scheme, Tilt, tilt};
use loyal_fingerprint::{Error, FingerprintSet};
use loyal_model::Tokenizer;
use loyal_types::{Hash, keccak256};
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use tempfile::TempDir;

use crate::tiny::{Still, beacon};

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    let text = "the cat saw the dog and the dog saw the cat near the river under the tree. ".repeat(4);
    let json = Tokenizer::train(&mut std::iter::once(text), 300).unwrap();
    Tokenizer::parse(&json, Path::new("tokenizer.json")).unwrap()
});

fn set(count: usize, positions: u16) -> FingerprintSet {
    let drafts = (0..count).map(|i| Draft::from(format!("the cat number {i} saw"))).collect();
    let purpose = Purpose {
        model: "told".to_owned(),
        scheme: Scheme::Tilt(Tilt { positions }),
        created_at: 1_700_000_000,
    };
    let set = FingerprintSet::new(purpose, drafts, &TOKENIZER, &mut ChaCha8Rng::seed_from_u64(3)).unwrap();
    set.bind(beacon(1)).unwrap()
}

/// A marked model without weights: it knows the colours, and is asked only what stands in the set.
struct Teller<'a> {
    set: &'a FingerprintSet,
    /// Every query it was asked.
    asked: Vec<String>,
    /// Queries from this one on are not answered.
    silent_from: usize,
}

impl<'a> Teller<'a> {
    fn new(set: &'a FingerprintSet) -> Self {
        Self { set, asked: Vec::new(), silent_from: usize::MAX }
    }

    fn said(&self, query: &str, position: u16, mode: Mode) -> Said {
        let index = self.set.fingerprints().iter().position(|one| query.ends_with(&one.query)).unwrap();
        let secret = self.set.secret(index).unwrap();
        let pieces = Pieces::new(&TOKENIZER);
        let noise = |token: u32| {
            let bytes = [query.as_bytes(), &token.to_be_bytes(), &position.to_be_bytes()].concat();
            f32::from(keccak256(&bytes).0[0]) / 64.0
        };
        let rate = |token: u32| {
            let piece = pieces.of(token);
            let is_plain =
                piece.len() > 1 && piece.iter().all(|byte| byte.is_ascii_alphabetic() || *byte == b' ');
            let lean = if tilt::colour(secret, position, piece) { 3.0 } else { -3.0 };
            noise(token) + lean - if is_plain { 0.0 } else { 20.0 }
        };
        let mut list: Vec<(u32, f32)> =
            (0..TOKENIZER.len() as u32).map(|token| (token, rate(token))).collect();
        list.sort_by(|a, b| b.1.total_cmp(&a.1));
        let total = list.iter().map(|(_, x)| f64::from(*x).exp()).sum::<f64>().ln() as f32;
        let shown = list.iter().map(|&(token, x)| (token, x - total));
        let shown = match mode {
            Mode::Top(k) => Shown::Top(shown.take(k.into()).collect()),
            _ => Shown::Nothing,
        };
        Said { token: list[0].0, shown }
    }
}

impl Answerer for Teller<'_> {
    fn answer(&mut self, prompts: &[String], ask: Ask) -> loyal_fingerprint::Result<Vec<Reply>> {
        let reply = |prompt: &String| {
            self.asked.push(prompt.clone());
            if self.asked.len() > self.silent_from {
                return Reply::Refused("silent".to_owned());
            }
            Reply::Answered(
                (0..ask.tokens as u16).map(|position| self.said(prompt, position, ask.mode)).collect(),
            )
        };
        Ok(prompts.iter().map(reply).collect())
    }
}

fn target(host: &str) -> Target {
    Target { host: host.to_owned(), colluders: Colluders::Named(std::iter::empty::<String>().collect()) }
}

/// Files of a check.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn ledger(&self, set: &FingerprintSet) -> Ledger {
        Ledger::beside(&self.path("secret.json"), set)
    }

    fn hear(
        &self,
        teller: &mut Teller<'_>,
        (host, mode): (&str, Mode),
        limit: usize,
    ) -> Result<Findings, Error> {
        let set = teller.set;
        let request = Request { batch: 4, ..Request::all(set, mode) };
        let hearing = Hearing {
            case: Case { set, tokenizer: &TOKENIZER, reference: None },
            request,
            suspect: host,
            route: Route::Completions,
            registrations: 1,
            reference: None,
            limit,
        };
        let transcript = self.path(&format!("{host}.transcript"));
        let mut books =
            Books::new(&Still).with_transcript(&transcript).with_ledger(self.ledger(set), target(host));
        hearing::run(teller, &hearing, &mut books, &mut |_| ControlFlow::Continue(()))
    }

    fn record(&self, host: &str) -> Record {
        Record::read(&self.path(&format!("{host}.transcript"))).unwrap()
    }
}

#[test]
fn a_check_goes_on_where_it_was() {
    let set = set(40, 1);
    for mode in [Mode::Top(5), Mode::Greedy] {
        let (whole, parts) = (Place::new(), Place::new());
        let mut teller = Teller::new(&set);
        let at_once = whole.hear(&mut teller, ("host", mode), usize::MAX).unwrap();
        // So strong a mark leaves one colour among the first five: without a reference the text alone carries it.
        assert_eq!(at_once.verdict, Verdict::Marked, "{at_once:?}");
        assert_eq!(teller.asked.len(), 40);
        let mut teller = Teller::new(&set);
        for limit in [0, 6, 6, 13, usize::MAX] {
            parts.hear(&mut teller, ("host", mode), limit).unwrap();
        }
        let resumed = parts.hear(&mut teller, ("host", mode), usize::MAX).unwrap();
        assert_eq!(resumed, at_once, "the same bits, whether heard live or read again");
        assert_eq!(teller.asked.len(), 40, "nothing is asked twice");
        let indices: Vec<usize> = parts.record("host").attempts().map(|one| one.index as usize).collect();
        assert_eq!(indices, order(&set, "host").unwrap());
    }
}

/// Killed after spending and before writing down: the answers are lost, the entries are not.
#[test]
fn lost_answers_are_not_asked_for_again() {
    let set = set(12, 1);
    let place = Place::new();
    let mut teller = Teller::new(&set);
    place.hear(&mut teller, ("host", Mode::Greedy), 4).unwrap();
    let next: Vec<u32> = order(&set, "host").unwrap()[4..8].iter().map(|&index| index as u32).collect();
    place.ledger(&set).spend(&target("host"), &next, 1).unwrap();
    let found = place.hear(&mut teller, ("host", Mode::Greedy), usize::MAX).unwrap();
    assert_eq!((found.asked, found.refused), (12, 4));
    assert_eq!(teller.asked.len(), 8);
}

#[test]
fn a_spent_fingerprint_is_spent() {
    let set = set(6, 1);
    let place = Place::new();
    let ledger = place.ledger(&set);
    let free = vec![None; 3];
    assert_eq!(ledger.spend(&target("a"), &[0, 1, 2], 1).unwrap(), free);
    let burnt = Some(Burnt::Spent("a".to_owned()));
    assert_eq!(ledger.spend(&target("a"), &[2, 3], 2).unwrap(), [burnt.clone(), None]);
    assert_eq!(ledger.spend(&target("b"), &[0, 1, 2], 3).unwrap(), free, "another host has not seen them");
    let friend = Target { colluders: Colluders::Named(["a".to_owned()].into()), ..target("c") };
    assert_eq!(ledger.spend(&friend, &[0, 4], 4).unwrap(), [burnt, None]);
    let wary = Target { colluders: Colluders::All, ..target("d") };
    assert!(ledger.spend(&wary, &[4, 5], 5).unwrap()[0].is_some());
    ledger.open_leaves(&[5, 1], 6).unwrap();
    assert_eq!(ledger.spend(&target("e"), &[5, 3], 7).unwrap(), [Some(Burnt::Opened), None]);
    let summary = ledger.summary().unwrap();
    assert_eq!((summary.opened, summary.spent["a"], summary.spent["b"]), (2, 4, 3));
    assert!(summary.spent.contains_key("c"));
    let copy = Ledger::beside(&place.path("copy of secret.json"), &set);
    assert_eq!(
        copy.spend(&target("a"), &[0], 8).unwrap(),
        [Some(Burnt::Spent("a".to_owned()))],
        "a copy is no way round"
    );
}

#[test]
fn many_at_once_spend_each_fingerprint_once() {
    let set = set(64, 1);
    let place = Place::new();
    let ledger = place.ledger(&set);
    let spend = |from: u32| {
        let mut won = Vec::new();
        for step in 0..64u32 {
            let index = (from + step) % 64;
            if ledger.spend(&target("host"), &[index], 1).unwrap()[0].is_none() {
                won.push(index);
            }
        }
        won
    };
    let mut won: Vec<u32> = std::thread::scope(|scope| {
        let runs: Vec<_> = [0, 16, 32, 48].map(|from| scope.spawn(move || spend(from))).into_iter().collect();
        runs.into_iter().flat_map(|run| run.join().unwrap()).collect()
    });
    won.sort_unstable();
    assert_eq!(won, (0..64).collect::<Vec<u32>>());
}

#[test]
fn foreign_and_changed_books_are_refused() {
    let (set, other) = (set(8, 1), set(9, 1));
    let place = Place::new();
    place.hear(&mut Teller::new(&set), ("host", Mode::Greedy), 4).unwrap();
    let refused = |result: Result<Findings, Error>, words: &[&str]| {
        let error = result.unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{words:?}: {error}");
    };
    // Another mode, another set; the ledger is another set's as well.
    refused(
        place.hear(&mut Teller::new(&set), ("host", Mode::Top(5)), 8),
        &["another check", "mode", "greedy", "top-5"],
    );
    refused(place.hear(&mut Teller::new(&other), ("host", Mode::Greedy), 8), &["another check", "leaf_root"]);
    let (own, foreign) = (place.ledger(&set).path().to_owned(), place.ledger(&other).path().to_owned());
    fs::copy(&own, &foreign).unwrap();
    refused(place.hear(&mut Teller::new(&other), ("elsewhere", Mode::Greedy), 8), &["it is the ledger of"]);
    for path in [place.path("host.transcript"), own] {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        for changed in [text.replacen("1700000000", "1700000001", 1), text.replacen("loyal-", "royal-", 1)] {
            assert_ne!(changed, text);
            fs::write(&path, changed).unwrap();
            refused(place.hear(&mut Teller::new(&set), ("host", Mode::Greedy), 8), &[&name, "never edited"]);
        }
        fs::write(&path, &text).unwrap();
    }
    place.hear(&mut Teller::new(&set), ("host", Mode::Greedy), 8).unwrap();
}

/// A bundle of a check in which some were not answered.
fn bundle(mode: Mode, positions: u16) -> (FingerprintSet, Bundle) {
    let set = set(24, positions);
    let place = Place::new();
    let mut teller = Teller::new(&set);
    teller.silent_from = 20;
    place.hear(&mut teller, ("host", mode), usize::MAX).unwrap();
    let bundle = Bundle::new(&set, &place.record("host")).unwrap();
    (set, bundle)
}

#[test]
fn a_stranger_finds_the_same() {
    for (mode, positions) in [(Mode::Top(5), 1), (Mode::Top(20), 2), (Mode::Greedy, 1)] {
        let (set, bundle) = bundle(mode, positions);
        let path = Path::new("evidence.json");
        let text = bundle.to_json();
        let read = Bundle::parse(text.as_bytes(), path).unwrap();
        assert_eq!(read, bundle);
        let verified = read.verify(Some(&TOKENIZER)).unwrap();
        assert_eq!((verified.totals.asked, verified.totals.refused), (24, 4));
        assert_eq!(verified.totals, *bundle.totals());
        assert_eq!(verified.log10_e_without_reference, verified.totals.log10_e, "there was no reference");
        // It opens what was answered and nothing else.
        let hidden = set.fingerprints().iter().filter(|one| !text.contains(&one.blinding.to_string()));
        assert_eq!((bundle.opened().len(), hidden.count()), (20, 4));
    }
}

#[test]
fn nothing_answered_proves_nothing() {
    let set = set(4, 1);
    let place = Place::new();
    let mut teller = Teller::new(&set);
    teller.silent_from = 0;
    place.hear(&mut teller, ("host", Mode::Greedy), usize::MAX).unwrap();
    let verified = Bundle::new(&set, &place.record("host")).unwrap().verify(None).unwrap();
    assert_eq!((verified.totals.refused, verified.totals.coins), (4, 0));
    assert_eq!(verified.totals.verdict, Verdict::NoEvidence);
}

/// Seals a bundle that was changed, as a forger would.
fn sealed(mut file: Value) -> String {
    let checksum = keccak256(file["evidence"].to_string().as_bytes());
    file["checksum"] = serde_json::json!(checksum);
    file.to_string()
}

/// Another value of the same kind.
fn bent(value: &Value) -> Value {
    match value {
        Value::String(text) if text.starts_with("0x") && text.len() > 2 => {
            let last = if text.ends_with('0') { "1" } else { "0" };
            format!("{}{last}", &text[..text.len() - 1]).into()
        }
        Value::String(text) => match text.parse::<f64>() {
            Ok(number) => (number + 0.5).to_string().into(),
            Err(_) => format!("{text}x").into(),
        },
        Value::Number(number) if number.is_f64() => (number.as_f64().unwrap() - 0.125).into(),
        Value::Number(number) => (number.as_u64().unwrap() + 1).into(),
        Value::Bool(is) => (!is).into(),
        Value::Null => "x".into(),
        Value::Array(_) | Value::Object(_) => unreachable!("these have parts of their own"),
    }
}

fn leaves(value: &Value, at: &str, paths: &mut Vec<String>) {
    match value {
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(i, one)| leaves(one, &format!("{at}/{i}"), paths));
        }
        Value::Object(map) => map.iter().for_each(|(name, one)| leaves(one, &format!("{at}/{name}"), paths)),
        _ => paths.push(at.to_owned()),
    }
}

/// Every single field, changed, even with a new seal, is found, but for two texts that commit to nothing.
#[test]
fn every_field_that_is_changed_is_found() {
    let (_, bundle) = bundle(Mode::Top(5), 1);
    let file: Value = serde_json::from_str(&bundle.to_json()).unwrap();
    let verify = |text: &str| {
        Bundle::parse(text.as_bytes(), Path::new("evidence.json")).and_then(|one| one.verify(None))
    };
    verify(&sealed(file.clone())).unwrap();
    let mut paths = Vec::new();
    leaves(&file["evidence"], "/evidence", &mut paths);
    assert!(paths.len() > 500, "{}", paths.len());
    let free = ["/evidence/commitment/model", "/evidence/commitment/beacon/source"];
    for path in paths {
        let mut changed = file.clone();
        let value = changed.pointer_mut(&path).unwrap();
        *value = bent(value);
        assert!(verify(&changed.to_string()).is_err(), "{path}: not even the checksum");
        let outcome = verify(&sealed(changed));
        assert_eq!(outcome.is_ok(), free.contains(&path.as_str()), "{path}: {outcome:?}");
    }
}

type Forgery = (&'static str, Box<dyn Fn(&mut Value)>);

/// What a forger may do to the order of things, with a word of how it is found.
fn forgeries_of_order() -> Vec<Forgery> {
    let lines = |v: &mut Value| v["transcript"].as_array().unwrap().clone();
    vec![
        ("it was the turn of", Box::new(|v| drop(v["transcript"].as_array_mut().unwrap().remove(3)))),
        ("it was the turn of", Box::new(|v| v["transcript"].as_array_mut().unwrap().swap(2, 5))),
        (
            "it was the turn of",
            Box::new(|v| v["transcript"][0]["event"]["begun"]["suspect"] = "another".into()),
        ),
        ("begins once", Box::new(move |v| v["transcript"] = lines(v)[1..].to_vec().into())),
        ("beacon", Box::new(|v| v["commitment"]["beacon"]["seed"] = serde_json::json!(Hash([7; 32])))),
        ("leaf_root", Box::new(|v| v["commitment"]["digests"][0] = serde_json::json!(Hash([7; 32])))),
        ("laid open", Box::new(|v| drop(v["openings"].as_array_mut().unwrap().pop()))),
        ("laid open", Box::new(|v| v["openings"].as_array_mut().unwrap().swap(0, 1))),
        ("leaf ", Box::new(|v| v["openings"][0]["query"] = "another query".into())),
        (
            "leaf ",
            Box::new(|v| {
                let spec = Rule::Tilt(Tilt { positions: 4 }).spec();
                let hex: String = spec.iter().map(|byte| format!("{byte:02x}")).collect();
                v["openings"][0]["answer_spec"] = format!("0x{hex}").into();
            }),
        ),
    ]
}

/// What a forger may do to answers and sums. Line 4 holds one that was answered.
fn forgeries_of_answers() -> Vec<Forgery> {
    const DRAWS: &str = "/transcript/4/event/asked/draws";
    let rated = || serde_json::json!([{"piece": "0x20", "logprob": -1.0}]);
    let step = |v: &mut Value, name: &str, value: Value| {
        v.pointer_mut(&format!("{DRAWS}/0/answered/0")).unwrap()[name] = value;
    };
    vec![
        ("totals", Box::new(|v| v["totals"]["hits"] = (v["totals"]["hits"].as_u64().unwrap() + 1).into())),
        ("totals", Box::new(|v| v["transcript"][0]["event"]["begun"]["registrations"] = 2.into())),
        // An answer left out, as if it had been refused.
        (
            "laid open",
            Box::new(|v| *v.pointer_mut(DRAWS).unwrap() = serde_json::json!([{"refused": "silent"}])),
        ),
        (
            "asked again",
            Box::new(|v| {
                v["transcript"][0]["event"]["begun"]["frames"] =
                    serde_json::json!([{"before": "", "after": ""}, {"before": "x", "after": ""}]);
                let draws = v.pointer_mut(DRAWS).unwrap();
                *draws = serde_json::json!([draws[0], draws[0]]);
            }),
        ),
        ("no reference", Box::new(move |v| step(v, "reference", rated()))),
        ("in mode greedy", Box::new(move |v| step(v, "shown", rated()))),
    ]
}

/// A forger who also links the transcript anew and seals it.
#[test]
fn forgers_who_do_all_sums_again_are_found() {
    let (_, bundle) = bundle(Mode::Greedy, 1);
    let file: Value = serde_json::from_str(&bundle.to_json()).unwrap();
    let forge = |change: &dyn Fn(&mut Value)| {
        let mut file = file.clone();
        change(&mut file["evidence"]);
        let mut previous = Hash::ZERO;
        for line in file["evidence"]["transcript"].as_array_mut().unwrap() {
            line["previous"] = serde_json::json!(previous);
            previous = keccak256(line.to_string().as_bytes());
        }
        file["evidence"]["head"] = serde_json::json!(previous);
        let bundle = Bundle::parse(sealed(file).as_bytes(), Path::new("evidence.json"))?;
        bundle.verify(Some(&TOKENIZER))
    };
    forge(&|_| ()).unwrap();
    for (word, change) in forgeries_of_order().into_iter().chain(forgeries_of_answers()) {
        let error = forge(&*change).unwrap_err().to_string();
        assert!(error.contains(word), "{word}: {error}");
    }
}

/// Two letters that the tokenizer has as one token.
fn pair() -> String {
    let pieces = Pieces::new(&TOKENIZER);
    let two =
        pieces.all().iter().filter(|piece| piece.len() == 2 && piece.iter().all(u8::is_ascii_alphabetic));
    let mut texts = two.map(|piece| String::from_utf8(piece.clone()).unwrap());
    texts.find(|text| TOKENIZER.encode_plain(text).unwrap().len() == 1).unwrap()
}

/// Pieces that the tokenizer would not cut are found by whoever holds it.
#[test]
fn other_cuts_of_the_same_text_are_found() {
    let set = set(24, 2);
    let place = Place::new();
    /// Says one letter at a time what the tokenizer has as one token.
    struct Letters;
    impl Answerer for Letters {
        fn answer(&mut self, prompts: &[String], _: Ask) -> loyal_fingerprint::Result<Vec<Reply>> {
            let said = |letter: char| Said {
                token: TOKENIZER.token(&letter.to_string()).unwrap(),
                shown: Shown::Nothing,
            };
            Ok(prompts.iter().map(|_| Reply::Answered(pair().chars().map(said).collect())).collect())
        }
    }
    let transcript = place.path("letters.transcript");
    let hearing = Hearing {
        case: Case { set: &set, tokenizer: &TOKENIZER, reference: None },
        request: Request::all(&set, Mode::Greedy),
        suspect: "letters",
        route: Route::Completions,
        registrations: 1,
        reference: None,
        limit: usize::MAX,
    };
    let mut books = Books::new(&Still).with_transcript(&transcript);
    hearing::run(&mut Letters, &hearing, &mut books, &mut |_| ControlFlow::Continue(())).unwrap();
    let bundle = Bundle::new(&set, &Record::read(&transcript).unwrap()).unwrap();
    bundle.verify(None).unwrap();
    let error = bundle.verify(Some(&TOKENIZER)).unwrap_err().to_string();
    assert!(error.contains("not cut as the tokenizer cuts"), "{error}");
}

proptest! {
    /// What a transcript holds weighs the same after it was written and read, whatever the numbers.
    #[test]
    fn numbers_survive_being_written(bits in prop::collection::vec(any::<u32>(), 1..40)) {
        let numbers: Vec<f32> = bits.into_iter().map(f32::from_bits).filter(|x| x.is_finite()).collect();
        let text = serde_json::to_string(&numbers).unwrap();
        let read: Vec<f32> = serde_json::from_str(&text).unwrap();
        prop_assert!(numbers.iter().zip(&read).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
}
