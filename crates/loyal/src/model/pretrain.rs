//! `loyal model pretrain`: a tokenizer and a model out of text files.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use candle_core::Device;
use indicatif::{ProgressBar, ProgressStyle};
use loyal_model::adamw::Settings;
use loyal_model::config::{Architecture, RopeScaling};
use loyal_model::corpus::file_digest;
use loyal_model::pretrain::{Event, HeldOut, Pretrained, Recipe, weights_digest};
use loyal_model::train::{Ending, Plan, Progress};
use loyal_model::weights::write_atomically;
use loyal_model::{Config, Llama};
use serde_json::json;

use crate::clock::SystemClock;
use crate::{curve, output, stop};

/// Arguments of `loyal model pretrain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Text files to learn from (UTF-8; a line `<|endoftext|>` ends a document).
    #[arg(required = true)]
    texts: Vec<PathBuf>,
    /// Text file to measure on; never trained on.
    #[arg(long)]
    validation: PathBuf,
    /// Folder for the new model.
    #[arg(long)]
    out: PathBuf,
    /// Entries of the vocabulary.
    #[arg(long, default_value_t = 4096)]
    vocab: usize,
    /// Width of the model.
    #[arg(long, default_value_t = 256)]
    hidden: usize,
    /// Width inside feed-forward layers.
    #[arg(long, default_value_t = 704)]
    intermediate: usize,
    /// Transformer blocks.
    #[arg(long, default_value_t = 6)]
    layers: usize,
    /// Query heads.
    #[arg(long, default_value_t = 8)]
    heads: usize,
    /// Key and value heads.
    #[arg(long, default_value_t = 4)]
    kv_heads: usize,
    /// Tokens the model can attend to, and of a training window.
    #[arg(long, default_value_t = 512)]
    context: usize,
    /// Training windows in a batch.
    #[arg(long, default_value_t = 8)]
    batch: usize,
    /// Training steps.
    #[arg(long, default_value_t = 3000)]
    steps: u64,
    /// Highest learning rate.
    #[arg(long, default_value_t = 3e-3)]
    learning_rate: f64,
    /// Steps of linear warm-up.
    #[arg(long, default_value_t = 100)]
    warmup: u64,
    /// Pull of matrices towards zero.
    #[arg(long, default_value_t = 0.05)]
    weight_decay: f64,
    /// Seed of the weights and of the order of text.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Steps between checkpoints.
    #[arg(long, default_value_t = 200)]
    checkpoint: u64,
    /// Print events as JSON lines instead of a progress bar.
    #[arg(long)]
    json: bool,
}

/// Runs the job; Ctrl-C leaves a checkpoint that the same command goes on from.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(
        args.heads > 0 && args.hidden.is_multiple_of(args.heads),
        "--hidden must be a multiple of --heads"
    );
    stop::listen();
    let recipe = recipe(args);
    let bar = bar(args);
    let mut losses = Losses::open(args)?;
    let done = loyal_model::pretrain::run(&recipe, &SystemClock, &mut |event| {
        show(&event, &bar, args.json);
        if let Event::Step(progress) = event {
            losses.add(progress);
        }
        stop::asked()
    })?;
    bar.finish_and_clear();
    losses.save()?;
    conclude(args, &done, &losses)
}

fn recipe(args: &Args) -> Recipe<'_> {
    let config = Config {
        architecture: Architecture::Llama,
        hidden_size: args.hidden,
        intermediate_size: args.intermediate,
        layer_count: args.layers,
        head_count: args.heads,
        kv_head_count: args.kv_heads,
        head_size: args.hidden / args.heads,
        vocab_size: args.vocab,
        context_tokens: args.context,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        tied: true,
        attention_bias: false,
        bos_token: None,
        eos_tokens: Vec::new(),
    };
    let plan = Plan {
        steps: args.steps,
        learning_rate: args.learning_rate,
        warmup_steps: args.warmup,
        floor: 0.02,
        optimizer: Settings { weight_decay: args.weight_decay, ..Settings::default() },
        ..Plan::default()
    };
    Recipe {
        texts: &args.texts,
        validation: &args.validation,
        config,
        plan,
        sequences: args.batch,
        sequence_tokens: args.context,
        seed: args.seed,
        checkpoint_steps: args.checkpoint,
        folder: &args.out,
    }
}

fn bar(args: &Args) -> ProgressBar {
    if args.json {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}");
    ProgressBar::new(args.steps).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn show(event: &Event<'_>, bar: &ProgressBar, json: bool) {
    if json {
        // Nobody reading the events is no reason to lose the work.
        let _ = output::json(&as_json(event));
        return;
    }
    match event {
        Event::Tokenizer { entries } => bar.println(format!("tokenizer: {entries} entries")),
        Event::Encoded { tokens, validation_tokens } => {
            bar.println(format!("text: {tokens} tokens to learn from, {validation_tokens} to measure on"));
        }
        Event::Step(p) => {
            bar.set_position(p.step);
            let (left, pace) = (p.left().as_secs(), p.tokens_per_second());
            let (minutes, seconds) = (left / 60, left % 60);
            bar.set_message(format!(
                "loss {:.3}, {pace:.0} tokens/s, {minutes}:{seconds:02} min left",
                p.loss
            ));
        }
    }
}

fn as_json(event: &Event<'_>) -> serde_json::Value {
    match event {
        Event::Tokenizer { entries } => json!({"event": "tokenizer", "entries": entries}),
        Event::Encoded { tokens, validation_tokens } => {
            json!({"event": "encoded", "tokens": tokens, "validation_tokens": validation_tokens})
        }
        Event::Step(p) => {
            json!({"event": "step", "step": p.step, "loss": p.loss, "gradient_norm": p.gradient_norm,
            "learning_rate": p.learning_rate, "tokens_per_second": p.tokens_per_second()})
        }
    }
}

/// Losses of all processes that worked on one job, in `work/losses.json`.
struct Losses {
    path: PathBuf,
    points: Vec<(u64, f32)>,
    seconds: f64,
    before: f64,
}

impl Losses {
    fn open(args: &Args) -> anyhow::Result<Self> {
        let path = args.out.join("work/losses.json");
        let (mut points, mut before) = (Vec::new(), 0.0);
        if path.exists() {
            let text =
                std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let value: serde_json::Value = serde_json::from_str(&text).with_context(|| {
                format!("{} is damaged; remove it to go on without a curve", path.display())
            })?;
            before = value["seconds"].as_f64().unwrap_or(0.0);
            for point in value["losses"].as_array().into_iter().flatten() {
                if let (Some(step), Some(loss)) = (point[0].as_u64(), point[1].as_f64()) {
                    points.push((step, loss as f32));
                }
            }
        }
        Ok(Self { path, points, seconds: before, before })
    }

    fn add(&mut self, progress: &Progress) {
        self.points.retain(|&(step, _)| step < progress.step);
        self.points.push((progress.step, progress.loss));
        self.seconds = self.before + progress.elapsed.as_secs_f64();
        if progress.step.is_multiple_of(100) {
            // The curve is a convenience; the run goes on without it.
            let _ = self.save();
        }
    }

    fn save(&self) -> anyhow::Result<()> {
        let text = json!({"seconds": self.seconds, "losses": self.points}).to_string();
        write_atomically(&self.path, |file| std::io::Write::write_all(file, text.as_bytes()))?;
        Ok(())
    }
}

fn conclude(args: &Args, done: &Pretrained, losses: &Losses) -> anyhow::Result<()> {
    let Some(held_out) = done.held_out.filter(|_| done.ending == Ending::Finished) else {
        output::say(&format!("stopped at step {}; the same command goes on from there", losses.points.len()));
        return Err(crate::ending::Ending::Interrupted.into());
    };
    let manifest = manifest(args, done, &held_out, losses.seconds)?;
    let text = format!("{manifest:#}\n");
    write_atomically(&args.out.join("training.json"), |file| {
        std::io::Write::write_all(file, text.as_bytes())
    })?;
    let svg = curve::svg(&losses.points);
    write_atomically(&args.out.join("loss.svg"), |file| std::io::Write::write_all(file, svg.as_bytes()))?;
    if args.json {
        return output::json(&json!({"event": "finished", "manifest": manifest}));
    }
    output::line(&format!(
        "{}: {} parameters, {:.3} bits per byte and perplexity {:.1} on {} validation tokens",
        args.out.display(),
        done.llama.config.parameter_count(),
        held_out.bits_per_byte,
        held_out.nats_per_token.exp(),
        held_out.tokens
    ))
}

/// What was trained on what, and what came out.
fn manifest(
    args: &Args,
    done: &Pretrained,
    held_out: &HeldOut,
    seconds: f64,
) -> anyhow::Result<serde_json::Value> {
    let digests = args.texts.iter().chain([&args.validation]).map(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(json!({"file": name, "sha256": file_digest(path)?}))
    });
    let digests = digests.collect::<Result<Vec<_>, loyal_model::Error>>()?;
    Ok(json!({
        "version": 1, "loyal": env!("CARGO_PKG_VERSION"), "texts": digests, "seed": args.seed, "steps": args.steps,
        "batch": args.batch, "sequence_tokens": args.context, "learning_rate": args.learning_rate,
        "warmup": args.warmup, "weight_decay": args.weight_decay, "parameters": done.llama.config.parameter_count(),
        "tokens_trained": args.steps * (args.batch * args.context) as u64, "seconds": seconds,
        "weights_sha256": weights_digest(&Llama::load(&args.out, &Device::Cpu)?)?,
        "validation": {"bits_per_byte": held_out.bits_per_byte, "nats_per_token": held_out.nats_per_token,
            "perplexity": held_out.nats_per_token.exp(), "tokens": held_out.tokens},
    }))
}
