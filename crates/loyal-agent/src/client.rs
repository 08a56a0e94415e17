//! Asks an agent, of ours or of anybody who speaks the wire, and reads what it says as it says it.

use std::collections::HashMap;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request as HttpRequest, StatusCode};
use loyal_types::Origin;
use tokio::time::Sleep;

mod reply;

pub use reply::Reply;

use crate::event::{Bounds, Decoder};
use crate::outbound::{self, Reply as Body};
use crate::serve::Card;
use crate::session::Request;
use crate::{Error, Event, Result, Ulid};

pub use crate::outbound::Reach;

/// What a refusal's body is read of; bytes.
const REFUSAL_BYTES_MAX: usize = 4096;
/// How often a response that was cut is asked for again.
const RESUME_COUNT_MAX: u32 = 3;

/// What a client bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// What a response may hold.
    pub response: Bounds,
    /// How long nothing may come.
    pub idle: Duration,
    /// How long the whole may take.
    pub total: Duration,
    /// Which machines may be asked.
    pub reach: Reach,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            response: Bounds::default(),
            idle: Duration::from_secs(60),
            total: Duration::from_secs(600),
            reach: Reach::Public,
        }
    }
}

/// Asks agents. It follows no redirects.
#[derive(Debug, Default)]
pub struct Client {
    limits: Limits,
    /// An agent is asked for its card once; none is an answer too.
    cards: std::sync::Mutex<HashMap<String, Option<Card>>>,
}

/// Asks one question. `url` is the agent's address, with or without `/assist`.
///
/// # Errors
/// [`Error::BadAddress`], [`Error::NotPublic`], [`Error::Connection`], or [`Error::Refused`].
pub async fn run(url: &str, request: &Request, limits: Limits) -> Result<Events> {
    Client::new(limits).run(url, request).await
}

impl Client {
    /// A client within bounds.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, cards: std::sync::Mutex::default() }
    }

    /// As [`run`].
    ///
    /// # Errors
    /// As [`run`].
    pub async fn run(&self, url: &str, request: &Request) -> Result<Events> {
        self.begin(url, request, None).await
    }

    /// As [`run`], and asks for the rest where the connection breaks. `secret` must be new, random, and 16 to 128
    /// visible characters; an agent that does not know how to resume ignores it.
    ///
    /// # Errors
    /// As [`run`].
    pub async fn run_resumable(&self, url: &str, request: &Request, secret: &str) -> Result<Events> {
        self.begin(url, request, Some(secret)).await
    }

    async fn begin(&self, url: &str, request: &Request, secret: Option<&str>) -> Result<Events> {
        let (origin, base) = base(url)?;
        let body =
            serde_json::to_vec(request).map_err(|error| Error::BadAddress { why: error.to_string() })?;
        let path = format!("{base}/assist");
        let mut http = http_request(Method::POST, &path, body)?;
        let headers = http.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let resume = match (secret, request.session.as_ref()) {
            (Some(secret), Some(session)) => {
                let secret = HeaderValue::from_str(secret)
                    .map_err(|error| Error::BadAddress { why: error.to_string() })?;
                headers.insert(RESUME_HEADER, secret.clone());
                let path = format!("{base}/runs/{}", session.request_id());
                Some(Resume { path, secret, count: 0 })
            }
            _ => None,
        };
        let mut events = Events {
            origin,
            limits: self.limits.clone(),
            deadline: Box::pin(tokio::time::sleep(self.limits.total)),
            decoder: Decoder::new(self.limits.response),
            body: None,
            resume,
            last: None,
            failed: None,
            over: false,
        };
        events.open(http).await?;
        Ok(events)
    }

    /// What an agent says of itself; nothing where it says nothing. It is asked once.
    ///
    /// # Errors
    /// As [`run`], save for [`Error::Refused`]: an agent without a card still works.
    pub async fn card(&self, url: &str) -> Result<Option<Card>> {
        let known = self.cards.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(url).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let (origin, base) = base(url)?;
        let request = http_request(Method::GET, &format!("{base}/agent-card"), Vec::new())?;
        let answer = within(self.limits.idle, outbound::send(&origin, self.limits.reach, request)).await?;
        let found = answer.status() == StatusCode::OK;
        let body = within(self.limits.idle, read_start(&origin, answer.into_body(), 64 << 10)).await?;
        let card: Option<Card> = if found { serde_json::from_slice(&body).ok() } else { None };
        let mut cards = self.cards.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        cards.insert(url.to_owned(), card.clone());
        Ok(card)
    }
}

const RESUME_HEADER: &str = "loyal-resume";

/// The events of one response, as they come.
#[derive(Debug)]
pub struct Events {
    origin: Origin,
    limits: Limits,
    deadline: Pin<Box<Sleep>>,
    decoder: Decoder,
    body: Option<Body>,
    resume: Option<Resume>,
    last: Option<Ulid>,
    /// Told once the events before it are.
    failed: Option<Error>,
    over: bool,
}

#[derive(Debug)]
struct Resume {
    path: String,
    secret: HeaderValue,
    count: u32,
}

impl Events {
    /// The next event; `None` after `done`, and after an error.
    ///
    /// After `done` it looks whether anything follows, for a second at most, so that a caller who cares hears of it.
    ///
    /// # Errors
    /// [`Error::Stalled`], [`Error::TooLate`], [`Error::CutShort`], [`Error::AfterDone`], [`Error::TooLarge`],
    /// [`Error::BadEvent`] or [`Error::Connection`].
    pub async fn next(&mut self) -> Option<Result<Event>> {
        loop {
            if let Some(event) = self.decoder.event() {
                // A resumed run may repeat nothing, whatever it sends.
                if self.resume.as_ref().is_some_and(|resume| resume.count > 0) && Some(event.id) <= self.last
                {
                    continue;
                }
                self.last = Some(event.id);
                return Some(Ok(event));
            }
            if let Some(error) = self.failed.take() {
                return Some(Err(error));
            }
            if self.over {
                return None;
            }
            if let Err(error) = self.step().await {
                match self.recover(error).await {
                    Ok(()) => {}
                    Err(error) => {
                        self.over = true;
                        self.body = None;
                        self.failed = Some(error);
                    }
                }
            }
        }
    }

    /// Reads on: to the next events, or to the end.
    async fn step(&mut self) -> Result<()> {
        let Some(body) = &mut self.body else { return Err(Error::CutShort) };
        let done = self.decoder.is_done();
        let idle = if done { Duration::from_secs(1) } else { self.limits.idle };
        let frame = tokio::select! {
            biased;
            () = self.deadline.as_mut(), if !done => {
                return Err(Error::TooLate { after: self.limits.total });
            }
            frame = tokio::time::timeout(idle, body.frame()) => frame,
        };
        match frame {
            Err(_) if done => self.end(),
            Err(_) => return Err(Error::Stalled { after: idle }),
            Ok(None) => {
                self.decoder.finish()?;
                self.end();
            }
            Ok(Some(Err(_))) if done => self.end(),
            Ok(Some(Err(error))) => {
                return Err(Error::Connection { origin: self.origin.clone(), why: error.to_string() });
            }
            Ok(Some(Ok(frame))) => {
                if let Some(bytes) = frame.data_ref() {
                    self.decoder.push(bytes)?;
                }
            }
        }
        Ok(())
    }

    fn end(&mut self) {
        self.over = true;
        self.body = None;
    }

    async fn open(&mut self, request: HttpRequest<Full<Bytes>>) -> Result<()> {
        let wait = self.limits.idle;
        let answer = tokio::select! {
            biased;
            () = self.deadline.as_mut() => return Err(Error::TooLate { after: self.limits.total }),
            answer = within(wait, outbound::send(&self.origin, self.limits.reach, request)) => answer?,
        };
        let status = answer.status();
        if status != StatusCode::OK {
            let text = within(wait, read_start(&self.origin, answer.into_body(), REFUSAL_BYTES_MAX)).await?;
            let detail = String::from_utf8_lossy(&text).into_owned();
            return Err(Error::Refused { status: status.as_u16(), detail });
        }
        let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if !kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
            let found = kind.unwrap_or("nothing");
            let why = format!("the answer's content-type is {found}, not text/event-stream");
            return Err(Error::Refused { status: 200, detail: why });
        }
        self.body = Some(answer.into_body());
        Ok(())
    }

    /// After a break: asks for the rest, where that was agreed.
    async fn recover(&mut self, error: Error) -> Result<()> {
        let broke = matches!(error, Error::CutShort | Error::Connection { .. });
        let Some(resume) = self.resume.as_mut().filter(|resume| broke && resume.count < RESUME_COUNT_MAX)
        else {
            return Err(error);
        };
        resume.count += 1;
        let after = self.last.map(|id| format!("?after={id}")).unwrap_or_default();
        let mut request = http_request(Method::GET, &format!("{}{after}", resume.path), Vec::new())?;
        request.headers_mut().insert(RESUME_HEADER, resume.secret.clone());
        self.decoder = Decoder::new(self.limits.response);
        self.body = None;
        match self.open(request).await {
            // The agent does not know how: what broke first is what happened.
            Err(Error::Refused { .. }) => Err(error),
            other => other,
        }
    }
}

/// The address without `/assist`.
fn base(url: &str) -> Result<(Origin, String)> {
    let (origin, path) = outbound::split(url)?;
    let path = path.split('?').next().unwrap_or_default().trim_end_matches('/');
    let path = path.strip_suffix("/assist").unwrap_or(path);
    Ok((origin, path.to_owned()))
}

fn http_request(method: Method, path: &str, body: Vec<u8>) -> Result<HttpRequest<Full<Bytes>>> {
    let request = HttpRequest::builder().method(method).uri(path).body(Full::new(Bytes::from(body)));
    request.map_err(|error| Error::BadAddress { why: error.to_string() })
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(limit, work).await.unwrap_or(Err(Error::Stalled { after: limit }))
}

/// The start of a body.
async fn read_start(origin: &Origin, mut body: Body, bytes_max: usize) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Error::Connection { origin: origin.clone(), why: error.to_string() })?;
        let bytes = frame.data_ref().map_or(&[][..], |bytes| bytes);
        let left = bytes_max - text.len();
        text.extend_from_slice(&bytes[..bytes.len().min(left)]);
        if text.len() == bytes_max {
            break;
        }
    }
    Ok(text)
}
