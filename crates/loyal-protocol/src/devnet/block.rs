//! Building a block: transactions in order, their receipts, the header over them.

use alloy_consensus::{Header, Transaction as _, proofs};
use alloy_primitives::{Address, B256};
use revm::DatabaseCommit as _;

use super::{
    env::{Env, Signed, execute},
    genesis::{Genesis, prague_header},
    record::{Block, Included},
    state::State,
};
use crate::{Error, Result};

/// The transactions of a block with their traces, and those that did not fit or could not run.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) included: Vec<Included>,
    pub(crate) signed: Vec<Signed>,
    pub(crate) refused: Vec<(B256, Error)>,
}

/// The header of the block after `parent`, before anything ran in it.
pub(crate) fn next_header(genesis: &Genesis, parent: &Block, timestamp: u64) -> Header {
    let last = &parent.header;
    let base_fee = genesis.base_fee_params().next_block_base_fee(
        last.gas_used,
        last.gas_limit,
        last.base_fee_per_gas.unwrap_or_default(),
    );
    Header {
        parent_hash: parent.hash,
        number: last.number + 1,
        timestamp,
        gas_limit: genesis.gas_limit,
        beneficiary: genesis.beneficiary,
        base_fee_per_gas: Some(base_fee),
        mix_hash: parent.hash,
        ..prague_header()
    }
}

/// Runs `transactions` in order on `state`. One that cannot run leaves no trace and stops nobody else.
///
/// # Errors
/// Only the store's.
pub(crate) fn run(state: &mut State, env: &Env, transactions: Vec<Signed>) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let (mut gas_used, mut log_count) = (0, 0);
    for signed in transactions {
        let ran = match execute(state, env, signed.env()) {
            Ok(ran) => ran,
            Err(error @ Error::Rejected { .. }) => {
                outcome.refused.push((signed.hash, error));
                continue;
            }
            Err(error) => return Err(error),
        };
        gas_used += ran.result.tx_gas_used();
        let deploys = signed.transaction.kind().is_create();
        let success = ran.result.is_success();
        let included = Included {
            raw: signed.raw.clone(),
            from: signed.from,
            success,
            gas_used: ran.result.tx_gas_used(),
            cumulative_gas_used: gas_used,
            // The place is told even where the deployment failed, as public chains do.
            created: if deploys { signed.from.create(signed.transaction.nonce()) } else { Address::ZERO },
            first_log: log_count,
            logs: if success { ran.result.into_logs() } else { Vec::new() },
        };
        log_count += included.logs.len() as u64;
        state.commit(ran.state);
        outcome.included.push(included);
        outcome.signed.push(signed);
    }
    Ok(outcome)
}

/// The block over what ran: `header` with roots, bloom and gas.
pub(crate) fn assemble(mut header: Header, outcome: &Outcome, state_root: B256, step: u64) -> Block {
    let transactions: Vec<_> = outcome.signed.iter().map(|signed| &signed.transaction).collect();
    let receipts: Vec<_> =
        outcome.included.iter().zip(&transactions).map(|(included, tx)| included.receipt(tx)).collect();
    header.state_root = state_root;
    header.transactions_root = proofs::calculate_transaction_root(&transactions);
    header.receipts_root = proofs::calculate_receipt_root(&receipts);
    for receipt in &receipts {
        header.logs_bloom |= *receipt.logs_bloom();
    }
    header.gas_used = outcome.included.last().map_or(0, |included| included.cumulative_gas_used);
    let hash = header.hash_slow();
    let body: usize = outcome.included.iter().map(|included| included.raw.len()).sum();
    let bytes = (alloy_rlp::encode(&header).len() + body) as u64;
    Block { header, hash, step, transaction_count: outcome.included.len() as u64, bytes }
}
