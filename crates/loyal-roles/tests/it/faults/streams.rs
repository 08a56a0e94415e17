//! Answers that break off, by any byte, and hosts that end in the middle of one.

use loyal_access::Error;

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
    let (mut text, mut pieces) = (String::new(), 0);
    let error = hear(&caller, PROMPT, |piece| {
        text.push_str(piece);
        pieces += 1;
        if pieces == 3 {
            stage.cable.plug(None);
            stage.cable.sever();
        }
    })
    .unwrap_err();
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
