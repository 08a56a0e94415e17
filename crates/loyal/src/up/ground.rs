//! The chain that `loyal up` stands on: the one of its folder, or another by its address; and accounts on it.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, U256};
use anyhow::{Context as _, bail, ensure};
use loyal_protocol::chain::Patience;
use loyal_protocol::devnet::{Accounts, Chain, Genesis, Limits, Store, serve};
use loyal_protocol::rpc::{Http, Rpc};
use loyal_protocol::walk::Taken;
use loyal_protocol::{Client, Key, Walk, asset};
use loyal_roles::host::Drain;
use loyal_types::Clock as _;
use serde_json::{Value, json};

use super::past::Past;
use crate::chain;
use crate::clock::SystemClock;
use crate::time;

/// Accounts that are made: an owner, a host, a user, and two to spare.
const ACCOUNTS: usize = 5;
/// What an account of a new development chain has: 10,000 ether.
const BALANCE: &str = "10000000000000000000000";
/// The least that an account needs for gas, in wei: a tenth of an ether.
const GAS_LEAST: u64 = 100_000_000_000_000_000;
/// How long ago a new chain begins: a day for the seed, a week in which a model may be claimed, two in which the bond thaws.
const HISTORY: u64 = 23 * 86_400;
const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A chain to build on.
pub(super) struct Ground {
    /// The chain.
    pub(super) client: Arc<Client>,
    /// The keys of its accounts, in order.
    pub(super) keys: Vec<Key>,
    embedded: Option<(Arc<Chain>, Arc<Past>)>,
}

impl Ground {
    /// The chain of a folder, which is begun where there is none. It stays in the past until [`Ground::catch_up`].
    pub(super) fn embedded(folder: &Path) -> anyhow::Result<Self> {
        let store = Store::open(folder).with_context(|| folder.display().to_string())?;
        let past = Arc::new(Past::default());
        let (accounts, genesis) = match Chain::genesis_of(&store)? {
            Some(genesis) => (Self::made(folder)?, genesis),
            None => {
                let accounts = match Accounts::load(folder)? {
                    Some(accounts) => accounts,
                    None => make(folder)?,
                };
                let begin = SystemClock.unix_seconds().saturating_sub(HISTORY);
                let genesis = Genesis::development(&accounts.addresses(), BALANCE.parse()?, begin);
                (accounts, genesis)
            }
        };
        let chain = Arc::new(Chain::open(store, genesis, past.clone())?);
        let tip = chain.status().timestamp;
        // A chain whose time was pushed ahead has no past to catch up with.
        if tip < SystemClock.unix_seconds() {
            past.set(tip);
        }
        let client = Arc::new(Client::connect(chain.clone(), None, Patience::default())?);
        Ok(Self { client, keys: keys(&accounts)?, embedded: Some((chain, past)) })
    }

    /// The chain at an address. Accounts for it are made in the folder, and funded where that chain is for development.
    pub(super) fn elsewhere(url: &str, folder: &Path) -> anyhow::Result<Self> {
        ensure!(
            url.starts_with("http://") || url.starts_with("https://"),
            "--chain {url}: an address begins with http:// or https://"
        );
        let rpc: Arc<dyn Rpc> = Arc::new(Http::new(url, ANSWER_TIME_MAX));
        let client = Arc::new(Client::connect(rpc, None, Patience::default())?);
        let accounts = match Accounts::load(folder)? {
            Some(accounts) => accounts,
            None => make(folder)?,
        };
        Ok(Self { client, keys: keys(&accounts)?, embedded: None })
    }

    fn made(folder: &Path) -> anyhow::Result<Accounts> {
        Accounts::load(folder)?.with_context(|| {
            format!("{}: a chain without accounts of its own; name another --folder", folder.display())
        })
    }

    /// Sees that an account can pay for its transactions.
    pub(super) fn fuel(&self, account: Address) -> anyhow::Result<()> {
        let balance: U256 = self.client.ask("eth_getBalance", json!([account, "latest"]))?;
        if balance >= U256::from(GAS_LEAST) {
            return Ok(());
        }
        let more: U256 = BALANCE.parse()?;
        self.client.ask::<Value>("anvil_setBalance", json!([account, more])).map(drop).map_err(|_| {
            anyhow::anyhow!(
                "{account} has {} and needs {} for gas: send it that, and run this again",
                asset::ether(balance),
                asset::ether(U256::from(GAS_LEAST))
            )
        })
    }

    /// Lets time pass: dated back in a chain of our own while that can be, at will on any development chain.
    pub(super) fn pass(&self, until: u64, what: &str) -> anyhow::Result<()> {
        if let Some((chain, past)) = &self.embedded
            && until < SystemClock.unix_seconds()
        {
            past.set(until + 1);
            chain.mine()?;
            return Ok(());
        }
        let now = self.client.time()?;
        let seconds = until.saturating_sub(now) + 1;
        let passed = self.client.ask::<Value>("evm_increaseTime", json!([seconds]));
        match passed.and_then(|_| self.client.ask::<Value>("evm_mine", json!([]))) {
            Ok(_) => Ok(()),
            Err(_) => bail!("next: run this again {}, when {what}", time::text(until, now)),
        }
    }

    /// From here on the chain's time is this computer's.
    pub(super) fn catch_up(&self) -> anyhow::Result<()> {
        if let Some((chain, past)) = &self.embedded {
            past.catch_up();
            chain.mine()?;
        }
        Ok(())
    }

    /// Takes steps with somebody's key; answers what they found, and how many were taken.
    pub(super) fn walk<T>(
        &self,
        key: &Key,
        steps: impl FnOnce(&mut Walk<'_>) -> anyhow::Result<T>,
    ) -> anyhow::Result<(T, usize)> {
        let mut count = 0;
        let mut tell = |_: &Taken| count += 1;
        let mut walk = Walk::begin(&self.client, key, false, &mut tell)?;
        let found = steps(&mut walk)?;
        drop(walk);
        Ok((found, count))
    }

    /// Answers wallets and other commands over JSON-RPC until `drain` begins; nothing where the chain runs elsewhere.
    pub(super) fn serve(
        &self,
        listener: Option<TcpListener>,
        folder: &Path,
        drain: &Drain,
    ) -> anyhow::Result<Option<std::thread::JoinHandle<anyhow::Result<()>>>> {
        let (Some((chain, _)), Some(listener)) = (&self.embedded, listener) else { return Ok(None) };
        chain::announce(folder, &format!("http://{}", listener.local_addr()?))?;
        let (chain, drain) = (Arc::clone(chain), drain.clone());
        let serving = std::thread::Builder::new().name("chain".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(async {
                let server = serve(listener, chain, &Limits::default())?;
                while !drain.has_begun() {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                server.stop();
                server.stopped().await;
                Ok(())
            })
        })?;
        Ok(Some(serving))
    }
}

fn make(folder: &Path) -> anyhow::Result<Accounts> {
    let accounts = Accounts::derive(&rand::random(), ACCOUNTS);
    accounts.save(folder)?;
    Ok(accounts)
}

fn keys(accounts: &Accounts) -> anyhow::Result<Vec<Key>> {
    let keys: Vec<Key> =
        accounts.accounts.iter().map(|account| Ok(Key::try_from(account)?)).collect::<anyhow::Result<_>>()?;
    ensure!(keys.len() >= 3, "accounts.json: three accounts at least are needed, and it has {}", keys.len());
    Ok(keys)
}
