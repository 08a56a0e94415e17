//! From the bytes of a request to those of its answer: the methods, behind the bounds of a server.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use jsonrpsee::{
    Methods, RpcModule,
    core::{
        BoxError,
        http_helpers::{HttpError, read_body},
        middleware::RpcServiceBuilder,
    },
    server::{
        BatchRequestConfig, HttpBody, HttpRequest, PingConfig, ServerConfig, ServerHandle, StopHandle,
        TowerService, TowerServiceBuilder, stop_channel,
    },
    types::ErrorObjectOwned,
};
use tower::{
    Service as _,
    layer::util::{Identity, Stack},
};

use super::{
    args::Args, bound::BoundLayer, chain::Chain, client::Rates, fault::Fault, genesis::Genesis,
    origin::OriginLayer, subscription,
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
    /// Requests in a second of one client: an IPv4 address, or the /64 network of an IPv6 address.
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

impl Limits {
    /// Whether the chain of `genesis` may be served on `address`.
    ///
    /// # Errors
    /// [`Error::Unsafe`] where other machines could reach it unsecured.
    pub fn admit(&self, address: SocketAddr, genesis: &Genesis) -> Result<()> {
        if address.ip().to_canonical().is_loopback() || (self.beyond_loopback && genesis.development) {
            return Ok(());
        }
        let why = format!("{address} can be reached from other machines; listen on 127.0.0.1 behind a proxy");
        Err(Error::Unsafe { why })
    }

    fn config(&self) -> ServerConfig {
        ServerConfig::builder()
            .max_request_body_size(self.request_bytes_max)
            .max_response_body_size(self.answer_bytes_max)
            .max_connections(self.connection_count_max)
            .max_subscriptions_per_connection(self.subscription_count_max)
            .set_batch_request_config(BatchRequestConfig::Limit(self.batch_count_max))
            .set_message_buffer_capacity(self.waiting_count_max)
            .set_id_provider(subscription::Ids::default())
            .enable_ws_ping(PingConfig::new().ping_interval(Duration::from_secs(30)))
            .build()
    }
}

type Http = Stack<OriginLayer, Identity>;
type Rpc = Stack<BoundLayer, Identity>;

/// Everything of a server but its socket, for a program that has a server of its own, and for tests.
#[derive(Debug, Clone)]
pub struct Endpoint {
    chain: Arc<Chain>,
    rates: Arc<Rates>,
    methods: Methods,
    builder: TowerServiceBuilder<Identity, Http>,
    answer_bytes_max: u32,
    stop: StopHandle,
    /// Held where no server holds it: subscriptions end when the last of them goes.
    _handle: Option<ServerHandle>,
}

impl Endpoint {
    /// What answers for `chain`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where two methods have one name.
    pub fn new(chain: Arc<Chain>, limits: &Limits) -> Result<Self> {
        let (endpoint, handle) = Self::until_stopped(chain, limits)?;
        Ok(Self { _handle: Some(handle), ..endpoint })
    }

    /// What answers for `chain` until the handle stops it or is dropped.
    pub(crate) fn until_stopped(chain: Arc<Chain>, limits: &Limits) -> Result<(Self, ServerHandle)> {
        let (stop, handle) = stop_channel();
        let builder = jsonrpsee::server::Server::builder()
            .set_config(limits.config())
            .set_http_middleware(tower::ServiceBuilder::new().layer(OriginLayer))
            .to_service_builder();
        let endpoint = Self {
            rates: Arc::new(Rates::new(limits.request_rate_max)),
            methods: methods(&chain)?.into(),
            builder,
            answer_bytes_max: limits.answer_bytes_max,
            stop,
            _handle: None,
            chain,
        };
        Ok((endpoint, handle))
    }

    pub(crate) fn stop(&self) -> StopHandle {
        self.stop.clone()
    }

    /// The service of one client's connection.
    pub(crate) fn service(&self, client: IpAddr) -> TowerService<Rpc, Http> {
        let bounds = BoundLayer {
            chain: self.chain.clone(),
            rates: self.rates.clone(),
            client,
            answer_bytes_max: self.answer_bytes_max,
        };
        let rpc = RpcServiceBuilder::new().layer(bounds);
        self.builder.clone().set_rpc_middleware(rpc).build(self.methods.clone(), self.stop.clone())
    }

    /// Answers the body of a POST request as the server does, inside a tokio runtime: the HTTP status and the body,
    /// which is empty where it is no JSON, as after a notification.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the answer cannot be read, which is not known to happen.
    pub async fn answer(&self, client: IpAddr, request: Vec<u8>) -> Result<(u16, Vec<u8>)> {
        let bad = |error: BoxError| Error::Unsupported { what: format!("the answer: {error}") };
        let request = HttpRequest::builder()
            .method("POST")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(HttpBody::from(request))
            .map_err(|error| bad(error.into()))?;
        let answer = self.service(client).call(request).await.map_err(bad)?;
        let status = answer.status().as_u16();
        let (head, body) = answer.into_parts();
        match read_body(&head.headers, body, u32::MAX).await {
            Ok((body, _)) => Ok((status, body)),
            Err(HttpError::Malformed) => Ok((status, Vec::new())),
            Err(error) => Err(bad(error.into())),
        }
    }
}

fn methods(chain: &Arc<Chain>) -> Result<RpcModule<Arc<Chain>>> {
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
