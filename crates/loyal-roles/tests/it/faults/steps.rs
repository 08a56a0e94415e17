//! A host that loses its chain, or its life, at any request it makes while it redeems.

use std::sync::atomic::Ordering;

use loyal_roles::host::keeper::Keeper;
use serde_json::json;

use super::accounts::check;
use super::line::Break;
use super::stage::{CYCLE, Stage, ask, copy};

/// What becomes of the host when the line breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// It goes on once the line is mended.
    Lives,
    /// It is another process, with the books.
    Dies,
}

/// Two payers owe something; the host has ended.
fn owing() -> Stage {
    let stage = Stage::open();
    let host = stage.host();
    for which in 0..2 {
        let caller = stage.caller(which, &stage.credential(which), 1);
        for n in 0..3 {
            ask(&caller, &format!("question {n}")).unwrap();
        }
    }
    host.kill();
    stage
}

#[test]
fn a_redemption_that_breaks_at_any_request_is_made_up_for_and_moves_nothing_twice() {
    let stage = owing();
    let saved = tempfile::tempdir().unwrap();
    copy(stage.books.path(), saved.path());
    let snapshot = || stage.town.client.ask::<serde_json::Value>("evm_snapshot", json!([])).unwrap();
    let mut start = snapshot();
    let now = stage.town.now();
    let mut whole = 0;
    for (how, then) in [
        (Break::Before, Then::Lives),
        (Break::Behind, Then::Lives),
        (Break::Before, Then::Dies),
        (Break::Behind, Then::Dies),
    ] {
        for requests in 0.. {
            let gate = stage.gate();
            let mut keeper = Keeper::new(gate, stage.town.key("host").clone(), CYCLE);
            stage.line.mend();
            stage.line.cut_after(requests, how);
            let turn = keeper.turn(&*stage.host_clock);
            let is_whole = !stage.line.mend();
            assert_eq!(is_whole, turn.failed.is_empty(), "{turn:?}");
            if then == Then::Dies {
                drop(keeper);
                keeper = Keeper::new(stage.gate(), stage.town.key("host").clone(), CYCLE);
            }
            // Within a cycle it is made up for.
            stage.town.pass(3_600);
            let turn = keeper.turn(&*stage.host_clock);
            assert!(turn.failed.is_empty(), "{how:?} {then:?} after {requests}: {turn:?}");
            drop(keeper);
            check(&stage);
            assert!(stage.town.client.ask::<bool>("evm_revert", json!([start])).unwrap());
            stage.town.clock.seconds.store(now, Ordering::SeqCst);
            start = snapshot();
            std::fs::remove_dir_all(stage.books.path()).unwrap();
            std::fs::create_dir(stage.books.path()).unwrap();
            copy(saved.path(), stage.books.path());
            if is_whole {
                whole = whole.max(requests);
                break;
            }
        }
    }
    assert!(whole > 10, "the line broke at {whole} places");
}
