//! A model behind any URL that speaks the chat completions of OpenAI, as vLLM, SGLang, llama.cpp and many others do.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Method, Request, StatusCode};
use loyal_types::Origin;

use super::dialect::{self, Building, Patience};
use super::{Ask, Completion, Delta, Llm, LlmFault};
use crate::event::Frames;
use crate::outbound::{self, Reach, Reply};
use crate::{Error, Result};

const ANSWER_BYTES_MAX: usize = 8 << 20;

/// A model at a URL.
pub struct OpenAi {
    origin: Origin,
    path: String,
    model: String,
    key: Option<HeaderValue>,
    reach: Reach,
    idle: Duration,
}

impl std::fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenAi")
            .field("origin", &self.origin)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

impl OpenAi {
    /// `url` as such programs take it, up to and with `/v1`. The operator wrote it, so private networks are allowed.
    ///
    /// # Errors
    /// [`Error::BadAddress`].
    pub fn new(url: &str, model: &str) -> Result<Self> {
        let (origin, path) = outbound::split(url)?;
        let path = path.trim_end_matches('/');
        let path = path.strip_suffix("/chat/completions").unwrap_or(path);
        let path = format!("{path}/chat/completions");
        let (model, idle) = (model.to_owned(), Duration::from_secs(120));
        Ok(Self { origin, path, model, key: None, reach: Reach::Local, idle })
    }

    /// With the key of an account there.
    ///
    /// # Errors
    /// [`Error::BadAddress`] where it is nothing a header can carry.
    pub fn with_key(mut self, key: &str) -> Result<Self> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", key.trim())).map_err(|_| {
            Error::BadAddress { why: "the key holds characters no header can carry".to_owned() }
        })?;
        value.set_sensitive(true);
        self.key = Some(value);
        Ok(self)
    }

    async fn attempt(
        &self,
        body: &Bytes,
        sink: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Completion, LlmFault> {
        let mut request = Request::builder().method(Method::POST).uri(&self.path);
        if let Some(key) = &self.key {
            request = request.header(header::AUTHORIZATION, key);
        }
        let request = request
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "text/event-stream")
            .body(Full::new(body.clone()))
            .map_err(|error| LlmFault::Unreachable { why: error.to_string() })?;
        let answer = self.within(outbound::send(&self.origin, self.reach, request)).await?;
        let answer = answer.map_err(|error| LlmFault::Unreachable { why: error.to_string() })?;
        let (head, body) = answer.into_parts();
        if head.status != StatusCode::OK {
            return Err(self.refusal(head.status, &head.headers, body).await);
        }
        let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if kind.is_some_and(|kind| kind.starts_with("application/json")) {
            return self.whole(body, sink).await;
        }
        self.pieces(body, sink).await
    }

    async fn within<T>(&self, work: impl Future<Output = T>) -> Result<T, LlmFault> {
        let late = |_| LlmFault::Unreachable { why: format!("nothing for {} s", self.idle.as_secs()) };
        tokio::time::timeout(self.idle, work).await.map_err(late)
    }

    async fn refusal(&self, status: StatusCode, headers: &HeaderMap, body: Reply) -> LlmFault {
        let code = status.as_u16();
        if matches!(code, 429 | 500 | 502 | 503 | 504 | 529) {
            let seconds =
                headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            return LlmFault::Busy { status: code, retry_after: seconds.map(Duration::from_secs) };
        }
        let text = self.read(body, 4096).await.unwrap_or_default();
        LlmFault::Refused { status: code, detail: String::from_utf8_lossy(&text).into_owned() }
    }

    async fn read(&self, mut body: Reply, bytes_max: usize) -> Result<Vec<u8>, LlmFault> {
        let mut bytes = Vec::new();
        while let Some(frame) = self.within(body.frame()).await? {
            let frame = frame.map_err(|error| LlmFault::Unreachable { why: error.to_string() })?;
            bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |bytes| bytes));
            if bytes.len() > bytes_max {
                bytes.truncate(bytes_max);
                break;
            }
        }
        Ok(bytes)
    }

    /// A host that does not stream although it was asked to.
    async fn whole(&self, body: Reply, sink: &mut (dyn FnMut(Delta) + Send)) -> Result<Completion, LlmFault> {
        let bytes = self.read(body, ANSWER_BYTES_MAX).await?;
        let mut building = Building::default();
        let chunk = serde_json::from_slice(&bytes)?;
        building.add(chunk, sink)?;
        building.end()
    }

    async fn pieces(
        &self,
        mut body: Reply,
        sink: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Completion, LlmFault> {
        let mut frames = Frames::new(1 << 20);
        let (mut building, mut bytes, mut over) = (Building::default(), 0, false);
        while let Some(frame) = self.within(body.frame()).await? {
            let frame = frame.map_err(|error| LlmFault::Unreachable { why: error.to_string() })?;
            let Some(data) = frame.data_ref() else { continue };
            bytes += data.len();
            if bytes > ANSWER_BYTES_MAX {
                return Err(LlmFault::Garbage { why: format!("more than {ANSWER_BYTES_MAX} bytes") });
            }
            let mut found = Vec::new();
            let pushed = frames.push(data, |frame| {
                found.push(frame.data);
                Ok(())
            });
            for data in found {
                if data.trim() == "[DONE]" {
                    over = true;
                    break;
                }
                building.add(serde_json::from_str(&data)?, sink)?;
            }
            pushed.map_err(|error| LlmFault::Garbage { why: error.to_string() })?;
            if over {
                break;
            }
        }
        if !over && !building.is_finished() {
            return Err(LlmFault::Garbage { why: "the answer ended before it was done".to_owned() });
        }
        building.end()
    }
}

impl Llm for OpenAi {
    fn complete<'a>(
        &'a self,
        ask: &'a Ask,
        sink: &'a mut (dyn FnMut(Delta) + Send),
    ) -> BoxFuture<'a, Result<Completion, LlmFault>> {
        async move {
            let body = Bytes::from(dialect::body(Some(&self.model), ask).to_string());
            let mut patience = Patience::default();
            loop {
                match self.attempt(&body, sink).await {
                    Ok(mut completion) => {
                        if completion.usage.prompt_tokens == 0 {
                            // The host does not count; four bytes a token is what texts have.
                            completion.usage.prompt_tokens = super::prompt_tokens_max(ask).div_ceil(4);
                        }
                        return Ok(completion);
                    }
                    Err(fault) => patience.wait(fault).await?,
                }
            }
        }
        .boxed()
    }
}
