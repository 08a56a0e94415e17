//! `loyal model train`: fine-tuning on text or on prompts with responses, whole or by adapters.

use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use candle_core::Device;
use indicatif::{ProgressBar, ProgressStyle};
use loyal_model::adamw::Settings;
use loyal_model::corpus::{Corpus, Windows, file_digest};
use loyal_model::lora::{self, Lora};
use loyal_model::pairs::{self, Pair, Pairs};
use loyal_model::pretrain::weights_digest;
use loyal_model::template::{ChatTemplate, Message};
use loyal_model::train::{Ending, Examples, Plan, Progress, Trained};
use loyal_model::weights::{Stored, Weights};
use loyal_model::{Config, Llama, Tokenizer};
use serde_json::json;

use crate::clock::SystemClock;
use crate::ending;
use crate::subject::copy_tokenizer;
use crate::{output, stop};

/// Arguments of `loyal model train`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder of the model to start from.
    model: PathBuf,
    /// Text files to learn from (UTF-8; a line `<|endoftext|>` ends a document).
    #[arg(long, num_args = 1.., required_unless_present = "pairs", conflicts_with = "pairs")]
    text: Vec<PathBuf>,
    /// JSON lines {"prompt": …, "response": …}; only responses count in the loss.
    #[arg(long)]
    pairs: Option<PathBuf>,
    /// Folder for the trained model (or for the adapters, with --lora and without --merge).
    #[arg(long)]
    out: PathBuf,
    /// Training steps.
    #[arg(long, default_value_t = 200)]
    steps: u64,
    /// Sequences in a batch.
    #[arg(long, default_value_t = 8)]
    batch: usize,
    /// Tokens of a training window (with --text).
    #[arg(long, default_value_t = 128)]
    window: usize,
    /// Batches whose gradients are averaged in each step.
    #[arg(long, default_value_t = 1)]
    accumulate: usize,
    /// Highest learning rate.
    #[arg(long, default_value_t = 3e-4)]
    learning_rate: f64,
    /// Steps of linear warm-up.
    #[arg(long, default_value_t = 10)]
    warmup: u64,
    /// Pull of matrices towards zero.
    #[arg(long, default_value_t = 0.0)]
    weight_decay: f64,
    /// Weight of the divergence from the model trained from.
    #[arg(long, default_value_t = 0.0)]
    kl: f64,
    /// Weight of the squared distance to the weights trained from.
    #[arg(long, default_value_t = 0.0)]
    l2: f64,
    /// Train adapters of this rank instead of the weights.
    #[arg(long, value_name = "RANK")]
    lora: Option<usize>,
    /// Merge the adapters into the weights at the end.
    #[arg(long, requires = "lora")]
    merge: bool,
    /// Recompute blocks on the way back: slower, in much less memory.
    #[arg(long)]
    recompute: bool,
    /// Seed of the order of examples and of fresh adapters.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Steps between checkpoints.
    #[arg(long, default_value_t = 50)]
    checkpoint: u64,
    /// Print events as JSON lines instead of a progress bar.
    #[arg(long)]
    json: bool,
}

/// Runs the job; Ctrl-C leaves a checkpoint that the same command goes on from.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(args.out != args.model, "--out must be another folder than the model trained from");
    stop::listen();
    let config = Config::read(&args.model)?;
    let tokenizer = Tokenizer::read(&args.model, &config)?;
    let mut llama = Llama::load(&args.model, &Device::Cpu)?;
    let examples = examples(args, &config, &tokenizer)?;
    let adapters = match args.lora {
        None => None,
        Some(rank) => {
            let settings = lora::Settings { rank, alpha: 2.0 * rank as f64, ..lora::Settings::default() };
            Some(Lora::new(&llama, settings, args.seed)?)
        }
    };
    let checkpoint = args.out.join("work/checkpoint.safetensors");
    let plan = Plan {
        steps: args.steps,
        accumulation: args.accumulate,
        learning_rate: args.learning_rate,
        warmup_steps: args.warmup,
        optimizer: Settings { weight_decay: args.weight_decay, ..Settings::default() },
        trained: adapters.as_ref().map_or(Trained::Everything, Trained::Adapters),
        kl_to_base: args.kl,
        l2_to_base: args.l2,
        recompute: args.recompute,
        checkpoint: Some((&checkpoint, args.checkpoint)),
        ..Plan::default()
    };
    let bar = bar(args);
    let outcome = loyal_model::train::run(&mut llama, &plan, &*examples, &SystemClock, &mut |progress| {
        show(progress, &bar, args.json);
        stop::asked()
    })?;
    bar.finish_and_clear();
    if outcome.ending == Ending::Stopped {
        return stopped(args, outcome.losses.last().map_or(0, |&(step, _)| step + 1));
    }
    save(args, &mut llama, adapters.as_ref())?;
    finished(args, &llama, outcome.losses.last().map(|&(_, loss)| loss))
}

fn examples(args: &Args, config: &Config, tokenizer: &Tokenizer) -> anyhow::Result<Box<dyn Examples>> {
    if let Some(path) = &args.pairs {
        let encoded = encode(&args.model, tokenizer, &pairs::read(path)?, config)?;
        let pad = config.eos_tokens.first().copied().unwrap_or(0);
        return Ok(Box::new(Pairs::new(encoded, (args.batch, config.context_tokens), pad, args.seed)?));
    }
    if args.window > config.context_tokens {
        bail!(
            "--window {} is longer than the model's context of {} tokens",
            args.window,
            config.context_tokens
        );
    }
    let digest = file_digest(&args.model.join("tokenizer.json"))?;
    let corpus = Corpus::prepare(&args.text, tokenizer, &digest, &args.out.join("work"))?;
    Ok(Box::new(Windows::new(corpus, args.batch, args.window, args.seed)?))
}

/// Prompts through the model's chat template, or as plain text followed by a line's end where it has none; responses
/// end with the model's end token.
fn encode(
    folder: &Path,
    tokenizer: &Tokenizer,
    pairs: &[Pair],
    config: &Config,
) -> anyhow::Result<Vec<(Vec<u32>, Vec<u32>)>> {
    let template = ChatTemplate::read(folder)?;
    let one = |pair: &Pair| {
        let prompt = match &template {
            Some(template) => {
                let message = Message { role: "user".to_owned(), content: pair.prompt.clone() };
                tokenizer.encode_plain(&template.render(&[message], true)?)?
            }
            None => tokenizer.encode(&format!("{}\n", pair.prompt))?,
        };
        let mut response = tokenizer.encode_plain(&pair.response)?;
        response.extend(config.eos_tokens.first());
        Ok((prompt, response))
    };
    pairs.iter().map(one).collect()
}

fn bar(args: &Args) -> ProgressBar {
    if args.json {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}");
    ProgressBar::new(args.steps).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn show(p: &Progress, bar: &ProgressBar, json: bool) {
    if json {
        let event = json!({"event": "step", "step": p.step, "loss": p.loss, "gradient_norm": p.gradient_norm,
            "learning_rate": p.learning_rate, "tokens_per_second": p.tokens_per_second()});
        // Nobody reading the events is no reason to lose the work.
        let _ = output::json(&event);
        return;
    }
    bar.set_position(p.step);
    let (left, pace) = (p.left().as_secs(), p.tokens_per_second());
    bar.set_message(format!(
        "loss {:.3}, {pace:.0} tokens/s, {}:{:02} min left",
        p.loss,
        left / 60,
        left % 60
    ));
}

fn save(args: &Args, llama: &mut Llama, adapters: Option<&Lora>) -> anyhow::Result<()> {
    if let Some(lora) = adapters {
        if !args.merge {
            return Ok(lora.save(&args.out)?);
        }
        llama.parameters = lora.merge(&llama.parameters)?;
    }
    copy_tokenizer(&args.model, &args.out)?;
    let stored = Weights::open(&args.model)?.stored().unwrap_or(Stored::F32);
    Ok(llama.save(&args.out, stored)?)
}

fn stopped(args: &Args, step: u64) -> anyhow::Result<()> {
    if args.json {
        output::json(&json!({"event": "stopped", "step": step}))?;
    } else {
        output::say(&format!("stopped after step {step}; the same command goes on from there"));
    }
    Err(ending::Ending::Interrupted.into())
}

fn finished(args: &Args, llama: &Llama, loss: Option<f32>) -> anyhow::Result<()> {
    // What the work files held is in the result now.
    let _ = std::fs::remove_file(args.out.join("work/checkpoint.safetensors"));
    if args.json {
        // Of what was written, rounded as it is stored.
        let has_adapters_only = args.lora.is_some() && !args.merge;
        let written = if has_adapters_only { llama.clone() } else { Llama::load(&args.out, llama.device())? };
        let digest = weights_digest(&written)?;
        return output::json(
            &json!({"event": "finished", "out": args.out, "loss": loss, "weights_sha256": digest}),
        );
    }
    let loss = loss.map_or_else(String::new, |loss| format!(", last loss {loss:.3}"));
    output::line(&format!("{}: trained for {} steps{loss}", args.out.display(), args.steps))
}
