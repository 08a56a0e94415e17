//! What a short program says: serve this, ask that.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use loyal_access::Caller;
use loyal_agent::agent::{self, Run, Style, agent, budget, log::Log};
use loyal_agent::llm::{Fallback, Llm, OpenAi, Paid};
use loyal_agent::serve::{self, Limits};
use loyal_agent::tool::{BROWSE, Grant, Tool, Toolbox, domains_named};
use loyal_agent::{Error, Query, ResponseHandler, Result, Session};
use loyal_browser::{Browser, Launch, Reach};
use serde_json::json;
use tokio::net::TcpListener;

use crate::clock::SystemClock;
use crate::program;

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

/// What an agent thinks with.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Model {
    /// What answers at a URL of OpenAI's kind, up to and with `/v1`, when it is asked for `default`.
    Url(String),
    /// A hosted model, paid for each ask. What a run costs is bounded by its steps and by the caps of the wallet.
    Hosted(Caller),
}

impl From<&str> for Model {
    fn from(url: &str) -> Self {
        Self::Url(url.to_owned())
    }
}

impl From<Caller> for Model {
    fn from(caller: Caller) -> Self {
        Self::Hosted(caller)
    }
}

impl Model {
    async fn open(self) -> Result<Arc<dyn Llm>> {
        Ok(match self {
            Self::Url(url) => Arc::new(OpenAi::new(&url, "default")?),
            Self::Hosted(caller) => Arc::new(Fallback::new(Paid::open(caller).await.map_err(Error::failed)?)),
        })
    }
}

/// Answers a goal with a model (a URL, or a [`Caller`] that pays a host) and tools.
///
/// # Errors
/// [`Error::BadAddress`], or [`Error::Failed`] where there is no answer.
pub async fn ask(
    model: impl Into<Model>,
    goal: &str,
    tools: impl IntoIterator<Item = Arc<dyn Tool>>,
) -> Result<String> {
    think(model.into(), goal, Toolbox::new().with_all(tools)).await
}

/// Reaches a goal in a Chromium of this machine, without a window, with a model as in [`ask()`]. It goes to
/// the domains of the addresses that the goal names (`https://…`), and nowhere else.
///
/// # Errors
/// As [`ask()`], where there is no Chromium, and [`Error::BadAddress`] where the goal names no address.
pub async fn browse(model: impl Into<Model>, goal: &str) -> Result<String> {
    let domains = domains_named(goal);
    if domains.is_empty() {
        let why = "the goal names no address (https://…): loyal::browse_on takes the domains it may visit";
        return Err(Error::BadAddress { why: why.to_owned() });
    }
    browse_on(model, goal, &domains.iter().map(String::as_str).collect::<Vec<_>>()).await
}

/// [`browse()`] on these domains and those below them; on any public page, where there are none.
///
/// # Errors
/// As [`browse()`].
pub async fn browse_on(model: impl Into<Model>, goal: &str, domains: &[&str]) -> Result<String> {
    let model = model.into();
    let failed = |error: loyal_browser::Error| Error::Server { what: "browser", why: error.to_string() };
    let launch = Launch { reach: Reach::default().only(domains), ..Launch::default() };
    let browser = Browser::launch(launch).await.map_err(failed)?;
    // Whoever sends a browser to these domains wants it to act there.
    let grant = Grant { tool: BROWSE.to_owned(), arguments: json!({}), call_count_max: 100 };
    let tools = Toolbox::new().with_all([loyal_agent::tool::browse(browser, None)]).with_grant(grant);
    think(model, goal, tools).await
}

/// The tool `python`, run by the program `loyal-python` or `loyal` that lies beside this one or in a folder of `PATH`.
///
/// # Errors
/// [`Error::Server`] where there is neither.
pub fn python() -> Result<Arc<dyn Tool>> {
    let missing = || Error::Server {
        what: "Python",
        why: "neither loyal-python nor loyal lies beside this program or in PATH".to_owned(),
    };
    let program = program::python().ok_or_else(missing)?;
    Ok(loyal_agent::tool::python(program, Arc::new(SystemClock)))
}

async fn think(model: Model, goal: &str, tools: Toolbox) -> Result<String> {
    let llm = model.open().await?;
    let (log, _) = Log::in_memory(Arc::new(SystemClock));
    let limits = budget::Limits::default();
    let amount = llm.amount_max().saturating_mul(limits.steps.into());
    let budget = budget::Budget::new(budget::Limits { amount, ..limits }, log.now());
    let run = Run::new(llm, budget, log, rand::random());
    let outcome = agent::run(goal, Style::React, &mut run.with_tools(tools)).await?;
    if outcome.answer.is_empty() { Err(Error::failed(outcome.ending)) } else { Ok(outcome.answer) }
}
