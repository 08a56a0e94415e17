//! Connections to addresses somebody else wrote: resolved once, checked, and made to the address that was checked.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
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

/// Which machines may be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// Those on the public internet.
    #[default]
    Public,
    /// Private networks and this machine too.
    Local,
}

/// An answer's body; the connection ends with it.
#[derive(Debug)]
pub(crate) struct Reply {
    body: Incoming,
    connection: JoinHandle<()>,
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The origin of an address, and what a request names there.
pub(crate) fn split(address: &str) -> Result<(Origin, String)> {
    let origin: Origin = address.parse().map_err(|error| Error::BadAddress { why: format!("{error}") })?;
    let rest = address.split_once("://").map_or("", |(_, rest)| rest);
    let path = rest.find(['/', '?', '#']).map_or("", |at| &rest[at..]);
    let path = path.split('#').next().unwrap_or_default();
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok((origin, path))
}

/// Sends one request on a connection of its own. `request` names a path; where it goes is `origin`'s.
///
/// # Errors
/// [`Error::NotPublic`] or [`Error::Connection`].
pub(crate) async fn send(
    origin: &Origin,
    reach: Reach,
    mut request: Request<Full<Bytes>>,
) -> Result<Response<Reply>> {
    let broken = |why: String| Error::Connection { origin: origin.clone(), why };
    let host = origin.to_string().split_once("://").map_or_else(String::new, |(_, host)| host.to_owned());
    let host = HeaderValue::from_str(&host).map_err(|error| broken(error.to_string()))?;
    request.headers_mut().insert(header::HOST, host);
    request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static("loyal"));
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, connect(origin, reach));
    let stream = stream.await.map_err(|_| broken("no connection within 10 s".to_owned()))??;
    if origin.is_secure() {
        let name = ServerName::try_from(origin.domain.clone()).map_err(|error| broken(error.to_string()))?;
        let secured = tokio::time::timeout(CONNECT_TIMEOUT, tls().connect(name, stream)).await;
        let secured = secured.map_err(|_| broken("no secure connection within 10 s".to_owned()))?;
        let secured = secured.map_err(|error| broken(error.to_string()))?;
        exchange(origin, TokioIo::new(secured), request).await
    } else {
        exchange(origin, TokioIo::new(stream), request).await
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

async fn exchange<S>(origin: &Origin, stream: S, request: Request<Full<Bytes>>) -> Result<Response<Reply>>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| Error::Connection { origin: origin.clone(), why: error.to_string() };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.map_err(broken)?;
    let connection = tokio::spawn(async move {
        // Its failure reaches the sender or the body.
        let _ = connection.await;
    });
    let mut guard = AbortOnDrop(Some(connection));
    let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
    let connection = guard.0.take().expect("it was put there above");
    Ok(Response::from_parts(head, Reply { body, connection }))
}

/// A caller that stops waiting for the head takes the connection along.
struct AbortOnDrop(Option<JoinHandle<()>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.abort();
        }
    }
}

fn tls() -> TlsConnector {
    static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
    });
    TlsConnector::from(CONFIG.clone())
}
