//! Why a request is refused, in the shape of FastAPI: builders already read it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use serde_path_to_error::{Path, Segment};

use super::Request;
use crate::ulid::UNRECOGNIZED;

/// Marks a rule of ours in the words of a parser.
pub(super) const VALUE: &str = "value: ";
/// A wrong part of a body is shown when it is not longer; bytes.
const SHOWN_BYTES_MAX: usize = 1024;

/// One thing that is wrong with a request, as `detail` lists it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Refusal {
    /// The kind of fault: `missing`, `ulid_format`, `json_invalid`, `string_type`, …
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Where: `body`, then names of members and places in lists.
    pub loc: Vec<Value>,
    /// What would be right.
    pub msg: String,
    /// What is there instead, where it is short.
    pub input: Value,
    /// More facts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ctx: Option<Value>,
}

impl Refusal {
    /// The body of the answer with status 422.
    #[must_use]
    pub fn to_json(&self) -> String {
        json!({ "detail": [self] }).to_string()
    }
}

/// Reads the body of `POST /assist`.
///
/// # Errors
/// The first thing that is wrong.
pub fn parse(body: &[u8]) -> Result<Request, Box<Refusal>> {
    if body.iter().all(u8::is_ascii_whitespace) || body.trim_ascii() == b"null" {
        let missing = "Field required".to_owned();
        return Err(refusal("missing", Vec::new(), missing, Value::Null));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let request = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = segments(error.path());
        describe(body, path, error.inner())
    })?;
    reader.end().map_err(|error| describe(body, Vec::new(), &error))?;
    Ok(request)
}

fn segments(path: &Path) -> Vec<Value> {
    let parts = path.iter().filter_map(|segment| match segment {
        Segment::Seq { index } => Some(json!(index)),
        Segment::Map { key } => Some(json!(key)),
        Segment::Enum { .. } | Segment::Unknown => None,
    });
    parts.collect()
}

fn describe(body: &[u8], mut path: Vec<Value>, error: &serde_json::Error) -> Box<Refusal> {
    let words = error.to_string();
    let words = words.rsplit_once(" at line ").map_or(words.as_str(), |(words, _)| words);
    if !error.is_data() {
        let at = json!(offset(body, error.line(), error.column()));
        let mut refusal = refusal("json_invalid", vec![at], "JSON decode error".to_owned(), json!({}));
        refusal.ctx = Some(json!({ "error": words }));
        return refusal;
    }
    let quoted = |words: &str| words.split('`').nth(1).map(str::to_owned);
    if words.starts_with("missing field") {
        let input = input(body, &path);
        path.extend(quoted(words).map(Value::from));
        return refusal("missing", path, "Field required".to_owned(), input);
    }
    let input = input(body, &path);
    if words == UNRECOGNIZED {
        return refusal("ulid_format", path, words.to_owned(), input);
    }
    if let Some(rule) = words.strip_prefix(VALUE) {
        return refusal("value_error", path, format!("Value error, {rule}"), input);
    }
    if words.contains("expected a string") {
        return refusal("string_type", path, "Input should be a valid string".to_owned(), input);
    }
    if words.contains("expected struct") {
        let msg = "Input should be a valid dictionary or object to extract fields from".to_owned();
        return refusal("model_attributes_type", path, msg, input);
    }
    refusal("value_error", path, format!("Value error, {words}"), input)
}

fn refusal(kind: &'static str, path: Vec<Value>, msg: String, input: Value) -> Box<Refusal> {
    let loc = std::iter::once(json!("body")).chain(path).collect();
    Box::new(Refusal { kind, loc, msg, input, ctx: None })
}

/// The byte a line and a column, both from one, lead to.
fn offset(body: &[u8], line: usize, column: usize) -> usize {
    let before: usize =
        body.split_inclusive(|byte| *byte == b'\n').take(line.saturating_sub(1)).map(<[u8]>::len).sum();
    (before + column).min(body.len())
}

/// What stands at a path, or nothing where it is long.
fn input(body: &[u8], path: &[Value]) -> Value {
    let mut at: &[u8] = body;
    for step in path {
        let found = match step {
            Value::String(name) => member(at, name),
            Value::Number(index) => index.as_u64().and_then(|index| item(at, index)),
            _ => None,
        };
        let Some(found) = found else { return Value::Null };
        at = found.get().as_bytes();
    }
    if at.len() > SHOWN_BYTES_MAX {
        return Value::Null;
    }
    serde_json::from_slice(at).unwrap_or(Value::Null)
}

fn member<'a>(object: &'a [u8], name: &str) -> Option<&'a RawValue> {
    let mut members: BTreeMap<String, &RawValue> = serde_json::from_slice(object).ok()?;
    members.remove(name)
}

fn item(list: &[u8], index: u64) -> Option<&RawValue> {
    let items: Vec<&RawValue> = serde_json::from_slice(list).ok()?;
    items.get(usize::try_from(index).ok()?).copied()
}
