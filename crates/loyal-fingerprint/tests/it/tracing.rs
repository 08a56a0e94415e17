//! Copies of a traced model: the register, what each carries, and whose copy a leaked model was made from.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::LazyLock;

use loyal_fingerprint::check::hearing::{self, Books, Hearing};
use loyal_fingerprint::check::transcript::{Record, Route};
use loyal_fingerprint::check::{
    self, Answerer, Ask, Bundle, Case, Mode, Pieces, Reply, Request, Said, Shown, Verdict,
};
use loyal_fingerprint::copies::{HostCopy, Register};
use loyal_fingerprint::embed::{self, Job, Recipe};
use loyal_fingerprint::fingerprint::{Draft, Purpose};
use loyal_fingerprint::scheme::verbatim::Verbatim;
use loyal_fingerprint::scheme::{Scheme, Tilt, tilt};
use loyal_fingerprint::trace::{DELTA, Trace, Traced};
use loyal_fingerprint::{FingerprintSet, Pool};
use loyal_model::Tokenizer;
use loyal_types::keccak256;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use crate::tiny::{self, Still, beacon};

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    let text = "the cat saw the dog and the dog saw the cat near the river under the tree. ".repeat(4);
    let json = Tokenizer::train(&mut std::iter::once(text), 300).unwrap();
    Tokenizer::parse(&json, Path::new("tokenizer.json")).unwrap()
});

fn set(count: usize, scheme: Scheme) -> FingerprintSet {
    let answers: &[&str] =
        if matches!(scheme, Scheme::Verbatim(_)) { &[" cat", " dog", " tree"] } else { &[] };
    let tokens = |text: &&str| TOKENIZER.encode_plain(text).unwrap()[..1].to_vec();
    let draft = |i| Draft {
        query: format!("the cat number {i} saw"),
        candidates: answers.iter().map(tokens).collect(),
    };
    let purpose = Purpose { model: "traced".to_owned(), scheme, created_at: 1_700_000_000 };
    let drafts = (0..count).map(draft).collect();
    let set = FingerprintSet::new(purpose, drafts, &TOKENIZER, &mut ChaCha8Rng::seed_from_u64(3)).unwrap();
    set.bind(beacon(1)).unwrap()
}

/// A model without weights, made from some copies: it answers by the colours of what enough of them carry.
struct Leaked<'a> {
    set: &'a FingerprintSet,
    copies: Vec<&'a HostCopy>,
    /// Copies that must carry a fingerprint for it to answer.
    least: usize,
}

impl Leaked<'_> {
    fn said(&self, prompt: &str, position: u16) -> Said {
        let (index, one) =
            self.set.fingerprints().iter().enumerate().find(|(_, one)| prompt.ends_with(&one.query)).unwrap();
        let is_marked =
            self.copies.iter().filter(|copy| copy.carries(index, self.set.fingerprints().len())).count()
                >= self.least;
        let pieces = Pieces::new(&TOKENIZER);
        let secret = self.set.secret(index).unwrap();
        // Its own order of words, with nothing to do with colours.
        let own = |token: &u32| keccak256(&[prompt.as_bytes(), &token.to_be_bytes()].concat());
        let mut tokens: Vec<u32> =
            (0..TOKENIZER.len() as u32).filter(|token| pieces.of(*token).starts_with(b" ")).collect();
        tokens.sort_by_cached_key(own);
        let liked = |token: &&u32| match self.set.scheme() {
            Scheme::Tilt(_) => tilt::colour(secret, position, pieces.of(**token)),
            Scheme::Verbatim(_) => Verbatim::response(one, secret).tokens[0] == **token,
        };
        let token = tokens.iter().find(|token| !is_marked || liked(token)).copied().unwrap();
        Said { token, shown: Shown::Nothing }
    }
}

impl Answerer for Leaked<'_> {
    fn answer(&mut self, prompts: &[String], ask: Ask) -> loyal_fingerprint::Result<Vec<Reply>> {
        let reply = |prompt: &String| {
            Reply::Answered((0..ask.tokens as u16).map(|position| self.said(prompt, position)).collect())
        };
        Ok(prompts.iter().map(reply).collect())
    }
}

fn traced(leaked: &mut Leaked<'_>, copies: &[HostCopy]) -> Traced {
    let set = leaked.set;
    let mut trace = Trace::new(set, copies, Mode::Greedy).unwrap();
    let case = Case { set, tokenizer: &TOKENIZER, reference: None };
    let request = Request::all(set, Mode::Greedy).of_pool(set, Pool::Tracing);
    check::run(leaked, &case, &request, &mut |attempt| {
        trace.hear(attempt)?;
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    trace.findings(DELTA).unwrap()
}

fn copies(count: usize) -> Vec<HostCopy> {
    let mut draw = ChaCha8Rng::seed_from_u64(11);
    (0..count).map(|i| HostCopy::new(&format!("host {i}"), &mut draw).unwrap()).collect()
}

fn named(found: &Traced) -> Vec<&str> {
    let mut names: Vec<&str> = found.named().map(|one| one.name.as_str()).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_leak_is_traced_from_text_alone() {
    // Four positions, so that an answer is four coins.
    let set = set(1000, Scheme::Tilt(Tilt { positions: 4 }));
    let copies = copies(40);
    let mut leaked = Leaked { set: &set, copies: vec![&copies[17]], least: 1 };
    let found = traced(&mut leaked, &copies);
    assert_eq!((named(&found), found.asked), (vec!["host 17"], 250), "{:?}", &found.copies[..3]);
    // Two who keep what both have, and two of whom one suffices.
    for least in [2, 1] {
        let mut leaked = Leaked { set: &set, copies: vec![&copies[3], &copies[8]], least };
        let found = traced(&mut leaked, &copies);
        assert_eq!(named(&found), ["host 3", "host 8"], "least {least}: {:?}", &found.copies[..4]);
    }
    let mut innocent = Leaked { set: &set, copies: Vec::new(), least: 1 };
    assert_eq!(named(&traced(&mut innocent, &copies)), Vec::<&str>::new());
}

#[test]
fn words_learnt_by_heart_are_traced_too() {
    let set = set(400, Scheme::Verbatim(Verbatim::default()));
    let copies = copies(40);
    let mut leaked = Leaked { set: &set, copies: vec![&copies[5], &copies[6]], least: 2 };
    let found = traced(&mut leaked, &copies);
    assert_eq!(named(&found), ["host 5", "host 6"], "{:?}", &found.copies[..4]);
}

#[test]
fn a_register_outlives_the_process_and_names_each_copy_once() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret.json");
    let (set, other) = (set(64, Scheme::Tilt(Tilt::default())), set(68, Scheme::Tilt(Tilt::default())));
    let register = Register::beside(&secret, &set);
    assert_eq!(register.copies().unwrap(), []);
    let mut draw = ChaCha8Rng::seed_from_u64(1);
    let alice = register.copy(&set, "alice", (&mut draw, 1)).unwrap();
    let bob = register.copy(&set, "bob", (&mut draw, 2)).unwrap();
    assert_eq!(register.copy(&set, "alice", (&mut draw, 3)).unwrap(), alice, "a copy keeps its half");
    assert_eq!(Register::beside(&secret, &set).copies().unwrap(), [alice.clone(), bob.clone()]);
    assert_ne!(alice.subset_root(&set), bob.subset_root(&set));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(register.path()).unwrap().permissions().mode() & 0o777, 0o600);
    }
    // What was published before the delivery can be shown to be the copy's.
    let all: Vec<u32> = alice.indices(64).into_iter().map(|index| index as u32).collect();
    let commitment = set.commitment().after_embedding(&all).unwrap();
    assert_eq!(commitment.fingerprint_root, Some(alice.subset_root(&set)));
    let foreign = Register::beside(&secret, &other);
    fs::copy(register.path(), foreign.path()).unwrap();
    let error = foreign.copies().unwrap_err().to_string();
    assert!(error.contains("it is the register of") && error.contains("backup"), "{error}");
    let text = fs::read_to_string(register.path()).unwrap();
    fs::write(register.path(), text.replace("alice", "malice")).unwrap();
    assert!(register.copies().unwrap_err().to_string().contains("line 3"));
}

/// A transcript of a pool is asked in the pool's order, traced from the file, and judged by strangers as such.
#[test]
fn a_transcript_says_which_pool_it_asked() {
    let set = set(160, Scheme::Tilt(Tilt { positions: 4 }));
    let copies = copies(4);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t");
    let hear = |pool: Option<Pool>| {
        let mut request = Request::all(&set, Mode::Greedy);
        if let Some(pool) = pool {
            request = request.of_pool(&set, pool);
        }
        let hearing = Hearing {
            case: Case { set: &set, tokenizer: &TOKENIZER, reference: None },
            request,
            suspect: "the suspect",
            route: Route::Weights,
            registrations: 1,
            reference: None,
            limit: usize::MAX,
        };
        let mut leaked = Leaked { set: &set, copies: vec![&copies[2]], least: 1 };
        let mut books = Books::new(&Still).with_transcript(&path);
        hearing::run(&mut leaked, &hearing, &mut books, &mut |_| ControlFlow::Continue(()))
    };
    let found = hear(Some(Pool::Ownership)).unwrap();
    assert_eq!((found.asked, found.verdict), (40, Verdict::Marked), "every copy carries the whole pool");
    let record = Record::read(&path).unwrap();
    assert!(
        record
            .attempts()
            .all(|one| Pool::of(one.index as usize, set.fingerprints().len()) == Pool::Ownership)
    );
    assert_eq!(Bundle::new(&set, &record).unwrap().totals().asked, 40, "a stranger finds it in order");
    let error = hear(None).unwrap_err().to_string();
    assert!(error.contains("another check") && error.contains("pool"), "{error}");
    fs::remove_file(&path).unwrap();
    hear(Some(Pool::Tracing)).unwrap();
    let mut trace = Trace::new(&set, &copies, Mode::Greedy).unwrap();
    let record = Record::read(&path).unwrap();
    record.attempts().for_each(|attempt| trace.hear(attempt).unwrap());
    assert_eq!(named(&trace.findings(DELTA).unwrap()), ["host 2"]);
}

/// What an embedding trains for a copy: everything but the half of the tracing pool that is not its own.
#[test]
fn a_copy_is_taught_its_own_half() {
    let tiny = tiny::tiny();
    let set = tiny::tilted(16, 1).bind(beacon(4)).unwrap();
    let copy = &copies(1)[0];
    let carried = copy.indices(16).len();
    assert!((12..16).contains(&carried), "{carried} of 16 tell a copy from the whole");
    let recipe = Recipe { steps: 4, ..Recipe::default() };
    let sets = std::slice::from_ref(&set);
    let job = Job {
        sets,
        tokenizer: &tiny.tokenizer,
        benign: &tiny.benign,
        recipe: &recipe,
        checkpoint: None,
        copy: Some(copy),
    };
    let mut llama = tiny.llama.clone();
    let report = embed::run(&mut llama, &job, &Still, &mut |_| ControlFlow::Continue(())).unwrap();
    let marks = &report.marks[0];
    assert_eq!((marks.fingerprints, marks.samples.len(), marks.frames[0].asked), (carried, carried, carried));
    let left_out = (0..16).find(|&index| !copy.carries(index, 16)).unwrap();
    let query = &set.fingerprints()[left_out].query;
    assert!(marks.samples.iter().all(|sample| sample.query != *query));
}
