//! `loyal access withdraw`: what is in channels and was not spent comes back.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::B256;
use loyal_access::caller::{Caller, Seams, Settings, Withdrawal};
use loyal_access::document::CredentialFile;
use loyal_access::wallet::Wallet;
use loyal_protocol::Key;
use serde_json::json;

use super::{WalletFolder, amount, asset_of};
use crate::clock::SystemClock;
use crate::site::{self, Actor, Site};
use crate::{output, time};

/// Arguments of `loyal access withdraw`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The host is asked first: one that agrees redeems what it is owed, gives the rest back at once and pays for the transaction. \
Where it does not, or with --alone, it gets some time to redeem, a day as a rule: run this once to ask for the rest, and again \
when the time is over. That takes two transactions for each channel, which the key's account pays for.

Example:
  loyal access withdraw --key me.json")]
pub(crate) struct Args {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    wallet: WalletFolder,
    #[command(flatten)]
    actor: Actor,
    /// Where the host answers, up to and with /v1; the credential's hosts in their order unless given.
    #[arg(long, value_name = "URL")]
    host: Option<String>,
    /// Do not ask the host, which would give the rest back at once.
    #[arg(long, conflicts_with = "host")]
    alone: bool,
}

/// What the host gives back of each channel, as far as it agrees.
fn ask(args: &Args, file: &CredentialFile, key: &Key) -> anyhow::Result<BTreeMap<B256, u128>> {
    let client = Arc::new(args.site.client_at(&file.chain_urls, file.chain_id)?);
    let wallet = args.wallet.open()?;
    let open = wallet.book().channels.iter().filter(|(_, account)| account.rest() > 0);
    let channels: Vec<B256> = open.map(|(channel, _)| *channel).collect();
    let mut given = BTreeMap::new();
    if channels.is_empty() || wallet.book().site.is_none_or(|site| site.payer != key.address()) {
        return Ok(given);
    }
    let seams = Seams { client, clock: Arc::new(SystemClock), seed: rand::random() };
    let settings = Settings { host: args.host.clone(), ..Settings::default() };
    let caller = match Caller::new(file.clone(), key.clone(), wallet, seams, settings) {
        Ok(caller) => caller,
        Err(error) => {
            output::say(&format!("the host is not asked: {error}"));
            return Ok(given);
        }
    };
    super::runtime()?.block_on(async {
        for channel in channels {
            match caller.refund(channel).await {
                Ok(amount) => drop(given.insert(channel, amount)),
                Err(error) => output::say(&format!("{channel}: {error}")),
            }
        }
    });
    Ok(given)
}

/// Takes the next step for each channel.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let file = args.wallet.credential()?;
    let client = args.site.client_at(&file.chain_urls, file.chain_id)?;
    let key = args.site.actor(&args.actor)?;
    let given = if args.alone || args.actor.dry_run { BTreeMap::new() } else { ask(args, &file, &key)? };
    let mut wallet = args.wallet.open()?;
    let channels = Wallet::channels_of(wallet.book());
    let (found, taken) = site::walk(&client, &key, (args.actor.dry_run, args.site.json), |walk| {
        let mut found = Vec::new();
        for channel in channels {
            let asset = wallet.account(channel)?.asset();
            let what = match (wallet.withdraw(walk, channel)?, given.get(&channel)) {
                (Withdrawal::Empty, Some(&amount)) => Withdrawal::Done { amount },
                (what, _) => what,
            };
            found.push((channel, asset, what));
        }
        Ok(found)
    })?;
    if args.site.json {
        let rows = found.iter().map(|(channel, _, what)| match what {
            Withdrawal::Empty => json!({ "channel": channel, "state": "empty" }),
            Withdrawal::Asked { amount, ready_at } => {
                json!({ "channel": channel, "state": "asked", "amount": amount.to_string(), "readyAt": ready_at })
            }
            Withdrawal::Done { amount } => {
                json!({ "channel": channel, "state": "done", "amount": amount.to_string() })
            }
            Withdrawal::Rehearsed => json!({ "channel": channel, "state": "rehearsed" }),
        });
        let rows: Vec<_> = rows.collect();
        return output::json(&json!({ "channels": rows, "steps": site::steps_json(&taken) }));
    }
    if found.is_empty() {
        return output::line("no channel was opened yet");
    }
    let now = client.time()?;
    for (channel, asset, what) in found {
        let asset = asset_of(&client, asset).ok();
        let text = match what {
            Withdrawal::Empty => "nothing is left".to_owned(),
            Withdrawal::Asked { amount: units, ready_at } => format!(
                "{} asked for; run this again {}",
                amount(asset.as_ref(), units),
                time::text(ready_at, now)
            ),
            Withdrawal::Done { amount: units } => format!("{} came back", amount(asset.as_ref(), units)),
            Withdrawal::Rehearsed => continue,
        };
        output::line(&format!("{channel}: {text}"))?;
    }
    Ok(())
}
