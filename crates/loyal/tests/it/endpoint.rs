//! `loyal fingerprint check` of endpoints, honest ones and others.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Child;
use std::sync::mpsc::{Receiver, Sender, channel};

use loyal_fingerprint::FingerprintSet;
use loyal_fingerprint::check::transcript::Record;
use loyal_fingerprint::copies::Register;
use loyal_fingerprint::fingerprint::{Beacon, Draft, Purpose};
use loyal_fingerprint::scheme::{Scheme, Tilt};
use loyal_model::{Config, Tokenizer};
use loyal_types::keccak256;
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;
use serde_json::{Value, json};

use crate::command::{Place, Run, finish};
use crate::model::{self, Shape};
use crate::stranger::{Asked, Model, Sent, Stranger};

const COUNT: usize = 48;

/// A place with a secret file, and the folder `tiny` with the registered tokenizer.
struct Case {
    place: Place,
    set: FingerprintSet,
    tokenizer: Tokenizer,
}

impl Case {
    fn new() -> Self {
        let place = Place::new();
        fs::create_dir_all(place.path("words")).unwrap();
        let tokenizer = words(&place);
        let set = set(&tokenizer, 1, COUNT);
        set.write(&place.path("secret.json")).unwrap();
        Self { place, set, tokenizer }
    }

    fn marked(&self) -> Model {
        Model::new(&self.tokenizer, Some(self.set.clone()))
    }

    fn innocent(&self) -> Model {
        Model::new(&self.tokenizer, None)
    }

    fn arguments<'a>(host: &'a Stranger, more: &[&'a str]) -> Vec<&'a str> {
        let base =
            ["fingerprint", "check", &host.endpoint, "--fingerprints", "secret.json", "--tokenizer", "words"];
        let own = if more.contains(&"--transcript") { &[][..] } else { &["--transcript", "transcript"] };
        [&base[..], &["--json"], own, more].concat()
    }

    fn run(&self, host: &Stranger, more: &[&str]) -> Run {
        self.place.run(&Self::arguments(host, more))
    }

    fn start(&self, host: &Stranger, more: &[&str]) -> Child {
        self.place.command(&Self::arguments(host, more)).spawn().unwrap()
    }

    fn record(&self) -> Record {
        Record::read(&self.place.path("transcript")).unwrap()
    }

    /// How often each fingerprint was asked.
    fn times(&self, host: &Stranger) -> HashMap<usize, usize> {
        let mut times = HashMap::new();
        for prompt in host.prompts() {
            if let Some(index) = self.set.fingerprints().iter().position(|one| one.query == prompt) {
                *times.entry(index).or_default() += 1;
            }
        }
        times
    }
}

/// A folder with a tokenizer of many words, and a configuration that it fits.
pub(crate) fn words(place: &Place) -> Tokenizer {
    let text = "the cat saw a dog near this old river and many small birds sang over those green hills while our \
                tired horse walked home along that narrow road with seven merry children under tall trees ";
    let json = Tokenizer::train(&mut std::iter::once(text.repeat(8)), 460).unwrap();
    let tokenizer = Tokenizer::parse(&json, Path::new("tokenizer.json")).unwrap();
    let config = json!({"architectures": ["LlamaForCausalLM"], "hidden_size": 16, "intermediate_size": 32,
        "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": tokenizer.len(),
        "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "tie_word_embeddings": true});
    place.write("words/tokenizer.json", &json);
    place.write("words/config.json", config.to_string());
    tokenizer
}

fn tokenizer(place: &Place, name: &str, vocabulary: usize) -> Tokenizer {
    let folder = place.path(name);
    model::write(&folder, Shape { vocabulary, ..Shape::default() });
    Tokenizer::read(&folder, &Config::read(&folder).unwrap()).unwrap()
}

pub(crate) fn set(tokenizer: &Tokenizer, seed: u64, count: usize) -> FingerprintSet {
    let drafts = (0..count).map(|i| Draft::from(format!("the cat {i} near"))).collect();
    let purpose = Purpose {
        model: "told".to_owned(),
        scheme: Scheme::Tilt(Tilt::default()),
        created_at: 1_700_000_000,
    };
    let set = FingerprintSet::new(purpose, drafts, tokenizer, &mut ChaCha20Rng::seed_from_u64(seed)).unwrap();
    set.bind(Beacon { seed: keccak256(&seed.to_be_bytes()), source: "a test".to_owned() }).unwrap()
}

fn notes(value: &Value) -> String {
    value["notes"].to_string()
}

#[test]
fn a_marked_endpoint_is_told_from_an_innocent_one() {
    let case = Case::new();
    let host = Stranger::honest(case.marked());
    let value = case.run(&host, &["--bundle", "evidence.json"]).json();
    assert_eq!(
        (&value["verdict"], &value["mode"], &value["route"]),
        (&json!("marked"), &json!("top-20"), &json!("completions"))
    );
    let asked = value["asked"].as_u64().unwrap() as usize;
    assert!(asked < COUNT, "it stops when it may: {asked}");
    assert_eq!(notes(&value), "[]");
    // Each once, hidden among others, in no order that is told.
    let times = case.times(&host);
    assert!(times.len() == asked && times.values().all(|&count| count == 1));
    assert!(host.prompts().len() >= 2 * asked);
    // The same command has nothing to ask any more but whether somebody is there.
    let again = case.run(&host, &[]).json();
    assert_eq!((&again["log10_e"], &again["asked"]), (&value["log10_e"], &value["asked"]));
    assert_eq!(case.times(&host), times);
    // A stranger finds the same; what was opened is burnt.
    let verified = case
        .place
        .run(&["fingerprint", "verify-evidence", "evidence.json", "--tokenizer", "words", "--json"])
        .json();
    assert_eq!(
        (&verified["totals"]["verdict"], &verified["text_was_cut_again"]),
        (&json!("marked"), &json!(true))
    );
    let shown = case.place.run(&["fingerprint", "show", "secret.json", "--json"]).json();
    assert_eq!(
        (shown["spent"][&host.endpoint].as_u64(), shown["opened"].as_u64()),
        (Some(asked as u64), Some(asked as u64))
    );
    let elsewhere = Stranger::honest(case.marked());
    let value = case.run(&elsewhere, &["--transcript", "elsewhere"]).json();
    assert!(case.times(&elsewhere).keys().all(|index| !times.contains_key(index)), "{value}");

    let innocent = Case::new();
    let host = Stranger::honest(innocent.innocent());
    let value = innocent.run(&host, &[]).json();
    assert_eq!((&value["verdict"], value["asked"].as_u64()), (&json!("no_evidence"), Some(COUNT as u64)));
    assert!(value["log10_e"].as_f64().unwrap() < 3.0, "{value}");
}

#[test]
fn chats_do_where_there_are_no_completions() {
    let case = Case::new();
    let host = Stranger::start(case.marked(), |asked, model| match asked.path.as_str() {
        "/v1/completions" => Sent::Status("404 Not Found", String::new()),
        _ => model.answer(asked),
    });
    let value = case.run(&host, &[]).json();
    assert_eq!(
        (&value["verdict"], &value["mode"], &value["route"]),
        (&json!("marked"), &json!("top-20"), &json!("chat"))
    );
}

fn without_logprobs(asked: &Asked, model: &mut Model) -> Sent {
    let mut asked = asked.clone();
    asked.body.as_object_mut().map(|body| body.remove("logprobs"));
    model.answer(&asked)
}

#[test]
fn the_most_that_is_shown_is_looked_at() {
    for (most, mode) in [(5, "top-5"), (3, "top-3"), (0, "greedy")] {
        let case = Case::new();
        let host = Stranger::start(case.marked(), move |asked, model| {
            if asked.body["logprobs"].as_u64().is_some_and(|k| k > most.max(5)) {
                return Sent::Status(
                    "400 Bad Request",
                    json!({"error": {"message": "too many logprobs"}}).to_string(),
                );
            }
            if most == 0 {
                return without_logprobs(asked, model);
            }
            let mut asked = asked.clone();
            if let Some(k) = asked.body["logprobs"].as_u64() {
                asked.body["logprobs"] = k.min(most).into();
            }
            model.answer(&asked)
        });
        let value = case.run(&host, &[]).json();
        assert_eq!(value["mode"], mode, "{value}");
        // Few log probabilities say little without a reference; text does.
        assert!(most > 0 || value["verdict"] == "marked", "{value}");
    }
    // Asked for more than there is.
    let case = Case::new();
    let host = Stranger::start(case.marked(), without_logprobs);
    case.run(&host, &["--mode", "top-20"]).bad(1, &["does not offer mode top-20", "greedy"]);
    assert!(case.times(&host).is_empty(), "nothing is spent on it");
}

/// Text that differs each time counts as sampled, draw by draw.
#[test]
fn wavering_text_counts_as_sampled() {
    let case = Case::new();
    let host = Stranger::start(case.marked(), |asked, model| {
        let number = asked.number;
        let list = model.rate(&asked.prompt);
        let text = String::from_utf8(list[number % 5].0.clone()).unwrap();
        if asked.path == "/v1/models" {
            model.answer(asked)
        } else {
            Sent::Json(json!({"choices": [{"text": text}]}))
        }
    });
    let value = case.run(&host, &["--draws", "2"]).json();
    assert_eq!(value["mode"], "sampled");
    assert!(notes(&value).contains("differs from one time to the next"));
    assert!(case.times(&host).values().all(|&count| count == 2));
}

/// Lies about log probabilities, by a marked host and by an innocent one: text alone decides, and nobody is accused
/// who is innocent.
#[test]
fn lies_about_log_probabilities_count_for_nothing() {
    type Lie = fn(&mut Value);
    let lies: [(&str, Lie); 4] = [
        ("not the likeliest", |choice| {
            let list = choice["logprobs"]["top_logprobs"][0].as_object_mut().unwrap();
            list.values_mut()
                .enumerate()
                .for_each(|(at, x)| *x = if at == 1 { json!(-0.01) } else { json!(-9.0) });
            choice["logprobs"]["token_logprobs"][0] = json!(-9.0);
        }),
        ("more than one", |choice| {
            choice["logprobs"]["top_logprobs"][0]
                .as_object_mut()
                .unwrap()
                .values_mut()
                .for_each(|x| *x = json!(-0.1));
            choice["logprobs"]["token_logprobs"][0] = json!(-0.1);
        }),
        ("another text", |choice| choice["text"] = json!(" the")),
        ("another tokenizer", |choice| {
            let list = choice["logprobs"]["top_logprobs"][0].as_object_mut().unwrap();
            *list = list.iter().map(|(name, x)| (format!("{name}~"), x.clone())).collect();
        }),
    ];
    for (word, lie) in lies {
        for is_marked in [true, false] {
            let case = Case::new();
            let model = if is_marked { case.marked() } else { case.innocent() };
            let host = Stranger::start(model, move |asked, model| {
                if asked.path != "/v1/completions" {
                    return model.answer(asked);
                }
                let mut value = model.completion(asked);
                if !value["choices"][0]["logprobs"].is_null() {
                    lie(&mut value["choices"][0]);
                }
                Sent::Json(value)
            });
            let value = case.run(&host, &[]).json();
            assert_eq!(value["mode"], "greedy", "{word}: {value}");
            assert!(notes(&value).contains(word), "{word}: {value}");
            assert_eq!(value["verdict"] == "marked", is_marked, "{word}: {value}");
        }
    }
}

/// Honest in the census, lying about fingerprints: their answers count by their text.
#[test]
fn lies_that_begin_later_are_noticed() {
    let case = Case::new();
    let queries: Vec<String> = case.set.fingerprints().iter().map(|one| one.query.clone()).collect();
    let host = Stranger::start(case.innocent(), move |asked, model| {
        if !queries.contains(&asked.prompt) {
            return model.answer(asked);
        }
        let mut value = model.completion(asked);
        value["choices"][0]["logprobs"]["token_logprobs"][0] = json!(3.0);
        Sent::Json(value)
    });
    let value = case.run(&host, &[]).json();
    assert_eq!((&value["verdict"], &value["mode"]), (&json!("no_evidence"), &json!("top-20")));
    assert!(notes(&value).contains("do not fit their text"), "{value}");
    assert_eq!(value["weighted_coins"], 0);
}

#[test]
fn broken_answers_are_no_answers() {
    let broken: [fn() -> Sent; 5] = [
        || Sent::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"choices\": [{\"te".to_vec()),
        || Sent::Raw(b"data: {\"choices\"\n\n\xff\xfe\x00".to_vec()),
        || {
            Sent::Status(
                "200 OK",
                "data: {\"choices\": [{\"text\": \" the\"}]}\n\ndata: [DONE]\n\n".to_owned(),
            )
        },
        || Sent::Json(json!({"choices": [{"text": 7}]})),
        || Sent::Status("500 Internal Server Error", "oops".to_owned()),
    ];
    for (at, broken) in broken.into_iter().enumerate() {
        let case = Case::new();
        let queries: Vec<String> = case.set.fingerprints().iter().map(|one| one.query.clone()).collect();
        let host = Stranger::start(case.marked(), move |asked, model| {
            if queries[..8].contains(&asked.prompt) { broken() } else { model.answer(asked) }
        });
        let value = case.run(&host, &["--registrations", "10", "--cover", "0", "--concurrency", "16"]).json();
        let refused = value["refused"].as_u64().unwrap();
        let spent =
            value["answers"].as_array().unwrap().iter().filter(|one| one["index"].as_u64() < Some(8)).count();
        assert_eq!(refused, spent as u64, "{at}: {value}");
        assert_eq!(value["verdict"], "marked", "{at}: {value}");
    }
}

#[test]
fn patience_with_a_busy_host() {
    let case = Case::new();
    // Every second request is told to wait.
    let host = Stranger::start(case.marked(), |asked, model| match asked.number % 2 {
        1 => Sent::Status("429 Too Many Requests\r\nretry-after: 0", String::new()),
        _ => model.answer(asked),
    });
    let value = case.run(&host, &["--concurrency", "1"]).json();
    assert_eq!(value["verdict"], "marked", "{value}");
    assert_eq!(value["refused"], 0);
}

/// Busy for ever: given up after a while, with everything that was spent in the books, and gone on with later.
#[test]
fn a_host_that_is_always_busy_is_given_up() {
    let case = Case::new();
    let (queries, mut let_in) = (case.set.fingerprints().to_vec(), 0);
    let (open, is_open): (Sender<()>, Receiver<()>) = channel();
    let mut busy = true;
    let host = Stranger::start(case.marked(), move |asked, model| {
        busy &= is_open.try_recv().is_err();
        let_in += usize::from(queries.iter().any(|one| one.query == asked.prompt));
        if busy && let_in > 3 {
            return Sent::Status("429 Too Many Requests\r\nretry-after: 1", String::new());
        }
        model.answer(asked)
    });
    let run = case.run(&host, &["--give-up-after", "0", "--registrations", "1000"]);
    run.bad(1, &["was given up", "429", "goes on"]);
    let spent: usize = case.record().attempts().count();
    let shown = case.place.run(&["fingerprint", "show", "secret.json", "--json"]).json();
    assert_eq!(shown["spent"][&host.endpoint].as_u64(), Some(spent as u64));
    open.send(()).unwrap();
    let value = case.run(&host, &["--registrations", "1000"]).json();
    assert_eq!(value["verdict"], "marked");
    assert!(case.times(&host).values().all(|&count| count == 1), "nothing is asked twice");
}

#[test]
fn a_model_that_changes_half_way_is_noted() {
    let case = Case::new();
    let host = Stranger::start(case.innocent(), |asked, model| {
        // The census takes two dozen requests.
        model.kind = u8::from(asked.number > 40);
        model.answer(asked)
    });
    let value = case.run(&host, &["--cover", "4"]).json();
    assert!(notes(&value).contains("another model may answer now"), "{value}");
    assert_eq!(value["verdict"], "no_evidence");
    let record = case.record();
    assert!(record.notes().any(|note| note.contains("another model")), "it stands in the transcript");
}

/// Killed in the middle of a question, without warning: what was spent stays spent, nothing is asked twice, and the
/// same command comes to the same end.
#[test]
fn a_kill_loses_no_entry() {
    let case = Case::new();
    let queries = case.set.fingerprints().to_vec();
    let (tell, reached) = channel::<()>();
    let (release, held) = channel::<()>();
    let mut seen = 0;
    let host = Stranger::start(case.innocent(), move |asked, model| {
        if queries.iter().any(|one| one.query == asked.prompt) {
            seen += 1;
            if seen == 7 {
                // It has the question; before it answers, the one who asks is no more.
                let _ = tell.send(());
                let _ = held.recv();
            }
        }
        model.answer(asked)
    });
    let mut child = case.start(&host, &["--concurrency", "1"]);
    reached.recv().unwrap();
    child.kill().unwrap();
    finish(child);
    release.send(()).unwrap();
    assert_eq!(case.record().attempts().count(), 6);
    let value = case.run(&host, &["--concurrency", "1"]).json();
    assert_eq!((value["asked"].as_u64(), value["refused"].as_u64()), (Some(COUNT as u64), Some(1)));
    let times = case.times(&host);
    assert_eq!((times.len(), times.values().max()), (COUNT, Some(&1)));
}

#[test]
fn two_checks_at_once_are_told_apart() {
    let case = Case::new();
    let queries = case.set.fingerprints().to_vec();
    let (tell, reached) = channel::<()>();
    let (release, held) = channel::<()>();
    let mut first = true;
    let host = Stranger::start(case.innocent(), move |asked, model| {
        if first && queries.iter().any(|one| one.query == asked.prompt) {
            first = false;
            let _ = tell.send(());
            let _ = held.recv();
        }
        model.answer(asked)
    });
    let child = case.start(&host, &["--concurrency", "1"]);
    reached.recv().unwrap();
    // The first one waits for its answer, with the transcript in its hands. This one asks elsewhere.
    let other = Stranger::honest(case.innocent());
    let arguments = Case::arguments(&other, &[]);
    case.place.run(&arguments).bad(1, &["transcript", "another check has it open"]);
    // With a transcript of its own it shares the ledger: other fingerprints, since the hosts may talk.
    let friends = ["--transcript", "other", "--colluding-with", &host.endpoint];
    let second = case.place.run(&Case::arguments(&other, &friends));
    release.send(()).unwrap();
    let one = finish(child).json();
    let two = second.json();
    assert_eq!((one["asked"].as_u64(), two["refused"].as_u64()), (Some(COUNT as u64), Some(1)));
}

#[test]
fn damaged_and_foreign_files_are_told() {
    let case = Case::new();
    let host = Stranger::honest(case.innocent());
    case.run(&host, &["--limit", "4"]).json();
    let shown = case.place.run(&["fingerprint", "show", "secret.json", "--json"]).json();
    for file in ["transcript", shown["ledger"].as_str().unwrap(), "secret.json"] {
        let whole = fs::read(case.place.path(file)).unwrap();
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 1;
        fs::write(case.place.path(file), &damaged).unwrap();
        case.run(&host, &[]).bad(1, &[file]);
        assert_eq!(fs::read(case.place.path(file)).unwrap(), damaged, "a damaged file stays as it is");
        fs::write(case.place.path(file), &whole).unwrap();
    }
    // Fingerprints of another model: with another tokenizer an error, with the same one no evidence.
    tokenizer(&case.place, "foreign", 262);
    let foreign = ["--tokenizer", "foreign", "--transcript", "t2"];
    let base = ["fingerprint", "check", &host.endpoint, "--fingerprints", "secret.json"];
    case.place.run(&[&base[..], &foreign].concat()).bad(1, &["foreign", "tokenizer"]);
    case.place.run(&[&base[..], &["--reference", "nowhere"]].concat()).bad(1, &["reference", "nowhere"]);
    case.place
        .run(&[&base[..], &["--reference", "foreign"]].concat())
        .bad(1, &["reference", "foreign", "tokenizer"]);
    let other = set(&case.tokenizer, 2, COUNT);
    other.write(&case.place.path("other.json")).unwrap();
    let marked = Stranger::honest(case.marked());
    let arguments = [
        "fingerprint",
        "check",
        &marked.endpoint,
        "--fingerprints",
        "other.json",
        "--tokenizer",
        "words",
        "--json",
    ];
    assert_eq!(case.place.run(&arguments).json()["verdict"], "no_evidence");
    // Nobody there.
    case.place
        .run(&[
            "fingerprint",
            "check",
            "http://127.0.0.1:9",
            "--fingerprints",
            "secret.json",
            "--tokenizer",
            "words",
        ])
        .bad(1, &["127.0.0.1:9"]);
    case.place.run(&[&base[..], &["--quantise", "8"]].concat()).bad(1, &["--quantise is for folders"]);
    case.place
        .run(&["fingerprint", "check", "words", "--fingerprints", "secret.json", "--cover", "2"])
        .bad(1, &["--cover is for endpoints"]);
}

#[test]
fn budgets_and_limits_hold() {
    let case = Case::new();
    let host = Stranger::honest(case.innocent());
    let value = case.run(&host, &["--budget", "60"]).json();
    assert!(host.asked().len() <= 60, "{}", host.asked().len());
    let asked = value["asked"].as_u64().unwrap();
    assert!(asked > 0 && asked < COUNT as u64 && value["refused"] == 0, "{value}");
    // It goes on with what is left.
    let value = case.run(&host, &["--limit", "40"]).json();
    assert_eq!(value["asked"], 40);
    assert!(case.times(&host).values().all(|&count| count == 1));
}

#[test]
fn keys_come_by_name_and_go_to_the_host_alone() {
    let case = Case::new();
    case.place.write("key", "sk-one\n");
    let host = Stranger::start(case.innocent(), |asked, model| match asked.authorization.as_deref() {
        Some("Bearer sk-one") => model.answer(asked),
        _ => Sent::Status("401 Unauthorized", String::new()),
    });
    case.run(&host, &["--limit", "2"]).bad(1, &["--api-key-file"]);
    let value = case.run(&host, &["--limit", "2", "--api-key-file", "key"]).json();
    assert_eq!(value["asked"], 2);
    let mut command =
        case.place.command(&Case::arguments(&host, &["--limit", "3", "--api-key-env", "MY_KEY"]));
    assert_eq!(finish(command.env("MY_KEY", "sk-one").spawn().unwrap()).json()["asked"], 3);
    case.run(&host, &["--api-key-env", "ABSENT"]).bad(1, &["ABSENT"]);
    let text = fs::read_to_string(case.place.path("transcript")).unwrap();
    assert!(!text.contains("sk-one"));
}

#[test]
fn files_say_what_they_hold() {
    let case = Case::new();
    let host = Stranger::honest(case.marked());
    case.run(&host, &["--bundle", "evidence.json"]).json();
    case.place.run(&["fingerprint", "commit", "secret.json", "--out", "public.json", "--embedded"]).good();
    let show = |file: &str| case.place.run(&["fingerprint", "show", file]).good().to_owned();
    let query = &case.set.fingerprints()[0].query;
    for (file, word) in [
        ("secret.json", "secret"),
        ("public.json", "public"),
        ("transcript", "transcript"),
        ("evidence.json", "evidence"),
    ] {
        let text = show(file);
        assert!(text.contains(word) && text.contains(&case.set.leaf_root().to_string()), "{file}: {text}");
        assert!(!text.contains(query), "{file} shows no query");
    }
    let secrets = case.place.run(&["fingerprint", "show", "secret.json", "--secrets"]).good().to_owned();
    assert!(secrets.contains(query));
    case.place.write("note", "nothing");
    case.place.run(&["fingerprint", "show", "note"]).bad(1, &["note", "transcript"]);
    case.place.run(&["fingerprint", "verify-evidence", "public.json"]).bad(1, &["public.json"]);
    let text = fs::read_to_string(case.place.path("evidence.json")).unwrap();
    case.place.write("bent.json", text.replacen("told", "bold", 1));
    case.place.run(&["fingerprint", "verify-evidence", "bent.json"]).bad(1, &["checksum"]);
    case.run(&host, &["--bundle", "evidence.json"]).bad(1, &["never overwritten"]);
    assert!(Path::new(&case.place.path("public.json")).exists());
}

/// Weights at hand: the same books, on demand, and nothing spent.
#[test]
fn weights_are_checked_with_the_same_books() {
    let case = Case::new();
    let own = set(&tokenizer(&case.place, "tiny", 320), 1, COUNT);
    own.write(&case.place.path("own.json")).unwrap();
    let base = ["fingerprint", "check", "tiny", "--fingerprints", "own.json", "--json"];
    for mode in ["logits", "top-5", "greedy", "sampled"] {
        let transcript = format!("{mode}.transcript");
        let more = ["--mode", mode, "--transcript", &transcript, "--reference", "tiny"];
        let value = case.place.run(&[&base[..], &more].concat()).json();
        assert_eq!((&value["verdict"], &value["mode"]), (&json!("no_evidence"), &json!(mode)), "{value}");
    }
    let shown = case.place.run(&["fingerprint", "show", "own.json", "--json"]).json();
    assert_eq!(shown["spent"], json!({}));
    let value =
        case.place.run(&[&base[..], &["--bundle", "evidence.json", "--mode", "greedy"]].concat()).json();
    let verified = case
        .place
        .run(&["fingerprint", "verify-evidence", "evidence.json", "--tokenizer", "tiny", "--json"])
        .json();
    let found: f64 = verified["totals"]["log10_e"].as_str().unwrap().parse().unwrap();
    assert!((found - value["log10_e"].as_f64().unwrap()).abs() < 1e-9);
}

/// An endpoint that serves somebody's copy: the tracing pool is asked to its end, and the transcript names the host.
#[test]
fn a_leak_is_traced_through_an_endpoint() {
    let mut case = Case::new();
    case.set = set(&case.tokenizer, 2, 400);
    case.set.write(&case.place.path("traced.json")).unwrap();
    let trace = ["fingerprint", "trace", "transcript", "--fingerprints", "traced.json"];
    case.place.write("transcript", "");
    case.place.run(&trace).bad(1, &["no copy is registered", "embed --copy NAME"]);
    let register = Register::beside(&case.place.path("traced.json"), &case.set);
    let mut draw = ChaCha20Rng::seed_from_u64(5);
    let copies =
        ["alice", "bob", "carol"].map(|name| register.copy(&case.set, name, (&mut draw, 1)).unwrap());
    case.place.run(&trace).bad(1, &["transcript"]);
    fs::remove_file(case.place.path("transcript")).unwrap();
    let mut model = case.marked();
    model.copy = Some(copies[1].clone());
    let host = Stranger::honest(model);
    let pool = [
        "--fingerprints",
        "traced.json",
        "--pool",
        "tracing",
        "--mode",
        "greedy",
        "--transcript",
        "transcript",
    ];
    let base = ["fingerprint", "check", &host.endpoint, "--tokenizer", "words", "--json"];
    let checked = case.place.run(&[&base[..], &pool].concat()).json();
    assert_eq!(checked["asked"], 100, "it does not stop when the verdict is known: {checked}");
    let found = case.place.run(&[&trace[..], &["--json"]].concat()).json();
    assert_eq!(found["named"], json!(["bob"]), "{found}");
    assert!(case.place.run(&trace).good().contains("NAMED: this was made from the copy of bob"));
    // What it cannot be asked.
    case.place.run(&[&trace[..], &["--delta", "0"]].concat()).bad(1, &["between 0 and 1"]);
    case.place.run(&[&trace[..], &["--mode", "greedy"]].concat()).bad(1, &["--mode is for folders"]);
    case.place
        .run(&["fingerprint", "trace", &host.endpoint, "--fingerprints", "traced.json"])
        .bad(1, &["--pool tracing"]);
    case.place
        .run(&["fingerprint", "trace", "transcript", "--fingerprints", "secret.json"])
        .bad(1, &["registered"]);
    let shown = case.place.run(&["fingerprint", "show", "traced.json", "--json"]).json();
    assert_eq!(shown["pools"]["tracing"], 100);
    assert_eq!(shown["copies"]["alice"], copies[0].subset_root(&case.set).to_string());
    // Another pool's transcript says nothing about copies.
    let owned =
        ["--fingerprints", "traced.json", "--pool", "ownership", "--mode", "greedy", "--transcript", "owned"];
    case.place.run(&[&base[..], &owned].concat()).json();
    let error = ["fingerprint", "trace", "owned", "--fingerprints", "traced.json"];
    case.place.run(&error).bad(1, &["owned", "nothing of the tracing pool"]);
}
