//! Which moment a request is about: a tag, a number or a hash, resolved to state and block.

use std::sync::Arc;

use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::B256;

use super::{
    chain::{Chain, Head},
    record::Block,
    state::State,
    view::View,
};
use crate::{Error, Result};

/// A block and the state after it.
#[derive(Debug, Clone)]
pub(crate) struct At {
    pub(crate) view: Arc<View>,
    pub(crate) block: Arc<Block>,
    /// The step whose state is meant; none for the newest.
    step: Option<u64>,
    /// Oldest step whose changes can be looked through.
    oldest_step: u64,
}

impl At {
    /// The state after the block, empty of changes.
    ///
    /// # Errors
    /// [`Error::Pruned`] where the store no longer has it.
    pub(crate) fn state(&self) -> Result<State> {
        if self.step.is_some_and(|step| step + 1 < self.oldest_step) {
            return Err(Error::Pruned { what: format!("the state of block {}", self.block.header.number) });
        }
        Ok(State::new(self.view.clone(), self.step))
    }

    fn newest(head: &Head) -> Self {
        Self {
            view: head.view.clone(),
            block: head.block.clone(),
            step: None,
            oldest_step: head.tip.oldest_step,
        }
    }
}

impl Chain {
    /// Resolves a block; every block is final, so `safe` and `finalized` are `latest`. `pending` has its state too.
    pub(crate) fn at(&self, id: BlockId) -> Result<At> {
        let head = self.head();
        match id {
            BlockId::Hash(hash) => self.at_hash(&head, hash.block_hash),
            BlockId::Number(BlockNumberOrTag::Number(number)) => Self::at_number(&head, number),
            BlockId::Number(BlockNumberOrTag::Earliest) => Self::at_number(&head, 0),
            BlockId::Number(_) => Ok(At::newest(&head)),
        }
    }

    fn at_hash(&self, head: &Head, hash: B256) -> Result<At> {
        match head.view.block_number(hash)? {
            Some(number) => Self::at_number(head, number),
            None => Err(Error::Unknown { what: format!("block {hash}") }),
        }
    }

    fn at_number(head: &Head, number: u64) -> Result<At> {
        if number == head.tip.block {
            return Ok(At::newest(head));
        }
        if number > head.tip.block {
            return Err(Error::Unknown { what: format!("block {number}") });
        }
        let block = head.view.sealed_block(number)?;
        let step = Some(block.step);
        Ok(At { block: Arc::new(block), step, ..At::newest(head) })
    }
}
