//! The place of the story: a chain in memory with the protocol's contracts, its people, and a clock that days pass on at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use alloy_primitives::{Address, U256};
use alloy_sol_types::SolCall;
use anyhow::{Context as _, Result};
use loyal_protocol::chain::Patience;
use loyal_protocol::contracts::{LoyalCurrency, Parameters};
use loyal_protocol::deploy::{Plan, deploy};
use loyal_protocol::devnet::{Accounts, Chain, Genesis, Store};
use loyal_protocol::walk::Taken;
use loyal_protocol::{Addresses, Asset, Client, Key, Step, Walk};
use loyal_roles::owner::revenue;
use loyal_types::{Clock, keccak256};
use serde_json::{Value, json};

/// One LOYAL in base units.
pub const LOYAL: u128 = 1_000_000_000_000_000_000;
/// Seconds of a day, which is an epoch.
pub const DAY: u64 = 86_400;
/// When the story begins, so that one seed makes one story.
const START: u64 = 1_800_000_000;

/// A clock that stands until somebody moves it.
#[derive(Debug)]
pub struct DayClock(AtomicU64);

impl Clock for DayClock {
    fn unix_seconds(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_secs(self.unix_seconds() - START)
    }
}

/// A transaction of the story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    /// Who made it.
    pub who: String,
    /// What it did.
    pub says: String,
    /// The gas it used.
    pub gas: u64,
}

/// A chain, and who lives on it.
#[derive(Debug)]
pub struct Town {
    /// Where the story keeps its files.
    pub folder: PathBuf,
    /// The chain.
    pub client: Arc<Client>,
    /// The contracts.
    pub at: Addresses,
    /// LOYAL.
    pub asset: Asset,
    /// The time.
    pub clock: Arc<DayClock>,
    keys: BTreeMap<String, Key>,
    spent: Mutex<Vec<Spent>>,
}

impl Town {
    /// A fresh chain with all contracts. `people` have accounts that follow from `seed`; the first one deploys, and holds all
    /// LOYAL there is.
    ///
    /// # Errors
    /// The chain's.
    pub fn open(folder: &Path, seed: u64, people: &[String]) -> Result<Self> {
        let secret = keccak256(format!("loyal story, accounts {seed}").as_bytes());
        let accounts = Accounts::derive(&secret.0, people.len());
        let keys = people.iter().cloned().zip(&accounts.accounts);
        let keys = keys.map(|(name, account)| Ok((name, Key::try_from(account)?)));
        let keys: BTreeMap<String, Key> = keys.collect::<Result<_>>()?;
        let genesis = Genesis::development(&accounts.addresses(), U256::from(100 * LOYAL), START - 1);
        let clock = Arc::new(DayClock(AtomicU64::new(START)));
        let chain = Chain::open(Store::in_memory()?, genesis, Arc::<DayClock>::clone(&clock))?;
        let client = Arc::new(Client::connect(Arc::new(chain), None, Patience::default())?);
        let first = keys[&people[0]].clone();
        let plan = Plan {
            proposers: vec![first.address()],
            delay_seconds: 2 * DAY,
            genesis_time: START - 1,
            beneficiaries: [first.address(); 5],
            channel: None,
        };
        let at = deploy(&client, &first, &plan)?;
        let asset = Asset::read(&client, at.currency)?;
        let folder = folder.to_owned();
        let town = Self { folder, client, at, asset, clock, keys, spent: Mutex::default() };
        let account = first.address();
        town.act(&people[0], |walk| Ok(revenue::withdraw(walk, &town.at, account, &[]).map(drop)?))?;
        Ok(town)
    }

    /// Somebody's key.
    ///
    /// # Panics
    /// Nobody has this name.
    #[must_use]
    pub fn key(&self, name: &str) -> &Key {
        &self.keys[name]
    }

    /// Somebody's account.
    ///
    /// # Panics
    /// Nobody has this name.
    #[must_use]
    pub fn address(&self, name: &str) -> Address {
        self.keys[name].address()
    }

    /// What somebody does by the steps of a role.
    ///
    /// # Errors
    /// Those of the steps.
    pub fn act<T>(&self, who: &str, steps: impl FnOnce(&mut Walk<'_>) -> Result<T>) -> Result<T> {
        let mut note = |taken: &Taken| self.note(who, std::slice::from_ref(taken));
        let mut walk = Walk::begin(&self.client, self.key(who), false, &mut note)?;
        steps(&mut walk).with_context(|| format!("what {who} does"))
    }

    /// Keeps what somebody's transactions cost.
    pub fn note(&self, who: &str, taken: &[Taken]) {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let one = |taken: &Taken| Spent { who: who.to_owned(), says: taken.says.clone(), gas: taken.gas };
        spent.extend(taken.iter().map(one));
    }

    /// Every transaction so far.
    #[must_use]
    pub fn spent(&self) -> Vec<Spent> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends LOYAL from one to another.
    ///
    /// # Errors
    /// The chain's.
    pub fn pay(&self, from: &str, to: Address, amount: u128) -> Result<()> {
        let call = LoyalCurrency::transferCall { to, value: U256::from(amount) };
        let step = Step::new(format!("send {}", self.text(amount)), self.at.currency, &call, 60_000);
        self.act(from, |walk| Ok(walk.take(step).map(drop)?))
    }

    /// What a contract says.
    ///
    /// # Errors
    /// The chain's.
    pub fn call<C: SolCall>(&self, to: Address, call: &C) -> Result<C::Return> {
        Ok(self.client.call(to, call)?)
    }

    /// An amount of LOYAL, for people.
    #[must_use]
    pub fn text(&self, amount: u128) -> String {
        self.asset.text(U256::from(amount))
    }

    /// An amount of LOYAL to a millionth, for people who would not read eighteen places.
    #[must_use]
    pub fn short(&self, amount: u128) -> String {
        let millionth = LOYAL / 1_000_000;
        self.text((amount + millionth / 2) / millionth * millionth)
    }

    /// What an account holds.
    ///
    /// # Errors
    /// The chain's.
    pub fn purse(&self, account: Address) -> Result<u128> {
        Ok(self.asset.balance(&self.client, account)?.saturating_to())
    }

    // --- time

    /// The chain's time, in unix seconds.
    ///
    /// # Errors
    /// The chain's.
    pub fn now(&self) -> Result<u64> {
        Ok(self.client.time()?)
    }

    /// Lets time pass until a moment.
    ///
    /// # Errors
    /// The chain's.
    pub fn pass(&self, until: u64) -> Result<()> {
        // Blocks in a hurry run ahead of the clock.
        if self.now()? < until {
            self.clock.0.store(until, Ordering::SeqCst);
            self.client.ask::<Value>("evm_mine", json!([]))?;
        }
        Ok(())
    }

    /// The epoch.
    ///
    /// # Errors
    /// The chain's.
    pub fn today(&self) -> Result<u32> {
        self.call(self.at.parameters, &Parameters::epochAtCall { time: U256::from(self.now()?) })
    }

    /// When an epoch begins, in unix seconds.
    ///
    /// # Errors
    /// The chain's.
    pub fn start_of(&self, epoch: u32) -> Result<u64> {
        self.call(self.at.parameters, &Parameters::epochStartCall { epoch })
    }
}
