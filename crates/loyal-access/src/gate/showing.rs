//! What a request shows, read from its headers and its body.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use alloy_primitives::{Address, B256, U256, keccak256};
use hyper::HeaderMap;
use loyal_protocol::message;

use super::{Gate, Refused};
use crate::admission::{Chainside, Refusal, Served, Term};
use crate::books::Reservation;
use crate::document::{self, BUILDER, CREDENTIAL, INVOCATION, SALT, SignedCredential, SignedInvocation};
use crate::payment::{self, BatchKind, BatchPayment, ExactPayment, Payment, PaymentPayload};
use crate::request::Request;
use crate::view::{Known, Unknown};

/// Credentials that are kept as they were read.
const CREDENTIALS_MAX: usize = 16_384;

/// What a request shows.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) request: Arc<Request>,
    pub(super) request_hash: B256,
    pub(super) salt: B256,
    pub(super) credential: Arc<SignedCredential>,
    pub(super) credential_id: B256,
    /// Hash of the credential's header: of the credential, its issuer and its signature.
    pub(super) credential_key: B256,
    pub(super) invocation: Arc<SignedInvocation>,
    pub(super) invocation_id: B256,
    pub(super) builder: Address,
    pub(super) means: Arc<Means>,
    /// The transaction that was made for it.
    pub(super) transaction: Arc<Mutex<Option<B256>>>,
}

/// How it pays.
#[allow(clippy::large_enum_variant, reason = "made once for a request and moved once")]
#[derive(Debug)]
pub(super) enum Means {
    Channel(BatchPayment),
    Transfer(ExactPayment),
}

impl Shown {
    pub(super) fn reservation(&self, ceiling: u128) -> Reservation {
        let charged = match &*self.means {
            Means::Channel(batch) => Some(batch.voucher.max_claimable_amount.saturating_sub(ceiling)),
            Means::Transfer(_) => None,
        };
        Reservation::of(&self.invocation.invocation, ceiling, charged)
    }

    pub(super) fn transaction(&self) -> Option<B256> {
        *self.transaction.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Gate {
    /// Reads what is shown.
    pub(super) fn shown(&self, headers: &HeaderMap, body: &[u8]) -> Result<Shown, Box<Refused>> {
        let malformed = |fact: String| Refused::because(Refusal::Malformed, fact);
        let request = Request::read(body).map_err(|error| malformed(error.to_string()))?;
        let payload: PaymentPayload =
            document::read_header("PAYMENT-SIGNATURE", one(headers, payment::PAYMENT_SIGNATURE)?)
                .map_err(|error| malformed(error.to_string()))?;
        let means = self.means(payload).map_err(malformed)?;
        let text = one(headers, CREDENTIAL)?;
        let (credential, credential_id, credential_key) = self.credential(text)?;
        let invocation: SignedInvocation =
            document::read_header("LOYAL-INVOCATION", one(headers, INVOCATION)?)
                .map_err(|error| malformed(error.to_string()))?;
        let hosting = self.view.hosting().id;
        if invocation.invocation.hostingId != U256::from(hosting) {
            let named = invocation.invocation.hostingId;
            return Err(malformed(format!(
                "the invocation names hosting {named}; this is hosting {hosting}"
            )));
        }
        let salt = one(headers, SALT)?;
        let salt = std::str::from_utf8(salt).ok().and_then(|text| text.trim().parse().ok());
        let salt: B256 =
            salt.ok_or_else(|| malformed("LOYAL-SALT: 0x and 64 hexadecimal digits".to_owned()))?;
        let builder = builder(headers)?.unwrap_or(credential.credential.builder);
        Ok(Shown {
            request_hash: request.hash(salt),
            request: Arc::new(request),
            salt,
            invocation_id: invocation.id(&self.domains.loyal),
            credential,
            credential_id,
            credential_key,
            invocation: Arc::new(invocation),
            builder,
            means: Arc::new(means),
            transaction: Arc::default(),
        })
    }

    fn means(&self, payload: PaymentPayload) -> Result<Means, String> {
        if payload.x402_version != payment::VERSION {
            return Err(format!(
                "x402 version {}; this host speaks {}",
                payload.x402_version,
                payment::VERSION
            ));
        }
        let network = payment::Requirements::network_of(self.view.client().chain_id());
        if payload.accepted.network != network {
            return Err(format!("the payment is for network {}, not {network}", payload.accepted.network));
        }
        match (payload.accepted.scheme.as_str(), payload.payload) {
            (payment::BATCH, Payment::Batch(batch)) => match (batch.kind, &batch.deposit) {
                (BatchKind::Voucher, None) | (BatchKind::Deposit, Some(_)) => Ok(Means::Channel(batch)),
                (BatchKind::Refund, _) => {
                    Err("a refund is asked for without a body: by GET at this address".to_owned())
                }
                _ => Err("a payment of type deposit has a deposit, one of type voucher has none".to_owned()),
            },
            (payment::EXACT, Payment::Exact(exact)) => Ok(Means::Transfer(exact)),
            (scheme, _) => {
                Err(format!("scheme {scheme:?} with a payment of another one, or one not known here"))
            }
        }
    }

    fn credential(&self, text: &[u8]) -> Result<ReadCredential, Box<Refused>> {
        if let Some(known) = self.credentials().read.get(text) {
            return Ok(known.clone());
        }
        let credential: SignedCredential = document::read_header("LOYAL-CREDENTIAL", text)
            .map_err(|error| Refused::because(Refusal::Malformed, error.to_string()))?;
        let id = credential.id(&self.domains.loyal);
        let entry = (Arc::new(credential), id, keccak256(text));
        let mut credentials = self.credentials();
        if credentials.read.len() >= CREDENTIALS_MAX {
            credentials.read.clear();
        }
        credentials.read.insert(text.into(), entry.clone());
        Ok(entry)
    }
}

/// A credential, its id, and the hash of its header.
type ReadCredential = (Arc<SignedCredential>, B256, B256);

/// Credentials as they were read, and those whose issuer's signature was found good.
///
/// The second set holds hashes of whole headers, never ids alone: the same credential under another issuer or signature is
/// looked at anew.
#[derive(Debug, Default)]
pub(super) struct Credentials {
    read: HashMap<Box<[u8]>, ReadCredential>,
    good: HashSet<B256>,
}

impl Credentials {
    pub(super) fn is_good(&self, shown: &B256) -> bool {
        self.good.contains(shown)
    }

    pub(super) fn note_good(&mut self, shown: &B256) {
        if self.good.len() >= CREDENTIALS_MAX {
            self.good.clear();
        }
        self.good.insert(*shown);
    }
}

/// The builder that a request names.
pub(super) fn builder(headers: &HeaderMap) -> Result<Option<Address>, Box<Refused>> {
    let Some(value) = headers.get(BUILDER) else { return Ok(None) };
    let builder = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    builder.map(Some).ok_or_else(|| {
        Refused::because(Refusal::Malformed, "LOYAL-BUILDER: 0x and 40 hexadecimal digits".to_owned())
    })
}

/// A header that must be there once.
pub(super) fn one<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a [u8], Box<Refused>> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value.as_bytes()),
        (None, _) => Err(Refused::because(Refusal::Malformed, format!("the header {name} is missing"))),
        (Some(_), Some(_)) => {
            Err(Refused::because(Refusal::Malformed, format!("the header {name} is there twice")))
        }
    }
}

/// What is known of the chain, and that a credential's signature was found good before.
pub(super) struct Remembering<'a> {
    pub(super) known: Known<'a>,
    pub(super) is_good: Option<B256>,
}

impl Chainside for Remembering<'_> {
    type Error = Unknown;

    fn served(&self) -> Result<Served, Unknown> {
        self.known.served()
    }

    fn issuer(&self, model: U256, issuer: Address) -> Result<Term, Unknown> {
        self.known.issuer(model, issuer)
    }

    fn revoked_at(&self, id: B256, credential: &message::Credential) -> Result<u64, Unknown> {
        self.known.revoked_at(id, credential)
    }

    fn is_signed(&self, account: Address, digest: B256, signature: &[u8]) -> Result<bool, Unknown> {
        if self.is_good == Some(digest) {
            return Ok(true);
        }
        self.known.is_signed(account, digest, signature)
    }

    fn till(&self, builder: Address) -> Result<Address, Unknown> {
        self.known.till(builder)
    }

    fn balance(&self, channel: B256) -> Result<u128, Unknown> {
        self.known.balance(channel)
    }
}
