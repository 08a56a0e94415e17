//! `loyal chain deploy` and `loyal chain pass`: the contracts on a chain, and time on one for development.

use alloy_primitives::Address;
use anyhow::Context as _;
use loyal_protocol::deploy::{self, Plan};
use serde_json::{Value, json};

use crate::site::{self, Actor, Contracts, Site};
use crate::{output, time};

/// How long the timelock waits unless told otherwise: two days.
const DELAY: &str = "2d";

/// What `loyal chain deploy` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Where each contract goes follows from the deploying account alone. Run again, it deploys what is missing. The account \
receives LOYAL's allocations, and with them the votes of the protocol's governor, until it gives them away. Its key can \
put code at one address that is kept free, that of the ledger of contributions: keep it well.

Example:
  loyal chain run &
  loyal chain deploy --key 0")]
pub(crate) struct DeployArgs {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    /// How long the timelock waits between a proposal and its execution.
    #[arg(long, value_name = "DURATION", default_value = DELAY, value_parser = time::parse_span)]
    delay: u64,
    /// Who receives LOYAL's allocations: initiatives, ecosystem, public, team, investors; the deploying account unless given.
    #[arg(long = "beneficiary", value_name = "ACCOUNT", num_args = 5)]
    beneficiaries: Vec<Address>,
    /// An escrow of the x402 standard that is on the chain already, used instead of a new one.
    #[arg(long, value_name = "CONTRACT")]
    channel: Option<Address>,
}

/// What `loyal chain pass` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct PassArgs {
    #[command(flatten)]
    site: Site,
    /// How much time passes: 90s, 30m, 6h, 2d, "1d 12h".
    #[arg(value_name = "DURATION", value_parser = time::parse_span)]
    duration: u64,
}

/// Puts the contracts on the chain.
pub(super) fn deploy(args: &DeployArgs) -> anyhow::Result<()> {
    let path = args.site.contracts_file();
    let before = path.exists().then(|| Contracts::read(&path)).transpose()?;
    let client = args.site.client(before.as_ref().map(|contracts| contracts.chain_id))?;
    let key = args.site.actor(&args.actor)?;
    let places = deploy::Addresses::of(key.address(), args.channel);
    // A deployment that was cut short goes on with the time it began with.
    let before = before.filter(|before| before.addresses == places);
    anyhow::ensure!(
        before.is_some() || !path.exists(),
        "{}: the contracts of another account; name another file with --contracts",
        path.display()
    );
    let genesis_time = before.map_or_else(|| client.time(), |before| Ok(before.genesis_time))?;
    let contracts = Contracts::new(client.chain_id(), genesis_time, places);
    if !args.actor.dry_run {
        contracts.write(&path)?;
    }
    let beneficiaries = <[Address; 5]>::try_from(args.beneficiaries.as_slice()).unwrap_or([key.address(); 5]);
    let plan = Plan {
        proposers: Vec::new(),
        delay_seconds: args.delay,
        genesis_time,
        beneficiaries,
        channel: args.channel,
    };
    let (places, taken) = site::walk(&client, &key, (args.actor.dry_run, args.site.json), |walk| {
        Ok(deploy::deploy_by(walk, &plan)?)
    })?;
    let addresses = serde_json::to_value(places)?;
    if args.site.json {
        return output::json(&json!({
            "file": path, "chainId": client.chain_id(), "addresses": addresses, "steps": site::steps_json(&taken),
        }));
    }
    let empty = serde_json::Map::new();
    for (name, address) in addresses.as_object().unwrap_or(&empty) {
        output::line(&format!("{name:<24} {}", address.as_str().unwrap_or_default()))?;
    }
    if !args.actor.dry_run {
        output::say(&format!("written to {}", path.display()));
    }
    Ok(())
}

/// Lets time pass on a development chain.
pub(super) fn pass(args: &PassArgs) -> anyhow::Result<()> {
    let client = args.site.client(None)?;
    let refused = "only a development chain lets time pass at will";
    let until = client.time()?.saturating_add(args.duration);
    // Blocks in a hurry run ahead of the clock, and then one step is not enough; a chain that will not move is left.
    for _ in 0..4 {
        let seconds = until.saturating_sub(client.time()?);
        client.ask::<Value>("evm_increaseTime", json!([seconds])).context(refused)?;
        client.ask::<Value>("evm_mine", json!([])).context(refused)?;
        if client.time()? >= until {
            break;
        }
    }
    let now = client.time()?;
    if args.site.json {
        return output::json(&json!({ "time": now }));
    }
    output::line(&time::text(now, now))
}
