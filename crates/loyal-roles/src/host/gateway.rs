//! The host behind a gate: only admitted invocations reach what answers, and each leaves a receipt.
//!
//! What answers is a service that speaks the OpenAI API: the model of this process, or an engine at another address.

mod absence;
mod reply;
mod stream;
mod upstream;
mod visit;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use alloy_primitives::B256;
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use loyal_access::Gate;
use loyal_access::document::{self, HandedReceipt, RECEIPT};
use loyal_access::gate::{Admitted, Outcome, Refused};
use loyal_access::payment::{PAYMENT_REQUIRED, PAYMENT_RESPONSE};
use loyal_protocol::contracts;
use loyal_types::Clock;
use serde_json::{Value, json};
use tower::Service as _;

pub use upstream::Upstream;

use super::answer::json as whole;
use super::fault::Fault;
use super::limits::Clients;
use super::log::Log;
use super::{Drain, Model, Settings};
use crate::error::{Error, Result};
use absence::Absences;
use visit::Visit;

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
    let (known, told) = (settings.clone(), Arc::clone(&clock));
    let app = move |inner, embeds| app(Arc::new(Gateway::new(gate, (inner, embeds), (&known, told))));
    let drain_max = settings.drain_max;
    match source {
        Source::Model(model) => super::answer_with(*model, settings, clock, |inner, _| {
            super::serve(listener, app(inner, false), drain_max, drain)
        }),
        Source::Upstream(upstream) => super::serve(listener, app(upstream.service(), true), drain_max, drain),
        Source::Routes(inner) => super::serve(listener, app(inner, true), drain_max, drain),
    }
}

/// What handlers share.
struct Gateway {
    gate: Arc<Gate>,
    inner: Router,
    bytes_max: usize,
    clock: Arc<dyn Clock + Send + Sync>,
    under_way: AtomicUsize,
    /// Whether what answers makes embeddings; where it does not, nobody is asked to pay for one.
    embeds: bool,
    clients: Clients,
    log: Option<Log>,
    turned_away: TurnedAway,
    absences: Arc<Absences>,
}

/// Requests that were turned away before the gate, or after it, because there were too many.
#[derive(Debug, Default)]
struct TurnedAway {
    full: AtomicU64,
    address: AtomicU64,
    caller: AtomicU64,
}

impl Gateway {
    fn new(
        gate: Arc<Gate>,
        (inner, embeds): (Router, bool),
        (settings, clock): (&Settings, Arc<dyn Clock + Send + Sync>),
    ) -> Self {
        Self {
            bytes_max: gate.settings().body_bytes_max,
            gate,
            inner,
            embeds,
            clock,
            under_way: AtomicUsize::new(0),
            clients: Clients::new(settings.limits),
            log: settings.log.clone(),
            turned_away: TurnedAway::default(),
            absences: Arc::new(Absences::new(settings.absence_max)),
        }
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

fn app(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/v1/completions", post(invoke).get(refund))
        .route("/v1/chat/completions", post(invoke).get(refund))
        .route(EMBEDDINGS, post(invoke).get(refund))
        .route("/v1/models", get(models))
        .route("/v1/models/{*name}", get(models))
        .route("/v1/loyal", get(terms))
        .route("/v1/receipts/{invocation}", get(receipt))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .fallback(async || Fault::no_such_path().into_response())
        .method_not_allowed_fallback(async || Fault::wrong_method().into_response())
        .with_state(gateway)
}

/// An invocation: judged before anything reads the prompt.
async fn invoke(
    State(gateway): State<Arc<Gateway>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let path = ["/v1/chat/completions", "/v1/completions", EMBEDDINGS];
    let path = path.into_iter().find(|&path| path == request.uri().path()).unwrap_or_default();
    let mut visit = match Visit::begin(&gateway, peer.ip(), path) {
        Ok(visit) => visit,
        Err(turned_away) => return *turned_away,
    };
    if !gateway.embeds && path == EMBEDDINGS {
        return visit.turn_away(&Fault::no_embeddings(), "embeddings_unsupported");
    }
    let (head, body) = request.into_parts();
    // One byte more than allowed is enough for the gate to refuse it.
    let Ok(bytes) = axum::body::to_bytes(body, gateway.bytes_max + 1).await else {
        return visit.turn_away(&Fault::too_large(gateway.bytes_max), "too_large");
    };
    visit.read(bytes.len());
    match gateway.gate.admit(&head.headers, &bytes).await {
        Outcome::Admitted(admitted) => {
            // Dropped without being settled, the invocation was never there: who comes too often pays nothing.
            match visit.admit(&admitted) {
                Ok(()) => answer(&gateway, path, admitted, visit).await,
                Err(turned_away) => *turned_away,
            }
        }
        Outcome::Again { reply, receipt } => visit.end(reply::again(&reply, &receipt)),
        Outcome::Refused(refused) => {
            if let Some(invocation) = refused.under_way {
                gateway.absences.ask_again(invocation);
            }
            visit.refuse(&refused)
        }
    }
}

/// Lets an admitted invocation be answered.
async fn answer(gateway: &Arc<Gateway>, path: &str, admitted: Admitted, mut visit: Visit) -> Response {
    let is_stream = admitted.request().is_stream();
    let asked = Request::post(path)
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(reply::question(admitted.request().body())));
    let Ok(asked) = asked else { return visit.refuse(&gateway_broken()) };
    let response = gateway.ask(asked).await;
    if response.status() != StatusCode::OK {
        // Dropped here, the invocation was never there: what refuses does not charge.
        return visit.end(response);
    }
    if is_stream {
        stream::respond(admitted, visit.end(response), visit)
    } else {
        reply::respond(admitted, response, visit).await
    }
}

/// Without a body nothing is invoked: a payer asks how to pay, or for the rest of its channel.
async fn refund(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    match gateway.gate.refund(request.headers()).await {
        Ok(payment) => {
            let mut response = whole(&json!({ "message": "refunded", "amount": payment.amount }));
            put(
                response.headers_mut(),
                HeaderName::from_static(PAYMENT_RESPONSE),
                &document::header(&payment),
            );
            response
        }
        Err(refused) => refuse(&refused),
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
        under_way: None,
    }
}

/// A refusal, over HTTP.
fn refuse(refused: &Refused) -> Response {
    let mut response = whole(&refused.json());
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
    whole(&value)
}

/// What the host asks for, of callers whom the builder named by `LOYAL-BUILDER` brings.
async fn terms(State(gateway): State<Arc<Gateway>>, headers: axum::http::HeaderMap) -> Response {
    match gateway.gate.terms(&headers).await {
        Ok(terms) => whole(&terms),
        Err(refused) => refuse(&refused),
    }
}

/// A receipt and, once its epoch is reported, the proof that the report counts it.
async fn receipt(
    State(gateway): State<Arc<Gateway>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(invocation): Path<String>,
) -> Response {
    let mut visit = match Visit::begin(&gateway, peer.ip(), "/v1/receipts") {
        Ok(visit) => visit,
        Err(turned_away) => return *turned_away,
    };
    let gate = Arc::clone(&gateway.gate);
    let found = match invocation.parse::<B256>() {
        Ok(invocation) => {
            gateway.absences.end(invocation).await;
            tokio::task::spawn_blocking(move || receipt_of(&gate, invocation)).await
        }
        Err(_) => Ok(Ok(None)),
    };
    match found {
        Ok(Ok(Some(found))) => visit.end(whole(&found)),
        Ok(Ok(None)) => {
            let mut refused = gateway_broken();
            (refused.status, refused.code) = (404, "no_such_receipt");
            "there is no receipt of this invocation, or it is older than 45 days"
                .clone_into(&mut refused.message);
            visit.refuse(&refused)
        }
        _ => visit.refuse(&gateway_broken()),
    }
}

fn receipt_of(gate: &Gate, invocation: B256) -> Result<Option<Value>> {
    let Some((epoch, seq)) = gate.books().place_of(invocation)? else { return Ok(None) };
    let Some(kept) = gate.books().kept(epoch, seq)? else { return Ok(None) };
    let hosting = alloy_primitives::U256::from(gate.view().hosting().id);
    let call = contracts::Gate::reportOfCall { hostingId: hosting, epoch };
    let posted = gate.view().client().call(gate.view().at().gate, &call);
    let inclusion = match posted {
        Ok(report) if report.postedAt != 0 => {
            let found = gate.books().proof(epoch, seq)?;
            found.map_or(
                Value::Null,
                |(proof, report)| json!({ "proof": proof, "report": document::Report { report } }),
            )
        }
        _ => Value::Null,
    };
    Ok(Some(json!({ "receipt": gate.handed(kept.receipt), "inclusion": inclusion })))
}

async fn health(State(gateway): State<Arc<Gateway>>) -> Response {
    let hosting = gateway.gate.view().hosting();
    let serves = hosting.is_active && hosting.is_serveable;
    let mut response = whole(&json!({
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
    let (mut text, tally) = (String::new(), gateway.gate.tally());
    let turned_away = &gateway.turned_away;
    let turned_away =
        [("full", &turned_away.full), ("address", &turned_away.address), ("caller", &turned_away.caller)];
    let turned_away =
        turned_away.map(|(what, count)| (format!("turned_away_{what}"), count.load(Ordering::Relaxed)));
    let lost = ("log_lost".to_owned(), gateway.log.as_ref().map_or(0, Log::lost));
    for (name, count) in tally.counts().into_iter().chain(turned_away).chain([lost]) {
        let _ = writeln!(text, "# TYPE loyal_host_{name}_total counter\nloyal_host_{name}_total {count}");
    }
    let times = tally.admission();
    let _ = writeln!(text, "# TYPE loyal_host_admission_seconds histogram");
    for (within, count) in times.buckets {
        let _ = writeln!(text, "loyal_host_admission_seconds_bucket{{le=\"{within}\"}} {count}");
    }
    let _ = writeln!(text, "loyal_host_admission_seconds_bucket{{le=\"+Inf\"}} {}", times.count);
    let _ = writeln!(text, "loyal_host_admission_seconds_sum {}", times.seconds);
    let _ = writeln!(text, "loyal_host_admission_seconds_count {}", times.count);
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
