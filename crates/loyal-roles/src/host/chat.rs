//! `POST /v1/chat/completions`: answers a conversation.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse as _, Response};
use loyal_model::Tokenizer;
use loyal_model::generate::{Completion, TokenLogprobs};
use loyal_model::template::Message;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{self, Form, finish, rated};
use super::ask::{Asked, Common, parse};
use super::fault::Fault;
use super::{Host, Model};

#[derive(Debug, Deserialize)]
struct Body {
    messages: Vec<Said>,
    logprobs: Option<bool>,
    top_logprobs: Option<usize>,
    tools: Option<Vec<Value>>,
    functions: Option<Vec<Value>>,
    #[serde(flatten)]
    common: Common,
}

#[derive(Debug, Deserialize)]
struct Said {
    role: String,
    content: Content,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

/// Answers one request.
pub(super) async fn answer(State(host): State<Arc<Host>>, body: Result<Bytes, BytesRejection>) -> Response {
    let asked = body
        .map_err(|_| Fault::too_large(host.settings.request_bytes_max))
        .and_then(|body| asked(&host, &body));
    match asked {
        Ok(asked) => answer::give(&host, asked, &Chat).await,
        Err(fault) => fault.into_response(),
    }
}

fn asked(host: &Host, body: &Bytes) -> Result<Asked, Fault> {
    let body: Body = parse(body)?;
    let lists = [("tools", &body.tools), ("functions", &body.functions)];
    if let Some(&(name, _)) =
        lists.iter().find(|(_, list)| list.as_ref().is_some_and(|list| !list.is_empty()))
    {
        return Err(Fault::parameter(name, "this host's model calls none; leave it out"));
    }
    let top = match (body.logprobs.unwrap_or(false), body.top_logprobs) {
        (true, top) => Some(top.unwrap_or(0)),
        (false, None | Some(0)) => None,
        (false, Some(_)) => return Err(Fault::parameter("top_logprobs", "it needs logprobs: true")),
    };
    let messages = body.messages.into_iter().map(message).collect::<Result<Vec<_>, _>>()?;
    if messages.is_empty() {
        return Err(Fault::parameter("messages", "there are none; give at least one"));
    }
    let (prompt, stops) = prompt(&host.model, &messages)?;
    body.common.asked(host, vec![prompt], (None, top), &stops)
}

fn message(said: Said) -> Result<Message, Fault> {
    let content = match said.content {
        Content::Text(text) => text,
        Content::Parts(parts) => {
            let texts = parts.into_iter().map(|part| match (part.kind.as_str(), part.text) {
                ("text", Some(text)) => Ok(text),
                (kind, _) => Err(Fault::parameter(
                    "messages",
                    format!("a part of type {kind:?}; this host reads text only"),
                )),
            });
            texts.collect::<Result<Vec<_>, _>>()?.concat()
        }
    };
    Ok(Message { role: said.role, content })
}

/// The conversation as the model reads it, and the texts that end its answer.
fn prompt(model: &Model, messages: &[Message]) -> Result<(Vec<u32>, Vec<String>), Fault> {
    if let Some(template) = &model.template {
        let text = template.render(messages, true)?;
        return Ok((model.tokenizer.encode_plain(&text)?, Vec::new()));
    }
    let mut text = String::new();
    for Message { role, content } in messages {
        match role.as_str() {
            "system" | "developer" => text.push_str(&format!("{content}\n\n")),
            "user" => text.push_str(&format!("User: {content}\n")),
            "assistant" => text.push_str(&format!("Assistant: {content}\n")),
            other => return Err(Fault::parameter("messages", format!("nobody here has the role {other:?}"))),
        }
    }
    text.push_str("Assistant:");
    Ok((model.tokenizer.encode(&text)?, vec!["\nUser:".to_owned(), "\nAssistant:".to_owned()]))
}

/// How answers in a conversation are told.
#[derive(Clone, Copy)]
struct Chat;

impl Form for Chat {
    fn prefix(&self) -> &'static str {
        "chatcmpl"
    }

    fn object(&self, stream: bool) -> &'static str {
        if stream { "chat.completion.chunk" } else { "chat.completion" }
    }

    fn whole(&self, host: &Host, (index, top): (usize, Option<usize>), made: &Completion) -> Value {
        let logprobs = top.map(|top| logprobs(&host.model.tokenizer, top, &made.logprobs));
        json!({"index": index, "message": {"role": "assistant", "content": made.text, "refusal": null},
            "logprobs": logprobs, "finish_reason": finish(made.finish)})
    }

    fn piece(&self, host: &Host, (index, top): (usize, Option<usize>), piece: answer::Piece<'_>) -> Value {
        let logprobs = top.map(|top| logprobs(&host.model.tokenizer, top, piece.logprobs));
        let delta = match (piece.is_first, piece.text) {
            (true, text) => json!({"role": "assistant", "content": text}),
            (false, "") => json!({}),
            (false, text) => json!({"content": text}),
        };
        json!({"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": piece.finish.map(finish)})
    }
}

fn logprobs(tokenizer: &Tokenizer, top: usize, list: &[TokenLogprobs]) -> Value {
    let one = |token: u32, logprob: f32| {
        let piece = tokenizer.piece(token).unwrap_or_default();
        json!({"token": String::from_utf8_lossy(&piece), "logprob": rated(logprob), "bytes": piece})
    };
    let content = list.iter().map(|step| {
        let mut entry = one(step.token, step.logprob);
        let others = step.top.iter().take(top).map(|&(token, logprob)| one(token, logprob));
        entry["top_logprobs"] = others.collect();
        entry
    });
    json!({"content": content.collect::<Vec<_>>(), "refusal": null})
}
