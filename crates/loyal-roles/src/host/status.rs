//! A host's status page: what its hosting earns and owes, for whoever sits at this machine.
//!
//! One page without anything from elsewhere, and the figures it shows as JSON. Only names of this machine may ask for it, so
//! that no page of the web reaches it by a name of its own (DNS rebinding); no other origin may read it.

mod figures;

use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use alloy_primitives::Address;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use loyal_access::Gate;
use loyal_types::Clock;
use serde_json::Value;

use super::{Drain, Settings, answer, serve};
use crate::error::{Error, Result};

const PAGE: &str = include_str!("status/page.html");
/// What stands in the page where the nonce goes.
const NONCE: &str = "{{nonce}}";
/// For how long figures are not asked for again.
const FRESH: Duration = Duration::from_millis(900);
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Somebody whom invocations pay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// What it is: "owner", "host" …
    pub name: String,
    /// Its account.
    pub account: Address,
}

/// A command or an address that shows how the model is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// What it does.
    pub what: String,
    /// What is typed.
    pub text: String,
}

/// What the page is about.
#[derive(Debug)]
pub struct Status {
    /// The gate of the hosting.
    pub gate: Arc<Gate>,
    /// Whom invocations pay.
    pub parties: Vec<Party>,
    /// How the model is used.
    pub hints: Vec<Hint>,
    /// Sixteen random bytes: only what carries them runs in the page.
    pub nonce: [u8; 16],
}

/// What handlers share.
struct Board {
    status: Status,
    clock: Arc<dyn Clock + Send + Sync>,
    page: String,
    policy: HeaderValue,
    figures: Mutex<Option<(Duration, Value)>>,
}

/// Serves the page until `drain` begins.
///
/// # Errors
/// The listener is reached from other machines; the system gives no threads or takes the listener away.
pub fn run(
    listener: TcpListener,
    status: Status,
    clock: Arc<dyn Clock + Send + Sync>,
    drain: &Drain,
) -> Result<()> {
    let address =
        listener.local_addr().map_err(|source| Error::system("the status page's address", source))?;
    if !address.ip().is_loopback() {
        return Err(Error::refused(format!(
            "the status page is for this machine alone, and {address} is reached from others"
        )));
    }
    serve(listener, app(status, clock), Settings::default().drain_max, drain)
}

/// The routes.
fn app(status: Status, clock: Arc<dyn Clock + Send + Sync>) -> Router {
    let nonce: String = status.nonce.iter().map(|byte| format!("{byte:02x}")).collect();
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let policy = HeaderValue::from_str(&policy).expect("hexadecimal digits are fit for a header");
    let page = PAGE.replace(NONCE, &nonce);
    let board = Arc::new(Board { status, clock, page, policy, figures: Mutex::new(None) });
    Router::new()
        .route("/", get(page_of))
        .route("/status.json", get(json_of))
        .fallback(async || (StatusCode::NOT_FOUND, "there are / and /status.json\n"))
        .layer(middleware::from_fn_with_state(Arc::clone(&board), guard))
        .with_state(board)
}

/// Refuses whoever asks by another name than this machine's own, and lets nothing of the answer out of the page.
async fn guard(State(board): State<Arc<Board>>, request: Request, next: Next) -> Response {
    let mut response = if is_local(request.headers()) {
        next.run(request).await
    } else {
        let says = "the status page answers to 127.0.0.1, [::1] and localhost alone\n";
        (StatusCode::MISDIRECTED_REQUEST, says).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, board.policy.clone());
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (RESOURCE_POLICY, "same-origin"),
        (CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn is_local(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    ["127.0.0.1", "[::1]", "localhost"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

async fn page_of(State(board): State<Arc<Board>>) -> Response {
    ([(CONTENT_TYPE, "text/html; charset=utf-8")], board.page.clone()).into_response()
}

async fn json_of(State(board): State<Arc<Board>>) -> Response {
    match tokio::task::spawn_blocking(move || board.read()).await {
        Ok(Ok(figures)) => answer::json(&figures),
        Ok(Err(error)) => {
            let mut response = answer::json(&serde_json::json!({ "error": error.to_string() }));
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

impl Board {
    /// The figures, read anew where those at hand are old. Whoever asks meanwhile waits for the one reading.
    fn read(&self) -> Result<Value> {
        let mut kept = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.elapsed();
        if let Some((at, figures)) = kept.as_ref()
            && now.saturating_sub(*at) < FRESH
        {
            return Ok(figures.clone());
        }
        let figures = figures::read(&self.status)?;
        *kept = Some((now, figures.clone()));
        Ok(figures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_answered() {
        let asked = |hosts: &[&str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, HeaderValue::from_str(host).unwrap());
            }
            is_local(&headers)
        };
        for good in ["127.0.0.1", "127.0.0.1:8060", "localhost:1", "LocalHost", "[::1]:8060", "[::1]"] {
            assert!(asked(&[good]), "{good}");
        }
        for bad in [
            "evil.example",
            "evil.example:8060",
            "127.0.0.1.evil.example",
            "localhost.evil.example:8060",
            "127.0.0.1:80:80",
            "127.0.0.1:",
            "",
            "10.0.0.1",
            "0.0.0.0:8060",
        ] {
            assert!(!asked(&[bad]), "{bad}");
        }
        assert!(!asked(&[]) && !asked(&["localhost", "evil.example"]));
    }
}
