//! JSON-RPC over HTTP and WebSocket on one port.

use std::{net::TcpListener, sync::Arc, time::Duration};

use jsonrpsee::server::{ConnectionGuard, ServerHandle, serve_with_graceful_shutdown};

use super::{
    chain::Chain,
    endpoint::{Endpoint, Limits},
};
use crate::{Error, Result};

/// How long a server that has no descriptor left for a connection waits before it looks again.
const PAUSE: Duration = Duration::from_millis(50);

/// A running server. It stops when this is dropped.
#[derive(Debug)]
pub struct Server {
    handle: ServerHandle,
}

impl Server {
    /// Waits until the server has stopped.
    pub async fn stopped(self) {
        self.handle.clone().stopped().await;
    }

    /// Asks the server to stop: no new requests, and those under way are answered.
    pub fn stop(&self) {
        // It fails only where the server has stopped already.
        let _ = self.handle.stop();
    }
}

/// Serves `chain` on `listener`, inside a tokio runtime.
///
/// # Errors
/// [`Error::Unsafe`] where others could reach it unsecured, [`Error::Store`] where the listener is no good.
pub fn serve(listener: TcpListener, chain: Arc<Chain>, limits: &Limits) -> Result<Server> {
    let bad = |error: std::io::Error| Error::Store { why: format!("listener: {error}") };
    limits.admit(listener.local_addr().map_err(bad)?, chain.genesis())?;
    listener.set_nonblocking(true).map_err(bad)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(bad)?;
    let (endpoint, handle) = Endpoint::until_stopped(chain, limits)?;
    tokio::spawn(accept(listener, endpoint, ConnectionGuard::new(limits.connection_count_max as usize)));
    Ok(Server { handle })
}

/// Takes connections until the server stops. One beyond the bound is closed at once.
async fn accept(listener: tokio::net::TcpListener, endpoint: Endpoint, guard: ConnectionGuard) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = endpoint.stop().shutdown() => return,
        };
        let Ok((socket, client)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        // It fails where the client has gone already; then so does what follows.
        let _ = socket.set_nodelay(true);
        let Some(permit) = guard.try_acquire() else { continue };
        let (service, stopped) = (endpoint.service(client.ip()), endpoint.stop().shutdown());
        tokio::spawn(async move {
            // It ends in an error where the client breaks off, which is the client's right.
            let _ = serve_with_graceful_shutdown(socket, service, stopped).await;
            drop(permit);
        });
    }
}

/// [`serve`] with a runtime of its own; returns when the server has stopped, which is with the process.
///
/// # Errors
/// As [`serve`].
pub fn serve_here(listener: TcpListener, chain: Arc<Chain>, limits: &Limits) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::Store { why: format!("no threads: {error}") })?;
    runtime.block_on(async {
        serve(listener, chain, limits)?.stopped().await;
        Ok(())
    })
}
