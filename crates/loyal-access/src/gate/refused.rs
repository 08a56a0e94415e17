//! What a caller is told when it gets no answer.

use alloy_primitives::B256;
use serde_json::{Value, json};

use crate::admission::Refusal;
use crate::document::HandedReceipt;
use crate::payment::PaymentRequired;

/// A refusal, ready to be said over HTTP in the shape of the OpenAI API.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The reason of admission, where it is one.
    pub refusal: Option<Refusal>,
    /// The status.
    pub status: u16,
    /// The stable code.
    pub code: &'static str,
    /// A sentence.
    pub message: String,
    /// How to pay, where that is the matter.
    pub payment: Option<PaymentRequired>,
    /// Seconds after which it may be tried again.
    pub retry_after: Option<u64>,
    /// The receipt, where the invocation was answered before.
    pub receipt: Option<HandedReceipt>,
    /// The invocation, where its channel is busy: it may be this very one that is under way.
    pub under_way: Option<B256>,
}

impl Refused {
    pub(super) fn of(refusal: Refusal) -> Box<Self> {
        Self::because(refusal, String::new())
    }

    /// With a fact that helps.
    #[allow(clippy::needless_pass_by_value, reason = "callers are done with what they found")]
    pub(super) fn because(refusal: Refusal, fact: String) -> Box<Self> {
        let (code, sentence) = refusal.words();
        let message = if fact.is_empty() { sentence.to_owned() } else { format!("{sentence}: {fact}") };
        let retry_after = (refusal.status() == 503).then(|| super::Gate::RETRY_AFTER.as_secs());
        let refusal = Some(refusal);
        let status = refusal.map_or(500, Refusal::status);
        Box::new(Self { retry_after, refusal, ..Self::plain(status, code, &message) })
    }

    fn plain(status: u16, code: &'static str, message: &str) -> Self {
        let message = message.to_owned();
        Self {
            refusal: None,
            status,
            code,
            message,
            payment: None,
            retry_after: None,
            receipt: None,
            under_way: None,
        }
    }

    pub(super) fn unpaid(payment: PaymentRequired) -> Box<Self> {
        let message = "an invocation is paid: the header PAYMENT-REQUIRED says how (x402 v2)";
        Box::new(Self { payment: Some(payment), ..Self::plain(402, "payment_required", message) })
    }

    pub(super) fn chain_unavailable() -> Box<Self> {
        let message = "the host cannot see the chain now, and answers nobody whom it cannot judge";
        let retry_after = Some(super::Gate::RETRY_AFTER.as_secs());
        Box::new(Self { retry_after, ..Self::plain(503, "chain_unavailable", message) })
    }

    pub(super) fn channel_busy(under_way: Option<B256>) -> Box<Self> {
        let message = "another invocation of this channel is under way; open another channel for this one";
        Box::new(Self { retry_after: Some(1), under_way, ..Self::plain(409, "channel_busy", message) })
    }

    pub(super) fn reply_gone(receipt: HandedReceipt) -> Box<Self> {
        let message = "this invocation was answered and charged, and its reply is no longer kept";
        Box::new(Self { receipt: Some(receipt), ..Self::plain(409, "reply_gone", message) })
    }

    pub(super) fn broken() -> Box<Self> {
        Box::new(Self::plain(500, "server_error", "the host's books could not be read; try again"))
    }

    /// The body of the refusal.
    #[must_use]
    pub fn json(&self) -> Value {
        let kind = match self.status {
            402 => "payment_required",
            403 => "permission_error",
            409 => "conflict_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        };
        json!({ "error": { "message": self.message, "type": kind, "param": null, "code": self.code } })
    }
}
