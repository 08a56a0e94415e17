//! The transport "streamable HTTP" over connections of ours: an address that was checked, no redirects, bounded messages.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::common::http_header::{HEADER_LAST_EVENT_ID, HEADER_SESSION_ID};
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
};
use sse_stream::Sse;

use super::connection::MESSAGE_BYTES_MAX;
use crate::Error;
use crate::client::Reach;
use crate::event::Frames;
use crate::outbound::{self, Reply};

type Fault = StreamableHttpError<Error>;

/// Requests of one connection to a server; each has a connection of its own below it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Http(pub(super) Reach);

/// What every request says beside its body.
struct Head {
    session_id: Option<Arc<str>>,
    key: Option<String>,
    custom: HashMap<HeaderName, HeaderValue>,
}

impl Http {
    async fn send(
        self,
        (method, uri): (Method, &str),
        head: Head,
        (accept, more): (&'static str, Option<(&'static str, String)>),
        body: Bytes,
    ) -> Result<Response<Reply>, Fault> {
        let (origin, path) = outbound::split(uri).map_err(Fault::Client)?;
        let mut request = Request::builder().method(method).uri(path).header(header::ACCEPT, accept);
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(key) = head.key {
            request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
        }
        if let Some(id) = head.session_id {
            request = request.header(HEADER_SESSION_ID, &*id);
        }
        if let Some((name, value)) = more {
            request = request.header(name, value);
        }
        for (name, value) in head.custom {
            request = request.header(name, value);
        }
        let bad = |error: hyper::http::Error| Fault::Client(Error::BadAddress { why: error.to_string() });
        let request = request.body(Full::new(body)).map_err(bad)?;
        outbound::send(&origin, self.0, request).await.map_err(Fault::Client)
    }
}

impl StreamableHttpClient for Http {
    type Error = Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        key: Option<String>,
        custom: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Fault> {
        let body = Bytes::from(serde_json::to_vec(&message)?);
        let asks = matches!(message, ClientJsonRpcMessage::Request(_));
        let had_session = session_id.is_some();
        let head = Head { session_id, key, custom };
        let accept = ("text/event-stream, application/json", None);
        let answer = self.send((Method::POST, &uri), head, accept, body).await?;
        let status = answer.status();
        if status == StatusCode::NOT_FOUND && had_session {
            return Err(Fault::SessionExpired);
        }
        let text = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let session_id = text(HEADER_SESSION_ID).map(str::to_owned);
        let kind = text("content-type").unwrap_or_default().to_ascii_lowercase();
        if status.is_success() && !asks {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        if status.is_success() && kind.starts_with("text/event-stream") {
            return Ok(StreamableHttpPostResponse::Sse(messages(answer.into_body()), session_id));
        }
        let body = Limited::new(answer.into_body(), MESSAGE_BYTES_MAX).collect().await;
        let body = body.map_err(|_| Fault::ResponseBodyTooLarge { max_size: MESSAGE_BYTES_MAX })?.to_bytes();
        let message = serde_json::from_slice::<ServerJsonRpcMessage>(&body);
        match message {
            Ok(message @ ServerJsonRpcMessage::Error(_)) => {
                Ok(StreamableHttpPostResponse::Json(message, session_id))
            }
            Ok(message) if status.is_success() => Ok(StreamableHttpPostResponse::Json(message, session_id)),
            _ => {
                let said = String::from_utf8_lossy(&body).chars().take(200).collect::<String>();
                Err(Fault::UnexpectedServerResponse(format!("status {status}: {said}").into()))
            }
        }
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        key: Option<String>,
        custom: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), Fault> {
        let head = Head { session_id: Some(session_id), key, custom };
        let accept = ("application/json", None);
        let answer = self.send((Method::DELETE, &uri), head, accept, Bytes::new()).await?;
        match answer.status() {
            StatusCode::METHOD_NOT_ALLOWED => Err(Fault::ServerDoesNotSupportDeleteSession),
            _ => Ok(()),
        }
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        key: Option<String>,
        custom: HashMap<HeaderName, HeaderValue>,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, Fault> {
        let more = last_event_id.map(|id| (HEADER_LAST_EVENT_ID, id));
        let head = Head { session_id, key, custom };
        let accept = ("text/event-stream", more);
        let answer = self.send((Method::GET, &uri), head, accept, Bytes::new()).await?;
        if answer.status() == StatusCode::METHOD_NOT_ALLOWED {
            return Err(Fault::ServerDoesNotSupportSse);
        }
        if !answer.status().is_success() {
            return Err(Fault::UnexpectedServerResponse(format!("status {}", answer.status()).into()));
        }
        Ok(messages(answer.into_body()))
    }
}

/// The messages of a stream of events. Identifiers are left out, so that no stream is asked for again.
fn messages(body: Reply) -> BoxStream<'static, Result<Sse, SseError>> {
    let state = (body, Frames::new(MESSAGE_BYTES_MAX), VecDeque::new());
    let next = |(mut body, mut frames, mut waiting): (Reply, Frames, VecDeque<Sse>)| async move {
        loop {
            if let Some(message) = waiting.pop_front() {
                return Some((Ok(message), (body, frames, waiting)));
            }
            let piece = match body.frame().await? {
                Ok(piece) => piece.into_data().unwrap_or_default(),
                Err(error) => return Some((Err(SseError::Body(Box::new(error))), (body, frames, waiting))),
            };
            let pushed = frames.push(&piece, |frame| {
                waiting.push_back(Sse { event: frame.name, data: Some(frame.data), id: None, retry: None });
                Ok(())
            });
            if let Err(error) = pushed {
                return Some((Err(SseError::Body(Box::new(error))), (body, frames, waiting)));
            }
        }
    };
    stream::unfold(state, next).boxed()
}
