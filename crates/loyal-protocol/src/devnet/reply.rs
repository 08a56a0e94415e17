//! Replies in the standard's shape: blocks, transactions, receipts, logs.

use alloy_consensus::{Receipt, Transaction as _, transaction::Recovered};
use alloy_primitives::{B256, U256};
use alloy_rpc_types_eth::{self as rpc, BlockTransactions};

use super::{
    record::{self, Block, Included, Place},
    view::View,
};
use crate::{Error, Result};

type Transaction = rpc::Transaction<record::Transaction>;

/// A header, as subscribers get it.
pub(crate) fn header(block: &Block) -> rpc::Header {
    rpc::Header {
        hash: block.hash,
        inner: block.header.clone(),
        total_difficulty: Some(U256::ZERO),
        size: Some(U256::from(block.bytes)),
    }
}

/// A block, with whole transactions or their hashes.
pub(crate) fn block(view: &View, block: &Block, whole: bool) -> Result<rpc::Block<Transaction>> {
    let included = transactions(view, block)?;
    let transactions = if whole {
        let each = (0..).zip(included).map(|(index, included)| transaction(block, index, &included));
        BlockTransactions::Full(each.collect::<Result<_>>()?)
    } else {
        BlockTransactions::Hashes(included.iter().map(hash).collect())
    };
    Ok(rpc::Block {
        header: header(block),
        uncles: Vec::new(),
        transactions,
        withdrawals: Some(Default::default()),
    })
}

/// The transactions of a block; an error where they are no longer kept.
pub(crate) fn transactions(view: &View, block: &Block) -> Result<Vec<Included>> {
    let number = block.header.number;
    let included = view.transactions(number)?;
    if included.len() as u64 == block.transaction_count {
        return Ok(included);
    }
    if included.is_empty() {
        return Err(Error::Pruned { what: format!("the content of block {number}") });
    }
    Err(Error::Damaged { what: format!("block {number} does not have its transactions") })
}

/// A transaction in its block.
pub(crate) fn transaction(block: &Block, index: u64, included: &Included) -> Result<Transaction> {
    let transaction = included.transaction()?;
    let price = transaction.effective_gas_price(block.header.base_fee_per_gas);
    Ok(Transaction {
        inner: Recovered::new_unchecked(transaction, included.from),
        block_hash: Some(block.hash),
        block_number: Some(block.header.number),
        transaction_index: Some(index),
        effective_gas_price: Some(price),
        block_timestamp: Some(block.header.timestamp),
    })
}

/// A receipt.
pub(crate) fn receipt(block: &Block, index: u64, included: &Included) -> Result<rpc::TransactionReceipt> {
    let transaction = included.transaction()?;
    let bloom = included.logs.iter().fold(Default::default(), |mut bloom: alloy_primitives::Bloom, log| {
        bloom.accrue_log(log);
        bloom
    });
    let receipt = Receipt {
        status: included.success.into(),
        cumulative_gas_used: included.cumulative_gas_used,
        logs: logs(block, index, included).collect::<Vec<_>>(),
    };
    let receipt = alloy_consensus::ReceiptWithBloom { receipt, logs_bloom: bloom };
    Ok(rpc::TransactionReceipt {
        inner: record::envelope(&transaction, receipt),
        transaction_hash: hash(included),
        transaction_index: Some(index),
        block_hash: Some(block.hash),
        block_number: Some(block.header.number),
        gas_used: included.gas_used,
        effective_gas_price: transaction.effective_gas_price(block.header.base_fee_per_gas),
        blob_gas_used: None,
        blob_gas_price: None,
        from: included.from,
        to: transaction.to(),
        contract_address: (!included.created.is_zero()).then_some(included.created),
    })
}

/// The logs of a transaction.
pub(crate) fn logs<'a>(
    block: &'a Block,
    index: u64,
    included: &'a Included,
) -> impl Iterator<Item = rpc::Log> + 'a {
    let transaction = hash(included);
    (included.first_log..).zip(&included.logs).map(move |(log_index, log)| rpc::Log {
        inner: log.clone(),
        block_hash: Some(block.hash),
        block_number: Some(block.header.number),
        block_timestamp: Some(block.header.timestamp),
        transaction_hash: Some(transaction),
        transaction_index: Some(index),
        log_index: Some(log_index),
        removed: false,
    })
}

/// A transaction and its block, by hash.
pub(crate) fn find(view: &View, hash: B256) -> Result<Option<(Block, Place, Included)>> {
    let Some(place) = view.place(hash)? else { return Ok(None) };
    let missing = |what: &str| Error::Damaged { what: format!("{what} of transaction {hash} is missing") };
    let block = view.block(place.block)?.ok_or_else(|| missing("the block"))?;
    let included = view.transaction(place)?.ok_or_else(|| missing("the body"))?;
    Ok(Some((block, place, included)))
}

fn hash(included: &Included) -> B256 {
    alloy_primitives::keccak256(&included.raw)
}

/// A transaction that has no block yet.
pub(crate) fn waiting(signed: &super::env::Signed) -> Transaction {
    Transaction {
        inner: Recovered::new_unchecked(signed.transaction.clone(), signed.from),
        block_hash: None,
        block_number: None,
        transaction_index: None,
        effective_gas_price: None,
        block_timestamp: None,
    }
}
