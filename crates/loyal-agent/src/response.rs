//! Where an agent says what it says: the response of one run, under the method names of the Python framework.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

mod buffer;
mod state;

pub(crate) use buffer::{Encoding, Wire};
use state::State;
pub(crate) use state::{Counts, Finish};

use crate::event::{Bounds, Chunk, Content, Document, Event, Fault, Metadata};
use crate::ulid::Ulids;
use crate::{Error, Result};

/// Emits the events of one response. Clones share one state.
#[derive(Clone)]
pub struct ResponseHandler(pub(crate) Arc<Shared>);

/// What the agent's side and the connection's side share.
pub(crate) struct Shared {
    pub(crate) state: Mutex<State>,
    /// The reader took what was waiting.
    room: Notify,
    cancel: CancellationToken,
    stall: Duration,
}

/// What a new response needs.
pub(crate) struct Start {
    pub(crate) source: String,
    pub(crate) ids: Ulids,
    pub(crate) encoding: Box<dyn Encoding>,
    pub(crate) bounds: Bounds,
    /// How long an emission waits for a slow reader.
    pub(crate) stall: Duration,
    /// Bytes to hold for a reader that comes back; none where the response is not to be resumed.
    pub(crate) kept_bytes_max: Option<usize>,
    /// Whether to collect the events for a history.
    pub(crate) collect: bool,
}

impl ResponseHandler {
    pub(crate) fn new(start: Start) -> Self {
        let stall = start.stall;
        let state = Mutex::new(State::new(start));
        Self(Arc::new(Shared { state, room: Notify::new(), cancel: CancellationToken::new(), stall }))
    }

    /// Emits one event of text or of JSON as the whole response.
    ///
    /// # Errors
    /// Those of [`Self::emit_text_block`] and [`Self::emit_json`].
    pub async fn respond(&self, name: &str, answer: impl Into<Answer>) -> Result<()> {
        match answer.into() {
            Answer::Text(text) => self.emit(name, None, || Content::Text(text)).await?,
            Answer::Json(value) => self.emit_json(name, &value).await?,
        }
        self.complete().await
    }

    /// Emits a whole text.
    ///
    /// # Errors
    /// [`Error::BadEventName`]; [`Error::ResponseClosed`] after [`Self::complete`]; [`Error::TooLarge`], which ends
    /// the response; [`Error::Cancelled`] or [`Error::Stalled`] where nobody reads any more.
    pub async fn emit_text_block(&self, name: &str, text: impl Into<String>) -> Result<()> {
        self.emit(name, None, || Content::Text(text.into())).await
    }

    /// Emits a value that serializes to an object.
    ///
    /// # Errors
    /// [`Error::NoObject`], and those of [`Self::emit_text_block`].
    pub async fn emit_json(&self, name: &str, value: &(impl Serialize + ?Sized + Sync)) -> Result<()> {
        let document = Document::new(value)?;
        self.emit(name, None, || Content::Json(document)).await
    }

    /// Emits any content, with facts beside it.
    ///
    /// # Errors
    /// Those of [`Self::emit_text_block`]; [`Error::ResponseClosed`] for a chunk or for `done`, which have methods of
    /// their own.
    pub async fn emit_with(&self, name: &str, content: Content, metadata: Metadata) -> Result<()> {
        if matches!(content, Content::Chunk(_) | Content::Done(_)) {
            return Err(Error::ResponseClosed);
        }
        self.emit(name, Some(metadata), || content).await
    }

    /// Begins a text that comes in pieces. Several may be under way.
    ///
    /// # Errors
    /// [`Error::BadEventName`], or [`Error::ResponseClosed`] after [`Self::complete`].
    pub fn create_text_stream(&self, name: &str) -> Result<TextStream> {
        Event::check_name(name)?;
        let (index, id) = self.lock().open_stream(name)?;
        Ok(TextStream { out: self.clone(), name: name.to_owned(), index, id })
    }

    /// Emits an error. It does not end the response.
    ///
    /// # Errors
    /// Those of [`Self::emit_json`].
    pub async fn emit_error(
        &self,
        message: impl Into<String>,
        code: u16,
        details: Option<&serde_json::Value>,
    ) -> Result<()> {
        let details = details.map(Document::new).transpose()?;
        let fault = Fault { message: message.into(), code: code.into(), details };
        self.emit("error", None, || Content::Error(fault)).await
    }

    /// Closes the streams that are open and ends the response. A second time it does nothing.
    ///
    /// # Errors
    /// None today; a future that returns a result reads alike everywhere.
    pub async fn complete(&self) -> Result<()> {
        self.finish(Finish::Plain);
        Ok(())
    }

    /// As [`Self::complete`], with facts about the run in the member `loyal` of `done`.
    ///
    /// # Errors
    /// [`Error::NoObject`].
    pub async fn complete_with(&self, facts: &(impl Serialize + ?Sized + Sync)) -> Result<()> {
        self.finish(Finish::With(Document::new(facts)?));
        Ok(())
    }

    /// Whether the response has ended.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.lock().is_complete()
    }

    /// Resolves when whoever asked has gone, or the run was ended from outside. The run's future is dropped then too;
    /// this is for work that was handed to other threads.
    pub async fn cancelled(&self) {
        self.0.cancel.cancelled().await;
    }

    /// A token that is cancelled with the run, for the work it starts elsewhere.
    #[must_use]
    pub fn cancellation(&self) -> CancellationToken {
        self.0.cancel.child_token()
    }

    pub(crate) fn cancel(&self) {
        self.0.cancel.cancel();
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.cancel.is_cancelled()
    }

    pub(crate) fn finish(&self, finish: Finish) {
        self.lock().finish(finish);
        self.0.room.notify_waiters();
    }

    /// The reader has taken what was waiting.
    pub(crate) fn made_room(&self) {
        self.0.room.notify_waiters();
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing of ours panics while it holds the lock, and half an event is never in the buffer.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn emit(
        &self,
        name: &str,
        metadata: Option<Metadata>,
        content: impl FnOnce() -> Content,
    ) -> Result<()> {
        self.wait_for_room(None).await?.push(name, metadata, content())
    }

    /// The state once another event fits.
    async fn wait_for_room(&self, stream: Option<usize>) -> Result<MutexGuard<'_, State>> {
        let mut stalled = None;
        loop {
            let room = self.0.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if self.is_cancelled() {
                return Err(Error::Cancelled);
            }
            if let Some(state) = self.ready(stream)? {
                return Ok(state);
            }
            // Begun at the first wait: an emission that finds room asks for no time.
            let stalled = stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.0.stall)));
            tokio::select! {
                () = &mut room => {}
                () = self.0.cancel.cancelled() => return Err(Error::Cancelled),
                () = stalled.as_mut() => {
                    self.cancel();
                    return Err(Error::Stalled { after: self.0.stall });
                }
            }
        }
    }

    fn ready(&self, stream: Option<usize>) -> Result<Option<MutexGuard<'_, State>>> {
        let state = self.lock();
        state.check_open(stream)?;
        Ok(state.has_room().then_some(state))
    }
}

impl fmt::Debug for ResponseHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseHandler").field("is_complete", &self.is_complete()).finish_non_exhaustive()
    }
}

/// A text that comes in pieces.
#[derive(Debug)]
pub struct TextStream {
    out: ResponseHandler,
    name: String,
    index: usize,
    id: String,
}

impl TextStream {
    /// Its identifier on the wire.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Emits a piece; it may be empty.
    ///
    /// # Errors
    /// [`Error::StreamClosed`] after [`Self::complete`], and those of [`ResponseHandler::emit_text_block`].
    pub async fn emit_chunk(&self, text: impl Into<String>) -> Result<()> {
        let mut state = self.out.wait_for_room(Some(self.index)).await?;
        let chunk = Chunk { stream_id: self.id.clone(), is_complete: false, text: text.into() };
        state.push(&self.name, None, Content::Chunk(chunk))
    }

    /// Ends the text. A second time it does nothing.
    ///
    /// # Errors
    /// Those of [`ResponseHandler::emit_text_block`].
    pub async fn complete(&self) -> Result<()> {
        match self.out.wait_for_room(Some(self.index)).await {
            Ok(mut state) => state.close_stream(self.index),
            Err(Error::StreamClosed { .. } | Error::ResponseClosed) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether the text has ended.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.out.lock().check_open(Some(self.index)).is_err()
    }
}

/// A whole response: a text, or a value that must be an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A text.
    Text(String),
    /// An object.
    Json(serde_json::Value),
}

impl From<String> for Answer {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Answer {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<serde_json::Value> for Answer {
    fn from(value: serde_json::Value) -> Self {
        Self::Json(value)
    }
}
