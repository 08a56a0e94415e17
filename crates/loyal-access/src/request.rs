//! What a request asks for and what came back, as hashes that say nothing to whoever lacks the salt.

use std::borrow::Cow;

use alloy_primitives::{B256, keccak256};
use serde_json::Value;

/// A body cannot be bound to an invocation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RequestError(pub String);

/// The body of a request, and what identifies it.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    body: Value,
    prompt: String,
    prompt_hash: B256,
    params_hash: B256,
}

impl Request {
    /// Reads a body: a conversation (`messages`), or one `prompt`, or one `input`.
    ///
    /// # Errors
    /// It is no object of JSON, holds no text to answer, or asks for several answers: an invocation has one.
    pub fn read(bytes: &[u8]) -> Result<Self, RequestError> {
        let wrong = |why: &str| RequestError(why.to_owned());
        let body: Value = serde_json::from_slice(bytes)
            .map_err(|error| RequestError(format!("the body is no JSON: {error}")))?;
        if !body.is_object() {
            return Err(wrong("the body is no object of JSON"));
        }
        for name in ["n", "best_of"] {
            if body.get(name).is_some_and(|count| !count.is_null() && count.as_u64() != Some(1)) {
                return Err(RequestError(format!("{name}: an invocation has one answer; ask once for each")));
            }
        }
        let mut emptied = body.clone();
        let text = take_text(&mut emptied)?;
        let prompt_hash = keccak256(text.as_bytes());
        let canonical = serde_json_canonicalizer::to_vec(&emptied)
            .map_err(|error| RequestError(format!("the body has no canonical form: {error}")))?;
        Ok(Self { body, prompt: text, prompt_hash, params_hash: keccak256(canonical) })
    }

    /// The body, as it was read: what is hashed is what is answered.
    #[must_use]
    pub const fn body(&self) -> &Value {
        &self.body
    }

    /// The text that is answered.
    #[must_use]
    pub fn prompt(&self) -> &str {
        &self.prompt
    }

    /// `keccak256` of the canonical form of everything else.
    #[must_use]
    pub const fn params_hash(&self) -> B256 {
        self.params_hash
    }

    /// `keccak256` of the text that is answered.
    #[must_use]
    pub const fn prompt_hash(&self) -> B256 {
        self.prompt_hash
    }

    /// `requestHash` of the protocol: `keccak256(abi.encode(salt, promptHash, paramsHash))`.
    #[must_use]
    pub fn hash(&self, salt: B256) -> B256 {
        keccak256([salt.0, self.prompt_hash.0, self.params_hash.0].concat())
    }

    /// Whether the answer is wanted piece by piece.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.body["stream"] == Value::Bool(true)
    }
}

/// `responseHash` of the protocol: `keccak256(abi.encode(salt, keccak256(reply text)))`.
#[must_use]
pub fn response_hash(salt: B256, reply: &str) -> B256 {
    keccak256([salt.0, keccak256(reply.as_bytes()).0].concat())
}

/// Takes the text that is answered out of a body, and leaves an empty one in its place.
fn take_text(body: &mut Value) -> Result<String, RequestError> {
    if let Some(messages) = body.get_mut("messages") {
        let messages = messages.as_array_mut().ok_or_else(|| RequestError("messages: no list".to_owned()))?;
        let last = messages.iter_mut().rev().find(|message| message["role"] == "user");
        let last = last.ok_or_else(|| RequestError("messages: none is the user's".to_owned()))?;
        return match last.get_mut("content") {
            Some(Value::String(text)) => Ok(std::mem::take(text)),
            Some(Value::Array(parts)) => Ok(parts.iter_mut().filter_map(take_part).collect()),
            _ => Err(RequestError("messages: the user's last message holds no text".to_owned())),
        };
    }
    for name in ["prompt", "input"] {
        match body.get_mut(name) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => return Ok(std::mem::take(text)),
            Some(Value::Array(texts)) if texts.len() == 1 && texts[0].is_string() => {
                return Ok(texts[0].as_str().map(str::to_owned).unwrap_or_default())
                    .inspect(|_| texts[0] = "".into());
            }
            Some(_) => return Err(RequestError(format!("{name}: one text; an invocation has one answer"))),
        }
    }
    Err(RequestError("the body has neither messages nor a prompt".to_owned()))
}

fn take_part(part: &mut Value) -> Option<String> {
    match part.get_mut("text") {
        Some(Value::String(text)) => Some(std::mem::take(text)),
        _ => None,
    }
}

/// The text of an answer: of the choice's message, or of the choice itself; an embedding's is its numbers in their one
/// form (RFC 8785).
#[must_use]
pub fn reply_text(answer: &Value) -> Cow<'_, str> {
    let choice = &answer["choices"][0];
    let text = choice["message"]["content"].as_str().or_else(|| choice["text"].as_str());
    match (text, answer.get("data")) {
        (Some(text), _) => Cow::Borrowed(text),
        (None, Some(data)) => {
            let canonical = serde_json_canonicalizer::to_string(data).unwrap_or_default();
            Cow::Owned(canonical)
        }
        (None, None) => Cow::Borrowed(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(body: &str) -> B256 {
        Request::read(body.as_bytes()).unwrap().hash(B256::with_last_byte(9))
    }

    #[test]
    fn the_form_of_a_body_does_not_matter_and_its_content_does() {
        let one = r#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"temperature":0.5}"#;
        let other =
            r#"{ "temperature": 5e-1, "messages": [{"content": "Hi", "role": "user"}], "model": "m" }"#;
        assert_eq!(hash(one), hash(other));
        assert_ne!(hash(one), hash(&one.replace("Hi", "Ho")));
        assert_ne!(hash(one), hash(&one.replace("0.5", "0.6")));
        assert_ne!(hash(r#"{"prompt":"a"}"#), hash(r#"{"input":"a"}"#));
        let request = Request::read(one.as_bytes()).unwrap();
        assert_eq!(request.prompt_hash(), keccak256("Hi"));
        assert_ne!(request.hash(B256::ZERO), request.hash(B256::with_last_byte(1)));
    }

    #[test]
    fn the_last_message_of_the_user_is_the_prompt() {
        let body = r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},
            {"role":"user","content":[{"type":"text","text":"c"},{"type":"text","text":"d"}]},
            {"role":"assistant","content":"e"}]}"#;
        assert_eq!(Request::read(body.as_bytes()).unwrap().prompt_hash(), keccak256("cd"));
        assert_eq!(Request::read(br#"{"prompt":["x"]}"#).unwrap().prompt_hash(), keccak256("x"));
    }

    #[test]
    fn what_has_no_single_answer_is_refused() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"messages":[]}"#,
            r#"{"messages":[{"role":"system","content":"a"}]}"#,
            r#"{"prompt":["a","b"]}"#,
            r#"{"prompt":[1,2]}"#,
            r#"{"prompt":"a","n":2}"#,
            r#"{"messages":"a"}"#,
            r#"{"messages":[{"role":"user"}]}"#,
        ] {
            assert!(Request::read(body.as_bytes()).is_err(), "{body}");
        }
    }
}
