//! Probes, as the owner sees them: tickets for the provers that are drawn, and the answers to what they lay open.
//!
//! Neither needs a memory. A ticket follows from the draw on the chain and the owner's fingerprints, and which answers are
//! still to be opened stands on the chain.

use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};

use alloy_primitives::{Address, B256, Bytes as Data, U256};
use alloy_sol_types::SolEvent as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use loyal_access::document::SignedTicket;
use loyal_fingerprint::commitment::Opening;
use loyal_fingerprint::fingerprint::FingerprintSet;
use loyal_protocol::contracts::*;
use loyal_protocol::{Addresses, Asset, Client, Failure, Key, Step, Walk, message};
use rand::{RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;
use serde_json::json;

use super::issuing::refuse;
use crate::error::{Error, Result};
use crate::host::{Drain, Settings, answer, serve};
use crate::ticket::{self, Application, Grant, Slot, uint48};

const APPLICATION_BYTES_MAX: usize = 4_096;
/// The state of a probe whose answer was asked for, as the board numbers them.
const REQUESTED: u8 = 3;

mod gas {
    pub(super) const SIGNER: u64 = 80_000;
    pub(super) const FUND: u64 = 90_000;
    pub(super) const OPEN: u64 = 420_000;
}

/// Lets a key sign tickets of a model, unless it does already.
///
/// # Errors
/// The chain's: only the model's controller may.
pub fn appoint(walk: &mut Walk<'_>, at: &Addresses, model: u64, signer: Address) -> Result<()> {
    let model_id = U256::from(model);
    let call = ProbeReader::ticketSignerAtCall { modelId: model_id, time: uint48(walk.client.time()?) };
    if walk.client.call(at.probe_reader, &call)? == signer {
        return Ok(());
    }
    let call = ProbeReader::setTicketSignerCall { modelId: model_id, signer };
    let says = format!("let {signer} sign tickets for probes of model {model}");
    walk.take(Step::new(says, at.probe_reader, &call, gas::SIGNER))?;
    Ok(())
}

/// Raises the purse from which provers are paid whose answers stay closed, to an amount of LOYAL.
///
/// # Errors
/// The chain's; too little LOYAL.
pub fn fund(walk: &mut Walk<'_>, at: &Addresses, model: u64, to: u128) -> Result<()> {
    let client = walk.client;
    let found = client.call(at.probe_board, &ProbeBoard::purseOfCall { modelId: U256::from(model) })?;
    let more = U256::from(to).saturating_sub(found);
    if more.is_zero() {
        return Ok(());
    }
    let loyal = Asset::read(client, at.currency)?;
    walk.take_if(Step::approval(client, &loyal, walk.account(), (at.probe_board, "board of probes"), more)?)?;
    let call = ProbeBoard::fundCall { modelId: U256::from(model), amount: more };
    let says = format!("put {} aside for provers whose answers are not opened", loyal.text(more));
    walk.take(Step::new(says, at.probe_board, &call, gas::FUND))?;
    Ok(())
}

/// Gives tickets for the fingerprints of one version.
pub struct Desk {
    client: Arc<Client>,
    at: Addresses,
    model: u64,
    signer: Key,
    set: Arc<FingerprintSet>,
    draw: Mutex<ChaCha20Rng>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("model", &self.model).finish_non_exhaustive()
    }
}

impl Desk {
    /// A desk of `model`. `signer` was appointed; `seed` is secret.
    #[must_use]
    pub fn new(
        (client, at): (Arc<Client>, Addresses),
        model: u64,
        signer: Key,
        set: Arc<FingerprintSet>,
        seed: [u8; 32],
    ) -> Self {
        Self { client, at, model, signer, set, draw: Mutex::new(ChaCha20Rng::from_seed(seed)) }
    }

    /// The ticket for a slot, to whoever was drawn for it, while its epoch lasts.
    ///
    /// # Errors
    /// [`Error::Refused`] says why not; the chain's.
    pub fn give(&self, application: &Application) -> Result<Grant> {
        let site = (self.client.chain_id(), self.at.registry);
        if !application.verify(site) {
            return Err(Error::refused("the prover did not sign this"));
        }
        let slot = application.slot;
        let time = U256::from(self.client.time()?);
        let today = self.client.call(self.at.parameters, &Parameters::epochAtCall { time })?;
        if slot.epoch != today {
            return Err(Error::refused(format!("tickets of epoch {today} are given now")));
        }
        let drawn = ticket::drawn(&self.client, &self.at, slot.hosting, slot.epoch)?;
        let drawn = drawn.get(usize::from(slot.number));
        let drawn = drawn.filter(|drawn| drawn.prover == application.prover);
        let drawn = drawn
            .ok_or_else(|| Error::refused(format!("{} was not drawn for {slot}", application.prover)))?;
        if drawn.model != self.model {
            return Err(Error::refused(format!("tickets of model {} are given here", self.model)));
        }
        check_set(&self.client, &self.at, (drawn.model, drawn.version), &self.set)?;
        let one = self.set.fingerprints().get(drawn.leaf as usize);
        let one = one.ok_or_else(|| Error::refused(format!("there is no fingerprint {}", drawn.leaf)))?;
        let domain = message::domain(site.0, site.1);
        let query_hash = alloy_primitives::keccak256(&one.query);
        let ticket = SignedTicket::sign(drawn.ticket(slot, query_hash), &self.signer, &domain);
        let mut entropy = [0; 32];
        self.draw.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut entropy);
        Grant::new(application, ticket, &one.query, (site.0, site.1, entropy))
    }
}

/// Whether a version stands on these fingerprints.
fn check_set(
    client: &Client,
    at: &Addresses,
    (model, version): (u64, u32),
    set: &FingerprintSet,
) -> Result<()> {
    let call = Registry::versionOfCall { modelId: U256::from(model), version };
    let found = client.call(at.registry, &call)?.terms.leafRoot;
    let ours = set.commitment().leaf_root;
    if found.0 == ours.0 {
        return Ok(());
    }
    Err(Error::refused(format!(
        "version {version} of model {model} stands on the leaves {found}, these fingerprints on {ours}"
    )))
}

/// An answer that was opened, or could not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The slot.
    pub slot: Slot,
    /// Coins on the model's side, of all; none where the contract refused.
    pub coins: Option<(u16, u16)>,
}

/// Opens the answer to everything that provers laid open about `set`'s version and that waits. Run again, it opens nothing twice.
///
/// # Errors
/// The chain's.
pub fn open(walk: &mut Walk<'_>, at: &Addresses, model: u64, set: &FingerprintSet) -> Result<Vec<Opened>> {
    let mut opened = Vec::new();
    for hosting in crate::hosting::of_model(walk.client, at, model)? {
        if check_set(walk.client, at, (hosting.model, hosting.version), set).is_err() {
            continue;
        }
        let topics =
            [Some(ProbeBoard::AnswerRequested::SIGNATURE_HASH), Some(B256::from(U256::from(hosting.id)))];
        for event in walk.client.find(at.probe_board, &topics)? {
            let Some(asked) = event.decode::<ProbeBoard::AnswerRequested>() else { continue };
            let slot = Slot { hosting: hosting.id, epoch: asked.epoch, number: asked.slot };
            let call = ProbeBoard::probeOfCall { slot: slot.on_chain() };
            if walk.client.call(at.probe_board, &call)?.state != REQUESTED {
                continue;
            }
            opened.push(open_one(walk, at, set, (slot, &asked))?);
        }
    }
    Ok(opened)
}

fn open_one(
    walk: &mut Walk<'_>,
    at: &Addresses,
    set: &FingerprintSet,
    (slot, asked): (Slot, &ProbeBoard::AnswerRequested),
) -> Result<Opened> {
    let opening = Opening::new(set, asked.index).map_err(|error| Error::refused(error.to_string()))?;
    let siblings = opening.proof.siblings.iter().map(|node| ProbeBoard::Node {
        hash: node.hash.0.into(),
        amount: node.amount,
        tokens: node.tokens,
    });
    let proof = ProbeBoard::Proof {
        index: opening.proof.index,
        count: opening.proof.count,
        siblings: siblings.collect(),
    };
    let call = ProbeBoard::openResultCall {
        opening: ProbeBoard::ProbeOpening {
            slot: slot.on_chain(),
            salt: asked.salt,
            replies: asked.replies.clone(),
            blinding: opening.blinding.0.into(),
            answerSpec: Data::from(opening.answer_spec),
            proof,
        },
    };
    let step = Step::new(format!("open the answer to {slot}"), at.probe_board, &call, gas::OPEN);
    match walk.take(step) {
        Ok(mined) => {
            let event = mined.and_then(|mined| mined.event::<ProbeBoard::ResultOpened>());
            Ok(Opened { slot, coins: event.map(|event| (event.hits, event.coins)) })
        }
        // Too late, or somebody was faster: nothing to open any more.
        Err(Failure::Reverted { .. }) => Ok(Opened { slot, coins: None }),
        Err(error) => Err(error.into()),
    }
}

/// Serves `POST /v1/tickets` until `drain` begins.
///
/// # Errors
/// The system gives no threads or takes the listener away.
pub fn run(listener: TcpListener, desk: Desk, drain: &Drain) -> Result<()> {
    let app = Router::new()
        .route("/v1/tickets", post(give))
        .route("/health", get(async || answer::json(&json!({ "status": "giving tickets" }))))
        .layer(DefaultBodyLimit::max(APPLICATION_BYTES_MAX))
        .with_state(Arc::new(desk));
    serve(listener, app, Settings::default().drain_max, drain)
}

async fn give(State(desk): State<Arc<Desk>>, body: Bytes) -> Response {
    let application: Application = match serde_json::from_slice(&body) {
        Ok(application) => application,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, "malformed", &error.to_string()),
    };
    match tokio::task::spawn_blocking(move || desk.give(&application)).await {
        Ok(Ok(grant)) => answer::json(&serde_json::to_value(grant).unwrap_or_default()),
        Ok(Err(Error::Chain(Failure::Reverted { reason, .. }))) => {
            refuse(StatusCode::FORBIDDEN, "not_drawn", &reason)
        }
        Ok(Err(Error::Chain(_))) => refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "chain_unavailable",
            "the chain does not answer; try again",
        ),
        Ok(Err(error)) => refuse(StatusCode::FORBIDDEN, "not_drawn", &error.to_string()),
        Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "try again"),
    }
}
