//! What an agent says, piece by piece: the events of the Sentient Agent Framework, schema 1.0.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

mod decode;
mod document;
mod encode;
mod frame;
mod metadata;

pub use decode::{Bounds, Decoder};
pub use document::Document;
pub use encode::encode;
pub(crate) use encode::encode_within;
pub use frame::{Frame, Frames};
pub use metadata::{Metadata, Value};

use crate::{Error, Result, Ulid};

/// The event of a final answer; other names are an agent's steps on the way.
pub const FINAL_RESPONSE: &str = "FINAL_RESPONSE";
/// What closes a stream of text: one space, which is no part of the text.
pub(crate) const CLOSING: &str = " ";
const SCHEMA_VERSION: &str = "1.0";
const NAME_LENGTH_MAX: usize = 64;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Greater than those of all events before it in the response.
    pub id: Ulid,
    /// The `processor_id` of the request it answers.
    pub source: String,
    /// What kind of step this is, in the agent's own words.
    pub name: String,
    /// Facts beside the content.
    pub metadata: Option<Metadata>,
    /// What it says.
    pub content: Content,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// `atomic.textblock`: a whole text.
    Text(String),
    /// `atomic.json`: an object.
    Json(Document),
    /// `chunked.text`: a piece of a text.
    Chunk(Chunk),
    /// `atomic.error`: something went wrong. It does not end the response.
    Error(Fault),
    /// `atomic.done`: nothing follows. Whatever we add to the format rides in its member `loyal`.
    Done(Option<Document>),
}

/// A piece of one of the texts of a response; they may come interleaved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Which text.
    pub stream_id: String,
    /// Whether that text ends here; the content is then one space that does not belong to it.
    pub is_complete: bool,
    /// The piece; may be empty.
    pub text: String,
}

/// What an error event tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// For people.
    pub message: String,
    /// A status of HTTP where one fits.
    pub code: i64,
    /// For programs.
    pub details: Option<Document>,
}

impl Event {
    /// Checks a name an agent gives to its events: up to 64 characters, none of them a control or a separator of
    /// lines, and no space at its ends. The peer writes names into a line of their own, raw.
    ///
    /// # Errors
    /// [`Error::BadEventName`].
    pub fn check_name(name: &str) -> Result<()> {
        let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        let length = name.chars().take(NAME_LENGTH_MAX + 1).count();
        if length == 0 || length > NAME_LENGTH_MAX || name.contains(breaks) || name.trim() != name {
            return Err(Error::BadEventName { name: name.chars().take(NAME_LENGTH_MAX).collect() });
        }
        Ok(())
    }

    /// The text this event adds to what a person reads: a text block or a piece, without the space that closes.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            Content::Chunk(chunk) if !(chunk.is_complete && chunk.text == CLOSING) => Some(&chunk.text),
            _ => None,
        }
    }

    /// Whether nothing follows.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.content, Content::Done(_))
    }
}

impl Content {
    /// The name the wire gives to this kind of content.
    #[must_use]
    pub const fn content_type(&self) -> &'static str {
        match self {
            Self::Text(_) => "atomic.textblock",
            Self::Json(_) => "atomic.json",
            Self::Chunk(_) => "chunked.text",
            Self::Error(_) => "atomic.error",
            Self::Done(_) => "atomic.done",
        }
    }
}

/// The members of every kind of event, as the wire has them.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    content_type: Cow<'a, str>,
    event_name: Option<String>,
    #[serde(default)]
    id: Ulid,
    source: String,
    #[serde(default)]
    metadata: Option<Metadata>,
    stream_id: Option<String>,
    is_complete: Option<bool>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    loyal: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct FaultMembers {
    error_message: String,
    #[serde(default = "internal")]
    error_code: i64,
    #[serde(default)]
    details: Option<Document>,
}

const fn internal() -> i64 {
    500
}

impl Event {
    /// Reads the JSON of one event. Members nobody knows are left out, as the peer does.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let words = |error: serde_json::Error| error.to_string();
        let members: Members<'_> = serde_json::from_str(text).map_err(words)?;
        let content = || members.content.map(RawValue::get).ok_or("missing field `content`".to_owned());
        let string =
            || serde_json::from_str::<String>(content()?).map_err(|error| format!("content: {error}"));
        let missing = |name: &str| format!("missing field `{name}`");
        let (default_name, content) = match &*members.content_type {
            "atomic.textblock" => (None, Content::Text(string()?)),
            "atomic.json" => (None, Content::Json(Document::from_json(content()?)?)),
            "chunked.text" => {
                let stream_id = members.stream_id.ok_or_else(|| missing("stream_id"))?;
                let is_complete = members.is_complete.ok_or_else(|| missing("is_complete"))?;
                (None, Content::Chunk(Chunk { stream_id, is_complete, text: string()? }))
            }
            "atomic.error" => {
                let fault: FaultMembers =
                    serde_json::from_str(content()?).map_err(|error| format!("content: {error}"))?;
                let FaultMembers { error_message: message, error_code: code, details } = fault;
                (Some("error"), Content::Error(Fault { message, code, details }))
            }
            "atomic.done" => {
                let ours = members.loyal.and_then(|ours| Document::from_json(ours.get()).ok());
                (Some("done"), Content::Done(ours))
            }
            other => return Err(format!("no content_type is called {other:?}")),
        };
        let name = members.event_name.or_else(|| default_name.map(str::to_owned));
        let name = name.ok_or_else(|| missing("event_name"))?;
        Ok(Self { id: members.id, source: members.source, name, metadata: members.metadata, content })
    }
}

/// Events inside of a request: the history of a conversation.
impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::from_json(raw.get()).map_err(de::Error::custom)
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = encode::json(self).map_err(serde::ser::Error::custom)?;
        let raw = RawValue::from_string(text).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}
