//! Invocations paid by a transfer each: what breaks is sent again as it was, and moves its amount once.

use loyal_access::caller::Caller;
use loyal_access::payment::Scheme;
use loyal_access::wallet::{Caps, Entry, Wallet};
use loyal_access::{Error, books::Books};
use loyal_protocol::contracts::CredentialRegistry;

use super::accounts::{receipted, till_of};
use super::line::Break;
use super::stage::{Host, PURSE, Stage, ask, hear, said};
use crate::kit::PRICE;

fn caller(stage: &Stage, seed: u8) -> Caller {
    stage.caller_with(0, &stage.credential(0), seed, |settings| settings.scheme = Some(Scheme::Exact))
}

fn open(stage: &Stage) -> usize {
    Wallet::peek(stage.wallets[0].path()).unwrap().transfers.len()
}

/// The host ends; what the caller lost is what it has receipts for, and all of it is divided.
fn close(stage: &Stage, mut host: Host, invocations: u128) {
    stage.line.mend();
    stage.town.pass(3_600);
    let turn = stage.turn(&mut host);
    assert!(turn.failed.is_empty(), "{turn:?}");
    assert!(host.keeper.end().failed.is_empty());
    drop(host);
    let sum = invocations * PRICE;
    assert_eq!(stage.balance(stage.town.address("user")), PURSE - sum);
    assert_eq!(receipted(stage, 0), sum);
    assert_eq!((stage.balance(till_of(stage)), stage.balance(stage.town.at.router)), (0, sum));
    let books = Books::open(stage.books.path(), stage.town.hosting).unwrap();
    let counted: u128 = books.epochs().iter().map(|epoch| books.turnover(*epoch).0).sum();
    assert_eq!((counted, books.accounts().len()), (sum, 0));
}

#[test]
fn a_transfer_pays_one_invocation_whatever_breaks() {
    let stage = Stage::open();
    let mut host = stage.host();
    let first = caller(&stage, 1);
    assert_eq!(ask(&first, "whole").unwrap(), said("whole"));
    let mut text = String::new();
    hear(&first, "piece by piece", |piece| text.push_str(piece)).unwrap();
    assert_eq!(text, said("piece by piece"));
    // The answer is lost on the way, at several places: the same transfer is shown again.
    for bytes in [0, 40, 900, 2_000] {
        stage.cable.cut_after(bytes);
        assert_eq!(ask(&first, &format!("lost {bytes}")).unwrap(), said(&format!("lost {bytes}")));
        stage.cable.mend();
    }
    assert_eq!((stage.engine.asked().len(), open(&stage)), (6, 0));
    // Nobody answers any more, and the caller's process ends: the next one shows the same transfer for the same question.
    stage.cable.plug(None);
    stage.cable.sever();
    let error = ask(&first, "nobody there").unwrap_err();
    assert!(matches!(error, Error::Connection { .. }), "{error}");
    assert_eq!(open(&stage), 1);
    drop(first);
    stage.plug(&host);
    let second = caller(&stage, 2);
    assert_eq!(ask(&second, "nobody there").unwrap(), said("nobody there"));
    assert_eq!(open(&stage), 0);
    // The host dies between the transfer and the answer: the next one finds the transfer on the chain.
    stage.engine.bound(2);
    let (mut text, mut pieces) = (String::new(), 0);
    hear(&second, "a host that dies in the middle", |piece| {
        text.push_str(piece);
        pieces += 1;
        if pieces == 2 {
            stage.cable.plug(None);
            stage.cable.sever();
        }
    })
    .unwrap_err();
    host.kill();
    stage.engine.unbound();
    host = stage.host();
    drop(second);
    let third = caller(&stage, 3);
    // Its first host charged for the half before it was killed, or did not: the receipt says which.
    match ask_stream(&third, "a host that dies in the middle") {
        Ok(whole) => assert!(said("a host that dies in the middle").starts_with(&whole)),
        Err(error) => assert!(matches!(error, Error::AnswerGone), "{error}"),
    }
    drop(third);
    close(&stage, host, 8);
}

fn ask_stream(caller: &Caller, prompt: &str) -> Result<String, Error> {
    let mut text = String::new();
    hear(caller, prompt, |piece| text.push_str(piece)).map(|()| text)
}

/// The host's line breaks at every request that it makes for one invocation.
#[test]
fn a_transfer_that_breaks_at_any_request_is_made_once() {
    let stage = Stage::open();
    let (mut host, mut invocations) = (stage.host(), 0);
    let mut seed = 0;
    for how in [Break::Before, Break::Behind] {
        for requests in 0.. {
            seed += 1;
            let prompt = format!("{how:?} {requests}");
            let first = caller(&stage, seed);
            stage.line.cut_after(requests, how);
            let asked = ask(&first, &prompt);
            let is_whole = !stage.line.mend();
            drop(first);
            if asked.is_err() {
                // Another host, which knows nothing of the transfer but what the chain says.
                if requests % 2 == 0 {
                    drop(host);
                    host = stage.host();
                }
                assert!(stage.turn(&mut host).failed.is_empty());
                seed += 1;
                assert_eq!(ask(&caller(&stage, seed), &prompt).unwrap(), said(&prompt));
            }
            invocations += 1;
            let asked = stage.engine.asked();
            assert_eq!(asked.iter().filter(|one| **one == prompt).count(), 1, "{prompt}");
            assert_eq!(open(&stage), 0, "{prompt}");
            if is_whole {
                break;
            }
        }
    }
    assert!(invocations > 10);
    close(&stage, host, invocations);
}

#[test]
fn what_was_signed_counts_against_the_caps_until_it_can_no_longer_be_made() {
    let stage = Stage::open();
    let mut host = stage.host();
    let mut wallet = Wallet::open(stage.wallets[0].path()).unwrap();
    let caps = Caps { request: Some(PRICE), hour: Some(2 * PRICE), day: None };
    wallet.write(Entry::Caps { asset: stage.town.at.currency, caps }).unwrap();
    drop(wallet);
    let one = caller(&stage, 1);
    ask(&one, "paid").unwrap();
    // Refused by the host, which has the signed transfer all the same.
    let call = CredentialRegistry::revokeCall {
        modelId: stage.town.model,
        credentialId: one.file().signed.id(&stage.town.domain()),
    };
    stage.town.send("owner", stage.town.at.credentials, &call);
    assert!(stage.turn(&mut host).failed.is_empty());
    let error = ask(&one, "refused").unwrap_err();
    assert!(matches!(&error, Error::Denied { code, .. } if code == "credential_revoked"), "{error}");
    assert_eq!(open(&stage), 1);
    let error = ask(&one, "no room").unwrap_err();
    assert!(matches!(error, Error::Capped { .. }), "{error}");
    // Its time is over, and the chain says that it was not made.
    stage.town.pass(700);
    assert!(stage.turn(&mut host).failed.is_empty());
    let error = ask(&one, "refused again").unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error}");
    assert_eq!(open(&stage), 1, "the first is written off, the new one is out");
    drop(one);
    close(&stage, host, 1);
}
