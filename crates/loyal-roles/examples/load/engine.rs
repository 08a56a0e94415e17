//! An engine that thinks nothing: the same answer to everybody, at once or piece by piece.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use futures_util::stream;
use tokio::sync::Notify;

const WHOLE: &str = r#"{"id":"null","object":"chat.completion","created":0,"model":"null","choices":[{"index":0,"message":{"role":"assistant","content":"Nothing."},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":2,"total_tokens":12}}"#;
const PIECE: &str = "data: {\"id\":\"null\",\"object\":\"chat.completion.chunk\",\"created\":0,\"model\":\"null\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Nothing.\"},\"finish_reason\":null}]}\n\n";
const LAST: &str = "data: {\"id\":\"null\",\"object\":\"chat.completion.chunk\",\"created\":0,\"model\":\"null\",\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":2,\"total_tokens\":12}}\n\ndata: [DONE]\n\n";
const MODELS: &str =
    r#"{"object":"list","data":[{"id":"null","object":"model","created":0,"owned_by":"nobody"}]}"#;

/// What streams wait for.
#[derive(Debug, Default)]
pub(crate) struct Held {
    waiting: AtomicUsize,
    go: Notify,
}

impl Held {
    /// Streams that have begun and wait.
    pub(crate) fn count(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Lets all of them end.
    pub(crate) fn release(&self) {
        self.go.notify_waiters();
    }
}

/// The engine; streams whose prompt says `wait` stand still after their first piece.
pub(crate) fn routes(held: &Arc<Held>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(answer))
        .route("/v1/models", get(async || ([(CONTENT_TYPE, "application/json")], MODELS)))
        .with_state(Arc::clone(held))
}

async fn answer(State(held): State<Arc<Held>>, body: Bytes) -> Response {
    if !contains(&body, b"\"stream\":true") {
        return ([(CONTENT_TYPE, "application/json")], WHOLE).into_response();
    }
    let waits = contains(&body, b"wait");
    let pieces = stream::unfold(0, move |number| {
        let held = Arc::clone(&held);
        async move {
            let piece = match number {
                0 => PIECE,
                1 => {
                    if waits {
                        let go = held.go.notified();
                        held.waiting.fetch_add(1, Ordering::SeqCst);
                        go.await;
                        held.waiting.fetch_sub(1, Ordering::SeqCst);
                    }
                    LAST
                }
                _ => return None,
            };
            Some((Ok::<_, Infallible>(Bytes::from_static(piece.as_bytes())), number + 1))
        }
    });
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(pieces)).into_response()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
