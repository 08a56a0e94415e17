//! `loyal model evaluate`: how well a model predicts a text, and how far it is from another.

use std::path::PathBuf;

use anyhow::{bail, ensure};
use loyal_model::evaluate::{self, Divergence, Evaluation};
use serde_json::json;

use super::opened::{Kept, Opened};
use super::prompt;
use crate::output::{self, grouped};

/// Arguments of `loyal model evaluate`.
#[derive(Debug, clap::Args)]
#[command(
    allow_missing_positional = true,
    after_help = "\
Bits per byte compares models with different tokenizers; perplexity only models with the same one. Lower is
better for both.

Examples:
  loyal model evaluate valid.txt
  loyal model evaluate ./marked valid.txt --against ./base --json"
)]
pub(crate) struct Args {
    /// Folder of the model [default: the model that comes with Loyal]
    folder: Option<PathBuf>,
    /// Text to predict (UTF-8); `-` for standard input.
    text: PathBuf,
    /// Folder of a base model: also measure how far the model has moved from it (KL divergence, nats per token).
    #[arg(long, value_name = "FOLDER")]
    against: Option<PathBuf>,
    /// Tokens that are predicted in one piece, each piece from its own start [default: the whole context]
    #[arg(long, value_name = "TOKENS")]
    window: Option<usize>,
    /// How weights are kept in memory.
    #[arg(long, value_enum, default_value_t = Kept::F32)]
    precision: Kept,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Measures and prints.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let text = if args.text.as_os_str() == "-" {
        prompt::read(Some(&args.text))?
    } else {
        prompt::read_file(&args.text)?
    };
    ensure!(!text.trim().is_empty(), "{}: there is no text in it; give a longer one", args.text.display());
    let model = Opened::open(args.folder.as_deref(), args.precision)?;
    let base =
        args.against.as_deref().map(|folder| Opened::open(Some(folder), args.precision)).transpose()?;
    let window = args.window.unwrap_or(model.decoder.config().context_tokens);
    let divergence = base.as_ref().map(|base| compare(base, &model, &text, window)).transpose()?;
    let evaluation = evaluate::run(&model.decoder, &model.tokenizer, &text, window)?;
    if args.json {
        output::json(&to_json(&model, &evaluation, divergence.as_ref(), window))
    } else {
        output::pairs(&rows(&evaluation, divergence.as_ref()))
    }
}

fn compare(base: &Opened, model: &Opened, text: &str, window: usize) -> anyhow::Result<Divergence> {
    if base.tokenizer.encode(text)? != model.tokenizer.encode(text)? {
        bail!(
            "{} and {} cut the text into different tokens; --against needs a model with the same tokenizer",
            base.folder.display(),
            model.folder.display()
        );
    }
    Ok(evaluate::compare(&base.decoder, &model.decoder, &base.tokenizer, text, window)?)
}

fn to_json(
    model: &Opened,
    evaluation: &Evaluation,
    divergence: Option<&Divergence>,
    window: usize,
) -> serde_json::Value {
    let mut value = json!({
        "folder": model.folder, "bits_per_byte": evaluation.bits_per_byte, "perplexity": evaluation.perplexity,
        "top1_accuracy": evaluation.top1_accuracy, "nats_per_token": evaluation.nats_per_token,
        "tokens": evaluation.tokens, "bytes": evaluation.bytes, "window_tokens": window,
    });
    if let Some(divergence) = divergence {
        value["against"] =
            json!({"kl_nats_per_token": divergence.kl_nats, "top1_agreement": divergence.top1_agreement});
    }
    value
}

fn rows(evaluation: &Evaluation, divergence: Option<&Divergence>) -> Vec<(&'static str, String)> {
    let read = format!("{} tokens, {}", grouped(evaluation.tokens), output::size(evaluation.bytes as u64));
    let mut rows = vec![
        ("Text", read),
        ("Bits per byte", format!("{:.4}", evaluation.bits_per_byte)),
        ("Perplexity", format!("{:.3} per token", evaluation.perplexity)),
        ("Top-1", format!("{:.1} % of tokens were the most probable one", 100.0 * evaluation.top1_accuracy)),
    ];
    if let Some(divergence) = divergence {
        rows.push(("KL from base", format!("{:.5} nats per token", divergence.kl_nats)));
        rows.push((
            "Agreement",
            format!("{:.1} % of most probable tokens", 100.0 * divergence.top1_agreement),
        ));
    }
    rows
}
