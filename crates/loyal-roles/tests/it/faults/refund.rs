//! Refunds between our own caller and host.

use loyal_access::books::Books;
use loyal_access::{Error, Wallet};

use super::accounts::{close, escrow, receipted};
use super::line::Break;
use super::stage::{CALLERS, PURSE, Stage, ask};
use crate::kit::wait;

#[test]
fn the_rest_comes_back_at_once_and_the_host_loses_nothing() {
    let stage = Stage::open();
    let mut host = stage.host();
    let file = stage.credential(0);
    let caller = stage.caller(0, &file, 1);
    for n in 0..3 {
        ask(&caller, &format!("question {n}")).unwrap();
    }
    let charged = receipted(&stage, 0);
    let book = Wallet::peek(stage.wallets[0].path()).unwrap();
    let (&channel, account) = book.channels.first_key_value().unwrap();
    let rest = account.balance - charged;
    assert_eq!(wait(caller.refund(channel)).unwrap(), rest);
    assert_eq!(escrow(&stage, channel), (charged, charged), "redeemed and given back in one");
    assert_eq!(stage.balance(stage.town.address(CALLERS[0])), PURSE - charged);
    let error = wait(caller.refund(channel)).unwrap_err();
    assert!(
        matches!(&error, Error::Denied { status: 402, message, .. } if message.contains("nothing is left")),
        "{error}"
    );
    // The channel is good for more: the next invocation brings a deposit.
    ask(&caller, "after the refund").unwrap();
    drop(caller);
    // A wallet that forgot what was charged is corrected by its own signature, then gets its rest.
    std::fs::remove_dir_all(stage.wallets[0].path()).unwrap();
    std::fs::create_dir(stage.wallets[0].path()).unwrap();
    assert!(stage.turn(&mut host).failed.is_empty());
    drop(host);
    // A host whose line breaks anywhere in a refund gives it once, or not at all.
    for how in [Break::Before, Break::Behind] {
        for requests in 0.. {
            let mut host = stage.host();
            let seed = 10 + u8::try_from(requests).unwrap() + if how == Break::Before { 0 } else { 100 };
            stage.town.clock.seconds.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let caller = stage.caller(0, &file, seed);
            ask(&caller, &format!("{how:?} {requests}")).unwrap();
            let book = Wallet::peek(stage.wallets[0].path()).unwrap();
            let (&channel, _) = book.channels.first_key_value().unwrap();
            stage.line.cut_after(requests, how);
            let given = wait(caller.refund(channel));
            let is_whole = !stage.line.mend();
            assert!(is_whole || given.is_err() || how == Break::Behind, "{given:?}");
            let turn = stage.turn(&mut host);
            assert!(turn.failed.is_empty(), "{how:?} {requests}: {turn:?}");
            // Asked again it is given, or was.
            let again = wait(caller.refund(channel));
            assert!(again.is_ok() || matches!(again, Err(Error::Denied { status: 402, .. })), "{again:?}");
            drop((caller, host));
            let charged = Books::open(stage.books.path(), stage.town.hosting).unwrap();
            let charged = charged.account(channel).unwrap().charged;
            assert_eq!(escrow(&stage, channel), (charged, charged));
            assert_eq!(stage.balance(stage.town.address(CALLERS[0])), PURSE - charged);
            if is_whole {
                break;
            }
        }
    }
    close(&stage, stage.host());
}
