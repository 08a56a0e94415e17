//! Events out of bytes, in whatever pieces they come.

use std::collections::VecDeque;

use super::{Event, Frames};
use crate::{Error, Result};

/// What a response may hold before it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of one event.
    pub event_bytes_max: usize,
    /// Bytes of one response.
    pub response_bytes_max: u64,
    /// Events of one response.
    pub event_count_max: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { event_bytes_max: 1 << 20, response_bytes_max: 64 << 20, event_count_max: 100_000 }
    }
}

/// Reads the events of one response.
#[derive(Debug)]
pub struct Decoder {
    bounds: Bounds,
    frames: Frames,
    ready: VecDeque<Event>,
    bytes: u64,
    events: u64,
    done: bool,
}

impl Decoder {
    /// A decoder at the start of a response.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        // A line holds an event and its field's name.
        let frames = Frames::new(bounds.event_bytes_max.saturating_add(64));
        Self { bounds, frames, ready: VecDeque::new(), bytes: 0, events: 0, done: false }
    }

    /// Takes the next bytes. The events they complete come from [`Self::event`], those before an error too.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::BadEvent`] with its line, or [`Error::AfterDone`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.bounds.response_bytes_max {
            return Err(Error::TooLarge { what: "response", max: self.bounds.response_bytes_max });
        }
        let Self { bounds, frames, ready, events, done, .. } = self;
        frames.push(bytes, |frame| {
            if *done {
                return Err(Error::AfterDone);
            }
            *events += 1;
            if *events > bounds.event_count_max {
                return Err(Error::TooLarge { what: "count of events", max: bounds.event_count_max });
            }
            let line = frame.line;
            let event = Event::from_json(&frame.data).map_err(|why| Error::BadEvent { line, why })?;
            *done = event.is_done();
            ready.push_back(event);
            Ok(())
        })
    }

    /// The next event.
    pub fn event(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    /// Says that no bytes follow.
    ///
    /// # Errors
    /// [`Error::CutShort`] where the response has not ended with `done`.
    pub const fn finish(&self) -> Result<()> {
        if self.done { Ok(()) } else { Err(Error::CutShort) }
    }

    /// Whether `done` was read.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.done
    }
}
