//! What a check leaves: its transcript, and the evidence that strangers read.

use std::ops::ControlFlow;
use std::sync::LazyLock;
use std::time::Duration;

use loyal_fingerprint::check::transcript::{Record, Route};
use loyal_fingerprint::check::{
    Answerer, Ask, Books, Bundle, Case, Hearing, Mode, Reply, Request, Said, Shown, hearing,
};
use loyal_fingerprint::watch::{Allowance, Cause, Diary, Matter, Outcome, Portrait};
use loyal_model::Tokenizer;
use loyal_types::Clock;

use super::fingerprint::{SET, mend_checksum};
use super::{FOLDER, HELD_BYTES_BASE, Target, nowhere};

pub(super) const TRANSCRIPT: Target = Target {
    name: "transcript",
    run: transcript,
    dictionary: WORDS,
    mend: None,
    make: Some(|| TEXT.clone()),
    held_bytes_base: HELD_BYTES_BASE,
};

pub(super) const BUNDLE: Target = Target {
    name: "bundle",
    run: bundle,
    dictionary: WORDS,
    mend: Some(mend_checksum),
    make: Some(|| {
        let record = Record::parse(&TEXT, nowhere()).expect("it was just written");
        Bundle::new(&SET, &record).expect("the transcript is the set's").to_json().into_bytes()
    }),
    held_bytes_base: HELD_BYTES_BASE,
};

pub(super) const DIARY: Target = Target {
    name: "diary",
    run: diary,
    dictionary: &[
        "\"reserved\"",
        "\"settled\"",
        "\"opened\"",
        "\"told\"",
        "\"requests\"",
        "\"cost\"",
        "\"inquiry\"",
        "\"portrait\"",
        "\"visited\"",
        "\"failed\"",
        "18446744073.709551615",
    ],
    mend: None,
    make: Some(|| DIARY_TEXT.clone()),
    held_bytes_base: HELD_BYTES_BASE,
};

const WORDS: &[&str] = &[
    "\"previous\"",
    "\"time\"",
    "\"event\"",
    "\"begun\"",
    "\"asked\"",
    "\"noted\"",
    "\"draws\"",
    "\"answered\"",
    "\"refused\"",
    "\"piece\"",
    "\"shown\"",
    "\"reference\"",
    "\"logprob\"",
    "\"top-255\"",
    "\"greedy\"",
    "\"sampled\"",
    "\"openings\"",
    "\"answer_spec\"",
    "\"proof\"",
    "\"siblings\"",
    "1e39",
    "\n",
];

/// A transcript of a host that answers one fingerprint and refuses the other.
static TEXT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let tokenizer = include_bytes!("../../corpus/tokenizer_json/byte_level.json");
    let tokenizer = Tokenizer::parse(tokenizer, nowhere()).expect("the corpus has a good tokenizer");
    let hearing = Hearing {
        case: Case { set: &SET, tokenizer: &tokenizer, reference: None },
        request: Request { batch: 1, ..Request::all(&SET, Mode::Top(3)) },
        suspect: "https://host.example/v1#small",
        route: Route::Completions,
        registrations: 1,
        reference: None,
        limit: usize::MAX,
    };
    let path = FOLDER.path().join("made.transcript");
    let mut books = Books::new(&Still).with_transcript(&path);
    let mut go_on = |_: &hearing::Progress| ControlFlow::Continue(());
    hearing::run(&mut Host, &hearing, &mut books, &mut go_on).expect("a folder of our own can be written to");
    std::fs::read(path).expect("it was just written")
});

struct Host;

impl Answerer for Host {
    fn answer(&mut self, prompts: &[String], _: Ask) -> loyal_fingerprint::Result<Vec<Reply>> {
        let reply = |prompt: &String| match prompt.as_str() {
            "Once upon a time" => {
                let shown = Shown::Top(vec![(41, -0.5), (40, -1.25), (60, -3.0)]);
                Reply::Answered(vec![Said { token: 41, shown }])
            }
            _ => Reply::Refused("no".to_owned()),
        };
        Ok(prompts.iter().map(reply).collect())
    }
}

struct Still;

impl Clock for Still {
    fn unix_seconds(&self) -> u64 {
        1_700_000_000
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

/// A transcript; what is read can be summed up, and made into evidence or refused.
fn transcript(bytes: &[u8]) -> Result<(), String> {
    let record = Record::parse(bytes, nowhere()).map_err(|error| error.to_string())?;
    std::hint::black_box((record.header(), record.attempts().count(), record.notes().count(), record.head()));
    std::hint::black_box(Bundle::new(&SET, &record).is_ok());
    Ok(())
}

/// Evidence; whatever it says, computing it again comes to an end.
fn bundle(bytes: &[u8]) -> Result<(), String> {
    let bundle = Bundle::parse(bytes, nowhere()).map_err(|error| error.to_string())?;
    std::hint::black_box(bundle.verify(None).is_ok());
    Ok(())
}

/// The diary of a watch with a visit, an inquiry and a dossier.
static DIARY_TEXT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let path = FOLDER.path().join("made.watch");
    let write = || -> loyal_fingerprint::Result<()> {
        let mut diary = Diary::open(&path, SET.leaf_root(), (0, 1))?;
        let price = "0.0004".parse()?;
        let allowance = Allowance { a_day: 100, in_all: None, money: Some("5".parse()?), price };
        diary.reserve("https://host.example/v1", 1..=50, &allowance, 2)?;
        let said = [Said { token: 41, shown: Shown::Top(vec![(41, -0.5), (40, -1.25)]) }];
        diary.inquire(
            Matter {
                endpoint: "https://host.example/v1".to_owned(),
                suspect: "https://host.example/v1#small".to_owned(),
                cause: Cause::First,
                route: Route::Completions,
                mode: Mode::Top(3),
                draws: 1,
                pool: Some(loyal_fingerprint::Pool::Probes),
                reference: None,
                portrait: Portrait::of(std::iter::once(("The sea was", Some(&said[..])))),
            },
            3,
        )?;
        let outcome = Outcome::Visited("8 fingerprints asked".to_owned());
        diary.settle("https://host.example/v1", 40, (5, outcome), 4)?;
        diary.tell(1, "dossier", 5)
    };
    write().expect("a folder of our own can be written to");
    std::fs::read(path).expect("it was just written")
});

fn diary(bytes: &[u8]) -> Result<(), String> {
    Diary::parse(bytes, nowhere(), SET.leaf_root()).map(drop).map_err(|error| error.to_string())
}
