//! The agent as a chat model: `POST /v1/chat/completions` and `GET /v1/models`, for programs that know nothing else.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::extract::State;
use http_body_util::BodyExt as _;
use hyper::{Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Server;
use super::route::{is_json, json_answer, read, stream_answer};
use crate::event::{Content, Decoder, Event, FINAL_RESPONSE};
use crate::response::{Encoding, Wire};
use crate::session::{Asked, Interaction, RequestMessage, ResponseMessage, answer_text};
use crate::ulid::Ulids;
use crate::{Query, Result, Session};

/// Who these callers take the agent for.
const PROCESSOR: &str = "openai";

#[derive(Deserialize)]
struct Chat {
    messages: Vec<Said>,
    #[serde(default)]
    stream: bool,
}

#[derive(Deserialize)]
struct Said {
    role: String,
    #[serde(default)]
    content: Option<Text>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Plain(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: Option<String>,
}

impl Said {
    fn text(self) -> String {
        match self.content {
            None => String::new(),
            Some(Text::Plain(text)) => text,
            Some(Text::Parts(parts)) => {
                parts.into_iter().filter_map(|part| part.text).collect::<Vec<_>>().join("\n")
            }
        }
    }
}

pub(super) async fn models(State(server): State<Arc<Server>>) -> Response<Body> {
    let model = json!({
        "id": server.agent.name(), "object": "model", "created": 0, "owned_by": "loyal",
    });
    json_answer(StatusCode::OK, &json!({ "object": "list", "data": [model] }))
}

pub(super) async fn answer(State(server): State<Arc<Server>>, request: Request<Body>) -> Response<Body> {
    if !is_json(request.headers()) {
        return fault(&server, 415, "The request must be application/json.");
    }
    let body = match read(&server, request).await {
        Ok(body) => body,
        Err((status, detail)) => return fault(&server, status, detail),
    };
    let chat: Chat = match serde_json::from_slice(&body) {
        Ok(chat) => chat,
        Err(error) => return fault(&server, 400, &error.to_string()),
    };
    let mut ids = server.ids();
    let (session, query) = match conversation(chat.messages, &mut ids) {
        Ok(conversation) => conversation,
        Err(why) => return fault(&server, 400, why),
    };
    let head = Head {
        id: format!("chatcmpl-{}", query.id),
        created: server.clock.unix_seconds(),
        model: server.agent.name().to_owned(),
    };
    let encoding: Box<dyn Encoding> =
        if chat.stream { Box::new(Deltas::new(head.clone())) } else { Box::new(Wire) };
    let run = match server.start(session, query, encoding, None) {
        Ok(run) => run,
        Err((status, detail)) => return fault(&server, status, detail),
    };
    if chat.stream {
        return stream_answer(run.body(&server));
    }
    whole(&server, &head, run.body(&server)).await
}

/// The last message as the question, those before it as the history.
fn conversation(said: Vec<Said>, ids: &mut Ulids) -> Result<(Session, Query), &'static str> {
    let mut said = said;
    let last = said.pop().filter(|last| last.role == "user").ok_or("The last message must be the user's.")?;
    let activity_id = ids.draw();
    let mut interactions: Vec<Interaction> = Vec::new();
    for message in said {
        let role = message.role.clone();
        let text = message.text();
        match role.as_str() {
            "user" | "system" | "developer" => interactions.push(Interaction {
                request: RequestMessage {
                    sender: Some(role),
                    recipients: None,
                    event: Some(Asked::new(ids.draw(), activity_id, text)),
                },
                responses: Vec::new(),
            }),
            "assistant" => {
                let event = Event {
                    id: ids.draw(),
                    source: PROCESSOR.to_owned(),
                    name: FINAL_RESPONSE.to_owned(),
                    metadata: None,
                    content: Content::Text(text),
                };
                let asked =
                    interactions.last_mut().ok_or("The first message must not be the assistant's.")?;
                asked.responses.push(ResponseMessage { sender: None, recipients: None, event });
            }
            _ => {
                return Err("Roles are system, developer, user and assistant; an agent calls its own tools.");
            }
        }
    }
    let query = Query { id: ids.draw(), prompt: last.text() };
    Ok((Session::new(PROCESSOR, activity_id, query.id, interactions), query))
}

/// Waits for the end of a run: what it answered, or how it failed where it answered nothing.
///
/// # Errors
/// The status and the words of a refusal.
pub(super) async fn heard(server: &Server, body: Body) -> Result<String, (u16, String)> {
    let wrong = |error: &dyn std::fmt::Display| (500, error.to_string());
    let mut decoder = Decoder::new(server.limits.response);
    let collected = body.collect().await.map_err(|error| wrong(&error))?.to_bytes();
    decoder.push(&collected).map_err(|error| wrong(&error))?;
    let events: Vec<Event> = std::iter::from_fn(|| decoder.event()).collect();
    let text = answer_text(&events.iter());
    let failed = events.iter().find_map(|event| match &event.content {
        Content::Error(fault) => Some(fault),
        _ => None,
    });
    match failed {
        Some(failed) if text.is_empty() => {
            Err((u16::try_from(failed.code).unwrap_or(500), failed.message.clone()))
        }
        _ => Ok(text),
    }
}

/// Waits for the end of a run and answers in one piece.
async fn whole(server: &Server, head: &Head, body: Body) -> Response<Body> {
    let text = match heard(server, body).await {
        Ok(text) => text,
        Err((status, why)) => return fault(server, status, &why),
    };
    let choice = json!({
        "index": 0, "message": { "role": "assistant", "content": text }, "finish_reason": "stop",
    });
    let Head { id, created, model } = head;
    let answer = json!({
        "id": id, "object": "chat.completion", "created": created, "model": model, "choices": [choice],
    });
    json_answer(StatusCode::OK, &answer)
}

/// A refusal as these programs read it.
fn fault(server: &Server, status: u16, message: &str) -> Response<Body> {
    server.metrics.refused.fetch_add(1, Ordering::Relaxed);
    let code =
        StatusCode::from_u16(status).ok().filter(|code| code.is_client_error() || code.is_server_error());
    json_answer(code.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), &error_object(message, i64::from(status)))
}

fn error_object(message: &str, code: i64) -> Value {
    let kind = if (400..500).contains(&code) { "invalid_request_error" } else { "server_error" };
    json!({ "error": { "message": message, "type": kind, "param": null, "code": code.to_string() } })
}

#[derive(Clone)]
struct Head {
    id: String,
    created: u64,
    model: String,
}

/// Events as pieces of a completion.
struct Deltas {
    head: Head,
    begun: bool,
    answered: bool,
    /// The blocks of text, which are the answer where nothing is called one.
    blocks: String,
    failed: Option<(String, i64)>,
}

impl Deltas {
    const fn new(head: Head) -> Self {
        Self { head, begun: false, answered: false, blocks: String::new(), failed: None }
    }

    fn chunk(&self, delta: &Value, finish: Option<&str>, event: Option<&Event>) -> Value {
        let Head { id, created, model } = &self.head;
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
        let mut chunk = json!({
            "id": id, "object": "chat.completion.chunk", "created": created, "model": model, "choices": [choice],
        });
        if let Some(event) = event {
            chunk["loyal_event"] = serde_json::to_value(event).unwrap_or(Value::Null);
        }
        chunk
    }
}

impl Encoding for Deltas {
    fn encode(&mut self, event: &Event, bytes: &mut Vec<u8>, event_bytes_max: usize) -> Result<()> {
        let mut chunks = Vec::new();
        if !std::mem::replace(&mut self.begun, true) {
            chunks.push(self.chunk(&json!({ "role": "assistant", "content": "" }), None, None));
        }
        match &event.content {
            Content::Done(_) => {
                if !self.answered && !self.blocks.is_empty() {
                    let blocks = std::mem::take(&mut self.blocks);
                    chunks.push(self.chunk(&json!({ "content": blocks }), None, None));
                    self.answered = true;
                }
                match self.failed.take().filter(|_| !self.answered) {
                    Some((message, code)) => chunks.push(error_object(&message, code)),
                    None => chunks.push(self.chunk(&json!({}), Some("stop"), None)),
                }
            }
            _ if event.name == FINAL_RESPONSE && event.text().is_some() => {
                self.answered = true;
                chunks.push(self.chunk(&json!({ "content": event.text() }), None, None));
            }
            Content::Chunk(chunk) if event.name == FINAL_RESPONSE && chunk.is_complete => {}
            content => {
                match content {
                    Content::Text(text) => self.blocks.push_str(text),
                    Content::Error(fault) => self.failed = Some((fault.message.clone(), fault.code)),
                    _ => {}
                }
                chunks.push(self.chunk(&json!({}), None, Some(event)));
            }
        }
        let mut lines: Vec<u8> = Vec::new();
        for chunk in chunks {
            lines.extend_from_slice(format!("data: {chunk}\n\n").as_bytes());
        }
        if lines.len() > event_bytes_max.saturating_mul(2) {
            return Err(crate::Error::TooLarge { what: "event", max: event_bytes_max as u64 });
        }
        bytes.append(&mut lines);
        if event.is_done() {
            bytes.extend_from_slice(b"data: [DONE]\n\n");
        }
        Ok(())
    }
}
