//! `POST /assist`: a question in, the events of a run out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::extract::State;
use hyper::{Request, Response, StatusCode};

use super::body::{EventBody, OnLeave};
use super::route::{is_json, read, refuse, stream_answer, text_answer};
use super::runs::{self, Secret};
use super::{RunEnd, Server};
use crate::agent;
use crate::response::{Encoding, Start, Wire};
use crate::session::{Asked, Interaction, RequestMessage, ResponseMessage, parse};
use crate::{Query, ResponseHandler, Session};

/// Who a caller that sends no session takes the agent for.
const PROCESSOR: &str = "loyal";

pub(super) async fn answer(State(server): State<Arc<Server>>, request: Request<Body>) -> Response<Body> {
    let (is_json, secret) = (is_json(request.headers()), Secret::of(request.headers()));
    let body = match read(&server, request).await {
        Ok(body) => body,
        Err((status, detail)) => return refuse(&server, status, detail),
    };
    // A body of another kind is a text to the Python framework, and a text is no request.
    let parsed = if is_json { parse(&body) } else { parse(b"\"\"") };
    let request = match parsed {
        Ok(request) => request,
        Err(refusal) => {
            server.metrics.refused.fetch_add(1, Ordering::Relaxed);
            return text_answer(StatusCode::UNPROCESSABLE_ENTITY, refusal.to_json());
        }
    };
    let secret = match secret {
        Ok(secret) => secret,
        Err(detail) => return refuse(&server, 400, detail),
    };
    let session = server.session(request.session);
    match server.start(session, request.query, Box::new(Wire), secret) {
        Ok(run) => stream_answer(run.body(&server)),
        Err((status, detail)) => refuse(&server, status, detail),
    }
}

/// A run under way.
pub(super) struct Started {
    pub(super) out: ResponseHandler,
    on_leave: OnLeave,
}

impl Started {
    /// What the run emits; when it is dropped early, the run is cancelled or waits for its reader.
    pub(super) fn body(self, server: &Server) -> Body {
        Body::new(EventBody::new(self.out, server.limits.ping, self.on_leave))
    }
}

impl Server {
    /// A session, made where the caller sent none, with the history it continues.
    pub(super) fn session(&self, session: Option<Session>) -> Session {
        let session = session.unwrap_or_else(|| {
            let mut ids = self.ids();
            Session::new(PROCESSOR, ids.draw(), ids.draw(), Vec::new())
        });
        self.history.as_ref().map_or_else(|| session.clone(), |history| history.complete(&session))
    }

    /// Starts a run.
    ///
    /// # Errors
    /// The status and the words of a refusal.
    pub(super) fn start(
        self: &Arc<Self>,
        session: Session,
        query: Query,
        encoding: Box<dyn Encoding>,
        secret: Option<Secret>,
    ) -> Result<Started, (u16, &'static str)> {
        let running = self.metrics.running.fetch_add(1, Ordering::Relaxed);
        let free = Running(self.clone());
        if running >= self.limits.run_count_max as u64 || self.stop.is_cancelled() {
            return Err((503, "The server is busy; ask again."));
        }
        let out = ResponseHandler::new(Start {
            source: session.processor_id().to_owned(),
            ids: self.ids(),
            encoding,
            bounds: self.limits.response,
            stall: self.limits.stall,
            kept_bytes_max: secret.as_ref().map(|_| self.limits.kept_run_bytes_max),
            collect: self.history.is_some(),
        });
        let on_leave: OnLeave = if let Some(secret) = secret {
            self.runs.keep(session.request_id(), secret, out.clone(), self.clock.elapsed())?;
            runs::wait_for_reader(self, &out)
        } else {
            let out = out.clone();
            Arc::new(move |_| out.cancel())
        };
        let (server, run_out) = (self.clone(), out.clone());
        tokio::spawn(async move {
            server.drive(session, query, run_out).await;
            drop(free);
        });
        Ok(Started { out, on_leave })
    }

    /// The agent's part of a run, and what is noted of it afterwards.
    async fn drive(&self, session: Session, query: Query, out: ResponseHandler) {
        let began = self.clock.elapsed();
        let asked = self.history.as_ref().map(|_| query.clone());
        let (agent, halt) = (self.agent.clone(), self.halt.clone());
        let question = (session.clone(), query);
        let ended = agent::assist(agent, question, out.clone(), self.limits.deadline, halt).await;
        let (counts, events) = {
            let mut state = out.lock();
            (state.counts(), state.collected())
        };
        self.metrics.count(&ended, counts);
        if let (Some(history), Some(asked), Some(events)) = (&self.history, asked, events) {
            let responses = events.into_iter().map(|event| ResponseMessage {
                sender: Some(self.agent.name().to_owned()),
                recipients: None,
                event,
            });
            let interaction = Interaction {
                request: RequestMessage {
                    sender: None,
                    recipients: Some(BTreeSet::from([session.processor_id().to_owned()])),
                    event: Some(Asked::new(asked.id, session.activity_id(), asked.prompt)),
                },
                responses: responses.collect(),
            };
            // Memory has it in any case; a file that cannot be written is no fault of this run.
            let _ = history.add(session.activity_id(), interaction);
        }
        if let Some(watch) = &self.watch {
            let took = self.clock.elapsed().saturating_sub(began);
            let request_id = session.request_id();
            watch(&RunEnd { request_id, ended, event_count: counts.events, bytes: counts.bytes, took });
        }
    }
}

/// A run's place among those under way.
struct Running(Arc<Server>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.metrics.running.fetch_sub(1, Ordering::Relaxed);
    }
}
