//! What provers read and leave: tickets of owners, and cases that strangers compute again.

use std::fmt::Debug;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::SolValue as _;
use loyal_access::document::SignedTicket;
use loyal_fingerprint::commitment::Opening;
use loyal_fingerprint::scheme::{Rule, Tilt};
use loyal_protocol::{Key, message, seal};
use loyal_roles::case::Case;
use loyal_roles::prover::ledger::Outcome;
use loyal_roles::ticket::{Application, Grant, Slot};
use loyal_types::tree::fingerprint_digest;
use loyal_types::{Hash, Tree};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{HELD_BYTES_BASE, Target, nowhere};

pub(super) const TICKET_GRANT: Target = Target {
    name: "ticket_grant",
    run: grant,
    dictionary: &["ticket", "signature", "sealed", "modelId", "hostingId", "queryHash", "expiresAt", "0x"],
    mend: None,
    make: Some(make_grant),
    held_bytes_base: HELD_BYTES_BASE,
};

pub(super) const TICKET_APPLICATION: Target = Target {
    name: "ticket_application",
    run: application,
    dictionary: &["slot", "hosting", "epoch", "number", "prover", "signature", "0x"],
    mend: None,
    make: Some(make_application),
    held_bytes_base: HELD_BYTES_BASE,
};

pub(super) const CASE: Target = Target {
    name: "case",
    run: case,
    dictionary: &[
        "loyal-case",
        "probes",
        "opening",
        "answer_spec",
        "proof",
        "siblings",
        "replies",
        "resultId",
        "0x",
    ],
    mend: None,
    make: Some(make_case),
    held_bytes_base: HELD_BYTES_BASE,
};

const SITE: (u64, Address) = (31_337, Address::with_last_byte(1));
const SLOT: Slot = Slot { hosting: 1, epoch: 2, number: 3 };

fn key() -> Key {
    Key::of(B256::with_last_byte(7)).expect("seven is a key")
}

/// What was read is written and read again, and is the same.
fn again<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> Result<T, String> {
    let found: T = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let text = serde_json::to_vec(&found).expect("documents have only string keys");
    assert_eq!(serde_json::from_slice::<T>(&text).as_ref().ok(), Some(&found));
    Ok(found)
}

fn application(bytes: &[u8]) -> Result<(), String> {
    let found: Application = again(bytes)?;
    if found.verify(SITE) { Ok(()) } else { Err("not signed by its prover".to_owned()) }
}

fn make_application() -> Vec<u8> {
    serde_json::to_vec(&Application::sign(SLOT, &key(), SITE)).expect("documents have only string keys")
}

fn grant(bytes: &[u8]) -> Result<(), String> {
    let found: Grant = again(bytes)?;
    let _ = found.ticket.signer(&message::domain(SITE.0, SITE.1));
    match seal::open(&key(), b"", &found.sealed) {
        Some(_) => Ok(()),
        None => Err("sealed to somebody else".to_owned()),
    }
}

fn ticket(query: &str) -> SignedTicket {
    let ticket = message::ProbeTicket {
        modelId: U256::from(1),
        version: 1,
        hostingId: U256::from(SLOT.hosting),
        endpointHash: keccak256("endpoint"),
        epoch: SLOT.epoch,
        slot: SLOT.number,
        prover: key().address(),
        index: 0,
        queryHash: keccak256(query),
        expiresAt: 1_000,
    };
    SignedTicket::sign(ticket, &key(), &message::domain(SITE.0, SITE.1))
}

fn make_grant() -> Vec<u8> {
    let digest = keccak256("an application");
    let signed = key().sign_bytes(digest);
    let sealed =
        seal::seal((digest, &signed), b"", b"What grows here?", [9; 32]).expect("a key and a signature");
    let grant = Grant { ticket: ticket("What grows here?"), sealed: sealed.into() };
    serde_json::to_vec(&grant).expect("documents have only string keys")
}

fn case(bytes: &[u8]) -> Result<(), String> {
    let found = Case::parse(bytes, nowhere()).map_err(|error| error.to_string())?;
    let _: Case = again(bytes)?;
    found.verify().map(drop).map_err(|error| error.to_string())
}

fn make_case() -> Vec<u8> {
    let query = "What grows here?";
    let spec = Rule::Tilt(Tilt::default()).spec();
    let blinding = Hash([5; 32]);
    let tree = Tree::plain(&[fingerprint_digest(query, blinding, &spec)]).expect("one leaf is a tree");
    let ticket = ticket(query);
    let domain = message::domain(SITE.0, SITE.1);
    let reply = vec![Bytes::from_static(b" corn"), Bytes::from_static(b" grows")];
    let result = Outcome {
        salt: B256::with_last_byte(1),
        replies: vec![reply.abi_encode().into()],
        mode: 2,
        transcript_hash: keccak256("transcript"),
        observed_at: 900,
    };
    let id = message::digest(&result.message(ticket.id(&domain)), &domain);
    let opening = Opening {
        query: query.to_owned(),
        blinding,
        answer_spec: spec,
        proof: tree.proof(0).expect("there is one leaf"),
    };
    let probe = json!({ "ticket": ticket, "result": result, "resultId": id, "opening": opening });
    let case = json!({
        "format": "loyal-case", "version": 1, "chainId": SITE.0, "registry": SITE.1, "hosting": "1",
        "leafRoot": tree.root(), "seed": B256::with_last_byte(2), "ticketSigner": key().address(), "probes": [probe],
    });
    serde_json::to_vec(&case).expect("documents have only string keys")
}
