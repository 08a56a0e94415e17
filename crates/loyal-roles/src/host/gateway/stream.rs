//! Replies told piece by piece: passed on as they come, charged and written down before the last piece.
//!
//! A caller whose connection ends may come back for the whole reply ([`super::absence`]). One that does not pays for what it
//! was sent.

use std::convert::Infallible;
use std::ops::ControlFlow;

use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use futures_util::{StreamExt as _, stream};
use loyal_access::gate::{Admitted, Reply};
use loyal_access::sse::Events;
use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::Visit;
use super::absence::Absence;
use super::reply::usage;

/// Pieces that wait for a slow caller; then what answers waits too.
const PIECES_MAX: usize = 16;
/// The most bytes of a reply that is kept for those who ask again.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// Passes a stream on.
pub(super) fn respond(admitted: Admitted, response: Response, visit: Visit) -> Response {
    let (to, pieces) = channel(PIECES_MAX);
    tokio::spawn(Course::new(to, visit).run(admitted, response));
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache")];
    (headers, Body::from_stream(bodies(pieces))).into_response()
}

fn bodies(pieces: Receiver<Bytes>) -> impl stream::Stream<Item = Result<Bytes, Infallible>> + Send {
    stream::unfold(pieces, async |mut pieces| Some((Ok(pieces.recv().await?), pieces)))
}

/// A stream on its way.
struct Course {
    visit: Visit,
    to: Sender<Bytes>,
    text: String,
    pieces: u32,
    usage: Option<(u32, u32)>,
    /// The chunk with the count of tokens, held back to carry the receipt.
    last: Option<Value>,
    kept: Vec<u8>,
    /// Since the caller's connection ended.
    away: Option<Away>,
}

/// A caller that is away, and how far it was told.
struct Away {
    absence: Absence,
    text_bytes: usize,
    pieces: u32,
    kept_bytes: usize,
}

/// How a stream ended.
enum End {
    /// With its last word.
    Whole,
    /// The caller went away and did not come back.
    Left,
    /// What answers broke off, or said that it failed.
    Broken,
}

impl Course {
    const fn new(to: Sender<Bytes>, visit: Visit) -> Self {
        Self {
            visit,
            to,
            text: String::new(),
            pieces: 0,
            usage: None,
            last: None,
            kept: Vec::new(),
            away: None,
        }
    }

    async fn run(mut self, admitted: Admitted, response: Response) {
        let mut end = self.pass_on(response).await;
        // Whoever was told every word owes for every word.
        if matches!(end, End::Whole)
            && let Some(away) = &mut self.away
            && away.text_bytes < self.text.len()
            && !away.absence.has_asked_again().await
        {
            end = End::Left;
        }
        match end {
            // Nothing is charged: the reservation goes with `admitted`.
            End::Broken => self.visit.break_off(),
            End::Left => {
                self.visit.leave();
                self.forget_unsent();
                if self.pieces > 0 {
                    self.charge(admitted, end).await;
                }
            }
            End::Whole => self.charge(admitted, end).await,
        }
    }

    /// Passes on every event but the last ones.
    async fn pass_on(&mut self, response: Response) -> End {
        let mut body = response.into_body().into_data_stream();
        let mut events = Events::default();
        loop {
            while let Some(data) = events.pop() {
                if data == "[DONE]" {
                    return End::Whole;
                }
                if self.piece(&data).await.is_break() {
                    return End::Broken;
                }
            }
            // A reply too long to be kept could not be told again.
            if self.away.is_some() && self.kept.len() > KEPT_BYTES_MAX {
                return End::Left;
            }
            let bytes = match &mut self.away {
                None => tokio::select! {
                    bytes = body.next() => bytes,
                    () = self.to.closed() => {
                        self.begin_absence();
                        continue;
                    }
                },
                Some(away) => tokio::select! {
                    bytes = body.next() => bytes,
                    () = away.absence.over() => return End::Left,
                },
            };
            match bytes {
                Some(Ok(bytes)) if events.push(&bytes).is_ok() => {}
                _ => return End::Broken,
            }
        }
    }

    fn begin_absence(&mut self) {
        self.away = Some(Away {
            absence: self.visit.absence(),
            text_bytes: self.text.len(),
            pieces: self.pieces,
            kept_bytes: self.kept.len(),
        });
    }

    /// What was made after the caller went away was for nobody.
    fn forget_unsent(&mut self) {
        if let Some(away) = &self.away {
            self.text.truncate(away.text_bytes);
            self.kept.truncate(away.kept_bytes);
            self.pieces = away.pieces;
            (self.usage, self.last) = (None, None);
        }
    }

    async fn piece(&mut self, data: &str) -> ControlFlow<()> {
        let Ok(chunk) = serde_json::from_str::<Value>(data) else {
            self.send(data).await;
            return ControlFlow::Continue(());
        };
        if chunk.get("error").is_some_and(|error| !error.is_null()) {
            self.send(data).await;
            return ControlFlow::Break(());
        }
        self.usage = usage(&chunk).or(self.usage);
        let choice = &chunk["choices"][0];
        if choice.is_null() {
            self.last = Some(chunk);
            return ControlFlow::Continue(());
        }
        let text = choice["delta"]["content"].as_str().or_else(|| choice["text"].as_str());
        self.send(data).await;
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.text.push_str(text);
            self.pieces = self.pieces.saturating_add(1);
        }
        ControlFlow::Continue(())
    }

    /// Tells the caller, where it is there, and keeps what was told.
    async fn send(&mut self, data: &str) {
        let event = Bytes::from(format!("data: {data}\n\n"));
        if self.away.is_none() && self.to.send(event.clone()).await.is_err() {
            self.begin_absence();
        }
        if self.kept.len() <= KEPT_BYTES_MAX {
            self.kept.extend_from_slice(&event);
        }
    }

    /// Charges for what was made. A caller that went away pays for what it was sent, each piece counted as one token.
    async fn charge(mut self, admitted: Admitted, end: End) {
        let (tokens_in, tokens_out) = match (&end, self.usage) {
            (_, Some(usage)) => usage,
            (End::Left, None) => (0, self.pieces),
            (_, None) => return,
        };
        let keeper = admitted.keeper();
        let text = std::mem::take(&mut self.text);
        let Ok(settled) = admitted.settle(Reply { text: &text, tokens_in, tokens_out }).await else { return };
        self.visit.charge(&settled);
        let mut last = self.last.take().unwrap_or_else(|| json!({ "object": "chat.completion.chunk" }));
        last["choices"] = json!([]);
        last["loyal"] = json!({ "payment_response": settled.payment, "receipt": settled.receipt });
        self.send(&last.to_string()).await;
        self.send("[DONE]").await;
        if self.kept.len() <= KEPT_BYTES_MAX {
            keeper.keep(std::mem::take(&mut self.kept).into());
        }
    }
}
