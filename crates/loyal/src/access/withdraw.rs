//! `loyal access withdraw`: what is in channels and was not spent comes back.

use loyal_access::caller::Withdrawal;
use loyal_access::wallet::Wallet;
use serde_json::json;

use super::{WalletFolder, amount, asset_of};
use crate::site::{self, Actor, Site};
use crate::{output, time};

/// Arguments of `loyal access withdraw`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A host gets some time to redeem what it is owed, a day as a rule: run this once to ask for the rest, and again when the time is \
over. It takes two transactions for each channel, which the key's account pays for.

Example:
  loyal access withdraw --key me.json")]
pub(crate) struct Args {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    wallet: WalletFolder,
    #[command(flatten)]
    actor: Actor,
}

/// Takes the next step for each channel.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let file = args.wallet.credential()?;
    let client = args.site.client_at(&file.chain_urls, file.chain_id)?;
    let key = args.site.actor(&args.actor)?;
    let mut wallet = args.wallet.open()?;
    let channels = Wallet::channels_of(wallet.book());
    let (found, taken) = site::walk(&client, &key, (args.actor.dry_run, args.site.json), |walk| {
        let mut found = Vec::new();
        for channel in channels {
            let asset = wallet.account(channel)?.asset();
            found.push((channel, asset, wallet.withdraw(walk, channel)?));
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
