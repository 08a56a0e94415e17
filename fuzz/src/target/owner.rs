//! Files of owners and hosts: registrations, reports, key files.

use std::path::Path;
use std::sync::LazyLock;

use alloy_primitives::{B256, U256};
use loyal_access::document::{Report, SignedReceipt};
use loyal_protocol::Key;
use loyal_protocol::keystore::{Salt, address_of};
use loyal_protocol::message::Receipt;
use loyal_roles::owner::Registration;

use super::{HELD_BYTES_BASE, Target, file};

pub(super) const REGISTRATION: Target = Target {
    name: "registration",
    run: registration,
    dictionary: &[
        "loyal-registration",
        "makers",
        "bps",
        "reserve_bps",
        "accepts",
        "agreement",
        "signatures",
        "0x",
    ],
    mend: None,
    make: Some(make_registration),
    held_bytes_base: HELD_BYTES_BASE,
};

pub(super) const USAGE_REPORT: Target = Target {
    name: "usage_report",
    run: report,
    dictionary: &["hostingId", "epoch", "count", "amount", "tokens", "top", "0x"],
    mend: None,
    make: Some(make_report),
    held_bytes_base: HELD_BYTES_BASE,
};

pub(super) const RECEIPT: Target = Target {
    name: "receipt",
    run: receipt,
    dictionary: &["invocationId", "hostingId", "tokensIn", "cumulative", "issuedAt", "signature", "0x"],
    mend: None,
    make: Some(make_receipt),
    held_bytes_base: HELD_BYTES_BASE,
};

pub(super) const KEY_FILE: Target = Target {
    name: "key_file",
    run: key_file,
    dictionary: &[
        "crypto",
        "kdfparams",
        "aes-128-ctr",
        "scrypt",
        "dklen",
        "ciphertext",
        "version",
        "address",
    ],
    mend: None,
    make: Some(|| KEY.clone()),
    held_bytes_base: HELD_BYTES_BASE,
};

/// A key file, made once: that takes half a second.
static KEY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let path = file("made-key", b"").expect("a file can be written");
    let _ = std::fs::remove_file(&path);
    let key = Key::of(B256::repeat_byte(7)).expect("a key of the curve");
    let salt = Salt { password: B256::repeat_byte(1), counter: [2; 16], id: [3; 16] };
    key.save(&path, "password", &salt).expect("a key file can be written");
    std::fs::read(path).expect("it was just written")
});

fn registration(bytes: &[u8]) -> Result<(), String> {
    let path = file("registration", bytes)?;
    let found = Registration::read(&path).map_err(|error| error.to_string())?;
    // What is accepted is written back and says the same.
    let again = path.with_extension("again");
    found.write(&again).map_err(|error| error.to_string())?;
    assert_eq!(Registration::read(&again).ok().as_ref(), Some(&found), "what was written reads differently");
    let _ = (found.message(), found.unsigned(), found.for_factory());
    Ok(())
}

fn make_registration() -> Vec<u8> {
    let mut made = Registration::new("Dobby", "DOBBY", Path::new("leaves.json"));
    made.reserve_bps = 10_000;
    serde_json::to_vec(&made).expect("a registration has only string keys")
}

fn report(bytes: &[u8]) -> Result<(), String> {
    serde_json::from_slice::<Report>(bytes).map_err(|error| error.to_string())?;
    Ok(())
}

fn make_report() -> Vec<u8> {
    let top = B256::repeat_byte(9);
    format!(r#"{{"hostingId":"1","epoch":3,"count":10,"amount":"20","tokens":"100","top":"{top}"}}"#)
        .into_bytes()
}

fn receipt(bytes: &[u8]) -> Result<(), String> {
    serde_json::from_slice::<SignedReceipt>(bytes).map_err(|error| error.to_string())?;
    Ok(())
}

fn make_receipt() -> Vec<u8> {
    let hash = B256::repeat_byte(9);
    let receipt = Receipt {
        invocationId: hash,
        hostingId: U256::from(1),
        epoch: 2,
        seq: 3,
        requestHash: hash,
        responseHash: hash,
        traceRoot: hash,
        tokensIn: 4,
        tokensOut: 5,
        amount: 6,
        cumulative: 7,
        issuedAt: 8,
    };
    let made = SignedReceipt { receipt, signature: hash.to_vec().into() };
    serde_json::to_vec(&made).expect("a receipt has only string keys")
}

/// Only what is read without the password: deriving a key takes its time by design.
fn key_file(bytes: &[u8]) -> Result<(), String> {
    address_of(&file("key", bytes)?).map_err(|error| error.to_string())?;
    Ok(())
}
