//! Connections to addresses somebody else wrote: resolved once, checked, made to the address that was checked, and kept
//! for the next request.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use loyal_types::Origin;
use loyal_types::origin::is_public;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::{Error, Result};

/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections to one origin that wait for another request.
const IDLE_COUNT_MAX: usize = 32;

/// Which machines may be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// Those on the public internet.
    #[default]
    Public,
    /// Private networks and this machine too.
    Local,
}

/// A client of HTTP/1.1. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Outbound {
    reach: Reach,
    idle: Arc<Idle>,
}

type Idle = Mutex<HashMap<Origin, Vec<Line>>>;

/// A connection that stands; it ends when this is dropped.
struct Line {
    sender: SendRequest<Full<Bytes>>,
    connection: JoinHandle<()>,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("closed", &self.sender.is_closed()).finish_non_exhaustive()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// An answer's body. Dropped before its end, it takes the connection along, which tells the other side to stop.
#[derive(Debug)]
pub struct Reply {
    body: Incoming,
    has_ended: bool,
    line: Option<(Origin, Line)>,
    idle: Arc<Idle>,
}

impl Drop for Reply {
    fn drop(&mut self) {
        let Some((origin, mut line)) = self.line.take() else { return };
        if !self.has_ended && !self.body.is_end_stream() {
            return;
        }
        let (idle, Ok(runtime)) = (self.idle.clone(), tokio::runtime::Handle::try_current()) else { return };
        runtime.spawn(async move {
            if line.sender.ready().await.is_ok() {
                let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
                let lines = idle.entry(origin).or_default();
                lines.retain(|line| !line.sender.is_closed());
                if lines.len() < IDLE_COUNT_MAX {
                    lines.push(line);
                }
            }
        });
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.has_ended |= matches!(polled, Poll::Ready(None));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The origin of an address, and what a request names there.
///
/// # Errors
/// [`Error::BadAddress`].
pub fn split(address: &str) -> Result<(Origin, String)> {
    let origin: Origin = address.parse().map_err(|error| Error::BadAddress { why: format!("{error}") })?;
    let rest = address.split_once("://").map_or("", |(_, rest)| rest);
    let path = rest.find(['/', '?', '#']).map_or("", |at| &rest[at..]);
    let path = path.split('#').next().unwrap_or_default();
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok((origin, path))
}

impl Outbound {
    /// A client without connections yet.
    #[must_use]
    pub fn new(reach: Reach) -> Self {
        Self { reach, idle: Arc::default() }
    }

    /// Sends one request, on a connection that waits or on a new one. `request` names a path; where it goes is
    /// `origin`'s.
    ///
    /// # Errors
    /// [`Error::NotPublic`] or [`Error::Connection`]. After the latter the other side may have seen the request.
    pub async fn send(&self, origin: &Origin, mut request: Request<Full<Bytes>>) -> Result<Response<Reply>> {
        let broken = |why: String| Error::Connection { origin: origin.clone(), why };
        let host = origin.to_string().split_once("://").map_or_else(String::new, |(_, host)| host.to_owned());
        let host = HeaderValue::from_str(&host).map_err(|error| broken(error.to_string()))?;
        request.headers_mut().insert(header::HOST, host);
        request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static("loyal"));
        loop {
            let waiting = self.waiting(origin);
            let is_new = waiting.is_none();
            let mut line = match waiting {
                Some(line) => line,
                None => self.open(origin).await?,
            };
            // A connection that was closed meanwhile gives the request back: it was not sent.
            match line.sender.try_send_request(request).await {
                Ok(response) => {
                    let (head, body) = response.into_parts();
                    let line = Some((origin.clone(), line));
                    return Ok(Response::from_parts(
                        head,
                        Reply { body, has_ended: false, line, idle: self.idle.clone() },
                    ));
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) if !is_new => request = unsent,
                    _ => return Err(broken(error.into_error().to_string())),
                },
            }
        }
    }

    fn waiting(&self, origin: &Origin) -> Option<Line> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = idle.get_mut(origin)?;
        while let Some(line) = lines.pop() {
            if line.sender.is_ready() {
                return Some(line);
            }
        }
        None
    }

    async fn open(&self, origin: &Origin) -> Result<Line> {
        let broken = |why: String| Error::Connection { origin: origin.clone(), why };
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, connect(origin, self.reach));
        let stream = stream.await.map_err(|_| broken("no connection within 10 s".to_owned()))??;
        if !origin.is_secure() {
            return handshake(origin, TokioIo::new(stream)).await;
        }
        let name = ServerName::try_from(origin.domain.clone()).map_err(|error| broken(error.to_string()))?;
        let secured = tokio::time::timeout(CONNECT_TIMEOUT, tls().connect(name, stream)).await;
        let secured = secured.map_err(|_| broken("no secure connection within 10 s".to_owned()))?;
        handshake(origin, TokioIo::new(secured.map_err(|error| broken(error.to_string()))?)).await
    }
}

/// Connects to the first address that is allowed and answers. One that is not allowed refuses the whole name: it may
/// be meant to lead astray.
async fn connect(origin: &Origin, reach: Reach) -> Result<TcpStream> {
    let broken = |why: String| Error::Connection { origin: origin.clone(), why };
    let addresses: Vec<SocketAddr> = match origin.domain.parse::<IpAddr>() {
        Ok(number) => vec![SocketAddr::new(number, origin.port)],
        Err(_) => {
            let found = tokio::net::lookup_host((origin.domain.as_str(), origin.port)).await;
            found.map_err(|error| broken(error.to_string()))?.collect()
        }
    };
    if reach == Reach::Public && addresses.iter().any(|address| !is_public(address.ip())) {
        return Err(Error::NotPublic { origin: origin.clone() });
    }
    let mut last = "the name has no address".to_owned();
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Questions are small and leave at once. A socket that refuses the option still works.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => last = error.to_string(),
        }
    }
    Err(broken(last))
}

async fn handshake<S>(origin: &Origin, stream: S) -> Result<Line>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let shaken = hyper::client::conn::http1::handshake(stream).await;
    let (sender, connection) =
        shaken.map_err(|error| Error::Connection { origin: origin.clone(), why: error.to_string() })?;
    let connection = tokio::spawn(async move {
        // Its failure reaches the sender or the body.
        let _ = connection.await;
    });
    Ok(Line { sender, connection })
}

fn tls() -> TlsConnector {
    static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
    });
    TlsConnector::from(CONFIG.clone())
}
