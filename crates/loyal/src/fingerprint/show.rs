//! `loyal fingerprint show`: what a file of fingerprints holds.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use loyal_fingerprint::Pool;
use loyal_fingerprint::check::transcript::Record;
use loyal_fingerprint::check::{Bundle, Ledger};
use loyal_fingerprint::commitment::Commitment;
use loyal_fingerprint::copies::{HostCopy, Register};
use loyal_fingerprint::fingerprint::FingerprintSet;
use loyal_fingerprint::scheme::{Scheme, Verbatim};
use serde_json::{Value, json};

use crate::output;

/// Bytes in which a file says what it is.
const BEGINNING_BYTES: u64 = 4096;

/// Arguments of `loyal fingerprint show`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A secret file, a public one, a transcript, or an evidence bundle.
    file: PathBuf,
    /// Also print queries and responses of a secret file. Whoever sees them can remove the marks.
    #[arg(long)]
    secrets: bool,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

/// Reads the file and says what is in it.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let shown = match kind(&args.file)? {
        Kind::Secret => secret(&args.file, args.secrets)?,
        Kind::Public => public(&Commitment::read(&args.file)?),
        Kind::Transcript => transcript(&Record::read(&args.file)?),
        Kind::Bundle => bundle(&Bundle::read(&args.file)?),
    };
    if args.json {
        return output::json(&shown);
    }
    let rows: Vec<(&str, String)> = shown
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.as_str(), written(value)))
        .collect();
    output::pairs(&rows)
}

enum Kind {
    Secret,
    Public,
    Transcript,
    Bundle,
}

fn kind(path: &Path) -> anyhow::Result<Kind> {
    let failed = || format!("{}: reading failed; check the path", path.display());
    let mut beginning = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(BEGINNING_BYTES).read_to_end(&mut beginning))
        .with_context(failed)?;
    let beginning = String::from_utf8_lossy(&beginning);
    let kinds = [
        ("\"loyal-fingerprints-secret\"", Kind::Secret),
        ("\"loyal-fingerprints-public\"", Kind::Public),
        ("\"loyal-transcript\"", Kind::Transcript),
        ("\"loyal-evidence\"", Kind::Bundle),
    ];
    // A bundle holds a commitment and a transcript as well, further down.
    let found = kinds.into_iter().filter_map(|(name, kind)| Some((beginning.find(name)?, kind)));
    match found.min_by_key(|(at, _)| *at) {
        Some((_, kind)) => Ok(kind),
        None => bail!("{}: no secret or public file, transcript or evidence of fingerprints", path.display()),
    }
}

fn secret(path: &Path, with_secrets: bool) -> anyhow::Result<Value> {
    let set = FingerprintSet::read(path)?;
    let ledger = Ledger::beside(path, &set);
    let summary = ledger.summary()?;
    let mut shown = json!({
        "kind": "secret", "model": set.model(), "scheme": set.scheme(), "fingerprints": set.fingerprints().len(),
        "created_at": set.created_at(), "tokenizer": set.tokenizer(), "leaf_root": set.leaf_root(),
        "beacon": set.beacon(), "ledger": ledger.path(), "spent": summary.spent, "opened": summary.opened,
        "pools": pools(set.fingerprints().len()),
    });
    let copies = Register::beside(path, &set).copies()?;
    if !copies.is_empty() {
        // The roots are published when copies are delivered; whose half is which stays in the register.
        let root = |copy: &HostCopy| (copy.name.clone(), json!(copy.subset_root(&set)));
        shown["copies"] = Value::Object(copies.iter().map(root).collect());
    }
    if with_secrets {
        let each = set.fingerprints().iter().enumerate().map(|(index, one)| {
            let secret = set.secret(index).ok();
            let response = secret
                .filter(|_| matches!(set.scheme(), Scheme::Verbatim(_)))
                .map(|secret| String::from_utf8_lossy(&Verbatim::response(one, secret).bytes).into_owned());
            json!({"index": index, "query": one.query, "secret": secret, "response": response})
        });
        shown["secrets"] = each.collect();
    }
    Ok(shown)
}

/// Fingerprints of each pool.
fn pools(count: usize) -> Value {
    let size = |pool: Pool| (pool.name().to_owned(), json!(pool.indices(count).count()));
    Value::Object(Pool::ALL.into_iter().map(size).collect())
}

fn public(commitment: &Commitment) -> Value {
    json!({
        "kind": "public", "model": commitment.model, "scheme": commitment.scheme,
        "fingerprints": commitment.digests.len(), "chance_one_in": commitment.chance_one_in,
        "leaf_root": commitment.leaf_root, "beacon": commitment.beacon,
        "fingerprint_root": commitment.fingerprint_root, "embedded": commitment.embedded.len(),
    })
}

fn transcript(record: &Record) -> Value {
    let header = record.header();
    let asked = record.attempts().count();
    json!({
        "kind": "transcript", "suspect": header.suspect, "route": header.route, "mode": header.mode,
        "draws": header.draws, "frames": header.frames.len(), "registrations": header.registrations,
        "scheme": header.scheme, "leaf_root": header.leaf_root, "tokenizer": header.tokenizer,
        "reference": header.reference, "begun_at": record.lines[0].time, "asked": asked,
        "notes": record.notes().collect::<Vec<_>>(), "head": record.head(),
    })
}

fn bundle(bundle: &Bundle) -> Value {
    let commitment = bundle.commitment();
    json!({
        "kind": "evidence (not verified here: loyal fingerprint verify-evidence)", "model": commitment.model,
        "scheme": commitment.scheme, "leaf_root": commitment.leaf_root, "beacon": commitment.beacon,
        "lines": bundle.transcript().len(), "opened": bundle.opened(), "totals": bundle.totals(),
    })
}

/// A value for people: lists one entry a line.
fn written(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) if list.iter().all(Value::is_number) => {
            list.iter().map(Value::to_string).collect::<Vec<_>>().join(" ")
        }
        Value::Array(list) if list.is_empty() => "none".to_owned(),
        Value::Array(list) => list.iter().map(written).collect::<Vec<_>>().join("\n"),
        Value::Object(map) if map.is_empty() => "none".to_owned(),
        Value::Object(map) => map
            .iter()
            .map(|(name, value)| format!("{name}: {}", written(value)))
            .collect::<Vec<_>>()
            .join("\n"),
        other => other.to_string(),
    }
}
