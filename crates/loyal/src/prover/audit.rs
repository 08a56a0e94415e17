//! `loyal prover audit`: is a receipt in the report of its epoch?

use std::path::{Path, PathBuf};

use alloy_primitives::keccak256;
use anyhow::{Context as _, bail, ensure};
use loyal_access::Wallet;
use loyal_access::document::{self, HandedReceipt, SignedReceipt};
use loyal_access::outbound::{Outbound, Reach};
use loyal_protocol::contracts::Gate;
use loyal_roles::court::{self, Kind};
use loyal_roles::prover::audit::{self, Found};
use serde_json::{Value, json};

use crate::output;
use crate::site::{self, Reached, Site};

/// Arguments of `loyal prover audit`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Anybody may audit who holds receipts: users the ones in their wallets, provers those of their invocations. A receipt whose number \
is beyond those that its report counts convicts at once; any other that the host shows no proof of must be answered within a \
day. A claim takes a bond of 10 LOYAL; it comes back with half of what the host loses, unless the receipt was there.

Examples:
  loyal prover audit loyal-wallet --host http://127.0.0.1:8080/v1
  loyal prover audit receipt.json --host http://127.0.0.1:8080/v1 --claim --key me.json")]
pub(crate) struct Args {
    #[command(flatten)]
    site: Site,
    /// Files of receipts, or folders of wallets.
    #[arg(required = true, value_name = "FILE|FOLDER")]
    receipts: Vec<PathBuf>,
    /// Where hostings answer, up to and with /v1.
    #[arg(long = "host", value_name = "URL", required = true)]
    hosts: Vec<String>,
    /// Accuse where one is missing.
    #[arg(long, requires = "key")]
    claim: bool,
    /// Who accuses: a key file, or the number of an account of the folder's development chain.
    #[arg(long, value_name = "KEY", requires = "claim")]
    key: Option<String>,
    /// A file with the key file's password; asked for at the terminal unless given.
    #[arg(long, value_name = "FILE", requires = "key")]
    password_file: Option<PathBuf>,
    /// Say what would be claimed, and claim nothing.
    #[arg(long, requires = "claim")]
    dry_run: bool,
}

/// Audits.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let reached = args.site.reach()?;
    let mut receipts = Vec::new();
    for path in &args.receipts {
        receipts.extend(read(path).with_context(|| path.display().to_string())?);
    }
    ensure!(!receipts.is_empty(), "there are no receipts to look for");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outbound = Outbound::new(Reach::Local);
    let (mut rows, mut missing) = (Vec::new(), Vec::new());
    for receipt in receipts {
        let url = endpoint(args, &reached, &receipt)?;
        let looking = audit::run((&reached.client, &reached.at), &outbound, &url, &receipt);
        let found = runtime.block_on(looking)?;
        rows.push(row(&receipt, &found));
        if let Found::Missing { .. } = found {
            missing.push(receipt);
        }
    }
    let claims =
        if args.claim && !missing.is_empty() { claim(args, &reached, &missing)? } else { Vec::new() };
    if args.site.json {
        return output::json(&json!({ "receipts": rows, "claims": claims }));
    }
    let count = |state: &str| rows.iter().filter(|row| row["state"] == state).count();
    output::pairs(&[
        ("receipts", rows.len().to_string()),
        ("reported", count("reported").to_string()),
        ("missing", count("missing").to_string()),
        ("not reported yet", count("unposted").to_string()),
        ("host away", count("away").to_string()),
    ])?;
    for row in rows.iter().filter(|row| row["state"] == "missing") {
        let proven =
            if row["isProven"] == true { "it convicts by its number" } else { "the host must show it" };
        output::line(&format!(
            "missing: invocation {}, {proven}",
            row["invocation"].as_str().unwrap_or_default()
        ))?;
    }
    for claim in &claims {
        output::line(&format!("claim {claim}"))?;
    }
    Ok(())
}

fn claim(args: &Args, reached: &Reached, missing: &[SignedReceipt]) -> anyhow::Result<Vec<String>> {
    let named = args.key.as_deref().context("--key: who accuses?")?;
    let key = args.site.key(named, args.password_file.as_deref())?;
    let (ids, _) = site::walk(&reached.client, &key, (args.dry_run, args.site.json), |walk| {
        missing
            .iter()
            .map(|receipt| {
                Ok(court::open(walk, &reached.at, Kind::Omitted, &court::omitted(receipt))?.to_string())
            })
            .collect::<anyhow::Result<Vec<_>>>()
    })?;
    Ok(ids)
}

fn row(receipt: &SignedReceipt, found: &Found) -> Value {
    let (state, is_proven, note) = match found {
        Found::Reported(_) => ("reported", None, None),
        Found::Missing { is_proven } => ("missing", Some(*is_proven), None),
        Found::Unposted => ("unposted", None, None),
        Found::Away(why) => ("away", None, Some(why.clone())),
    };
    json!({
        "invocation": receipt.receipt.invocationId, "hosting": receipt.receipt.hostingId.to_string(),
        "epoch": receipt.receipt.epoch, "seq": receipt.receipt.seq, "state": state, "isProven": is_proven, "note": note,
    })
}

fn endpoint(args: &Args, reached: &Reached, receipt: &SignedReceipt) -> anyhow::Result<String> {
    let hosting = receipt.receipt.hostingId;
    let found = reached.client.call(reached.at.gate, &Gate::hostingOfCall { hostingId: hosting })?;
    let urls = args.hosts.iter().map(|url| url.trim_end_matches('/'));
    let url = urls.clone().find(|url| keccak256(url.as_bytes()) == found.endpointHash);
    url.map(str::to_owned).with_context(|| {
        format!("none of the addresses given is where hosting {hosting} said it answers; name it by --host")
    })
}

/// The receipts of a file, or of a wallet.
fn read(path: &Path) -> anyhow::Result<Vec<SignedReceipt>> {
    if path.is_dir() {
        let mut found = Vec::new();
        Wallet::receipts(path, |record| {
            found.push(record.receipt.receipt);
            Ok(())
        })?;
        return Ok(found);
    }
    let bytes = std::fs::read(path)?;
    let value: Value = document::read("the receipt", &bytes)?;
    if value.get("invocationId").is_some() {
        return Ok(vec![document::read("the receipt", &bytes)?]);
    }
    // A host's answer, or a record of `loyal access show --receipt`.
    let inner = if value.get("level").is_some() { value } else { value["receipt"].clone() };
    match serde_json::from_value::<HandedReceipt>(inner) {
        Ok(handed) => Ok(vec![handed.receipt]),
        Err(error) => bail!("no receipt: {error}"),
    }
}
