//! Which request goes where, and what is answered before an agent is asked.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::{get, post};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body as _;
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::{Server, assist, mcp, openai, runs};

/// How long a request's body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Everything the server answers.
pub(super) fn service(server: &Arc<Server>) -> Router {
    Router::new()
        .route("/assist", post(assist::answer))
        .route("/agent-card", get(card))
        .route("/healthz", get(health))
        .route("/runs/{request_id}", get(runs::answer))
        .route("/v1/models", get(openai::models))
        .route("/v1/chat/completions", post(openai::answer))
        .route("/mcp", post(mcp::answer))
        .method_not_allowed_fallback(not_allowed)
        .fallback(not_found)
        .with_state(server.clone())
}

async fn card(State(server): State<Arc<Server>>) -> Response<Body> {
    json_answer(StatusCode::OK, &json!(server.card))
}

async fn health() -> Response<Body> {
    let mut answer = Response::new(Body::from("ok\n"));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

/// axum adds which methods are.
async fn not_allowed(State(server): State<Arc<Server>>) -> Response<Body> {
    server.metrics.refused.fetch_add(1, Ordering::Relaxed);
    json_answer(StatusCode::METHOD_NOT_ALLOWED, &json!({ "detail": "Method Not Allowed" }))
}

async fn not_found(State(server): State<Arc<Server>>) -> Response<Body> {
    server.metrics.refused.fetch_add(1, Ordering::Relaxed);
    json_answer(StatusCode::NOT_FOUND, &json!({ "detail": "Not Found" }))
}

/// An answer in JSON.
pub(super) fn json_answer(status: StatusCode, value: &Value) -> Response<Body> {
    text_answer(status, value.to_string())
}

/// An answer whose JSON is written already.
pub(super) fn text_answer(status: StatusCode, json: String) -> Response<Body> {
    let mut answer = Response::new(Body::from(json));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// A refusal in the shape of FastAPI.
pub(super) fn refuse(server: &Server, status: u16, detail: &str) -> Response<Body> {
    server.metrics.refused.fetch_add(1, Ordering::Relaxed);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let mut answer = json_answer(status, &json!({ "detail": detail }));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}

/// The body of a request, within the server's bounds.
///
/// # Errors
/// The status and the words of a refusal.
pub(super) async fn read(server: &Server, request: Request<Body>) -> Result<Bytes, (u16, &'static str)> {
    const TOO_LARGE: (u16, &str) = (413, "The request is too large.");
    let (body, bytes_max) = (request.into_body(), server.limits.request_bytes_max);
    // What announces too much is not waited for.
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(TOO_LARGE);
    }
    let body = Limited::new(body, bytes_max).collect();
    match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(TOO_LARGE),
        Ok(Err(_)) => Err((400, "The request ended too early.")),
        Err(_) => Err((408, "The request did not arrive in time.")),
    }
}

/// Whether a body is announced as JSON, or as nothing at all. A page of another site cannot announce JSON without
/// asking first.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return true };
    let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
        || kind.len() > 5 && kind[kind.len() - 5..].eq_ignore_ascii_case("+json")
}

/// The head of a stream of events.
pub(super) fn stream_answer(body: Body) -> Response<Body> {
    let mut answer = Response::new(body);
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    answer
}
