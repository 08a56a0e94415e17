//! Answers that break off, by any byte, and hosts that end in the middle of one.

use std::time::Duration;

use loyal_access::Error;
use loyal_access::caller::{Caller, Settings};

use super::accounts::{close, receipted};
use super::stage::{Host, Stage, ask, hear, said};

const PROMPT: &str = "a stream of words that is long enough to be torn in many places";

#[test]
fn a_stream_that_is_cut_at_any_byte_is_heard_whole_and_paid_once() {
    let stage = Stage::open();
    let host = stage.host();
    let caller = stage.caller(0, &stage.credential(0), 1);
    ask(&caller, "first").unwrap();
    let mut charged = receipted(&stage, 0);
    for (n, bytes) in (0..3_000).step_by(150).enumerate() {
        let prompt = format!("{PROMPT} {n}");
        stage.cable.cut_after(bytes);
        let mut text = String::new();
        hear(&caller, &prompt, |piece| text.push_str(piece)).unwrap();
        stage.cable.mend();
        assert_eq!(text, said(&prompt), "cut after {bytes}");
        let asked = stage.engine.asked();
        assert_eq!(asked.iter().filter(|one| **one == prompt).count(), 1, "cut after {bytes}");
        let now = receipted(&stage, 0);
        assert!(now > charged);
        charged = now;
    }
    drop(caller);
    assert_eq!(close(&stage, host), [charged, 0]);
}

/// The engine still speaks when the host sees that its caller is away; the host goes on for whoever comes back.
#[test]
fn a_caller_that_comes_back_hears_what_was_said_meanwhile() {
    let stage = Stage::open();
    let host = stage.host();
    let patient = |settings: &mut Settings| settings.pause = Duration::from_millis(20);
    let caller = stage.caller_with(0, &stage.credential(0), 1, patient);
    ask(&caller, "first").unwrap();
    let before = receipted(&stage, 0);
    stage.engine.bound(3);
    let (text, heard) = cut_after_three(&stage, &caller, || {
        let engine = stage.engine.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            engine.unbound();
        });
    });
    heard.unwrap();
    assert_eq!(text, said(PROMPT));
    assert_eq!(stage.engine.asked().iter().filter(|one| **one == PROMPT).count(), 1);
    let words = u32::try_from(said(PROMPT).split(' ').count()).unwrap();
    let charged = before + host.gate.settings().price.of(10, words);
    assert_eq!(receipted(&stage, 0), charged);
    drop(caller);
    assert_eq!(close(&stage, host), [charged, 0]);
}

/// Who comes back too late is told so, and pays for what it had heard, no more.
#[test]
fn a_caller_that_comes_back_too_late_is_told_so() {
    let stage = Stage { absence_max: Duration::ZERO, ..Stage::open() };
    let host = stage.host();
    let caller = stage.caller(0, &stage.credential(0), 1);
    ask(&caller, "first").unwrap();
    let before = receipted(&stage, 0);
    stage.engine.bound(3);
    let (text, heard) = cut_after_three(&stage, &caller, || ());
    let error = heard.unwrap_err();
    assert_eq!(text, "You said: a ");
    assert!(error.to_string().contains("made no more of it"), "{error}");
    let charged = before + host.gate.settings().price.of(0, 3);
    assert_eq!(receipted(&stage, 0), charged);
    drop(caller);
    assert_eq!(close(&stage, host), [charged, 0]);
}

/// Hears an answer whose connection is cut behind its third piece; `then` comes right behind.
fn cut_after_three(stage: &Stage, caller: &Caller, mut then: impl FnMut()) -> (String, Result<(), Error>) {
    let (mut text, mut pieces) = (String::new(), 0);
    let heard = hear(caller, PROMPT, |piece| {
        text.push_str(piece);
        pieces += 1;
        if pieces == 3 {
            stage.cable.sever();
            then();
        }
    });
    (text, heard)
}

/// Nobody answers any more: what was heard is kept, and what is owed is found out by the invocation's id later.
#[test]
fn whoever_hears_the_half_pays_what_the_receipt_says() {
    let stage = Stage::open();
    let host = stage.host();
    let file = stage.credential(0);
    let caller = stage.caller(0, &file, 1);
    ask(&caller, "first").unwrap();
    let price = host.gate.settings().price;
    let before = receipted(&stage, 0);
    stage.engine.bound(3);
    let (text, heard) = cut_after_three(&stage, &caller, || stage.cable.plug(None));
    let error = heard.unwrap_err();
    assert!(matches!(error, Error::Connection { .. }), "{error}");
    assert_eq!(text, "You said: a ");
    drop(caller);
    stage.engine.unbound();
    stage.plug(&host);
    // Another question on the same channel: first the half is settled, by its receipt.
    let caller = stage.caller(0, &file, 2);
    ask(&caller, "another").unwrap();
    let records = stage.records(0);
    assert_eq!(records.len(), 3);
    let half = &records[1].receipt.receipt.receipt;
    assert_eq!((half.tokensIn, half.tokensOut, half.amount), (0, 3, price.of(0, 3)));
    assert!(!records[1].is_answer_seen);
    drop(caller);
    let charged = close(&stage, host);
    assert_eq!(charged[0], before + price.of(0, 3) + price.of(10, 3));
    assert_eq!(charged[0], receipted(&stage, 0));
}

/// A host that is killed in the middle of an answer has charged nothing; the next one answers from the beginning.
#[test]
fn a_host_that_dies_in_the_middle_of_a_stream_charges_once() {
    let stage = Stage::open();
    let mut host = Some(stage.host());
    let caller = stage.caller(0, &stage.credential(0), 1);
    ask(&caller, "first").unwrap();
    for n in 0..4 {
        let prompt = format!("{PROMPT} {n}");
        stage.engine.bound(3 + n);
        let (mut text, mut pieces) = (String::new(), 0);
        let mut next: Option<Host> = None;
        hear(&caller, &prompt, |piece| {
            text.push_str(piece);
            pieces += 1;
            if pieces == 2 {
                host.take().unwrap().kill();
                stage.engine.unbound();
                next = Some(stage.host());
            }
        })
        .unwrap();
        host = next;
        assert_eq!(text, said(&prompt));
        let records = stage.records(0);
        assert!(records.last().unwrap().is_answer_seen);
        assert_eq!(records.len(), 2 + n);
    }
    drop(caller);
    assert_eq!(close(&stage, host.unwrap())[0], receipted(&stage, 0));
}
