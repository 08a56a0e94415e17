//! Where a chain stands, in figures.

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

use super::chain::Chain;

/// Where a chain stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The chain id.
    pub chain_id: u64,
    /// Whether it is a development chain.
    pub development: bool,
    /// Number of the newest block.
    pub block: u64,
    /// Hash of the newest block.
    pub hash: B256,
    /// Timestamp of the newest block, unix seconds.
    pub timestamp: u64,
    /// Base fee of the newest block, wei per gas.
    pub base_fee: u64,
    /// Transactions that wait for the next block, and ones that wait for an earlier nonce.
    pub waiting: (usize, usize),
    /// Oldest block whose transactions are kept.
    pub oldest_block: u64,
}

impl Chain {
    /// Where the chain stands.
    pub fn status(&self) -> Status {
        let head = self.head();
        let header = &head.block.header;
        Status {
            chain_id: self.genesis().chain_id,
            development: self.genesis().development,
            block: header.number,
            hash: head.block.hash,
            timestamp: header.timestamp,
            base_fee: header.base_fee_per_gas.unwrap_or_default(),
            waiting: self.pool().counts(),
            oldest_block: head.tip.oldest_block,
        }
    }
}
