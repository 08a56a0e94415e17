//! The vectors that Rust and Solidity share: made here, committed with the contracts, read by their tests.

use std::path::PathBuf;

use alloy_primitives::{Address, B256, U256, hex};
use alloy_sol_types::SolStruct;
use loyal_protocol::message::{self, *};
use loyal_types::{
    Chance, Evidence, Tree,
    hash::{Abi, abi_encode},
    keccak256,
    tree::Entry,
};
use serde_json::{Value, json};

/// Compares with the committed file. A difference leaves what Rust makes in the target folder, to be looked at.
fn check(name: &str, made: &Value) {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../contracts/test/vectors"));
    let text = serde_json::to_string_pretty(made).unwrap() + "\n";
    let committed = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    if committed != text {
        let fresh = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&fresh, text).unwrap();
        panic!("contracts/test/vectors/{name} is not what Rust makes: {}", fresh.display());
    }
}

fn root(count: u32) -> String {
    let entry = |i: u32| Entry {
        digest: keccak256(&abi_encode(&[Abi::Bytes(b"r"), Abi::Uint(i.into())])),
        amount: 1_000 * u128::from(i + 1),
        tokens: 10 * u128::from(i + 1),
    };
    Tree::new(&(0..count).map(entry).collect::<Vec<_>>()).unwrap().root().to_string()
}

#[test]
fn trees() {
    let counts: Vec<u32> = (1..=17).chain([31, 32, 33, 100]).collect();
    let roots: Vec<_> = counts.iter().map(|count| root(*count)).collect();
    check("tree.json", &json!({ "counts": counts, "roots": roots, "empty": root(0) }));
}

#[test]
fn evidence() {
    let cases = [
        (256, 3, 0),
        (256, 3, 1),
        (2, 27, 0),
        (2, 26, 0),
        (2, 61, 3),
        (2, 3, 61),
        (2, 144, 56),
        (3, 16, 0),
        (2, 0, 0),
        (65_536, 2, 7),
        (7, 13, 200),
        (1_000, 1, 1),
    ];
    let column = |pick: fn(&(u32, u32, u32)) -> u32| cases.iter().map(pick).collect::<Vec<_>>();
    let steps: Vec<i64> = cases
        .iter()
        .map(|(k, hits, misses)| Evidence::of(Chance::one_in(*k).unwrap(), *hits, *misses).bits().steps())
        .collect();
    let made = json!({
        "k": column(|case| case.0), "hits": column(|case| case.1), "misses": column(|case| case.2), "steps": steps,
    });
    check("evidence.json", &made);
}

fn b(number: u64) -> B256 {
    U256::from(number).into()
}

fn a(byte: u8) -> Address {
    Address::with_last_byte(byte)
}

fn signed<M: SolStruct>(message: &M) -> Value {
    let domain = message::domain(31337, a(1));
    json!({ "type": message.eip712_type_hash(), "digest": message::digest(message, &domain) })
}

#[test]
fn messages() {
    let n = U256::from::<u64>;
    let grants = [(0xa, 3_000), (0xb, 1_500), (0xc, 1_500)];
    let grants = grants.map(|(account, bps)| Grant { account: a(account), bps }).to_vec();
    let made = json!({
        "domain": message::domain(31337, a(1)).separator(),
        "Agreement": signed(&Agreement { subject: b(1), grants, reserveBps: 4_000, expiresAt: 4 }),
        "Delivery": signed(&Delivery {
            hostingId: n(1), version: 2, copyRoot: b(3), subsetRoot: b(4), build: b(5), deliveredAt: 6,
        }),
        "Credential": signed(&Credential {
            modelId: n(1), version: 2, hostingId: n(3), holder: a(4), builder: a(5), asset: a(6), requestHash: b(7),
            policyHash: b(8), scopes: 9, callsMax: 10, spendMax: 11, notBefore: 12, expiresAt: 13,
            modelGeneration: 14, holderGeneration: 15, salt: b(16),
        }),
        "Invocation": signed(&Invocation {
            credentialId: b(1), hostingId: n(2), version: 3, channelId: b(4), nonce: 5, requestHash: b(6),
            amountMax: 7, deadline: 8,
        }),
        "Receipt": signed(&Receipt {
            invocationId: b(1), hostingId: n(2), epoch: 3, seq: 4, requestHash: b(5), responseHash: b(6),
            traceRoot: b(7), tokensIn: 8, tokensOut: 9, amount: 10, cumulative: 11, issuedAt: 12,
        }),
        "UsageReport": signed(&UsageReport {
            hostingId: n(1), epoch: 2, count: 3, amount: 4, tokens: 5, top: b(6),
        }),
        "ProbeTicket": signed(&ProbeTicket {
            modelId: n(1), version: 2, hostingId: n(3), endpointHash: b(4), epoch: 5, slot: 6, prover: a(7),
            index: 8, queryHash: b(9), expiresAt: 10,
        }),
        "ProbeResult": signed(&ProbeResult {
            ticketId: b(1), mode: 2, observedCommit: b(3), transcriptHash: b(4), observedAt: 5,
        }),
        "Ballot": signed(&Ballot {
            claimId: b(1), round: 2, outcome: 3, hits: 4, trials: 5, reasonHash: b(6), salt: b(7),
        }),
        "Verdict": signed(&Verdict {
            claimId: b(1), kind: 2, outcome: 3, hits: 4, trials: 5, slashed: 6, evidenceRoot: b(7), ruledAt: 8,
        }),
    });
    let published = hex::encode(message::domain(31337, a(1)).separator());
    assert!(published.starts_with("358d1de0"), "{published}");
    check("messages.json", &made);
}
