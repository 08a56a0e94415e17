//! What an agent says of itself at `GET /agent-card`.

use serde::{Deserialize, Serialize};

use super::Limits;
use crate::event::FINAL_RESPONSE;

/// The card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// The agent's name.
    pub name: String,
    /// Its name in addresses: lower case and hyphens.
    pub slug: String,
    /// What it is good for.
    #[serde(default)]
    pub description: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// The events it emits, as far as it says.
    #[serde(default)]
    pub events: Vec<CardEvent>,
    /// What it takes beside a question.
    #[serde(default)]
    pub takes: Takes,
    /// Its bounds.
    #[serde(default)]
    pub limits: CardLimits,
    /// Addresses for people: a home page, the source.
    #[serde(default)]
    pub links: Vec<String>,
}

/// A kind of event an agent emits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardEvent {
    /// Its name.
    pub name: String,
    /// Its kind of content, as the wire calls it.
    pub content_type: String,
}

/// What an agent takes beside a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Takes {
    /// Earlier questions and answers.
    #[serde(default)]
    pub history: bool,
    /// Files.
    #[serde(default)]
    pub files: bool,
}

/// Bounds a caller may want to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CardLimits {
    /// How long a run may take; milliseconds.
    #[serde(default)]
    pub deadline_ms: u64,
    /// Bytes of a request.
    #[serde(default)]
    pub request_bytes_max: u64,
}

impl Card {
    /// A card that says no more than the name and what every agent here does.
    #[must_use]
    pub fn new(name: &str, limits: &Limits) -> Self {
        let slug: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
            .collect();
        let deadline_ms = u64::try_from(limits.deadline.as_millis()).unwrap_or(u64::MAX);
        let event = |name: &str, content_type: &str| CardEvent {
            name: name.to_owned(),
            content_type: content_type.to_owned(),
        };
        Self {
            name: name.to_owned(),
            slug: slug.trim_matches('-').to_owned(),
            description: String::new(),
            version: String::new(),
            events: vec![event(FINAL_RESPONSE, "chunked.text"), event("error", "atomic.error")],
            takes: Takes { history: true, files: false },
            limits: CardLimits { deadline_ms, request_bytes_max: limits.request_bytes_max as u64 },
            links: Vec::new(),
        }
    }

    /// With a description.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }
}
