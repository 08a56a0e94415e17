//! Tool calls for models and hosts that have none: the tools in the prompt, the call in the answer, and repairs.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Ask, Call, Completion, Delta, Finish, Llm, LlmFault, Message, Role, Usage};

/// Asks again after an answer that cannot be read.
const REPAIR_COUNT_MAX: usize = 2;

/// A model that is told of its tools in words.
#[derive(Debug)]
pub struct Prompted<L>(pub L);

#[derive(Deserialize)]
struct Said {
    tool: String,
    #[serde(default)]
    arguments: Value,
}

impl<L: Llm> Llm for Prompted<L> {
    fn complete<'a>(
        &'a self,
        ask: &'a Ask,
        sink: &'a mut (dyn FnMut(Delta) + Send),
    ) -> BoxFuture<'a, Result<Completion, LlmFault>> {
        async move {
            if ask.tools.is_empty() {
                return self.0.complete(ask, sink).await;
            }
            let mut asked = in_words(ask);
            let mut usage = Usage::default();
            for repair in 0..=REPAIR_COUNT_MAX {
                let mut completion = self.0.complete(&asked, sink).await?;
                usage.prompt_tokens += completion.usage.prompt_tokens;
                usage.completion_tokens += completion.usage.completion_tokens;
                completion.usage = usage;
                let fault = match call_in(&completion.text) {
                    None => return Ok(completion),
                    Some(Ok(said)) => {
                        let arguments =
                            if said.arguments.is_null() { json!({}) } else { said.arguments }.to_string();
                        let id = format!("call_{}", ask.messages.len());
                        completion.calls = vec![Call { id, name: said.tool, arguments }];
                        completion.finish = Finish::Calls;
                        return Ok(completion);
                    }
                    Some(Err(fault)) => fault,
                };
                if repair == REPAIR_COUNT_MAX {
                    return Err(LlmFault::Garbage { why: fault });
                }
                asked.messages.push(Message::new(Role::Assistant, completion.text));
                let again = format!("That call cannot be read: {fault}. Write it again, as one JSON object.");
                asked.messages.push(Message::new(Role::User, again));
            }
            unreachable!("the last repair returns")
        }
        .boxed()
    }

    fn amount_max(&self) -> u128 {
        self.0.amount_max().saturating_mul(REPAIR_COUNT_MAX as u128 + 1)
    }
}

/// A model that is told of its tools as hosts have them, and in words once its host has refused that.
#[derive(Debug)]
pub struct Fallback<L> {
    model: Prompted<L>,
    in_words: AtomicBool,
}

impl<L> Fallback<L> {
    /// A model of which it is not known whether its host knows calls.
    pub const fn new(model: L) -> Self {
        Self { model: Prompted(model), in_words: AtomicBool::new(false) }
    }
}

impl<L: Llm> Llm for Fallback<L> {
    fn complete<'a>(
        &'a self,
        ask: &'a Ask,
        sink: &'a mut (dyn FnMut(Delta) + Send),
    ) -> BoxFuture<'a, Result<Completion, LlmFault>> {
        async move {
            if !self.in_words.load(Ordering::Relaxed) {
                match self.model.0.complete(ask, sink).await {
                    Err(LlmFault::Refused { status: 400 | 422 | 501, detail })
                        if !ask.tools.is_empty() && detail.contains("tool") => {}
                    completed => return completed,
                }
                self.in_words.store(true, Ordering::Relaxed);
            }
            self.model.complete(ask, sink).await
        }
        .boxed()
    }

    fn amount_max(&self) -> u128 {
        self.model.amount_max()
    }
}

/// The ask with tools and results as text.
fn in_words(ask: &Ask) -> Ask {
    let mut words = "To use a tool, answer with one JSON object and nothing else: \
                     {\"tool\": \"<name>\", \"arguments\": {…}}. To answer, write plain text. The tools:\n"
        .to_owned();
    for tool in &ask.tools {
        words.push_str(&format!("- {}: {} Arguments: {}\n", tool.name, tool.description, tool.input));
    }
    let mut messages = vec![Message::new(Role::System, words)];
    for message in &ask.messages {
        let text = match (message.role, message.calls.first()) {
            (Role::Assistant, Some(call)) => {
                let arguments: Value = serde_json::from_str(&call.arguments).unwrap_or(Value::Null);
                json!({ "tool": call.name, "arguments": arguments }).to_string()
            }
            (Role::Tool, _) => format!("Result of the tool:\n{}", message.text),
            _ => message.text.clone(),
        };
        let role = if message.role == Role::Tool { Role::User } else { message.role };
        messages.push(Message::new(role, text));
    }
    Ask { messages, tools: Vec::new(), ..ask.clone() }
}

/// The call in an answer: `None` where it is plain text.
fn call_in(text: &str) -> Option<Result<Said, String>> {
    let text = text.trim();
    let inner = text.strip_prefix("```json").or_else(|| text.strip_prefix("```")).unwrap_or(text);
    let inner = inner.strip_suffix("```").unwrap_or(inner).trim();
    if !inner.starts_with('{') || !inner.contains("\"tool\"") {
        return None;
    }
    Some(serde_json::from_str(inner).map_err(|error| error.to_string()))
}
