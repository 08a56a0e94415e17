//! The chain is away for an hour, and comes back.

use std::sync::atomic::Ordering;

use loyal_access::{Error, Wallet};
use loyal_protocol::contracts::{CredentialRegistry, InvocationChannel};
use serde_json::Value;

use super::accounts::{close, escrow, receipted};
use super::stage::{Stage, ask, said};

fn denied(error: &Error, status: u16, code: &str) {
    let is_so =
        matches!(error, Error::Denied { status: s, code: c, .. } if (*s, c.as_str()) == (status, code));
    assert!(is_so, "{error:?}");
}

#[test]
fn an_hour_without_the_chain_is_bridged_by_the_stated_rules() {
    let stage = Stage::open();
    let mut host = stage.host();
    let files = [stage.credential(0), stage.credential(1)];
    let callers = [stage.caller(0, &files[0], 1), stage.caller(1, &files[1], 2)];
    for caller in &callers {
        ask(caller, "before").unwrap();
    }
    assert!(stage.turn(&mut host).failed.is_empty());
    for caller in &callers {
        ask(caller, "known").unwrap();
    }
    // Silent for half a minute: whoever is known is served by what is known; who is not, waits.
    stage.line.cut();
    stage.town.clock.seconds.fetch_add(30, Ordering::SeqCst);
    assert_eq!(ask(&callers[0], "in the first minute").unwrap(), said("in the first minute"));
    assert_eq!(stage.turn(&mut host).failed.len(), 1);
    let unknown = stage.credential(0);
    let mut credential = unknown.signed.credential.clone();
    credential.salt = alloy_primitives::B256::with_last_byte(8);
    let signed = loyal_access::document::SignedCredential::sign(
        credential,
        stage.town.key("owner"),
        &stage.town.domain(),
    );
    drop(callers);
    let file = loyal_access::document::CredentialFile { signed, ..unknown };
    let error = ask(&stage.caller(0, &file, 3), "who is this").unwrap_err();
    denied(&error, 503, "chain_unavailable");
    // Silent for longer than 45 seconds: nobody is admitted, and the engine hears of nothing.
    stage.town.clock.seconds.fetch_add(16, Ordering::SeqCst);
    let callers = [stage.caller(0, &files[0], 4), stage.caller(1, &files[1], 5)];
    let asked = stage.engine.asked().len();
    for caller in &callers {
        denied(&ask(caller, "in the dark").unwrap_err(), 503, "chain_unavailable");
    }
    assert_eq!(stage.engine.asked().len(), asked);
    // Receipts are handed out all the same.
    let id = stage.records(0)[0].receipt.receipt.receipt.invocationId;
    let text = ureq::get(format!("{}/receipts/{id}", stage.cable.url)).call().unwrap();
    let text = text.into_body().read_to_string().unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["receipt"]["receipt"]["invocationId"], id.to_string());
    drop(callers);
    // Meanwhile a credential is taken back, and its holder asks for the rest of its channel.
    let call = CredentialRegistry::revokeCall {
        modelId: stage.town.model,
        credentialId: files[1].signed.id(&stage.town.domain()),
    };
    stage.town.send("owner", stage.town.at.credentials, &call);
    let book = Wallet::peek(stage.wallets[1].path()).unwrap();
    let (&channel, account) = book.channels.first_key_value().unwrap();
    let config = loyal_protocol::channel::terms(&account.terms.0);
    let call = InvocationChannel::initiateWithdrawCall { config, amount: account.rest() };
    stage.town.send("stranger", stage.town.at.channel, &call);
    for _ in 0..60 {
        stage.town.pass(60);
        assert_eq!(stage.turn(&mut host).failed.len(), 1, "said each time, and nothing else happens");
    }
    // Back: until the host has looked nobody is admitted; then what happened meanwhile counts.
    stage.line.mend();
    let callers = [stage.caller(0, &files[0], 6), stage.caller(1, &files[1], 7)];
    denied(&ask(&callers[0], "too early").unwrap_err(), 503, "chain_unavailable");
    let turn = stage.turn(&mut host);
    assert!(turn.failed.is_empty() && !turn.taken.is_empty(), "{turn:?}");
    assert_eq!(ask(&callers[0], "after").unwrap(), said("after"));
    denied(&ask(&callers[1], "taken back").unwrap_err(), 403, "credential_revoked");
    let charged = host.gate.books().account(channel).unwrap().charged;
    assert_eq!(escrow(&stage, channel).1, charged, "redeemed before the payer can take it out");
    assert!(!stage.engine.asked().iter().any(|prompt| prompt == "taken back" || prompt == "in the dark"));
    drop(callers);
    let charged = close(&stage, host);
    assert_eq!(charged, [receipted(&stage, 0), receipted(&stage, 1)]);
}
