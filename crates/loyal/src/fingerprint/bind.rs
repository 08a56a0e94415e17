//! `loyal fingerprint bind`: responses fixed by a beacon.

use std::path::PathBuf;

use anyhow::Context as _;
use loyal_fingerprint::fingerprint::{Beacon, FingerprintSet};
use loyal_types::Hash;
use serde_json::json;

use crate::output;

/// Arguments of `loyal fingerprint bind`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The number must have become public after the commitment did: a block hash, a drand round.\n\
    Whoever could choose queries knowing it could accuse any model."
)]
pub(crate) struct Args {
    /// The secret file that `fingerprint new --beacon later` wrote.
    fingerprints: PathBuf,
    /// The random number: 0x and 64 hexadecimal digits.
    #[arg(long)]
    beacon: String,
    /// Where anybody can look the number up ("Ethereum block 21000000", "drand round 4215000").
    #[arg(long)]
    source: String,
    /// Where to write the bound file (mode 0600; never overwritten).
    #[arg(long)]
    out: PathBuf,
    /// Where to write what may be published.
    #[arg(long)]
    public: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Writes the bound file.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let seed: Hash = serde_json::from_value(json!(args.beacon))
        .with_context(|| format!("--beacon {:?} must be 0x and 64 hexadecimal digits", args.beacon))?;
    let set = FingerprintSet::read(&args.fingerprints)?.bind(Beacon { seed, source: args.source.clone() })?;
    set.write(&args.out)?;
    if let Some(path) = &args.public {
        set.commitment().write(path)?;
    }
    let count = set.fingerprints().len();
    if args.json {
        return output::json(&json!({"fingerprints": count, "leaf_root": set.leaf_root(), "beacon": seed}));
    }
    output::line(&format!("{}: {count} fingerprints bound to {}", args.out.display(), args.source))
}
