//! What a chain says about the fingerprints: whose leaf root it is, and since when.

use alloy_primitives::{B256, U256};
use anyhow::{Context as _, bail, ensure};
use loyal_fingerprint::FingerprintSet;
use loyal_protocol::contracts::{Beacon, Registry};
use loyal_roles::owner::Page;
use serde::Serialize;

use crate::site::Site;

/// A version of a registered model that carries these fingerprints.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Registered {
    /// The chain.
    pub(super) chain_id: u64,
    /// Its Registry.
    pub(super) registry: String,
    /// The model.
    pub(super) model: u64,
    /// Its name.
    pub(super) name: String,
    /// The version.
    pub(super) version: u32,
    /// Where that stands.
    pub(super) state: &'static str,
    /// Who committed to the leaves.
    pub(super) committer: String,
    /// When, in unix seconds.
    pub(super) committed_at: u64,
    /// The epoch whose seed fixes the answers.
    pub(super) beacon_epoch: u32,
    /// Root over what was embedded.
    pub(super) fingerprint_root: String,
    /// Roots of its weights.
    pub(super) weights_root: String,
    /// How many hostings it has: endpoints that may serve it.
    pub(super) hostings: usize,
}

impl Registered {
    /// The version of `model` that was registered with the leaf root of `set`.
    ///
    /// # Errors
    /// The chain's; no version has that leaf root, or the beacon of the set is not the one that the chain drew.
    pub(super) fn find(site: &Site, model: u64, set: &FingerprintSet) -> anyhow::Result<Self> {
        let reached = site.reach()?;
        let (client, at) = (&reached.client, &reached.at);
        let page = Page::read(client, at, model)?;
        let leaf_root = B256::from(set.leaf_root().0);
        for one in &page.versions {
            let call = Registry::versionOfCall { modelId: U256::from(model), version: one.number };
            let version = client.call(at.registry, &call)?;
            if version.terms.leafRoot != leaf_root {
                continue;
            }
            let call = Registry::commitmentOfCall { commitment: version.commitment };
            let commitment = client.call(at.registry, &call)?;
            let draw = client.call(at.beacon, &Beacon::drawOfCall { epoch: commitment.beaconEpoch })?;
            let beacon = set.beacon().context("the fingerprints are not bound to a beacon")?;
            ensure!(
                draw.seed.0 == beacon.seed.0,
                "the fingerprints are bound to {}, but the chain drew {} for epoch {}",
                beacon.seed,
                draw.seed,
                commitment.beaconEpoch
            );
            return Ok(Self {
                chain_id: client.chain_id(),
                registry: at.registry.to_string(),
                model,
                name: page.name,
                version: one.number,
                state: one.state,
                committer: commitment.committer.to_string(),
                committed_at: commitment.committedAt,
                beacon_epoch: commitment.beaconEpoch,
                fingerprint_root: version.fingerprintRoot.to_string(),
                weights_root: version.terms.weightsRoot.to_string(),
                hostings: page.hostings.len(),
            });
        }
        bail!("no version of model {model} was registered with the leaf root {}", set.leaf_root())
    }
}
