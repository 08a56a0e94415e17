//! Any document of ours, verified offline: signatures, sums, and the way from a receipt to its report.

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::{Eip712Domain, SolValue as _};
use loyal_protocol::message::{self, UsageReport};
use loyal_protocol::signature;
use loyal_types::Hash;
use loyal_types::tree::Entry;
use serde_json::Value;

use crate::document::{
    self, CredentialFile, HandedReceipt, Inclusion, Report, SignedCredential, SignedInvocation, SignedReceipt,
};
use crate::wallet::Record;
use crate::{Error, Result};

/// What a document is, what it says, and what was found about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// What it is.
    pub kind: &'static str,
    /// What it says, in words.
    pub facts: Vec<(&'static str, String)>,
    /// What was looked at, and whether it is so.
    pub findings: Vec<(&'static str, bool)>,
}

impl Verification {
    /// Whether all that was looked at is so.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.findings.iter().all(|(_, is_so)| *is_so)
    }

    /// Reads a document and verifies it. Messages are signed for a domain; a credential's file names its own.
    ///
    /// # Errors
    /// [`Error::Refused`] where it is no document of ours, or the domain is needed; [`Error::Document`].
    pub fn read(bytes: &[u8], domain: Option<&Eip712Domain>) -> Result<Self> {
        let value: Value = document::read("the document", bytes)?;
        let has = |name: &str| value.get(name).is_some();
        if value["format"] == "loyal-credential" {
            let file: CredentialFile = document::read("the credential", bytes)?;
            let own = message::domain(file.chain_id, file.registry);
            let mut verification = Self::of_credential(&file.signed, &own);
            if let Some(domain) = domain {
                verification.find("is for these contracts", domain.separator() == own.separator());
            }
            return Ok(verification);
        }
        let domain = domain.ok_or_else(|| {
            Error::Refused(
                "say for which contracts it is signed: a file of contracts, or a credential's".to_owned(),
            )
        })?;
        if has("credential") {
            return Ok(Self::of_credential(&document::read("the credential", bytes)?, domain));
        }
        if has("invocation") && has("receipt") {
            return Ok(Self::of_record(&document::read("the record", bytes)?, domain));
        }
        if has("proof") {
            return Ok(Self::of_inclusion(&document::read("the inclusion", bytes)?, domain));
        }
        // What a host answers: a receipt, with the proof once its epoch is reported.
        if let Some(inclusion) = value.get("inclusion") {
            let handed: HandedReceipt = read("the receipt", &value["receipt"])?;
            let mut verification = Self::of_receipt(&handed.receipt, Some(&handed.level), domain);
            if !inclusion.is_null() {
                let mut whole = inclusion.clone();
                whole["receipt"] = value["receipt"]["receipt"].clone();
                verification.include(&read("the inclusion", &whole)?, domain);
            }
            return Ok(verification);
        }
        if has("level") && has("receipt") {
            let handed: HandedReceipt = document::read("the receipt", bytes)?;
            return Ok(Self::of_receipt(&handed.receipt, Some(&handed.level), domain));
        }
        if has("invocationId") {
            return Ok(Self::of_receipt(&document::read("the receipt", bytes)?, None, domain));
        }
        if has("top") {
            return Ok(Self::of_report(&document::read("the report", bytes)?, domain));
        }
        if let (true, Some(signed)) = (has("report"), value["signature"].as_str()) {
            let report: Report = read("the report", &value["report"])?;
            let mut verification = Self::of_report(&report, domain);
            let digest = message::digest(&report.report, domain);
            let bytes = signed.parse::<alloy_primitives::Bytes>().unwrap_or_default();
            let signer = signature::signer_of(digest, &bytes);
            verification.sign(signer);
            return Ok(verification);
        }
        Err(Error::Refused(
            "no document of ours: a credential, a receipt, a report, or the proof that a report counts a receipt".to_owned(),
        ))
    }

    /// A receipt of a wallet, with the invocation it is for.
    #[must_use]
    pub fn of_record(record: &Record, domain: &Eip712Domain) -> Self {
        let handed = &record.receipt;
        let mut verification = Self::of_receipt(&handed.receipt, Some(&handed.level), domain);
        verification.kind = "receipt with its invocation";
        let (receipt, SignedInvocation { invocation, signature }) =
            (&handed.receipt.receipt, &record.invocation);
        let id = message::digest(invocation, domain);
        let holder = signature::signer_of(id, signature);
        verification.facts.push(("holder", holder.map_or("nobody".to_owned(), |holder| holder.to_string())));
        verification.find("the invocation is signed", holder.is_some());
        verification.find("the receipt is for this invocation", receipt.invocationId == id);
        verification.find("both name one request", receipt.requestHash == invocation.requestHash);
        verification.find("both name one hosting", receipt.hostingId == invocation.hostingId);
        verification.find("it charges no more than was allowed", receipt.amount <= invocation.amountMax);
        if let Some(fault) = &record.fault {
            verification.facts.push(("fault", fault.clone()));
            verification.find("the caller found no fault", false);
        }
        verification
    }

    fn of_credential(signed: &SignedCredential, domain: &Eip712Domain) -> Self {
        let SignedCredential { credential, issuer, signature } = signed;
        let id = signed.id(domain);
        let any = |text: String, is_any: bool| if is_any { "any".to_owned() } else { text };
        let facts = vec![
            ("id", id.to_string()),
            ("model", credential.modelId.to_string()),
            ("version", any(credential.version.to_string(), credential.version == 0)),
            ("hosting", any(credential.hostingId.to_string(), credential.hostingId.is_zero())),
            ("holder", credential.holder.to_string()),
            ("issuer", issuer.to_string()),
            ("not before", credential.notBefore.to_string()),
            ("expires at", credential.expiresAt.to_string()),
        ];
        let signer = signature::signer_of(id, signature);
        let mut verification = Self { kind: "credential", facts, findings: Vec::new() };
        // An issuer that is a contract has no such signature; whether it signed, the chain says.
        verification.find("its issuer signed it", signer == Some(*issuer));
        verification.find("it has a holder", credential.holder != Address::ZERO);
        verification.find("it ends after it begins", credential.notBefore < credential.expiresAt);
        verification
    }

    fn of_receipt(signed: &SignedReceipt, level: Option<&str>, domain: &Eip712Domain) -> Self {
        let receipt = &signed.receipt;
        let mut facts = vec![
            ("id", signed.id(domain).to_string()),
            ("invocation", receipt.invocationId.to_string()),
            ("hosting", receipt.hostingId.to_string()),
            ("epoch", receipt.epoch.to_string()),
            ("number", receipt.seq.to_string()),
            ("tokens in", receipt.tokensIn.to_string()),
            ("tokens out", receipt.tokensOut.to_string()),
            ("amount", receipt.amount.to_string()),
            ("charged so far", receipt.cumulative.to_string()),
            ("issued at", receipt.issuedAt.to_string()),
        ];
        facts.extend(level.map(|level| ("level", level.to_owned())));
        let mut verification = Self { kind: "receipt", facts, findings: Vec::new() };
        verification.sign(signed.signer(domain));
        verification.find("its sum holds its amount", receipt.amount <= receipt.cumulative);
        verification
    }

    fn of_inclusion(inclusion: &Inclusion, domain: &Eip712Domain) -> Self {
        let mut verification = Self::of_receipt(&inclusion.receipt, None, domain);
        verification.include(inclusion, domain);
        verification
    }

    fn of_report(report: &Report, domain: &Eip712Domain) -> Self {
        let report = &report.report;
        let facts = vec![
            ("id", message::digest(report, domain).to_string()),
            ("hosting", report.hostingId.to_string()),
            ("epoch", report.epoch.to_string()),
            ("receipts", report.count.to_string()),
            ("amount", report.amount.to_string()),
            ("tokens", report.tokens.to_string()),
            ("root", root_of(report).to_string()),
        ];
        Self { kind: "report", facts, findings: Vec::new() }
    }

    fn include(&mut self, inclusion: &Inclusion, domain: &Eip712Domain) {
        let (receipt, report) = (&inclusion.receipt.receipt, &inclusion.report.report);
        self.kind = "receipt with the proof that it is reported";
        let entry = Entry {
            digest: Hash(inclusion.receipt.id(domain).0),
            amount: receipt.amount,
            tokens: u128::from(receipt.tokensIn) + u128::from(receipt.tokensOut),
        };
        self.facts.push(("report's root", root_of(report).to_string()));
        self.find(
            "the report is of its hosting and epoch",
            receipt.hostingId == report.hostingId && receipt.epoch == report.epoch,
        );
        self.find("the proof is of its number", inclusion.proof.index == receipt.seq);
        self.find("the proof is of the report's count", inclusion.proof.count == report.count);
        self.find("the report counts it", inclusion.proof.verify(&entry, Hash(root_of(report).0)));
    }

    fn sign(&mut self, signer: Option<Address>) {
        self.facts.push(("signer", signer.map_or("nobody".to_owned(), |signer| signer.to_string())));
        self.find("it is signed", signer.is_some());
    }

    fn find(&mut self, what: &'static str, is_so: bool) {
        self.findings.push((what, is_so));
    }
}

fn read<T: serde::de::DeserializeOwned>(what: &'static str, value: &Value) -> Result<T> {
    Ok(document::read(what, value.to_string().as_bytes())?)
}

/// The root that the Gate computes of a report (`docs/protocol.md`, one tree).
#[must_use]
pub fn root_of(report: &UsageReport) -> B256 {
    keccak256((U256::from(2), report.count, report.top, report.amount, report.tokens).abi_encode())
}
