//! Whole replies: charged, written down, and only then sent.

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use loyal_access::document::HandedReceipt;
use loyal_access::gate::{Admitted, Reply};
use loyal_access::request::reply_text;
use serde_json::{Value, json};

use super::{Visit, gateway_broken, receive};

/// The most bytes of an answer that is not told piece by piece.
pub(super) const ANSWER_BYTES_MAX: usize = 16 << 20;

/// The body that what answers is asked with: a stream counts its tokens, whether the caller wants to know or not.
pub(super) fn question(body: &Value) -> Vec<u8> {
    let written = if body["stream"] == Value::Bool(true) {
        let mut body = body.clone();
        body["stream_options"] = json!({ "include_usage": true });
        serde_json::to_vec(&body)
    } else {
        serde_json::to_vec(body)
    };
    written.expect("a value of JSON can be written")
}

/// Charges for a whole reply and sends it.
pub(super) async fn respond(admitted: Admitted, response: Response, mut visit: Visit) -> Response {
    let (head, body) = response.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, ANSWER_BYTES_MAX).await else {
        return visit.refuse(&gateway_broken());
    };
    let Ok(answer) = serde_json::from_slice::<Value>(&bytes) else {
        return visit.refuse(&gateway_broken());
    };
    let Some((tokens_in, tokens_out)) = usage(&answer) else {
        return visit.refuse(&gateway_broken());
    };
    let keeper = admitted.keeper();
    let text = reply_text(&answer);
    let Ok(settled) = admitted.settle(Reply { text: &text, tokens_in, tokens_out }).await else {
        return visit.refuse(&gateway_broken());
    };
    visit.charge(&settled);
    keeper.keep(bytes.clone());
    let mut response = Response::from_parts(head, Body::from(bytes));
    receive(&mut response, &settled.receipt, Some(&settled.payment));
    visit.end(response)
}

/// Tokens in and out, as an answer counts them.
pub(super) fn usage(answer: &Value) -> Option<(u32, u32)> {
    let usage = answer.get("usage").filter(|usage| usage.is_object())?;
    let count = |name: &str| usage[name].as_u64().map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    Some((count("prompt_tokens")?, count("completion_tokens").unwrap_or(0)))
}

/// A reply that was given before.
pub(super) fn again(reply: &Bytes, receipt: &HandedReceipt) -> Response {
    let kind = if reply.starts_with(b"data:") { "text/event-stream" } else { "application/json" };
    let mut response = ([(CONTENT_TYPE, kind)], reply.clone()).into_response();
    receive(&mut response, receipt, None);
    response
}
