//! `loyal access request`: a credential, from an issuer or a file, into the wallet.

use alloy_primitives::Address;
use anyhow::{Context as _, ensure};
use loyal_access::application;
use loyal_access::caller::{Caller, Seams, Settings};
use loyal_access::document::CredentialFile;
use loyal_access::issuer::Wish;
use loyal_access::outbound::Reach;
use loyal_protocol::Asset;
use serde_json::json;
use std::sync::Arc;

use super::{Holder, WalletFolder};
use crate::clock::SystemClock;
use crate::site::{self, Site};
use crate::{output, time};

const LOYAL: &str = "LOYAL";
const LOYAL_DECIMALS: u8 = 18;

/// Arguments of `loyal access request`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The credential says which contracts take the money. The wallet pays through those of its first credential and no others; \
name --contracts to hold the first one against contracts that you know.

Examples:
  loyal access request http://127.0.0.1:8070 --key me.json
  loyal access request http://127.0.0.1:8070 --key me.json --calls 100 --spend 0.5
  loyal access request credential.json --key me.json --contracts contracts.json")]
pub(crate) struct Args {
    /// Where the issuer answers, or the file of a credential.
    #[arg(value_name = "URL|FILE")]
    from: String,
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    wallet: WalletFolder,
    #[command(flatten)]
    holder: Holder,
    /// Ask for so many invocations; as many as the issuer gives unless given.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    calls: Option<u32>,
    /// Ask for so much to spend; as much as the issuer gives unless given.
    #[arg(long, value_name = "AMOUNT")]
    spend: Option<String>,
    /// In what: LOYAL, or the address of an asset on the chain.
    #[arg(long, value_name = "ASSET", default_value = "LOYAL", requires = "spend")]
    asset: String,
}

impl Args {
    /// The wish for spending, in base units. LOYAL has the same digits on every chain, so that none is asked.
    fn spend_max(&self) -> anyhow::Result<Option<u128>> {
        let Some(text) = &self.spend else { return Ok(None) };
        let asset = if self.asset.eq_ignore_ascii_case(LOYAL) {
            Asset { address: Address::ZERO, symbol: LOYAL.to_owned(), decimals: LOYAL_DECIMALS }
        } else {
            site::asset_of(&self.site.reach()?, &self.asset)?
        };
        Ok(Some(asset.parse(text).context("--spend")?))
    }
}

/// Gets it.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let key = args.holder.key(&args.site)?;
    let holder = key.address();
    let file: CredentialFile = if args.from.starts_with("http://") || args.from.starts_with("https://") {
        let wish = Wish { holder, calls_max: args.calls, spend_max: args.spend_max()? };
        super::runtime()?.block_on(wish.send(&args.from, Reach::Local))?
    } else {
        ensure!(
            args.calls.is_none() && args.spend.is_none(),
            "{}: what a file allows is decided; --calls and --spend are for an issuer",
            args.from
        );
        let bytes = std::fs::read(&args.from).with_context(|| args.from.clone())?;
        application::read(&bytes, holder).with_context(|| args.from.clone())?
    };
    super::check_contracts(&args.site, &file)?;
    let client = Arc::new(args.site.client_at(&file.chain_urls, file.chain_id)?);
    // What the wallet does not pay through it does not keep.
    let seams = Seams { client, clock: Arc::new(SystemClock), seed: rand::random() };
    let caller = Caller::new(file.clone(), key, args.wallet.open()?, seams, Settings::default())?;
    args.wallet.keep(&file)?;
    drop(caller);
    let credential = &file.signed.credential;
    if args.site.json {
        return output::json(&json!({
            "credential": args.wallet.credential_path(), "holder": holder.to_string(),
            "model": credential.modelId.to_string(), "issuer": file.signed.issuer.to_string(),
            "expiresAt": credential.expiresAt, "hosts": file.hosts, "callsMax": credential.callsMax,
            "spendMax": credential.spendMax.to_string(),
        }));
    }
    let now = loyal_types::Clock::unix_seconds(&SystemClock);
    output::pairs(&[
        ("credential", args.wallet.credential_path().display().to_string()),
        ("model", credential.modelId.to_string()),
        ("holder", holder.to_string()),
        ("issuer", file.signed.issuer.to_string()),
        ("good for", format!("{} invocations", output::grouped(credential.callsMax as usize))),
        ("expires", time::text(credential.expiresAt, now)),
        ("hosts", if file.hosts.is_empty() { "none named".to_owned() } else { file.hosts.join("\n") }),
    ])
}
