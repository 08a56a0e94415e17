//! What an agent is: a name, and what it does with a question.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::event::Fault;
use crate::response::Finish;
use crate::{Error, Query, ResponseHandler, Result, Session};

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
