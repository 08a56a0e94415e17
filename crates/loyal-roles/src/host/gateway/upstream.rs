//! An engine at another address that speaks the OpenAI API: vLLM, SGLang, llama.cpp, Ollama and their like.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use http_body_util::Full;
use loyal_access::outbound::{Outbound, Reach, split};
use loyal_types::Origin;
use serde_json::Value;

use super::super::answer;
use super::IDLE_MAX;
use crate::error::{Error, Result};

/// An engine.
#[derive(Debug, Clone)]
pub struct Upstream {
    origin: Origin,
    /// What stands before `/chat/completions` and its like.
    base: String,
    key: Option<HeaderValue>,
    /// What requests that name no model are meant for.
    model: Option<String>,
    outbound: Outbound,
}

impl Upstream {
    /// The engine at `url`, as programs take it, up to and with `/v1`; with the key of an account there.
    ///
    /// # Errors
    /// [`Error::Refused`] where it is no address, or the key nothing that a header can carry.
    pub fn new(url: &str, key: Option<&str>) -> Result<Self> {
        let (origin, path) = split(url).map_err(|error| Error::refused(error.to_string()))?;
        let base = path.trim_end_matches('/').to_owned();
        let header = |key: &str| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.trim())).map_err(|_| {
                Error::refused("the key of the engine holds characters that no header can carry")
            })?;
            value.set_sensitive(true);
            Ok::<_, Error>(value)
        };
        let key = key.map(header).transpose()?;
        Ok(Self { origin, base, key, model: None, outbound: Outbound::new(Reach::Local) })
    }

    /// Requests that name no model are for this one.
    #[must_use]
    pub fn with_model(mut self, model: Option<String>) -> Self {
        self.model = model;
        self
    }

    fn named(&self, body: Bytes) -> Bytes {
        let Some(model) = &self.model else { return body };
        match serde_json::from_slice::<Value>(&body) {
            Ok(mut value) if value.is_object() && value.get("model").is_none() => {
                value["model"] = Value::from(model.as_str());
                value.to_string().into()
            }
            _ => body,
        }
    }

    /// As a service: paths below `/v1` are asked there.
    pub(super) fn service(self) -> Router {
        Router::new().fallback(forward).with_state(Arc::new(self))
    }
}

async fn forward(State(upstream): State<Arc<Upstream>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else { return unreachable_engine() };
    let path = head.uri.path();
    let path = format!("{}{}", upstream.base, path.strip_prefix("/v1").unwrap_or(path));
    let mut asked = hyper::Request::builder().method(head.method).uri(path);
    asked = asked.header(CONTENT_TYPE, "application/json");
    if let Some(key) = &upstream.key {
        asked = asked.header(AUTHORIZATION, key);
    }
    let Ok(asked) = asked.body(Full::new(upstream.named(body))) else { return unreachable_engine() };
    let sent = tokio::time::timeout(IDLE_MAX, upstream.outbound.send(&upstream.origin, asked)).await;
    let Ok(Ok(reply)) = sent else { return unreachable_engine() };
    let (head, body) = reply.into_parts();
    let mut response = Body::new(body).into_response();
    *response.status_mut() = head.status;
    for name in [CONTENT_TYPE, axum::http::header::RETRY_AFTER] {
        if let Some(value) = head.headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

fn unreachable_engine() -> Response {
    let error = serde_json::json!({ "error": {
        "message": "the engine behind this host does not answer; nothing was charged", "type": "server_error",
        "param": null, "code": "engine_unavailable",
    } });
    let mut response = answer::json(&error);
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}
