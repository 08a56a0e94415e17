//! Credentials: who issues them, who gets one, which are taken back.

use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};

use alloy_primitives::{Address, B256, U256};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use loyal_access::document::CredentialFile;
use loyal_access::issuer::{Issuer, Wish};
use loyal_protocol::contracts::CredentialRegistry;
use loyal_protocol::{Addresses, Client, Step, Walk};
use rand::{RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;
use serde_json::json;

use crate::error::{Error, Result};
use crate::host::{Drain, Settings, answer, serve};

/// Gas of these steps as a rule (`contracts/snapshots/GasTest.json`).
const ISSUER_GAS: u64 = 80_000;
const REVOKE_GAS: u64 = 80_000;
const WISH_BYTES_MAX: usize = 4_096;

/// Lets an account sign credentials of a model, unless it may already.
///
/// # Errors
/// The chain's; the account was removed before, and comes back under another key only.
pub fn appoint(walk: &mut Walk<'_>, at: &Addresses, model: u64, issuer: Address) -> Result<()> {
    let model_id = U256::from(model);
    let term =
        walk.client.call(at.credentials, &CredentialRegistry::issuerOfCall { modelId: model_id, issuer })?;
    if term.since != 0 {
        return match term.until {
            0 => Ok(()),
            _ => Err(Error::refused(format!(
                "{issuer} was removed as an issuer of model {model}; take another key"
            ))),
        };
    }
    let call = CredentialRegistry::setIssuerCall { modelId: model_id, issuer, allowed: true };
    let says = format!("let {issuer} issue credentials of model {model}");
    walk.take(Step::new(says, at.credentials, &call, ISSUER_GAS))?;
    Ok(())
}

/// Lets an account sign no credentials of a model any more; those it signed end with it.
///
/// # Errors
/// The chain's.
pub fn dismiss(walk: &mut Walk<'_>, at: &Addresses, model: u64, issuer: Address) -> Result<()> {
    let model_id = U256::from(model);
    let term =
        walk.client.call(at.credentials, &CredentialRegistry::issuerOfCall { modelId: model_id, issuer })?;
    match (term.since, term.until) {
        (0, _) => Err(Error::refused(format!("{issuer} issues no credentials of model {model}"))),
        (_, 0) => {
            let call = CredentialRegistry::setIssuerCall { modelId: model_id, issuer, allowed: false };
            let says =
                format!("let {issuer} issue credentials of model {model} no more; those it signed end");
            walk.take(Step::new(says, at.credentials, &call, ISSUER_GAS))?;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// What is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoked {
    /// One credential.
    One(B256),
    /// All that a holder has of the model.
    OfHolder(Address),
    /// All of the model.
    All,
}

/// Takes credentials back, for good.
///
/// # Errors
/// The chain's: only issuers and the owner may, and for all of a model only the owner.
pub fn revoke(walk: &mut Walk<'_>, at: &Addresses, model: u64, what: Revoked) -> Result<()> {
    let model_id = U256::from(model);
    let step = match what {
        Revoked::One(id) => {
            let seen = CredentialRegistry::revokedAtCall { modelId: model_id, credentialId: id };
            if walk.client.call(at.credentials, &seen)? != 0 {
                return Ok(());
            }
            let call = CredentialRegistry::revokeCall { modelId: model_id, credentialId: id };
            Step::new(format!("take back credential {id}"), at.credentials, &call, REVOKE_GAS)
        }
        Revoked::OfHolder(holder) => {
            let call = CredentialRegistry::bumpHolderCall { modelId: model_id, holder };
            let says = format!("take back every credential of model {model} that {holder} has");
            Step::new(says, at.credentials, &call, REVOKE_GAS)
        }
        Revoked::All => {
            let call = CredentialRegistry::bumpModelCall { modelId: model_id };
            Step::new(
                format!("take back every credential of model {model}"),
                at.credentials,
                &call,
                REVOKE_GAS,
            )
        }
    };
    walk.take(step)?;
    Ok(())
}

/// Issues credentials to whoever asks for one and may have it.
struct Desk {
    issuer: Issuer,
    client: Arc<Client>,
    salts: Mutex<ChaCha20Rng>,
}

/// Serves `POST /v1/credentials` until `drain` begins. `seed` makes the salts.
///
/// # Errors
/// The system gives no threads or takes the listener away.
pub fn run(
    listener: TcpListener,
    issuer: Issuer,
    client: Arc<Client>,
    seed: [u8; 32],
    drain: &Drain,
) -> Result<()> {
    let desk = Desk { issuer, client, salts: Mutex::new(ChaCha20Rng::from_seed(seed)) };
    let app = Router::new()
        .route("/v1/credentials", post(give))
        .route("/health", get(async || answer::json(&json!({ "status": "issuing" }))))
        .layer(DefaultBodyLimit::max(WISH_BYTES_MAX))
        .with_state(Arc::new(desk));
    serve(listener, app, Settings::default().drain_max, drain)
}

async fn give(State(desk): State<Arc<Desk>>, body: Bytes) -> Response {
    let wish: Wish = match serde_json::from_slice(&body) {
        Ok(wish) => wish,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, "malformed", &error.to_string()),
    };
    match tokio::task::spawn_blocking(move || desk.issue(&wish)).await {
        Ok(Ok(file)) => answer::json(&serde_json::to_value(file).unwrap_or_default()),
        Ok(Err(Error::Chain(_))) => refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "chain_unavailable",
            "the chain does not answer; try again",
        ),
        Ok(Err(error)) => refuse(StatusCode::FORBIDDEN, "policy_refused", &error.to_string()),
        Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "try again"),
    }
}

impl Desk {
    fn issue(&self, wish: &Wish) -> Result<CredentialFile> {
        let mut salt = B256::ZERO;
        self.salts.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut salt.0);
        Ok(self.issuer.issue(&self.client, wish, (salt, self.client.time()?))?)
    }
}

pub(super) fn refuse(status: StatusCode, code: &str, message: &str) -> Response {
    let kind = if status.is_server_error() { "server_error" } else { "invalid_request_error" };
    let mut response =
        answer::json(&json!({ "error": { "message": message, "type": kind, "param": null, "code": code } }));
    *response.status_mut() = status;
    response
}
