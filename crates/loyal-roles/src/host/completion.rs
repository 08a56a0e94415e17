//! `POST /v1/completions`: goes on where a text ends.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse as _, Response};
use loyal_model::Tokenizer;
use loyal_model::generate::{Completion, TokenLogprobs};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Host;
use super::answer::{self, Form, finish, rated};
use super::ask::{Asked, Common, parse};
use super::fault::Fault;

/// Tokens of an answer where nobody says how many, as in the OpenAI API.
const TOKENS_DEFAULT: usize = 16;

#[derive(Debug, Deserialize)]
struct Body {
    prompt: Prompts,
    logprobs: Option<usize>,
    echo: Option<bool>,
    suffix: Option<String>,
    best_of: Option<usize>,
    #[serde(flatten)]
    common: Common,
}

/// A prompt, as text or tokens, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Prompts {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u32>),
    TokenLists(Vec<Vec<u32>>),
}

/// Answers one request.
pub(super) async fn answer(State(host): State<Arc<Host>>, body: Result<Bytes, BytesRejection>) -> Response {
    let asked = body
        .map_err(|_| Fault::too_large(host.settings.request_bytes_max))
        .and_then(|body| asked(&host, &body));
    match asked {
        Ok(asked) => answer::give(&host, asked, &Completions).await,
        Err(fault) => fault.into_response(),
    }
}

fn asked(host: &Host, body: &Bytes) -> Result<Asked, Fault> {
    let body: Body = parse(body)?;
    if body.echo == Some(true) {
        return Err(Fault::parameter("echo", "this host does not repeat prompts; leave it out"));
    }
    if body.suffix.is_some_and(|suffix| !suffix.is_empty()) {
        return Err(Fault::parameter("suffix", "this host goes on at the end only; leave it out"));
    }
    if body.best_of.is_some_and(|best| best != 1) {
        return Err(Fault::parameter("best_of", "this host does not choose among answers; leave it out"));
    }
    let tokenizer = &host.model.tokenizer;
    let prompts = match body.prompt {
        Prompts::Text(text) => vec![encode(tokenizer, &text)?],
        Prompts::Texts(texts) => {
            texts.iter().map(|text| encode(tokenizer, text)).collect::<Result<_, _>>()?
        }
        Prompts::Tokens(tokens) => vec![tokens],
        Prompts::TokenLists(lists) => lists,
    };
    if prompts.is_empty() || prompts.iter().any(Vec::is_empty) {
        return Err(Fault::parameter("prompt", "it is empty; give a text"));
    }
    body.common.asked(host, prompts, (Some(TOKENS_DEFAULT), body.logprobs), &[])
}

fn encode(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, Fault> {
    Ok(tokenizer.encode(text)?)
}

/// How completions are told.
#[derive(Clone, Copy)]
struct Completions;

impl Form for Completions {
    fn prefix(&self) -> &'static str {
        "cmpl"
    }

    fn object(&self, _: bool) -> &'static str {
        "text_completion"
    }

    fn whole(&self, host: &Host, (index, top): (usize, Option<usize>), made: &Completion) -> Value {
        let logprobs = top.map(|top| logprobs(&host.model.tokenizer, (top, 0), &made.logprobs));
        json!({"index": index, "text": made.text, "logprobs": logprobs, "finish_reason": finish(made.finish)})
    }

    fn piece(&self, host: &Host, (index, top): (usize, Option<usize>), piece: answer::Piece<'_>) -> Value {
        let logprobs = top.map(|top| logprobs(&host.model.tokenizer, (top, piece.offset), piece.logprobs));
        json!({"index": index, "text": piece.text, "logprobs": logprobs, "finish_reason": piece.finish.map(finish)})
    }
}

/// The four lists of the completions API. Tokens that are no text of their own are written `bytes:\xe2\x80`.
fn logprobs(tokenizer: &Tokenizer, (top, offset): (usize, usize), list: &[TokenLogprobs]) -> Value {
    let mut offset = offset;
    let (mut tokens, mut own, mut tops, mut offsets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for one in list {
        let piece = tokenizer.piece(one.token).unwrap_or_default();
        tokens.push(written(&piece));
        own.push(rated(one.logprob));
        offsets.push(offset);
        offset += String::from_utf8_lossy(&piece).chars().count();
        let mut map = Map::new();
        for &(token, logprob) in &one.top[..top.min(one.top.len())] {
            let name = written(&tokenizer.piece(token).unwrap_or_default());
            // Of tokens that read alike the likeliest stands for all.
            map.entry(name).or_insert_with(|| rated(logprob).into());
        }
        tops.push(Value::Object(map));
    }
    json!({"tokens": tokens, "token_logprobs": own, "top_logprobs": tops, "text_offset": offsets})
}

fn written(piece: &[u8]) -> String {
    match std::str::from_utf8(piece) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("bytes:{}", piece.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>()),
    }
}
