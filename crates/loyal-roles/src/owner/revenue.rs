//! What an account is owed by models, and how it gets it: as host, builder, trainer or holder of shares.

use std::collections::BTreeSet;

use alloy_primitives::{Address, U256};
use loyal_protocol::{Addresses, Asset, Client, Step, Walk, contracts::*};

use crate::error::Result;

/// Gas that the steps use as a rule (`contracts/snapshots/GasTest.json`).
mod gas {
    pub(super) const ACCRUE: u64 = 73_000;
    pub(super) const WITHDRAW: u64 = 63_000;
    pub(super) const SHARES: u64 = 129_000;
    pub(super) const RELEASE: u64 = 90_000;
}

/// Allocations of LOYAL.
const ALLOCATIONS: u64 = 5;

/// An amount that an account gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// In what.
    pub asset: Asset,
    /// How much.
    pub amount: U256,
    /// What for.
    pub what: What,
}

/// What an amount is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Owed by the router already: as host, builder, or accrued before.
    Owed,
    /// What is free of an allocation of LOYAL.
    Vested {
        /// The allocation, from zero.
        index: u64,
    },
    /// A trainer's part of a model's revenue.
    Trained {
        /// The model.
        model: u64,
        /// The crew of trainers the account is in.
        crew: u32,
    },
    /// Revenue of a model's shares.
    Held {
        /// The model.
        model: u64,
        /// The contract of the shares.
        shares: Address,
    },
}

/// Everything an account is owed, by these models or by all of them.
///
/// # Errors
/// The chain's.
pub fn due(client: &Client, at: &Addresses, account: Address, models: &[u64]) -> Result<Vec<Due>> {
    let models: Vec<u64> = if models.is_empty() {
        (1..=client.call(at.registry, &Registry::modelCountCall {})?.saturating_to()).collect()
    } else {
        models.to_vec()
    };
    let (mut found, mut assets) = (Vec::new(), BTreeSet::from([at.currency]));
    for &model in &models {
        let model_id = U256::from(model);
        let accepted = client.call(at.registry, &Registry::assetsOfCall { modelId: model_id })?;
        let shares = client.call(at.registry, &Registry::modelOfCall { modelId: model_id })?.shares;
        let crews = client.call(at.router, &RevenueRouter::crewCountCall { modelId: model_id })?;
        for &asset in &accepted {
            for crew in 1..=crews {
                let call = RevenueRouter::accruedCall { modelId: model_id, crew, trainer: account, asset };
                push(
                    &mut found,
                    client,
                    asset,
                    client.call(at.router, &call)?,
                    What::Trained { model, crew },
                )?;
            }
            if shares != Address::ZERO {
                let amount = client.call(shares, &ModelShares::withdrawableCall { account, asset })?;
                push(&mut found, client, asset, amount, What::Held { model, shares })?;
            }
        }
        assets.extend(accepted);
    }
    let time = U256::from(client.time()?);
    for index in 0..ALLOCATIONS {
        let number = U256::from(index);
        let allocation = client.call(at.vesting, &GenesisVesting::allocationOfCall { index: number })?;
        if allocation.beneficiary == account {
            let vested = client.call(at.vesting, &GenesisVesting::vestedCall { index: number, time })?;
            let free = vested.saturating_sub(allocation.released);
            push(&mut found, client, at.currency, free, What::Vested { index })?;
        }
    }
    for asset in assets {
        let amount = client.call(at.router, &RevenueRouter::owedCall { account, asset })?;
        push(&mut found, client, asset, amount, What::Owed)?;
    }
    Ok(found)
}

fn push(found: &mut Vec<Due>, client: &Client, asset: Address, amount: U256, what: What) -> Result<()> {
    if amount > U256::ZERO {
        found.push(Due { asset: Asset::read(client, asset)?, amount, what });
    }
    Ok(())
}

/// Sends an account everything it is owed. The walk's account pays the gas; the amounts go to whom they belong.
///
/// # Errors
/// The chain's.
pub fn withdraw(walk: &mut Walk<'_>, at: &Addresses, account: Address, models: &[u64]) -> Result<Vec<Due>> {
    let found = due(walk.client, at, account, models)?;
    let mut assets = Vec::new();
    for Due { asset, amount, what } in &found {
        let text = asset.text(*amount);
        match *what {
            What::Trained { model, crew } => {
                let call = RevenueRouter::accrueCall {
                    modelId: U256::from(model),
                    crew,
                    trainer: account,
                    asset: asset.address,
                };
                let says = format!("count {text} as owed for training model {model}");
                walk.take(Step::new(says, at.router, &call, gas::ACCRUE))?;
            }
            What::Held { model, shares } => {
                let call = ModelShares::withdrawCall { account, asset: asset.address };
                let says = format!("send {text} of the shares of model {model}");
                walk.take(Step::new(says, shares, &call, gas::SHARES))?;
                continue;
            }
            What::Vested { index } => {
                let call = GenesisVesting::releaseCall { index: U256::from(index) };
                let says = format!("send {text} or a little more, free of allocation {index}");
                walk.take(Step::new(says, at.vesting, &call, gas::RELEASE))?;
                continue;
            }
            What::Owed => {}
        }
        if !assets.contains(asset) {
            assets.push(asset.clone());
        }
    }
    for asset in assets {
        let owed = |due: &&Due| due.asset == asset && matches!(due.what, What::Owed | What::Trained { .. });
        let sum = found.iter().filter(owed).fold(U256::ZERO, |sum, due| sum + due.amount);
        let call = RevenueRouter::withdrawCall { account, asset: asset.address };
        let says = format!("send {} that the router owes", asset.text(sum));
        walk.take(Step::new(says, at.router, &call, gas::WITHDRAW))?;
    }
    Ok(found)
}
