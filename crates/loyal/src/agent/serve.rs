//! `loyal agent serve`: an agent on a port, until Ctrl-C.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use loyal_agent::agent::Ended;
use loyal_agent::serve::{Card, Limits, RunEnd, Server};
use loyal_agent::session::History;
use loyal_agent::{Query, ResponseHandler, Session, agent};
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
  loyal agent ask http://127.0.0.1:8000 \"Hello?\"")]
pub(crate) struct Args {
    /// Serve an agent that says what it is told, to try a client with.
    #[arg(long, required = true)]
    echo: bool,
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

/// Serves.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(args))
}

async fn serve(args: &Args) -> anyhow::Result<()> {
    let limits = Limits::default();
    let history = match &args.history {
        Some(path) => History::in_file(path, HISTORY_BYTES_MAX)?,
        None => History::in_memory(HISTORY_BYTES_MAX),
    };
    let echo = agent("echo", |_: Session, query: Query, out: ResponseHandler| async move {
        let stream = out.create_text_stream(loyal_agent::event::FINAL_RESPONSE)?;
        stream.emit_chunk(query.prompt).await?;
        stream.complete().await
    });
    let card = Card::new("echo", &limits).with_description("Says what it is told.");
    let server = Server::new(echo, limits, Arc::new(SystemClock), rand::random());
    let server = Arc::new(server.with_card(card).with_history(history).with_watch(log));
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
