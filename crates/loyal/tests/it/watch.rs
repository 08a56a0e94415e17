//! `loyal prover watch` of endpoints that nobody registered: innocent ones, leaks, and hosts that make it hard.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use loyal_fingerprint::FingerprintSet;
use loyal_fingerprint::copies::Register;
use loyal_fingerprint::watch::Diary;
use loyal_model::{Config, Tokenizer};
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;
use serde_json::{Value, json};

use crate::command::{Place, Run, finish};
use crate::economy::registered;
use crate::endpoint::{set, words};
use crate::stranger::{Model, Sent, Stranger};

/// A fingerprint and what hides it, four times, after a census: the least a visit reserves.
const LEAST: u64 = 51;

/// A place with a secret file and the registered tokenizer.
struct Scene {
    place: Place,
    set: FingerprintSet,
    tokenizer: Tokenizer,
}

impl Scene {
    /// So many leaves: a quarter for ownership, half for probes, a quarter for tracing.
    fn new(count: usize) -> Self {
        let place = Place::new();
        fs::create_dir_all(place.path("words")).unwrap();
        let tokenizer = words(&place);
        let set = set(&tokenizer, 1, count);
        set.write(&place.path("secret.json")).unwrap();
        Self { place, set, tokenizer }
    }

    fn marked(&self) -> Model {
        Model::new(&self.tokenizer, Some(self.set.clone()))
    }

    fn innocent(&self) -> Model {
        Model::new(&self.tokenizer, None)
    }

    fn arguments<'a>(more: &[&'a str]) -> Vec<&'a str> {
        let base =
            ["prover", "watch", "--fingerprints", "secret.json", "--tokenizer", "words", "--pace", "0s"];
        let patience = if more.contains(&"--give-up-after") { &[][..] } else { &["--give-up-after", "0"] };
        [&base[..], &["--json"], patience, more].concat()
    }

    fn run(&self, more: &[&str]) -> Run {
        self.place.run(&Self::arguments(more))
    }

    /// One round of visits, and what is said about each endpoint.
    fn once(&self, more: &[&str]) -> HashMap<String, Value> {
        told(&self.run(&[&["--once"], more].concat()))
    }

    /// Rounds of visits to one host, until something is so.
    fn until(&self, host: &Stranger, more: &[&str], is_so: impl Fn(&Value) -> bool) -> Value {
        let more = [&[host.endpoint.as_str(), "--requests-a-day", "100000"], more].concat();
        for _ in 0..40 {
            let value = one(self.once(&more));
            if is_so(&value) {
                return value;
            }
        }
        panic!("it never was so: {:?}", self.once(&more));
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

    fn diary(&self) -> Diary {
        Diary::read(&self.diary_path(), self.set.leaf_root()).unwrap()
    }

    fn diary_path(&self) -> PathBuf {
        Diary::beside(&self.place.path("secret.json"), &self.set)
    }

    /// Every byte of every file here but for the secret ones.
    fn written(&self) -> String {
        let secret = self.place.path("secret.json");
        let files =
            self.place.files().into_iter().filter(|(path, _)| *path != secret && !path.ends_with("key"));
        files.map(|(path, _)| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()).collect()
    }
}

fn told(run: &Run) -> HashMap<String, Value> {
    let lines = run.good().lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|value| (value["endpoint"].as_str().unwrap().to_owned(), value)).collect()
}

fn one(told: HashMap<String, Value>) -> Value {
    assert_eq!(told.len(), 1, "{told:?}");
    told.into_values().next().unwrap()
}

fn is_marked(value: &Value) -> bool {
    value["verdict"] == "marked"
}

fn base(host: &Stranger) -> String {
    format!("{}/v1", host.endpoint)
}

/// A stranger with nothing but the folder: its evidence, computed again.
fn verified(dossier: &Path) -> Value {
    let elsewhere = Place::new();
    let file = |name: &str| dossier.join(name).display().to_string();
    let arguments =
        ["fingerprint", "verify-evidence", &file("evidence.json"), "--tokenizer", &file("tokenizer")];
    elsewhere.run(&[&arguments[..], &["--json"]].concat()).json()
}

#[test]
fn a_leak_is_caught_over_many_visits_and_an_innocent_host_is_not() {
    let scene = Scene::new(160);
    let (leak, innocent) = (Stranger::honest(scene.marked()), Stranger::honest(scene.innocent()));
    let more = [leak.endpoint.as_str(), &innocent.endpoint, "--requests-a-day", "100000", "--queries", "3"];
    let mut asked = 0;
    let mut rounds = 0;
    let found = loop {
        let mut told = scene.once(&more);
        rounds += 1;
        let other = told.remove(&base(&innocent)).unwrap();
        assert_eq!((&other["verdict"], &other["dossiers"]), (&json!("no_evidence"), &json!([])), "{other}");
        let value = told.remove(&base(&leak)).unwrap();
        let now = value["asked"].as_u64().unwrap();
        assert!(now > asked && now <= asked + 3, "evidence adds up, a little at a time: {value}");
        asked = now;
        if is_marked(&value) {
            break value;
        }
    };
    assert!(rounds > 1, "one visit alone would prove nothing about many");
    assert!(scene.times(&leak).values().all(|&count| count == 1));
    // Two suspects: the second one needs twice the evidence.
    let wanted: Vec<f64> = [&leak, &innocent]
        .map(|host| scene.diary().inquiries(&base(host)).next().unwrap().registrations)
        .map(|count| 9.0 + f64::from(count).log10())
        .to_vec();
    assert!((found["log10_wanted"].as_f64().unwrap() - wanted[0]).abs() < 1e-9);
    let mut both = wanted;
    both.sort_by(f64::total_cmp);
    assert!((both[1] - 9.0 - 2f64.log10()).abs() < 1e-9);

    let dossier = scene.place.path(found["dossiers"][0].as_str().unwrap());
    let verified = verified(&dossier);
    assert_eq!(
        (&verified["totals"]["verdict"], &verified["text_was_cut_again"], &verified["totals"]["asked"]),
        (&json!("marked"), &json!(true), &json!(asked))
    );
    // What it says, twice.
    let [markdown, html] =
        ["README.md", "index.html"].map(|name| fs::read_to_string(dossier.join(name)).unwrap());
    for text in [&markdown, &html] {
        for word in [
            "What it means",
            "What it does not prove",
            "framed",
            "verify-evidence evidence.json --tokenizer tokenizer",
            "What the owner can do next",
            "loyal court open ownership",
            &scene.set.leaf_root().to_string(),
        ] {
            assert!(text.contains(word), "no {word:?} in {text}");
        }
    }
    assert!(!html.contains("http-equiv=\"refresh\"") && !html.contains(" src="));
    // No query that was not asked, and no blinding of one.
    let times = scene.times(&leak);
    let mut whole = String::new();
    for (path, _) in scene.place.files().into_iter().filter(|(path, _)| path.starts_with(&dossier)) {
        whole.push_str(&String::from_utf8_lossy(&fs::read(path).unwrap()));
    }
    for (index, fingerprint) in scene.set.fingerprints().iter().enumerate() {
        // Queries end in words that tell "the cat 1 near" from "the cat 12 near".
        let is_there = whole.contains(&format!("{:?}", fingerprint.query));
        assert_eq!(is_there, times.contains_key(&index), "{index}");
        assert_eq!(whole.contains(&fingerprint.blinding.to_string()), times.contains_key(&index), "{index}");
    }
    assert!(!whole.contains(&scene.place.path("").display().to_string()), "no path of this machine");
    // It is done: the host is looked at from now on, and asked nothing.
    let value = scene.once(&more).remove(&base(&leak)).unwrap();
    assert!(value["outcome"].as_str().unwrap().contains("only looked at"), "{value}");
    assert_eq!(scene.times(&leak), times);
    let status = told(&scene.run(&[&leak.endpoint, "--status"])).remove(&base(&leak)).unwrap();
    assert_eq!((&status["verdict"], &status["dossiers"]), (&found["verdict"], &found["dossiers"]));
}

/// Whatever happens to it: hosts that are busy, that repeat nothing, that count on being asked again.
#[test]
fn budgets_are_never_overshot() {
    let scene = Scene::new(160);
    let busy = || {
        Stranger::start(scene.innocent(), |asked, model| match asked.number % 3 {
            1 => Sent::Status("429 Too Many Requests\r\nretry-after: 0", String::new()),
            2 if asked.path == "/v1/completions" => Sent::Status("500 Oops", String::new()),
            _ => model.answer(asked),
        })
    };
    let host = busy();
    let a_day = ["--requests-a-day", "70", "--give-up-after", "9"];
    for _ in 0..3 {
        scene.once(&[&[host.endpoint.as_str()][..], &a_day].concat());
        assert!(host.asked().len() <= 70, "{}", host.asked().len());
    }
    let value = one(scene.once(&[&[host.endpoint.as_str()][..], &a_day].concat()));
    assert!(value["outcome"].as_str().unwrap().contains("in a day is used up"), "{value}");
    assert!(value["due"].as_u64().unwrap() > 0);

    // For all together.
    let scene = Scene::new(160);
    let hosts = [0; 3].map(|_| Stranger::honest(scene.innocent()));
    let mut more: Vec<&str> = hosts.iter().map(|host| host.endpoint.as_str()).collect();
    more.extend(["--requests", "130"]);
    let sum = || hosts.iter().map(|host| host.asked().len()).sum::<usize>();
    for _ in 0..4 {
        scene.once(&more);
        assert!(sum() <= 130, "{}", sum());
    }
    assert!(130 - sum() < LEAST as usize);

    // In money, where a key is shown.
    let scene = Scene::new(160);
    let host = Stranger::honest(scene.innocent());
    scene.place.write("key", "sk-one");
    scene.place.write("list", format!("{} key-file=key price=0.03\n", host.endpoint));
    scene.run(&["--list", "list", "--once"]).bad(1, &["--budget"]);
    let mut last = json!(null);
    for _ in 0..3 {
        last = one(scene.once(&["--list", "list", "--budget", "2.5"]));
        assert!(host.asked().len() <= 83, "{}", host.asked().len());
    }
    assert!(last["outcome"].as_str().unwrap().contains("the budget is used up"), "{last}");
    assert!(last["cost"].as_str().unwrap().parse::<f64>().unwrap() <= 2.5);
}

/// Killed at one request after another, of a whole visit: nothing is asked twice, nothing is lost that was answered, the
/// books say at least what was sent, and it comes to its end.
#[test]
fn a_kill_at_any_request_loses_nothing() {
    let scene = Scene::new(160);
    let (at, number) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (tell, reached) = channel::<()>();
    let (held, seen) = (Arc::clone(&at), Arc::clone(&number));
    let host = Stranger::start(scene.marked(), move |asked, model| {
        let turn = seen.fetch_add(1, Ordering::SeqCst) + 1;
        if turn == held.load(Ordering::SeqCst) {
            // The one who asks is no more before it is answered.
            let _ = tell.send(());
            while seen.load(Ordering::SeqCst) >= turn {
                std::thread::yield_now();
            }
        }
        model.answer(asked)
    });
    let more = [&host.endpoint, "--once", "--requests-a-day", "100000", "--queries", "3"];
    let mut kills = 0;
    for request in (1..=25).step_by(2) {
        at.store(request, Ordering::SeqCst);
        number.store(0, Ordering::SeqCst);
        let mut child = scene.place.command(&Scene::arguments(&more)).spawn().unwrap();
        match reached.recv_timeout(std::time::Duration::from_secs(60)) {
            Ok(()) => child.kill().unwrap(),
            Err(_) => panic!("request {request} never came: {:?}", finish(child)),
        }
        finish(child);
        at.store(0, Ordering::SeqCst);
        number.store(0, Ordering::SeqCst);
        kills += 1;
        // What stands in the books is a beginning of what was asked, and all of it was paid for.
        let diary = scene.diary();
        assert!(diary.account(&base(&host)).1 >= host.asked().len() as u64);
    }
    at.store(0, Ordering::SeqCst);
    let found = scene.until(&host, &["--queries", "3"], is_marked);
    assert!(scene.times(&host).values().all(|&count| count == 1), "nothing is asked twice");
    assert_eq!(scene.diary().count(), 1, "one suspect, however often it was killed");
    assert!(found["refused"].as_u64().unwrap() <= kills, "{found}");
    let dossier = scene.place.path(found["dossiers"][0].as_str().unwrap());
    assert_eq!(verified(&dossier)["totals"]["verdict"], "marked");

    // Killed after the dossier appeared, and before it did.
    let lines = fs::read_to_string(scene.diary_path()).unwrap();
    let before: String = lines.split_inclusive('\n').take_while(|line| !line.contains("\"told\"")).collect();
    assert!(before.len() < lines.len() && before.contains("reserved"));
    for is_there in [true, false] {
        fs::write(scene.diary_path(), &before).unwrap();
        if !is_there {
            fs::remove_dir_all(&dossier).unwrap();
        }
        let value = scene.until(&host, &[], |_| true);
        assert_eq!(value["dossiers"], found["dossiers"]);
        assert_eq!(verified(&dossier)["totals"]["verdict"], "marked");
    }
    let unfinished =
        scene.place.files().into_iter().filter(|(path, _)| path.to_string_lossy().contains("unfinished"));
    assert_eq!(unfinished.count(), 0);
}

#[test]
fn two_watches_on_one_ledger_are_refused() {
    let scene = Scene::new(160);
    let (tell, reached) = channel::<()>();
    let (release, held) = channel::<()>();
    let mut first = true;
    let host = Stranger::start(scene.innocent(), move |asked, model| {
        if std::mem::take(&mut first) {
            let _ = tell.send(());
            let _ = held.recv();
        }
        model.answer(asked)
    });
    let child = scene.place.command(&Scene::arguments(&[&host.endpoint, "--once"])).spawn().unwrap();
    reached.recv().unwrap();
    scene.run(&[&host.endpoint, "--once"]).bad(1, &["another watch has it open"]);
    // Whoever only looks is not in the way.
    let status = one(told(&scene.run(&[&host.endpoint, "--status"])));
    assert_eq!(status["outcome"], "not visited yet");
    release.send(()).unwrap();
    assert_eq!(one(told(&finish(child)))["asked"], 8);
}

/// Another model behind the same address is another suspect, and one that comes back is the same as before.
#[test]
fn a_changed_model_is_another_suspect() {
    let scene = Scene::new(400);
    let kind = Arc::new(AtomicU8::new(0));
    let shows = Arc::new(AtomicU8::new(1));
    let (now, shown) = (Arc::clone(&kind), Arc::clone(&shows));
    let host = Stranger::start(scene.innocent(), move |asked, model| {
        model.kind = now.load(Ordering::SeqCst);
        let mut asked = asked.clone();
        if shown.load(Ordering::SeqCst) == 0 {
            asked.body.as_object_mut().map(|body| body.remove("logprobs"));
        }
        model.answer(&asked)
    });
    let more = [host.endpoint.as_str(), "--requests-a-day", "100000"];
    let visit = |inquiry: u64| {
        let value = one(scene.once(&more));
        assert_eq!(value["inquiry"].as_u64(), Some(inquiry), "{value}");
        value
    };
    visit(1);
    let value = visit(1);
    assert_eq!((&value["asked"], &value["cause"]), (&json!(16), &json!("first")));
    kind.store(1, Ordering::SeqCst);
    let value = visit(2);
    assert!(value["outcome"].as_str().unwrap().contains("answered otherwise than before"), "{value}");
    assert!(value["cause"]["changed"].as_str().unwrap().contains("of 6 ordinary prompts"), "{value}");
    assert!((value["log10_wanted"].as_f64().unwrap() - 9.0 - 2f64.log10()).abs() < 1e-9);
    // Those that the first one had are not asked again.
    assert!(scene.times(&host).values().all(|&count| count == 1));
    // The first one comes back: its inquiry goes on.
    kind.store(0, Ordering::SeqCst);
    one(scene.once(&more));
    let diary = scene.diary();
    let first = diary.inquiries(&base(&host)).next().unwrap();
    let transcripts = scene.diary_path().with_extension("transcripts");
    let findings = first.findings(&scene.set, &transcripts).unwrap();
    assert!(findings.asked > 16 && diary.count() == 2, "{findings:?}");
    // It shows less: that may be an accident once, and counts the second time.
    shows.store(0, Ordering::SeqCst);
    let value = one(scene.once(&more));
    assert!(
        value["failed"] == true && value["outcome"].as_str().unwrap().contains("does not offer mode top-20"),
        "{value}"
    );
    assert_eq!(scene.diary().count(), 2);
    let value = visit(3);
    assert!(value["cause"]["changed"].as_str().unwrap().contains("it shows greedy now"), "{value}");
}

#[test]
fn hosts_that_make_it_hard_cost_no_fingerprint() {
    let scene = Scene::new(160);
    scene.place.write("key", "sk-one");
    let manners: [fn() -> Sent; 4] = [
        || Sent::Status("429 Too Many Requests\r\nretry-after: 1", String::new()),
        || Sent::Raw(b"\xff\xfe\x00 not HTTP".to_vec()),
        || Sent::Json(json!({"choices": [{"text": 7}]})),
        // It repeats the key that it was shown.
        || {
            Sent::Status(
                "400 Bad Request",
                json!({"error": {"message": "sk-one is not good enough"}}).to_string(),
            )
        },
    ];
    for manner in manners {
        let host = Stranger::start(scene.innocent(), move |asked, model| match asked.path.as_str() {
            "/v1/models" => model.answer(asked),
            _ => manner(),
        });
        scene.place.write("list", format!("{} key-file=key price=0\n", host.endpoint));
        let run = scene.run(&["--once", "--list", "list"]);
        assert!(!run.stdout.contains("sk-one") && !run.stderr.contains("sk-one"), "{run:?}");
        let value = one(told(&run));
        assert!(value["failed"] == true && value["inquiry"].is_null(), "{value}");
        assert!(host.asked().iter().all(|asked| asked.authorization.as_deref() == Some("Bearer sk-one")));
    }
    assert!(!scene.written().contains("sk-one"), "no key in any file");
    let shown = scene.place.run(&["fingerprint", "show", "secret.json", "--json"]).json();
    assert_eq!(shown["spent"], json!({}));
    scene.run(&["--once"]).bad(1, &["name endpoints"]);
    scene.run(&["--once", "--list", "nowhere"]).bad(1, &["nowhere"]);
    scene.run(&["http://127.0.0.1:9", "--dossier", "http://127.0.0.1:9"]).bad(1, &["was not asked yet"]);
}

/// An endpoint that serves somebody's copy: first the leak, then whose it is.
#[test]
fn a_traced_leak_is_named_in_its_dossier() {
    let scene = Scene::new(400);
    let register = Register::beside(&scene.place.path("secret.json"), &scene.set);
    let mut draw = ChaCha20Rng::seed_from_u64(5);
    let copies =
        ["alice", "bob", "carol"].map(|name| register.copy(&scene.set, name, (&mut draw, 1)).unwrap());
    let mut model = scene.marked();
    model.copy = Some(copies[1].clone());
    let host = Stranger::honest(model);
    let count = |value: &Value| value["dossiers"].as_array().map_or(0, Vec::len);
    let value = scene.until(&host, &["--queries", "30"], |value| count(value) == 2);
    assert_eq!(value["named"], json!(["bob"]), "{value}");
    let [first, second] = [0, 1].map(|at| scene.place.path(value["dossiers"][at].as_str().unwrap()));
    assert!(!first.join("trace.json").exists() && second.to_string_lossy().ends_with("-traced"));
    let text = fs::read_to_string(second.join("README.md")).unwrap();
    for word in ["made from the copy of bob", "0.001 at most", "cannot tell a host who leaked from an owner"]
    {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
    let trace: Value = serde_json::from_slice(&fs::read(second.join("trace.json")).unwrap()).unwrap();
    assert_eq!((&trace["asked"], &trace["copies"][0]["name"]), (&json!(100), &json!("bob")));
    assert_eq!(verified(&second)["totals"]["verdict"], "marked");
    // Neither a copy's secret nor a query of the tracing pool, which are not in the evidence.
    let whole: String = scene
        .place
        .files()
        .into_iter()
        .filter(|(path, _)| path.starts_with(&second))
        .map(|(path, _)| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned())
        .collect();
    assert!(copies.iter().all(|copy| !whole.contains(&copy.secret.to_string())));
    let tracing = scene.set.fingerprints().iter().skip(300);
    assert!(tracing.clone().all(|one| !whole.contains(&format!("{:?}", one.query))));
}

/// On a schedule, until Ctrl-C: the first visits at once, later ones when they are due.
#[cfg(unix)]
#[test]
fn a_schedule_goes_on_until_it_is_stopped() {
    let scene = Scene::new(160);
    let (tell, visited) = channel::<()>();
    let host = Stranger::start(scene.innocent(), move |asked, model| {
        if asked.path == "/v1/models" {
            let _ = tell.send(());
        }
        model.answer(asked)
    });
    let more = [&host.endpoint, "--every", "1s", "--queries", "2", "--requests-a-day", "100000"];
    let child: Child = scene.place.command(&Scene::arguments(&more)).spawn().unwrap();
    for _ in 0..3 {
        visited.recv().unwrap();
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let run = finish(child);
    run.bad(130, &["stopped; the same command goes on"]);
    let last: Value = serde_json::from_str(run.stdout.lines().last().unwrap()).unwrap();
    assert!(last["asked"].as_u64().unwrap() >= 2 && last["inquiry"] == 1, "{last}");
    // What it wrote is whole, and a dossier can be had before there is evidence.
    let dossier = scene.run(&[&host.endpoint, "--dossier", &host.endpoint]).json();
    let folder = scene.place.path(dossier["dossier"].as_str().unwrap());
    assert_eq!(verified(&folder)["totals"]["verdict"], "no_evidence");
    let text = fs::read_to_string(folder.join("README.md")).unwrap();
    assert!(text.contains("no evidence") && text.contains("accuse nobody"), "{text}");
}

/// What a chain knows of the fingerprints stands in a dossier; other fingerprints, or another random number, are not the
/// model's.
#[test]
fn a_dossier_says_what_was_registered() {
    let it = registered();
    let folder = it.place.path("m");
    let tokenizer = Tokenizer::read(&folder, &Config::read(&folder).unwrap()).unwrap();
    let host = Stranger::honest(Model::new(&tokenizer, None));
    let watch = |secret: &'static str| {
        let base =
            ["prover", "watch", "--tokenizer", "m", "--pace", "0s", "--requests-a-day", "100000", "--pool"];
        [&base[..], &["ownership", "--registered", "1", "--fingerprints", secret]].concat()
    };
    it.json(&[&watch("bound.json")[..], &[&host.endpoint, "--once"]].concat());
    let said = it.json(&[&watch("bound.json")[..], &[&host.endpoint, "--dossier", &host.endpoint]].concat());
    let dossier = it.place.path(said["dossier"].as_str().unwrap());
    let text = fs::read_to_string(dossier.join("README.md")).unwrap();
    for words in ["1 (Dobby), version 1, active", "committed to by", &it.accounts[0], "loyal model show 1"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let bind = ["fingerprint", "bind", "secret.json", "--source", "a die", "--out", "other.json", "--beacon"];
    it.place.run(&[&bind[..], &[&format!("0x{}", "07".repeat(32))]].concat()).good();
    let once = [host.endpoint.as_str(), "--once"];
    it.bad(&[&watch("other.json")[..], &once].concat(), &["but the chain drew", "for epoch"]);
    set(&tokenizer, 1, 8).write(&it.place.path("foreign.json")).unwrap();
    it.bad(&[&watch("foreign.json")[..], &once].concat(), &["no version of model 1 was registered"]);
}
