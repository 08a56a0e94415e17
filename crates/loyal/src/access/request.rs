//! `loyal access request`: a credential, from an issuer or a file, into the wallet.

use anyhow::Context as _;
use loyal_access::application;
use loyal_access::caller::{Caller, Seams, Settings};
use loyal_access::document::CredentialFile;
use loyal_access::issuer::Wish;
use loyal_access::outbound::Reach;
use serde_json::json;
use std::sync::Arc;

use super::{Holder, WalletFolder};
use crate::clock::SystemClock;
use crate::site::Site;
use crate::{output, time};

/// Arguments of `loyal access request`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The credential says which contracts take the money. The wallet pays through those of its first credential and no others; \
name --contracts to hold the first one against contracts that you know.

Examples:
  loyal access request http://127.0.0.1:8099 --key me.json
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
    #[arg(long, value_name = "COUNT")]
    calls: Option<u32>,
}

/// Gets it.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let key = args.holder.key(&args.site)?;
    let holder = key.address();
    let file: CredentialFile = if args.from.starts_with("http://") || args.from.starts_with("https://") {
        let wish = Wish { holder, calls_max: args.calls, spend_max: None };
        super::runtime()?.block_on(wish.send(&args.from, Reach::Local))?
    } else {
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
            "expiresAt": credential.expiresAt, "hosts": file.hosts,
        }));
    }
    let now = loyal_types::Clock::unix_seconds(&SystemClock);
    output::pairs(&[
        ("credential", args.wallet.credential_path().display().to_string()),
        ("model", credential.modelId.to_string()),
        ("holder", holder.to_string()),
        ("issuer", file.signed.issuer.to_string()),
        ("expires", time::text(credential.expiresAt, now)),
        ("hosts", if file.hosts.is_empty() { "none named".to_owned() } else { file.hosts.join("\n") }),
    ])
}
