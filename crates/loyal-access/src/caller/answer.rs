//! An answer as text: what a program wants that asks one question.

use bytes::Bytes;
use serde_json::{Value, json};

use super::Caller;
use super::reply::{Piece, Reply, text_of};
use crate::Result;
use crate::request::reply_text;
use crate::wallet::Record;

/// An answer, piece by piece.
#[derive(Debug)]
pub struct Answer {
    reply: Reply,
}

impl Caller {
    /// Asks one question, and streams the answer.
    ///
    /// # Errors
    /// As [`Caller::invoke`].
    pub async fn ask(&self, prompt: &str) -> Result<Answer> {
        self.converse(&json!([{ "role": "user", "content": prompt }])).await
    }

    /// Continues a conversation (`messages` as OpenAI's API has them), and streams the answer.
    ///
    /// # Errors
    /// As [`Caller::invoke`].
    pub async fn converse(&self, messages: &Value) -> Result<Answer> {
        // A host serves one model: it need not be named.
        let body = json!({ "messages": messages, "stream": true });
        Ok(Answer { reply: self.invoke("/chat/completions", Bytes::from(body.to_string())).await? })
    }
}

impl Answer {
    /// The next piece of text, or `None` at the end; the answer is paid for then, and its receipt in the wallet.
    ///
    /// # Errors
    /// As [`Reply::next`].
    pub async fn next(&mut self) -> Result<Option<String>> {
        while let Some(piece) = self.reply.next().await? {
            let text = match piece {
                Piece::Event(data) => text_of(&serde_json::from_str(&data).unwrap_or_default()).to_owned(),
                Piece::Whole(body) => {
                    reply_text(&serde_json::from_slice(&body).unwrap_or_default()).into_owned()
                }
            };
            if !text.is_empty() {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    /// The whole answer.
    ///
    /// # Errors
    /// As [`Reply::next`].
    pub async fn text(mut self) -> Result<(String, Option<Record>)> {
        let mut text = String::new();
        while let Some(more) = self.next().await? {
            text.push_str(&more);
        }
        Ok((text, self.reply.record().cloned()))
    }

    /// The receipt, once the answer is at its end.
    #[must_use]
    pub const fn record(&self) -> Option<&Record> {
        self.reply.record()
    }
}
