//! What an agent is: a name, and what it does with a question.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::Digest as _;
use tokio_util::sync::CancellationToken;

pub mod budget;
pub mod check;
mod cite;
mod code;
pub mod log;
pub mod plan;
mod react;
mod run;
mod talk;
mod thinker;

pub use cite::Citation;
pub use run::{Price, Run};
pub use thinker::Thinker;

use budget::{Exhausted, Spent};
use log::Kind;

use crate::event::Fault;
use crate::llm::{LlmFault, Payment};
use crate::response::Finish;
use crate::{Error, Query, ResponseHandler, Result, Session};

/// How an agent thinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Style {
    /// It asks, acts and looks, until it can answer.
    #[default]
    React,
    /// It writes Python in which tools are functions, and sees what the code prints.
    Code,
    /// It plans parts, does each in its own way, and puts them together.
    Recursive,
}

/// Works on a goal until an answer passes the checks, or a bound, a refusal or a standstill ends it. Whatever the model
/// does, it ends within the budget, and the log tells how.
///
/// # Errors
/// [`Error::BadLog`] where the log cannot be written, or tells another story than this run; [`Error::Cancelled`] where
/// whoever listened has gone. What models and tools do wrong is no error but an [`Outcome`].
pub async fn run(goal: &str, style: Style, run: &mut Run) -> Result<Outcome> {
    let seed: String = run.seed.iter().map(|byte| format!("{byte:02x}")).collect();
    let tools: Vec<_> = run.tools.cards().map(|card| card.name.clone()).collect();
    // The seed itself would let a reader of the log foresee nothing any more, but must not stand there while it counts.
    let seed =
        sha2::Sha256::digest(seed.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    run.log.note(
        "0",
        Kind::Run,
        &json!({ "goal": goal, "style": style, "tools": tools, "seed_sha256": seed }),
    )?;
    let budget = run.budget.clone();
    let mut outcome = match style {
        Style::React => react::run(run, "0", &budget, goal).await?,
        Style::Code => code::run(run, "0", &budget, goal).await?,
        Style::Recursive => plan::run(run, "0", &budget, goal).await?,
    };
    outcome.spent = budget.spent();
    outcome.paid.clone_from(&run.paid);
    outcome.citations = cite::cite(&outcome.answer, &run.sources);
    run.log.note("0", Kind::End, &outcome)?;
    outcome.log = run.log.hash();
    Ok(outcome)
}

/// What came of a goal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The answer; may be empty where it is not complete.
    pub answer: String,
    /// Whether the answer passed every check and nothing is missing.
    pub complete: bool,
    /// How it ended.
    pub ending: Ending,
    /// What is missing.
    pub missing: Vec<String>,
    /// Where its quotations stand in what was read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub citations: Vec<Citation>,
    /// What was spent.
    pub spent: Spent,
    /// What was paid to hosts; the receipts are in the wallet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paid: Vec<Payment>,
    /// The hash of the log's last line, which commits to the whole run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log: String,
}

/// How work on a goal ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The answer passed every check.
    #[error("accepted")]
    Accepted,
    /// The checks refused it to the last.
    #[error("refused by a check: {0}")]
    Refused(String),
    /// A bound was reached.
    #[error("{0}")]
    Exhausted(Exhausted),
    /// The same call a third time.
    #[error("stuck: {0} was called again and again with the same arguments")]
    Stuck(String),
    /// The model failed, or was not paid.
    #[error("{0}")]
    Model(LlmFault),
    /// An agent that thinks by writing code has nothing to run it with.
    #[error("there is no Python to run code with")]
    NoPython,
}

impl Outcome {
    fn of(answer: String, ending: Ending) -> Self {
        let complete = ending == Ending::Accepted;
        let missing = if complete { Vec::new() } else { vec![ending.to_string()] };
        Self {
            answer,
            complete,
            ending,
            missing,
            citations: Vec::new(),
            spent: Spent::default(),
            paid: Vec::new(),
            log: String::new(),
        }
    }

    fn lacking(mut self, missing: Vec<String>) -> Self {
        self.complete &= missing.is_empty();
        self.missing.extend(missing);
        self
    }

    /// The answer, or what to read in its place.
    fn text_or_gap(&self) -> &str {
        if self.answer.is_empty() { "(no result)" } else { &self.answer }
    }
}

/// Answers questions. Closures become agents by [`agent()`].
pub trait Agent: Send + Sync {
    /// Its name.
    fn name(&self) -> &str;

    /// Answers one question by what it emits to `out`. Returning completes the response; so does an error, which is
    /// told to whoever asked as far as it is meant for them.
    fn assist<'a>(
        &'a self,
        session: Session,
        query: Query,
        out: ResponseHandler,
    ) -> BoxFuture<'a, Result<()>>;
}

/// An agent of a name and a closure.
pub fn agent<F, W>(name: impl Into<String>, assist: F) -> impl Agent + 'static
where
    F: Fn(Session, Query, ResponseHandler) -> W + Send + Sync + 'static,
    W: Future<Output = Result<()>> + Send + 'static,
{
    Closure { name: name.into(), assist }
}

struct Closure<F> {
    name: String,
    assist: F,
}

impl<F, W> Agent for Closure<F>
where
    F: Fn(Session, Query, ResponseHandler) -> W + Send + Sync,
    W: Future<Output = Result<()>> + Send + 'static,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn assist<'a>(
        &'a self,
        session: Session,
        query: Query,
        out: ResponseHandler,
    ) -> BoxFuture<'a, Result<()>> {
        (self.assist)(session, query, out).boxed()
    }
}

/// How one run of an agent ended.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Ended {
    /// With its answer.
    Done,
    /// With an error, or a panic in its own words.
    Failed {
        /// What the operator reads.
        why: String,
    },
    /// By the deadline.
    TooLate,
    /// Because whoever asked has gone, or read too slowly.
    Cancelled,
    /// Because the server stops.
    Shutdown,
}

/// Runs an agent on one question until its response is complete, whatever the agent does: an error, a panic, a
/// deadline and a stopping server all end in an error event and `done`; a cancelled run is dropped where it stands.
pub(crate) async fn assist(
    agent: Arc<dyn Agent>,
    (session, query): (Session, Query),
    out: ResponseHandler,
    deadline: Duration,
    stop: CancellationToken,
) -> Ended {
    let id = session.request_id();
    // The agent's first step may panic before there is a future.
    let work = AssertUnwindSafe(async { agent.assist(session, query, out.clone()).await }).catch_unwind();
    let ended = tokio::select! {
        biased;
        () = out.cancelled() => Ended::Cancelled,
        () = stop.cancelled() => Ended::Shutdown,
        ended = work => match ended {
            Ok(Ok(())) => Ended::Done,
            Ok(Err(Error::Cancelled)) => Ended::Cancelled,
            Ok(Err(error)) => {
                let ended = Ended::Failed { why: error.to_string() };
                out.finish(Finish::Fault(public(&error, id)));
                return ended;
            }
            Err(panic) => Ended::Failed { why: format!("panicked: {}", words(&*panic)) },
        },
        () = tokio::time::sleep(deadline) => Ended::TooLate,
    };
    let fault = |code, message: &str| Finish::Fault(fault(code, message, id));
    out.finish(match &ended {
        Ended::Done => Finish::Plain,
        Ended::Failed { .. } => fault(500, FAILED),
        Ended::TooLate => fault(504, "The agent did not finish in time."),
        Ended::Cancelled => fault(499, "The run was cancelled."),
        Ended::Shutdown => fault(503, "The server is stopping; ask again."),
    });
    ended
}

const FAILED: &str = "The agent could not finish its work.";

fn public(error: &Error, id: crate::Ulid) -> Fault {
    match error {
        Error::Failed { code, public, .. } => fault(*code, public, id),
        _ => fault(500, FAILED, id),
    }
}

fn fault(code: u16, message: &str, id: crate::Ulid) -> Fault {
    let details = crate::event::Document::new(&serde_json::json!({ "run": id })).ok();
    Fault { message: message.to_owned(), code: code.into(), details }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without words".to_owned())
}
