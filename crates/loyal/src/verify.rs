//! `loyal verify`: any document of ours, verified without a network.

use std::path::{Path, PathBuf};

use alloy_sol_types::Eip712Domain;
use anyhow::{Context as _, bail};
use loyal_access::verification::Verification;
use loyal_access::wallet::Wallet;
use loyal_protocol::message;
use serde_json::{Value, json};

use crate::site::Contracts;
use crate::{access, output};

/// Arguments of `loyal verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Knows credentials, receipts (a host's answer, one with its invocation from `loyal access show --receipt`, or all of a wallet's \
folder), usage reports, and proofs that a report counts a receipt. Messages are signed for one set of contracts: a credential's \
file names them, for the others give --contracts or --credential. That an issuer may issue, that the signer is the hosting's, and \
that a report was posted, only the chain says. Bundles of fingerprints have `loyal fingerprint verify-evidence`.

Examples:
  loyal verify credential.json
  loyal verify receipt.json --credential credential.json
  loyal verify loyal-wallet")]
pub(crate) struct Args {
    /// The document, or the folder of a wallet.
    file: PathBuf,
    /// The file that `loyal chain deploy` wrote: the contracts it is signed for.
    #[arg(long, value_name = "FILE", conflicts_with = "credential")]
    contracts: Option<PathBuf>,
    /// A credential's file that names the contracts it is signed for.
    #[arg(long, value_name = "FILE")]
    credential: Option<PathBuf>,
    /// Print what was found as JSON.
    #[arg(long)]
    json: bool,
}

/// Verifies it; what does not hold is an error that says what.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let domain = domain(args)?;
    if args.file.is_dir() {
        return wallet(args, domain);
    }
    let bytes = std::fs::read(&args.file).with_context(|| args.file.display().to_string())?;
    let read = Verification::read(&bytes, domain.as_ref());
    let verification = read.with_context(|| args.file.display().to_string())?;
    if args.json {
        output::json(&to_json(&verification))?;
    } else {
        let mut rows = vec![("document", verification.kind.to_owned())];
        rows.extend(verification.facts.iter().cloned());
        rows.extend(
            verification
                .findings
                .iter()
                .map(|(what, is_so)| (if *is_so { "holds" } else { "FAILS" }, (*what).to_owned())),
        );
        output::pairs(&rows)?;
    }
    match failed(&verification) {
        Some(what) => bail!("{}: this does not hold: {what}", args.file.display()),
        None => Ok(()),
    }
}

fn domain(args: &Args) -> anyhow::Result<Option<Eip712Domain>> {
    if let Some(path) = &args.contracts {
        let contracts = Contracts::read(path)?;
        return Ok(Some(message::domain(contracts.chain_id, contracts.addresses.registry)));
    }
    let own = args.file.join(access::CREDENTIAL_FILE);
    let named = args.credential.clone().or_else(|| Some(own).filter(|_| args.file.is_dir()));
    let of = |path: &Path| -> anyhow::Result<Eip712Domain> {
        let file = access::read_credential(path)?;
        Ok(message::domain(file.chain_id, file.registry))
    };
    named.as_deref().map(of).transpose()
}

/// All receipts of a wallet.
fn wallet(args: &Args, domain: Option<Eip712Domain>) -> anyhow::Result<()> {
    let domain = domain.context("a wallet has a credential, which names the contracts")?;
    let (mut count, mut sum, mut bad) = (0_u64, 0_u128, Vec::new());
    Wallet::receipts(&args.file, |record| {
        let verification = Verification::of_record(&record, &domain);
        let receipt = &record.receipt.receipt.receipt;
        count += 1;
        sum = sum.saturating_add(receipt.amount);
        bad.extend(failed(&verification).map(|what| (receipt.invocationId, what)));
        Ok(())
    })?;
    if args.json {
        let rows: Vec<_> = bad.iter().map(|(id, what)| json!({ "invocation": id, "fails": what })).collect();
        output::json(
            &json!({ "document": "wallet", "receipts": count, "amount": sum.to_string(), "bad": rows }),
        )?;
    } else {
        let mut rows = vec![("receipts", count.to_string()), ("amount", format!("{sum} base units"))];
        rows.extend(bad.iter().map(|(id, what)| ("FAILS", format!("{id}: {what}"))));
        output::pairs(&rows)?;
    }
    match bad.len() {
        0 => Ok(()),
        some => bail!("{}: {some} of {count} receipts do not hold", args.file.display()),
    }
}

fn failed(verification: &Verification) -> Option<&'static str> {
    verification.findings.iter().find(|(_, is_so)| !is_so).map(|(what, _)| *what)
}

fn to_json(verification: &Verification) -> Value {
    let facts: serde_json::Map<_, _> =
        verification.facts.iter().map(|(name, text)| ((*name).to_owned(), json!(text))).collect();
    let findings: Vec<_> =
        verification.findings.iter().map(|(what, is_so)| json!({ "what": what, "holds": is_so })).collect();
    json!({ "document": verification.kind, "isGood": verification.is_good(), "facts": facts, "findings": findings })
}
