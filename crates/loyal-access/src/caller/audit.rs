//! Whether a receipt is the one that an invocation earned: every number and every hash of it, against what was signed.

use alloy_primitives::Address;

use crate::admission::Domains;
use crate::document::HandedReceipt;
use crate::payment::Settlement;
use crate::request::response_hash;
use crate::wallet::Pending;

/// What a receipt is held against.
pub(super) struct Audit<'a> {
    pub(super) pending: &'a Pending,
    /// What was charged on the channel before.
    pub(super) charged: u128,
    pub(super) level: &'a str,
    /// Who signed for the hosting at the receipt's time.
    pub(super) signer: Address,
    /// The answer's text, where all of it was seen.
    pub(super) text: Option<&'a str>,
}

impl Audit<'_> {
    /// The first thing that is wrong with a receipt and what came with it, or nothing.
    pub(super) fn fault_of(
        &self,
        handed: &HandedReceipt,
        settlement: Option<&Settlement>,
        domains: &Domains,
    ) -> Option<String> {
        let (receipt, pending) = (&handed.receipt.receipt, self.pending);
        let asked = &pending.invocation.invocation;
        let charged = self.charged;
        let is_answer = |text: &str| receipt.responseHash == response_hash(pending.salt, text);
        let facts = [
            (
                "is not signed by the hosting's signer",
                handed.receipt.signer(domains_of(domains)) == Some(self.signer),
            ),
            ("speaks of another invocation", receipt.invocationId == pending.id),
            ("speaks of another hosting", receipt.hostingId == asked.hostingId),
            ("speaks of another request", receipt.requestHash == asked.requestHash),
            ("charges more than was allowed", receipt.amount <= asked.amountMax),
            (
                "does not add up: its sum is not what was charged before and its amount",
                Some(receipt.cumulative) == charged.checked_add(receipt.amount),
            ),
            ("goes beyond the voucher", receipt.cumulative <= pending.ceiling),
            ("names another level than the host does", handed.level == self.level),
            ("speaks of another answer", self.text.is_none_or(is_answer)),
        ];
        let wrong =
            facts.into_iter().find(|(_, is_so)| !is_so).map(|(what, _)| format!("the receipt {what}"));
        wrong.or_else(|| self.fault_of_settlement(handed, settlement?))
    }

    fn fault_of_settlement(&self, handed: &HandedReceipt, settlement: &Settlement) -> Option<String> {
        let receipt = &handed.receipt.receipt;
        let channel = self.pending.invocation.invocation.channelId;
        let extra = settlement.extra.as_ref();
        let state = extra.map(|extra| extra.channel_state);
        let facts = [
            ("does not succeed, and there is an answer", settlement.success),
            (
                "charges something else than the receipt",
                extra.and_then(|extra| extra.charged_amount).is_none_or(|amount| amount == receipt.amount),
            ),
            ("speaks of another channel", state.is_none_or(|state| state.channel_id == channel)),
            (
                "comes to another sum than the receipt",
                state.is_none_or(|state| state.charged_cumulative_amount == receipt.cumulative),
            ),
        ];
        facts.into_iter().find(|(_, is_so)| !is_so).map(|(what, _)| format!("the payment's response {what}"))
    }
}

const fn domains_of(domains: &Domains) -> &alloy_sol_types::Eip712Domain {
    &domains.loyal
}
