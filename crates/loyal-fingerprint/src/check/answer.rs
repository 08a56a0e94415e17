//! Whoever is asked: what can be wanted of it, and what comes back.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How much of a suspect's answers can be seen. Chosen once, with ordinary prompts, before a fingerprint is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Mode {
    /// The log probability of every token.
    Logits,
    /// Those of the k likeliest tokens, 1 ≤ k ≤ 255.
    Top(u8),
    /// The likeliest text.
    Greedy,
    /// Text drawn at temperature 1, as often as [`super::Request::draws`] says.
    Sampled,
}

impl Mode {
    /// Whether log probabilities are seen.
    #[must_use]
    pub const fn shows_logprobs(self) -> bool {
        matches!(self, Self::Logits | Self::Top(_))
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Logits => f.write_str("logits"),
            Self::Top(k) => write!(f, "top-{k}"),
            Self::Greedy => f.write_str("greedy"),
            Self::Sampled => f.write_str("sampled"),
        }
    }
}

impl FromStr for Mode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let top = text.strip_prefix("top-").and_then(|k| k.parse().ok()).filter(|&k| k > 0);
        match (text, top) {
            ("logits", _) => Ok(Self::Logits),
            ("greedy", _) => Ok(Self::Greedy),
            ("sampled", _) => Ok(Self::Sampled),
            (_, Some(k)) => Ok(Self::Top(k)),
            _ => {
                let remedy = "write logits, top-20, top-5, greedy or sampled";
                Err(Error::argument("mode", format!("{text:?}"), remedy))
            }
        }
    }
}

impl TryFrom<String> for Mode {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> Self {
        mode.to_string()
    }
}

/// What is wanted of each prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// New tokens.
    pub tokens: usize,
    /// What to show besides them.
    pub mode: Mode,
}

/// Something that continues prompts: weights at hand, or an endpoint.
pub trait Answerer {
    /// Continues each prompt. Replies come in the order of the prompts, one each.
    ///
    /// # Errors
    /// It cannot be asked at all, now or later. A prompt that it will not answer is a [`Reply::Refused`].
    fn answer(&mut self, prompts: &[String], ask: Ask) -> Result<Vec<Reply>>;
}

/// What came back for one prompt.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// New tokens, in the registered tokenizer's vocabulary, at most as many as were asked for.
    Answered(Vec<Said>),
    /// No answer, and why in a few words; it counts neither way.
    Refused(String),
}

/// One token of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// The token.
    pub token: u32,
    /// What else was shown at its position.
    pub shown: Shown,
}

/// Log probabilities at one position, nats.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    /// None.
    Nothing,
    /// Some tokens', likeliest first.
    Top(Vec<(u32, f32)>),
    /// Every token's.
    All(Vec<f32>),
}
