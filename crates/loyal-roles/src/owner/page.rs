//! A model on one page: its versions, its makers, its hosts, its revenue.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolEvent as _;
use loyal_protocol::{Addresses, Asset, Client, contracts::*};

use crate::error::{Error, Result};
use crate::hosting::{self, Hosting};

/// States of a model, as the Registry numbers them.
const MODEL_STATES: [&str; 11] = [
    "unknown",
    "draft",
    "queued",
    "voting",
    "contestable",
    "active",
    "suspended",
    "retired",
    "withdrawn",
    "rejected",
    "revoked",
];
/// States of a version, as the Registry numbers them.
const VERSION_STATES: [&str; 7] =
    ["unknown", "proposed", "contestable", "active", "superseded", "retired", "revoked"];

/// A model on one page.
#[derive(Debug, Clone)]
pub struct Page {
    /// Its id.
    pub model: u64,
    /// Its name, as its shares have it.
    pub name: String,
    /// The symbol of its shares.
    pub symbol: String,
    /// Where it stands.
    pub state: &'static str,
    /// Who controls it.
    pub controller: Address,
    /// The contract of its shares.
    pub shares: Address,
    /// Its reserve.
    pub treasury: Address,
    /// Whether anybody with a bond may host it.
    pub open_hosting: bool,
    /// Its versions, oldest first.
    pub versions: Vec<Version>,
    /// Who made it, with the weights of the newest agreement.
    pub makers: Vec<(Address, u64)>,
    /// What it is paid in, and asks at least: an invocation, 1,000 tokens.
    pub floors: Vec<(Asset, u128, u128)>,
    /// Its hosts.
    pub hostings: Vec<Hosting>,
    /// What invocations have brought in so far.
    pub revenue: Vec<(Asset, U256)>,
}

/// A version of a model.
#[derive(Debug, Clone)]
pub struct Version {
    /// Its number, from one.
    pub number: u32,
    /// Where it stands.
    pub state: &'static str,
    /// Root of its weights.
    pub weights_root: B256,
    /// Root of its fingerprints.
    pub fingerprint_root: B256,
    /// The version it was made from, where there is one.
    pub parent: Option<(u64, u32)>,
    /// Where its weights can be had.
    pub uri: String,
    /// When others may no longer claim it, in unix seconds.
    pub window_ends: u64,
}

impl Page {
    /// Reads a model from the chain.
    ///
    /// # Errors
    /// The chain's; there is no such model.
    pub fn read(client: &Client, at: &Addresses, model: u64) -> Result<Self> {
        let id = U256::from(model);
        let count = client.call(at.registry, &Registry::modelCountCall {})?;
        if model == 0 || id > count {
            let there = if count.is_zero() { "none yet".to_owned() } else { format!("1 to {count}") };
            return Err(Error::refused(format!("there is no model {model}: the chain has {there}")));
        }
        let entry = client.call(at.registry, &Registry::modelOfCall { modelId: id })?;
        let versions: Result<Vec<Version>> =
            (1..=entry.versionCount).map(|number| version(client, at, id, number)).collect();
        let mut floors = Vec::new();
        for asset in client.call(at.registry, &Registry::assetsOfCall { modelId: id })? {
            let floor = client.call(at.registry, &Registry::floorOfCall { modelId: id, asset })?;
            floors.push((Asset::read(client, asset)?, floor.perCall, floor.perThousand));
        }
        Ok(Self {
            model,
            name: plain(&client.call(entry.shares, &ModelShares::nameCall {})?),
            symbol: plain(&client.call(entry.shares, &ModelShares::symbolCall {})?),
            state: MODEL_STATES.get(usize::from(entry.state)).copied().unwrap_or("unknown"),
            controller: client.call(at.registry, &Registry::controllerOfCall { modelId: id })?,
            shares: entry.shares,
            treasury: entry.treasury,
            open_hosting: entry.openHosting,
            versions: versions?,
            makers: makers(client, at, id)?,
            floors,
            hostings: hosting::of_model(client, at, model)?,
            revenue: revenue(client, at, id)?,
        })
    }
}

fn version(client: &Client, at: &Addresses, model: U256, number: u32) -> Result<Version> {
    let entry = client.call(at.registry, &Registry::versionOfCall { modelId: model, version: number })?;
    let parent = entry.terms.parentModel.saturating_to::<u64>();
    Ok(Version {
        number,
        state: VERSION_STATES.get(usize::from(entry.state)).copied().unwrap_or("unknown"),
        weights_root: entry.terms.weightsRoot,
        fingerprint_root: entry.fingerprintRoot,
        parent: (parent != 0).then_some((parent, entry.terms.parentVersion)),
        uri: plain(&entry.terms.uri),
        window_ends: entry.windowEnds,
    })
}

/// The newest crew of trainers.
fn makers(client: &Client, at: &Addresses, model: U256) -> Result<Vec<(Address, u64)>> {
    let topics = [Some(RevenueRouter::TrainersSet::SIGNATURE_HASH), Some(B256::from(model))];
    let found = client.find(at.router, &topics)?;
    let newest = found.iter().rev().find_map(|event| event.decode::<RevenueRouter::TrainersSet>());
    let grants = newest.map(|event| event.trainers).unwrap_or_default();
    Ok(grants.into_iter().map(|grant| (grant.account, u64::from(grant.bps))).collect())
}

/// All that tills of the model's hostings brought in, by asset.
fn revenue(client: &Client, at: &Addresses, model: U256) -> Result<Vec<(Asset, U256)>> {
    let topics = [Some(RevenueRouter::Collected::SIGNATURE_HASH), Some(B256::from(model))];
    let mut sums: BTreeMap<Address, U256> = BTreeMap::new();
    for event in client.find(at.router, &topics)? {
        if let Some(collected) = event.decode::<RevenueRouter::Collected>() {
            let sum = sums.entry(collected.asset).or_default();
            *sum = sum.saturating_add(collected.amount);
        }
    }
    sums.into_iter().map(|(asset, sum)| Ok((Asset::read(client, asset)?, sum))).collect()
}

/// Text that anybody may have written, without what could move a terminal's cursor.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
