//! A JSON object as it came: numbers of any size and the order of members survive a relay.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

use crate::{Error, Result};

/// An object in compact JSON: no white space between its parts, and no character that anybody takes for the end of a
/// line, so that it is one line to everybody.
#[derive(Debug, Clone)]
pub struct Document(Box<RawValue>);

impl Document {
    /// What `value` serializes to.
    ///
    /// # Errors
    /// [`Error::NoObject`] where that is no object: the peer reads nothing else.
    pub fn new(value: &(impl Serialize + ?Sized)) -> Result<Self> {
        let text =
            serde_json::to_string(value).map_err(|error| Error::NoObject { why: error.to_string() })?;
        // A `RawValue` inside of it may have brought white space along.
        Self::from_json(&text).map_err(|why| Error::NoObject { why })
    }

    /// Reads an object.
    ///
    /// # Errors
    /// Why it is none, in words.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if !raw.get().starts_with('{') {
            let found: String = raw.get().chars().take(20).collect();
            return Err(format!("the content must be an object, not {found}"));
        }
        let raw = RawValue::from_string(compact(raw.get())).map_err(|error| error.to_string())?;
        Ok(Self(raw))
    }

    /// The JSON.
    #[must_use]
    pub fn as_json(&self) -> &str {
        self.0.get()
    }

    /// The object as any type that reads from it.
    ///
    /// # Errors
    /// [`Error::NoObject`] where the type does not fit.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T> {
        serde_json::from_str(self.as_json()).map_err(|error| Error::NoObject { why: error.to_string() })
    }
}

/// Valid JSON without the white space between its parts, and with separators of lines as escapes.
fn compact(text: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    let mut kept = String::with_capacity(text.len());
    for c in text.chars() {
        if quoted {
            quoted = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if c.is_ascii_whitespace() {
            continue;
        } else {
            quoted = c == '"';
        }
        match c {
            '\u{85}' => kept.push_str("\\u0085"),
            '\u{2028}' => kept.push_str("\\u2028"),
            '\u{2029}' => kept.push_str("\\u2029"),
            c => kept.push(c),
        }
    }
    kept
}

impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        self.as_json() == other.as_json()
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::from_json(raw.get()).map_err(de::Error::custom)
    }
}
