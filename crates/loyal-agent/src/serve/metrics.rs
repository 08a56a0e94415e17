//! Counters of a server, and the page on which Prometheus reads them, on a listener of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::Server;
use crate::agent::Ended;
use crate::response::Counts;

/// Counters since the start.
#[derive(Debug, Default)]
pub struct Metrics {
    pub(super) connections: AtomicU64,
    pub(super) running: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
    too_late: AtomicU64,
    cancelled: AtomicU64,
    shutdown: AtomicU64,
    pub(super) refused: AtomicU64,
    events: AtomicU64,
    errors: AtomicU64,
    bytes: AtomicU64,
}

impl Metrics {
    pub(super) fn count(&self, ended: &Ended, counts: Counts) {
        let counter = match ended {
            Ended::Done => &self.done,
            Ended::Failed { .. } => &self.failed,
            Ended::TooLate => &self.too_late,
            Ended::Cancelled => &self.cancelled,
            Ended::Shutdown => &self.shutdown,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.events.fetch_add(counts.events, Ordering::Relaxed);
        self.errors.fetch_add(counts.faults, Ordering::Relaxed);
        self.bytes.fetch_add(counts.bytes, Ordering::Relaxed);
    }

    /// Runs under way.
    #[must_use]
    pub fn running(&self) -> u64 {
        self.running.load(Ordering::Relaxed)
    }

    /// Runs that were cancelled.
    #[must_use]
    pub fn cancelled(&self) -> u64 {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// The page, in the text format of Prometheus 0.0.4.
    #[must_use]
    pub fn page(&self) -> String {
        let mut page = String::new();
        let mut section = |name: &str, kind: &str, what: &str, rows: &[(&str, &AtomicU64)]| {
            page.push_str(&format!("# HELP {name} {what}\n# TYPE {name} {kind}\n"));
            for (labels, counter) in rows {
                page.push_str(&format!("{name}{labels} {}\n", counter.load(Ordering::Relaxed)));
            }
        };
        section("loyal_agent_connections", "gauge", "Connections open.", &[("", &self.connections)]);
        section("loyal_agent_runs_running", "gauge", "Runs under way.", &[("", &self.running)]);
        let ends = [
            ("{end=\"done\"}", &self.done),
            ("{end=\"failed\"}", &self.failed),
            ("{end=\"deadline\"}", &self.too_late),
            ("{end=\"cancelled\"}", &self.cancelled),
            ("{end=\"shutdown\"}", &self.shutdown),
        ];
        section("loyal_agent_runs_total", "counter", "Runs that have ended.", &ends);
        section(
            "loyal_agent_requests_refused_total",
            "counter",
            "Requests refused before a run.",
            &[("", &self.refused)],
        );
        section("loyal_agent_events_total", "counter", "Events of ended runs.", &[("", &self.events)]);
        section("loyal_agent_errors_total", "counter", "Error events of ended runs.", &[("", &self.errors)]);
        section("loyal_agent_bytes_total", "counter", "Bytes of ended runs.", &[("", &self.bytes)]);
        page
    }
}

impl Server {
    /// Answers `GET /metrics` on a listener of its own, until the server stops. Nothing else is answered there, and
    /// `/metrics` is not answered anywhere else.
    pub async fn run_metrics(self: &Arc<Self>, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                continue;
            };
            let server = self.clone();
            tokio::spawn(async move {
                let answer = |request: Request<Incoming>| {
                    let found = request.method() == hyper::Method::GET && request.uri().path() == "/metrics";
                    let text = if found { server.metrics.page() } else { String::new() };
                    let mut answer = Response::new(Full::new(Bytes::from(text)));
                    if found {
                        let kind = "text/plain; version=0.0.4; charset=utf-8";
                        let kind = hyper::header::HeaderValue::from_static(kind);
                        answer.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
                    } else {
                        *answer.status_mut() = hyper::StatusCode::NOT_FOUND;
                    }
                    async { Ok::<_, std::convert::Infallible>(answer) }
                };
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(hyper_util::rt::TokioTimer::new())
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(stream), service_fn(answer));
                // A reader that has gone needs nothing more.
                let _ = connection.await;
            });
        }
    }
}
