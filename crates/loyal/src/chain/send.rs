//! `loyal chain send`: an amount of an asset goes to an account.

use alloy_primitives::{Address, U256};
use anyhow::ensure;
use loyal_protocol::{Failure, Step};
use serde_json::json;

use crate::output;
use crate::site::{self, Actor, Site};

/// Gas of a transfer as a rule.
const TRANSFER_GAS: u64 = 60_000;

/// What `loyal chain send` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every run sends once more: look with --dry-run first.

Example:
  loyal chain send --key 0 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 1000")]
pub(crate) struct Args {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    /// Who receives it.
    account: Address,
    /// How much.
    amount: String,
    /// Of what: LOYAL, or the address of an asset.
    #[arg(long, value_name = "ASSET", default_value = "LOYAL")]
    asset: String,
}

alloy_sol_types::sol! {
    function transfer(address to, uint256 value) external returns (bool);
}

/// Sends it.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let reached = args.site.reach()?;
    let asset = site::asset_of(&reached, &args.asset)?;
    let amount = U256::from(asset.parse(&args.amount)?);
    ensure!(amount > U256::ZERO, "an amount of nothing sends nothing");
    let key = args.site.actor(&args.actor)?;
    let (account, to) = (key.address(), args.account);
    let ((), taken) = site::walk(&reached.client, &key, (args.actor.dry_run, args.site.json), |walk| {
        let balance = asset.balance(&reached.client, account)?;
        if balance < amount {
            let (balance, needed) = (asset.text(balance), asset.text(amount));
            return Err(Failure::Short { account, balance, needed }.into());
        }
        let says = format!("send {} to {to}", asset.text(amount));
        walk.take(Step::new(says, asset.address, &transferCall { to, value: amount }, TRANSFER_GAS))?;
        Ok(())
    })?;
    if args.site.json {
        return output::json(&json!({ "steps": site::steps_json(&taken) }));
    }
    let left = asset.balance(&reached.client, account)?;
    output::line(&format!("{account} has {} left", asset.text(left)))
}
