//! What one step changed: accounts, slots and code, each with the value before and after.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, Keccak256, U256};
use alloy_rlp::{RlpDecodable, RlpEncodable};
use revm::state::AccountInfo;

/// An account without its code and storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct Info {
    pub(crate) nonce: u64,
    pub(crate) balance: U256,
    pub(crate) code_hash: B256,
}

impl Default for Info {
    fn default() -> Self {
        Self { nonce: 0, balance: U256::ZERO, code_hash: KECCAK256_EMPTY }
    }
}

impl Info {
    /// The form the machine works with; code stays behind its hash.
    pub(crate) fn to_machine(self) -> AccountInfo {
        AccountInfo {
            balance: self.balance,
            nonce: self.nonce,
            code_hash: self.code_hash,
            account_id: None,
            code: None,
        }
    }

    pub(crate) fn from_machine(info: &AccountInfo) -> Self {
        let code_hash = if info.code_hash.is_zero() { KECCAK256_EMPTY } else { info.code_hash };
        Self { nonce: info.nonce, balance: info.balance, code_hash }
    }
}

/// A value before and after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change<T> {
    pub(crate) before: T,
    pub(crate) after: T,
}

/// The changes of one step, sorted. An absent account is `None`, an absent slot is zero.
#[derive(Debug, Clone, Default)]
pub(crate) struct Diff {
    pub(crate) accounts: BTreeMap<Address, Change<Option<Info>>>,
    pub(crate) slots: BTreeMap<(Address, U256), Change<U256>>,
    pub(crate) codes: BTreeMap<B256, Bytes>,
}

impl Diff {
    /// The next link of the hash chain that `stateRoot` is: keccak of the root before and the sorted values after.
    pub(crate) fn root(&self, before: B256) -> B256 {
        let mut hasher = Keccak256::new();
        hasher.update(before);
        hasher.update((self.accounts.len() as u64).to_be_bytes());
        for (address, change) in &self.accounts {
            hasher.update(address);
            match change.after {
                None => hasher.update([0]),
                Some(info) => {
                    hasher.update([1]);
                    hasher.update(info.nonce.to_be_bytes());
                    hasher.update(info.balance.to_be_bytes::<32>());
                    hasher.update(info.code_hash);
                }
            }
        }
        for ((address, slot), change) in &self.slots {
            hasher.update(address);
            hasher.update(slot.to_be_bytes::<32>());
            hasher.update(change.after.to_be_bytes::<32>());
        }
        hasher.finalize()
    }
}
