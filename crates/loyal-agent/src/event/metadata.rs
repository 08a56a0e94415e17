//! Facts beside an event's content: a flat map, since the peer raises on anything deeper.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

use crate::{Error, Result};

/// Pairs of the peer at most.
const COUNT_MAX: usize = 16;

/// A flat map of at most 16 names, in the order they were given.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metadata(Vec<(String, Value)>);

/// What a name may hold.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// True or false.
    Flag(bool),
    /// A number as it came: a relay passes on every digit.
    Number(Number),
    /// A text.
    Text(String),
    /// Texts.
    List(Vec<String>),
}

/// A number in JSON.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Number(Box<RawValue>);

impl Number {
    /// Its digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = raw.get();
        let value = match text.as_bytes().first() {
            Some(b'"') => serde_json::from_str(text).map(Self::Text),
            Some(b'[') => serde_json::from_str(text).map(Self::List),
            Some(b't' | b'f') => serde_json::from_str(text).map(Self::Flag),
            Some(b'-' | b'0'..=b'9') => return Ok(Self::Number(Number(raw))),
            _ => {
                return Err(de::Error::custom(
                    "metadata holds texts, numbers, flags and lists of texts only",
                ));
            }
        };
        value.map_err(de::Error::custom)
    }
}

impl Metadata {
    /// No facts.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// With one more fact; a name given twice keeps its place and takes the later value.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for the 17th name.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Result<Self> {
        self.put(name.to_owned(), value.into())?;
        Ok(self)
    }

    fn put(&mut self, name: String, value: Value) -> Result<()> {
        if let Some((_, old)) = self.0.iter_mut().find(|(known, _)| *known == name) {
            *old = value;
        } else if self.0.len() < COUNT_MAX {
            self.0.push((name, value));
        } else {
            return Err(Error::TooLarge { what: "metadata", max: COUNT_MAX as u64 });
        }
        Ok(())
    }

    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        let raw = RawValue::from_string(number.to_string()).expect("a whole number is JSON");
        Self::Number(Number(raw))
    }
}

impl From<Vec<String>> for Value {
    fn from(list: Vec<String>) -> Self {
        Self::List(list)
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a flat map of at most 16 texts, numbers, flags or lists of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut metadata = Metadata::new();
                while let Some((name, value)) = map.next_entry()? {
                    metadata.put(name, value).map_err(de::Error::custom)?;
                }
                Ok(metadata)
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}
