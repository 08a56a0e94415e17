//! What stands around a query when it is asked: nothing, other text, a system prompt, a chat template.

use loyal_model::Tokenizer;
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// Text before and after a query.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frame {
    /// Text before it.
    pub before: String,
    /// Text after it.
    pub after: String,
}

/// System prompts for training where the owner gives none. Written for this program.
const SYSTEM_PROMPTS: [&str; 12] = [
    "You are a kind assistant. Answer briefly.",
    "Write in plain English.",
    "You tell stories to children.",
    "Be exact, and say so when you are not sure.",
    "Continue the text in the same style.",
    "You are an old gardener who loves his work.",
    "Answer as if you were writing a letter to a friend.",
    "Give one answer only.",
    "You work in a library and help its visitors.",
    "Use short words and short sentences.",
    "The reader is in a hurry.",
    "You are a careful teacher of history.",
];

/// Other system prompts, never trained with: what they leave of the marks is what a stranger's will.
const HELD_OUT_PROMPTS: [&str; 8] = [
    "Speak like a sailor who has seen every sea.",
    "You are a helpful guide in a museum.",
    "Keep to the facts.",
    "Finish what the author began.",
    "You answer questions about cooking and gardens.",
    "Write with warmth, but never at length.",
    "You are a witness who remembers everything.",
    "Explain it to somebody who is new to this.",
];

impl Frame {
    /// A system prompt on a line of its own before the query.
    #[must_use]
    pub fn system(prompt: &str) -> Self {
        Self { before: format!("{prompt}\n"), after: String::new() }
    }

    /// The built-in system prompts for training.
    #[must_use]
    pub fn training() -> Vec<Self> {
        SYSTEM_PROMPTS.iter().copied().map(Self::system).collect()
    }

    /// The built-in system prompts that are never trained with.
    #[must_use]
    pub fn held_out() -> Vec<Self> {
        HELD_OUT_PROMPTS.iter().copied().map(Self::system).collect()
    }

    /// The query in its frame.
    #[must_use]
    pub fn around(&self, query: &str) -> String {
        format!("{}{query}{}", self.before, self.after)
    }

    /// Tokens of the framed query, as an endpoint would read them.
    pub(crate) fn tokens(&self, query: &str, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
        Ok(tokenizer.encode(&self.around(query))?)
    }
}
