//! Requests made of parts of others: replayed, reordered, doubled, half there. None but the whole ones reaches the engine.

use std::sync::Arc;

use alloy_primitives::{B256, U256};
use hyper::HeaderMap;
use loyal_access::gate::{Gate, Outcome, Reply};
use loyal_protocol::Channel;
use loyal_protocol::contracts::CredentialRegistry;
use serde_json::Value;

use super::stage::Stage;
use crate::kit::{Attempt, PRICE, wait};

const HEADERS: [&str; 4] = ["payment-signature", "loyal-credential", "loyal-invocation", "loyal-salt"];

/// A status and a code, or the receipt's number.
type Said = (u16, String);

fn post(stage: &Stage, headers: &HeaderMap, body: &str) -> Said {
    let mut request = ureq::post(format!("{}/chat/completions", stage.cable.url));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.config().http_status_as_error(false).build();
    let response = request.send(body).unwrap();
    let status = response.status().as_u16();
    let receipt = response.headers().get("loyal-receipt").map(|value| value.to_str().unwrap().to_owned());
    let value: Value = serde_json::from_str(&response.into_body().read_to_string().unwrap()).unwrap();
    (status, receipt.unwrap_or_else(|| value["error"]["code"].as_str().unwrap_or_default().to_owned()))
}

/// Two requests that have nothing in common: other channels, credentials, salts, prompts.
fn two(stage: &Stage) -> [(HeaderMap, String); 2] {
    [1_u8, 2].map(|n| {
        let channel = stage.town.channel(n);
        stage.town.fund(&channel, 10 * PRICE);
        let mut attempt = Attempt::new(&stage.town, &channel, (1, 0));
        attempt.body = format!(r#"{{"messages":[{{"role":"user","content":"request {n}"}}]}}"#);
        attempt.credential.salt = B256::with_last_byte(n);
        attempt.salt = B256::with_last_byte(n);
        (attempt.headers(&stage.town), attempt.body)
    })
}

#[test]
fn parts_of_two_requests_make_no_third_one() {
    let stage = Stage::open();
    let host = stage.host();
    let requests = two(&stage);
    let mixed = |mask: usize| {
        let part = |bit: usize| &requests[mask >> bit & 1];
        let mut headers = HeaderMap::new();
        for (bit, name) in HEADERS.into_iter().enumerate() {
            headers.insert(name, part(bit).0[name].clone());
        }
        (headers, part(HEADERS.len()).1.clone())
    };
    let all = 1 << (HEADERS.len() + 1);
    // An invocation that was answered is answered again, whatever else comes with it: its holder signed for the request.
    let try_all = |wanted_asked: usize, answered: [Option<&str>; 2]| {
        for mask in 1..all - 1 {
            let (headers, body) = mixed(mask);
            let (status, code) = post(&stage, &headers, &body);
            let known = match mask >> 2 {
                0 => answered[0],
                7 => answered[1],
                _ => None,
            };
            match known {
                Some(receipt) => assert_eq!((status, code.as_str()), (200, receipt), "{mask:05b}"),
                None => {
                    assert!((400..500).contains(&status) && !code.is_empty(), "{mask:05b}: {status} {code}");
                }
            }
            assert_eq!(stage.engine.asked().len(), wanted_asked, "{mask:05b}");
        }
    };
    try_all(0, [None, None]);
    // In the wrong order, and each again and again: answered once, with one receipt.
    let second = post(&stage, &requests[1].0, &requests[1].1);
    assert_eq!((second.0, stage.engine.asked()), (200, vec!["request 2".to_owned()]));
    try_all(1, [None, Some(&second.1)]);
    let first = post(&stage, &requests[0].0, &requests[0].1);
    assert_eq!(first.0, 200);
    for _ in 0..3 {
        assert_eq!(post(&stage, &requests[0].0, &requests[0].1), first);
        assert_eq!(post(&stage, &requests[1].0, &requests[1].1), second);
    }
    try_all(2, [Some(&first.1), Some(&second.1)]);
    // Without a part of it, with a part twice, or with a part cut short: nothing.
    for name in HEADERS {
        let mut headers = requests[0].0.clone();
        headers.remove(name);
        let status = if name == HEADERS[0] { 402 } else { 400 };
        assert_eq!(post(&stage, &headers, &requests[0].1).0, status, "without {name}");
        headers = requests[0].0.clone();
        headers.append(name, requests[1].0[name].clone());
        assert!(post(&stage, &headers, &requests[0].1).0 >= 400, "{name} twice");
        let mut short = requests[0].0[name].to_str().unwrap().to_owned();
        short.truncate(short.len() / 2);
        headers = requests[0].0.clone();
        headers.insert(name, short.parse().unwrap());
        assert_eq!(post(&stage, &headers, &requests[0].1), (400, "malformed".to_owned()), "half of {name}");
    }
    assert_eq!(stage.engine.asked().len(), 2);
    drop(host);
}

fn admit(gate: &Arc<Gate>, stage: &Stage, attempt: &Attempt) -> Outcome {
    wait(gate.admit(&attempt.headers(&stage.town), attempt.body.as_bytes()))
}

fn code(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Refused(refused) => refused.code,
        Outcome::Admitted(_) => "admitted",
        Outcome::Again { .. } => "again",
    }
}

fn attempt(stage: &Stage, channel: &Channel, nonce: u64, charged: u128) -> Attempt {
    Attempt::new(&stage.town, channel, (nonce, charged))
}

#[test]
fn a_voucher_is_spent_once_at_one_hosting_whoever_shows_it_and_how_often() {
    let mut stage = Stage::open();
    let gate = stage.gate();
    let channel = stage.town.channel(0);
    stage.town.fund(&channel, 10 * PRICE);
    // Two invocations with one voucher at the same time: one is let in.
    let both = wait(async {
        let [one, two] = [1, 2].map(|nonce| attempt(&stage, &channel, nonce, 0));
        let (first, second) = (one.headers(&stage.town), two.headers(&stage.town));
        tokio::join!(gate.admit(&first, one.body.as_bytes()), gate.admit(&second, two.body.as_bytes()))
    });
    let mut codes = [code(&both.0), code(&both.1)];
    codes.sort_unstable();
    assert_eq!(codes, ["admitted", "channel_busy"]);
    let ((Outcome::Admitted(admitted), _) | (_, Outcome::Admitted(admitted))) = both else { panic!("one") };
    let text = Reply { text: "Hello.", tokens_in: 1, tokens_out: 1 };
    let settled = wait(admitted.settle(text)).unwrap();
    let charged = settled.receipt.receipt.receipt.cumulative;
    // Once more, alone: it does not continue where the channel stands. Nor does one that reaches further.
    assert_eq!(code(&admit(&gate, &stage, &attempt(&stage, &channel, 3, 0))), "voucher_invalid");
    assert_eq!(code(&admit(&gate, &stage, &attempt(&stage, &channel, 3, charged + 1))), "voucher_invalid");
    // Another hosting has another till: the channel does not pay it, whichever of the two the invocation names.
    let first = stage.town.hosting;
    stage.town.host();
    let books = tempfile::tempdir().unwrap();
    let other = stage.town.gate_on(stage.town.client.clone(), books.path(), stage.town.clock.clone());
    let here = attempt(&stage, &channel, 4, charged);
    assert_eq!(here.invocation.hostingId, U256::from(stage.town.hosting));
    assert_eq!(code(&admit(&other, &stage, &here)), "voucher_invalid");
    let mut there = here.clone();
    there.invocation.hostingId = U256::from(first);
    assert_eq!(code(&admit(&other, &stage, &there)), "malformed");
    assert_eq!(code(&admit(&gate, &stage, &here)), "malformed");
    assert_eq!(code(&admit(&gate, &stage, &there)), "admitted");
}

#[test]
fn credentials_of_others_and_of_yesterday_reach_no_engine() {
    let stage = Stage::open();
    let mut host = stage.host();
    let channel = stage.town.channel(0);
    stage.town.fund(&channel, 10 * PRICE);
    let good = attempt(&stage, &channel, 1, 0);
    let is = |attempt: &Attempt, wanted: &str| {
        let (status, code) = post(&stage, &attempt.headers(&stage.town), &attempt.body);
        assert_eq!((status >= 400, code.as_str()), (true, wanted));
    };
    is(&Attempt { holder: "stranger", ..good.clone() }, "invocation_signature");
    is(&Attempt { issuer: "stranger", ..good.clone() }, "credential_signature");
    is(&Attempt { payer: "stranger", ..good.clone() }, "voucher_invalid");
    let mut other = good.clone();
    other.credential.holder = stage.town.address("stranger");
    is(&other, "invocation_signature");
    let mut other = good.clone();
    other.binds = false;
    is(&other, "credential_holder");
    let (mut late, mut early) = (good.clone(), good.clone());
    late.credential.expiresAt = stage.town.now();
    is(&late, "credential_time");
    early.credential.notBefore = stage.town.now() + 600;
    is(&early, "credential_time");
    // All credentials of a holder end with a new generation; seen with the next look at the chain.
    let holder = stage.town.address("user");
    let call = CredentialRegistry::bumpHolderCall { modelId: stage.town.model, holder };
    stage.town.send("owner", stage.town.at.credentials, &call);
    assert!(stage.turn(&mut host).failed.is_empty());
    is(&good, "credential_revoked");
    assert_eq!(stage.engine.asked(), Vec::<String>::new());
}
