//! `loyal model export`: a model in another program's format.

use std::path::PathBuf;

use anyhow::ensure;
use clap::ValueEnum;
use loyal_model::gguf::{self, Kind};
use serde_json::json;

use super::opened::check_is_folder;
use crate::{output, shipped};

/// Arguments of `loyal model export`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  loyal model export ./marked --gguf marked.gguf && llama-server -m marked.gguf"
)]
pub(crate) struct Args {
    /// Folder of the model [default: the model that comes with Loyal]
    folder: Option<PathBuf>,
    /// Where to write it as GGUF, for llama.cpp and what is built on it (never overwritten).
    #[arg(long, value_name = "FILE")]
    gguf: PathBuf,
    /// How matrices are stored.
    #[arg(long, value_enum, default_value_t = Stored::F16)]
    stored: Stored,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stored {
    F32,
    F16,
}

/// Writes the file.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(!args.gguf.exists(), "{} exists; choose another name", args.gguf.display());
    let folder = shipped::folder(args.folder.as_deref())?;
    check_is_folder(&folder)?;
    let whole = std::fs::canonicalize(&folder).unwrap_or_else(|_| folder.clone());
    let name = whole.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let kind = match args.stored {
        Stored::F32 => Kind::F32,
        Stored::F16 => Kind::F16,
    };
    gguf::export(&folder, &name, kind, &args.gguf)?;
    let bytes = std::fs::metadata(&args.gguf)?.len();
    if args.json {
        return output::json(&json!({"folder": folder, "gguf": args.gguf, "bytes": bytes}));
    }
    output::line(&format!("{}: {}", args.gguf.display(), output::size(bytes)))
}
