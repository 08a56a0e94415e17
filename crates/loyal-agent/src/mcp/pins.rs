//! Which descriptions of foreign tools were approved: a description tells a model what to do, so it may not change unseen.

use std::collections::BTreeMap;

use rmcp::model::Tool;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// SHA-256 of each approved tool's name, description and schema, by the name it has here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pins(BTreeMap<String, String>);

/// How a description stands to what was approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is what was approved.
    Same,
    /// Nothing was approved under this name yet.
    New,
    /// Something else was approved.
    Changed,
}

impl Pins {
    /// How a tool stands.
    pub(super) fn standing(&self, name: &str, hash: &str) -> Standing {
        match self.0.get(name) {
            None => Standing::New,
            Some(approved) if approved == hash => Standing::Same,
            Some(_) => Standing::Changed,
        }
    }

    /// Approves a description.
    pub(super) fn approve(&mut self, name: &str, hash: &str) {
        self.0.insert(name.to_owned(), hash.to_owned());
    }

    /// Forgets what was approved of a server: its tools are new again.
    pub fn forget(&mut self, server: &str) {
        self.0.retain(|name, _| !name.starts_with(&format!("{server}__")));
    }
}

/// The hash of what a model would read of a tool.
pub(super) fn hash(tool: &Tool) -> String {
    let read = json!({
        "name": tool.name, "description": tool.description, "input": *tool.input_schema,
        "output": tool.output_schema.as_deref(),
    });
    Sha256::digest(read.to_string().as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
