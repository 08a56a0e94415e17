//! Who lives in the story, and what they have.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::keccak256;
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use loyal_access::Wallet;
use loyal_access::caller::{Caller, Seams, Settings};
use loyal_access::document::SignedReceipt;
use loyal_access::issuer::Wish;
use loyal_access::outbound::{self, Outbound, Reach};
use loyal_model::Tokenizer;
use loyal_roles::prover::{self, Ledger, Means, Prover, Purse, Text};
use loyal_roles::stake::{self, Seat};
use loyal_roles::validator::{self, Validator};
use loyal_types::Clock;
use serde_json::json;

use super::town::{LOYAL, Town};

/// Provers: as many as a hosting has slots in an epoch.
pub const PROVERS: usize = 16;
/// Validators.
pub const VALIDATORS: usize = 5;
/// Users who pay.
pub const USERS: usize = 3;
const NAMED: [&str; 8] = ["owner", "alice", "bob", "charlie", "david", "host", "cheat", "builder"];

pub(super) fn numbered(what: &str, number: usize) -> String {
    format!("{what} {}", number + 1)
}

pub(super) fn all() -> Vec<String> {
    let crowd = [("prover", PROVERS), ("purse", PROVERS), ("validator", VALIDATORS), ("user", USERS)];
    let crowd = crowd.into_iter().flat_map(|(what, count)| (0..count).map(move |one| numbered(what, one)));
    NAMED.into_iter().map(str::to_owned).chain(crowd).collect()
}

/// Gives everybody what their part takes, and seats.
pub(super) fn endow(town: &Town) -> Result<()> {
    for name in ["host", "cheat"] {
        town.pay("owner", town.address(name), 1_000 * LOYAL)?;
    }
    for number in 0..PROVERS {
        town.pay("owner", town.address(&numbered("purse", number)), 10 * LOYAL)?;
    }
    for number in 0..USERS {
        town.pay("owner", town.address(&numbered("user", number)), 100 * LOYAL)?;
    }
    for (what, count, seat, amount) in
        [("prover", PROVERS, Seat::Prover, 2_500), ("validator", VALIDATORS, Seat::Validator, 10_500)]
    {
        for number in 0..count {
            let name = numbered(what, number);
            town.pay("owner", town.address(&name), amount * LOYAL)?;
            town.act(&name, |walk| Ok(stake::bind(walk, &town.at, seat, None)?))?;
        }
    }
    Ok(())
}

pub(super) fn validators(town: &Town) -> Result<Vec<Validator>> {
    let one = |number: usize| {
        let name = numbered("validator", number);
        let settings =
            validator::Settings { docket: town.folder.join("docket").join(&name), weights: Vec::new() };
        Ok(Validator::new((Arc::clone(&town.client), town.at), town.key(&name).clone(), settings)?)
    };
    (0..VALIDATORS).map(one).collect()
}

pub(super) fn provers(
    town: &Town,
    (issuer_url, ticket_url, endpoints): (&str, &str, Vec<String>),
    (tokenizer, text): (&Arc<Tokenizer>, &Text),
) -> Result<Vec<Prover>> {
    let clock: Arc<dyn Clock + Send + Sync> = Arc::<super::town::DayClock>::clone(&town.clock);
    let one = |number: usize| {
        let name = numbered("prover", number);
        let folder = town.folder.join("provers").join(format!("{:02}", number + 1));
        let key = town.key(&name).clone();
        // One seed makes one story: what a prover draws follows from its key.
        let seed = |what: &str| keccak256([&key.sign_bytes(keccak256(what))[..], what.as_bytes()].concat());
        let means = Means {
            funder: town.key(&numbered("purse", number)).clone(),
            root: seed("keys"),
            issuer_url: issuer_url.to_owned(),
            endpoints: endpoints.clone(),
            reach: Reach::Local,
        };
        let purse = Purse::new(&folder, means, Arc::clone(&town.client), Arc::clone(&clock));
        let settings = prover::Settings {
            cover: 2,
            delay_max: Duration::ZERO,
            ..prover::Settings::new(ticket_url.to_owned(), Arc::clone(tokenizer), text.clone())
        };
        let both = (Ledger::open(&folder)?, purse);
        Ok(Prover::new((Arc::clone(&town.client), town.at), key.clone(), both, settings, seed("draws").0)?)
    };
    (0..PROVERS).map(one).collect()
}

/// Somebody with a credential and a wallet.
#[derive(Debug)]
pub(super) struct User {
    /// Its name in the town.
    pub(super) name: String,
    caller: Caller,
    folder: std::path::PathBuf,
}

pub(super) fn users(
    town: &Town,
    runtime: &tokio::runtime::Runtime,
    issuer_url: &str,
    host_url: &str,
) -> Result<Vec<User>> {
    let clock: Arc<dyn Clock + Send + Sync> = Arc::<super::town::DayClock>::clone(&town.clock);
    let one = |number: usize| {
        let name = numbered("user", number);
        let key = town.key(&name).clone();
        let wish = Wish { holder: key.address(), calls_max: None, spend_max: None };
        let file = runtime.block_on(wish.send(issuer_url, Reach::Local))?;
        let folder = town.folder.join("wallets").join(format!("user-{}", number + 1));
        std::fs::create_dir_all(&folder)?;
        let text = serde_json::to_vec_pretty(&file)?;
        std::fs::write(folder.join("credential.json"), text)?;
        let seed = keccak256(key.sign_bytes(keccak256("salts"))).0;
        let seams = Seams { client: Arc::clone(&town.client), clock: Arc::clone(&clock), seed };
        let settings = Settings {
            host: Some(host_url.to_owned()),
            channel_count_max: 1,
            deposit_factor: 500,
            ..Settings::default()
        };
        let caller = Caller::new(file, key, Wallet::open(&folder)?, seams, settings)?;
        Ok(User { name, caller, folder })
    };
    (0..USERS).map(one).collect()
}

impl User {
    /// Asks the host that this user pays.
    pub(super) async fn ask(&self, question: &str) -> Result<String> {
        let body = json!({ "prompt": question, "max_tokens": 12, "temperature": 0 });
        let mut reply = self.caller.invoke("/completions", Bytes::from(body.to_string())).await?;
        let mut text = String::new();
        while let Some(piece) = reply.next().await? {
            if let loyal_access::caller::Piece::Whole(body) = piece {
                text = String::from_utf8_lossy(&body).into_owned();
            }
        }
        Ok(text)
    }

    /// The first receipt it was given.
    pub(super) fn receipt(&self) -> Result<SignedReceipt> {
        let mut first = None;
        Wallet::receipts(&self.folder, |record| {
            first.get_or_insert(record.receipt.receipt);
            Ok(())
        })?;
        first.with_context(|| format!("{} has no receipt", self.name))
    }
}

/// Asks a host that answers whoever asks, by the name it lists.
pub(super) async fn ask_unseen(url: &str, question: &str) -> Result<()> {
    let models = unpaid("GET", &format!("{url}/models"), String::new()).await?;
    let models: serde_json::Value = serde_json::from_slice(&models)?;
    let body = json!({
        "model": models["data"][0]["id"], "prompt": question, "max_tokens": 12, "temperature": 0,
    });
    unpaid("POST", &format!("{url}/completions"), body.to_string()).await.map(drop)
}

async fn unpaid(method: &str, url: &str, body: String) -> Result<Bytes> {
    let (origin, path) = outbound::split(url)?;
    let request = hyper::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(http_body_util::Full::new(Bytes::from(body)))?;
    let response = Outbound::new(Reach::Local).send(&origin, request).await?;
    ensure!(response.status().is_success(), "{url} answered with status {}", response.status());
    Ok(response.into_body().collect().await?.to_bytes())
}
