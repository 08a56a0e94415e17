//! What a short program says: serve this.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use loyal_agent::serve::{self, Limits};
use loyal_agent::{Error, Query, ResponseHandler, Result, Session, agent};
use tokio::net::TcpListener;

use crate::clock::SystemClock;

/// Serves a closure as an agent at `127.0.0.1:8000`, until the process ends.
///
/// # Errors
/// [`Error::Server`] where the port is taken.
pub async fn serve<F, W>(name: &str, assist: F) -> Result<()>
where
    F: Fn(Session, Query, ResponseHandler) -> W + Send + Sync + 'static,
    W: Future<Output = Result<()>> + Send + 'static,
{
    serve_on(SocketAddr::from(([127, 0, 0, 1], 8000)), name, assist).await
}

/// [`serve`] at another address.
///
/// # Errors
/// As [`serve`].
pub async fn serve_on<F, W>(address: SocketAddr, name: &str, assist: F) -> Result<()>
where
    F: Fn(Session, Query, ResponseHandler) -> W + Send + Sync + 'static,
    W: Future<Output = Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind(address).await;
    let listener =
        listener.map_err(|error| Error::Server { what: "listener", why: format!("{address}: {error}") })?;
    let clock = Arc::new(SystemClock);
    serve::run(listener, agent(name, assist), Limits::default(), clock, rand::random()).await
}
