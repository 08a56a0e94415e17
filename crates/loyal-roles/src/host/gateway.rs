//! The host behind a gate: only admitted invocations reach what answers, and each leaves a receipt.
//!
//! What answers is a service that speaks the OpenAI API: the model of this process, or an engine at another address.

mod reply;
mod stream;
mod upstream;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use alloy_primitives::B256;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use loyal_access::Gate;
use loyal_access::document::{self, HandedReceipt, RECEIPT};
use loyal_access::gate::{Outcome, Refused};
use loyal_access::payment::{PAYMENT_REQUIRED, PAYMENT_RESPONSE};
use loyal_protocol::contracts;
use loyal_types::Clock;
use serde_json::{Value, json};
use tower::Service as _;

pub use upstream::Upstream;

use super::{Drain, Model, Settings, answer};
use crate::error::{Error, Result};

/// Invocations judged or answered at the same time; more wait outside.
const UNDER_WAY_MAX: usize = 8_192;

const EMBEDDINGS: &str = "/v1/embeddings";

/// What answers admitted invocations.
#[derive(Debug)]
pub enum Source {
    /// A model in this process.
    Model(Box<Model>),
    /// An engine that speaks the OpenAI API.
    Upstream(Upstream),
    /// Routes that speak the OpenAI API; for measurements and tests of the gate alone.
    Routes(Router),
}

/// Serves `source` behind `gate` until `drain` begins and what is under way is answered.
///
/// # Errors
/// A setting makes no sense, or the system gives no threads or takes the listener away.
pub fn run(
    listener: TcpListener,
    (gate, source): (Arc<Gate>, Source),
    settings: Settings,
    clock: Arc<dyn Clock + Send + Sync>,
    drain: &Drain,
) -> Result<()> {
    let bytes_max = gate.settings().body_bytes_max;
    match source {
        Source::Model(model) => super::answer_with(*model, settings, clock, |inner, settings| {
            super::serve(
                listener,
                app(Arc::new(Gateway::new(gate, inner, bytes_max).without_embeddings())),
                settings.drain_max,
                drain,
            )
        }),
        Source::Upstream(upstream) => {
            let app = app(Arc::new(Gateway::new(gate, upstream.service(), bytes_max)));
            super::serve(listener, app, settings.drain_max, drain)
        }
        Source::Routes(inner) => {
            let app = app(Arc::new(Gateway::new(gate, inner, bytes_max)));
            super::serve(listener, app, settings.drain_max, drain)
        }
    }
}

/// What handlers share.
struct Gateway {
    gate: Arc<Gate>,
    inner: Router,
    bytes_max: usize,
    under_way: AtomicUsize,
    /// Whether what answers makes embeddings; where it does not, nobody is asked to pay for one.
    embeds: bool,
}

impl Gateway {
    const fn new(gate: Arc<Gate>, inner: Router, bytes_max: usize) -> Self {
        Self { gate, inner, bytes_max, under_way: AtomicUsize::new(0), embeds: true }
    }

    const fn without_embeddings(mut self) -> Self {
        self.embeds = false;
        self
    }

    /// Asks what answers.
    async fn ask(&self, request: Request) -> Response {
        // A router is always ready.
        match self.inner.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// One of the invocations under way.
struct Place(Arc<Gateway>);

impl Place {
    fn take(gateway: &Arc<Gateway>) -> Option<Self> {
        let taken = gateway.under_way.fetch_add(1, Ordering::Relaxed);
        let place = Self(Arc::clone(gateway));
        (taken < UNDER_WAY_MAX).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

fn app(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/v1/completions", post(invoke))
        .route("/v1/chat/completions", post(invoke))
        .route(EMBEDDINGS, post(invoke))
        .route("/v1/models", get(models))
        .route("/v1/models/{*name}", get(models))
        .route("/v1/loyal", get(terms))
        .route("/v1/receipts/{invocation}", get(receipt))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .fallback(async || super::fault::Fault::no_such_path().into_response())
        .method_not_allowed_fallback(async || super::fault::Fault::wrong_method().into_response())
        .with_state(gateway)
}

/// An invocation: judged before anything reads the prompt.
async fn invoke(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    if !gateway.embeds && request.uri().path() == EMBEDDINGS {
        return super::fault::Fault::no_embeddings().into_response();
    }
    let Some(place) = Place::take(&gateway) else {
        return super::fault::Fault::busy(1).into_response();
    };
    let (head, body) = request.into_parts();
    // One byte more than allowed is enough for the gate to refuse it.
    let Ok(bytes) = axum::body::to_bytes(body, gateway.bytes_max + 1).await else {
        return super::fault::Fault::too_large(gateway.bytes_max).into_response();
    };
    match gateway.gate.admit(&head.headers, &bytes).await {
        Outcome::Admitted(admitted) => {
            let is_stream = admitted.request().is_stream();
            let asked = Request::post(head.uri.path())
                .header(CONTENT_TYPE, "application/json")
                .body(Body::from(reply::question(admitted.request().body())));
            let Ok(asked) = asked else { return refuse(&gateway_broken()) };
            let response = gateway.ask(asked).await;
            if response.status() != StatusCode::OK {
                // Dropped here, the invocation was never there: what refuses does not charge.
                return response;
            }
            if is_stream {
                stream::respond(admitted, response, place)
            } else {
                reply::respond(admitted, response).await
            }
        }
        Outcome::Again { reply, receipt } => reply::again(&reply, &receipt),
        Outcome::Refused(refused) => refuse(&refused),
    }
}

fn gateway_broken() -> Refused {
    Refused {
        refusal: None,
        status: 500,
        code: "server_error",
        message: "the answer could not be finished; nothing was charged, try again".to_owned(),
        payment: None,
        retry_after: None,
        receipt: None,
    }
}

/// A refusal, over HTTP.
fn refuse(refused: &Refused) -> Response {
    let mut response = answer::json(&refused.json());
    *response.status_mut() =
        StatusCode::from_u16(refused.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if let Some(payment) = &refused.payment {
        put(headers, HeaderName::from_static(PAYMENT_REQUIRED), &document::header(payment));
    }
    if let Some(receipt) = &refused.receipt {
        put(headers, HeaderName::from_static(RECEIPT), &document::header(receipt));
    }
    if let Some(seconds) = refused.retry_after {
        headers.insert(axum::http::header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn put(headers: &mut axum::http::HeaderMap, name: HeaderName, text: &str) {
    let value = HeaderValue::from_str(text).expect("base64 is what a header can carry");
    headers.insert(name, value);
}

/// A receipt and what became of its payment, in their headers.
fn receive(
    response: &mut Response,
    receipt: &HandedReceipt,
    payment: Option<&loyal_access::payment::Settlement>,
) {
    let headers = response.headers_mut();
    put(headers, HeaderName::from_static(RECEIPT), &document::header(receipt));
    if let Some(payment) = payment {
        put(headers, HeaderName::from_static(PAYMENT_RESPONSE), &document::header(payment));
    }
}

/// The models, each with the level and the hosting it is served under.
async fn models(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (head, _) = request.into_parts();
    let Ok(asked) = Request::get(head.uri.path()).body(Body::empty()) else {
        return refuse(&gateway_broken());
    };
    let response = gateway.ask(asked).await;
    if response.status() != StatusCode::OK {
        return response;
    }
    let Ok(bytes) = axum::body::to_bytes(response.into_body(), reply::ANSWER_BYTES_MAX).await else {
        return refuse(&gateway_broken());
    };
    let Ok(mut value) = serde_json::from_slice::<Value>(&bytes) else { return refuse(&gateway_broken()) };
    let info = gateway.gate.info();
    let name = |card: &mut Value| {
        if card.is_object() {
            card["loyal"] = info.clone();
            card["level"] = info["level"].clone();
        }
    };
    match value.get_mut("data").and_then(Value::as_array_mut) {
        Some(cards) => cards.iter_mut().for_each(name),
        None => name(&mut value),
    }
    answer::json(&value)
}

/// What the host asks for, of callers whom the builder named by `LOYAL-BUILDER` brings.
async fn terms(State(gateway): State<Arc<Gateway>>, headers: axum::http::HeaderMap) -> Response {
    match gateway.gate.terms(&headers).await {
        Ok(terms) => answer::json(&terms),
        Err(refused) => refuse(&refused),
    }
}

/// A receipt and, once its epoch is reported, the proof that the report counts it.
async fn receipt(State(gateway): State<Arc<Gateway>>, Path(invocation): Path<String>) -> Response {
    let gate = Arc::clone(&gateway.gate);
    let found = tokio::task::spawn_blocking(move || receipt_of(&gate, &invocation)).await;
    match found {
        Ok(Ok(Some(found))) => answer::json(&found),
        Ok(Ok(None)) => {
            let mut refused = gateway_broken();
            (refused.status, refused.code) = (404, "no_such_receipt");
            "there is no receipt of this invocation, or it is older than 45 days"
                .clone_into(&mut refused.message);
            refuse(&refused)
        }
        _ => refuse(&gateway_broken()),
    }
}

fn receipt_of(gate: &Gate, invocation: &str) -> Result<Option<Value>> {
    let Ok(invocation) = invocation.parse::<B256>() else { return Ok(None) };
    let Some((epoch, seq)) = gate.books().place_of(invocation) else { return Ok(None) };
    let Some(kept) = gate.books().kept(epoch, seq)? else { return Ok(None) };
    let hosting = alloy_primitives::U256::from(gate.view().hosting().id);
    let call = contracts::Gate::reportOfCall { hostingId: hosting, epoch };
    let posted = gate.view().client().call(gate.view().at().gate, &call);
    let inclusion = match posted {
        Ok(report) if report.postedAt != 0 => {
            let report = gate.books().report(epoch, false)?;
            json!({ "proof": gate.books().proof(epoch, seq)?, "report": document::Report { report } })
        }
        _ => Value::Null,
    };
    Ok(Some(json!({ "receipt": gate.handed(kept.receipt), "inclusion": inclusion })))
}

async fn health(State(gateway): State<Arc<Gateway>>) -> Response {
    let hosting = gateway.gate.view().hosting();
    let serves = hosting.is_active && hosting.is_serveable;
    let mut response = answer::json(&json!({
        "status": if serves { "serving" } else { "not serving" }, "hosting": hosting.id.to_string(),
        "level": hosting.level, "under_way": gateway.under_way.load(Ordering::Relaxed),
    }));
    if !serves {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

/// Counts, as Prometheus reads them (text format 0.0.4).
async fn metrics(State(gateway): State<Arc<Gateway>>) -> Response {
    use std::fmt::Write as _;
    let mut text = String::new();
    for (name, count) in gateway.gate.tally().counts() {
        let _ = writeln!(text, "# TYPE loyal_host_{name}_total counter\nloyal_host_{name}_total {count}");
    }
    let epoch = gateway.gate.view().epoch(gateway.gate.now());
    let (amount, count) = gateway.gate.books().turnover(epoch);
    let under_way = gateway.under_way.load(Ordering::Relaxed);
    for (name, value) in [
        ("under_way", under_way as u128),
        ("epoch", epoch.into()),
        ("epoch_receipts", count.into()),
        ("epoch_amount", amount),
    ] {
        let _ = writeln!(text, "# TYPE loyal_host_{name} gauge\nloyal_host_{name} {value}");
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// How long what waits for a connection's next bytes may wait.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(300);

impl From<loyal_access::Error> for Error {
    fn from(error: loyal_access::Error) -> Self {
        match error {
            loyal_access::Error::Chain(failure) => Self::Chain(failure),
            loyal_access::Error::File { path, why } => Self::File { path, why },
            other => Self::refused(other.to_string()),
        }
    }
}
