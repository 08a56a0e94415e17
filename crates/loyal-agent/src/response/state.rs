//! The state of one response: what is open, what was said, what is left to say.

use std::task::{Context, Poll};

use bytes::Bytes;

use super::Start;
use super::buffer::{Buffer, Encoding, Reader};
use crate::event::{Bounds, CLOSING, Chunk, Content, Document, Event, Fault, Metadata};
use crate::ulid::Ulids;
use crate::{Error, Result};

/// Behind the lock of a response. Whatever ends it does so here, at once and without waiting for room.
pub(crate) struct State {
    source: String,
    ids: Ulids,
    encoding: Box<dyn Encoding>,
    bounds: Bounds,
    pub(crate) buffer: Buffer,
    streams: Vec<Stream>,
    complete: bool,
    event_count: u64,
    bytes: u64,
    collected: Option<Vec<Event>>,
    fault_count: u64,
}

struct Stream {
    id: String,
    name: String,
    open: bool,
}

/// How a response ends.
#[derive(Debug)]
pub(crate) enum Finish {
    /// As it should.
    Plain,
    /// With facts about the run in `done`.
    With(Document),
    /// With an error before `done`.
    Fault(Fault),
}

impl State {
    pub(crate) fn new(start: Start) -> Self {
        Self {
            source: start.source,
            ids: start.ids,
            encoding: start.encoding,
            bounds: start.bounds,
            buffer: Buffer::new(start.kept_bytes_max),
            streams: Vec::new(),
            complete: false,
            event_count: 0,
            bytes: 0,
            collected: start.collect.then(Vec::new),
            fault_count: 0,
        }
    }

    pub(crate) const fn is_complete(&self) -> bool {
        self.complete
    }

    pub(crate) fn has_room(&self) -> bool {
        self.buffer.has_room()
    }

    /// Whether the response, and a stream of it, can still say something.
    pub(crate) fn check_open(&self, stream: Option<usize>) -> Result<()> {
        if let Some(stream) = stream.and_then(|index| self.streams.get(index)).filter(|stream| !stream.open) {
            return Err(Error::StreamClosed { stream_id: stream.id.clone() });
        }
        if self.complete { Err(Error::ResponseClosed) } else { Ok(()) }
    }

    pub(crate) fn open_stream(&mut self, name: &str) -> Result<(usize, String)> {
        self.check_open(None)?;
        if self.streams.len() as u64 >= self.bounds.event_count_max {
            return self
                .refuse(Error::TooLarge { what: "count of streams", max: self.bounds.event_count_max });
        }
        let id = self.ids.stream_id();
        self.streams.push(Stream { id: id.clone(), name: name.to_owned(), open: true });
        Ok((self.streams.len() - 1, id))
    }

    pub(crate) fn close_stream(&mut self, index: usize) -> Result<()> {
        let Some(stream) = self.streams.get_mut(index).filter(|stream| stream.open) else { return Ok(()) };
        stream.open = false;
        let (id, name) = (stream.id.clone(), stream.name.clone());
        let chunk = Chunk { stream_id: id, is_complete: true, text: CLOSING.to_owned() };
        self.push(&name, None, Content::Chunk(chunk))
    }

    /// Says something. Too much of it ends the response with an error.
    pub(crate) fn push(&mut self, name: &str, metadata: Option<Metadata>, content: Content) -> Result<()> {
        self.check_open(None)?;
        let Bounds { response_bytes_max, event_count_max, .. } = self.bounds;
        if self.event_count >= event_count_max {
            return self.refuse(Error::TooLarge { what: "count of events", max: event_count_max });
        }
        if self.bytes >= response_bytes_max {
            return self.refuse(Error::TooLarge { what: "response", max: response_bytes_max });
        }
        match self.write(name, metadata, content) {
            Err(error @ Error::TooLarge { .. }) => self.refuse(error),
            result => result,
        }
    }

    fn refuse<T>(&mut self, error: Error) -> Result<T> {
        let fault = Fault { message: format!("The agent said too much: {error}."), code: 413, details: None };
        self.finish(Finish::Fault(fault));
        Err(error)
    }

    fn write(&mut self, name: &str, metadata: Option<Metadata>, content: Content) -> Result<()> {
        // A refused name shall not use up an identifier.
        Event::check_name(name)?;
        let id = self.ids.draw();
        let event = Event { id, source: self.source.clone(), name: name.to_owned(), metadata, content };
        let Self { encoding, bounds, buffer, .. } = self;
        self.bytes += buffer.push(id, |bytes| encoding.encode(&event, bytes, bounds.event_bytes_max))?;
        self.event_count += 1;
        self.fault_count += u64::from(matches!(event.content, Content::Error(_)));
        if let Some(collected) = &mut self.collected {
            collect(collected, event);
        }
        Ok(())
    }

    /// Closes what is open, in the order it was opened, and says `done`. A second time it does nothing.
    pub(crate) fn finish(&mut self, finish: Finish) {
        if self.complete {
            return;
        }
        // Our names are good, and a fault or a closing chunk is small unless somebody set absurd bounds.
        let facts = match finish {
            Finish::Plain => None,
            Finish::With(facts) => Some(facts),
            Finish::Fault(fault) => {
                let _ = self.write("error", None, Content::Error(fault));
                None
            }
        };
        let open: Vec<_> = self.streams.iter_mut().filter(|stream| stream.open).collect();
        let open: Vec<_> = open
            .into_iter()
            .map(|stream| {
                stream.open = false;
                (stream.id.clone(), stream.name.clone())
            })
            .collect();
        for (stream_id, name) in open {
            let chunk = Chunk { stream_id, is_complete: true, text: CLOSING.to_owned() };
            let _ = self.write(&name, None, Content::Chunk(chunk));
        }
        let _ = self.write("done", None, Content::Done(facts));
        self.complete = true;
        self.buffer.wake();
    }

    /// The next bytes for a reader; `None` at the end, and where another reader has its place.
    pub(crate) fn poll(&mut self, context: &Context<'_>, visit: u64) -> Poll<Option<Bytes>> {
        if visit != self.buffer.visit() {
            return Poll::Ready(None);
        }
        if let Some(bytes) = self.buffer.take() {
            return Poll::Ready(Some(bytes));
        }
        if self.complete {
            return Poll::Ready(None);
        }
        self.buffer.reader = Reader::Here(Some(context.waker().clone()));
        Poll::Pending
    }

    /// What was said, for a history.
    pub(crate) fn collected(&mut self) -> Option<Vec<Event>> {
        let mut collected = self.collected.take()?;
        for event in &mut collected {
            // It grew piece by piece, and is kept for long.
            if let Content::Chunk(chunk) = &mut event.content {
                chunk.text.shrink_to_fit();
            }
        }
        Some(collected)
    }

    pub(crate) const fn counts(&self) -> Counts {
        Counts { events: self.event_count, bytes: self.bytes, faults: self.fault_count }
    }
}

/// How much was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    pub(crate) faults: u64,
}

/// Keeps an event for a history; the pieces of a text become one.
fn collect(collected: &mut Vec<Event>, event: Event) {
    if event.is_done() {
        return;
    }
    if let Content::Chunk(piece) = &event.content {
        let same = |known: &&mut Event| matches!(&known.content, Content::Chunk(chunk) if chunk.stream_id == piece.stream_id);
        if let Some(Content::Chunk(whole)) =
            collected.iter_mut().rev().find(same).map(|known| &mut known.content)
        {
            whole.is_complete = piece.is_complete;
            if !(piece.is_complete && piece.text == CLOSING) {
                whole.text.push_str(&piece.text);
            }
            return;
        }
    }
    collected.push(event);
}
