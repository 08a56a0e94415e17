//! Refunds: the rest of a channel goes back to its payer at once, where the payer asks and the host agrees.
//!
//! One transaction redeems what was charged and gives the rest back, or does neither. Whoever signed the channel's vouchers asks,
//! with a voucher over what was charged and nothing more; no credential is wanted: the rest is the payer's whatever became of it.

use std::sync::Arc;

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::{SolCall as _, sol};
use hyper::HeaderMap;
use loyal_protocol::channel::Voucher;
use loyal_protocol::contracts::InvocationChannel;
use loyal_protocol::{channel, message, signature};

use super::showing::{builder, one};
use super::{Gate, Refused};
use crate::admission::{Chainside as _, Refusal};
use crate::document;
use crate::payment::{
    self, BatchKind, BatchPayment, Payment, PaymentPayload, Requirements, Settlement, SettlementExtra,
    VoucherState, code,
};
use crate::redemption::{self, Owed};
use crate::view::{Escrow, Unknown};
use crate::{Error, Result};

sol! {
    struct Refund { bytes32 channelId; uint256 nonce; uint128 amount; }
}

/// A channel that nobody else uses until this is dropped.
struct Held<'a> {
    gate: &'a Gate,
    channel: B256,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.gate.books.let_go(self.channel);
    }
}

type Answer<T> = std::result::Result<T, Box<Refused>>;

impl Gate {
    /// Answers a request for a channel's rest; one without a payment is told how to pay.
    ///
    /// # Errors
    /// The refusal.
    pub async fn refund(self: &Arc<Self>, headers: &HeaderMap) -> Answer<Settlement> {
        if !headers.contains_key(payment::PAYMENT_SIGNATURE) {
            return Err(self.unpaid(headers).await);
        }
        let payload: PaymentPayload =
            document::read_header("PAYMENT-SIGNATURE", one(headers, payment::PAYMENT_SIGNATURE)?)
                .map_err(|error| Refused::because(Refusal::Malformed, error.to_string()))?;
        let builder = builder(headers)?;
        let gate = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || gate.refund_now(payload, builder)).await;
        done.unwrap_or_else(|_| Err(Refused::chain_unavailable()))
    }

    fn refund_now(&self, payload: PaymentPayload, builder: Option<Address>) -> Answer<Settlement> {
        let malformed = |fact: &str| Refused::because(Refusal::Malformed, fact.to_owned());
        let network = Requirements::network_of(self.view.client().chain_id());
        let Payment::Batch(batch) = payload.payload else {
            return Err(malformed("a request without a body asks for a refund, and pays nothing"));
        };
        if payload.x402_version != payment::VERSION || payload.accepted.network != network {
            return Err(malformed(&format!("the refund is not for network {network} by x402 version 2")));
        }
        if batch.kind != BatchKind::Refund {
            return Err(malformed("a request without a body asks for a refund, and pays nothing"));
        }
        let id = batch.voucher.channel_id;
        let till_of = self.books.account(id).map(|account| account.builder).or(builder).unwrap_or_default();
        self.check_refund(&batch, till_of)?;
        if !self.books.hold(id) {
            return Err(Refused::channel_busy(None));
        }
        let _held = Held { gate: self, channel: id };
        let before = self.view.read_escrow(id).map_err(|_| Refused::chain_unavailable())?;
        let charged = self.charged(id);
        if batch.voucher.max_claimable_amount != charged {
            return Err(self.uneven(&batch, till_of, charged));
        }
        let amount = self.refundable(&batch, (&before, charged), till_of)?;
        let transaction = self.give_back(&batch, (&before, amount)).map_err(|error| {
            let fact = format!("the refund did not get into a block: {error}");
            self.unrefunded(till_of, "invalid_batch_settlement_evm_refund_transaction_failed", fact)
        })?;
        let after = self.view.read_escrow(id).map_err(|_| Refused::chain_unavailable())?;
        Ok(Settlement {
            success: true,
            error_reason: None,
            transaction: transaction.to_string(),
            network,
            payer: Some(batch.channel_config.payer),
            amount: before.balance.saturating_sub(after.balance).to_string(),
            extra: Some(SettlementExtra {
                charged_amount: None,
                channel_state: self.channel_state(id, self.charged(id)),
            }),
        })
    }

    /// Whether the channel is one of this hosting, and its payer asks.
    fn check_refund(&self, batch: &BatchPayment, builder: Address) -> Answer<()> {
        let config = &batch.channel_config;
        let known = self.view.known(true);
        let unavailable = |_: Unknown| Refused::chain_unavailable();
        let id = message::digest(config, &self.domains.channel);
        let is_ours = id == batch.voucher.channel_id
            && config.token == self.view.hosting().asset
            && config.receiverAuthorizer == self.signer.address()
            && config.receiver == known.till(builder).map_err(unavailable)?;
        if !is_ours {
            return Err(Refused::because(
                Refusal::VoucherInvalid,
                "this channel is not of this hosting".to_owned(),
            ));
        }
        let voucher = Voucher { channelId: id, maxClaimableAmount: batch.voucher.max_claimable_amount };
        let digest = message::digest(&voucher, &self.domains.channel);
        let bytes = &batch.voucher.signature;
        let is_signed = if config.payerAuthorizer == Address::ZERO {
            known.is_signed(config.payer, digest, bytes).map_err(unavailable)?
        } else {
            signature::signer_of(digest, bytes) == Some(config.payerAuthorizer)
        };
        if is_signed {
            return Ok(());
        }
        Err(Refused::because(Refusal::VoucherInvalid, "the channel's payer did not sign it".to_owned()))
    }

    /// How much goes back: all that is left, or what is asked for of it.
    fn refundable(&self, batch: &BatchPayment, at: (&Escrow, u128), builder: Address) -> Answer<u128> {
        let (escrow, charged) = at;
        let rest = escrow.balance.saturating_sub(charged);
        if rest == 0 {
            let fact = "nothing is left in the channel".to_owned();
            return Err(self.unrefunded(builder, code::REFUND_NO_BALANCE, fact));
        }
        let asked = batch.amount.unwrap_or(rest).min(rest);
        // Each refund costs the host a transaction: parts must be worth one invocation, the whole may be worth less.
        let least = self.settings.price.ceiling.min(rest);
        if asked < least {
            let fact = format!("{asked} base units; ask for at least {least}, or for all");
            return Err(self.unrefunded(builder, code::REFUND_AMOUNT_INVALID, fact));
        }
        Ok(asked)
    }

    /// Redeems what was charged and gives the rest back, in one transaction.
    fn give_back(&self, batch: &BatchPayment, (escrow, amount): (&Escrow, u128)) -> Result<B256> {
        let relay = self.relay.as_ref().ok_or_else(|| {
            Error::Refused("this host brings nothing to the chain; withdraw what is left".to_owned())
        })?;
        let id = batch.voucher.channel_id;
        let nonce = U256::from(escrow.refund_nonce);
        let signed = Refund { channelId: id, nonce, amount };
        let signature = self.signer.sign_bytes(message::digest(&signed, &self.domains.channel));
        let refund = InvocationChannel::refundWithSignatureCall {
            config: channel::terms(&batch.channel_config),
            amount,
            nonce,
            receiverAuthorizerSignature: signature,
        };
        let mut calls = Vec::new();
        if let Some(account) = self.books.account(id).filter(|account| account.charged > escrow.claimed) {
            let total = account.charged.min(escrow.balance);
            let owed = Owed { channel: id, account, amount: total - escrow.claimed, total };
            calls.push(redemption::claim(self, &[owed]).abi_encode().into());
        }
        calls.push(refund.abi_encode().into());
        relay.together(calls)
    }

    /// The payer stands elsewhere than the books: it is shown its own newest voucher.
    fn uneven(&self, batch: &BatchPayment, builder: Address, charged: u128) -> Box<Refused> {
        let id = batch.voucher.channel_id;
        let fact = format!("{charged} were charged on this channel so far");
        let mut refused = self.unrefunded(builder, code::CUMULATIVE_MISMATCH, fact);
        if let Some(required) = refused.payment.as_mut() {
            let extra = &mut required.accepts[0].extra;
            extra.channel_state = Some(self.channel_state(id, charged));
            extra.voucher_state = self.books.account(id).map(|account| VoucherState {
                signed_max_claimable: account.voucher.max_claimable_amount,
                signature: account.voucher.signature,
            });
        }
        refused
    }

    fn unrefunded(&self, builder: Address, error: &str, fact: String) -> Box<Refused> {
        let mut refused = Refused::because(Refusal::VoucherInvalid, fact);
        refused.payment = self.required(builder, Some(error.to_owned())).ok();
        refused
    }
}
