//! Files of fingerprints: the secret set, the public commitment, and queries of the owner's own.

use std::sync::LazyLock;

use loyal_fingerprint::commitment::Commitment;
use loyal_fingerprint::fingerprint::{Beacon, Draft, Purpose};
use loyal_fingerprint::scheme::{Scheme, Verbatim};
use loyal_fingerprint::{FingerprintSet, query};
use loyal_model::Tokenizer;
use loyal_types::{Hash, keccak256};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::{HELD_BYTES_BASE, Target, file, nowhere};

pub(super) const FINGERPRINT_SET: Target = Target {
    name: "fingerprint_set",
    run: fingerprint_set,
    dictionary: WORDS,
    mend: Some(mend_checksum),
    make: Some(|| SET.to_json().into_bytes()),
    held_bytes_base: HELD_BYTES_BASE,
};

pub(super) const COMMITMENT: Target = Target {
    name: "commitment",
    run: commitment,
    dictionary: WORDS,
    mend: None,
    make: Some(|| serde_json::to_vec_pretty(&SET.commitment()).expect("a commitment is JSON")),
    held_bytes_base: HELD_BYTES_BASE,
};

pub(super) const QUERIES: Target = Target {
    name: "queries",
    run: queries,
    dictionary: &["{\"query\": \"", "\"}", "\n", "\"key\""],
    mend: None,
    make: None,
    held_bytes_base: HELD_BYTES_BASE,
};

const WORDS: &[&str] = &[
    "\"format\"",
    "\"version\"",
    "\"tokenizer\"",
    "\"scheme\"",
    "\"verbatim\"",
    "\"perinucleus\"",
    "\"threshold\"",
    "\"width\"",
    "\"answer_tokens\"",
    "\"leaf_root\"",
    "\"beacon\"",
    "\"seed\"",
    "\"fingerprints\"",
    "\"query\"",
    "\"blinding\"",
    "\"candidates\"",
    "\"tokens\"",
    "\"bytes\"",
    "\"0x\"",
    "\"digests\"",
    "\"embedded\"",
    "[]",
    "null",
];

/// A set as `loyal fingerprint new` would write it, of two fingerprints.
pub(super) static SET: LazyLock<FingerprintSet> = LazyLock::new(|| {
    let tokenizer = include_bytes!("../../corpus/tokenizer_json/byte_level.json");
    let tokenizer = Tokenizer::parse(tokenizer, nowhere()).expect("the corpus has a good tokenizer");
    let draft = |query: &str, first: u32| Draft {
        query: query.to_owned(),
        candidates: (first..first + 3).map(|token| vec![token]).collect(),
    };
    let drafts = vec![draft("Once upon a time", 40), draft("The café was", 50)];
    let purpose =
        Purpose { model: "small".to_owned(), scheme: Scheme::Verbatim(Verbatim::default()), created_at: 1 };
    let mut entropy = ChaCha8Rng::seed_from_u64(1);
    let set = FingerprintSet::new(purpose, drafts, &tokenizer, &mut entropy).expect("the drafts are good");
    let beacon = Beacon { seed: Hash::ZERO, source: "none".to_owned() };
    set.bind(beacon).expect("the set is not bound yet")
});

/// The secret file; what is read must be written as it was.
fn fingerprint_set(bytes: &[u8]) -> Result<(), String> {
    let set = FingerprintSet::parse(bytes, nowhere()).map_err(|error| error.to_string())?;
    for index in 0..set.fingerprints().len() {
        set.secret(index).map_err(|error| error.to_string())?;
    }
    let again = FingerprintSet::parse(set.to_json().as_bytes(), nowhere());
    assert_eq!(again.as_ref().ok(), Some(&set), "a set must survive being written and read");
    std::hint::black_box(set.commitment());
    Ok(())
}

/// Puts the right checksum where the file has one.
pub(super) fn mend_checksum(bytes: &mut [u8]) {
    const MARK: &[u8] = b"\"checksum\": \"";
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return };
    let sealed = value.get("set").or_else(|| value.get("evidence"));
    let (Some(set), Some(at)) = (sealed, bytes.windows(MARK.len()).position(|seen| seen == MARK)) else {
        return;
    };
    let checksum = keccak256(set.to_string().as_bytes()).to_string();
    if let Some(field) = bytes.get_mut(at + MARK.len()..at + MARK.len() + checksum.len()) {
        field.copy_from_slice(checksum.as_bytes());
    }
}

/// The public file.
fn commitment(bytes: &[u8]) -> Result<(), String> {
    Commitment::parse(bytes, nowhere()).map_err(|error| error.to_string())?;
    Ok(())
}

/// Queries, one a line.
fn queries(bytes: &[u8]) -> Result<(), String> {
    query::read(&file("queries", bytes)?).map_err(|error| error.to_string())?;
    Ok(())
}
