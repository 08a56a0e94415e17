//! A chain with one model and one gated hosting, and callers with funded channels; everybody's key is the hash of a
//! name, so that another process can sign.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::{SolCall, SolValue as _};
use anyhow::Context as _;
use loyal_access::Gate;
use loyal_access::books::Books;
use loyal_access::gate::{Price, Settings};
use loyal_access::view::View;
use loyal_protocol::chain::{Mined, Patience};
use loyal_protocol::channel::Ends;
use loyal_protocol::contracts::{
    self, Beacon, CredentialRegistry, GenesisVesting, LoyalCurrency, ModelFactory, Parameters, Registry,
};
use loyal_protocol::deploy::{Plan, deploy};
use loyal_protocol::devnet::{Chain, Genesis, Store};
use loyal_protocol::{Addresses, Asset, Channel, Client, Key, message};
use loyal_types::Clock;
use serde_json::{Value, json};

/// One LOYAL in base units.
const LOYAL: u128 = 1_000_000_000_000_000_000;
const DAY: u64 = 86_400;
/// What an invocation costs, in base units: so little that no load reaches what the bond carries.
pub(crate) const PRICE: u128 = 1_000_000;
/// What each channel holds.
const DEPOSIT: u128 = LOYAL;

/// The chain, the contracts, the hosting.
pub(crate) struct Town {
    pub(crate) client: Arc<Client>,
    pub(crate) at: Addresses,
    pub(crate) model: U256,
    pub(crate) hosting: u64,
    clock: Arc<dyn Clock + Send + Sync>,
}

/// The key of a person.
pub(crate) fn key(name: &str) -> Key {
    Key::of(keccak256(name)).expect("the hash of a name is a key")
}

/// The key of a caller.
pub(crate) fn caller(number: usize) -> Key {
    key(&format!("caller {number}"))
}

fn account(name: &str) -> Address {
    key(name).address()
}

impl Town {
    /// A town with so many callers.
    pub(crate) fn open(
        store: Store,
        callers: usize,
        clock: Arc<dyn Clock + Send + Sync>,
    ) -> anyhow::Result<Self> {
        let people = ["owner", "host", "signer"].map(account);
        let people: Vec<_> =
            people.into_iter().chain((0..callers).map(|number| caller(number).address())).collect();
        let start = clock.unix_seconds();
        let genesis = Genesis::development(&people, U256::from(1_000 * LOYAL), start - 10 * DAY);
        let chain = Arc::new(Chain::open(store, genesis, clock.clone())?);
        let patience = Patience { attempts_max: 50, pause: Duration::from_millis(20) };
        let client = Arc::new(Client::connect(chain, None, patience)?);
        let owner = account("owner");
        let plan = Plan {
            proposers: vec![owner],
            delay_seconds: 2 * DAY,
            genesis_time: start - 10 * DAY,
            beneficiaries: [owner; 5],
            channel: None,
        };
        let at = deploy(&client, &key("owner"), &plan)?;
        let mut town = Self { client, at, model: U256::ZERO, hosting: 0, clock };
        town.send("owner", at.vesting, &GenesisVesting::releaseCall { index: U256::ZERO })?;
        town.pay(account("host"), 10_000 * LOYAL)?;
        town.register()?;
        town.host()?;
        let issuer = account("owner");
        let call = CredentialRegistry::setIssuerCall { modelId: town.model, issuer, allowed: true };
        town.send("owner", at.credentials, &call)?;
        Ok(town)
    }

    /// Gives a caller an amount, and puts it into its channel.
    pub(crate) fn fund(&self, number: usize) -> anyhow::Result<()> {
        let payer = caller(number);
        self.pay(payer.address(), DEPOSIT)?;
        let asset = Asset::read(&self.client, self.at.currency)?;
        let channel = self.channel(payer.address())?;
        let (approval, deposit) = channel.deposit(&self.client, &asset, DEPOSIT)?;
        for step in approval.into_iter().chain([deposit]) {
            self.client.send_data(&payer, step.to.into(), step.data)?;
        }
        Ok(())
    }

    /// The channel of a payer to the hosting.
    pub(crate) fn channel(&self, payer: Address) -> anyhow::Result<Channel> {
        let ends = Ends {
            payer,
            hosting: U256::from(self.hosting),
            builder: Address::ZERO,
            redeemer: account("signer"),
            asset: self.at.currency,
            withdraw_delay: DAY,
            salt: B256::ZERO,
        };
        Ok(Channel::between(&self.client, &self.at, &ends)?)
    }

    /// A gate over books in `folder`.
    pub(crate) fn gate(&self, folder: &Path, url: &str) -> anyhow::Result<Arc<Gate>> {
        let clock = Arc::clone(&self.clock);
        let silence = Duration::from_secs(45);
        let view = View::open(Arc::clone(&self.client), self.at, self.hosting, (silence, &*clock))?;
        let settings = Settings {
            price: Price::flat(PRICE),
            body_bytes_max: 1 << 20,
            unredeemed_max: DEPOSIT,
            withdraw_delay: DAY,
            issuer_url: None,
            url: url.to_owned(),
        };
        let books = Books::open(folder, self.hosting)?;
        let keys = (key("signer"), Some(key("host")));
        Ok(Arc::new(Gate::open(view, books, keys, settings, clock)?))
    }

    fn pay(&self, to: Address, amount: u128) -> anyhow::Result<()> {
        let call = LoyalCurrency::transferCall { to, value: U256::from(amount) };
        self.send("owner", self.at.currency, &call)?;
        Ok(())
    }

    fn send<C: SolCall>(&self, who: &str, to: Address, call: &C) -> anyhow::Result<Mined> {
        self.client.send(&key(who), to, call).with_context(|| format!("{who}: {}", C::SIGNATURE))
    }

    fn pass(&self, seconds: u64) -> anyhow::Result<()> {
        self.client.ask::<Value>("evm_increaseTime", json!([seconds]))?;
        self.client.ask::<Value>("evm_mine", json!([]))?;
        Ok(())
    }

    fn domain(&self) -> alloy_sol_types::Eip712Domain {
        message::domain(self.client.chain_id(), self.at.registry)
    }

    fn register(&mut self) -> anyhow::Result<()> {
        let (at, owner) = (self.at, account("owner"));
        let (leaves, embedded) = (keccak256("leaves"), keccak256("fingerprints"));
        self.send("owner", at.registry, &Registry::commitLeavesCall { leafRoot: leaves, leafCount: 64 })?;
        self.pass(DAY)?;
        let time = U256::from(self.client.time()?);
        let epoch = self.client.call(at.parameters, &Parameters::epochAtCall { time })?;
        self.send("owner", at.beacon, &Beacon::closeCall { epoch })?;
        let call = Registry::commitFingerprintsCall {
            leafRoot: leaves,
            fingerprintRoot: embedded,
            submitter: owner,
        };
        self.send("owner", at.registry, &call)?;
        let approve = LoyalCurrency::approveCall { spender: at.factory, value: U256::from(1_000 * LOYAL) };
        self.send("owner", at.currency, &approve)?;
        let mined = self.send("owner", at.factory, &self.creation(leaves, embedded)?)?;
        self.model = mined.event::<ModelFactory::ModelCreated>().context("no model")?.modelId;
        let floor =
            Registry::setFloorCall { modelId: self.model, asset: at.currency, perCall: 1, perThousand: 1 };
        self.send("owner", at.registry, &floor)?;
        self.pass(7 * DAY + 60)?;
        self.send("owner", at.registry, &Registry::activateCall { modelId: self.model, version: 1 })?;
        Ok(())
    }

    fn creation(&self, leaves: B256, embedded: B256) -> anyhow::Result<ModelFactory::createCall> {
        let (owner, manifest) = (account("owner"), keccak256("manifest"));
        let agreement = message::Agreement {
            subject: keccak256((manifest, embedded).abi_encode()),
            grants: vec![message::Grant { account: owner, bps: 6_000 }],
            reserveBps: 4_000,
            expiresAt: self.client.time()? + DAY,
        };
        let signatures = vec![key("owner").sign_message(&agreement, &self.domain())];
        let creation = ModelFactory::Creation {
            name: "Null".to_owned(),
            symbol: "NULL".to_owned(),
            openHosting: true,
            version: ModelFactory::VersionTerms {
                manifestRoot: manifest,
                weightsRoot: keccak256("weights"),
                committer: owner,
                leafRoot: leaves,
                parentModel: U256::ZERO,
                parentVersion: 0,
                trainingRoot: keccak256("training"),
                evaluationRoot: keccak256("evaluation"),
                termsHash: keccak256("terms"),
                policyHash: keccak256("policy"),
                uri: String::new(),
            },
            agreement: ModelFactory::Agreement {
                subject: agreement.subject,
                grants: vec![ModelFactory::Grant { account: owner, bps: 6_000 }],
                reserveBps: 4_000,
                expiresAt: agreement.expiresAt,
            },
            signatures,
        };
        Ok(ModelFactory::createCall { creation })
    }

    fn host(&mut self) -> anyhow::Result<()> {
        let (at, bond) = (self.at, 720 * LOYAL);
        let approve = LoyalCurrency::approveCall { spender: at.gate, value: U256::from(bond) };
        self.send("host", at.currency, &approve)?;
        let opening = contracts::Gate::Opening {
            modelId: self.model,
            version: 1,
            level: 1,
            signer: account("signer"),
            asset: at.currency,
            price: PRICE,
            endpointHash: keccak256("endpoint"),
            bond,
        };
        let mined = self.send("host", at.gate, &contracts::Gate::openCall { opening })?;
        let id = mined.event::<contracts::Gate::HostingOpened>().context("no hosting")?.hostingId;
        let signed = message::Delivery {
            hostingId: id,
            version: 1,
            copyRoot: keccak256("weights"),
            subsetRoot: B256::ZERO,
            build: B256::ZERO,
            deliveredAt: self.client.time()?,
        };
        let signature = key("signer").sign_message(&signed, &self.domain());
        let delivery = contracts::Gate::Delivery {
            hostingId: id,
            version: 1,
            copyRoot: signed.copyRoot,
            subsetRoot: B256::ZERO,
            build: B256::ZERO,
            deliveredAt: signed.deliveredAt,
        };
        self.send("host", at.gate, &contracts::Gate::deliverCall { delivery, signature })?;
        self.hosting = id.saturating_to();
        Ok(())
    }
}
