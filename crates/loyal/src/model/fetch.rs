//! `loyal model fetch`: weights out of a store, checked by their root.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use loyal_roles::owner::Page;
use loyal_types::Hash;
use serde_json::json;

use crate::site::Site;
use crate::store::{self, Store, StoreArgs};
use crate::{env, output};

/// Arguments of `loyal model fetch`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The root is what makes these weights the wanted ones: it comes from the chain (--model), or from somebody you trust (--root). \
Neither the store nor the way to it has to be trusted. Run again, it brings the files that are missing.

Examples:
  loyal model fetch --model 1 --out dobby
  loyal model fetch s3://models/dobby --endpoint https://s3.example --root 0x1f… --out dobby")]
pub(crate) struct Args {
    /// Where they were published (`loyal owner publish`); where the chain says the version's weights are, unless given.
    #[arg(value_name = "STORE", required_unless_present = "model")]
    from: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    site: Site,
    /// The root that they must have.
    #[arg(long, value_name = "ROOT", required_unless_present = "model", conflicts_with = "model")]
    root: Option<String>,
    /// The model whose root the chain knows.
    #[arg(long, value_name = "ID")]
    model: Option<u64>,
    /// Its version; the newest that is served unless given.
    #[arg(long, value_name = "N", requires = "model")]
    version: Option<u32>,
    /// The folder to bring them to.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

/// Fetches.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let (root, named) = wanted(args)?;
    let from =
        args.from.clone().or(named).context("the chain does not say where the weights are; name a store")?;
    let moved = store::fetch(&Store::at(&from, &args.store)?, root, &args.out, &mut |entry, is_there| {
        if !args.site.json {
            let did = if is_there { "is there" } else { "fetched" };
            output::say(&format!("{did}: {} ({})", entry.path, output::size(entry.bytes)));
        }
    })?;
    if args.site.json {
        return output::json(&json!({
            "out": args.out, "root": moved.root, "files": moved.files, "bytes": moved.bytes, "kept": moved.kept,
        }));
    }
    output::line(&args.out.display().to_string())
}

/// The root, and where the chain says that they are.
fn wanted(args: &Args) -> anyhow::Result<(Hash, Option<String>)> {
    let Some(model) = args.model else {
        let text = args.root.as_deref().unwrap_or_default();
        let root = serde_json::from_value(json!(text))
            .with_context(|| format!("--root {text}: 0x and 64 hexadecimal digits"))?;
        return Ok((root, None));
    };
    let reached = args.site.reach()?;
    let page = Page::read(&reached.client, &reached.at, model)?;
    let mut versions = page.versions.iter().rev();
    let found = match args.version {
        Some(number) => versions.find(|version| version.number == number),
        None => versions.find(|version| version.state == "active"),
    };
    let Some(version) = found else {
        bail!("model {model} has no such version; `loyal model show {model}` tells which")
    };
    let uri = Some(version.uri.clone()).filter(|uri| !uri.is_empty());
    Ok((Hash(version.weights_root.0), uri))
}

/// The folder of weights with a root, brought into the cache from a store where they are not there yet.
///
/// # Errors
/// As [`store::fetch`]; there is no folder for the cache.
pub(crate) fn cached(address: &str, root: Hash) -> anyhow::Result<PathBuf> {
    let cache =
        env::cache().context("there is no folder to bring the weights into; set LOYAL_CACHE to one")?;
    let folder: PathBuf = Path::new(&cache).join("weights").join(root.to_string());
    store::fetch(&Store::at(address, &StoreArgs::default())?, root, &folder, &mut |entry, is_there| {
        if !is_there {
            output::say(&format!("fetched: {} ({})", entry.path, output::size(entry.bytes)));
        }
    })?;
    Ok(folder)
}
