//! `loyal agent serve`: an agent on a port, until Ctrl-C.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use loyal_agent::agent::{Ended, agent};
use loyal_agent::event::FINAL_RESPONSE;
use loyal_agent::serve::{Card, Limits, RunEnd, Server};
use loyal_agent::session::History;
use loyal_agent::{Query, ResponseHandler, Result, Session};
use tokio::net::TcpListener;

use super::mind::Mind;
use super::toolset::Toolset;
use crate::{clock::SystemClock, output};

/// Bytes of conversations that are remembered.
const HISTORY_BYTES_MAX: usize = 64 << 20;

/// Arguments of `loyal agent serve`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("who").required(true).args(["echo", "model_url", "wallet"]))]
#[command(after_help = "\
The agent answers POST /assist as the Sentient Agent Framework 0.3.0 does, and POST /v1/chat/completions for programs \
that take it for a chat model, and POST /mcp for programs that take it for a tool.

Examples:
  loyal agent serve --echo
  loyal agent serve --model-url http://127.0.0.1:8080/v1 --model qwen --web --files ./notes
  loyal agent serve --model-url http://127.0.0.1:8080/v1 --style code --web
  loyal agent serve --wallet loyal-wallet --key me.json --spend 0.05 --web
  loyal agent serve --model-url http://127.0.0.1:8080/v1 --mcp \"notes=npx -y some-server\" --mcp-pins pins.json")]
pub(crate) struct Args {
    /// An agent to try a client with: it says what it is told; "count 5" makes it count, "wait" makes it wait.
    #[arg(long)]
    echo: bool,
    #[command(flatten)]
    mind: Mind,
    #[command(flatten)]
    tools: Toolset,
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// Offer its tools too to programs that speak the Model Context Protocol at /mcp: those that only read, and those of --grant.
    #[arg(long, conflicts_with = "echo")]
    offer: bool,
    /// A name under which others reach it, for programs at /mcp. May be repeated.
    #[arg(long, value_name = "DOMAIN")]
    name: Vec<String>,
    /// Where to answer Prometheus at /metrics; nowhere unless given.
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// Remember conversations in this file; in memory only unless given.
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
}

/// Serves.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(args))
}

async fn serve(args: &Args) -> anyhow::Result<()> {
    let limits = Limits::default();
    ensure!(!args.echo || args.tools.is_empty(), "--echo uses no tools");
    let server = if args.echo {
        server(agent("echo", echo), "Says what it is told.", limits)
    } else {
        let tools = args.tools.open().await?;
        let thinker = args.mind.thinker(tools.clone()).await?;
        let server = server(thinker, "Answers questions with a model and tools.", limits);
        if args.offer { server.with_offer(super::mcp::served(tools, u64::MAX)) } else { server }
    };
    let server = args.name.iter().fold(server, |server, name| server.with_name(name));
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
