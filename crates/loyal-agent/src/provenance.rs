//! Whose words a text holds. Only the owner's and the user's may tell an agent what to do.

use std::fmt;

use rand::RngCore;
use serde::{Deserialize, Serialize};

/// Whose words a text holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provenance {
    /// The agent's owner's.
    Owner,
    /// The user's.
    User,
    /// What a tool of ours computed.
    Tool(String),
    /// A page's, by its origin.
    Page(String),
    /// Another agent's, by its address.
    Agent(String),
    /// A foreign server's of tools, by the name it has here.
    Server(String),
    /// Remembered, by who said it.
    Memory(String),
}

impl Provenance {
    /// Whether these words may tell an agent what to do.
    #[must_use]
    pub const fn may_instruct(&self) -> bool {
        matches!(self, Self::Owner | Self::User)
    }

    /// Whether somebody outside can have written them. What a tool of ours computed comes from arguments of a model
    /// that may have been led astray already, but brings nobody else's words.
    #[must_use]
    pub const fn is_foreign(&self) -> bool {
        matches!(self, Self::Page(_) | Self::Agent(_) | Self::Server(_) | Self::Memory(_))
    }
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner => f.write_str("owner"),
            Self::User => f.write_str("user"),
            Self::Tool(name) => write!(f, "tool {name}"),
            Self::Page(origin) => write!(f, "page of {origin}"),
            Self::Agent(url) => write!(f, "agent {url}"),
            Self::Server(name) => write!(f, "server {name}"),
            Self::Memory(author) => write!(f, "memory of {author}"),
        }
    }
}

/// A text as data: between two lines with a number nobody could foresee, so that nothing in it can end it.
pub(crate) fn delimit(text: &str, provenance: &Provenance, random: &mut dyn RngCore) -> String {
    let mark = format!("{:016x}{:016x}", random.next_u64(), random.next_u64());
    let whose: String = provenance.to_string().chars().filter(|c| !c.is_control()).collect();
    format!("<data {mark} from=\"{}\">\n{text}\n</data {mark}>", whose.replace('"', "'"))
}
