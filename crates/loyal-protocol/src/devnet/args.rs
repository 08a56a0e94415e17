//! A request's parameters, read one by one; a wrong one is named in the answer.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Error, Result};

/// The positional parameters of one request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Args(Vec<Value>);

impl Args {
    /// Parameters as they came: a list, or nothing.
    pub(crate) fn read(params: Value) -> Result<Self> {
        match params {
            Value::Null => Ok(Self::default()),
            Value::Array(values) => Ok(Self(values)),
            _ => Err(Error::Request { what: "params must be a list".into() }),
        }
    }

    /// Parameters as text, before anything was parsed.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self> {
        let Some(text) = text else { return Ok(Self::default()) };
        let params = serde_json::from_str(text);
        Self::read(params.map_err(|error| Error::Request { what: format!("params: {error}") })?)
    }

    /// Parameter `index`, which must be there.
    pub(crate) fn required<T: DeserializeOwned>(&self, index: usize, name: &str) -> Result<T> {
        match self.optional(index, name)? {
            Some(value) => Ok(value),
            None => {
                Err(Error::Request { what: format!("missing value for required argument {index} ({name})") })
            }
        }
    }

    /// Parameter `index`, or none where it is absent or null.
    pub(crate) fn optional<T: DeserializeOwned>(&self, index: usize, name: &str) -> Result<Option<T>> {
        match self.0.get(index) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::deserialize(value).map(Some).map_err(|error| Error::Request {
                what: format!("invalid argument {index} ({name}): {error}"),
            }),
        }
    }

    /// Refuses more parameters than a method has.
    pub(crate) fn at_most(&self, count: usize) -> Result<()> {
        if self.0.len() > count {
            return Err(Error::Request { what: format!("too many arguments, want at most {count}") });
        }
        Ok(())
    }
}
