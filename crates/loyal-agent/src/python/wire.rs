//! What an interpreter's process and its parent say to each other: one JSON value a line.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// From the parent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// First of all: what the process may use from here on.
    Bound { memory_bytes: u64, processor_seconds: u64 },
    /// A piece of code.
    Run(Job),
    /// What a call gave back.
    Value(Value),
    /// Why a call gave nothing back.
    Fault(String),
}

/// A piece of code, and what it may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) code: String,
    /// Names it may call.
    pub(crate) tools: Vec<String>,
    /// What its clock shows; without, it has none.
    pub(crate) unix_seconds: Option<u64>,
    pub(crate) time_ms: u64,
    pub(crate) print_bytes_max: usize,
    pub(crate) value_bytes_max: usize,
    pub(crate) call_count_max: u32,
}

/// From the process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Said {
    /// The code calls a tool.
    Call(Asked),
    /// The code ended.
    Ended(Stepped),
}

/// A call of a tool in code.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) name: String,
    pub(crate) arguments: Vec<Value>,
    pub(crate) named: Map<String, Value>,
}

/// What a piece of code did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Stepped {
    /// What it printed.
    pub(crate) printed: String,
    /// The value of its last expression, as Python writes it.
    pub(crate) value: Option<String>,
    /// The error it ended with, and where.
    pub(crate) raised: Option<String>,
    /// Whether the names it set are gone.
    pub(crate) lost: bool,
}

impl Stepped {
    /// Ended by force.
    pub(crate) fn lost(why: impl Into<String>) -> Self {
        Self { raised: Some(why.into()), lost: true, ..Self::default() }
    }
}

impl std::fmt::Display for Stepped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        if !self.printed.is_empty() {
            parts.push(self.printed.trim_end_matches('\n').to_owned());
        }
        if let Some(value) = &self.value {
            parts.push(format!("value: {value}"));
        }
        if let Some(raised) = &self.raised {
            parts.push(raised.trim_end().to_owned());
        }
        if self.lost {
            parts.push("(the interpreter was started anew: names that were set are gone)".to_owned());
        }
        if parts.is_empty() {
            parts.push("(the code ended and showed nothing: print what you want to see)".to_owned());
        }
        f.write_str(&parts.join("\n"))
    }
}
