//! `loyal host …`: serve a model.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Subcommand;
use loyal_model::template::ChatTemplate;
use loyal_roles::host::{self, Drain, Model, Settings};
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use serde_json::json;

use crate::clock::SystemClock;
use crate::model::opened::{Kept, Opened};
use crate::{output, stop};

mod gateway;
mod hosting;

/// What a host can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Serve a model over the OpenAI API, to everybody who reaches it (level "open").
    Serve(ServeArgs),
    /// Serve a hosting: answer whoever shows a credential and pays, redeem what is owed, report epochs.
    Run(Box<gateway::RunArgs>),
    /// Open a hosting: put up a bond for the right to serve a registered model and be paid.
    Open(hosting::OpenArgs),
    /// Raise a hosting's bond.
    TopUp(hosting::TopUpArgs),
    /// Report epochs that are over.
    Post(hosting::PostArgs),
    /// End a hosting, and take its bond back once its exit is over.
    Exit(hosting::ExitArgs),
}

/// Arguments of `loyal host serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Answers GET /v1/models, POST /v1/completions and POST /v1/chat/completions, whole or as a stream, with log \
probabilities of the 20 likeliest tokens. Answers are made side by side; what finds no room is told to try again. \
Ctrl-C finishes what is under way and ends; a second one ends at once.

Examples:
  loyal host serve
  loyal host serve ./SmolLM2-135M-Instruct --listen 127.0.0.1:9000 --precision int8
  curl http://127.0.0.1:8080/v1/completions -d '{\"prompt\": \"Once upon a time\", \"max_tokens\": 20}'")]
pub(crate) struct ServeArgs {
    /// Folder of the model [default: the model that comes with Loyal]
    folder: Option<PathBuf>,
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// What clients call the model [default: its folder's name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// How weights are kept in memory.
    #[arg(long, value_enum, default_value_t = Kept::F32)]
    precision: Kept,
    /// Answers made side by side.
    #[arg(long, value_name = "N", default_value_t = Settings::default().batch_count_max)]
    batch: usize,
    /// Answers that may wait for a place.
    #[arg(long, value_name = "N", default_value_t = Settings::default().waiting_count_max)]
    waiting: usize,
    /// Let other machines reach it. It has no TLS: put a proxy in front of it.
    #[arg(long)]
    beyond_loopback: bool,
    /// Print the address as JSON.
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(crate) fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Serve(args) => serve(&args),
        Verb::Run(args) => gateway::run(&args),
        Verb::Open(args) => hosting::open(&args),
        Verb::TopUp(args) => hosting::top_up(&args),
        Verb::Post(args) => hosting::post(&args),
        Verb::Exit(args) => hosting::exit(&args),
    }
}

fn serve(args: &ServeArgs) -> anyhow::Result<()> {
    ensure!(
        args.beyond_loopback || args.listen.ip().is_loopback(),
        "{} can be reached from other machines; if that is meant, add --beyond-loopback",
        args.listen
    );
    let model = model(args.folder.as_deref(), args.name.as_deref(), args.precision)?;
    let listener = TcpListener::bind(args.listen).with_context(|| format!("listening on {}", args.listen))?;
    let address = format!("http://{}/v1", listener.local_addr()?);
    if args.json {
        output::json(&json!({"address": address, "model": model.name}))?;
    } else {
        output::line(&address)?;
        output::say(&format!("serving {}; Ctrl-C ends", model.name));
    }
    let settings = Settings {
        batch_count_max: args.batch,
        waiting_count_max: args.waiting,
        seed: OsRng.try_next_u64()?,
        ..Settings::default()
    };
    let drain = drained();
    Ok(host::run(listener, model, settings, Arc::new(SystemClock), &drain)?)
}

/// Draining that begins when the program is asked to stop.
pub(crate) fn drained() -> Drain {
    let drain = Drain::default();
    stop::listen();
    let watch = drain.clone();
    std::thread::spawn(move || {
        while stop::asked().is_continue() {
            std::thread::sleep(Duration::from_millis(50));
        }
        watch.begin();
    });
    drain
}

/// The model of a folder, ready to be served.
pub(crate) fn model(folder: Option<&Path>, name: Option<&str>, kept: Kept) -> anyhow::Result<Model> {
    let opened = Opened::open(folder, kept)?;
    let whole = std::fs::canonicalize(&opened.folder).unwrap_or_else(|_| opened.folder.clone());
    let folder_name =
        whole.file_name().map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned());
    Ok(Model {
        name: name.map_or(folder_name, str::to_owned),
        template: ChatTemplate::read(&opened.folder)?,
        decoder: opened.decoder,
        tokenizer: opened.tokenizer,
    })
}
