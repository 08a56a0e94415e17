//! `loyal owner publish`: weights, where others find them by their root.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::store::{self, Store, StoreArgs};
use crate::{model, output};

/// What `loyal owner publish` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The files go below the root of the weights, the root that `loyal owner register` puts on the chain; the list of them comes \
last. What is stored is read back and checked. Run again, it stores what is missing. The printed address is what `--uri` of \
`loyal owner draft` takes, and `loyal model fetch`.

A store is a folder; or a bucket of S3's API: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY hold the account, --endpoint says \
where, unless it is Amazon's; or a repository of the Hugging Face hub, with the access token that its own programs keep: there \
the files go by one commit, whose id is part of the address.

Examples:
  loyal owner publish marked /srv/weights
  loyal owner publish marked s3://models/dobby --endpoint https://s3.example
  loyal owner publish marked hf://organisation/dobby")]
pub(crate) struct Args {
    /// The folder of the weights.
    folder: PathBuf,
    /// The store: a folder, s3://bucket/prefix, or hf://organisation/name.
    #[arg(value_name = "STORE")]
    target: String,
    #[command(flatten)]
    store: StoreArgs,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Publishes.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let moved = publish(&args.folder, &args.target, &args.store, args.json)?;
    if args.json {
        return output::json(&json!({
            "root": moved.root, "address": moved.address, "files": moved.files, "bytes": moved.bytes, "kept": moved.kept,
        }));
    }
    output::say(&format!("root {}", moved.root));
    output::line(&moved.address)
}

/// Publishes a folder, telling of each file.
pub(super) fn publish(
    folder: &Path,
    target: &str,
    args: &StoreArgs,
    json: bool,
) -> anyhow::Result<store::Moved> {
    model::opened::check_is_folder(folder)?;
    store::publish(folder, &Store::at(target, args)?, &mut |entry, is_there| {
        if !json {
            let did = if is_there { "is there" } else { "stored" };
            output::say(&format!("{did}: {} ({})", entry.path, output::size(entry.bytes)));
        }
    })
}
