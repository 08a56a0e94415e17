//! Refunds: a host is asked for the rest of a channel, and the chain is asked whether it came.

use alloy_primitives::B256;
use bytes::Bytes;
use http_body_util::Full;
use loyal_protocol::channel::Voucher;

use super::{Caller, HEAD_SLACK, denial, read_body};
use crate::document::{self, BUILDER};
use crate::outbound;
use crate::payment::{
    BatchKind, BatchPayment, PAYMENT_REQUIRED, PAYMENT_SIGNATURE, Payment, PaymentPayload, PaymentRequired,
    SignedVoucher, VERSION, code,
};
use crate::{Error, Result};

/// How often a refund is asked for anew because the host corrects the payer.
const ROUNDS_MAX: u32 = 3;

impl Caller {
    /// Asks the host for the rest of a channel; answers how much came back by the chain's own word. What the host was owed it
    /// redeems in the same transaction.
    ///
    /// # Errors
    /// [`Error::Denied`] where the host does not agree: the rest comes back by [`crate::Wallet::withdraw`] all the same;
    /// [`Error::Refused`] where an invocation of the channel has not ended; [`Error::Connection`].
    pub async fn refund(&self, channel: B256) -> Result<u128> {
        let known = self.known().await?;
        for _ in 0..ROUNDS_MAX {
            let terms = known.terms.clone();
            let signed = self.block(move |inner| {
                let account = inner.refresh(channel)?;
                let requirements = &terms.requirements;
                let is_here = account.hosting == terms.info.hosting_id
                    && account.terms.0.receiver == requirements.pay_to
                    && !terms.is_exact();
                if account.pending.is_some() || !is_here {
                    let why = "an invocation of it has not ended, or it pays another host";
                    return Err(Error::Refused(format!("channel {channel}: {why}")));
                }
                let voucher = Voucher { channelId: channel, maxClaimableAmount: account.charged };
                let payment = BatchPayment {
                    kind: BatchKind::Refund,
                    channel_config: account.terms.0.clone(),
                    voucher: SignedVoucher {
                        channel_id: channel,
                        max_claimable_amount: account.charged,
                        signature: inner.payer.sign_voucher(&voucher),
                    },
                    deposit: None,
                    amount: None,
                };
                let payload = Payment::Batch(payment);
                let accepted = requirements.clone();
                Ok((account.balance, PaymentPayload { x402_version: VERSION, accepted, payload }))
            });
            let (before, payload) = signed.await?;
            let (origin, path) = outbound::split(&format!("{}/chat/completions", known.base))?;
            let request = hyper::Request::builder()
                .uri(path)
                .header(BUILDER, self.inner.builder().to_string())
                .header(PAYMENT_SIGNATURE, document::header(&payload))
                .body(Full::<Bytes>::default())
                .map_err(|error| Error::BadAddress { why: error.to_string() })?;
            let late =
                |_| Error::Connection { origin: origin.clone(), why: "no answer within 30 s".to_owned() };
            let sent = self.inner.outbound.send(&origin, request);
            let (head, body) = tokio::time::timeout(HEAD_SLACK, sent).await.map_err(late)??.into_parts();
            let body = read_body(body).await.unwrap_or_default();
            if head.status.is_success() {
                // The host's word is not asked for: the chain's is.
                let after = self.block(move |inner| inner.refresh(channel)).await?;
                return Ok(before.saturating_sub(after.balance));
            }
            let corrected = head
                .headers
                .get(PAYMENT_REQUIRED)
                .map(|header| document::read_header::<PaymentRequired>(PAYMENT_REQUIRED, header.as_bytes()));
            match corrected.transpose()? {
                Some(required) if required.error.as_deref() == Some(code::CUMULATIVE_MISMATCH) => {
                    self.correct((&known, channel), &required).await?;
                }
                _ => return Err(denial(head.status.as_u16(), &head.headers, &body)),
            }
        }
        Err(Error::Misbehaved { why: "the host corrects the refund again and again".to_owned() })
    }
}
