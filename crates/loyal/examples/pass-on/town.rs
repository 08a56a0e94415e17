//! A chain in this process, a gated hosting on it that answers over HTTP, and agents who pay it.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolEvent as _;
use anyhow::{Context as _, Result};
use loyal_access::books::Books;
use loyal_access::caller::{Caller, Seams, Settings};
use loyal_access::gate::{self, Gate, Price};
use loyal_access::issuer::{Issuer, Policy, Signers, Wish};
use loyal_access::redemption;
use loyal_access::view::View;
use loyal_access::wallet::Wallet;
use loyal_protocol::chain::Patience;
use loyal_protocol::contracts::{LoyalCurrency, RevenueRouter};
use loyal_protocol::devnet::{Accounts, Chain, Genesis, Store};
use loyal_protocol::{Asset, Client, Key, Walk};
use loyal_roles::host::gateway::{self, Source};
use loyal_roles::host::{self, Drain};
use loyal_roles::owner::{issuing, revenue};
use loyal_types::Clock;
use tempfile::TempDir;

use crate::market::{LOYAL, Market, START};

/// The most that an invocation costs: 0.002 LOYAL.
pub(crate) const PRICE: u128 = LOYAL / 500;
const DAY: u64 = 86_400;
/// Accounts of the chain: those of the market, then the two agents'.
const ACCOUNT_COUNT: usize = 10;
const OWNER: usize = 0;
const HOST: usize = 4;
const SIGNER: usize = 5;
/// The agent in front, and the one behind it.
pub(crate) const FRONT: usize = 8;
pub(crate) const BACK: usize = 9;

/// A clock that stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Still(u64);

impl Clock for Still {
    fn unix_seconds(&self) -> u64 {
        self.0
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

/// Everybody, and what they stand on. The host ends with this.
pub(crate) struct Town {
    market: Market,
    pub(crate) client: Arc<Client>,
    pub(crate) asset: Asset,
    model: u64,
    gate: Arc<Gate>,
    pub(crate) url: String,
    pub(crate) clock: Arc<Still>,
    pub(crate) folder: TempDir,
    drain: Drain,
    serving: Option<JoinHandle<loyal_roles::Result<()>>>,
}

/// The key of an account.
pub(crate) fn key(index: usize) -> Result<Key> {
    Ok(Key::try_from(&Accounts::derive(&[7; 32], ACCOUNT_COUNT).accounts[index])?)
}

impl Town {
    /// A town whose hosting is answered by `source`: half of [`PRICE`] for an invocation, and as much for 500 tokens of the answer.
    pub(crate) fn open(source: Source) -> Result<Self> {
        let genesis = Genesis::development(&[], U256::ZERO, START - 10 * DAY);
        let chain = Arc::new(Chain::open(Store::in_memory()?, genesis, Arc::new(Still(START)))?);
        let mut market = Market::on(chain.clone())?;
        let model = market.model("model", (0, 0))?;
        let hosting = market.host(model, PRICE)?;
        let currency = market.asset();
        for agent in [FRONT, BACK] {
            let call =
                LoyalCurrency::transferCall { to: key(agent)?.address(), value: U256::from(10 * LOYAL) };
            market.send("owner", "send LOYAL", currency, &call)?;
        }
        let patience = Patience { attempts_max: 6_000, pause: Duration::from_millis(1) };
        let client = Arc::new(Client::connect(chain, None, patience)?);
        let (owner, at, model) = (key(OWNER)?, market.at, model.to::<u64>());
        let mut quiet = |_: &_| {};
        let mut walk = Walk::begin(&client, &owner, false, &mut quiet)?;
        issuing::appoint(&mut walk, &at, model, owner.address())?;
        let (clock, folder) = (Arc::new(Still(client.time()?)), tempfile::tempdir()?);
        let hosting = hosting.to::<u64>();
        let view = View::open(client.clone(), at, hosting, (Duration::from_secs(45), &*clock))?;
        let books = Books::open(&folder.path().join("books"), hosting)?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}/v1", listener.local_addr()?);
        let price =
            Price { ceiling: PRICE, per_call: PRICE / 2, per_thousand_in: 0, per_thousand_out: PRICE };
        let settings = gate::Settings {
            price,
            body_bytes_max: 1 << 20,
            unredeemed_max: 5 * LOYAL,
            withdraw_delay: DAY,
            issuer_url: None,
            url: url.clone(),
        };
        let keys = (key(SIGNER)?, Some(key(HOST)?));
        let gate = Arc::new(Gate::open(view, books, keys, settings, clock.clone())?);
        let drain = Drain::default();
        let serving = {
            let (gate, clock, drain) = (gate.clone(), clock.clone(), drain.clone());
            let settings = host::Settings::default();
            std::thread::spawn(move || gateway::run(listener, (gate, source), settings, clock, &drain))
        };
        let asset = Asset::read(&client, currency)?;
        Ok(Self { market, client, asset, model, gate, url, clock, folder, drain, serving: Some(serving) })
    }

    /// Where an agent's wallet is.
    pub(crate) fn wallet(&self, agent: usize) -> std::path::PathBuf {
        self.folder.path().join(format!("wallet-{agent}"))
    }

    /// A caller that pays from an agent's account, and brings its invocations as their builder.
    pub(crate) fn caller(&self, agent: usize) -> Result<Caller> {
        let (key, owner) = (key(agent)?, key(OWNER)?);
        let policy = Policy {
            holders: Vec::new(),
            version: 0,
            hosting: 0,
            builder: key.address(),
            calls_max: 100,
            spend_max: LOYAL,
            lifetime: DAY,
            policy_hash: B256::ZERO,
        };
        let issuer = Issuer {
            at: self.market.at,
            model: U256::from(self.model),
            policy,
            signers: Signers { contract: None, keys: vec![owner] },
            chain_urls: Vec::new(),
            hosts: vec![self.url.clone()],
        };
        let wish = Wish { holder: key.address(), calls_max: None, spend_max: None };
        let salt = B256::with_last_byte(u8::try_from(agent)?);
        let file = issuer.issue(&self.client, &wish, (salt, self.clock.unix_seconds()))?;
        let seed = [u8::try_from(agent)?; 32];
        let seams = Seams { client: self.client.clone(), clock: self.clock.clone(), seed };
        Ok(Caller::new(file, key, Wallet::open(&self.wallet(agent))?, seams, Settings::default())?)
    }

    /// What is on an account.
    pub(crate) fn balance(&self, account: Address) -> Result<U256> {
        Ok(self.asset.balance(&self.client, account)?)
    }

    /// The host redeems what it is owed, and the chain divides it: each builder's till, and its parts.
    pub(crate) fn redeem(&self) -> Result<Vec<(Address, RevenueRouter::Allocated)>> {
        self.gate.follow()?;
        let (owed, host) = (redemption::owed(&self.gate)?, key(HOST)?);
        let mut quiet = |_: &_| {};
        let mut walk = Walk::begin(&self.client, &host, false, &mut quiet)?;
        redemption::redeem(&mut walk, &self.gate, &owed)?;
        let router = self.market.at.router;
        let divided = self.client.find(router, &[Some(RevenueRouter::Allocated::SIGNATURE_HASH)])?;
        let collected = self.client.find(router, &[Some(RevenueRouter::Collected::SIGNATURE_HASH)])?;
        let builders = collected.iter().filter_map(|event| event.decode::<RevenueRouter::Collected>());
        let divided = divided.iter().filter_map(|event| event.decode());
        Ok(builders.map(|collected| collected.builder).zip(divided).collect())
    }

    /// Sends an account all that the model owes it; answers how much that was.
    pub(crate) fn withdraw(&self, account: Address) -> Result<U256> {
        let (before, host) = (self.balance(account)?, key(HOST)?);
        let mut quiet = |_: &_| {};
        let mut walk = Walk::begin(&self.client, &host, false, &mut quiet)?;
        revenue::withdraw(&mut walk, &self.market.at, account, &[self.model])?;
        Ok(self.balance(account)? - before)
    }

    /// Those whom the model pays, by name; the protocol's treasury is the last.
    pub(crate) fn people(&self) -> Vec<(&'static str, Address)> {
        let mut people: Vec<_> =
            ["alice", "bob", "charlie", "host"].map(|name| (name, self.market.address(name))).into();
        people.push(("the protocol", self.market.at.timelock));
        people
    }

    /// Ends the host when what is under way is answered.
    pub(crate) fn close(&mut self) -> Result<()> {
        self.drain.begin();
        let Some(serving) = self.serving.take() else { return Ok(()) };
        let served = serving.join().ok().context("the host panicked")?;
        Ok(served?)
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        let _ = self.close();
    }
}
