//! The table of targets: one for each parser of bytes that come from outside.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use tempfile::TempDir;

mod access;
mod agent;
mod browser;
mod chain;
mod evidence;
mod fingerprint;
mod model;
mod owner;
mod prover;
mod weights;

/// One parser under test.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    /// Its name, on the command line and of its folder in `corpus/`.
    pub(crate) name: &'static str,
    /// Gives it bytes: `Ok` when it accepts them, and the words of its refusal otherwise.
    pub(crate) run: fn(&[u8]) -> Result<(), String>,
    /// Words of its format.
    pub(crate) dictionary: &'static [&'static str],
    /// Makes a mutated input plausible again (a length, a checksum), so that what lies behind is reached too.
    pub(crate) mend: Option<fn(&mut [u8])>,
    /// Makes a valid file, where the format is ours: it cannot go stale as a committed one would.
    pub(crate) make: Option<fn() -> Vec<u8>>,
    /// What an input may hold whatever its size; bytes.
    pub(crate) held_bytes_base: usize,
}

/// Enough for what a parser sets up before it looks at its input.
const HELD_BYTES_BASE: usize = 64 << 20;

/// Every target. Add one line here, and a valid file in `corpus/<name>/` or a `make`.
pub(crate) const TARGETS: &[Target] = &[
    model::CONFIG_JSON,
    model::TOKENIZER_JSON,
    model::TOKENIZER_CONFIG,
    model::CHAT_TEMPLATE,
    weights::SAFETENSORS,
    weights::SAFETENSORS_INDEX,
    weights::CHECKPOINT,
    fingerprint::FINGERPRINT_SET,
    fingerprint::COMMITMENT,
    fingerprint::QUERIES,
    chain::CHAIN_REQUEST,
    chain::CHAIN_RPC,
    chain::CHAIN_TRANSACTION,
    chain::CHAIN_EXPORT,
    chain::CHAIN_GENESIS,
    chain::CHAIN_ACCOUNTS,
    agent::EVENT_STREAM,
    agent::ASSIST_REQUEST,
    browser::SNAPSHOT,
    evidence::TRANSCRIPT,
    evidence::BUNDLE,
    evidence::DIARY,
    owner::REGISTRATION,
    owner::USAGE_REPORT,
    owner::RECEIPT,
    owner::KEY_FILE,
    access::VERIFICATION,
    access::PAYMENT_REQUIRED,
    access::PAYMENT,
    access::INVOCATION_BODY,
    access::WALLET,
    prover::TICKET_APPLICATION,
    prover::TICKET_GRANT,
    prover::CASE,
];

/// The target of a name.
pub(crate) fn named(name: &str) -> Option<Target> {
    TARGETS.iter().find(|target| target.name == name).copied()
}

/// What errors call a file that exists in memory only.
fn nowhere() -> &'static Path {
    Path::new("input")
}

/// Where inputs stand that are read as files; the worker's parent removes it.
static FOLDER: LazyLock<TempDir> =
    LazyLock::new(|| tempfile::tempdir().expect("a temporary folder can be made"));

/// Writes an input as a file.
fn file(name: &str, bytes: &[u8]) -> Result<PathBuf, String> {
    let path = FOLDER.path().join(name);
    fs::write(&path, bytes).map_err(|error| error.to_string())?;
    Ok(path)
}
