//! A model behind any URL that speaks the chat completions of OpenAI, as vLLM, SGLang, llama.cpp and many others do.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Method, Request, StatusCode};
use loyal_types::Origin;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Ask, Call, Completion, Delta, Finish, Llm, LlmFault, Message, Role, Usage};
use crate::event::Frames;
use crate::outbound::{self, Reach, Reply};
use crate::{Error, Result};

const ANSWER_BYTES_MAX: usize = 8 << 20;
const CALL_COUNT_MAX: usize = 64;
const TRY_COUNT_MAX: u32 = 4;
/// A host that asks for more patience than this is treated as refusing.
const WAIT_MAX: Duration = Duration::from_secs(30);

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

    fn body(&self, ask: &Ask) -> Value {
        let mut body = json!({
            "model": self.model,
            "messages": ask.messages.iter().map(message).collect::<Vec<_>>(),
            "max_tokens": ask.max_tokens,
            "stream": true,
            "stream_options": { "include_usage": true },
        });
        if !ask.tools.is_empty() {
            let tool = |tool: &super::ToolSpec| {
                json!({ "type": "function", "function": {
                    "name": tool.name, "description": tool.description, "parameters": tool.input } })
            };
            body["tools"] = ask.tools.iter().map(tool).collect();
        }
        if let Some(schema) = &ask.schema {
            body["response_format"] =
                json!({ "type": "json_schema", "json_schema": { "name": "answer", "schema": schema } });
        }
        if let Some(temperature) = ask.temperature {
            body["temperature"] = json!(temperature);
        }
        if let Some(seed) = ask.seed {
            body["seed"] = json!(seed);
        }
        if !ask.stop.is_empty() {
            body["stop"] = json!(ask.stop);
        }
        body
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
        if !over && building.finish.is_none() {
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
            let body = Bytes::from(self.body(ask).to_string());
            let mut count = 0;
            loop {
                count += 1;
                let fault = match self.attempt(&body, sink).await {
                    Ok(mut completion) => {
                        if completion.usage.prompt_tokens == 0 {
                            // The host does not count; four bytes a token is what texts have.
                            completion.usage.prompt_tokens = super::prompt_tokens_max(ask).div_ceil(4);
                        }
                        return Ok(completion);
                    }
                    Err(fault) => fault,
                };
                let LlmFault::Busy { retry_after, .. } = &fault else { return Err(fault) };
                let wait = retry_after.unwrap_or_else(|| Duration::from_millis(250 << count));
                if count >= TRY_COUNT_MAX || wait > WAIT_MAX {
                    return Err(fault);
                }
                tokio::time::sleep(wait).await;
            }
        }
        .boxed()
    }
}

fn message(message: &Message) -> Value {
    let mut value = json!({ "role": message.role.to_string(), "content": message.text });
    if !message.calls.is_empty() {
        let call = |call: &Call| {
            json!({ "id": call.id, "type": "function",
                "function": { "name": call.name, "arguments": call.arguments } })
        };
        value["tool_calls"] = message.calls.iter().map(call).collect();
    }
    if message.role == Role::Tool {
        value["tool_call_id"] = json!(message.call_id);
    }
    value
}

/// An answer that is no JSON of the kind.
impl From<serde_json::Error> for LlmFault {
    fn from(error: serde_json::Error) -> Self {
        Self::Garbage { why: error.to_string() }
    }
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default, alias = "message")]
    delta: Piece,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize, Default)]
struct Piece {
    #[serde(default)]
    content: Option<String>,
    #[serde(default, alias = "reasoning")]
    reasoning_content: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<CallPiece>>,
}

#[derive(Deserialize)]
struct CallPiece {
    #[serde(default)]
    index: Option<usize>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: FunctionPiece,
}

#[derive(Deserialize, Default)]
struct FunctionPiece {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: Option<String>,
}

/// An answer put together.
#[derive(Default)]
struct Building {
    text: String,
    calls: Vec<Call>,
    usage: Option<Usage>,
    finish: Option<Finish>,
    /// Pieces of text, which stand for tokens where the host counts none.
    piece_count: u64,
}

impl Building {
    fn add(&mut self, chunk: Chunk, sink: &mut (dyn FnMut(Delta) + Send)) -> Result<(), LlmFault> {
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            let words = error.get("message").and_then(Value::as_str).map(str::to_owned);
            let detail = words.unwrap_or_else(|| error.to_string());
            return Err(LlmFault::Refused { status: 200, detail });
        }
        self.usage = chunk.usage.or(self.usage);
        let Some(choice) = chunk.choices.into_iter().next() else { return Ok(()) };
        if let Some(text) = choice.delta.reasoning_content.filter(|text| !text.is_empty()) {
            sink(Delta::Reasoning(text));
        }
        if let Some(text) = choice.delta.content.filter(|text| !text.is_empty()) {
            self.piece_count += 1;
            self.text.push_str(&text);
            sink(Delta::Text(text));
        }
        for piece in choice.delta.tool_calls.into_iter().flatten() {
            self.add_call(piece)?;
        }
        if let Some(reason) = choice.finish_reason {
            self.finish = Some(match reason.as_str() {
                "length" => Finish::Length,
                "tool_calls" | "function_call" => Finish::Calls,
                _ => Finish::Stop,
            });
        }
        Ok(())
    }

    /// Pieces of one call have one index; some hosts leave it out, and begin each call with an identifier.
    fn add_call(&mut self, piece: CallPiece) -> Result<(), LlmFault> {
        let begins = piece.id.as_ref().is_some_and(|id| self.calls.last().is_none_or(|call| call.id != *id));
        let last = self.calls.len().saturating_sub(1);
        let index = piece.index.unwrap_or(if begins { self.calls.len() } else { last });
        if index >= CALL_COUNT_MAX {
            return Err(LlmFault::Garbage { why: format!("more than {CALL_COUNT_MAX} calls of tools") });
        }
        if self.calls.len() <= index {
            self.calls.resize_with(index + 1, Call::default);
        }
        let call = &mut self.calls[index];
        if let Some(id) = piece.id.filter(|id| !id.is_empty()) {
            call.id = id;
        }
        call.name.push_str(&piece.function.name.unwrap_or_default());
        call.arguments.push_str(&piece.function.arguments.unwrap_or_default());
        Ok(())
    }

    fn end(self) -> Result<Completion, LlmFault> {
        let mut calls: Vec<Call> = self.calls.into_iter().filter(|call| !call.name.is_empty()).collect();
        for (index, call) in calls.iter_mut().enumerate().filter(|(_, call)| call.id.is_empty()) {
            call.id = format!("call_{index}");
        }
        if calls.is_empty() && self.text.is_empty() && self.finish.is_none() {
            return Err(LlmFault::Garbage { why: "it holds neither a text nor calls".to_owned() });
        }
        let finish = if calls.is_empty() { self.finish.unwrap_or_default() } else { Finish::Calls };
        let usage = self.usage.unwrap_or(Usage { prompt_tokens: 0, completion_tokens: self.piece_count });
        Ok(Completion { text: self.text, calls, usage, finish })
    }
}
