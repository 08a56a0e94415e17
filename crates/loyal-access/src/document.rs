//! Signed messages as JSON: what files, headers and answers hold.
//!
//! Field names are the messages' own; integers of up to 32 bits are numbers, larger ones decimal strings, bytes lower-case
//! `0x`; unknown and duplicate fields are refused (`docs/protocol.md`).

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::Eip712Domain;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use loyal_protocol::message::{self, Credential, Invocation, Receipt, UsageReport};
use loyal_protocol::{Key, signature};
use loyal_types::Proof;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The header of a credential.
pub const CREDENTIAL: &str = "loyal-credential";
/// The header of a signed invocation.
pub const INVOCATION: &str = "loyal-invocation";
/// The header of the salt that hides a request's hash.
pub const SALT: &str = "loyal-salt";
/// The header of whoever brought the invocation.
pub const BUILDER: &str = "loyal-builder";
/// The header of a receipt.
pub const RECEIPT: &str = "loyal-receipt";

/// The most bytes of a header that is read.
pub const HEADER_BYTES_MAX: usize = 16 << 10;

/// A document is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct DocumentError {
    /// Which document.
    pub what: &'static str,
    /// What is wrong with it.
    pub why: String,
}

/// A credential with its issuer's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedCredential {
    /// What is permitted, and to whom.
    #[serde(with = "CredentialFields")]
    pub credential: Credential,
    /// Who allows it.
    pub issuer: Address,
    /// The issuer's signature.
    pub signature: Bytes,
}

/// An invocation with its holder's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedInvocation {
    /// What is asked for, and for how much at most.
    #[serde(with = "InvocationFields")]
    pub invocation: Invocation,
    /// The holder's signature.
    pub signature: Bytes,
}

/// A receipt with the signature of its hosting's signer. One flat object, as the court takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedReceipt {
    /// What was done, and what it cost.
    #[serde(flatten, with = "ReceiptFields")]
    pub receipt: Receipt,
    /// The signature.
    pub signature: Bytes,
}

/// A receipt as a host hands it out, with the level it serves at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HandedReceipt {
    /// What refuses an unnoticed use there: `open`, `gated` or `enclaved`.
    pub level: String,
    /// The receipt.
    pub receipt: SignedReceipt,
}

/// A credential with all that its holder needs to use it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CredentialFile {
    /// `loyal-credential`.
    pub format: String,
    /// 1.
    pub version: u32,
    /// The chain.
    pub chain_id: u64,
    /// Where the chain answers; nowhere known where empty.
    #[serde(default)]
    pub chain_urls: Vec<String>,
    /// Contracts of the protocol: messages are signed for this one,
    pub registry: Address,
    /// payments are escrowed here,
    pub channel: Address,
    /// deposits are collected here,
    pub authorization_collector: Address,
    /// tills are named here,
    pub router: Address,
    /// and hostings are here.
    pub gate: Address,
    /// Where hostings of the model answer (up to and with `/v1`), as far as the issuer knows.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// The credential.
    pub signed: SignedCredential,
}

/// The report of an epoch, as its file holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Report {
    /// The report.
    #[serde(with = "ReportFields")]
    pub report: UsageReport,
}

/// A receipt and the proof that its epoch's report counts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inclusion {
    /// The receipt.
    pub receipt: SignedReceipt,
    /// Leads from the receipt to the report's root.
    pub proof: Proof,
    /// The report.
    pub report: Report,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Credential", deny_unknown_fields)]
#[allow(non_snake_case, reason = "the message's own names")]
struct CredentialFields {
    #[serde(with = "decimal")]
    modelId: U256,
    version: u32,
    #[serde(with = "decimal")]
    hostingId: U256,
    holder: Address,
    builder: Address,
    asset: Address,
    requestHash: B256,
    policyHash: B256,
    scopes: u32,
    callsMax: u32,
    #[serde(with = "decimal")]
    spendMax: u128,
    #[serde(with = "decimal")]
    notBefore: u64,
    #[serde(with = "decimal")]
    expiresAt: u64,
    modelGeneration: u32,
    holderGeneration: u32,
    salt: B256,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Invocation", deny_unknown_fields)]
#[allow(non_snake_case, reason = "the message's own names")]
struct InvocationFields {
    credentialId: B256,
    #[serde(with = "decimal")]
    hostingId: U256,
    version: u32,
    channelId: B256,
    #[serde(with = "decimal")]
    nonce: u64,
    requestHash: B256,
    #[serde(with = "decimal")]
    amountMax: u128,
    #[serde(with = "decimal")]
    deadline: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Receipt")]
#[allow(non_snake_case, reason = "the message's own names")]
struct ReceiptFields {
    invocationId: B256,
    #[serde(with = "decimal")]
    hostingId: U256,
    epoch: u32,
    seq: u32,
    requestHash: B256,
    responseHash: B256,
    traceRoot: B256,
    tokensIn: u32,
    tokensOut: u32,
    #[serde(with = "decimal")]
    amount: u128,
    #[serde(with = "decimal")]
    cumulative: u128,
    #[serde(with = "decimal")]
    issuedAt: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "UsageReport", deny_unknown_fields)]
#[allow(non_snake_case, reason = "the message's own names")]
struct ReportFields {
    #[serde(with = "decimal")]
    hostingId: U256,
    epoch: u32,
    count: u32,
    #[serde(with = "decimal")]
    amount: u128,
    #[serde(with = "decimal")]
    tokens: u128,
    top: B256,
}

impl SignedCredential {
    /// Signs a credential.
    #[must_use]
    pub fn sign(credential: Credential, key: &Key, domain: &Eip712Domain) -> Self {
        let signature = key.sign_message(&credential, domain);
        Self { credential, issuer: key.address(), signature }
    }

    /// Its id: the digest.
    #[must_use]
    pub fn id(&self, domain: &Eip712Domain) -> B256 {
        message::digest(&self.credential, domain)
    }
}

impl SignedInvocation {
    /// Signs an invocation.
    #[must_use]
    pub fn sign(invocation: Invocation, key: &Key, domain: &Eip712Domain) -> Self {
        let signature = key.sign_message(&invocation, domain);
        Self { invocation, signature }
    }

    /// Its id: the digest.
    #[must_use]
    pub fn id(&self, domain: &Eip712Domain) -> B256 {
        message::digest(&self.invocation, domain)
    }
}

impl SignedReceipt {
    /// Signs a receipt.
    #[must_use]
    pub fn sign(receipt: Receipt, key: &Key, domain: &Eip712Domain) -> Self {
        let signature = key.sign_message(&receipt, domain);
        Self { receipt, signature }
    }

    /// Its id, which is its leaf's digest too.
    #[must_use]
    pub fn id(&self, domain: &Eip712Domain) -> B256 {
        message::digest(&self.receipt, domain)
    }

    /// Who signed it.
    #[must_use]
    pub fn signer(&self, domain: &Eip712Domain) -> Option<Address> {
        signature::signer_of(self.id(domain), &self.signature)
    }
}

/// Reads a document of JSON; `what` names it in the error.
///
/// # Errors
/// [`DocumentError`] says what is wrong, and where.
pub fn read<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, DocumentError> {
    serde_json::from_slice(bytes).map_err(|error| DocumentError { what, why: error.to_string() })
}

/// Reads a header: base64 of JSON.
///
/// # Errors
/// [`DocumentError`] says what is wrong.
pub fn read_header<T: DeserializeOwned>(what: &'static str, value: &[u8]) -> Result<T, DocumentError> {
    let wrong = |why: String| DocumentError { what, why };
    if value.len() > HEADER_BYTES_MAX {
        return Err(wrong(format!("{} bytes; at most {HEADER_BYTES_MAX}", value.len())));
    }
    let bytes = BASE64.decode(value).map_err(|error| wrong(format!("no base64: {error}")))?;
    read(what, &bytes)
}

/// Writes a header: base64 of JSON.
///
/// # Panics
/// Never: documents have only string keys.
#[must_use]
pub fn header<T: Serialize>(document: &T) -> String {
    BASE64.encode(serde_json::to_vec(document).expect("documents have only string keys"))
}

/// Integers as decimal strings: digits only, no sign, no leading zero.
pub mod decimal {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    /// Writes one.
    ///
    /// # Errors
    /// The writer's.
    pub fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    /// Reads one.
    ///
    /// # Errors
    /// It is no such integer, or too large.
    pub fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || text.is_empty() || (text.len() > 1 && text.starts_with('0')) {
            return Err(D::Error::custom(format_args!("{text:?} is no decimal number")));
        }
        text.parse().map_err(|_| D::Error::custom(format_args!("{text} is too large")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt() -> SignedReceipt {
        let domain = message::domain(31_337, Address::with_last_byte(1));
        let key = Key::of(B256::with_last_byte(7)).unwrap();
        let receipt = Receipt {
            invocationId: B256::with_last_byte(1),
            hostingId: U256::from(2),
            epoch: 3,
            seq: 4,
            requestHash: B256::with_last_byte(5),
            responseHash: B256::with_last_byte(6),
            traceRoot: B256::ZERO,
            tokensIn: 8,
            tokensOut: 9,
            amount: u128::MAX,
            cumulative: 11,
            issuedAt: 12,
        };
        SignedReceipt::sign(receipt, &key, &domain)
    }

    #[test]
    fn a_receipt_is_one_flat_object_and_comes_back() {
        let text = serde_json::to_string(&receipt()).unwrap();
        assert!(text.contains("\"amount\":\"340282366920938463463374607431768211455\""), "{text}");
        assert!(text.contains("\"seq\":4,"), "{text}");
        assert_eq!(read::<SignedReceipt>("receipt", text.as_bytes()).unwrap(), receipt());
        assert_eq!(
            read_header::<SignedReceipt>("receipt", header(&receipt()).as_bytes()).unwrap(),
            receipt()
        );
    }

    #[test]
    fn what_is_not_in_the_one_form_is_refused() {
        let good = serde_json::to_string(&receipt()).unwrap();
        for (from, to) in [
            ("\"cumulative\":\"11\"", "\"cumulative\":11"),
            ("\"cumulative\":\"11\"", "\"cumulative\":\"011\""),
            ("\"cumulative\":\"11\"", "\"cumulative\":\"-1\""),
            ("\"cumulative\":\"11\"", "\"cumulative\":\"0x11\""),
            ("\"issuedAt\":\"12\"", "\"issuedAt\":\"18446744073709551616\""),
            ("\"seq\":4", "\"seq\":4294967296"),
            ("\"seq\":4,", "\"seq\":4,\"seq\":4,"),
            ("\"seq\":4,", "\"seq\":4,\"more\":4,"),
            ("\"seq\":4,", ""),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good);
            assert!(read::<SignedReceipt>("receipt", bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
