//! `loyal agent serve`: an agent on a port, until Ctrl-C.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::ValueEnum;
use loyal_agent::agent::{Ended, Style, Thinker, agent};
use loyal_agent::event::FINAL_RESPONSE;
use loyal_agent::llm::{Llm, OpenAi, Prompted};
use loyal_agent::serve::{Card, Limits, RunEnd, Server};
use loyal_agent::session::History;
use loyal_agent::tool::{Folder, Toolbox, Web, calculate, read_page};
use loyal_agent::{Query, ResponseHandler, Result, Session};
use tokio::net::TcpListener;

use crate::{clock::SystemClock, output};

/// Bytes of conversations that are remembered.
const HISTORY_BYTES_MAX: usize = 64 << 20;

/// Arguments of `loyal agent serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The agent answers POST /assist as the Sentient Agent Framework 0.3.0 does, and POST /v1/chat/completions for programs \
that take it for a chat model.

Examples:
  loyal agent serve --echo
  loyal agent serve --model-url http://127.0.0.1:8080/v1 --model qwen --web --files ./notes")]
pub(crate) struct Args {
    #[command(flatten)]
    mind: Mind,
    /// The name of the model there.
    #[arg(long, value_name = "NAME", default_value = "default", requires = "model_url")]
    model: String,
    /// The file that holds the key of an account there.
    #[arg(long, value_name = "FILE", requires = "model_url")]
    key_file: Option<PathBuf>,
    /// Tell the model of its tools in words: for models and hosts that know no calls.
    #[arg(long, requires = "model_url")]
    prompted: bool,
    /// How the agent thinks.
    #[arg(long, value_enum, default_value = "react", requires = "model_url")]
    style: StyleArg,
    /// Let the model judge each answer before it is given.
    #[arg(long, requires = "model_url")]
    judge: bool,
    /// Let the agent read pages of the web.
    #[arg(long, requires = "model_url")]
    web: bool,
    /// Let the agent use the files of this folder.
    #[arg(long, value_name = "FOLDER", requires = "model_url")]
    files: Option<PathBuf>,
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// Where to answer Prometheus at /metrics; nowhere unless given.
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// Remember conversations in this file; in memory only unless given.
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
}

/// What thinks.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Mind {
    /// An agent to try a client with: it says what it is told; "count 5" makes it count, "wait" makes it wait.
    #[arg(long)]
    echo: bool,
    /// A model behind a URL of OpenAI's kind, up to and with /v1.
    #[arg(long, value_name = "URL")]
    model_url: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StyleArg {
    /// Ask, act and look, until there is an answer.
    React,
    /// Plan parts, do each, and put them together.
    Recursive,
}

/// Serves.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(args))
}

async fn serve(args: &Args) -> anyhow::Result<()> {
    let limits = Limits::default();
    let server = match &args.mind.model_url {
        Some(url) => server(thinker(args, url)?, "Answers questions with a model and tools.", limits),
        None => server(agent("echo", echo), "Says what it is told.", limits),
    };
    let history = match &args.history {
        Some(path) => History::in_file(path, HISTORY_BYTES_MAX)?,
        None => History::in_memory(HISTORY_BYTES_MAX),
    };
    let server = Arc::new(server.with_history(history).with_watch(log));
    let listener = TcpListener::bind(args.listen).await.with_context(|| args.listen.to_string())?;
    if let Some(address) = args.metrics {
        let metrics = TcpListener::bind(address).await.with_context(|| address.to_string())?;
        let server = server.clone();
        tokio::spawn(async move { server.run_metrics(metrics).await });
    }
    output::line(&format!("http://{}", listener.local_addr()?))?;
    output::say("Ctrl-C ends it");
    let asked = server.clone();
    ctrlc::set_handler(move || asked.stop()).context("Ctrl-C cannot be noticed")?;
    Ok(server.run(listener).await?)
}

fn server(agent: impl loyal_agent::Agent + 'static, description: &str, limits: Limits) -> Server {
    let card = Card::new(agent.name(), &limits).with_description(description);
    Server::new(agent, limits, Arc::new(SystemClock), rand::random()).with_card(card)
}

async fn echo(_: Session, query: Query, out: ResponseHandler) -> Result<()> {
    if query.prompt == "wait" {
        out.emit_text_block("WAIT", "Waiting.").await?;
        std::future::pending::<()>().await;
    }
    let stream = out.create_text_stream(FINAL_RESPONSE)?;
    match query.prompt.strip_prefix("count ").and_then(|count| count.parse::<u64>().ok()) {
        Some(count) => {
            for index in 0..count {
                stream.emit_chunk(format!("{index} ")).await?;
            }
        }
        None => stream.emit_chunk(query.prompt).await?,
    }
    stream.complete().await
}

fn thinker(args: &Args, url: &str) -> anyhow::Result<Thinker> {
    let mut model = OpenAi::new(url, &args.model)?;
    if let Some(path) = &args.key_file {
        let key = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        model = model.with_key(&key)?;
    }
    let llm: Arc<dyn Llm> = if args.prompted { Arc::new(Prompted(model)) } else { Arc::new(model) };
    let mut tools = Toolbox::new().with(calculate());
    if args.web {
        tools = tools.with_all([read_page(&Web::public())]);
    }
    if let Some(folder) = &args.files {
        tools = tools.with_all(Folder::open(folder)?.tools());
    }
    let mut thinker = Thinker::new("loyal", llm, Arc::new(SystemClock), rand::random());
    thinker.tools = tools;
    thinker.judge = args.judge;
    thinker.style = match args.style {
        StyleArg::React => Style::React,
        StyleArg::Recursive => Style::Recursive,
    };
    Ok(thinker)
}

/// One line for each run that did not simply answer.
fn log(end: &RunEnd) {
    let how = match &end.ended {
        Ended::Done => return,
        Ended::Failed { why } => format!("failed: {why}"),
        Ended::TooLate => "passed its deadline".to_owned(),
        Ended::Cancelled => "was cancelled".to_owned(),
        Ended::Shutdown => "was stopped".to_owned(),
        other => format!("{other:?}"),
    };
    output::say(&format!("run {} {how}, after {} events", end.request_id, end.event_count));
}
