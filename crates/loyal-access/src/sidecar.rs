//! A server on this machine that any program of OpenAI's API can be pointed at: it pays, and keeps the receipts, and the
//! program knows nothing of it.

mod refusal;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, ORIGIN};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use loyal_types::Origin;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::caller::{Caller, Piece, Reply};
use crate::document::RECEIPT;
use crate::wallet::Record;
use crate::{Error, Result, document};

/// How long a connection may take to send its next request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// What a sidecar bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; more of them wait.
    pub connection_count_max: usize,
    /// Requests at a time, those that wait for a channel included; more of them are refused with status 429.
    pub request_count_max: usize,
    /// Bytes of a request.
    pub request_bytes_max: usize,
    /// How long a sidecar that was told to stop lets its requests go on.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connection_count_max: 256,
            request_count_max: 64,
            request_bytes_max: 8 << 20,
            grace: Duration::from_secs(30),
        }
    }
}

/// A server that pays.
#[derive(Debug)]
pub struct Sidecar {
    caller: Caller,
    limits: Limits,
    secret: Option<String>,
    requests: Arc<Semaphore>,
    stop: watch::Sender<bool>,
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

impl Sidecar {
    /// A server for a caller's requests. `secret`, where there is one, must come with each as the API's key: whoever reaches
    /// the server spends what is in the wallet.
    #[must_use]
    pub fn new(caller: Caller, limits: Limits, secret: Option<String>) -> Self {
        let requests = Arc::new(Semaphore::new(limits.request_count_max));
        Self { caller, limits, secret, requests, stop: watch::Sender::new(false) }
    }

    /// Answers until it is told to stop, and then until what is under way has ended or the grace is over.
    ///
    /// # Errors
    /// [`Error::Refused`] where other machines would reach it and no secret is wanted of them.
    pub async fn run(self: Arc<Self>, listener: TcpListener) -> Result<()> {
        let address = listener.local_addr().map_err(|error| Error::Refused(error.to_string()))?;
        self.admit(address)?;
        let connections = Arc::new(Semaphore::new(self.limits.connection_count_max));
        let (mut stop, mut serving) = (self.stop.subscribe(), JoinSet::new());
        loop {
            while serving.try_join_next().is_some() {}
            let Ok(permit) = connections.clone().acquire_owned().await else { break };
            tokio::select! {
                _ = stop.wait_for(|stopped| *stopped) => break,
                // What one connection failed at is no reason not to take the next.
                accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                    let sidecar = self.clone();
                    serving.spawn(async move {
                        sidecar.serve(stream).await;
                        drop(permit);
                    });
                },
            }
        }
        drop(listener);
        let ended = async { while serving.join_next().await.is_some() {} };
        // Dropping what is left tells hosts to stop; the wallet knows what it signed.
        let _ = tokio::time::timeout(self.limits.grace, ended).await;
        Ok(())
    }

    /// Takes no more requests.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    fn admit(&self, address: SocketAddr) -> Result<()> {
        if address.ip().to_canonical().is_loopback() || self.secret.is_some() {
            return Ok(());
        }
        Err(Error::Refused(format!(
            "{address} can be reached from other machines, and whoever reaches it spends this wallet: listen on 127.0.0.1, or \
             want a secret"
        )))
    }

    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let (sidecar, mut stop) = (self.clone(), self.stop.subscribe());
        let service = hyper::service::service_fn(move |request| {
            let sidecar = sidecar.clone();
            async move { Ok::<_, Infallible>(sidecar.answer(request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = stop.wait_for(|stopped| *stopped) => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        if let Err(refusal) = self.check(request.headers()) {
            return refusal;
        }
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        match (method, path.strip_prefix("/v1").unwrap_or(&path)) {
            (Method::POST, path @ ("/chat/completions" | "/completions" | "/embeddings")) => {
                let path = path.to_owned();
                self.pay(&path, request.into_body()).await
            }
            (Method::GET, path) if path == "/models" || path.starts_with("/models/") => {
                match self.caller.look_up(path).await {
                    Ok((status, body)) => {
                        whole(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY), body)
                    }
                    Err(error) => refusal::of(&error),
                }
            }
            (Method::GET, "/health") => {
                whole(StatusCode::OK, Bytes::from(json!({ "status": "ok" }).to_string()))
            }
            (_, path) => refusal::no_route(path),
        }
    }

    /// Web pages that the user of this machine looks at can send requests here too: theirs name another origin, or came by
    /// a name that somebody pointed at this machine.
    #[allow(clippy::result_large_err, reason = "a refusal is the answer, made once")]
    fn check(&self, headers: &HeaderMap) -> Result<(), Response<Body>> {
        if let Some(secret) = &self.secret {
            let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
            let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
            return if is_same(given.as_bytes(), secret.as_bytes()) {
                Ok(())
            } else {
                Err(refusal::no_secret())
            };
        }
        let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let host = headers.get(HOST).map(text).unwrap_or_default();
        let is_local_host = is_local(&format!("http://{host}"));
        let is_local_page = headers.get(ORIGIN).map(text).is_none_or(|origin| is_local(&origin));
        if is_local_host && is_local_page { Ok(()) } else { Err(refusal::foreign()) }
    }

    async fn pay(&self, path: &str, body: Incoming) -> Response<Body> {
        let Ok(permit) = self.requests.clone().try_acquire_owned() else { return refusal::full() };
        let body = match Limited::new(body, self.limits.request_bytes_max).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => return refusal::too_large(self.limits.request_bytes_max),
        };
        let mut reply = match self.caller.invoke(path, body).await {
            Ok(reply) => reply,
            Err(error) => return refusal::of(&error),
        };
        if reply.is_stream() {
            return streamed(reply, permit);
        }
        match reply.next().await {
            Ok(Some(Piece::Whole(body))) => {
                let mut response = whole(StatusCode::OK, body);
                if let Some(record) = reply.record()
                    && let Ok(value) = HeaderValue::from_str(&document::header(&record.receipt))
                {
                    response.headers_mut().insert(RECEIPT, value);
                }
                response
            }
            Ok(_) => refusal::of(&Error::Misbehaved { why: "the host answered with nothing".to_owned() }),
            Err(error) => refusal::of(&error),
        }
    }
}

/// A stream as it came, without the event of the payment: programs take a choice from each event that is no figure of usage.
/// What was paid stands in a comment, which they pass over.
fn streamed(reply: Reply, permit: tokio::sync::OwnedSemaphorePermit) -> Response<Body> {
    let events = stream::unfold((Some(reply), permit), |(reply, permit)| async move {
        let mut reply = reply?;
        let (text, reply) = match reply.next().await {
            Ok(Some(Piece::Event(data))) => (format!("data: {data}\n\n"), Some(reply)),
            Ok(_) => (format!("{}data: [DONE]\n\n", paid(reply.record())), None),
            Err(error) => (format!("data: {}\n\n", refusal::document(&error)), None),
        };
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from(text))), (reply, permit)))
    });
    let mut response = Response::new(StreamBody::new(events).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert("cache-control", HeaderValue::from_static("no-cache"));
    response
}

fn paid(record: Option<&Record>) -> String {
    let comment = |record: &Record| {
        let receipt = &record.receipt.receipt.receipt;
        format!(": loyal invocation {} cost {}\n\n", receipt.invocationId, receipt.amount)
    };
    record.map(comment).unwrap_or_default()
}

fn whole(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn is_local(address: &str) -> bool {
    let Ok(origin) = address.parse::<Origin>() else { return false };
    origin.domain == "localhost" || origin.domain.parse::<IpAddr>().is_ok_and(|number| number.is_loopback())
}

/// Compares every byte, so that the time says nothing of where two texts part.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |found, (a, b)| found | (a ^ b)) == 0
}
