//! `loyal owner issue|revoke`: who may invoke a model.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use alloy_primitives::{Address, B256, U256};
use anyhow::{Context as _, bail, ensure};
use loyal_access::document::{self, CredentialFile};
use loyal_access::issuer::{Issuer, Policy, Signers, Wish};
use loyal_protocol::{Asset, Key, message};
use loyal_roles::owner::issuing::{self, Revoked};
use serde_json::json;

use crate::site::{self, Actor, Reached, Site};
use crate::{host, output, time};

const DAY: u64 = 86_400;

/// What `loyal owner issue` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A credential lets its holder invoke the model, so often and for so much. Who issues for the first time is named on \
the chain first, which only the model's controller can do. With --listen credentials are given to whoever asks for one \
and may have it: everybody, unless the policy names holders.

Examples:
  loyal owner issue 3 --holder 0xAa… --calls 1000 --spend 5 --days 30 --out alice.json --key owner.json
  loyal owner issue 3 --listen 127.0.0.1:8070 --calls 1000 --spend 5 --days 30 --host https://models.example/v1 --key owner.json
  loyal owner issue 3 --listen 127.0.0.1:8070 --policy policy.json --key owner.json")]
pub(crate) struct IssueArgs {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    /// The model.
    model: u64,
    /// Who gets it.
    #[arg(long, value_name = "ACCOUNT", conflicts_with = "listen", required_unless_present = "listen")]
    holder: Option<Address>,
    /// Where to write it (never overwritten); printed unless given.
    #[arg(long, value_name = "FILE", conflicts_with = "listen")]
    out: Option<PathBuf>,
    /// Give credentials to whoever asks here.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Let other machines reach it. It has no TLS: put a proxy in front of it.
    #[arg(long, requires = "listen")]
    beyond_loopback: bool,
    /// What is permitted, as JSON: callsMax, spendMax, lifetime, and if wanted holders, version, hosting, builder, policyHash.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["calls", "spend", "days", "hosting"])]
    policy: Option<PathBuf>,
    /// Invocations at most.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    calls: u32,
    /// Spending at most.
    #[arg(long, value_name = "AMOUNT", default_value = "10")]
    spend: String,
    /// In what: LOYAL, or the address of an asset.
    #[arg(long, value_name = "ASSET", default_value = "LOYAL")]
    asset: String,
    /// How long it is good, in days.
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3_650))]
    days: u64,
    /// Only for this hosting.
    #[arg(long, value_name = "ID")]
    hosting: Option<u64>,
    /// Where a hosting of the model answers, up to and with /v1; written into the credential's file.
    #[arg(long = "host", value_name = "URL")]
    hosts: Vec<String>,
    /// A contract in whose name the keys sign (ERC-1271); then several may.
    #[arg(long, value_name = "ACCOUNT")]
    issuer: Option<Address>,
    /// Another key that signs, behind a contract.
    #[arg(long = "with-key", value_name = "KEY", requires = "issuer")]
    with: Vec<String>,
}

/// What `loyal owner revoke` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What is taken back is refused from the next block on, for good. Issuers take back credentials and holders; only the \
model's controller takes back all of them, or removes an issuer.

Example:
  loyal owner revoke 3 --credential alice.json --key owner.json")]
#[group(required = true, multiple = false, id = "what", args = ["credential", "holder", "all", "issuer"])]
pub(crate) struct RevokeArgs {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    /// The model.
    model: u64,
    /// This credential: its file, or its id.
    #[arg(long, value_name = "FILE|ID")]
    credential: Option<String>,
    /// Every credential of this holder.
    #[arg(long, value_name = "ACCOUNT")]
    holder: Option<Address>,
    /// Every credential of the model.
    #[arg(long)]
    all: bool,
    /// Every credential of this issuer, which issues no more.
    #[arg(long, value_name = "ACCOUNT")]
    issuer: Option<Address>,
}

/// Issues.
pub(crate) fn issue(args: &IssueArgs) -> anyhow::Result<()> {
    let reached = args.site.reach()?;
    let key = args.site.actor(&args.actor)?;
    let issuer = issuer(args, &reached, &key)?;
    let account = issuer.signers.issuer()?;
    site::walk(&reached.client, &key, (args.actor.dry_run, args.site.json), |walk| {
        Ok(issuing::appoint(walk, &reached.at, args.model, account)?)
    })?;
    if args.actor.dry_run {
        return Ok(());
    }
    if let Some(listen) = args.listen {
        return serve(args, listen, issuer, reached);
    }
    let holder = args.holder.context("--holder: who gets it?")?;
    let wish = Wish { holder, calls_max: None, spend_max: None };
    let now = reached.client.time()?;
    let file = issuer.issue(&reached.client, &wish, (B256::new(rand::random()), now))?;
    let text = serde_json::to_string_pretty(&file)?;
    let Some(out) = &args.out else { return output::line(&text) };
    ensure!(!out.exists(), "{} exists; choose another name", out.display());
    std::fs::write(out, text + "\n").with_context(|| format!("{}: writing failed", out.display()))?;
    let id = file.signed.id(&message::domain(file.chain_id, file.registry));
    if args.site.json {
        return output::json(&json!({ "file": out, "credential": id }));
    }
    output::say(&format!(
        "credential {id} is good until {}",
        time::text(file.signed.credential.expiresAt, now)
    ));
    output::line(&out.display().to_string())
}

fn issuer(args: &IssueArgs, reached: &Reached, key: &Key) -> anyhow::Result<Issuer> {
    let policy = match &args.policy {
        Some(path) => Policy::read(path)?,
        None => {
            let asset: Asset = site::asset_of(reached, &args.asset)?;
            Policy {
                holders: Vec::new(),
                version: 0,
                hosting: args.hosting.unwrap_or(0),
                builder: Address::ZERO,
                calls_max: args.calls,
                spend_max: asset.parse(&args.spend).context("--spend")?,
                lifetime: args.days * DAY,
                policy_hash: B256::ZERO,
            }
        }
    };
    let mut keys = vec![key.clone()];
    for named in &args.with {
        keys.push(args.site.key(named, None)?);
    }
    Ok(Issuer {
        at: reached.at,
        model: U256::from(args.model),
        policy,
        signers: Signers { contract: args.issuer, keys },
        chain_urls: args.site.chain_urls()?,
        hosts: args.hosts.clone(),
    })
}

fn serve(args: &IssueArgs, listen: SocketAddr, issuer: Issuer, reached: Reached) -> anyhow::Result<()> {
    ensure!(
        args.beyond_loopback || listen.ip().is_loopback(),
        "{listen} can be reached from other machines; if that is meant, add --beyond-loopback"
    );
    let listener = TcpListener::bind(listen).with_context(|| format!("listening on {listen}"))?;
    let address = format!("http://{}", listener.local_addr()?);
    if args.site.json {
        output::json(&json!({ "address": address, "model": args.model }))?;
    } else {
        output::line(&address)?;
        output::say(&format!("giving credentials of model {}; Ctrl-C ends", args.model));
    }
    let drain = host::drained();
    Ok(issuing::run(listener, issuer, Arc::new(reached.client), rand::random(), &drain)?)
}

/// Takes back.
pub(crate) fn revoke(args: &RevokeArgs) -> anyhow::Result<()> {
    let reached = args.site.reach()?;
    let key = args.site.actor(&args.actor)?;
    let what = match (&args.credential, args.holder, args.all) {
        (Some(named), ..) => Some(Revoked::One(id_of(named)?)),
        (None, Some(holder), _) => Some(Revoked::OfHolder(holder)),
        (None, None, true) => Some(Revoked::All),
        (None, None, false) => None,
    };
    let ((), taken) =
        site::walk(&reached.client, &key, (args.actor.dry_run, args.site.json), |walk| {
            match (what, args.issuer) {
                (Some(what), _) => Ok(issuing::revoke(walk, &reached.at, args.model, what)?),
                (None, Some(issuer)) => Ok(issuing::dismiss(walk, &reached.at, args.model, issuer)?),
                (None, None) => bail!("say what is taken back: --credential, --holder, --issuer or --all"),
            }
        })?;
    if args.site.json {
        return output::json(&json!({ "steps": site::steps_json(&taken) }));
    }
    if taken.is_empty() {
        output::line("it was taken back before")?;
    }
    Ok(())
}

fn id_of(named: &str) -> anyhow::Result<B256> {
    if let Ok(id) = named.parse() {
        return Ok(id);
    }
    let bytes = std::fs::read(named).with_context(|| format!("{named}: neither an id nor a file"))?;
    let file: CredentialFile = document::read("the credential", &bytes).with_context(|| named.to_owned())?;
    Ok(file.signed.id(&message::domain(file.chain_id, file.registry)))
}
