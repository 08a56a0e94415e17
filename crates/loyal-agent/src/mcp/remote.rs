//! A tool of a foreign server: what it says of itself is cut to size, and what it gives back is somebody else's words.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ResourceContents,
    Tool as Described,
};
use serde_json::{Map, Value};

use super::connection::{Shared, clipped};
use crate::provenance::Provenance;
use crate::tool::{Effect, Output, Tool, ToolCard, ToolFault, is_name, schema_fault};

const DESCRIPTION_CHARACTERS_MAX: usize = 1_500;
const SCHEMA_BYTES_MAX: usize = 16 << 10;
const SCHEMA_DEPTH_MAX: usize = 16;

/// A tool of a server.
pub(super) struct Remote {
    pub(super) card: ToolCard,
    /// The server's name for it.
    pub(super) name: String,
    pub(super) hash: String,
    /// The form of results that it promises.
    pub(super) output: Option<Map<String, Value>>,
    pub(super) shared: Arc<Shared>,
}

/// What is said of a server's tool here.
///
/// # Errors
/// Why it cannot be offered to a model.
pub(super) fn card(server: &str, tool: &Described, reads: bool) -> Result<ToolCard, String> {
    let plain: String = tool
        .name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
        .collect();
    let name = format!("{server}__{plain}");
    if tool.name.is_empty() || !is_name(&name) {
        return Err("its name is empty, or too long together with the server's".to_owned());
    }
    let input = Value::Object((*tool.input_schema).clone());
    if input.get("type").is_some_and(|kind| kind != "object") {
        return Err("its arguments are no object".to_owned());
    }
    if input.to_string().len() > SCHEMA_BYTES_MAX {
        return Err(format!("its schema has more than {SCHEMA_BYTES_MAX} bytes"));
    }
    if depth(&input) > SCHEMA_DEPTH_MAX {
        return Err(format!("its schema is nested more than {SCHEMA_DEPTH_MAX} deep"));
    }
    let said = visible(tool.description.as_deref().unwrap_or_default());
    let description = format!("A tool of the foreign server {server}, which describes it so: {said}");
    Ok(ToolCard {
        name,
        description,
        input,
        effect: if reads { Effect::Read } else { Effect::Write },
        timeout: Duration::from_secs(60),
        output_bytes_max: 32 << 10,
    })
}

/// A description as a person would see it: characters that show nothing can hide instructions from whoever approves it.
fn visible(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control() && c != '\n'
            || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
            || matches!(c, '\u{e0000}'..='\u{e007f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
    };
    let mut shown: String =
        text.chars().filter(|c| !hidden(*c)).take(DESCRIPTION_CHARACTERS_MAX + 1).collect();
    if shown.chars().count() > DESCRIPTION_CHARACTERS_MAX {
        shown.pop();
        shown.push_str(" […]");
    }
    shown
}

fn depth(value: &Value) -> usize {
    // Parsed JSON is at most 128 deep, so this ends.
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

impl Tool for Remote {
    fn card(&self) -> &ToolCard {
        &self.card
    }

    fn call<'a>(&'a self, arguments: Value) -> BoxFuture<'a, Result<Output, ToolFault>> {
        async move {
            if !self.shared.is_same(&self.name, &self.hash).await? {
                return Err(ToolFault(format!(
                    "{} has changed since it was approved, and is not called until somebody approves it again",
                    self.card.name
                )));
            }
            let Value::Object(arguments) = arguments else {
                return Err(ToolFault::new("the arguments are no object"));
            };
            let asked = CallToolRequestParams::new(self.name.clone()).with_arguments(arguments);
            let answered = self.shared.peer().call_tool_once(asked).await;
            let text = match answered {
                Ok(CallToolResponse::Complete(result)) => self.text(&result),
                Ok(CallToolResponse::InputRequired(_)) => {
                    "(the server wants to ask the user something; that is not possible here)".to_owned()
                }
                // A task, which we do not wait for, or what comes after this version of the protocol.
                Ok(_) => "(the server put the work off and gives no result)".to_owned(),
                // Its words, too: they are no fault of ours, and taint like any other.
                Err(error) => format!("(the server failed: {})", clipped(&error.to_string())),
            };
            Ok(Output { text, provenance: Provenance::Server(self.shared.name.clone()) })
        }
        .boxed()
    }
}

impl Remote {
    /// A result as text: what is no text is named, and a broken promise as well.
    fn text(&self, result: &CallToolResult) -> String {
        let mut parts: Vec<String> = result.content.iter().map(block).collect();
        if parts.is_empty()
            && let Some(value) = &result.structured_content
        {
            parts.push(value.to_string());
        }
        if result.is_error == Some(true) {
            parts.insert(0, "(the tool reports an error)".to_owned());
        } else if let Some(promised) = &self.output {
            let fault = match &result.structured_content {
                None => Some("it has no structured content".to_owned()),
                Some(value) => schema_fault(&Value::Object(promised.clone()), value),
            };
            if let Some(fault) = fault {
                parts.push(format!("(this result has not the form that its server promised: {fault})"));
            }
        }
        if parts.is_empty() { "(nothing)".to_owned() } else { parts.join("\n") }
    }
}

fn block(block: &ContentBlock) -> String {
    // Base64 has four characters for three bytes.
    let left_out = |what: &str, kind: &str, data: &str| {
        let kind: String = kind.chars().take(80).collect();
        format!("({what} {kind} of {} bytes, left out)", data.len() / 4 * 3)
    };
    match block {
        ContentBlock::Text(text) => text.text.clone(),
        ContentBlock::Image(image) => left_out("an image", &image.mime_type, &image.data),
        ContentBlock::Audio(audio) => left_out("a sound", &audio.mime_type, &audio.data),
        ContentBlock::Resource(resource) => match &resource.resource {
            ResourceContents::TextResourceContents { uri, text, .. } => format!("{uri}:\n{text}"),
            ResourceContents::BlobResourceContents { uri, mime_type, blob, .. } => {
                format!("{uri}: {}", left_out("a file", mime_type.as_deref().unwrap_or_default(), blob))
            }
            _ => "(a resource of an unknown kind)".to_owned(),
        },
        ContentBlock::ResourceLink(link) => format!("{} at {}", link.name, link.uri),
        _ => "(something of an unknown kind)".to_owned(),
    }
}
