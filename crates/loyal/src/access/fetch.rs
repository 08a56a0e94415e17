//! `loyal access fetch`: one answer of a server that speaks x402 and is no hosting.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use loyal_access::caller::Seams;
use loyal_access::customer::{Customer, Method, Order, Settings};
use loyal_access::outbound::Reach;
use serde_json::json;

use super::{Holder, WalletFolder, amount, asset_of};
use crate::clock::SystemClock;
use crate::output;
use crate::site::Site;

/// Arguments of `loyal access fetch`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Pays by scheme exact: one transfer for one answer, signed once and shown again where the answer did not come. The answer goes \
to standard output; what was paid, to standard error. Such a server signs no receipt: nobody can be shown that it did not \
deliver. Nothing is paid without a cap: --max, or `loyal access cap --request`.

Example:
  loyal access fetch https://api.example/weather --max 0.01 --asset 0xAa… --key me.json")]
pub(crate) struct Args {
    /// What to ask for.
    url: String,
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    wallet: WalletFolder,
    #[command(flatten)]
    holder: Holder,
    /// The most that the answer may cost, in the asset that --asset names.
    #[arg(long, value_name = "AMOUNT", requires = "asset")]
    max: Option<String>,
    /// What is paid with: the address of an asset.
    #[arg(long, value_name = "ASSET")]
    asset: Option<alloy_primitives::Address>,
    /// A file that is sent along, by POST, as JSON.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Reach servers of this machine and of private networks too.
    #[arg(long)]
    private: bool,
}

/// Fetches it.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let client = Arc::new(args.site.client(None)?);
    let key = args.holder.key(&args.site)?;
    let amount_max = match (&args.max, args.asset) {
        (Some(text), Some(address)) => Some(asset_of(&client, address)?.parse(text).context("--max")?),
        _ => None,
    };
    let body = match &args.body {
        Some(path) => {
            let bytes = std::fs::read(path).with_context(|| format!("{}", path.display()))?;
            Some(("application/json".to_owned(), bytes.into()))
        }
        None => None,
    };
    let method = if body.is_some() { Method::POST } else { Method::GET };
    let order = Order { method, url: args.url.clone(), body };
    let reach = if args.private { Reach::Local } else { Reach::Public };
    let settings = Settings { amount_max, asset: args.asset, reach, ..Settings::default() };
    let seams = Seams { client: client.clone(), clock: Arc::new(SystemClock), seed: rand::random() };
    let customer = Customer::new(key, args.wallet.open()?, seams, settings);
    let found = super::runtime()?.block_on(customer.fetch(&order))?;
    let text = String::from_utf8_lossy(&found.body);
    if args.site.json {
        return output::json(&json!({ "status": found.status, "body": text, "purchase": found.purchase }));
    }
    output::line(&text)?;
    if let Some(purchase) = found.purchase {
        let asset = asset_of(&client, purchase.asset).ok();
        let paid = amount(asset.as_ref(), purchase.amount);
        output::say(&if purchase.is_made {
            format!("{paid} paid to {}; no receipt binds the server", purchase.pay_to)
        } else {
            format!(
                "{paid} promised to {} and not taken: ask the same again, it is paid once",
                purchase.pay_to
            )
        });
    }
    anyhow::ensure!(found.status < 400, "the server answered with status {}", found.status);
    Ok(())
}
