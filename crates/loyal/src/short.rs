//! What a short program says: serve this, ask that.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use loyal_agent::agent::{self, Run, Style, agent, budget, log::Log};
use loyal_agent::llm::OpenAi;
use loyal_agent::serve::{self, Limits};
use loyal_agent::tool::{BROWSE, Grant, Tool, Toolbox};
use loyal_agent::{Error, Query, ResponseHandler, Result, Session};
use loyal_browser::{Browser, Launch};
use serde_json::json;
use tokio::net::TcpListener;

use crate::clock::SystemClock;

/// Serves a closure as an agent at `127.0.0.1:8000`, until the process ends.
///
/// # Errors
/// [`Error::Server`] where the port is taken.
pub async fn serve<F, W>(name: &str, assist: F) -> Result<()>
where
    F: Fn(Session, Query, ResponseHandler) -> W + Send + Sync + 'static,
    W: Future<Output = Result<()>> + Send + 'static,
{
    serve_on(SocketAddr::from(([127, 0, 0, 1], 8000)), name, assist).await
}

/// [`serve()`] at another address.
///
/// # Errors
/// As [`serve()`].
pub async fn serve_on<F, W>(address: SocketAddr, name: &str, assist: F) -> Result<()>
where
    F: Fn(Session, Query, ResponseHandler) -> W + Send + Sync + 'static,
    W: Future<Output = Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind(address).await;
    let listener =
        listener.map_err(|error| Error::Server { what: "listener", why: format!("{address}: {error}") })?;
    let clock = Arc::new(SystemClock);
    serve::run(listener, agent(name, assist), Limits::default(), clock, rand::random()).await
}

/// Answers a goal with the model behind a URL of OpenAI's kind (up to and with `/v1`; it is asked for `default`), and tools.
///
/// # Errors
/// [`Error::BadAddress`], or [`Error::Failed`] where there is no answer.
pub async fn ask(
    model_url: &str,
    goal: &str,
    tools: impl IntoIterator<Item = Arc<dyn Tool>>,
) -> Result<String> {
    think(model_url, goal, Toolbox::new().with_all(tools)).await
}

/// Reaches a goal in a Chromium of this machine, without a window, with the model behind a URL of OpenAI's kind. It may act on any
/// public page; programs that need bounds use `loyal_browser` and `loyal_agent::tool::browse`.
///
/// # Errors
/// As [`ask()`], and where there is no Chromium.
pub async fn browse(model_url: &str, goal: &str) -> Result<String> {
    let failed = |error: loyal_browser::Error| Error::Server { what: "browser", why: error.to_string() };
    let browser = Browser::launch(Launch::default()).await.map_err(failed)?;
    let grant = Grant { tool: BROWSE.to_owned(), arguments: json!({}), call_count_max: 100 };
    let tools = Toolbox::new().with_all([loyal_agent::tool::browse(browser, None)]).with_grant(grant);
    think(model_url, goal, tools).await
}

async fn think(model_url: &str, goal: &str, tools: Toolbox) -> Result<String> {
    let llm = Arc::new(OpenAi::new(model_url, "default")?);
    let (log, _) = Log::in_memory(Arc::new(SystemClock));
    let budget = budget::Budget::new(budget::Limits::default(), log.now());
    let run = Run::new(llm, budget, log, rand::random());
    let outcome = agent::run(goal, Style::React, &mut run.with_tools(tools)).await?;
    if outcome.answer.is_empty() { Err(Error::failed(outcome.ending)) } else { Ok(outcome.answer) }
}
