//! What an agent is asked, and the conversation the question stands in.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

mod refusal;
mod store;

pub use refusal::{Refusal, parse};
pub use store::History;

use crate::event::{Content, FINAL_RESPONSE};
use crate::{Event, Ulid};

/// The body of `POST /assist`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The question.
    pub query: Query,
    /// Where it stands. A client may leave it out; the server then makes one without a history.
    #[serde(default)]
    pub session: Option<Session>,
}

/// The question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// Its identifier.
    pub id: Ulid,
    /// Its text.
    pub prompt: String,
}

/// A conversation up to a question. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub struct Session(Arc<Members>);

impl Serialize for Session {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Session {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Members::deserialize(deserializer).map(|members| Self(Arc::new(members)))
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Members {
    processor_id: String,
    activity_id: Ulid,
    request_id: Ulid,
    interactions: Vec<Interaction>,
}

/// An earlier question with what was answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interaction {
    /// The question.
    pub request: RequestMessage,
    /// The events of the answer.
    pub responses: Vec<ResponseMessage>,
}

/// An earlier question, and who asked whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestMessage {
    /// Who asked.
    #[serde(default)]
    pub sender: Option<String>,
    /// Who was asked; a set, whose order means nothing.
    #[serde(default)]
    pub recipients: Option<BTreeSet<String>>,
    /// What. The Python framework loses it when it passes a conversation on.
    #[serde(default)]
    pub event: Option<Asked>,
}

/// One event of an earlier answer, and who gave it to whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResponseMessage {
    /// Who answered.
    #[serde(default)]
    pub sender: Option<String>,
    /// To whom; a set, whose order means nothing.
    #[serde(default)]
    pub recipients: Option<BTreeSet<String>>,
    /// What.
    pub event: Event,
}

/// An earlier question itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "AskedMembers")]
pub struct Asked {
    /// Its identifier, where one was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Ulid>,
    /// The conversation.
    #[serde(rename = "chatId")]
    pub chat_id: Ulid,
    /// What was asked.
    pub content: AskedContent,
    /// The question this one follows.
    pub parent_request_id: Option<Ulid>,
    /// The first question of the chain.
    pub root_request_id: Option<Ulid>,
}

#[derive(Deserialize)]
struct AskedMembers {
    id: Option<Ulid>,
    #[serde(rename = "chatId", alias = "chat_id")]
    chat_id: Ulid,
    content: AskedContent,
    #[serde(default)]
    parent_request_id: Option<Ulid>,
    #[serde(default)]
    root_request_id: Option<Ulid>,
}

/// A capability, and the texts for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedContent {
    /// `assist`.
    #[serde(default = "assist")]
    pub capability: String,
    /// The texts.
    pub request_payload: Parts,
}

/// The texts of a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// In order.
    pub parts: Vec<Part>,
}

/// A text with the files that belong to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The text.
    pub prompt: String,
    /// Identifiers of files.
    #[serde(rename = "fileIds", alias = "files_ids")]
    pub file_ids: Vec<String>,
}

fn assist() -> String {
    "assist".to_owned()
}

/// The rules of a chain of questions.
impl TryFrom<AskedMembers> for Asked {
    type Error = String;

    fn try_from(members: AskedMembers) -> Result<Self, String> {
        let AskedMembers { id, chat_id, content, parent_request_id, root_request_id } = members;
        let bad = |why: &str| Err(format!("{}{why}", refusal::VALUE));
        let root_request_id = root_request_id.or_else(|| id.filter(|_| parent_request_id.is_none()));
        match (parent_request_id, root_request_id) {
            (Some(_), None) => {
                bad("Root request identifier is required when parent request identifier is provided.")
            }
            (Some(parent), _) if id.is_some_and(|id| parent >= id) => {
                bad("Parent request identifier should be less than the request identifier.")
            }
            (Some(parent), Some(root)) if root > parent => {
                bad("Root request identifier should be less than or equal to the parent request identifier.")
            }
            _ => Ok(Self { id, chat_id, content, parent_request_id, root_request_id }),
        }
    }
}

/// Who says a message of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// The user.
    User,
    /// The agent.
    Agent,
}

/// A message of a conversation as a model reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who says it.
    pub speaker: Speaker,
    /// What.
    pub text: String,
}

impl Session {
    /// A conversation. `processor_id` comes back as the `source` of every event.
    #[must_use]
    pub fn new(
        processor_id: impl Into<String>,
        activity_id: Ulid,
        request_id: Ulid,
        interactions: Vec<Interaction>,
    ) -> Self {
        Self(Arc::new(Members { processor_id: processor_id.into(), activity_id, request_id, interactions }))
    }

    /// Who the caller takes the agent for.
    #[must_use]
    pub fn processor_id(&self) -> &str {
        &self.0.processor_id
    }

    /// The conversation's identifier.
    #[must_use]
    pub fn activity_id(&self) -> Ulid {
        self.0.activity_id
    }

    /// The request's identifier.
    #[must_use]
    pub fn request_id(&self) -> Ulid {
        self.0.request_id
    }

    /// Earlier questions and answers, oldest first.
    #[must_use]
    pub fn interactions(&self) -> &[Interaction] {
        &self.0.interactions
    }

    /// The same conversation with another history.
    #[must_use]
    pub fn with_interactions(&self, interactions: Vec<Interaction>) -> Self {
        Self(Arc::new(Members { interactions, ..Members::clone(&self.0) }))
    }

    /// The earlier messages for a model: as many of the newest as fit in `bytes_max`, cut between messages.
    #[must_use]
    pub fn messages(&self, bytes_max: usize) -> Vec<Message> {
        let all = self.interactions().iter().flat_map(|interaction| {
            let asked = interaction.request.event.as_ref().map(Asked::text).unwrap_or_default();
            let answered = answer_text(&interaction.responses.iter().map(|response| &response.event));
            [(Speaker::User, asked), (Speaker::Agent, answered)]
        });
        let all: Vec<_> = all.filter(|(_, text)| !text.is_empty()).collect();
        let mut left = bytes_max;
        let fitting = all.iter().rev().take_while(|(_, text)| {
            let fits = text.len() <= left;
            left = left.saturating_sub(text.len());
            fits
        });
        let first = all.len() - fitting.count();
        all.into_iter().skip(first).map(|(speaker, text)| Message { speaker, text }).collect()
    }
}

impl Asked {
    /// A question of one text.
    #[must_use]
    pub fn new(id: Ulid, chat_id: Ulid, prompt: impl Into<String>) -> Self {
        let parts = vec![Part { prompt: prompt.into(), file_ids: Vec::new() }];
        let content = AskedContent { capability: assist(), request_payload: Parts { parts } };
        Self { id: Some(id), chat_id, content, parent_request_id: None, root_request_id: Some(id) }
    }

    /// The texts, one a line.
    #[must_use]
    pub fn text(&self) -> String {
        let parts = &self.content.request_payload.parts;
        parts.iter().map(|part| part.prompt.as_str()).collect::<Vec<_>>().join("\n")
    }
}

/// What an agent answered: its final response, or else its blocks of text.
pub(crate) fn answer_text<'a>(events: &(impl Iterator<Item = &'a Event> + Clone)) -> String {
    let text = |wanted: &dyn Fn(&Event) -> bool| -> String {
        events.clone().filter(|event| wanted(event)).filter_map(Event::text).collect()
    };
    let answer = text(&|event| event.name == FINAL_RESPONSE);
    if answer.is_empty() { text(&|event| matches!(event.content, Content::Text(_))) } else { answer }
}
