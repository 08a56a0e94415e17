//! What hosts of OpenAI's kind are asked and answer, whoever carries it: the body of a request, and an answer put together.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Ask, Call, Completion, Delta, Finish, LlmFault, Message, Role, ToolSpec, Usage};

const CALL_COUNT_MAX: usize = 64;
const TRY_COUNT_MAX: u32 = 4;
/// A host that asks for more patience than this is treated as refusing.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// An ask as the body of a request that is answered piece by piece.
pub(super) fn body(model: Option<&str>, ask: &Ask) -> Value {
    let mut body = json!({
            "messages": ask.messages.iter().map(message).collect::<Vec<_>>(),
        "max_tokens": ask.max_tokens,
        "stream": true,
        "stream_options": { "include_usage": true },
    });
    if let Some(model) = model {
        body["model"] = json!(model);
    }
    if !ask.tools.is_empty() {
        let tool = |tool: &ToolSpec| {
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

/// How often a busy host was waited for.
#[derive(Debug, Default)]
pub(super) struct Patience {
    count: u32,
}

impl Patience {
    /// Waits until the same ask may be tried again.
    ///
    /// # Errors
    /// The fault, where it is another one than being busy, or the host was busy too often or wants too much patience.
    pub(super) async fn wait(&mut self, fault: LlmFault) -> Result<(), LlmFault> {
        let LlmFault::Busy { retry_after, .. } = &fault else { return Err(fault) };
        self.count += 1;
        let wait = retry_after.unwrap_or_else(|| Duration::from_millis(250 << self.count));
        if self.count >= TRY_COUNT_MAX || wait > WAIT_MAX {
            return Err(fault);
        }
        tokio::time::sleep(wait).await;
        Ok(())
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
pub(super) struct Chunk {
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
pub(super) struct Building {
    text: String,
    calls: Vec<Call>,
    usage: Option<Usage>,
    finish: Option<Finish>,
    /// Pieces of text, which stand for tokens where the host counts none.
    piece_count: u64,
}

impl Building {
    /// Whether it was said why the answer ended.
    pub(super) const fn is_finished(&self) -> bool {
        self.finish.is_some()
    }

    pub(super) fn add(&mut self, chunk: Chunk, sink: &mut (dyn FnMut(Delta) + Send)) -> Result<(), LlmFault> {
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

    pub(super) fn end(self) -> Result<Completion, LlmFault> {
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
