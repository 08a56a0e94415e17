//! The demo's economy: the marked model is registered on a chain in memory, hosted, invoked and paid for, and everybody
//! takes what is theirs. Days pass at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256, U256};
use anyhow::bail;
use loyal_protocol::chain::Patience;
use loyal_protocol::channel::Ends;
use loyal_protocol::contracts::{LoyalCurrency, RevenueRouter};
use loyal_protocol::deploy::{Plan, deploy};
use loyal_protocol::devnet::{Accounts, Chain, Genesis, Store};
use loyal_protocol::walk::Taken;
use loyal_protocol::{Addresses, Asset, Channel, Client, Key, Step, Walk, message};
use loyal_roles::hosting::{self, Offer};
use loyal_roles::owner::register::{self, Project};
use loyal_roles::owner::registration::{Accepted, Maker, Registration};
use loyal_roles::owner::{Next, revenue};
use loyal_types::{Clock, keccak256};
use serde_json::{Value, json};

use crate::clock::SystemClock;

/// Invocations that one voucher pays.
pub(crate) const INVOCATIONS: u128 = 1_000;
/// 0.002 LOYAL for an invocation, of which the model asks half at least.
const PRICE: u128 = LOYAL / 500;
const LOYAL: u128 = 1_000_000_000_000_000_000;
const DAY: u64 = 86_400;
const START: u64 = 1_800_000_000;
const PEOPLE: [&str; 7] = ["owner", "alice", "bob", "charlie", "host", "user", "builder"];
const MAKERS: [(&str, u16); 3] = [("alice", 3_000), ("bob", 1_500), ("charlie", 1_500)];
const RESERVE_BPS: u16 = 4_000;

/// The demo's chain begins at a time of its own, so that one seed makes one demo.
#[derive(Debug)]
struct Story;

impl Clock for Story {
    fn unix_seconds(&self) -> u64 {
        START
    }

    fn elapsed(&self) -> Duration {
        SystemClock.elapsed()
    }
}

/// A chain in memory with the protocol's contracts and seven people.
pub(super) struct Economy {
    client: Client,
    at: Addresses,
    asset: Asset,
    keys: BTreeMap<&'static str, Key>,
    registration: Registration,
    file: PathBuf,
    gas: Vec<(String, u64)>,
}

/// What came of it.
pub(crate) struct Earned {
    /// Who received how much.
    pub(crate) received: Vec<(&'static str, String)>,
    /// What 1,000 invocations brought in.
    pub(crate) revenue: String,
    /// Gas for redeeming, for each invocation.
    pub(crate) gas_per_invocation: u64,
    /// Each step and its gas.
    pub(crate) gas: Vec<(String, u64)>,
}

impl Earned {
    /// For programs.
    pub(super) fn to_json(&self) -> Value {
        let received: BTreeMap<_, _> = self.received.iter().cloned().collect();
        let gas: Vec<_> = self.gas.iter().map(|(says, gas)| json!({ "step": says, "gas": gas })).collect();
        json!({
            "revenue": self.revenue, "received": received, "gas_per_invocation": self.gas_per_invocation,
            "steps": gas,
        })
    }
}

impl Economy {
    /// Opens the chain and deploys the contracts. `seed` makes the accounts.
    pub(super) fn open(folder: &Path, seed: u64) -> anyhow::Result<Self> {
        let secret = keccak256(format!("loyal demo, accounts {seed}").as_bytes());
        let accounts = Accounts::derive(&secret.0, PEOPLE.len());
        let keys = PEOPLE.into_iter().zip(&accounts.accounts);
        let keys = keys.map(|(name, account)| Ok((name, Key::try_from(account)?)));
        let keys: BTreeMap<&'static str, Key> = keys.collect::<anyhow::Result<_>>()?;
        let genesis = Genesis::development(&accounts.addresses(), U256::from(100 * LOYAL), START - 1);
        let chain = Chain::open(Store::in_memory()?, genesis, Arc::new(Story))?;
        let client = Client::connect(Arc::new(chain), None, Patience::default())?;
        let owner = keys["owner"].address();
        let plan = Plan {
            proposers: vec![owner],
            delay_seconds: 2 * DAY,
            genesis_time: START - 1,
            beneficiaries: [owner; 5],
            channel: None,
        };
        let at = deploy(&client, &keys["owner"], &plan)?;
        let asset = Asset::read(&client, at.currency)?;
        let file = folder.join("registration.json");
        let registration = Registration::new("demo", "DEMO", Path::new("leaves.json"));
        let mut economy = Self { client, at, asset, keys, registration, file, gas: Vec::new() };
        economy.draft();
        let owner = economy.address("owner");
        economy.walk("owner", |walk, at| Ok(revenue::withdraw(walk, at, owner, &[]).map(drop)?))?;
        for name in ["host", "user"] {
            let to = economy.address(name);
            let call = LoyalCurrency::transferCall { to, value: U256::from(1_000 * LOYAL) };
            let step = Step::new(format!("send {name} 1,000 LOYAL"), at.currency, &call, 60_000);
            economy.walk("owner", |walk, _| Ok(walk.take(step).map(drop)?))?;
        }
        economy.gas.clear();
        Ok(economy)
    }

    /// Alice 30, Bob 15, Charlie 15, and 40 % in reserve; paid in LOYAL; open to hosts.
    fn draft(&mut self) {
        let makers = MAKERS.map(|(name, bps)| Maker { account: self.address(name), bps });
        self.registration.makers = makers.to_vec();
        self.registration.reserve_bps = RESERVE_BPS;
        self.registration.open_hosting = true;
        let floor = Accepted { asset: self.asset.address, per_call: PRICE / 2, per_thousand: 0 };
        self.registration.accepts = vec![floor];
    }

    fn address(&self, name: &str) -> Address {
        self.keys[name].address()
    }

    /// Commits to the fingerprints, lets the epoch begin, and answers its seed.
    pub(super) fn commit(&mut self) -> anyhow::Result<(B256, u32)> {
        match self.advance()? {
            Next::Train { seed, epoch, .. } => Ok((seed, epoch)),
            other => bail!("after the commitment comes the training, not {other:?}"),
        }
    }

    /// Registers the marked weights, hosts them, pays for 1,000 invocations and sends everybody their part.
    pub(super) fn earn(&mut self, marked: &str, embedded: &str) -> anyhow::Result<Earned> {
        self.registration.weights = Some(marked.into());
        self.registration.leaves = embedded.into();
        let Next::Done { model, version } = self.advance()? else { bail!("the model was not registered") };
        let hosting = self.host(model, version)?;
        let redeemed = self.pay(hosting)?;
        let collect = RevenueRouter::collectCall {
            hostingId: U256::from(hosting),
            builder: self.address("builder"),
            asset: self.asset.address,
        };
        let collect = Step::new("collect from the till, and divide", self.at.router, &collect, 463_000);
        self.walk("host", |walk, _| Ok(walk.take(collect).map(drop)?))?;
        let received = self.everybody(model)?;
        Ok(Earned {
            received,
            revenue: self.asset.text(U256::from(INVOCATIONS * PRICE)),
            gas_per_invocation: redeemed / INVOCATIONS as u64,
            gas: std::mem::take(&mut self.gas),
        })
    }

    /// Goes on registering until the owner has something else to do, letting time pass and makers sign.
    fn advance(&mut self) -> anyhow::Result<Next> {
        self.registration.write(&self.file)?;
        loop {
            let (mut registration, file) = (self.registration.clone(), self.file.clone());
            let next = self.walk("owner", |walk, at| {
                let mut project = Project { registration: &mut registration, path: &file, model: None };
                Ok(register::run(walk, at, &mut project)?)
            })?;
            self.registration = registration;
            match next {
                Next::Wait { until, .. } => self.pass(until)?,
                Next::Sign { .. } => {
                    let domain = message::domain(self.client.chain_id(), self.at.registry);
                    for (name, _) in MAKERS {
                        self.registration.sign(&self.keys[name], &domain)?;
                    }
                }
                other => return Ok(other),
            }
        }
    }

    fn pass(&self, until: u64) -> anyhow::Result<()> {
        let seconds = until.saturating_sub(self.client.time()?) + 1;
        self.client.ask::<Value>("evm_increaseTime", json!([seconds]))?;
        self.client.ask::<Value>("evm_mine", json!([]))?;
        Ok(())
    }

    fn host(&mut self, model: u64, version: u32) -> anyhow::Result<u64> {
        let offer = Offer {
            model,
            version: Some(version),
            level: 0,
            asset: self.asset.clone(),
            price: PRICE,
            bond: None,
            daily: 1,
            endpoint: "https://models.example/v1".to_owned(),
        };
        let signer = self.keys["host"].clone();
        let (hosting, next) = self.walk("host", |walk, at| Ok(hosting::open(walk, at, &offer, &signer)?))?;
        if next == hosting::Next::Serves {
            Ok(hosting)
        } else {
            bail!("the hosting does not serve: {next:?}")
        }
    }

    /// A deposit, a voucher with every invocation, and the newest one redeemed; answers the gas of that.
    fn pay(&mut self, hosting: u64) -> anyhow::Result<u64> {
        let ends = Ends {
            payer: self.address("user"),
            hosting: U256::from(hosting),
            builder: self.address("builder"),
            redeemer: self.address("host"),
            asset: self.asset.address,
            withdraw_delay: DAY,
            salt: B256::ZERO,
        };
        let channel = Channel::between(&self.client, &self.at, &ends)?;
        let (approval, deposit) = channel.deposit(&self.client, &self.asset, 2 * INVOCATIONS * PRICE)?;
        self.walk("user", |walk, _| {
            walk.take_if(approval)?;
            Ok(walk.take(deposit).map(drop)?)
        })?;
        // A first voucher writes slots that were empty; the one over a thousand invocations is like any later one.
        let user = self.keys["user"].clone();
        let first = channel.voucher(&user, 1, 1);
        let mut newest = first.clone();
        for count in 1..=INVOCATIONS {
            newest = channel.voucher(&user, count * PRICE, count * PRICE);
        }
        self.walk("host", |walk, _| Ok(walk.take(channel.redeem(first)).map(drop)?))?;
        self.walk("host", |walk, _| Ok(walk.take(channel.redeem(newest)).map(drop)?))?;
        let redeemed = self.gas.last().map_or(0, |(_, gas)| *gas);
        self.walk("host", |walk, _| Ok(walk.take(channel.settle()).map(drop)?))?;
        Ok(redeemed)
    }

    fn everybody(&mut self, model: u64) -> anyhow::Result<Vec<(&'static str, String)>> {
        let mut received = Vec::new();
        for name in ["alice", "bob", "charlie", "host", "builder"] {
            let account = self.address(name);
            let before = self.asset.balance(&self.client, account)?;
            self.walk("owner", |walk, at| Ok(revenue::withdraw(walk, at, account, &[model]).map(drop)?))?;
            let more = self.asset.balance(&self.client, account)? - before;
            received.push((name, self.asset.text(more)));
        }
        let treasury = self.at.timelock;
        let owed = revenue::due(&self.client, &self.at, treasury, &[model])?;
        let owed = owed.iter().fold(U256::ZERO, |sum, due| sum + due.amount);
        received.push(("the protocol", self.asset.text(owed)));
        Ok(received)
    }

    fn walk<T>(
        &mut self,
        who: &str,
        steps: impl FnOnce(&mut Walk<'_>, &Addresses) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let gas = &mut self.gas;
        let mut note = |taken: &Taken| gas.push((taken.says.clone(), taken.gas));
        let mut walk = Walk::begin(&self.client, &self.keys[who], false, &mut note)?;
        steps(&mut walk, &self.at)
    }
}
