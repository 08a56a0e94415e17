//! Writing and undoing steps: everything of one step in one write transaction, synced before it is visible.

use alloy_primitives::B256;
use redb::{ReadableTable as _, WriteTransaction};

use super::{
    diff::Diff,
    record::{Block, Funding, Included, Slot, Tip, Touched},
    store::{self, Retention, Store},
    view::{account_key, decode, encode_account, encode_slot, slot_key, slot_step_key},
};
use crate::{Error, Result};

/// Blocks before a block whose hashes code in it can ask for.
const BLOCKHASH_COUNT: u64 = 256;

/// What one step adds to the store.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    /// The head afterwards; its `step` is this one's number.
    pub(crate) tip: Tip,
    pub(crate) root_before: B256,
    pub(crate) diff: &'a Diff,
    pub(crate) block: Option<&'a Block>,
    pub(crate) transactions: &'a [Included],
    pub(crate) hashes: &'a [B256],
    pub(crate) funding: Option<Funding>,
    /// The genesis as JSON, in step 0 alone.
    pub(crate) genesis: Option<&'a str>,
}

impl Step<'_> {
    /// Writes the step, forgets what is older than the store keeps, and syncs. Returns the head as written.
    pub(crate) fn commit(mut self, store: &Store) -> Result<Tip> {
        let write = store.begin_write()?;
        self.write_state(&write)?;
        self.write_block(&write)?;
        forget(&write, &mut self.tip, store.retention)?;
        {
            let mut meta = write.open_table(store::META)?;
            meta.insert("tip", alloy_rlp::encode(self.tip).as_slice())?;
            if let Some(genesis) = self.genesis {
                meta.insert("genesis", genesis.as_bytes())?;
            }
        }
        write.commit()?;
        Ok(self.tip)
    }

    fn write_state(&self, write: &WriteTransaction) -> Result<()> {
        let step = self.tip.step;
        let mut account = write.open_table(store::ACCOUNT)?;
        let mut account_before = write.open_table(store::ACCOUNT_BEFORE)?;
        for (address, change) in &self.diff.accounts {
            account_before.insert(account_key(*address, step), encode_account(change.before).as_slice())?;
            match change.after {
                Some(_) => account.insert(address.into_array(), encode_account(change.after).as_slice())?,
                None => account.remove(address.into_array())?,
            };
        }
        let mut slot = write.open_table(store::SLOT)?;
        let mut slot_before = write.open_table(store::SLOT_BEFORE)?;
        for ((address, index), change) in &self.diff.slots {
            slot_before
                .insert(slot_step_key(*address, *index, step), encode_slot(change.before).as_slice())?;
            if change.after.is_zero() {
                slot.remove(slot_key(*address, *index))?;
            } else {
                slot.insert(slot_key(*address, *index), encode_slot(change.after).as_slice())?;
            }
        }
        let mut code = write.open_table(store::CODE)?;
        for (hash, bytes) in &self.diff.codes {
            code.insert(hash.0, bytes.as_ref())?;
        }
        let touched = Touched {
            root_before: self.root_before,
            accounts: self.diff.accounts.keys().copied().collect(),
            slots: self.diff.slots.keys().map(|&(account, index)| Slot { account, index }).collect(),
        };
        write.open_table(store::TOUCHED)?.insert(step, alloy_rlp::encode(touched).as_slice())?;
        if let Some(funding) = self.funding {
            write.open_table(store::FUNDING)?.insert(step, alloy_rlp::encode(funding).as_slice())?;
        }
        Ok(())
    }

    fn write_block(&self, write: &WriteTransaction) -> Result<()> {
        let Some(block) = self.block else { return Ok(()) };
        let number = block.header.number;
        write.open_table(store::BLOCK)?.insert(number, alloy_rlp::encode(block).as_slice())?;
        write.open_table(store::BLOCK_HASH)?.insert(block.hash.0, number)?;
        let mut transaction = write.open_table(store::TRANSACTION)?;
        let mut transaction_hash = write.open_table(store::TRANSACTION_HASH)?;
        for (index, (included, hash)) in (0..).zip(self.transactions.iter().zip(self.hashes)) {
            transaction.insert((number, index), alloy_rlp::encode(included).as_slice())?;
            transaction_hash.insert(hash.0, (number, index))?;
        }
        Ok(())
    }
}

/// Takes the newest steps back, down to the one with number `step`, in one write transaction.
pub(crate) fn undo_to(store: &Store, mut tip: Tip, step: u64, ahead: u64) -> Result<Tip> {
    if step + 1 < tip.oldest_step {
        return Err(Error::Pruned { what: format!("the state after step {step}") });
    }
    let write = store.begin_write()?;
    while tip.step > step {
        tip.root = undo(&write, tip.step)?;
        write.open_table(store::FUNDING)?.remove(tip.step)?;
        let newest = {
            let block = write.open_table(store::BLOCK)?;
            let value = block.get(tip.block)?.map(|value| decode::<Block>(value.value())).transpose()?;
            value.ok_or_else(|| Error::Damaged { what: format!("block {} is missing", tip.block) })?
        };
        if newest.step == tip.step {
            forget_transactions(&write, tip.block)?;
            write.open_table(store::BLOCK)?.remove(tip.block)?;
            write.open_table(store::BLOCK_HASH)?.remove(newest.hash.0)?;
            tip.block -= 1;
        }
        tip.step -= 1;
    }
    tip.ahead = ahead;
    tip.oldest_block = tip.oldest_block.min(tip.block);
    write.open_table(store::META)?.insert("tip", alloy_rlp::encode(tip).as_slice())?;
    write.commit()?;
    Ok(tip)
}

/// Puts back what step `step` changed; returns the root before it.
fn undo(write: &WriteTransaction, step: u64) -> Result<B256> {
    let touched = take_touched(write, step)?;
    let mut account = write.open_table(store::ACCOUNT)?;
    let mut account_before = write.open_table(store::ACCOUNT_BEFORE)?;
    let missing = || Error::Damaged { what: format!("the state before step {step} is missing") };
    for address in touched.accounts {
        let before = account_before.remove(account_key(address, step))?.ok_or_else(missing)?;
        match before.value() {
            [] => account.remove(address.into_array())?,
            bytes => account.insert(address.into_array(), bytes)?,
        };
    }
    let mut slot = write.open_table(store::SLOT)?;
    let mut slot_before = write.open_table(store::SLOT_BEFORE)?;
    for Slot { account, index } in touched.slots {
        let before = slot_before.remove(slot_step_key(account, index, step))?.ok_or_else(missing)?;
        match before.value() {
            [] => slot.remove(slot_key(account, index))?,
            bytes => slot.insert(slot_key(account, index), bytes)?,
        };
    }
    Ok(touched.root_before)
}

fn take_touched(write: &WriteTransaction, step: u64) -> Result<Touched> {
    let mut table = write.open_table(store::TOUCHED)?;
    let value = table.remove(step)?.map(|value| decode(value.value()));
    value.unwrap_or_else(|| Err(Error::Damaged { what: format!("the changes of step {step} are missing") }))
}

/// Drops history and bodies beyond `retention`: at most a few old ones for each new one, so no step is slow.
fn forget(write: &WriteTransaction, tip: &mut Tip, retention: Retention) -> Result<()> {
    let keep_steps = retention.state_count_max.max(1);
    for _ in 0..2 {
        if tip.step - tip.oldest_step < keep_steps {
            break;
        }
        let touched = take_touched(write, tip.oldest_step)?;
        let mut account_before = write.open_table(store::ACCOUNT_BEFORE)?;
        for address in touched.accounts {
            account_before.remove(account_key(address, tip.oldest_step))?;
        }
        let mut slot_before = write.open_table(store::SLOT_BEFORE)?;
        for Slot { account, index } in touched.slots {
            slot_before.remove(slot_step_key(account, index, tip.oldest_step))?;
        }
        tip.oldest_step += 1;
    }
    let keep_blocks = retention.block_count_max.max(1);
    for _ in 0..2 {
        if tip.block - tip.oldest_block < keep_blocks {
            break;
        }
        forget_transactions(write, tip.oldest_block)?;
        tip.oldest_block += 1;
    }
    forget_headers(write, *tip)
}

/// Drops headers that nothing can ask for again: their bodies are gone, and neither the newest block nor one that
/// the chain can still go back to reaches them by BLOCKHASH. Block 0 stays, to know the chain by.
fn forget_headers(write: &WriteTransaction, tip: Tip) -> Result<()> {
    let mut block = write.open_table(store::BLOCK)?;
    let mut block_hash = write.open_table(store::BLOCK_HASH)?;
    let mut funding = write.open_table(store::FUNDING)?;
    for _ in 0..2 {
        let Some(oldest) = block.range(1..tip.oldest_block)?.next() else { break };
        let (number, Block { hash, step, .. }) = {
            let (number, value) = oldest?;
            (number.value(), decode(value.value())?)
        };
        let reaching = block.get(number + BLOCKHASH_COUNT + 1)?;
        let reaching = reaching.map(|value| decode::<Block>(value.value())).transpose()?;
        if reaching.is_none_or(|block| block.step >= tip.oldest_step) {
            break;
        }
        block.remove(number)?;
        block_hash.remove(hash.0)?;
        funding.retain_in(..=step, |_, _| false)?;
    }
    Ok(())
}

fn forget_transactions(write: &WriteTransaction, block: u64) -> Result<()> {
    let mut transaction = write.open_table(store::TRANSACTION)?;
    let mut transaction_hash = write.open_table(store::TRANSACTION_HASH)?;
    let mut raws = Vec::new();
    for entry in transaction.extract_from_if((block, 0)..=(block, u32::MAX), |_, _| true)? {
        raws.push(decode::<Included>(entry?.1.value())?.raw);
    }
    for raw in raws {
        transaction_hash.remove(alloy_primitives::keccak256(raw).0)?;
    }
    Ok(())
}
