//! A response put together: the answer, the texts on the way, the errors.

use super::Events;
use crate::event::{Content, Fault};
use crate::session::answer_text;
use crate::{Event, Result};

/// All that an agent said.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reply {
    /// Every event, in order.
    pub events: Vec<Event>,
}

impl Reply {
    /// Reads a response to its end.
    ///
    /// # Errors
    /// Those of [`Events::next`].
    pub async fn read(mut events: Events) -> Result<Self> {
        let mut reply = Self::default();
        while let Some(event) = events.next().await {
            reply.events.push(event?);
        }
        Ok(reply)
    }

    /// The answer: the text of its final response, or else its blocks of text.
    #[must_use]
    pub fn answer(&self) -> String {
        answer_text(&self.events.iter())
    }

    /// The texts that came in pieces, in the order they began, each with its event's name.
    #[must_use]
    pub fn streams(&self) -> Vec<(String, String)> {
        let mut streams: Vec<(&str, (String, String))> = Vec::new();
        for event in &self.events {
            let Content::Chunk(chunk) = &event.content else { continue };
            let known = streams.iter().position(|(id, _)| *id == chunk.stream_id);
            let at = known.unwrap_or_else(|| {
                streams.push((&chunk.stream_id, (event.name.clone(), String::new())));
                streams.len() - 1
            });
            streams[at].1.1.push_str(event.text().unwrap_or_default());
        }
        streams.into_iter().map(|(_, stream)| stream).collect()
    }

    /// The errors it told.
    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.events.iter().filter_map(|event| match &event.content {
            Content::Error(fault) => Some(fault),
            _ => None,
        })
    }
}
