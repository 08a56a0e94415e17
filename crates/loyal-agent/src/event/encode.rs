//! An event's bytes on the wire: those of the Python framework, save for the separators that break its own reader.

use std::io::Write as _;

use super::{Content, Event, SCHEMA_VERSION};
use crate::{Error, Result};

/// Appends `event: …`, `data: …` and an empty line.
///
/// The bytes are those of `sentient-agent-framework` 0.3.0, but U+0085, U+2028 and U+2029 are written as
/// escapes: its line reader takes them for ends of lines.
///
/// # Errors
/// [`Error::BadEventName`]; nothing is appended then.
pub fn encode(event: &Event, bytes: &mut Vec<u8>) -> Result<()> {
    Event::check_name(&event.name)?;
    let start = bytes.len();
    bytes.extend_from_slice(b"event: ");
    bytes.extend_from_slice(event.name.as_bytes());
    bytes.extend_from_slice(b"\ndata: ");
    members(event, bytes);
    escape_separators(bytes, start);
    bytes.extend_from_slice(b"\n\n");
    Ok(())
}

/// The JSON alone.
pub(super) fn json(event: &Event) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(256);
    members(event, &mut bytes);
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

fn members(event: &Event, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(b"{\"content_type\":\"");
    bytes.extend_from_slice(event.content.content_type().as_bytes());
    bytes.extend_from_slice(b"\",\"event_name\":");
    write(bytes, event.name.as_str());
    bytes.extend_from_slice(b",\"schema_version\":\"");
    bytes.extend_from_slice(SCHEMA_VERSION.as_bytes());
    bytes.extend_from_slice(b"\",\"id\":\"");
    bytes.extend_from_slice(&event.id.letters());
    bytes.extend_from_slice(b"\",\"source\":");
    write(bytes, event.source.as_str());
    bytes.extend_from_slice(b",\"metadata\":");
    write(bytes, &event.metadata);
    match &event.content {
        Content::Text(text) => member(bytes, "content", text.as_str()),
        Content::Json(document) => member(bytes, "content", document),
        Content::Chunk(chunk) => {
            member(bytes, "stream_id", chunk.stream_id.as_str());
            member(bytes, "is_complete", &chunk.is_complete);
            member(bytes, "content", chunk.text.as_str());
        }
        Content::Error(fault) => {
            bytes.extend_from_slice(b",\"content\":{\"error_message\":");
            write(bytes, fault.message.as_str());
            member(bytes, "error_code", &fault.code);
            member(bytes, "details", &fault.details);
            bytes.push(b'}');
        }
        Content::Done(None) => {}
        Content::Done(Some(ours)) => member(bytes, "loyal", ours),
    }
    bytes.push(b'}');
}

fn member(bytes: &mut Vec<u8>, name: &str, value: &(impl serde::Serialize + ?Sized)) {
    bytes.extend_from_slice(b",\"");
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(b"\":");
    write(bytes, value);
}

fn write(bytes: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    serde_json::to_writer(bytes, value)
        .expect("texts, numbers and checked objects are JSON, and memory takes it");
}

/// U+0085, U+2028 and U+2029 as escapes. They can occur inside of strings only, where the escape means the same.
fn escape_separators(bytes: &mut Vec<u8>, start: usize) {
    let separator = |line: &[u8]| match line {
        [0xC2, 0x85, ..] => Some((2, 0x85_u16)),
        [0xE2, 0x80, 0xA8, ..] => Some((3, 0x2028)),
        [0xE2, 0x80, 0xA9, ..] => Some((3, 0x2029)),
        _ => None,
    };
    let line = &bytes[start..];
    if line.is_ascii() || !(0..line.len()).any(|at| separator(&line[at..]).is_some()) {
        return;
    }
    let line = bytes.split_off(start);
    let mut rest = line.as_slice();
    while let Some(first) = rest.first() {
        let length = if let Some((length, code)) = separator(rest) {
            write!(bytes, "\\u{code:04x}").expect("memory takes it");
            length
        } else {
            bytes.push(*first);
            1
        };
        rest = &rest[length..];
    }
}

/// The bytes of an event as one that is too large may not have: its error.
pub(crate) fn encode_within(event: &Event, bytes: &mut Vec<u8>, max: usize) -> Result<()> {
    let start = bytes.len();
    encode(event, bytes)?;
    if bytes.len() - start > max {
        bytes.truncate(start);
        return Err(Error::TooLarge { what: "event", max: max as u64 });
    }
    Ok(())
}
