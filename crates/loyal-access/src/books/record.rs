//! What the log of a host's books holds, line by line.

use std::sync::Arc;

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use super::{Answer, Paid};
use crate::document::{SignedCredential, SignedInvocation, SignedReceipt};
use crate::payment::{ChannelTerms, SignedVoucher};

/// A record of the log.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Record {
    /// A credential, before the first receipt of the epoch that it permitted.
    Credential(B256, Arc<SignedCredential>),
    /// A channel, before the first receipt of the epoch that it paid.
    Channel(B256, Address, ChannelTerms),
    /// An answered invocation.
    Answered(Box<Answered>),
}

/// An answered invocation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answered {
    /// The receipt's digest.
    pub(super) id: B256,
    pub(super) invocation: Arc<SignedInvocation>,
    pub(super) receipt: SignedReceipt,
    pub(super) salt: B256,
    pub(super) prompt: String,
    pub(super) params_hash: B256,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) voucher: Option<SignedVoucher>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) transfer: Option<B256>,
    /// Who brought an invocation that a transfer paid; a channel says it for its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) builder: Option<Address>,
    #[serde(skip)]
    pub(super) credential: Option<Arc<SignedCredential>>,
    #[serde(skip)]
    pub(super) terms: Option<(Address, ChannelTerms)>,
}

impl Record {
    pub(super) fn of(answer: &Answer, receipt: SignedReceipt, id: B256) -> Answered {
        let (terms, voucher, transfer) = match &answer.paid {
            Paid::Voucher { terms, builder, voucher } => {
                (Some((*builder, terms.clone())), Some(voucher.clone()), None)
            }
            Paid::Transfer(hash, _) => (None, None, Some(*hash)),
        };
        let builder = match answer.paid {
            Paid::Transfer(_, builder) => Some(builder).filter(|builder| !builder.is_zero()),
            Paid::Voucher { .. } => None,
        };
        Answered {
            id,
            invocation: Arc::clone(&answer.invocation),
            receipt,
            salt: answer.salt,
            prompt: answer.asked.0.clone(),
            params_hash: answer.asked.1,
            voucher,
            transfer,
            builder,
            credential: Some(Arc::clone(&answer.credential)),
            terms,
        }
    }
}
