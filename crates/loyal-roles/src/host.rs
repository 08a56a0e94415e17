//! The host: a model served over the OpenAI API.

pub(crate) mod answer;
mod ask;
mod chat;
mod completion;
mod engine;
mod fault;
pub mod gateway;
pub mod keeper;
pub mod limits;
pub mod log;
pub mod status;

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use loyal_model::template::ChatTemplate;
use loyal_model::{Decoder, Tokenizer};
use loyal_types::Clock;
use rand::{RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use engine::{Engine, Queue};
use fault::Fault;
use limits::Limits;
use log::Log;

/// Threads that read requests and judge them, where there are so many cores.
const THREADS_MAX: usize = 16;

/// Serves `model` to whoever reaches `listener`, until `drain` begins and what is under way is answered.
///
/// # Errors
/// A setting makes no sense, or the system gives no threads or takes the listener away.
pub fn run(
    listener: TcpListener,
    model: Model,
    settings: Settings,
    clock: Arc<dyn Clock + Send + Sync>,
    drain: &Drain,
) -> Result<()> {
    answer_with(model, settings, clock, |app, settings| serve(listener, app, settings.drain_max, drain))
}

/// Serves routes as they are, by the same server; for measurements beside a gate.
///
/// # Errors
/// The system gives no threads or takes the listener away.
pub fn run_routes(listener: TcpListener, routes: Router, settings: &Settings, drain: &Drain) -> Result<()> {
    serve(listener, routes, settings.drain_max, drain)
}

/// Lets `model` answer for as long as `serve` uses the service it is given.
fn answer_with(
    model: Model,
    settings: Settings,
    clock: Arc<dyn Clock + Send + Sync>,
    serve: impl FnOnce(Router, &Settings) -> Result<()>,
) -> Result<()> {
    settings.check()?;
    let model = Arc::new(model);
    let (engine, queue) = Engine::new(Arc::clone(&model), &settings);
    let engine = std::thread::Builder::new().name("engine".to_owned()).spawn(move || engine.run());
    let engine = engine.map_err(|source| Error::system("starting the engine", source))?;
    let seeds = Mutex::new(ChaCha8Rng::seed_from_u64(settings.seed));
    let known = settings.clone();
    let host = Arc::new(Host { model, queue, settings, clock, seeds, answered: AtomicU64::new(0) });
    let served = serve(app(host), &known);
    // With the last handler the queue is gone, and the engine ends by itself.
    let _ = engine.join();
    served
}

/// What is served.
#[derive(Debug)]
pub struct Model {
    /// What clients call it.
    pub name: String,
    /// What answers.
    pub decoder: Decoder,
    /// What reads and spells.
    pub tokenizer: Tokenizer,
    /// How conversations are written for it; a plain transcript where it has none.
    pub template: Option<ChatTemplate>,
}

/// Bounds of what clients may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Answers made side by side.
    pub batch_count_max: usize,
    /// Answers that wait for a place among these.
    pub waiting_count_max: usize,
    /// Bytes of a request.
    pub request_bytes_max: usize,
    /// Answers to one request.
    pub answer_count_max: usize,
    /// Seconds after which a client that found no room may try again.
    pub retry_after_seconds: u64,
    /// How long what is under way may take once draining began.
    pub drain_max: Duration,
    /// How long a gated host waits for a caller whose connection ended in the middle of a stream.
    pub absence_max: Duration,
    /// Where the seeds of requests come from that name none.
    pub seed: u64,
    /// How often a client of a gated host may come.
    pub limits: Limits,
    /// Where a gated host writes down who came.
    pub log: Option<Log>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            batch_count_max: 16,
            waiting_count_max: 64,
            request_bytes_max: 1 << 20,
            answer_count_max: 64,
            retry_after_seconds: 1,
            drain_max: Duration::from_secs(30),
            absence_max: Duration::from_secs(5),
            seed: 0,
            limits: Limits::default(),
            log: None,
        }
    }
}

impl Settings {
    fn check(&self) -> Result<()> {
        let zero = [
            ("batch_count_max", self.batch_count_max),
            ("waiting_count_max", self.waiting_count_max),
            ("request_bytes_max", self.request_bytes_max),
            ("answer_count_max", self.answer_count_max),
        ];
        match zero.iter().find(|(_, value)| *value == 0) {
            Some(&(name, _)) => Err(Error::Setting { name, problem: "0; it must be 1 or more".to_owned() }),
            None => Ok(()),
        }
    }
}

/// Tells a host to end: no new connections, and what is under way is answered.
#[derive(Debug, Clone, Default)]
pub struct Drain(Arc<(tokio::sync::Notify, std::sync::atomic::AtomicBool)>);

impl Drain {
    /// Begins it. A host that is told before it listens ends at once.
    pub fn begin(&self) {
        self.0.1.store(true, Ordering::SeqCst);
        self.0.0.notify_one();
    }

    /// Whether it has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.0.1.load(Ordering::SeqCst)
    }
}

/// What handlers share.
struct Host {
    model: Arc<Model>,
    queue: Queue,
    settings: Settings,
    clock: Arc<dyn Clock + Send + Sync>,
    seeds: Mutex<ChaCha8Rng>,
    answered: AtomicU64,
}

impl Host {
    fn seed(&self) -> u64 {
        self.seeds.lock().map_or(self.settings.seed, |mut seeds| seeds.next_u64())
    }

    /// A name for the next answer, and when it is made.
    fn stamp(&self, prefix: &str) -> (String, u64) {
        let number = self.answered.fetch_add(1, Ordering::Relaxed);
        let now = self.clock.unix_seconds();
        (format!("{prefix}-{now:x}-{number:x}"), now)
    }

    fn card(&self) -> Value {
        json!({"id": self.model.name, "object": "model", "created": 0, "owned_by": "loyal",
            "max_model_len": self.model.decoder.config().context_tokens})
    }
}

/// Serves routes to everybody until `drain` begins and what is under way is answered, or `drain_max` is over.
///
/// # Errors
/// The system gives no threads or takes the listener away.
pub fn serve(listener: TcpListener, app: Router, drain_max: Duration, drain: &Drain) -> Result<()> {
    let failed = |source| Error::system("serving", source);
    let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, THREADS_MAX);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let runtime = runtime.map_err(|source| Error::system("starting the server's threads", source))?;
    listener.set_nonblocking(true).map_err(failed)?;
    let drain = Arc::clone(&drain.0);
    let served = runtime.block_on(async move {
        // Replies are small and leave at once. A socket that refuses the option still works.
        let listener = tokio::net::TcpListener::from_std(listener)?.tap_io(|line| {
            let _ = line.set_nodelay(true);
        });
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let begun = Arc::new(tokio::sync::Notify::new());
        let tell = Arc::clone(&begun);
        let server = axum::serve(listener, app).with_graceful_shutdown(async move {
            drain.0.notified().await;
            tell.notify_one();
        });
        tokio::select! {
            served = server.into_future() => served,
            () = async { begun.notified().await; tokio::time::sleep(drain_max).await } => Ok(()),
        }
    });
    // What is still under way now took too long: its connections end here.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served.map_err(failed)
}

fn app(host: Arc<Host>) -> Router {
    let limit = host.settings.request_bytes_max;
    Router::new()
        .route("/v1/models", get(models))
        .route("/v1/models/{*name}", get(model))
        .route("/v1/completions", post(completion::answer))
        .route("/v1/chat/completions", post(chat::answer))
        .route("/v1/embeddings", post(async || Fault::no_embeddings().into_response()))
        .fallback(async || Fault::no_such_path().into_response())
        .method_not_allowed_fallback(async || Fault::wrong_method().into_response())
        .layer(DefaultBodyLimit::max(limit))
        .with_state(host)
}

async fn models(State(host): State<Arc<Host>>) -> Response {
    answer::json(&json!({"object": "list", "data": [host.card()]}))
}

async fn model(State(host): State<Arc<Host>>, Path(name): Path<String>) -> Response {
    if name == host.model.name {
        return answer::json(&host.card());
    }
    Fault::no_such_model(&name, &host.model.name).into_response()
}
