//! What the store keeps of blocks and transactions, and its encoding.

use alloy_consensus::{EthereumTxEnvelope, Header, Receipt, ReceiptEnvelope, ReceiptWithBloom, TxEip4844};
use alloy_eips::{Decodable2718 as _, Typed2718 as _};
use alloy_primitives::{Address, B256, Bytes, Log, U256};
use alloy_rlp::{RlpDecodable, RlpEncodable};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A signed transaction of any type this chain takes.
pub(crate) type Transaction = EthereumTxEnvelope<TxEip4844>;

/// A sealed block without its transactions.
#[derive(Debug, Clone, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct Block {
    pub(crate) header: Header,
    pub(crate) hash: B256,
    /// The step that made it; steps count blocks and development changes between them.
    pub(crate) step: u64,
    pub(crate) transaction_count: u64,
    pub(crate) bytes: u64,
}

/// A transaction in its block, with what it left.
#[derive(Debug, Clone, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct Included {
    pub(crate) raw: Bytes,
    pub(crate) from: Address,
    pub(crate) success: bool,
    pub(crate) gas_used: u64,
    pub(crate) cumulative_gas_used: u64,
    /// Zero where nothing was deployed.
    pub(crate) created: Address,
    /// Index in the block of the first log.
    pub(crate) first_log: u64,
    pub(crate) logs: Vec<Log>,
}

impl Included {
    pub(crate) fn transaction(&self) -> Result<Transaction> {
        Transaction::decode_2718_exact(&self.raw)
            .map_err(|error| Error::Damaged { what: format!("a transaction does not decode: {error}") })
    }

    /// The receipt as the receipts root commits to it.
    pub(crate) fn receipt(&self, transaction: &Transaction) -> ReceiptEnvelope {
        let receipt = Receipt {
            status: self.success.into(),
            cumulative_gas_used: self.cumulative_gas_used,
            logs: self.logs.clone(),
        };
        envelope(transaction, receipt.into())
    }
}

/// A receipt under the type byte of its transaction.
pub(crate) fn envelope<T>(
    transaction: &Transaction,
    receipt: ReceiptWithBloom<Receipt<T>>,
) -> ReceiptEnvelope<T> {
    match transaction.ty() {
        1 => ReceiptEnvelope::Eip2930(receipt),
        2 => ReceiptEnvelope::Eip1559(receipt),
        4 => ReceiptEnvelope::Eip7702(receipt),
        _ => ReceiptEnvelope::Legacy(receipt),
    }
}

/// Where a transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) block: u64,
    pub(crate) index: u32,
}

/// The keys one step touched, so that it can be undone and its history pruned.
#[derive(Debug, Clone, Default, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct Touched {
    pub(crate) root_before: B256,
    pub(crate) accounts: Vec<Address>,
    pub(crate) slots: Vec<Slot>,
}

/// A storage slot of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct Slot {
    pub(crate) account: Address,
    pub(crate) index: U256,
}

/// A balance set from outside on a development chain, between two blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, RlpEncodable, RlpDecodable, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Funding {
    pub(crate) account: Address,
    pub(crate) balance: U256,
}

/// The head of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct Tip {
    pub(crate) step: u64,
    pub(crate) block: u64,
    pub(crate) root: B256,
    /// Seconds a development chain runs ahead of its clock.
    pub(crate) ahead: u64,
    /// Oldest step whose changes can still be undone.
    pub(crate) oldest_step: u64,
    /// Oldest block whose transactions are kept.
    pub(crate) oldest_block: u64,
}
