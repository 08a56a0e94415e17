//! Reading the store as of one committed step, undisturbed by the writer.

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_rlp::Decodable;
use redb::{ReadOnlyTable, ReadTransaction};

use super::{
    diff::Info,
    record::{Block, Funding, Included, Place, Tip},
    store,
};
use crate::{Error, Result};

/// A snapshot of the store.
pub(crate) struct View {
    meta: ReadOnlyTable<&'static str, &'static [u8]>,
    account: ReadOnlyTable<[u8; 20], &'static [u8]>,
    slot: ReadOnlyTable<[u8; 52], &'static [u8]>,
    code: ReadOnlyTable<[u8; 32], &'static [u8]>,
    account_before: ReadOnlyTable<[u8; 28], &'static [u8]>,
    slot_before: ReadOnlyTable<[u8; 60], &'static [u8]>,
    funding: ReadOnlyTable<u64, &'static [u8]>,
    block: ReadOnlyTable<u64, &'static [u8]>,
    block_hash: ReadOnlyTable<[u8; 32], u64>,
    transaction: ReadOnlyTable<(u64, u32), &'static [u8]>,
    transaction_hash: ReadOnlyTable<[u8; 32], (u64, u32)>,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").finish_non_exhaustive()
    }
}

impl View {
    pub(crate) fn open(read: &ReadTransaction) -> Result<Self> {
        Ok(Self {
            meta: read.open_table(store::META)?,
            account: read.open_table(store::ACCOUNT)?,
            slot: read.open_table(store::SLOT)?,
            code: read.open_table(store::CODE)?,
            account_before: read.open_table(store::ACCOUNT_BEFORE)?,
            slot_before: read.open_table(store::SLOT_BEFORE)?,
            funding: read.open_table(store::FUNDING)?,
            block: read.open_table(store::BLOCK)?,
            block_hash: read.open_table(store::BLOCK_HASH)?,
            transaction: read.open_table(store::TRANSACTION)?,
            transaction_hash: read.open_table(store::TRANSACTION_HASH)?,
        })
    }

    /// The head, absent in a store without a chain.
    pub(crate) fn tip(&self) -> Result<Option<Tip>> {
        self.meta.get("tip")?.map(|value| decode(value.value())).transpose()
    }

    /// The genesis the store was made with, as JSON.
    pub(crate) fn genesis(&self) -> Result<Option<String>> {
        let Some(value) = self.meta.get("genesis")? else { return Ok(None) };
        let text = String::from_utf8(value.value().to_vec());
        text.map(Some).map_err(|_| Error::Damaged { what: "the genesis is not text".into() })
    }

    /// An account now, or after step `at`.
    pub(crate) fn account(&self, address: Address, at: Option<u64>) -> Result<Option<Info>> {
        if let Some(step) = at {
            let (first, last) = (account_key(address, step + 1), account_key(address, u64::MAX));
            if let Some(entry) = self.account_before.range(first..=last)?.next() {
                return decode_account(entry?.1.value());
            }
        }
        self.account.get(address.into_array())?.map_or(Ok(None), |value| decode_account(value.value()))
    }

    /// A slot now, or after step `at`.
    pub(crate) fn slot(&self, address: Address, slot: U256, at: Option<u64>) -> Result<U256> {
        if let Some(step) = at {
            let (first, last) =
                (slot_step_key(address, slot, step + 1), slot_step_key(address, slot, u64::MAX));
            if let Some(entry) = self.slot_before.range(first..=last)?.next() {
                return decode_slot(entry?.1.value());
            }
        }
        self.slot.get(slot_key(address, slot))?.map_or(Ok(U256::ZERO), |value| decode_slot(value.value()))
    }

    pub(crate) fn code(&self, hash: B256) -> Result<Option<Bytes>> {
        Ok(self.code.get(hash.0)?.map(|value| Bytes::copy_from_slice(value.value())))
    }

    pub(crate) fn block(&self, number: u64) -> Result<Option<Block>> {
        self.block.get(number)?.map(|value| decode(value.value())).transpose()
    }

    /// A block that was sealed; an error where it is no longer kept.
    pub(crate) fn sealed_block(&self, number: u64) -> Result<Block> {
        let pruned = || self.tip().map(|tip| tip.is_some_and(|tip| number < tip.oldest_block));
        match self.block(number)? {
            Some(block) => Ok(block),
            None if pruned()? => Err(Error::Pruned { what: format!("block {number}") }),
            None => Err(Error::Damaged { what: format!("block {number} is missing") }),
        }
    }

    pub(crate) fn block_number(&self, hash: B256) -> Result<Option<u64>> {
        Ok(self.block_hash.get(hash.0)?.map(|value| value.value()))
    }

    /// The transactions of a block, in order.
    pub(crate) fn transactions(&self, block: u64) -> Result<Vec<Included>> {
        let range = self.transaction.range((block, 0)..=(block, u32::MAX))?;
        range.map(|entry| decode(entry?.1.value())).collect()
    }

    pub(crate) fn transaction(&self, place: Place) -> Result<Option<Included>> {
        self.transaction.get((place.block, place.index))?.map(|value| decode(value.value())).transpose()
    }

    pub(crate) fn place(&self, transaction: B256) -> Result<Option<Place>> {
        let found = self.transaction_hash.get(transaction.0)?.map(|value| value.value());
        Ok(found.map(|(block, index)| Place { block, index }))
    }

    /// Balances set from outside between the steps `after` and `before`, both excluded.
    pub(crate) fn fundings(&self, after: u64, before: u64) -> Result<Vec<Funding>> {
        let range = self.funding.range(after + 1..before)?;
        range.map(|entry| decode(entry?.1.value())).collect()
    }
}

pub(crate) fn account_key(address: Address, step: u64) -> [u8; 28] {
    let mut key = [0; 28];
    key[..20].copy_from_slice(address.as_slice());
    key[20..].copy_from_slice(&step.to_be_bytes());
    key
}

pub(crate) fn slot_key(address: Address, slot: U256) -> [u8; 52] {
    let mut key = [0; 52];
    key[..20].copy_from_slice(address.as_slice());
    key[20..].copy_from_slice(&slot.to_be_bytes::<32>());
    key
}

pub(crate) fn slot_step_key(address: Address, slot: U256, step: u64) -> [u8; 60] {
    let mut key = [0; 60];
    key[..52].copy_from_slice(&slot_key(address, slot));
    key[52..].copy_from_slice(&step.to_be_bytes());
    key
}

/// A record that fills its bytes exactly.
pub(crate) fn decode<T: Decodable>(mut bytes: &[u8]) -> Result<T> {
    let value = T::decode(&mut bytes)?;
    if bytes.is_empty() { Ok(value) } else { Err(Error::Damaged { what: "a record has extra bytes".into() }) }
}

/// An account's bytes; none for an account that is absent.
pub(crate) fn encode_account(info: Option<Info>) -> Vec<u8> {
    info.map(alloy_rlp::encode).unwrap_or_default()
}

pub(crate) fn decode_account(bytes: &[u8]) -> Result<Option<Info>> {
    if bytes.is_empty() { Ok(None) } else { decode(bytes).map(Some) }
}

/// A slot's bytes without leading zeros; none for zero.
pub(crate) fn encode_slot(value: U256) -> Vec<u8> {
    value.to_be_bytes_trimmed_vec()
}

pub(crate) fn decode_slot(bytes: &[u8]) -> Result<U256> {
    U256::try_from_be_slice(bytes).ok_or_else(|| Error::Damaged { what: "a slot has over 32 bytes".into() })
}
