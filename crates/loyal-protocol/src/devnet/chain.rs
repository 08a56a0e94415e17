//! The chain: one writer that seals blocks, any number of readers.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use alloy_consensus::Header;
use alloy_primitives::{Address, B256, Bytes, U256};
use loyal_types::Clock;
use rayon::prelude::*;
use tokio::sync::watch;

use super::{
    block::{self, Outcome},
    diff::{Change, Diff, Info},
    env::{Env, Signed},
    filter::Filters,
    genesis::Genesis,
    pool::{Entry, Fate, Pool},
    record::{Block, Funding, Tip},
    state::{Cache, State},
    step::{self, Step},
    store::{Store, sound},
    time::Time,
    view::View,
};
use crate::{Error, Result};

/// Snapshots a development chain remembers.
const SNAPSHOT_COUNT_MAX: usize = 1_024;

/// The newest block, and the store as of the newest step.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) tip: Tip,
    pub(crate) block: Arc<Block>,
    pub(crate) view: Arc<View>,
}

#[derive(Debug)]
struct Writer {
    store: Store,
    cache: Cache,
    snapshots: Vec<Snapshot>,
    /// When the last block was sealed by this process.
    sealed: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
struct Snapshot {
    step: u64,
    time: Time,
}

/// A block to be.
struct Plan {
    transactions: Vec<Signed>,
    /// Whether it is sealed even where nothing ran in it.
    empty: bool,
    /// The hash it must have.
    expected: Option<B256>,
}

/// An EVM chain in this process.
pub struct Chain {
    genesis: Genesis,
    clock: Arc<dyn Clock + Send>,
    head: RwLock<Head>,
    writer: Mutex<Writer>,
    /// The least time between two blocks.
    interval: Duration,
    pool: Mutex<Pool>,
    time: Mutex<Time>,
    sealing: Mutex<bool>,
    pub(crate) filters: Mutex<Filters>,
    /// The number of the newest block, for those who wait for it.
    watch: watch::Sender<u64>,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain").field("genesis", &self.genesis.chain_id).finish_non_exhaustive()
    }
}

impl Chain {
    /// Opens the chain in `store`, or starts it there from `genesis`.
    ///
    /// # Errors
    /// [`Error::Genesis`], [`Error::OtherGenesis`] where the store holds another chain, and the store's.
    pub fn open(store: Store, genesis: Genesis, clock: Arc<dyn Clock + Send>) -> Result<Self> {
        genesis.check()?;
        sound(|| Self::open_sound(store, genesis, clock))
    }

    fn open_sound(store: Store, genesis: Genesis, clock: Arc<dyn Clock + Send>) -> Result<Self> {
        let tip = match store.view()?.tip()? {
            Some(tip) => tip,
            None => start(&store, &genesis)?,
        };
        let head = head(&store, tip)?;
        let wanted = genesis_block(&genesis).0.hash;
        let found = head.view.block(0)?.map(|block| block.hash).unwrap_or_default();
        if wanted != found {
            return Err(Error::OtherGenesis { found, wanted });
        }
        let (watch, _) = watch::channel(tip.block);
        Ok(Self {
            genesis,
            clock,
            head: RwLock::new(head),
            writer: Mutex::new(Writer {
                store,
                cache: Cache::default(),
                snapshots: Vec::new(),
                sealed: None,
            }),
            interval: Duration::ZERO,
            pool: Mutex::default(),
            time: Mutex::new(Time { ahead: tip.ahead, next: None }),
            sealing: Mutex::new(true),
            filters: Mutex::default(),
            watch,
        })
    }

    /// The same chain with at least `interval` between two blocks: transactions that come meanwhile share the next.
    /// Without it a block is sealed as soon as the one before is on disk and a transaction waits.
    #[must_use]
    pub fn sealing_every(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// The genesis of the chain in `store`, if there is one.
    ///
    /// # Errors
    /// The store's.
    pub fn genesis_of(store: &Store) -> Result<Option<Genesis>> {
        store.view()?.genesis()?.map(|text| Genesis::parse(&text)).transpose()
    }

    /// What the chain started from.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Takes a raw transaction; when this returns it is in a block on disk, or waits for an earlier nonce.
    ///
    /// Calls from many threads share blocks and their syncs.
    ///
    /// # Errors
    /// [`Error::Rejected`] where it cannot enter a block, [`Error::Limit`] where too many wait, the store's.
    pub fn send(&self, raw: Bytes) -> Result<B256> {
        let signed = Signed::read(raw)?;
        let hash = signed.hash;
        match self.enter(signed)? {
            Entry::Ready(fates) if *hold(&self.sealing) => self.wait_all(&fates).map(|()| hash),
            Entry::Ready(_) | Entry::Later => Ok(hash),
        }
    }

    /// Takes many raw transactions at once; their senders are recovered on all cores.
    pub fn send_all(&self, raws: Vec<Bytes>) -> Vec<Result<B256>> {
        let read: Vec<_> = raws.into_par_iter().map(Signed::read).collect();
        let mut entries = Vec::with_capacity(read.len());
        for signed in read {
            entries.push(signed.and_then(|signed| {
                let hash = signed.hash;
                Ok((hash, self.enter(signed)?))
            }));
        }
        let sealing = *hold(&self.sealing);
        let wait = |entry: Result<(B256, Entry)>| match entry? {
            (hash, Entry::Ready(fates)) if sealing => self.wait_all(&fates).map(|()| hash),
            (hash, _) => Ok(hash),
        };
        entries.into_iter().map(wait).collect()
    }

    fn enter(&self, signed: Signed) -> Result<Entry> {
        let mut pool = hold(&self.pool);
        let head = self.head();
        if head.view.place(signed.hash)?.is_some() {
            return Err(Error::Rejected { why: "already known".into() });
        }
        if signed.transaction_chain_id().is_some_and(|id| id != self.genesis.chain_id) {
            return Err(Error::Rejected { why: "invalid chain id for signer".into() });
        }
        let nonce = head.view.account(signed.from, None)?.unwrap_or_default().nonce;
        pool.insert(signed, nonce)
    }

    /// Waits for a transaction and for those that it let go: nobody else waits for them. Its own fate is the answer.
    fn wait_all(&self, fates: &[Fate]) -> Result<()> {
        let mut told = fates.iter().map(|fate| self.wait(fate));
        let own = told.next().unwrap_or(Ok(()));
        told.for_each(drop);
        own
    }

    fn wait(&self, fate: &Fate) -> Result<()> {
        loop {
            if let Some(fate) = fate.get() {
                return fate.clone();
            }
            let mut writer = hold(&self.writer);
            if fate.get().is_none() {
                self.rest(&writer);
                self.seal_waiting(&mut writer)?;
            }
        }
    }

    /// Waits until a block may follow the last one; transactions gather meanwhile.
    fn rest(&self, writer: &Writer) {
        let Some(sealed) = writer.sealed else { return };
        let since = self.clock.elapsed().saturating_sub(sealed);
        std::thread::sleep(self.interval.saturating_sub(since));
    }

    /// Seals one block of waiting transactions, if any wait.
    fn seal_waiting(&self, writer: &mut Writer) -> Result<()> {
        let transactions = hold(&self.pool).take(self.genesis.gas_limit);
        if !transactions.is_empty() {
            self.seal(writer, Plan { transactions, empty: false, expected: None })?;
        }
        Ok(())
    }

    /// Seals what waits into a block, an empty one if nothing does.
    ///
    /// # Errors
    /// The store's.
    pub fn mine(&self) -> Result<B256> {
        let mut writer = hold(&self.writer);
        let transactions = hold(&self.pool).take(self.genesis.gas_limit);
        self.seal(&mut writer, Plan { transactions, empty: true, expected: None })?;
        Ok(self.head().block.hash)
    }

    /// Makes a known block again: refused, and nothing changed, unless it comes out with the same hash.
    pub(crate) fn replay(&self, raws: Vec<Bytes>, timestamp: u64, hash: B256) -> Result<()> {
        let read: Result<Vec<_>> = raws.into_par_iter().map(Signed::read).collect();
        let mut writer = hold(&self.writer);
        hold(&self.time).set_next(timestamp, self.head().block.header.timestamp)?;
        let plan = Plan { transactions: read?, empty: true, expected: Some(hash) };
        let replayed = self.seal(&mut writer, plan);
        // The time of a replayed block says nothing about the clock.
        *hold(&self.time) = Time { ahead: self.head().tip.ahead, next: None };
        replayed
    }

    fn seal(&self, writer: &mut Writer, plan: Plan) -> Result<()> {
        let hashes: Vec<_> = plan.transactions.iter().map(|signed| signed.hash).collect();
        match self.build(writer, plan) {
            Ok(outcome) => self.settle(outcome),
            Err(error) => {
                let mut pool = hold(&self.pool);
                for hash in hashes {
                    pool.settle(hash, Err(error.clone()));
                }
                pool.renew();
                return Err(error);
            }
        }
        Ok(())
    }

    fn settle(&self, outcome: Outcome) {
        let mut pool = hold(&self.pool);
        for (hash, error) in outcome.refused {
            pool.settle(hash, Err(error));
        }
        for signed in outcome.signed {
            pool.settle(signed.hash, Ok(()));
        }
    }

    fn build(&self, writer: &mut Writer, plan: Plan) -> Result<Outcome> {
        let head = self.head();
        let (now, time) = (self.clock.unix_seconds(), *hold(&self.time));
        let timestamp = time.timestamp(head.block.header.timestamp, now);
        let header = block::next_header(&self.genesis, &head.block, timestamp);
        let env = Env::inside(&header, self.genesis.chain_id, false);
        let mut state = State::with_cache(head.view.clone(), std::mem::take(&mut writer.cache));
        let outcome = block::run(&mut state, &env, plan.transactions)?;
        if outcome.included.is_empty() && !plan.empty {
            writer.cache = state.into_cache();
            hold(&self.pool).renew();
            return Ok(outcome);
        }
        let diff = state.diff()?;
        let after =
            if plan.expected.is_some() { Time { next: None, ..time } } else { time.after(timestamp, now) };
        let tip = Tip {
            step: head.tip.step + 1,
            block: head.tip.block + 1,
            root: diff.root(head.tip.root),
            ahead: after.ahead,
            ..head.tip
        };
        let block = block::assemble(header, &outcome, tip.root, tip.step);
        if let Some(hash) = plan.expected.filter(|hash| *hash != block.hash) {
            let why = format!("block {} comes out as {}, not {hash}", tip.block, block.hash);
            return Err(Error::Rejected { why });
        }
        let hashes: Vec<_> = outcome.signed.iter().map(|signed| signed.hash).collect();
        let step = Step {
            tip,
            root_before: head.tip.root,
            diff: &diff,
            block: Some(&block),
            transactions: &outcome.included,
            hashes: &hashes,
            funding: None,
            genesis: None,
        };
        let tip = step.commit(&writer.store)?;
        writer.cache = state.into_cache();
        writer.sealed = Some(self.clock.elapsed());
        *hold(&self.time) = after;
        self.publish(Head { tip, block: Arc::new(block), view: writer.store.view()? });
        Ok(outcome)
    }

    /// Makes a committed step the one that readers see.
    fn publish(&self, head: Head) {
        let number = head.tip.block;
        let mut pool = hold(&self.pool);
        *self.head.write().unwrap_or_else(PoisonError::into_inner) = head;
        pool.renew();
        drop(pool);
        self.watch.send_replace(number);
    }

    pub(crate) fn head(&self) -> Head {
        self.head.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn pool(&self) -> MutexGuard<'_, Pool> {
        hold(&self.pool)
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.watch.subscribe()
    }

    /// The header of the block that would come next, empty.
    pub(crate) fn pending_header(&self, head: &Head) -> Header {
        let time = *hold(&self.time);
        let timestamp = time.timestamp(head.block.header.timestamp, self.clock.unix_seconds());
        block::next_header(&self.genesis, &head.block, timestamp)
    }
}

/// What only a development chain does: bend time, balances and history.
impl Chain {
    /// Pushes block time ahead of the clock; returns how far it is ahead in all.
    pub(crate) fn increase_time(&self, seconds: u64) -> Result<u64> {
        hold(&self.time).increase(seconds)
    }

    pub(crate) fn set_next_timestamp(&self, timestamp: u64) -> Result<()> {
        let parent = self.head().block.header.timestamp;
        hold(&self.time).set_next(timestamp, parent)
    }

    /// Whether transactions are sealed as they come, or wait for [`Chain::mine`].
    pub(crate) fn set_sealing(&self, sealing: bool) -> Result<()> {
        *hold(&self.sealing) = sealing;
        while sealing && self.pool().is_ready() {
            self.seal_waiting(&mut hold(&self.writer))?;
        }
        Ok(())
    }

    /// Sets a balance, between two blocks.
    ///
    /// # Errors
    /// [`Error::Unsupported`] unless this is a development chain, and the store's.
    pub fn fund(&self, account: Address, balance: U256) -> Result<()> {
        if !self.genesis.development {
            return Err(Error::Unsupported { what: "balances are set on development chains only".into() });
        }
        let mut writer = hold(&self.writer);
        let head = self.head();
        let before = head.view.account(account, None)?;
        let info = Info { balance, ..before.unwrap_or_default() };
        let after = (info != Info::default()).then_some(info);
        let mut diff = Diff::default();
        if before != after {
            diff.accounts.insert(account, Change { before, after });
        }
        let tip = Tip { step: head.tip.step + 1, root: diff.root(head.tip.root), ..head.tip };
        let step = Step {
            tip,
            root_before: head.tip.root,
            diff: &diff,
            block: None,
            transactions: &[],
            hashes: &[],
            funding: Some(Funding { account, balance }),
            genesis: None,
        };
        let tip = step.commit(&writer.store)?;
        writer.cache = Cache::default();
        self.publish(Head { tip, block: head.block, view: writer.store.view()? });
        Ok(())
    }

    /// Remembers the present; returns the number to come back with.
    pub(crate) fn snapshot(&self) -> Result<usize> {
        let mut writer = hold(&self.writer);
        if writer.snapshots.len() >= SNAPSHOT_COUNT_MAX {
            return Err(Error::Limit { what: format!("over {SNAPSHOT_COUNT_MAX} snapshots") });
        }
        let snapshot = Snapshot { step: self.head().tip.step, time: *hold(&self.time) };
        writer.snapshots.push(snapshot);
        Ok(writer.snapshots.len())
    }

    /// Goes back to a snapshot, and forgets it and later ones. False where there is none of that number.
    pub(crate) fn revert(&self, snapshot: usize) -> Result<bool> {
        let mut writer = hold(&self.writer);
        let Some(index) = snapshot.checked_sub(1).filter(|index| *index < writer.snapshots.len()) else {
            return Ok(false);
        };
        let Snapshot { step, time } = writer.snapshots[index];
        let tip = step::undo_to(&writer.store, self.head().tip, step, time.ahead)?;
        writer.snapshots.truncate(index);
        writer.cache = Cache::default();
        *hold(&self.time) = time;
        hold(&self.pool).clear(&Error::Rejected { why: "the chain went back to a snapshot".into() });
        self.publish(head(&writer.store, tip)?);
        Ok(true)
    }
}

/// A lock whose holder may have panicked: what it guards is set in single steps, so it stays sound.
pub(crate) fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn head(store: &Store, tip: Tip) -> Result<Head> {
    let view = store.view()?;
    let missing = || Error::Damaged { what: format!("block {} is missing", tip.block) };
    let block = view.block(tip.block)?.ok_or_else(missing)?;
    if block.header.number != tip.block || block.header.hash_slow() != block.hash {
        return Err(Error::Damaged { what: format!("block {} does not have its hash", tip.block) });
    }
    Ok(Head { tip, block: Arc::new(block), view })
}

fn genesis_block(genesis: &Genesis) -> (Block, Diff) {
    let mut diff = Diff::default();
    for (address, allocation) in &genesis.accounts {
        let mut info = Info { nonce: allocation.nonce, balance: allocation.balance, ..Default::default() };
        if !allocation.code.is_empty() {
            info.code_hash = alloy_primitives::keccak256(&allocation.code);
            diff.codes.insert(info.code_hash, allocation.code.clone());
        }
        let change = Change { before: None, after: Some(info) };
        diff.accounts.insert(*address, change);
        for (slot, value) in allocation.storage.iter().filter(|(_, value)| !value.is_zero()) {
            diff.slots.insert((*address, *slot), Change { before: U256::ZERO, after: *value });
        }
    }
    let header = genesis.header(diff.root(genesis.rules_root()));
    let root = header.state_root;
    (block::assemble(header, &Outcome::default(), root, 0), diff)
}

/// Writes block 0.
fn start(store: &Store, genesis: &Genesis) -> Result<Tip> {
    let (block, diff) = genesis_block(genesis);
    let tip =
        Tip { step: 0, block: 0, root: block.header.state_root, ahead: 0, oldest_step: 0, oldest_block: 0 };
    let step = Step {
        tip,
        root_before: genesis.rules_root(),
        diff: &diff,
        block: Some(&block),
        transactions: &[],
        hashes: &[],
        funding: None,
        genesis: Some(&genesis.to_json()),
    };
    step.commit(store)
}
