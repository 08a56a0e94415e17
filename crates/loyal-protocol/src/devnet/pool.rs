//! Transactions that wait for a block.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, OnceLock},
};

use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, B256};

use super::env::Signed;
use crate::{Error, Result};

/// Transactions that may wait for an earlier nonce, in all and of one sender.
const LATER_COUNT_MAX: usize = 4_096;
const LATER_OF_SENDER_COUNT_MAX: usize = 64;
/// Transactions that may wait for the next block.
const READY_COUNT_MAX: usize = 65_536;

/// What became of a waiting transaction, once that is known.
pub(crate) type Fate = Arc<OnceLock<Result<()>>>;

/// The waiting transactions: those that can run, in order of arrival, and those whose nonce is not due.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    ready: VecDeque<Signed>,
    later: BTreeMap<(Address, u64), Signed>,
    /// The nonce after a sender's last ready transaction.
    next: HashMap<Address, u64>,
    fates: HashMap<B256, Fate>,
}

/// What became of a transaction on entering the pool.
#[derive(Debug)]
pub(crate) enum Entry {
    /// It can run, and so can what waited for its nonce: the fates of both, in order of nonce.
    Ready(Vec<Fate>),
    /// It waits for an earlier nonce.
    Later,
}

impl Pool {
    /// The nonce that follows all ready transactions of `sender`, whose nonce in the state is `nonce`.
    pub(crate) fn next_nonce(&self, sender: Address, nonce: u64) -> u64 {
        self.next.get(&sender).copied().unwrap_or(nonce).max(nonce)
    }

    pub(crate) fn contains(&self, hash: B256) -> bool {
        self.fates.contains_key(&hash)
    }

    /// Waiting transactions: ready ones, and ones whose nonce is not due.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.ready.len(), self.later.len())
    }

    /// Whether a transaction can run now.
    pub(crate) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// A waiting transaction by its hash.
    pub(crate) fn get(&self, hash: B256) -> Option<&Signed> {
        self.ready.iter().chain(self.later.values()).find(|signed| signed.hash == hash)
    }

    /// Takes a transaction of a sender whose nonce in the state is `nonce`.
    pub(crate) fn insert(&mut self, signed: Signed, nonce: u64) -> Result<Entry> {
        let reject = |why: String| Err(Error::Rejected { why });
        if self.contains(signed.hash) {
            return reject("already known".into());
        }
        let (from, own) = (signed.from, signed.transaction.nonce());
        let due = self.next_nonce(from, nonce);
        if own < nonce {
            return reject(format!("nonce too low: next nonce {nonce}, tx nonce {own}"));
        }
        if own < due {
            return reject("replacement transaction underpriced".into());
        }
        let fate = Fate::default();
        if own > due {
            self.check_later(&signed)?;
            self.fates.insert(signed.hash, fate);
            if let Some(replaced) = self.later.insert((from, own), signed) {
                self.fates.remove(&replaced.hash);
            }
            return Ok(Entry::Later);
        }
        if self.ready.len() >= READY_COUNT_MAX {
            return Err(Error::Limit { what: "txpool is full".into() });
        }
        self.fates.insert(signed.hash, fate.clone());
        self.ready.push_back(signed);
        let mut fates = vec![fate];
        let mut due = due + 1;
        while let Some(waiting) = self.later.remove(&(from, due)) {
            fates.extend(self.fates.get(&waiting.hash).cloned());
            self.ready.push_back(waiting);
            due += 1;
        }
        self.next.insert(from, due);
        Ok(Entry::Ready(fates))
    }

    fn check_later(&self, signed: &Signed) -> Result<()> {
        let key = (signed.from, signed.transaction.nonce());
        if let Some(present) = self.later.get(&key) {
            let floor = |fee: u128| fee.saturating_add(fee / 10);
            let old = present.transaction.max_fee_per_gas();
            if signed.transaction.max_fee_per_gas() < floor(old).max(1) {
                return Err(Error::Rejected { why: "replacement transaction underpriced".into() });
            }
            return Ok(());
        }
        let own = self.later.range((signed.from, 0)..=(signed.from, u64::MAX)).count();
        if own >= LATER_OF_SENDER_COUNT_MAX || self.later.len() >= LATER_COUNT_MAX {
            return Err(Error::Limit {
                what: "txpool is full: too many transactions wait for a nonce".into(),
            });
        }
        Ok(())
    }

    /// Takes ready transactions for one block of `gas_limit`, in order of arrival.
    pub(crate) fn take(&mut self, gas_limit: u64) -> Vec<Signed> {
        let (mut taken, mut gas) = (Vec::new(), 0_u64);
        while let Some(waiting) = self.ready.front() {
            gas = gas.saturating_add(waiting.transaction.gas_limit());
            if gas > gas_limit && !taken.is_empty() {
                break;
            }
            taken.extend(self.ready.pop_front());
        }
        taken
    }

    /// Tells what became of a taken transaction.
    pub(crate) fn settle(&mut self, hash: B256, fate: Result<()>) {
        if let Some(waiting) = self.fates.remove(&hash) {
            // The first word stands: a transaction has one fate.
            let _ = waiting.set(fate);
        }
    }

    /// After a block: forgets the nonces of senders with nothing ready, so that the state's count again.
    pub(crate) fn renew(&mut self) {
        let mut next = HashMap::new();
        for waiting in &self.ready {
            next.insert(waiting.from, waiting.transaction.nonce() + 1);
        }
        self.next = next;
    }

    /// Forgets everything that waits, as after going back to a snapshot.
    pub(crate) fn clear(&mut self, why: &Error) {
        for fate in self.fates.values() {
            let _ = fate.set(Err(why.clone()));
        }
        *self = Self::default();
    }
}
