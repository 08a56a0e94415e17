//! The people of the example, their chain, and the steps they take.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::{SolCall, SolValue as _};
use anyhow::{Context as _, Result};
use loyal_protocol::{
    Addresses, Asset, Channel, Client, Key,
    chain::{Mined, Patience},
    channel::Ends,
    contracts::*,
    deploy,
    deploy::Plan,
    devnet::{Accounts, Chain, Genesis, Store},
    message,
    rpc::Rpc,
};
use serde_json::json;

/// One LOYAL in base units.
pub(crate) const LOYAL: u128 = 1_000_000_000_000_000_000;
/// Where the clock of the market's chain stands.
pub(crate) const START: u64 = 1_800_000_000;
const DAY: u64 = 86_400;
const PEOPLE: [&str; 8] = ["owner", "alice", "bob", "charlie", "host", "signer", "user", "builder"];

struct Noon;

impl loyal_types::Clock for Noon {
    fn unix_seconds(&self) -> u64 {
        START
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

/// The chain, the contracts and the people.
pub(crate) struct Market {
    pub(crate) client: Client,
    pub(crate) at: Addresses,
    keys: BTreeMap<&'static str, Key>,
    table: Vec<(String, u64)>,
}

impl Market {
    /// A fresh embedded chain with all contracts on it.
    pub(crate) fn open() -> Result<Self> {
        let genesis = Genesis::development(&[], U256::ZERO, START - 10 * DAY);
        Self::on(Arc::new(Chain::open(Store::in_memory()?, genesis, Arc::new(Noon))?))
    }

    /// All contracts on a development chain whose clock is near [`START`].
    pub(crate) fn on(chain: Arc<dyn Rpc>) -> Result<Self> {
        let accounts = Accounts::derive(&[7; 32], PEOPLE.len());
        for account in accounts.addresses() {
            chain.request("anvil_setBalance", json!([account, U256::from(100 * LOYAL)]))?;
        }
        let keys: Result<BTreeMap<_, _>, _> = PEOPLE
            .into_iter()
            .zip(&accounts.accounts)
            .map(|(name, account)| Ok((name, account.try_into()?)))
            .collect();
        let keys: BTreeMap<&'static str, Key> = keys.map_err(|error: loyal_protocol::Failure| error)?;
        let patience = Patience { attempts_max: 6_000, pause: Duration::from_millis(10) };
        let client = Client::connect(chain, Some(31337), patience)?;
        let owner = keys["owner"].address();
        let plan = Plan {
            proposers: vec![owner],
            delay_seconds: 2 * DAY,
            genesis_time: START - 10 * DAY,
            beneficiaries: [owner; 5],
            channel: None,
        };
        let at = deploy(&client, &keys["owner"], &plan)?;
        let mut market = Self { client, at, keys, table: Vec::new() };
        market.send(
            "owner",
            "release LOYAL",
            at.vesting,
            &GenesisVesting::releaseCall { index: U256::ZERO },
        )?;
        for name in ["host", "user"] {
            let call =
                LoyalCurrency::transferCall { to: market.address(name), value: U256::from(10_000 * LOYAL) };
            market.send("owner", "send LOYAL", at.currency, &call)?;
        }
        Ok(market)
    }

    pub(crate) fn address(&self, name: &str) -> Address {
        self.keys[name].address()
    }

    pub(crate) fn builder(&self) -> Address {
        self.address("builder")
    }

    /// Everything is paid in LOYAL here.
    pub(crate) const fn asset(&self) -> Address {
        self.at.currency
    }

    pub(crate) fn balance(&self, account: Address) -> Result<U256> {
        Ok(self.client.call(self.at.currency, &LoyalCurrency::balanceOfCall { account })?)
    }

    /// Sends a call, and notes what it cost.
    pub(crate) fn send<C: SolCall>(&mut self, who: &str, step: &str, to: Address, call: &C) -> Result<Mined> {
        let mined = self.client.send(&self.keys[who], to, call).with_context(|| format!("{who}: {step}"))?;
        self.note(step, &mined);
        Ok(mined)
    }

    fn note(&mut self, step: &str, mined: &Mined) {
        if !self.table.iter().any(|(noted, _)| noted == step) {
            self.table.push((step.to_owned(), mined.gas()));
        }
    }

    /// Sends a call by which `name` receives something, and says how much.
    pub(crate) fn received<C: SolCall>(
        &mut self,
        name: &str,
        step: &str,
        to: Address,
        call: &C,
    ) -> Result<U256> {
        let account = self.address(name);
        let before = self.balance(account)?;
        self.send("host", step, to, call)?;
        let received = self.balance(account)? - before;
        println!("{name:<8} {step:<20} {}", amount(received));
        Ok(received)
    }

    pub(crate) fn gas_of(&self, step: &str) -> u64 {
        self.table.iter().find(|(noted, _)| noted == step).map_or(0, |(_, gas)| *gas)
    }

    pub(crate) fn print_table(&self) {
        println!("\n{:<24} {:>10}", "step", "gas");
        for (step, gas) in &self.table {
            println!("{step:<24} {gas:>10}");
        }
    }

    fn pass(&self, seconds: u64) -> Result<()> {
        self.client.ask::<serde_json::Value>("evm_increaseTime", json!([seconds]))?;
        self.client.ask::<serde_json::Value>("evm_mine", json!([]))?;
        Ok(())
    }

    /// Fingerprints in their order, the agreement, the model, its window, its activation.
    pub(crate) fn model(&mut self, name: &'static str, parent: (u64, u32)) -> Result<U256> {
        let (leaves, embedded) = (digest("leaves", name), digest("fingerprints", name));
        let owner = self.address("owner");
        let at = self.at;
        self.send(
            "owner",
            "commit leaves",
            at.registry,
            &Registry::commitLeavesCall { leafRoot: leaves, leafCount: 1_024 },
        )?;
        self.pass(DAY)?;
        let epoch = self
            .client
            .call(at.parameters, &Parameters::epochAtCall { time: U256::from(self.client.time()?) })?;
        self.send("owner", "close a seed", at.beacon, &Beacon::closeCall { epoch })?;
        let call = Registry::commitFingerprintsCall {
            leafRoot: leaves,
            fingerprintRoot: embedded,
            submitter: owner,
        };
        self.send("owner", "commit fingerprints", at.registry, &call)?;
        let bond = LoyalCurrency::approveCall { spender: at.factory, value: U256::from(1_000 * LOYAL) };
        self.send("owner", "approve", at.currency, &bond)?;
        let creation = self.creation(name, parent, leaves, embedded)?;
        let mined =
            self.send("owner", "create a model", at.factory, &ModelFactory::createCall { creation })?;
        let created = mined.event::<ModelFactory::ModelCreated>().context("a model was created")?;
        let floor = Registry::setFloorCall {
            modelId: created.modelId,
            asset: self.asset(),
            perCall: LOYAL / 1_000,
            perThousand: 0,
        };
        self.send("owner", "accept an asset", at.registry, &floor)?;
        // The window began some blocks ago; a little more than its length is surely over.
        self.pass(7 * DAY + 60)?;
        self.send(
            "owner",
            "activate",
            at.registry,
            &Registry::activateCall { modelId: created.modelId, version: 1 },
        )?;
        Ok(created.modelId)
    }

    /// Alice 30, Bob 15, Charlie 15, reserve 40 %; signed by all three.
    fn creation(
        &self,
        name: &'static str,
        parent: (u64, u32),
        leaves: B256,
        embedded: B256,
    ) -> Result<ModelFactory::Creation> {
        let manifest = digest("manifest", name);
        let parts = [("alice", 3_000), ("bob", 1_500), ("charlie", 1_500)];
        let expires = self.client.time()? + DAY;
        let agreement = message::Agreement {
            subject: keccak256((manifest, embedded).abi_encode()),
            grants: parts.map(|(who, bps)| message::Grant { account: self.address(who), bps }).to_vec(),
            reserveBps: 4_000,
            expiresAt: expires,
        };
        let domain = message::domain(self.client.chain_id(), self.at.registry);
        let signatures = parts.map(|(who, _)| self.keys[who].sign_message(&agreement, &domain)).to_vec();
        Ok(ModelFactory::Creation {
            name: name.to_owned(),
            symbol: "MODEL".to_owned(),
            openHosting: true,
            version: ModelFactory::VersionTerms {
                manifestRoot: manifest,
                weightsRoot: digest("weights", name),
                committer: self.address("owner"),
                leafRoot: leaves,
                parentModel: U256::from(parent.0),
                parentVersion: parent.1,
                trainingRoot: digest("training", name),
                evaluationRoot: digest("evaluation", name),
                termsHash: digest("terms", name),
                policyHash: digest("policy", name),
                uri: format!("loyal:{name}"),
            },
            agreement: ModelFactory::Agreement {
                subject: agreement.subject,
                grants: parts
                    .map(|(who, bps)| ModelFactory::Grant { account: self.address(who), bps })
                    .to_vec(),
                reserveBps: agreement.reserveBps,
                expiresAt: agreement.expiresAt,
            },
            signatures,
        })
    }

    /// A hosting of a model's first version.
    pub(crate) fn host(&mut self, model: U256, price: u128) -> Result<U256> {
        let at = self.at;
        let bond = 720 * LOYAL;
        let approve = LoyalCurrency::approveCall { spender: at.gate, value: U256::from(bond) };
        self.send("host", "approve", at.currency, &approve)?;
        let opening = Gate::Opening {
            modelId: model,
            version: 1,
            level: 1,
            signer: self.address("signer"),
            asset: self.asset(),
            price,
            endpointHash: digest("endpoint", "host"),
            bond,
        };
        let mined = self.send("host", "open a hosting", at.gate, &Gate::openCall { opening })?;
        let hosting = mined.event::<Gate::HostingOpened>().context("a hosting was opened")?.hostingId;
        let weights = self
            .client
            .call(at.registry, &Registry::versionOfCall { modelId: model, version: 1 })?
            .terms
            .weightsRoot;
        let time = self.client.time()?;
        let signed = message::Delivery {
            hostingId: hosting,
            version: 1,
            copyRoot: weights,
            subsetRoot: B256::ZERO,
            build: digest("build", "host"),
            deliveredAt: time,
        };
        let domain = message::domain(self.client.chain_id(), at.registry);
        let signature = self.keys["signer"].sign_message(&signed, &domain);
        let delivery = Gate::Delivery {
            hostingId: hosting,
            version: 1,
            copyRoot: weights,
            subsetRoot: B256::ZERO,
            build: signed.build,
            deliveredAt: time,
        };
        self.send("host", "deliver", at.gate, &Gate::deliverCall { delivery, signature })?;
        Ok(hosting)
    }

    /// A channel, twice `count` vouchers of which each last one is redeemed, and the settlement into the till.
    pub(crate) fn pay(&mut self, hosting: U256, count: u32, price: u128) -> Result<Address> {
        let channel = self.channel(hosting)?;
        self.deposit(&channel, 2 * u128::from(count) * price)?;
        for (step, last) in [("redeem, first", count), ("redeem, steady", 2 * count)] {
            // The caller signs a voucher with every request; the host keeps the newest.
            for n in last - count + 1..last {
                let ceiling = u128::from(n) * price;
                drop(channel.voucher(&self.keys["user"], ceiling, ceiling));
            }
            self.redeem(step, &channel, u128::from(last) * price)?;
        }
        self.settle(channel.till())?;
        Ok(channel.till())
    }

    /// The user's channel to a hosting that the builder brought.
    pub(crate) fn channel(&self, hosting: U256) -> Result<Channel> {
        let ends = Ends {
            payer: self.address("user"),
            hosting,
            builder: self.builder(),
            redeemer: self.address("signer"),
            asset: self.asset(),
            withdraw_delay: DAY,
            salt: B256::ZERO,
        };
        Ok(Channel::between(&self.client, &self.at, &ends)?)
    }

    pub(crate) fn deposit(&mut self, channel: &Channel, amount: u128) -> Result<()> {
        let asset = Asset::read(&self.client, self.asset())?;
        let (approval, deposit) = channel.deposit(&self.client, &asset, amount)?;
        for (step, taken) in [("approve", approval), ("deposit", Some(deposit))] {
            if let Some(taken) = taken {
                let mined = self.client.send_data(&self.keys["user"], taken.to.into(), taken.data)?;
                self.note(step, &mined);
            }
        }
        Ok(())
    }

    /// Redeems a voucher over `total`. The hosting's signer is the receiver's authorizer: it needs no second signature.
    pub(crate) fn redeem(&mut self, step: &str, channel: &Channel, total: u128) -> Result<()> {
        let redeem = channel.redeem(channel.voucher(&self.keys["user"], total, total));
        let mined = self.client.send_data(&self.keys["signer"], redeem.to.into(), redeem.data)?;
        self.note(step, &mined);
        Ok(())
    }

    pub(crate) fn settle(&mut self, till: Address) -> Result<()> {
        let settle = InvocationChannel::settleCall { receiver: till, token: self.asset() };
        self.send("host", "settle", self.at.channel, &settle)?;
        Ok(())
    }
}

/// An amount of LOYAL for people.
pub(crate) fn amount(units: U256) -> String {
    let whole = units / U256::from(LOYAL);
    let part = (units % U256::from(LOYAL)) / U256::from(LOYAL / 1_000_000);
    format!("{whole}.{part:06} LOYAL")
}

/// A digest of a made-up thing.
fn digest(what: &str, name: &str) -> B256 {
    keccak256(format!("{what} of {name}"))
}
