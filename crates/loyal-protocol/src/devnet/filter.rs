//! Logs by filter: asked once, or polled through a filter the server remembers.

use std::{collections::BTreeMap, time::Duration};

use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{B256, U256};
use alloy_rpc_types_eth::{Filter, FilterBlockOption, Log};
use serde_json::{Value, json};

use super::{
    chain::{Chain, hold},
    record::Block,
    reply,
    view::View,
};
use crate::{Error, Result};

/// Logs one answer holds at most, and blocks it looks through.
const LOG_COUNT_MAX: usize = 20_000;
const BLOCK_SPAN_MAX: u64 = 1_000_000;
/// Filters remembered at a time. One that was not polled for [`IDLE_MAX`] makes room for others.
const FILTER_COUNT_MAX: usize = 4_096;
const IDLE_MAX: Duration = Duration::from_secs(5 * 60);

/// What a remembered filter looks for.
#[derive(Debug, Clone)]
pub(crate) enum Watched {
    Blocks,
    Logs(Box<Filter>),
}

#[derive(Debug)]
struct Installed {
    watched: Watched,
    /// The first block that was not told yet.
    next: u64,
    polled: Duration,
}

/// The filters a server remembers. Nothing is queued for them: a poll reads the blocks since the last.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    installed: BTreeMap<u64, Installed>,
    last_id: u64,
}

impl Filters {
    fn install(&mut self, watched: Watched, next: u64, now: Duration) -> Result<U256> {
        if self.installed.len() >= FILTER_COUNT_MAX {
            self.installed.retain(|_, filter| now.saturating_sub(filter.polled) < IDLE_MAX);
        }
        if self.installed.len() >= FILTER_COUNT_MAX {
            return Err(Error::Limit { what: format!("over {FILTER_COUNT_MAX} filters are open") });
        }
        self.last_id += 1;
        self.installed.insert(self.last_id, Installed { watched, next, polled: now });
        Ok(U256::from(self.last_id))
    }

    fn get(&mut self, id: U256) -> Result<&mut Installed> {
        let found = u64::try_from(id).ok().and_then(|id| self.installed.get_mut(&id));
        found.ok_or_else(|| Error::Unknown { what: format!("filter {id:#x}") })
    }
}

impl Chain {
    pub(crate) fn new_filter(&self, watched: Watched) -> Result<U256> {
        let next = self.head().tip.block + 1;
        hold(&self.filters).install(watched, next, self.clock().elapsed())
    }

    pub(crate) fn uninstall_filter(&self, id: U256) -> bool {
        u64::try_from(id).is_ok_and(|id| hold(&self.filters).installed.remove(&id).is_some())
    }

    /// What is new since the last poll: block hashes, or logs.
    pub(crate) fn filter_changes(&self, id: U256) -> Result<Value> {
        let head = self.head();
        let (watched, next) = {
            let mut filters = hold(&self.filters);
            let filter = filters.get(id)?;
            filter.polled = self.clock().elapsed();
            // After going back to a snapshot, the blocks from there on are new.
            (filter.watched.clone(), filter.next.min(head.tip.block + 1))
        };
        let found = match &watched {
            Watched::Blocks => {
                let last = head.tip.block.min(next + LOG_COUNT_MAX as u64 - 1);
                let hashes = (next..=last).map(|number| Ok(head.view.sealed_block(number)?.hash));
                (json!(hashes.collect::<Result<Vec<B256>>>()?), last)
            }
            Watched::Logs(filter) => {
                let (from, to) = range(filter, (0, u64::MAX));
                let last = head.tip.block.min(to);
                (json!(scan(&head.view, filter, next.max(from)..=last)?), head.tip.block)
            }
        };
        if let Ok(filter) = hold(&self.filters).get(id) {
            filter.next = found.1 + 1;
        }
        Ok(found.0)
    }

    /// All logs that a remembered filter matches.
    pub(crate) fn filter_logs(&self, id: U256) -> Result<Vec<Log>> {
        let watched = hold(&self.filters).get(id)?.watched.clone();
        match watched {
            Watched::Logs(filter) => self.logs(&filter),
            Watched::Blocks => Err(Error::Request { what: "the filter is for blocks, not logs".into() }),
        }
    }

    /// `eth_getLogs`.
    pub(crate) fn logs(&self, filter: &Filter) -> Result<Vec<Log>> {
        if let FilterBlockOption::AtBlockHash(hash) = filter.block_option {
            let at = self.at(BlockId::from(hash))?;
            return in_block(&at.view, &at.block, filter);
        }
        let head = self.head();
        let (from, to) = range(filter, (head.tip.block, head.tip.block));
        if from > to && from <= head.tip.block {
            return Err(Error::Request { what: format!("fromBlock {from} is after toBlock {to}") });
        }
        if from < head.tip.oldest_block {
            return Err(Error::Pruned { what: format!("logs before block {}", head.tip.oldest_block) });
        }
        scan(&head.view, filter, from..=to.min(head.tip.block))
    }
}

/// The first and last block of a filter; tags other than `earliest`, and what is not given, are `open`.
fn range(filter: &Filter, open: (u64, u64)) -> (u64, u64) {
    let number = |tag: Option<BlockNumberOrTag>, open: u64| match tag {
        Some(BlockNumberOrTag::Number(number)) => number,
        Some(BlockNumberOrTag::Earliest) => 0,
        None | Some(_) => open,
    };
    match filter.block_option {
        FilterBlockOption::Range { from_block, to_block } => {
            (number(from_block, open.0), number(to_block, open.1))
        }
        FilterBlockOption::AtBlockHash(_) => open,
    }
}

fn scan(view: &View, filter: &Filter, blocks: std::ops::RangeInclusive<u64>) -> Result<Vec<Log>> {
    if blocks.end().saturating_sub(*blocks.start()) >= BLOCK_SPAN_MAX {
        return Err(Error::Limit { what: format!("the filter spans over {BLOCK_SPAN_MAX} blocks") });
    }
    let mut logs = Vec::new();
    for number in blocks {
        logs.extend(in_block(view, &view.sealed_block(number)?, filter)?);
        if logs.len() > LOG_COUNT_MAX {
            let what = format!("query returned more than {LOG_COUNT_MAX} results; narrow the block range");
            return Err(Error::Limit { what });
        }
    }
    Ok(logs)
}

/// The logs of one block that `filter` matches.
pub(crate) fn in_block(view: &View, block: &Block, filter: &Filter) -> Result<Vec<Log>> {
    if block.transaction_count == 0 || !filter.matches_bloom(block.header.logs_bloom) {
        return Ok(Vec::new());
    }
    let mut logs = Vec::new();
    for (index, included) in (0..).zip(reply::transactions(view, block)?) {
        logs.extend(reply::logs(block, index, &included).filter(|log| filter.matches(&log.inner)));
    }
    Ok(logs)
}
