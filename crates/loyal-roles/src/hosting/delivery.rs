//! Copies of a traced model: the owner names the one it made for a host, and the host's signer acknowledges it.

use alloy_primitives::{B256, U256};
use loyal_protocol::{Addresses, Client, Key, Step, Walk, contracts::*};

use super::{BONDED, Hosting, Next};
use crate::error::{Error, Result};

/// Gas of naming a copy as a rule (`contracts/snapshots/GasTest.json`).
const PREPARE_GAS: u64 = 90_000;

/// The copy of a hosting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copy {
    /// Root of its weights.
    pub root: B256,
    /// Root over the fingerprints it carries; zero where all hosts have the same.
    pub subset: B256,
}

/// The copy that a hosting serves: the one its owner named for it, else the version's own weights.
///
/// # Errors
/// The chain's; there is no such hosting.
pub fn copy_of(client: &Client, at: &Addresses, id: u64) -> Result<Copy> {
    let named = client.call(at.gate, &Gate::copyOfCall { hostingId: U256::from(id) })?;
    if named.copyRoot != B256::ZERO {
        return Ok(Copy { root: named.copyRoot, subset: named.subsetRoot });
    }
    let hosting = Hosting::read(client, at, id)?;
    let call = Registry::versionOfCall { modelId: U256::from(hosting.model), version: hosting.version };
    Ok(Copy { root: client.call(at.registry, &call)?.terms.weightsRoot, subset: B256::ZERO })
}

/// Names the copy that the owner made for a hosting, unless it is named already; by that it admits the host.
///
/// # Errors
/// The chain's; the hosting has a copy already and serves.
pub fn prepare(walk: &mut Walk<'_>, at: &Addresses, id: u64, copy: Copy) -> Result<()> {
    let hosting_id = U256::from(id);
    let client = walk.client;
    let named = client.call(at.gate, &Gate::copyOfCall { hostingId: hosting_id })?;
    if (named.copyRoot, named.subsetRoot) == (copy.root, copy.subset) {
        return Ok(());
    }
    let hosting = Hosting::read(client, at, id)?;
    if client.call(at.gate, &Gate::hostingOfCall { hostingId: hosting_id })?.state != BONDED {
        return Err(Error::refused(format!(
            "hosting {id} is {}: a copy is named once its bond is there and before it serves",
            hosting.state
        )));
    }
    let controller =
        client.call(at.registry, &Registry::controllerOfCall { modelId: U256::from(hosting.model) })?;
    if controller != walk.account() {
        return Err(Error::refused(format!(
            "{controller} controls model {}: it names copies, not {}",
            hosting.model,
            walk.account()
        )));
    }
    let call = Gate::prepareCall { hostingId: hosting_id, copyRoot: copy.root, subsetRoot: copy.subset };
    walk.take(Step::new(format!("name the copy of hosting {id}"), at.gate, &call, PREPARE_GAS))?;
    Ok(())
}

/// Lets the hosting's signer acknowledge its copy, unless it did; anybody may bring the signature.
///
/// # Errors
/// The chain's; the key is not the hosting's signer; there is nothing to acknowledge.
pub fn acknowledge(walk: &mut Walk<'_>, at: &Addresses, id: u64, signer: &Key) -> Result<Next> {
    let hosting = Hosting::read(walk.client, at, id)?;
    if hosting.signer != signer.address() {
        let (wanted, found) = (hosting.signer, signer.address());
        return Err(Error::refused(format!("{wanted} signs for hosting {id}, not {found}")));
    }
    if hosting.state == "active" {
        return Ok(Next::Serves);
    }
    super::deliver(walk, at, (id, hosting.model, hosting.version), signer)
}
