//! How an agent reaches a model: one trait, filled by a URL, by a script for tests, or by a host that is paid.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

mod dialect;
mod openai;
mod paid;
mod prompted;
mod scripted;

pub use openai::OpenAi;
pub use paid::Paid;
pub use prompted::{Fallback, Prompted};
pub use scripted::{Reply, Scripted};

/// A model, wherever it runs.
pub trait Llm: Send + Sync {
    /// Completes one ask. What arrives early goes to `sink`; all of it is in the completion again.
    fn complete<'a>(
        &'a self,
        ask: &'a Ask,
        sink: &'a mut (dyn FnMut(Delta) + Send),
    ) -> BoxFuture<'a, Result<Completion, LlmFault>>;

    /// What one ask may cost at most, in the smallest unit of the currency it is paid in; zero where nobody is paid.
    fn amount_max(&self) -> u128 {
        0
    }
}

/// What a model is asked.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Ask {
    /// The conversation.
    pub messages: Vec<Message>,
    /// The tools it may call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolSpec>,
    /// JSON Schema the answer must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
    /// Tokens of the answer at most.
    pub max_tokens: u32,
    /// Zero takes the likeliest token each time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// For engines that repeat themselves on request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Texts that end the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
}

/// A tool as a model reads of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// JSON Schema of its arguments.
    pub input: Value,
}

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The agent's owner.
    System,
    /// The user, or the agent for the user.
    User,
    /// The model.
    Assistant,
    /// A tool the model called.
    Tool,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What.
    pub text: String,
    /// The tools the model calls with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<Call>,
    /// The call this is the result of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
}

impl Message {
    /// A message without calls.
    #[must_use]
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self { role, text: text.into(), calls: Vec::new(), call_id: None }
    }
}

/// A call of a tool, as a model writes it: nothing of it is checked yet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Call {
    /// What its result refers to.
    pub id: String,
    /// The tool.
    pub name: String,
    /// JSON, perhaps.
    pub arguments: String,
}

/// A piece of an answer under way.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delta {
    /// Of its text.
    Text(String),
    /// Of what the model thinks first, where it shows that.
    Reasoning(String),
    /// An invocation was paid, whatever becomes of the ask it was made for.
    Paid(Payment),
}

/// What was paid for one invocation; its receipt is in the wallet of whoever paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// The invocation, which its receipt names.
    pub invocation: String,
    /// Where the host answers.
    pub host: String,
    /// The asset it was paid in.
    pub asset: String,
    /// How much, in the smallest unit of the asset.
    #[serde(with = "loyal_access::document::decimal")]
    pub amount: u128,
}

/// What a model answered.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Completion {
    /// The text.
    pub text: String,
    /// Tools to call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<Call>,
    /// What it cost.
    pub usage: Usage,
    /// Why it ended.
    pub finish: Finish,
}

/// Tokens of an ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Of what was asked.
    pub prompt_tokens: u64,
    /// Of the answer.
    pub completion_tokens: u64,
}

impl Usage {
    /// Both.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The model was done.
    #[default]
    Stop,
    /// `max_tokens` were used up.
    Length,
    /// It calls tools.
    Calls,
}

/// Why there is no completion.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LlmFault {
    /// Busy; it may be tried again.
    #[error("the model is busy (status {status})")]
    Busy {
        /// The status of HTTP.
        status: u16,
        /// When, where the host says.
        retry_after: Option<Duration>,
    },
    /// Refused; the same ask will be refused again.
    #[error("the model's host refused with status {status}: {detail}")]
    Refused {
        /// The status of HTTP.
        status: u16,
        /// Its words.
        detail: String,
    },
    /// What came is no answer.
    #[error("the model's answer cannot be read: {why}")]
    Garbage {
        /// Why.
        why: String,
    },
    /// The connection failed.
    #[error("the model cannot be reached: {why}")]
    Unreachable {
        /// Why.
        why: String,
    },
    /// A cap would be passed: the wallet's, or this run's for one ask. Nothing was signed.
    #[error("not paid: {why}")]
    Capped {
        /// Which cap, and by how much.
        why: String,
    },
    /// The wallet cannot pay: it is empty, or in use by somebody else. Nothing was signed.
    #[error("not paid: {why}")]
    Unpaid {
        /// Why.
        why: String,
    },
    /// The host broke the rules of payment: it gave no receipt, or a wrong one. It is not asked again.
    #[error("the host withheld what was paid for: {why}")]
    Withheld {
        /// What it did.
        why: String,
    },
}

impl LlmFault {
    /// Whether there was an answer that nobody could read: the model may do better at the next ask.
    #[must_use]
    pub const fn is_garbage(&self) -> bool {
        matches!(self, Self::Garbage { .. })
    }

    /// Whether it is certain that nothing was paid for what failed.
    #[must_use]
    pub const fn is_free(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Refused { .. } | Self::Capped { .. } | Self::Unpaid { .. })
    }
}

/// An upper bound of the tokens of an ask, without the model's tokenizer: one for each byte, and some for the frame of
/// each message. What is reserved too much comes back when the answer says how many there were.
#[must_use]
pub fn prompt_tokens_max(ask: &Ask) -> u64 {
    let message = |message: &Message| {
        let calls: usize = message.calls.iter().map(|call| call.name.len() + call.arguments.len() + 32).sum();
        message.text.len() + calls + 24
    };
    let tool = |tool: &ToolSpec| tool.name.len() + tool.description.len() + tool.input.to_string().len() + 32;
    let bytes: usize =
        ask.messages.iter().map(message).sum::<usize>() + ask.tools.iter().map(tool).sum::<usize>();
    bytes as u64
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        })
    }
}
