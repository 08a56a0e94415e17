//! Serves an agent over HTTP: `POST /assist`, and what stands beside it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use loyal_types::Clock;
use rand::{RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

mod assist;
mod body;
mod card;
mod mcp;
mod metrics;
mod openai;
mod route;
mod runs;

pub use card::{Card, CardEvent, Takes};
pub use metrics::Metrics;

use crate::agent::{Agent, Ended};
use crate::event::Bounds;
use crate::mcp::{Served, Session};
use crate::session::History;
use crate::ulid::Ulids;
use crate::{Error, Result, Ulid};
use mcp::Offer;
use runs::Runs;

/// Bytes that wait in one connection, each way, beside those in a response's own buffer: a hundred busy streams shall not
/// cost more than the server itself.
const CONNECTION_BYTES_MAX: usize = 16 << 10;

/// What a server bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// What one response may hold.
    pub response: Bounds,
    /// How long one run may take.
    pub deadline: Duration,
    /// How long an emission waits for a reader that takes nothing.
    pub stall: Duration,
    /// Silence after which a comment keeps the connection alive.
    pub ping: Duration,
    /// How long a stopping server lets its runs go on.
    pub grace: Duration,
    /// Bytes of a request.
    pub request_bytes_max: usize,
    /// Connections at a time; more of them wait.
    pub connection_count_max: usize,
    /// Runs at a time; more of them are refused with status 503.
    pub run_count_max: usize,
    /// Runs that callers may resume, kept at a time.
    pub kept_run_count_max: usize,
    /// Bytes kept of each; a longer response cannot be resumed.
    pub kept_run_bytes_max: usize,
    /// How long a run is kept after it began.
    pub kept_run_age_max: Duration,
    /// How long a run that may be resumed goes on without a reader.
    pub away: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            response: Bounds::default(),
            deadline: Duration::from_secs(300),
            stall: Duration::from_secs(30),
            ping: Duration::from_secs(15),
            grace: Duration::from_secs(10),
            request_bytes_max: 8 << 20,
            connection_count_max: 16_384,
            run_count_max: 16_384,
            kept_run_count_max: 64,
            kept_run_bytes_max: 1 << 20,
            kept_run_age_max: Duration::from_secs(600),
            away: Duration::from_secs(30),
        }
    }
}

/// What is told of a run when it has ended, for a log.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RunEnd {
    /// The request's identifier.
    pub request_id: Ulid,
    /// How it ended.
    pub ended: Ended,
    /// Events it emitted.
    pub event_count: u64,
    /// Bytes it emitted.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
}

type Watch = Box<dyn Fn(&RunEnd) + Send + Sync>;

/// A server of one agent. It does nothing until [`Self::run`].
pub struct Server {
    agent: Arc<dyn Agent>,
    card: Card,
    limits: Limits,
    clock: Arc<dyn Clock + Send + Sync>,
    random: Mutex<ChaCha12Rng>,
    history: Option<History>,
    watch: Option<Watch>,
    offer: Offer,
    metrics: Metrics,
    runs: Runs,
    /// Stop accepting.
    stop: CancellationToken,
    /// Stop what still runs.
    halt: CancellationToken,
}

impl Server {
    /// A server with a card that says the agent's name only. Every identifier comes from `seed`, so that one seed
    /// gives one stream of bytes; it must be secret and new at each start.
    #[must_use]
    pub fn new(
        agent: impl Agent + 'static,
        limits: Limits,
        clock: Arc<dyn Clock + Send + Sync>,
        seed: [u8; 32],
    ) -> Self {
        let card = Card::new(agent.name(), &limits);
        Self {
            agent: Arc::new(agent),
            card,
            runs: Runs::new(&limits),
            limits,
            clock,
            random: Mutex::new(ChaCha12Rng::from_seed(seed)),
            history: None,
            watch: None,
            offer: Offer::default(),
            metrics: Metrics::default(),
            stop: CancellationToken::new(),
            halt: CancellationToken::new(),
        }
    }

    /// With what `GET /agent-card` answers.
    #[must_use]
    pub fn with_card(mut self, card: Card) -> Self {
        self.card = card;
        self
    }

    /// With a memory of conversations, for callers that send none.
    #[must_use]
    pub fn with_history(mut self, history: History) -> Self {
        self.history = Some(history);
        self
    }

    /// With tools of its own, beside `assist`, for programs that speak the Model Context Protocol at `/mcp`.
    #[must_use]
    pub fn with_offer(mut self, served: Served) -> Self {
        self.offer.tools = Some(Session::new(served));
        self
    }

    /// With a name under which it may be called, for programs at `/mcp`; addresses and `localhost` are known without.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.offer.names.push(name.into());
        self
    }

    /// With somebody who is told how each run ended.
    #[must_use]
    pub fn with_watch(mut self, watch: impl Fn(&RunEnd) + Send + Sync + 'static) -> Self {
        self.watch = Some(Box::new(watch));
        self
    }

    /// Counters, and their page for Prometheus.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Stops accepting; what runs has [`Limits::grace`] to end by itself, and is then told that the server stops.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Accepts connections until [`Self::stop`], and then waits for the last of them.
    ///
    /// # Errors
    /// [`Error::Server`] where the listener is no good.
    pub async fn run(self: &Arc<Self>, listener: TcpListener) -> Result<()> {
        let bad = |error: std::io::Error| Error::Server { what: "listener", why: error.to_string() };
        listener.local_addr().map_err(bad)?;
        let seats = Arc::new(Semaphore::new(self.limits.connection_count_max.min(Semaphore::MAX_PERMITS)));
        let service = route::service(self);
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                accepted = accept(&listener, &seats) => accepted,
            };
            let Some((stream, seat)) = accepted else { continue };
            let (service, server) = (service.clone(), self.clone());
            connections.spawn(async move {
                server.metrics.connections.fetch_add(1, Ordering::Relaxed);
                server.connection(stream, service).await;
                server.metrics.connections.fetch_sub(1, Ordering::Relaxed);
                drop(seat);
            });
        }
        drop(listener);
        connections.close();
        tokio::select! {
            () = connections.wait() => return Ok(()),
            () = tokio::time::sleep(self.limits.grace) => self.halt.cancel(),
        }
        // What was halted has an error and `done` to send; a reader that takes neither is left.
        let _ = tokio::time::timeout(self.limits.grace, connections.wait()).await;
        Ok(())
    }

    async fn connection(&self, stream: TcpStream, service: axum::Router) {
        // Small events leave at once. A socket that refuses the option still works.
        let _ = stream.set_nodelay(true);
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(30))
            .max_buf_size(CONNECTION_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        tokio::pin!(connection);
        // A connection that breaks is the caller's own affair: its run is cancelled by the body's drop.
        tokio::select! {
            _ = connection.as_mut() => return,
            () = self.stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }

    /// Identifiers for one run, from randomness of its own.
    fn ids(&self) -> Ulids {
        let mut seed = [0; 32];
        // Nothing panics while it holds the lock.
        self.random.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut seed);
        Ulids::new(self.clock.clone(), ChaCha12Rng::from_seed(seed))
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("agent", &self.agent.name()).finish_non_exhaustive()
    }
}

/// The next connection, once there is a seat for it.
async fn accept(
    listener: &TcpListener,
    seats: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let seat = seats.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, seat)),
        Err(_) => {
            // The process has no file left for it, or the caller has gone already: try again, but not in a spin.
            tokio::time::sleep(Duration::from_millis(20)).await;
            None
        }
    }
}

/// Serves an agent until the process ends.
///
/// # Errors
/// [`Error::Server`] where the listener is no good.
pub async fn run(
    listener: TcpListener,
    agent: impl Agent + 'static,
    limits: Limits,
    clock: Arc<dyn Clock + Send + Sync>,
    seed: [u8; 32],
) -> Result<()> {
    Arc::new(Server::new(agent, limits, clock, seed)).run(listener).await
}
