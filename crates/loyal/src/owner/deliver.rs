//! `loyal owner deliver`: a host's own copy of a traced model, from its marks to the chain.

use std::path::PathBuf;

use alloy_primitives::B256;
use anyhow::{Context as _, ensure};
use loyal_fingerprint::FingerprintSet;
use loyal_fingerprint::copies::Register;
use loyal_roles::hosting::{self, Copy, Hosting, Next};
use loyal_roles::owner::manifest;
use loyal_types::Hash;
use serde_json::{Value, json};

use super::publish;
use crate::fingerprint::embed::{self, Embedding, REPORT};
use crate::site::{self, Actor, Site};
use crate::store::{Store, StoreArgs};
use crate::{model, output};

/// What `loyal owner deliver` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The host has opened its hosting and put up its bond; a traced model waits then for its copy. The copy carries a half of the \
tracing fingerprints that is the host's alone: after a leak `loyal fingerprint trace` tells whose it is. Where FOLDER holds no \
model yet, it is embedded first, from the unmarked model of --from. Run again, it goes on where it stopped.

The host then acknowledges the copy: it runs `loyal host open` again, or --signer does it here.

Examples:
  loyal owner deliver 4 copy-4 --from MODEL --benign prose.txt --fingerprints secret.json --to s3://copies --key owner.json
  loyal owner deliver 4 copy-4 --fingerprints secret.json --key owner.json --dry-run")]
pub(crate) struct Args {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    /// The hosting.
    hosting: u64,
    /// The folder of the copy.
    #[arg(id = "weights", value_name = "FOLDER")]
    folder: PathBuf,
    /// The secret file of the fingerprints.
    #[arg(long, value_name = "FILE")]
    fingerprints: PathBuf,
    /// Whose copy it is in the register of copies [default: the host's account]
    #[arg(long, value_name = "NAME")]
    copy: Option<String>,
    /// The unmarked model, from which the copy is made where it is not there yet.
    #[arg(long, value_name = "MODEL", requires = "benign")]
    from: Option<PathBuf>,
    /// Ordinary text on which the copy must stay what the model is.
    #[arg(long, value_name = "FILE", requires = "from")]
    benign: Option<PathBuf>,
    /// Training steps at most (default: by the number of fingerprints).
    #[arg(long, default_value_t = 0, hide_default_value = true, requires = "from")]
    steps: u64,
    /// Where to store the copy for the host: a folder, or s3://bucket/prefix. Who knows its root can ask for it there.
    #[arg(long, value_name = "STORE")]
    to: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
    /// The hosting's signer, where it is at hand: a key file or an account's number.
    #[arg(long, value_name = "KEY")]
    signer: Option<String>,
    /// A file with the signer's password; asked for at the terminal unless given.
    #[arg(long, value_name = "FILE", requires = "signer")]
    signer_password_file: Option<PathBuf>,
}

/// Delivers.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let reached = args.site.reach()?;
    let key = args.site.actor(&args.actor)?;
    let hosting = Hosting::read(&reached.client, &reached.at, args.hosting)?;
    let name = args.copy.clone().unwrap_or_else(|| hosting.host.to_string());
    if let Some(target) = &args.to {
        // An address that is none is said before anything is trained.
        Store::at(target, &args.store)?;
    }
    embed_where_missing(args, &name)?;
    let subset = subset(args, &name)?;
    let missed = missed(args);
    if !missed.is_empty() {
        output::say(&format!("the copy misses bounds of its embedding: {}", missed.join(", ")));
    }
    let root = manifest::weights_root(&args.folder)?;
    let copy = Copy { root: B256::from(root.0), subset: B256::from(subset.0) };
    let stored = match &args.to {
        Some(target) if !args.actor.dry_run => {
            Some(publish::publish(&args.folder, target, &args.store, args.site.json)?)
        }
        _ => None,
    };
    let signer = args.signer.as_ref().map(|named| args.site.key(named, args.signer_password_file.as_deref()));
    let signer = signer.transpose()?;
    let (next, taken) = site::walk(&reached.client, &key, (args.actor.dry_run, args.site.json), |walk| {
        hosting::prepare(walk, &reached.at, args.hosting, copy)?;
        if walk.is_rehearsal() {
            return Ok(Next::Rehearsed);
        }
        match &signer {
            Some(signer) => Ok(hosting::acknowledge(walk, &reached.at, args.hosting, signer)?),
            None if hosting.state == "active" => Ok(Next::Serves),
            None => Ok(Next::Copy),
        }
    })?;
    let address = stored.map(|stored| stored.address);
    if args.site.json {
        return output::json(&json!({
            "hosting": args.hosting, "copy": name, "copyRoot": root, "subsetRoot": subset, "address": address,
            "missed": missed, "serves": next == Next::Serves, "steps": site::steps_json(&taken),
        }));
    }
    output::pairs(&[
        ("hosting", args.hosting.to_string()),
        ("copy of", name),
        ("copy root", root.to_string()),
        ("subset root", subset.to_string()),
        ("lies at", address.unwrap_or_else(|| args.folder.display().to_string())),
    ])?;
    match next {
        Next::Copy => output::say("next: the host runs `loyal host open` again, which acknowledges the copy"),
        Next::Serves => output::say("the host has acknowledged it: the hosting serves"),
        _ => {}
    }
    Ok(())
}

/// Makes the copy where the folder holds no model.
fn embed_where_missing(args: &Args, name: &str) -> anyhow::Result<()> {
    if args.folder.join("config.json").is_file() {
        return model::opened::check_is_folder(&args.folder);
    }
    let (Some(from), Some(benign)) = (&args.from, &args.benign) else {
        anyhow::bail!(
            "{}: no model is there; --from and --benign say what it is made from",
            args.folder.display()
        );
    };
    ensure!(!args.actor.dry_run, "--dry-run: the copy has to be made before its root is known");
    let done = embed::embed(&Embedding {
        model: from,
        fingerprints: &args.fingerprints,
        benign,
        out: &args.folder,
        steps: args.steps,
        copy: name,
        quiet: args.site.json,
    });
    // A copy that misses a bound is written all the same, and said to be one below.
    if args.folder.join(REPORT).is_file() { Ok(()) } else { done }
}

/// The root over the fingerprints that this copy carries. A copy that the register does not know traces to nobody.
fn subset(args: &Args, name: &str) -> anyhow::Result<Hash> {
    let set = FingerprintSet::read(&args.fingerprints)?;
    let register = Register::beside(&args.fingerprints, &set);
    let known = register.copies()?;
    let copy = known.iter().find(|copy| copy.name == name).with_context(|| {
        format!(
            "{}: there is no copy of {name:?}; `loyal fingerprint embed --copy` makes one, or --from into a new folder",
            register.path().display()
        )
    })?;
    Ok(copy.subset_root(&set))
}

/// Bounds that the copy misses, as its embedding wrote them down beside it.
fn missed(args: &Args) -> Vec<String> {
    let Ok(text) = std::fs::read_to_string(args.folder.join(REPORT)) else { return Vec::new() };
    let report: Value = serde_json::from_str(&text).unwrap_or_default();
    let gates = report["gates"].as_array().cloned().unwrap_or_default();
    let missed = gates.iter().filter(|gate| gate["passed"] == json!(false));
    missed.filter_map(|gate| gate["name"].as_str().map(str::to_owned)).collect()
}
