//! `loyal fingerprint commit`: what of a secret file may be published.

use std::path::PathBuf;

use loyal_fingerprint::fingerprint::FingerprintSet;
use serde_json::json;

use crate::output;

/// Arguments of `loyal fingerprint commit`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Publish the leaf root before the beacon is drawn, and the file of --embedded after training. `new --public` and \
`bind --public` write the same file on the way.")]
pub(crate) struct Args {
    /// The secret file of `loyal fingerprint new`.
    fingerprints: PathBuf,
    /// Where to write what may be published: digests and roots, no query and no answer.
    #[arg(long)]
    out: PathBuf,
    /// Say that all of them were embedded, with the root over those.
    #[arg(long)]
    embedded: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Writes the public file.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let set = FingerprintSet::read(&args.fingerprints)?;
    let mut commitment = set.commitment();
    if args.embedded {
        let all: Vec<u32> = (0..set.fingerprints().len() as u32).collect();
        commitment = commitment.after_embedding(&all)?;
    }
    commitment.write(&args.out)?;
    if args.json {
        let root = commitment.fingerprint_root;
        return output::json(
            &json!({"fingerprints": commitment.digests.len(), "leaf_root": commitment.leaf_root,
            "fingerprint_root": root, "out": args.out}),
        );
    }
    output::line(&format!("{}: leaf root {}", args.out.display(), commitment.leaf_root))
}
