//! Fees: what a transaction should offer, and what past blocks took.

use alloy_consensus::Transaction as _;
use alloy_rpc_types_eth::FeeHistory;

use super::{at::At, chain::Chain, record::Block, view::View};
use crate::{Error, Result};

/// Blocks one fee history spans at most, as geth has it.
const BLOCK_COUNT_MAX: u64 = 1_024;
const PERCENTILE_COUNT_MAX: usize = 100;

impl Chain {
    /// The base fee of the next block and the suggested priority fee.
    pub(crate) fn gas_price(&self) -> u128 {
        let base_fee = self.pending_header(&self.head()).base_fee_per_gas.unwrap_or_default();
        u128::from(base_fee) + u128::from(self.genesis().fee.priority_fee)
    }

    /// `eth_feeHistory` of up to `count` blocks that end with `newest`.
    pub(crate) fn fee_history(
        &self,
        count: u64,
        newest: &At,
        percentiles: Option<&[f64]>,
    ) -> Result<FeeHistory> {
        check_percentiles(percentiles.unwrap_or_default())?;
        let last = newest.block.header.number;
        let count = count.min(BLOCK_COUNT_MAX).min(last + 1);
        let mut history = FeeHistory { oldest_block: last + 1 - count, ..Default::default() };
        let mut rewards = Vec::new();
        let mut next = None;
        for number in history.oldest_block..=last {
            let block = newest.view.sealed_block(number)?;
            let header = &block.header;
            history.base_fee_per_gas.push(header.base_fee_per_gas.unwrap_or_default().into());
            history.gas_used_ratio.push(header.gas_used as f64 / header.gas_limit as f64);
            history.base_fee_per_blob_gas.push(1);
            history.blob_gas_used_ratio.push(0.0);
            if let Some(percentiles) = percentiles {
                rewards.push(paid(&newest.view, &block, percentiles)?);
            }
            next = Some(super::block::next_header(self.genesis(), &block, 0));
        }
        let next = next.and_then(|header| header.base_fee_per_gas).unwrap_or_default();
        history.base_fee_per_gas.push(next.into());
        history.base_fee_per_blob_gas.push(1);
        history.reward = percentiles.map(|_| rewards);
        Ok(history)
    }
}

fn check_percentiles(percentiles: &[f64]) -> Result<()> {
    if percentiles.len() > PERCENTILE_COUNT_MAX {
        return Err(Error::Request { what: format!("over {PERCENTILE_COUNT_MAX} reward percentiles") });
    }
    let ordered = percentiles.windows(2).all(|pair| pair[0] <= pair[1]);
    if !ordered || percentiles.iter().any(|p| !(0.0..=100.0).contains(p)) {
        return Err(Error::Request {
            what: "reward percentiles are not rising numbers from 0 to 100".into(),
        });
    }
    Ok(())
}

/// The priority fees at `percentiles` of the block's gas.
fn paid(view: &View, block: &Block, percentiles: &[f64]) -> Result<Vec<u128>> {
    let base_fee = block.header.base_fee_per_gas;
    let mut fees = Vec::new();
    for included in view.transactions(block.header.number)? {
        let fee = included.transaction()?.effective_tip_per_gas(base_fee.unwrap_or_default());
        fees.push((fee.unwrap_or_default(), included.gas_used));
    }
    fees.sort_unstable();
    let at = |percentile: &f64| {
        let threshold = (block.header.gas_used as f64 * percentile / 100.0) as u64;
        let mut gas = 0;
        let reached = fees.iter().find(|(_, used)| {
            gas += used;
            gas >= threshold
        });
        reached.or(fees.last()).map_or(0, |(fee, _)| *fee)
    };
    Ok(percentiles.iter().map(at).collect())
}
