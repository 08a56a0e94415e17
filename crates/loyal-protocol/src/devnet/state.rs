//! State as the machine sees it: the store at one step, under what was written since.

use std::{collections::HashMap, sync::Arc};

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256};
use revm::{
    Database, DatabaseCommit,
    primitives::AddressMap,
    state::{Account, AccountInfo, Bytecode},
};

use super::{
    diff::{Change, Diff, Info},
    view::View,
};
use crate::{Error, Result};

/// Entries after which the cache starts anew: it bounds memory, not correctness.
const CACHE_COUNT_MAX: usize = 200_000;

/// What was read from the store already.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    accounts: HashMap<Address, Option<Info>>,
    slots: HashMap<(Address, U256), U256>,
    codes: HashMap<B256, Bytecode>,
}

/// The state of one step, and changes on top that are not in the store yet.
#[derive(Debug)]
pub(crate) struct State {
    view: Arc<View>,
    at: Option<u64>,
    cache: Cache,
    accounts: HashMap<Address, Option<Info>>,
    slots: HashMap<(Address, U256), U256>,
    codes: HashMap<B256, Bytes>,
}

impl State {
    /// The newest state of `view`, or that after step `at`.
    pub(crate) fn new(view: Arc<View>, at: Option<u64>) -> Self {
        Self {
            view,
            at,
            cache: Cache::default(),
            accounts: HashMap::new(),
            slots: HashMap::new(),
            codes: HashMap::new(),
        }
    }

    /// The newest state of `view`, with what an earlier state of the same chain has read.
    pub(crate) fn with_cache(view: Arc<View>, cache: Cache) -> Self {
        Self { cache, ..Self::new(view, None) }
    }

    pub(crate) fn account(&mut self, address: Address) -> Result<Option<Info>> {
        match self.accounts.get(&address) {
            Some(info) => Ok(*info),
            None => self.account_before(address),
        }
    }

    pub(crate) fn slot(&mut self, address: Address, slot: U256) -> Result<U256> {
        match self.slots.get(&(address, slot)) {
            Some(value) => Ok(*value),
            None => self.slot_before(address, slot),
        }
    }

    pub(crate) fn code(&mut self, address: Address) -> Result<Bytes> {
        let hash = self.account(address)?.unwrap_or_default().code_hash;
        Ok(self.code_by_hash(hash)?.original_bytes())
    }

    pub(crate) fn set_account(&mut self, address: Address, info: Option<Info>) {
        self.accounts.insert(address, info);
    }

    pub(crate) fn set_slot(&mut self, address: Address, slot: U256, value: U256) {
        self.slots.insert((address, slot), value);
    }

    pub(crate) fn add_code(&mut self, hash: B256, code: Bytes) {
        self.codes.insert(hash, code);
    }

    fn account_before(&mut self, address: Address) -> Result<Option<Info>> {
        if let Some(info) = self.cache.accounts.get(&address) {
            return Ok(*info);
        }
        let info = self.view.account(address, self.at)?;
        self.cache.accounts.insert(address, info);
        Ok(info)
    }

    fn slot_before(&mut self, address: Address, slot: U256) -> Result<U256> {
        if let Some(value) = self.cache.slots.get(&(address, slot)) {
            return Ok(*value);
        }
        let value = self.view.slot(address, slot, self.at)?;
        self.cache.slots.insert((address, slot), value);
        Ok(value)
    }

    /// What changed since the store's state.
    pub(crate) fn diff(&mut self) -> Result<Diff> {
        let mut diff = Diff::default();
        for (address, after) in self.accounts.clone() {
            let before = self.account_before(address)?;
            if before != after {
                diff.accounts.insert(address, Change { before, after });
            }
        }
        for ((address, slot), after) in self.slots.clone() {
            let before = self.slot_before(address, slot)?;
            if before != after {
                diff.slots.insert((address, slot), Change { before, after });
            }
        }
        diff.codes.extend(self.codes.iter().map(|(hash, code)| (*hash, code.clone())));
        Ok(diff)
    }

    /// The cache for the next step, once the changes are in the store.
    pub(crate) fn into_cache(self) -> Cache {
        let mut cache = self.cache;
        if cache.accounts.len() + cache.slots.len() > CACHE_COUNT_MAX {
            cache = Cache::default();
        }
        if cache.codes.len() > 1_024 {
            cache.codes.clear();
        }
        cache.accounts.extend(self.accounts);
        cache.slots.extend(self.slots);
        cache
    }
}

impl Database for State {
    type Error = Error;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>> {
        Ok(self.account(address)?.map(Info::to_machine))
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode> {
        if hash == KECCAK256_EMPTY || hash.is_zero() {
            return Ok(Bytecode::default());
        }
        if let Some(code) = self.cache.codes.get(&hash) {
            return Ok(code.clone());
        }
        let bytes = match self.codes.get(&hash) {
            Some(bytes) => bytes.clone(),
            None => self
                .view
                .code(hash)?
                .ok_or_else(|| Error::Damaged { what: format!("the code with hash {hash} is missing") })?,
        };
        let code = Bytecode::new_raw(bytes);
        self.cache.codes.insert(hash, code.clone());
        Ok(code)
    }

    fn storage(&mut self, address: Address, index: U256) -> Result<U256> {
        self.slot(address, index)
    }

    fn block_hash(&mut self, number: u64) -> Result<B256> {
        Ok(self.view.block(number)?.map(|block| block.hash).unwrap_or_default())
    }
}

impl DatabaseCommit for State {
    fn commit(&mut self, changes: AddressMap<Account>) {
        for (address, account) in changes {
            if !account.is_touched() {
                continue;
            }
            // EIP-6780: only an account made in the same transaction is destroyed, so it has no slots in the store.
            if account.is_selfdestructed() || account.is_empty() {
                self.set_account(address, None);
                continue;
            }
            if let Some(code) = &account.info.code
                && !code.is_empty()
                && account.info.code_hash != KECCAK256_EMPTY
            {
                let known = self.accounts.get(&address).or_else(|| self.cache.accounts.get(&address));
                let known_hash = known.copied().flatten().unwrap_or_default().code_hash;
                if known_hash != account.info.code_hash {
                    self.add_code(account.info.code_hash, code.original_bytes());
                }
                self.cache.codes.entry(account.info.code_hash).or_insert_with(|| code.clone());
            }
            self.set_account(address, Some(Info::from_machine(&account.info)));
            for (index, slot) in account.storage {
                if slot.is_changed() {
                    self.set_slot(address, index, slot.present_value);
                }
            }
        }
    }
}
