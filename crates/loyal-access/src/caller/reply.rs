//! A reply as it comes: whole, or event by event, with its receipt verified at the end.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::Response;
use hyper::header::CONTENT_TYPE;
use serde_json::Value;

use super::{Ask, Caller, Sent, read_body, receipt_of};
use crate::document::{self, HandedReceipt};
use crate::outbound;
use crate::payment::{PAYMENT_RESPONSE, Settlement};
use crate::request::reply_text;
use crate::sse::Events;
use crate::wallet::{Pending, Record};
use crate::{Error, Result};

/// What ends a stream of OpenAI's API.
const DONE: &str = "[DONE]";

/// A reply that is being paid for. Dropped before its end, it makes the host stop.
#[derive(Debug)]
pub struct Reply {
    flow: Flow,
    record: Option<Record>,
}

#[derive(Debug)]
enum Flow {
    Whole(Option<Bytes>),
    Stream(Box<Stream>),
    Ended,
}

/// A part of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// The whole body.
    Whole(Bytes),
    /// The data of one event of a stream, as JSON.
    Event(String),
}

struct Stream {
    caller: Caller,
    ask: Ask,
    pending: Pending,
    body: outbound::Reply,
    events: Events,
    /// The text on this connection, and how many of its bytes were given out before it broke.
    text: String,
    given: String,
    /// Whether what was given out can be told apart from what comes again: only text can.
    is_text_alone: bool,
    /// How often it broke off.
    again_count: u32,
    /// Whether the model's last word came.
    is_finished: bool,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("invocation", &self.pending.id).finish_non_exhaustive()
    }
}

impl Reply {
    /// Takes an answer: one that comes whole is read and verified here.
    pub(super) async fn begin(
        caller: Caller,
        ask: Ask,
        pending: Pending,
        response: Response<outbound::Reply>,
    ) -> Result<Self> {
        if is_stream(&response) {
            return Ok(Self {
                flow: Flow::Stream(Box::new(Stream::new(caller, ask, pending, response))),
                record: None,
            });
        }
        let (mut response, mut again_count) = (response, 0);
        loop {
            let (head, body) = response.into_parts();
            match read_body(body).await {
                Ok(body) => {
                    let handed = receipt_of(&head.headers);
                    let settlement = head.headers.get(PAYMENT_RESPONSE);
                    let settlement =
                        settlement.map(|value| document::read_header(PAYMENT_RESPONSE, value.as_bytes()));
                    let Some(handed) = handed else {
                        if caller.inner.settings.takes_without_receipt {
                            caller.drop_pending(&ask, false).await?;
                            return Ok(Self { flow: Flow::Whole(Some(body)), record: None });
                        }
                        return Err(Error::Misbehaved {
                            why: "the host gave no receipt with its answer".to_owned(),
                        });
                    };
                    let text: Value = serde_json::from_slice(&body).unwrap_or_default();
                    let settlement: Option<Settlement> = settlement.transpose()?;
                    let found = (&handed, settlement.as_ref());
                    let record = caller.settle(&ask, &pending, found, Some(&reply_text(&text))).await?;
                    return Ok(Self { flow: Flow::Whole(Some(body)), record: Some(record) });
                }
                Err(error) if again_count >= caller.inner.settings.attempts_max => {
                    return Err(caller.broken(&ask, format!("the answer broke off: {error}")));
                }
                // The same invocation gets the same answer, and is paid once.
                Err(_) => match caller.send(&ask, &pending).await? {
                    Sent::Answered(again) => (response, again_count) = (again, again_count + 1),
                    Sent::Again => return Err(caller.broken(&ask, "the answer broke off")),
                },
            }
        }
    }

    /// Whether it comes event by event.
    #[must_use]
    pub const fn is_stream(&self) -> bool {
        matches!(self.flow, Flow::Stream(_))
    }

    /// Its receipt, once it is verified and in the wallet: at once where the reply came whole, else at its end.
    #[must_use]
    pub const fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    /// The next piece, or `None` at the end, before which the receipt was verified.
    ///
    /// # Errors
    /// [`Error::Connection`] where the reply broke off and did not come again; [`Error::Misbehaved`].
    pub async fn next(&mut self) -> Result<Option<Piece>> {
        match &mut self.flow {
            Flow::Whole(body) => Ok(body.take().map(Piece::Whole)),
            Flow::Ended => Ok(None),
            Flow::Stream(stream) => {
                let next = stream.next(&mut self.record).await;
                if !matches!(next, Ok(Some(_))) {
                    self.flow = Flow::Ended;
                }
                next
            }
        }
    }
}

impl Stream {
    fn new(caller: Caller, ask: Ask, pending: Pending, response: Response<outbound::Reply>) -> Self {
        Self {
            caller,
            ask,
            pending,
            body: response.into_body(),
            events: Events::default(),
            text: String::new(),
            given: String::new(),
            is_text_alone: true,
            again_count: 0,
            is_finished: false,
        }
    }

    async fn next(&mut self, record: &mut Option<Record>) -> Result<Option<Piece>> {
        loop {
            while let Some(data) = self.events.pop() {
                if data == DONE {
                    // Without a receipt nothing is settled: the next use of the channel asks for it.
                    return if record.is_some() { self.end() } else { Err(self.withheld()) };
                }
                if let Some(piece) = self.event(data, record).await? {
                    return Ok(Some(piece));
                }
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(bytes) = frame.data_ref() {
                        self.events.push(bytes)?;
                    }
                }
                // All that counts is here.
                None | Some(Err(_)) if record.is_some() => return self.end(),
                None | Some(Err(_)) => self.again().await?,
            }
        }
    }

    /// Takes one event; answers what of it is to be given out.
    async fn event(&mut self, data: String, record: &mut Option<Record>) -> Result<Option<Piece>> {
        let Ok(mut chunk) = serde_json::from_str::<Value>(&data) else {
            return Err(Error::Misbehaved {
                why: "the host's stream holds an event that is no JSON".to_owned(),
            });
        };
        if let Some(loyal) = chunk.get_mut("loyal") {
            let wrong = |error: serde_json::Error| Error::Misbehaved {
                why: format!("the host's stream holds something that is no receipt: {error}"),
            };
            let handed: HandedReceipt = serde_json::from_value(loyal["receipt"].take()).map_err(wrong)?;
            let settlement: Settlement =
                serde_json::from_value(loyal["payment_response"].take()).map_err(wrong)?;
            let found = (&handed, Some(&settlement));
            *record = Some(self.caller.settle(&self.ask, &self.pending, found, Some(&self.text)).await?);
            // The count of tokens comes along; it is given to whoever asked for it.
            let wants_usage = self.ask.request.body()["stream_options"]["include_usage"] == Value::Bool(true);
            if !wants_usage || !chunk["usage"].is_object() {
                return Ok(None);
            }
            if let Some(fields) = chunk.as_object_mut() {
                fields.remove("loyal");
            }
            return Ok(Some(Piece::Event(chunk.to_string())));
        }
        if let Some(error) = chunk.get("error").filter(|error| !error.is_null()) {
            let text = |name: &str| error[name].as_str().map(str::to_owned);
            return Err(Error::Denied {
                status: 502,
                code: text("code").unwrap_or_else(|| "server_error".to_owned()),
                message: text("message").unwrap_or_else(|| "the answer could not be finished".to_owned()),
                retry_after: None,
            });
        }
        let before = self.text.len();
        self.text.push_str(text_of(&chunk));
        self.is_text_alone &= is_text_alone(&chunk);
        self.is_finished |= chunk["choices"][0]["finish_reason"].is_string();
        if self.again_count == 0 {
            self.given.push_str(text_of(&chunk));
            return Ok(Some(Piece::Event(data)));
        }
        let known = self.given.len().min(self.text.len());
        if self.text.as_bytes()[..known] != self.given.as_bytes()[..known] {
            return Err(Error::Misbehaved {
                why: "the host answers one invocation with two texts".to_owned(),
            });
        }
        if self.text.len() <= self.given.len() && !is_last(&chunk) {
            return Ok(None);
        }
        let new = self.text.get(before.max(self.given.len())..).unwrap_or_default().to_owned();
        self.given = self.text.clone();
        set_text(&mut chunk, new);
        Ok(Some(Piece::Event(chunk.to_string())))
    }

    /// The stream broke off: the same invocation again, from its beginning, without what was given out.
    async fn again(&mut self) -> Result<()> {
        self.again_count += 1;
        if !self.is_text_alone || self.again_count > self.caller.inner.settings.attempts_max {
            return Err(self.caller.broken(&self.ask, "the answer broke off"));
        }
        match self.caller.send(&self.ask, &self.pending).await? {
            Sent::Answered(response) if is_stream(&response) => {
                self.body = response.into_body();
                (self.events, self.text) = (Events::default(), String::new());
                Ok(())
            }
            _ => Err(self.caller.broken(&self.ask, "the answer broke off")),
        }
    }

    /// The end, paid for. A host that had given its caller up before it came back has the rest of the answer no more.
    fn end(&self) -> Result<Option<Piece>> {
        if self.again_count == 0 || self.is_finished {
            return Ok(None);
        }
        let why = "the answer broke off and the host made no more of it; what came is paid for, the same question begins anew";
        Err(self.caller.broken(&self.ask, why))
    }

    fn withheld(&self) -> Error {
        let id = self.pending.id;
        Error::Misbehaved { why: format!("the host ended its answer to {id} without a receipt") }
    }
}

fn is_stream(response: &Response<outbound::Reply>) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("text/event-stream"))
}

/// The text of an event: of its choice's delta, or of the choice itself.
pub(super) fn text_of(chunk: &Value) -> &str {
    let choice = &chunk["choices"][0];
    choice["delta"]["content"].as_str().or_else(|| choice["text"].as_str()).unwrap_or_default()
}

fn set_text(chunk: &mut Value, text: String) {
    let Some(choice) = chunk.pointer_mut("/choices/0") else { return };
    if choice["delta"]["content"].is_string() {
        choice["delta"]["content"] = text.into();
    } else if choice["text"].is_string() {
        choice["text"] = text.into();
    }
}

fn is_text_alone(chunk: &Value) -> bool {
    let delta = &chunk["choices"][0]["delta"];
    delta.get("tool_calls").is_none() && delta.get("function_call").is_none()
}

fn is_last(chunk: &Value) -> bool {
    chunk["choices"][0]["finish_reason"].is_string() || chunk.get("usage").is_some_and(Value::is_object)
}
