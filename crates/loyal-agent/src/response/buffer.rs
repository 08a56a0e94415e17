//! Bytes on their way to a reader, and what may be asked for again.

use std::task::Waker;

use bytes::Bytes;

use crate::event::{Event, encode_within};
use crate::{Result, Ulid};

/// Events that wait for a reader before the agent does.
const WAITING_COUNT_MAX: usize = 64;
/// Bytes that wait for a reader before the agent does. What waits in a hundred busy streams is memory.
const WAITING_BYTES_MAX: usize = 8 << 10;

/// Bytes of room that a stream keeps while nothing waits.
const ROOM_BYTES_MAX: usize = WAITING_BYTES_MAX;

/// How events become bytes.
pub(crate) trait Encoding: Send {
    /// Appends an event, or nothing with an error.
    fn encode(&mut self, event: &Event, bytes: &mut Vec<u8>, event_bytes_max: usize) -> Result<()>;
}

/// The wire of the Sentient Agent Framework.
pub(crate) struct Wire;

impl Encoding for Wire {
    fn encode(&mut self, event: &Event, bytes: &mut Vec<u8>, event_bytes_max: usize) -> Result<()> {
        encode_within(event, bytes, event_bytes_max)
    }
}

/// What was encoded and not yet taken; all of it where a reader may come back.
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    taken: usize,
    waiting_count: usize,
    kept: Option<Kept>,
    pub(crate) reader: Reader,
    /// Which reader this is; one that came back takes the place of the one before.
    visit: u64,
}

struct Kept {
    bytes_max: usize,
    /// Each event with the byte after it.
    ends: Vec<(Ulid, usize)>,
}

/// Who reads.
pub(crate) enum Reader {
    /// Somebody, who may wait to be woken.
    Here(Option<Waker>),
    /// Nobody, and somebody may come back.
    Away,
}

impl Buffer {
    pub(crate) fn new(kept_bytes_max: Option<usize>) -> Self {
        let kept = kept_bytes_max.map(|bytes_max| Kept { bytes_max, ends: Vec::new() });
        Self { bytes: Vec::new(), taken: 0, waiting_count: 0, kept, reader: Reader::Here(None), visit: 0 }
    }

    /// Whether the agent need not wait.
    pub(crate) fn has_room(&self) -> bool {
        let away = matches!(self.reader, Reader::Away);
        let waiting = self.bytes.len() - self.taken;
        away && self.kept.is_some() || self.waiting_count < WAITING_COUNT_MAX && waiting < WAITING_BYTES_MAX
    }

    /// Lets `write` append the bytes of an event, and gives back how many.
    pub(crate) fn push(&mut self, id: Ulid, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<u64> {
        let before = self.bytes.len();
        write(&mut self.bytes)?;
        let end = self.bytes.len();
        self.waiting_count += 1;
        if let Some(kept) = &mut self.kept {
            kept.ends.push((id, end));
            if end > kept.bytes_max {
                self.forget();
            }
        }
        self.wake();
        Ok((end - before) as u64)
    }

    /// Too much to keep: the reader gets what it has not had, and cannot come back.
    fn forget(&mut self) {
        self.kept = None;
        self.bytes.drain(..self.taken);
        self.taken = 0;
    }

    pub(crate) fn wake(&mut self) {
        if let Reader::Here(waker) = &mut self.reader
            && let Some(waker) = waker.take()
        {
            waker.wake();
        }
    }

    /// What is waiting, if anything is.
    pub(crate) fn take(&mut self) -> Option<Bytes> {
        if self.taken == self.bytes.len() {
            return None;
        }
        self.waiting_count = 0;
        if self.kept.is_some() {
            let bytes = Bytes::copy_from_slice(&self.bytes[self.taken..]);
            self.taken = self.bytes.len();
            Some(bytes)
        } else {
            // A copy has just its size; the room to write in stays here, unless it has become large.
            let bytes = Bytes::copy_from_slice(&self.bytes);
            self.bytes.clear();
            self.bytes.shrink_to(ROOM_BYTES_MAX);
            Some(bytes)
        }
    }

    pub(crate) const fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Which reader this is.
    pub(crate) const fn visit(&self) -> u64 {
        self.visit
    }

    /// A reader has gone, and may come back. False where another one has its place already.
    pub(crate) fn leave(&mut self, visit: u64) -> bool {
        let current = self.visit == visit;
        if current {
            self.reader = Reader::Away;
        }
        current
    }

    /// Whether the absence of this reader still lasts.
    pub(crate) const fn is_away_since(&self, visit: u64) -> bool {
        matches!(self.reader, Reader::Away) && self.visit == visit
    }

    /// Goes back to the event after `id`, for a reader that has come back. False where it is no longer kept.
    pub(crate) fn rewind(&mut self, id: Option<Ulid>) -> bool {
        let Some(kept) = &self.kept else { return false };
        let seen = kept.ends.partition_point(|(known, _)| Some(*known) <= id);
        self.taken = if seen == 0 { 0 } else { kept.ends[seen - 1].1 };
        self.waiting_count = kept.ends.len() - seen;
        self.visit += 1;
        self.wake();
        self.reader = Reader::Here(None);
        true
    }
}
