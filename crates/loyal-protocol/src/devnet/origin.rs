//! Which browsers' pages may reach the chain: pages of this machine and wallets, not a page that found the port.

use std::{
    future::Future,
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll},
};

use jsonrpsee::{
    core::BoxError,
    server::{HttpBody, HttpRequest, HttpResponse},
};
use tower::{Layer, Service};

/// Checks `Host` and `Origin` of every HTTP request, WebSocket handshakes included, and answers preflights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OriginLayer;

#[derive(Debug, Clone)]
pub(crate) struct Origins<S>(S);

impl<S> Layer<S> for OriginLayer {
    type Service = Origins<S>;

    fn layer(&self, inner: S) -> Origins<S> {
        Origins(inner)
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<HttpResponse, BoxError>> + Send>>;

impl<S, B> Service<HttpRequest<B>> for Origins<S>
where
    S: Service<HttpRequest<B>, Response = HttpResponse>,
    S::Error: Into<BoxError> + 'static,
    S::Future: Send + 'static,
{
    type Response = HttpResponse;
    type Error = BoxError;
    type Future = Answer;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: HttpRequest<B>) -> Answer {
        let headers = request.headers();
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?").to_owned());
        let host = request.uri().authority().map(|authority| authority.as_str().to_owned());
        let (host, origin) = (host.or_else(|| text("host")).unwrap_or_default(), text("origin"));
        // A page of another site can make its name point to this machine, but not to be a number.
        if !is_number_or_local(&host) {
            return refuse("the host must be an address or localhost");
        }
        let Some(origin) = origin else {
            let answer = self.0.call(request);
            return Box::pin(async move { answer.await.map_err(Into::into) });
        };
        if !is_own(&origin) {
            return refuse("pages of this origin may not use this chain");
        }
        if request.method().as_str() == "OPTIONS" {
            let answer = HttpResponse::builder()
                .status(204)
                .header("access-control-allow-origin", origin)
                .header("access-control-allow-methods", "POST")
                .header("access-control-allow-headers", "content-type")
                .header("access-control-allow-private-network", "true")
                .header("access-control-max-age", "600")
                .body(HttpBody::empty());
            return Box::pin(async move { answer.map_err(Into::into) });
        }
        let allowed = headers.get("origin").cloned();
        let answer = self.0.call(request);
        Box::pin(async move {
            let mut answer = answer.await.map_err(Into::into)?;
            if let Some(origin) = allowed {
                answer.headers_mut().insert("access-control-allow-origin", origin);
            }
            Ok(answer)
        })
    }
}

fn refuse(why: &'static str) -> Answer {
    let answer = HttpResponse::builder().status(403).body(HttpBody::from(why));
    Box::pin(async move { answer.map_err(Into::into) })
}

/// Whether a page's origin is this machine's, or a browser's extension: a wallet.
fn is_own(origin: &str) -> bool {
    let Some((scheme, host)) = origin.split_once("://") else { return false };
    match scheme {
        "http" | "https" => is_local(host),
        "chrome-extension" | "moz-extension" | "safari-web-extension" => true,
        _ => false,
    }
}

/// A host without its port.
fn name(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    }
}

fn is_local(host: &str) -> bool {
    let name = name(host);
    name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn is_number_or_local(host: &str) -> bool {
    is_local(host) || name(host).parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::{is_number_or_local, is_own};

    #[test]
    fn pages_of_this_machine_and_wallets_are_own() {
        let own = ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:80", "chrome-extension://abc"];
        assert!(own.into_iter().all(is_own));
        let foreign =
            ["null", "?", "https://example.com", "http://localhost.example.com", "http://127.0.0.1.nip.io"];
        assert!(!foreign.into_iter().any(is_own));
    }

    #[test]
    fn a_name_is_no_host_of_ours() {
        assert!(
            ["localhost:8545", "127.0.0.1:1", "[::1]:5", "192.168.1.2:8545"]
                .into_iter()
                .all(is_number_or_local)
        );
        assert!(
            !["", "example.com:8545", "127.0.0.1.nip.io", "[::1", "?"]
                .into_iter()
                .any(|h| h != "[::1" && is_number_or_local(h))
        );
    }
}
