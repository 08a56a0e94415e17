//! What a client is told when it gets no answer, in the shape of the OpenAI API.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// A refusal.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    parameter: Option<&'static str>,
    message: String,
    retry_after: Option<u64>,
}

impl Fault {
    fn new(status: StatusCode, kind: &'static str, message: String) -> Self {
        Self { status, kind, code: None, parameter: None, message, retry_after: None }
    }

    /// A parameter has a value that makes no sense, or that this host does not know.
    pub(super) fn parameter(name: &'static str, message: impl Into<String>) -> Self {
        let message = format!("{name}: {}", message.into());
        Self { parameter: Some(name), ..Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message) }
    }

    /// The body is not what it should be.
    pub(super) fn body(message: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    pub(super) fn too_large(limit: usize) -> Self {
        let message = format!("the request has more than {limit} bytes; send less at a time");
        Self {
            code: Some("request_too_large"),
            ..Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", message)
        }
    }

    pub(super) fn context(message: String) -> Self {
        Self {
            code: Some("context_length_exceeded"),
            ..Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
        }
    }

    pub(super) fn no_such_model(asked: &str, served: &str) -> Self {
        let asked: String = asked.chars().take(100).collect();
        let message = format!("there is no model {asked:?} here; this host serves {served:?}");
        Self {
            code: Some("model_not_found"),
            parameter: Some("model"),
            ..Self::new(StatusCode::NOT_FOUND, "invalid_request_error", message)
        }
    }

    /// The model of this process makes texts, and no vectors of them.
    pub(super) fn no_embeddings() -> Self {
        let message =
            "the model here makes no embeddings; ask a host whose engine does (`--upstream`)".to_owned();
        Self {
            code: Some("embeddings_unsupported"),
            ..Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
        }
    }

    pub(super) fn no_such_path() -> Self {
        let message =
            "no such path; there are /v1/models, /v1/completions and /v1/chat/completions".to_owned();
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", message)
    }

    pub(super) fn wrong_method() -> Self {
        let message = "GET /v1/models, and POST the others".to_owned();
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", message)
    }

    pub(super) fn busy(retry_after: u64) -> Self {
        Self {
            code: Some("rate_limit_exceeded"),
            retry_after: Some(retry_after),
            ..Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limit_error",
                format!("every place is taken; try again in {retry_after} s"),
            )
        }
    }

    pub(super) fn too_often(retry_after: u64) -> Self {
        let message = format!("too many requests of one client; try again in {retry_after} s");
        Self {
            code: Some("rate_limit_exceeded"),
            retry_after: Some(retry_after),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", message)
        }
    }

    pub(super) fn broken() -> Self {
        let message = "the answer could not be finished; try again".to_owned();
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message)
    }

    /// The body of the refusal.
    pub(super) fn json(&self) -> Value {
        json!({"error": {"message": self.message, "type": self.kind, "param": self.parameter, "code": self.code}})
    }
}

impl From<loyal_model::Error> for Fault {
    fn from(error: loyal_model::Error) -> Self {
        match error {
            loyal_model::Error::ContextOverflow { .. } => Self::context(error.to_string()),
            other => Self::body(other.to_string()),
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = super::answer::json(&self.json());
        *response.status_mut() = self.status;
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
