//! `loyal model pull`: a model from the Hugging Face hub.

use std::fs;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::hub::{HUB, Hub, Listing, Part, Remote};
use crate::{env, output, stop};

/// Files that a model is made of, in the order in which they come and are put in place: one that has
/// `config.json` has everything.
const NAMES: [&str; 9] = [
    "LICENSE",
    "LICENSE.txt",
    "README.md",
    "generation_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "tokenizer_config.json",
    "tokenizer.json",
    "config.json",
];
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// Where files lie until all of them are there and checked.
const UNFINISHED: &str = ".unfinished";

/// Arguments of `loyal model pull`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every file is checked against the digest the hub names (SHA-256 for weights). What was downloaded before a
transfer broke off is kept, and the same command goes on from there. Files that are there already and fit are
not downloaded again; files that differ are never overwritten.

HF_ENDPOINT      address of a mirror of the hub
HF_TOKEN_PATH    file with an access token, for models that ask for one

Examples:
  loyal model pull HuggingFaceTB/SmolLM2-135M-Instruct
  loyal model pull Qwen/Qwen3-0.6B --revision main --out models/qwen3")]
pub(crate) struct Args {
    /// The model, as organisation/name.
    id: String,
    /// Branch, tag or commit.
    #[arg(long, default_value = "main")]
    revision: String,
    /// Folder for the model [default: the name of the model, in the current folder]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// File that holds an access token of the hub [default: $HF_TOKEN_PATH, or where the hub's programs keep it]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print events as JSON lines instead of a progress bar.
    #[arg(long)]
    json: bool,
}

/// Downloads, checks, and puts in place. Ctrl-C keeps what is there.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if let Some(file) = args.token_file.as_deref().filter(|file| !file.exists()) {
        bail!("{}: no such file; --token-file must name a file that holds an access token", file.display());
    }
    let endpoint = env::hub_endpoint().unwrap_or_else(|| HUB.to_owned());
    let token_file = args.token_file.clone().or_else(env::hub_token_file);
    let hub = Hub::new(&endpoint, token_file.as_deref())?;
    let listing = hub.list(&args.id, &args.revision)?;
    let name = args.id.rsplit('/').next().unwrap_or(&args.id);
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(name));
    let remotes = describe(&hub, &listing)?;
    stop::listen();
    let missing = missing(&remotes, &out)?;
    let bytes: u64 = missing.iter().map(|remote| remote.bytes).sum();
    if args.json {
        output::json(&json!({"event": "start", "id": args.id, "commit": listing.commit, "folder": out,
            "files": missing.len(), "bytes": bytes}))?;
    } else {
        let (count, size) = (missing.len(), output::size(bytes));
        output::say(&format!("{} at {}: {count} files to download, {size}", args.id, short(&listing.commit)));
    }
    fetch(args, &hub, &missing, &out)?;
    if args.json {
        output::json(&json!({"event": "finished", "folder": out, "commit": listing.commit}))
    } else {
        output::say(&format!("complete; ask it something with: loyal model chat {}", out.display()));
        output::line(&out.display().to_string())
    }
}

fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}

/// The files that are wanted, `config.json` last.
fn describe(hub: &Hub, listing: &Listing) -> anyhow::Result<Vec<Remote>> {
    let names = wanted(listing)?;
    names.iter().map(|name| hub.describe(listing, name)).collect()
}

fn wanted(listing: &Listing) -> anyhow::Result<Vec<&str>> {
    let has = |name: &str| listing.names.iter().any(|file| file == name);
    let mut names: Vec<&str> = Vec::new();
    if has(WEIGHTS) {
        names.push(WEIGHTS);
    } else if has(INDEX) {
        let is_shard = |name: &&String| name.starts_with("model-") && name.ends_with(".safetensors");
        names.extend(
            listing
                .names
                .iter()
                .filter(is_shard)
                .filter(|name| !name.contains(['/', '\\']))
                .map(String::as_str),
        );
        names.push(INDEX);
    }
    let there = |name: &str, what: &str| match has(name) {
        true => Ok(()),
        false => bail!("{} has no {name}: {what}; choose another model", listing.id),
    };
    if names.is_empty() {
        there(WEIGHTS, "Loyal reads weights as safetensors only")?;
    }
    there("config.json", "without it nobody knows the model's shape")?;
    there("tokenizer.json", "Loyal reads tokenizers in this form only")?;
    names.extend(NAMES.iter().copied().filter(|name| has(name)));
    Ok(names)
}

/// The files that are not in `out` yet. One that is there with another content is in the way.
fn missing<'a>(remotes: &'a [Remote], out: &Path) -> anyhow::Result<Vec<&'a Remote>> {
    let mut missing = Vec::new();
    for remote in remotes {
        let path = out.join(&remote.name);
        if !path.exists() {
            missing.push(remote);
        } else if remote.digest.of_file(&path)? != remote.digest {
            bail!(
                "{}: is there already and differs from the file on the hub; choose another --out, or move it away",
                path.display()
            );
        }
    }
    Ok(missing)
}

fn fetch(args: &Args, hub: &Hub, remotes: &[&Remote], out: &Path) -> anyhow::Result<()> {
    let unfinished = out.join(UNFINISHED);
    let failed = || format!("{}: making the folder failed; choose another --out", out.display());
    fs::create_dir_all(&unfinished).with_context(failed)?;
    let bar = bar(args, remotes.iter().map(|remote| remote.bytes).sum());
    let mut parts = Vec::new();
    for remote in remotes {
        let part = Part::new(&unfinished, &remote.name, &remote.digest);
        let (start, resumed) = (bar.position(), part.bytes());
        bar.set_message(remote.name.clone());
        hub.download(remote, &part, &mut |bytes| {
            bar.set_position(start + bytes);
            stop::asked()
        })?;
        bar.set_position(start + remote.bytes);
        if args.json {
            output::json(
                &json!({"event": "file", "name": remote.name, "bytes": remote.bytes, "resumed_at": resumed,
                "digest": remote.digest.name(), "checked": remote.digest.digits()}),
            )?;
        }
        parts.push((part, out.join(&remote.name)));
    }
    bar.finish_and_clear();
    for (part, path) in &parts {
        part.keep(path)?;
    }
    // Parts of an earlier state of the model may lie there too.
    fs::remove_dir_all(&unfinished).with_context(|| format!("{}: removing failed", unfinished.display()))
}

fn bar(args: &Args, bytes: u64) -> ProgressBar {
    if args.json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} {msg}");
    ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
