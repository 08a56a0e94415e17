//! JSON-RPC over HTTP and WebSocket on one port, within bounds.

use std::{net::TcpListener, sync::Arc, time::Duration};

use jsonrpsee::{
    RpcModule,
    core::middleware::RpcServiceBuilder,
    server::{BatchRequestConfig, PingConfig, ServerConfig, ServerHandle},
    types::ErrorObjectOwned,
};

use super::{
    args::Args,
    chain::Chain,
    fault::Fault,
    origin::OriginLayer,
    rate::{Bounded, Rate},
    subscription,
};
use crate::{Error, Result};

/// Bounds of what clients may ask of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request, a batch included.
    pub request_bytes_max: u32,
    /// Bytes of an answer, a batch's included.
    pub answer_bytes_max: u32,
    /// Clients connected at a time.
    pub connection_count_max: u32,
    /// Subscriptions of one connection.
    pub subscription_count_max: u32,
    /// Requests in one batch.
    pub batch_count_max: u32,
    /// Requests of all clients in a second.
    pub request_rate_max: u32,
    /// Messages that wait for one slow WebSocket client before the server does.
    pub waiting_count_max: u32,
    /// Whether a development chain may be reached from other machines. A production chain never is, without a
    /// proxy that secures it.
    pub beyond_loopback: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes_max: 5 << 20,
            answer_bytes_max: 50 << 20,
            connection_count_max: 512,
            subscription_count_max: 128,
            batch_count_max: 1_000,
            request_rate_max: 100_000,
            waiting_count_max: 256,
            beyond_loopback: false,
        }
    }
}

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
    let address = listener.local_addr().map_err(bad)?;
    let allowed = address.ip().is_loopback() || (limits.beyond_loopback && chain.genesis().development);
    if !allowed {
        let why = format!("{address} can be reached from other machines; listen on 127.0.0.1 behind a proxy");
        return Err(Error::Unsafe { why });
    }
    listener.set_nonblocking(true).map_err(bad)?;
    let config = ServerConfig::builder()
        .max_request_body_size(limits.request_bytes_max)
        .max_response_body_size(limits.answer_bytes_max)
        .max_connections(limits.connection_count_max)
        .max_subscriptions_per_connection(limits.subscription_count_max)
        .set_batch_request_config(BatchRequestConfig::Limit(limits.batch_count_max))
        .set_message_buffer_capacity(limits.waiting_count_max)
        .set_id_provider(subscription::Ids::default())
        .enable_ws_ping(PingConfig::new().ping_interval(Duration::from_secs(30)))
        .set_tcp_no_delay(true)
        .build();
    let module = module(&chain)?;
    let rate = Arc::new(Rate::new(limits.request_rate_max, chain.clock().elapsed()));
    let answer_bytes_max = limits.answer_bytes_max;
    let bounded = RpcServiceBuilder::new().layer_fn(move |inner| Bounded {
        inner,
        chain: chain.clone(),
        rate: rate.clone(),
        answer_bytes_max,
    });
    let server = jsonrpsee::server::Server::builder()
        .set_config(config)
        .set_http_middleware(tower::ServiceBuilder::new().layer(OriginLayer))
        .set_rpc_middleware(bounded)
        .build_from_tcp(listener)
        .map_err(bad)?;
    Ok(Server { handle: server.start(module) })
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

fn module(chain: &Arc<Chain>) -> Result<RpcModule<Arc<Chain>>> {
    let twice = |error: jsonrpsee::core::RegisterMethodError| Error::Unsupported { what: error.to_string() };
    let mut module = RpcModule::new(chain.clone());
    for method in chain.methods() {
        let answer = method.answer;
        module
            .register_blocking_method(method.name, move |params, chain, _| {
                let answered = Args::parse(params.as_str()).and_then(|args| answer(&chain, &args));
                answered.map_err(|error| ErrorObjectOwned::from(Fault::from(error)))
            })
            .map_err(twice)?;
    }
    module
        .register_subscription(
            "eth_subscribe",
            "eth_subscription",
            "eth_unsubscribe",
            |params, sink, chain, _| subscription::run(params, sink, Arc::clone(&chain)),
        )
        .map_err(twice)?;
    Ok(module)
}
