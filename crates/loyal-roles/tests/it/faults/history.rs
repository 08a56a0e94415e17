//! Histories in which anything happens at any time: at their end everybody has what the ledger says.

use loyal_access::caller::Caller;
use loyal_access::{Error, wallet::Wallet};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::accounts::{close, receipted};
use super::line::Break;
use super::stage::{Host, Stage, ask, hear, said};

/// What happens in one step.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A caller asks; its answer is cut after so many bytes, where it is.
    Ask {
        who: usize,
        is_stream: bool,
        cut: Option<usize>,
    },
    /// A caller's process ends, and another one opens its wallet.
    CallerDies {
        who: usize,
    },
    /// The host is killed, and another one opens its books.
    HostDies,
    /// The host's line breaks after so many requests.
    Cut {
        requests: usize,
        how: Break,
    },
    Mend,
    Pass {
        seconds: u64,
    },
    Turn,
}

fn step(random: &mut ChaCha8Rng) -> Step {
    let who = random.random_range(0..2);
    match random.random_range(0..20) {
        0..=7 => Step::Ask { who, is_stream: random.random(), cut: None },
        8..=10 => Step::Ask { who, is_stream: random.random(), cut: Some(random.random_range(0..2_500)) },
        11 => Step::CallerDies { who },
        12 | 13 => Step::HostDies,
        14 => {
            let how = if random.random() { Break::Before } else { Break::Behind };
            Step::Cut { requests: random.random_range(0..40), how }
        }
        15 | 16 => Step::Mend,
        17 => Step::Pass { seconds: random.random_range(1..4_000) },
        _ => Step::Turn,
    }
}

struct History {
    stage: Stage,
    host: Option<Host>,
    callers: [Option<Caller>; 2],
    seed: u8,
}

impl History {
    fn begin() -> Self {
        let stage = Stage::open();
        let host = Some(stage.host());
        let mut history = Self { stage, host, callers: [None, None], seed: 0 };
        for who in 0..2 {
            history.open_caller(who);
        }
        history
    }

    fn open_caller(&mut self, who: usize) {
        self.seed += 1;
        self.callers[who] = None;
        self.callers[who] = Some(self.stage.caller(who, &self.stage.credential(who), self.seed));
    }

    fn take(&mut self, number: usize, step: Step) {
        match step {
            Step::Ask { who, is_stream, cut } => self.ask(number, who, is_stream, cut),
            Step::CallerDies { who } => self.open_caller(who),
            Step::HostDies => {
                self.stage.cable.plug(None);
                self.host = None;
                // A host that does not see its chain does not begin.
                self.stage.line.mend();
                self.host = Some(self.stage.host());
            }
            Step::Cut { requests, how } => self.stage.line.cut_after(requests, how),
            Step::Mend => drop(self.stage.line.mend()),
            Step::Pass { seconds } => self.stage.town.pass(seconds),
            Step::Turn => {
                let _ = self.stage.turn(self.host.as_mut().expect("a host runs"));
            }
        }
    }

    fn ask(&mut self, number: usize, who: usize, is_stream: bool, cut: Option<usize>) {
        let caller = self.callers[who].as_ref().expect("a caller is there");
        let prompt = format!("a question of some words with the number {number}");
        if let Some(bytes) = cut {
            self.stage.cable.cut_after(bytes);
        }
        let mut text = String::new();
        let asked = if is_stream {
            hear(caller, &prompt, |piece| text.push_str(piece))
        } else {
            ask(caller, &prompt).map(|whole| text = whole)
        };
        self.stage.cable.mend();
        match asked {
            Ok(()) => assert_eq!(text, said(&prompt)),
            Err(
                Error::Connection { .. }
                | Error::Denied { status: 402 | 403 | 409 | 502 | 503, .. }
                | Error::AnswerGone,
            ) => {
                assert!(said(&prompt).starts_with(&text));
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// All is mended, everybody is served once more, and the accounts are closed.
    fn end(mut self) {
        self.stage.line.mend();
        let host = self.host.as_mut().expect("a host runs");
        assert!(self.stage.turn(host).failed.is_empty());
        for who in 0..2 {
            let caller = self.callers[who].as_ref().expect("a caller is there");
            // One for each channel there is.
            for n in 0..2 {
                ask(caller, &format!("the last but {n}")).unwrap();
            }
        }
        self.callers = [None, None];
        let charged = close(&self.stage, self.host.take().expect("a host runs"));
        for (who, charged) in charged.into_iter().enumerate() {
            assert_eq!(receipted(&self.stage, who), charged, "every charge has its receipt at its payer's");
            let book = Wallet::peek(self.stage.wallets[who].path()).unwrap();
            assert!(book.faults.is_empty(), "{:?}", book.faults);
        }
    }
}

#[test]
fn after_every_history_nobody_honest_has_lost_anything() {
    for seed in 0..6 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let steps: Vec<Step> = (0..40).map(|_| step(&mut random)).collect();
        let told = std::panic::catch_unwind(|| {
            let mut history = History::begin();
            for (number, step) in steps.iter().enumerate() {
                history.take(number, *step);
            }
            history.end();
        });
        assert!(told.is_ok(), "history {seed}: {steps:?}");
    }
}
