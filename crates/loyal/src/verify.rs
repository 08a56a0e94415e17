//! `loyal verify`: any document of ours, verified without a network.

use std::path::{Path, PathBuf};

use alloy_sol_types::Eip712Domain;
use anyhow::{Context as _, bail};
use loyal_access::verification::Verification;
use loyal_access::wallet::Wallet;
use loyal_fingerprint::commitment::Commitment;
use loyal_protocol::message;
use loyal_roles::case::Case;
use loyal_roles::owner::Registration;
use serde_json::{Value, json};

use crate::site::Contracts;
use crate::{access, output};

/// Arguments of `loyal verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Knows credentials, receipts (a host's answer, one with its invocation from `loyal access show --receipt`, or all of a wallet's \
folder), usage reports, proofs that a report counts a receipt, commitments to fingerprints, registrations that were agreed on, and the case against a hosting, whose \
evidence it computes again. Messages are signed for one set of contracts: a credential's \
file names them, for the others give --contracts or --credential. That an issuer may issue, that the signer is the hosting's, and \
that a report was posted, only the chain says. Bundles of fingerprints have `loyal fingerprint verify-evidence`.

Examples:
  loyal verify credential.json
  loyal verify receipt.json --credential credential.json
  loyal verify loyal-wallet
  loyal verify loyal-demo/case.json")]
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
    if Case::is_one(&bytes) {
        return case(args, &bytes);
    }
    if Commitment::is_one(&bytes) {
        return commitment(args, &bytes);
    }
    if Registration::is_one(&bytes) {
        return registration(args, domain.as_ref());
    }
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

/// A case against a hosting, computed again from its probes.
fn case(args: &Args, bytes: &[u8]) -> anyhow::Result<()> {
    let case = Case::parse(bytes, &args.file)?;
    let weight = case.verify().with_context(|| args.file.display().to_string())?;
    if args.json {
        return output::json(&json!({
            "document": "case", "hosting": case.hosting.to_string(), "leafRoot": case.leaf_root, "seed": case.seed,
            "ticketSigner": case.ticket_signer, "probes": weight.probes, "hits": weight.hits,
            "coins": weight.coins, "provers": weight.provers, "bits": weight.bits, "suffices": weight.suffices,
        }));
    }
    let suffices =
        if weight.suffices { "enough for a claim of unreported use" } else { "not enough for a claim" };
    output::pairs(&[
        ("document", "a case of unreported use".to_owned()),
        ("hosting", case.hosting.to_string()),
        ("probes", format!("{}, by {} provers whose coins speak", weight.probes, weight.provers)),
        ("coins", format!("{} of {} on the model's side", weight.hits, weight.coins)),
        ("evidence", format!("{:.3} bits: {suffices}", weight.bits)),
        ("holds", "every ticket is signed, every query and answer is the one committed to".to_owned()),
        ("leaf root", format!("{} (Registry: of the hosted version)", case.leaf_root)),
        ("seed", format!("{} (Beacon: of the commitment's epoch)", case.seed)),
        ("tickets by", format!("{} (ProbeReader.ticketSignerAt)", case.ticket_signer)),
    ])
}

/// The public file of fingerprints: its roots, computed again.
fn commitment(args: &Args, bytes: &[u8]) -> anyhow::Result<()> {
    let found = Commitment::parse(bytes, &args.file)?;
    let embedded = found.fingerprint_root.map(|root| root.to_string());
    if args.json {
        return output::json(&json!({
            "document": "commitment", "model": found.model, "leaves": found.digests.len(),
            "leafRoot": found.leaf_root, "fingerprintRoot": embedded, "embedded": found.embedded.len(),
        }));
    }
    output::pairs(&[
        ("document", "a commitment to fingerprints".to_owned()),
        ("model", found.model.clone()),
        ("leaves", found.digests.len().to_string()),
        ("leaf root", found.leaf_root.to_string()),
        (
            "embedded",
            format!("{} of them, root {}", found.embedded.len(), embedded.as_deref().unwrap_or("none yet")),
        ),
        ("holds", "both roots are those of the leaves".to_owned()),
    ])
}

/// A registration: whether everybody named in it signed the agreement that stands in it.
fn registration(args: &Args, domain: Option<&Eip712Domain>) -> anyhow::Result<()> {
    let found = Registration::read(&args.file)?;
    let shown = args.file.display();
    let signed = found.agreement.as_ref().with_context(|| format!("{shown}: nobody has signed it yet"))?;
    let domain =
        domain.with_context(|| format!("{shown}: say for which contracts it is signed, with --contracts"))?;
    let bad = found.unverified(domain);
    let parts: Vec<_> = found
        .makers
        .iter()
        .map(|maker| format!("{} {} %", maker.account, f64::from(maker.bps) / 100.0))
        .collect();
    if args.json {
        output::json(&json!({
            "document": "registration", "name": found.name, "manifestRoot": signed.manifest_root,
            "fingerprintRoot": signed.fingerprint_root, "unsigned": bad,
        }))?;
    } else {
        let holds = if bad.is_empty() { "holds" } else { "FAILS" };
        output::pairs(&[
            ("document", "a registration".to_owned()),
            ("model", found.name.clone()),
            ("makers", parts.join("\n")),
            ("in reserve", format!("{} %", f64::from(found.reserve_bps) / 100.0)),
            ("documents", signed.manifest_root.to_string()),
            ("fingerprints", signed.fingerprint_root.to_string()),
            (
                holds,
                "everybody named signed these parts, of a model with these documents and fingerprints"
                    .to_owned(),
            ),
        ])?;
    }
    match bad.first() {
        Some(account) => bail!("{shown}: {account} did not sign this"),
        None => Ok(()),
    }
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
