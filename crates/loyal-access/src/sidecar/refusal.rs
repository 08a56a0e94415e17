//! Errors as programs of OpenAI's API read them: a status, a stable code, a sentence, and whether to try again.

use bytes::Bytes;
use hyper::header::{HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::{Body, whole};
use crate::Error;

/// What the programs' own libraries go by.
const SHOULD_RETRY: &str = "x-should-retry";

struct Refusal {
    status: u16,
    code: String,
    message: String,
    retry_after: Option<u64>,
    /// Whether the same request may have another answer.
    may_retry: bool,
}

/// An error as an answer.
pub(super) fn of(error: &Error) -> Response<Body> {
    answer(&refusal(error))
}

/// An error as the last event of a stream.
pub(super) fn document(error: &Error) -> Value {
    shape(&refusal(error))
}

pub(super) fn no_route(path: &str) -> Response<Body> {
    fixed(404, "no_route", format!("{path}: nothing is here; try /v1/chat/completions"))
}

pub(super) fn no_secret() -> Response<Body> {
    fixed(401, "invalid_api_key", "this server wants its own secret as the API's key".to_owned())
}

pub(super) fn foreign() -> Response<Body> {
    fixed(403, "foreign", "this server answers programs of this machine, and no web pages".to_owned())
}

pub(super) fn too_large(bytes: usize) -> Response<Body> {
    fixed(413, "too_large", format!("the request has more than {bytes} bytes"))
}

pub(super) fn full() -> Response<Body> {
    answer(&Refusal {
        status: 429,
        code: "too_many_requests".to_owned(),
        message: "too many requests wait for a channel".to_owned(),
        retry_after: Some(1),
        may_retry: true,
    })
}

fn fixed(status: u16, code: &str, message: String) -> Response<Body> {
    answer(&Refusal { status, code: code.to_owned(), message, retry_after: None, may_retry: false })
}

fn refusal(error: &Error) -> Refusal {
    let (status, code, may_retry) = match error {
        Error::Denied { status, code, retry_after, .. } => {
            return Refusal {
                status: *status,
                code: code.clone(),
                message: error.to_string(),
                retry_after: *retry_after,
                may_retry: matches!(status, 429 | 500..),
            };
        }
        Error::Request(_) | Error::Document(_) => (400, "malformed", false),
        Error::Capped { .. } | Error::TooDear { .. } => (402, "spend_capped", false),
        Error::Chain(loyal_protocol::Failure::Short { .. }) => (402, "wallet_short", false),
        // The same request again continues the invocation that broke off.
        Error::Connection { .. } => (502, "host_unreachable", true),
        Error::Misbehaved { .. } | Error::Faulted { .. } => (502, "host_misbehaved", false),
        Error::AnswerGone => (502, "reply_gone", true),
        Error::Chain(_) => (503, "chain_unavailable", true),
        _ => (500, "caller", false),
    };
    Refusal { status, code: code.to_owned(), message: error.to_string(), retry_after: None, may_retry }
}

fn shape(refusal: &Refusal) -> Value {
    let kind = if refusal.status < 500 { "invalid_request_error" } else { "server_error" };
    json!({ "error": { "message": refusal.message, "type": kind, "param": null, "code": refusal.code } })
}

fn answer(refusal: &Refusal) -> Response<Body> {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = whole(status, Bytes::from(shape(refusal).to_string()));
    let headers = response.headers_mut();
    let words = if refusal.may_retry { "true" } else { "false" };
    headers.insert(SHOULD_RETRY, HeaderValue::from_static(words));
    if let Some(seconds) = refusal.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
