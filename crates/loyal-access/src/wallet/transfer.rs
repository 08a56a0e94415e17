//! Transfers that were signed (scheme `exact`): each pays for one thing, and is promised until it was made or never can be.

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use super::Pending;
use crate::document::{SignedInvocation, decimal};
use crate::payment::{ExactPayment, Payment, PaymentPayload, Settlement, TransferAuthorization};

/// A transfer that was signed, and may have left. It is never signed anew for the same thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// Whom it pays: a hosting by its number, or a server by its address.
    pub payee: String,
    /// Which of the payments under way at the same time.
    pub lane: u32,
    /// What it pays for: the hash of a request. An invocation says it itself; then zero.
    pub request: B256,
    /// The payment.
    pub payment: PaymentPayload,
    /// The payment as it leaves, where the server wants its own words back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The invocation that it pays, where it pays one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invocation: Option<Invoked>,
}

/// An invocation that a transfer pays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invoked {
    /// Its id.
    pub id: B256,
    /// The invocation.
    pub invocation: SignedInvocation,
    /// The salt of its request's hash.
    pub salt: B256,
}

/// What was bought of a server that gives no receipt: what it was paid, and what it said of that. It binds the server to
/// nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Purchase {
    /// When, in unix seconds.
    pub at: u64,
    /// What was asked for.
    pub url: String,
    /// Whom it was paid.
    pub pay_to: Address,
    /// In what.
    pub asset: Address,
    /// How much, in base units.
    #[serde(with = "decimal")]
    pub amount: u128,
    /// The transfer, by its nonce.
    pub transfer: B256,
    /// Whether the chain says that it was made.
    pub is_made: bool,
    /// The status of the answer.
    pub status: u16,
    /// Hash of the answer's body (`keccak256`).
    pub body_hash: B256,
    /// What the server said of the payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Settlement>,
}

impl Transfer {
    /// What it allows.
    #[must_use]
    pub const fn exact(&self) -> Option<&ExactPayment> {
        match &self.payment.payload {
            Payment::Exact(exact) => Some(exact),
            Payment::Batch(_) => None,
        }
    }

    fn authorization(&self) -> Option<&TransferAuthorization> {
        self.exact().map(|exact| &exact.authorization)
    }

    /// Its nonce, which is its name.
    #[must_use]
    pub fn nonce(&self) -> B256 {
        self.authorization().map_or(B256::ZERO, |authorization| authorization.nonce)
    }

    /// How much it moves, in base units.
    #[must_use]
    pub fn amount(&self) -> u128 {
        self.authorization().map_or(0, |authorization| authorization.value)
    }

    /// When it can no longer be made, in unix seconds.
    #[must_use]
    pub fn ends_at(&self) -> u64 {
        self.authorization().map_or(0, |authorization| authorization.valid_before)
    }

    /// What it moves.
    #[must_use]
    pub const fn asset(&self) -> Address {
        self.payment.accepted.asset
    }

    /// The invocation under way, where it pays one.
    #[must_use]
    pub fn pending(&self) -> Option<Pending> {
        let invoked = self.invocation.as_ref()?;
        let amount = self.amount();
        Some(Pending {
            id: invoked.id,
            invocation: invoked.invocation.clone(),
            salt: invoked.salt,
            payment: self.payment.clone(),
            ceiling: amount,
            amount,
        })
    }
}
