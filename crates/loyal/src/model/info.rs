//! `loyal model info`: what kind of model lies in a folder, and whether its parts fit.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use loyal_model::config::{Architecture, RopeScaling};
use loyal_model::template::ChatTemplate;
use loyal_model::{Config, Tokenizer, Weights};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::opened::check_is_folder;
use crate::output::{self, grouped};
use crate::shipped;

/// Arguments of `loyal model info`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  loyal model info
  loyal model info ./SmolLM2-135M --json")]
pub(crate) struct Args {
    /// Folder of the model [default: the model that comes with Loyal]
    folder: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What there is to say about a model.
struct Info {
    folder: PathBuf,
    config: Config,
    tokenizer_entries: usize,
    template: bool,
    stored: &'static str,
    files: Vec<(String, u64)>,
    digest: String,
}

/// Opens every part of the model, checks that they fit, and describes them.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let info = Info::read(shipped::folder(args.folder.as_deref())?)?;
    if args.json { output::json(&info.to_json()) } else { output::pairs(&info.rows()) }
}

impl Info {
    fn read(folder: PathBuf) -> anyhow::Result<Self> {
        check_is_folder(&folder)?;
        let config = Config::read(&folder)?;
        let weights = Weights::open(&folder)?;
        weights.check(&config)?;
        Ok(Self {
            tokenizer_entries: Tokenizer::read(&folder, &config)?.len(),
            template: ChatTemplate::read(&folder)?.is_some(),
            stored: weights.stored().map_or("unknown", loyal_model::weights::Stored::name),
            files: files(&folder)?,
            digest: digest(&weights, &config)?,
            folder,
            config,
        })
    }

    fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, bytes)| bytes).sum()
    }

    fn to_json(&self) -> serde_json::Value {
        let config = &self.config;
        let files = self.files.iter().map(|(name, bytes)| json!({"name": name, "bytes": bytes}));
        json!({
            "folder": self.folder, "architecture": family(config.architecture),
            "parameters": config.parameter_count(), "precision": self.stored,
            "context_tokens": config.context_tokens, "vocabulary_tokens": config.vocab_size,
            "tokenizer_tokens": self.tokenizer_entries, "chat_template": self.template,
            "layers": config.layer_count, "hidden_size": config.hidden_size,
            "intermediate_size": config.intermediate_size, "heads": config.head_count,
            "kv_heads": config.kv_head_count, "head_size": config.head_size, "tied_embedding": config.tied,
            "bos_token": config.bos_token, "eos_tokens": config.eos_tokens, "bytes": self.bytes(),
            "files": files.collect::<Vec<_>>(), "weights_sha256": self.digest,
        })
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let config = &self.config;
        let count = config.parameter_count();
        let rope = match config.rope_scaling {
            RopeScaling::None => String::new(),
            RopeScaling::Linear { factor } => format!(", stretched {factor} times"),
            RopeScaling::Llama3 { factor, .. } => format!(", stretched {factor} times as in Llama 3.1"),
        };
        let template = if self.template {
            "yes: made for conversations"
        } else {
            "no: a base model; `chat` uses a plain transcript"
        };
        let head = if config.tied { "shared with the input" } else { "its own" };
        vec![
            ("Folder", self.folder.display().to_string()),
            ("Architecture", family(config.architecture).to_owned()),
            (
                "Shape",
                format!(
                    "{} layers, width {}, feed-forward {}\n{} heads of {}, {} for keys and values; output matrix {head}",
                    config.layer_count,
                    config.hidden_size,
                    config.intermediate_size,
                    config.head_count,
                    config.head_size,
                    config.kv_head_count,
                ),
            ),
            ("Parameters", format!("{} ({})", short(count), grouped(count))),
            ("Precision", format!("{} in the file", self.stored)),
            ("Context", format!("{} tokens{rope}", grouped(config.context_tokens))),
            (
                "Tokenizer",
                format!(
                    "{} tokens, of {} the model has room for",
                    grouped(self.tokenizer_entries),
                    grouped(config.vocab_size)
                ),
            ),
            ("Chat template", template.to_owned()),
            ("Size on disk", format!("{} in {} files", output::size(self.bytes()), self.files.len())),
            ("Weights digest", format!("sha256 {}", self.digest)),
        ]
    }
}

const fn family(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::Llama => "Llama",
        Architecture::Qwen2 => "Qwen2",
        Architecture::Qwen3 => "Qwen3",
    }
}

/// 5312000 as "5.3 million".
fn short(count: usize) -> String {
    let count = count as f64;
    if count >= 1e9 {
        format!("{:.2} billion", count / 1e9)
    } else if count >= 1e6 {
        format!("{:.1} million", count / 1e6)
    } else {
        format!("{:.0} thousand", (count / 1e3).max(1.0))
    }
}

/// The files at the top of the folder and their sizes, in order of name.
fn files(folder: &Path) -> anyhow::Result<Vec<(String, u64)>> {
    let failed = || format!("{}: reading the folder failed", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        // The hub's own programs keep links to their cache in a model's folder.
        let facts = fs::metadata(entry.path()).with_context(failed)?;
        if facts.is_file() {
            files.push((entry.file_name().to_string_lossy().into_owned(), facts.len()));
        }
    }
    files.sort();
    Ok(files)
}

/// SHA-256 of all numbers as f32, in order of name: the same for the same numbers, however their file is sharded. It is
/// made as the training manifest's is, which names the numbers before they are rounded for the file.
fn digest(weights: &Weights, config: &Config) -> anyhow::Result<String> {
    let mut parameters = config.parameters();
    parameters.sort();
    let mut hash = Sha256::new();
    for (name, shape) in parameters {
        hash.update(name.as_bytes());
        let bytes: Vec<u8> =
            weights.expect(&name, &shape)?.to_f32().iter().flat_map(|number| number.to_le_bytes()).collect();
        hash.update(bytes);
    }
    Ok(hex::encode(hash.finalize()))
}
