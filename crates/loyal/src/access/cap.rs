//! `loyal access cap` and `forgive`: what a wallet may do, as its owner decides.

use anyhow::ensure;
use loyal_access::wallet::{Caps, Entry};
use loyal_protocol::Asset;
use serde_json::json;

use super::{WalletFolder, amount};
use crate::output;
use crate::site::Site;

/// Arguments of `loyal access cap`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Caps are held before anything is signed. What an invocation may cost counts whole until its receipt says what it did cost. \
Those that are not named stay as they are; \"none\" takes one away.

Example:
  loyal access cap --request 0.01 --hour 1 --day 5")]
pub(crate) struct Args {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    wallet: WalletFolder,
    /// The most that one request may cost.
    #[arg(long, value_name = "AMOUNT|none")]
    request: Option<String>,
    /// The most that is spent in any 60 minutes.
    #[arg(long, value_name = "AMOUNT|none")]
    hour: Option<String>,
    /// The most that is spent in any 24 hours.
    #[arg(long, value_name = "AMOUNT|none")]
    day: Option<String>,
    /// Of what: the address of an asset; LOYAL of the wallet's contracts, or the credential's asset, unless given.
    #[arg(long, value_name = "ASSET")]
    asset: Option<alloy_primitives::Address>,
}

/// Sets them.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let file = args.wallet.credential()?;
    let client = args.site.client_at(&file.chain_urls, file.chain_id)?;
    let own = Some(file.signed.credential.asset).filter(|asset| !asset.is_zero());
    let address = match args.asset.or(own) {
        Some(address) => address,
        None => currency(&client, &file)?,
    };
    let asset = super::asset_of(&client, address)?;
    let mut wallet = args.wallet.open()?;
    let mut caps = wallet.book().caps.get(&address).copied().unwrap_or_default();
    set(&asset, args.request.as_ref(), &mut caps.request)?;
    set(&asset, args.hour.as_ref(), &mut caps.hour)?;
    set(&asset, args.day.as_ref(), &mut caps.day)?;
    wallet.write(Entry::Caps { asset: address, caps })?;
    if args.site.json {
        return output::json(&json!({ "asset": address.to_string(), "caps": caps }));
    }
    output::pairs(&rows(&caps, Some(&asset)))
}

/// Caps for people.
pub(super) fn rows(caps: &Caps, asset: Option<&Asset>) -> Vec<(&'static str, String)> {
    let text = |cap: Option<u128>| cap.map_or_else(|| "none".to_owned(), |cap| amount(asset, cap));
    vec![
        ("cap for a request", text(caps.request)),
        ("cap for an hour", text(caps.hour)),
        ("cap for a day", text(caps.day)),
    ]
}

fn set(asset: &Asset, named: Option<&String>, cap: &mut Option<u128>) -> anyhow::Result<()> {
    match named.map(String::as_str) {
        None => {}
        Some("none") => *cap = None,
        Some(text) => *cap = Some(asset.parse(text)?),
    }
    Ok(())
}

/// LOYAL, as the contracts of a credential know it.
fn currency(
    client: &loyal_protocol::Client,
    file: &loyal_access::document::CredentialFile,
) -> anyhow::Result<alloy_primitives::Address> {
    use loyal_protocol::contracts::{Gate, StakeVault};
    let vault = client.call(file.gate, &Gate::vaultCall {})?;
    Ok(client.call(vault, &StakeVault::currencyCall {})?)
}

/// Arguments of `loyal access forgive`.
#[derive(Debug, clap::Args)]
pub(crate) struct ForgiveArgs {
    #[command(flatten)]
    wallet: WalletFolder,
    /// The hosting.
    hosting: String,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Forgives it.
pub(super) fn forgive(args: &ForgiveArgs) -> anyhow::Result<()> {
    let mut wallet = args.wallet.open()?;
    let hosting = args.hosting.clone();
    ensure!(
        wallet.book().faults.contains_key(&hosting),
        "hosting {hosting} has broken no rule that this wallet knows of"
    );
    wallet.write(Entry::Forgiven { hosting: hosting.clone() })?;
    if args.json {
        return output::json(&json!({ "forgiven": hosting }));
    }
    output::line(&format!("hosting {hosting} is paid again"))
}
