//! What the tests share: a chain in memory with one model and one gated hosting, and people who sign.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use alloy_primitives::{Address, B256, U256, address, keccak256};
use alloy_sol_types::{SolCall, SolValue as _};
use hyper::HeaderMap;
use loyal_access::books::Books;
use loyal_access::document::{self, SignedCredential, SignedInvocation};
use loyal_access::gate::{Gate, Price, Settings};
use loyal_access::payment::{
    BATCH, BatchKind, BatchPayment, Extra, PAYMENT_SIGNATURE, Payment, PaymentPayload, Requirements,
    SignedVoucher,
};
use loyal_access::request::Request;
use loyal_access::view::View;
use loyal_protocol::chain::{Mined, Patience};
use loyal_protocol::channel::{ChannelConfig, Ends, Voucher};
use loyal_protocol::contracts::{
    self, Beacon, CredentialRegistry, GenesisVesting, LoyalCurrency, ModelFactory, Parameters, Registry,
};
use loyal_protocol::deploy::{Plan, deploy};
use loyal_protocol::devnet::{Accounts, Allocation, Chain, Genesis, Store};
use loyal_protocol::message::{self, Credential, Invocation};
use loyal_protocol::rpc::Rpc;
use loyal_protocol::{Addresses, Asset, Channel, Client, Key};
use loyal_types::Clock;
use serde_json::{Value, json};

pub(crate) const LOYAL: u128 = 1_000_000_000_000_000_000;
pub(crate) const DAY: u64 = 86_400;
pub(crate) const PRICE: u128 = LOYAL / 500;
/// Where x402 has its escrow and its collector of ERC-3009 deposits (`scheme_batch_settlement_evm.md`).
const STANDARD_ESCROW: Address = address!("4020074e9dF2ce1deE5A9C1b5c3f541D02a10003");
const STANDARD_COLLECTOR: Address = address!("4020806089470a89826cB9fB1f4059150b550004");
const START: u64 = 1_800_000_000;
const PEOPLE: [&str; 6] = ["owner", "host", "signer", "user", "builder", "stranger"];
pub(crate) const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"max_tokens":8}"#;

/// A clock that stands where the test puts it.
#[derive(Debug)]
pub(crate) struct HandClock {
    pub(crate) seconds: AtomicU64,
}

impl Clock for HandClock {
    fn unix_seconds(&self) -> u64 {
        self.seconds.load(Ordering::SeqCst)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_secs(self.unix_seconds())
    }
}

/// A chain with the protocol, a model that is served, and a hosting.
pub(crate) struct Town {
    /// The chain itself, for lines of one's own to it.
    pub(crate) devnet: Arc<Chain>,
    pub(crate) client: Arc<Client>,
    pub(crate) at: Addresses,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) model: U256,
    pub(crate) hosting: u64,
    keys: BTreeMap<&'static str, Key>,
}

impl Town {
    pub(crate) fn open() -> Self {
        Self::open_with(BTreeMap::new(), None)
    }

    /// A town whose escrow and collector of deposits stand where the standard has them on every chain.
    pub(crate) fn standard() -> Self {
        let plain = Self::open();
        let code = |at: Address| plain.client.code(at).unwrap();
        // The collector knows its escrow by an immutable value in its code.
        let collector = code(plain.at.authorization_collector).to_vec();
        let mut collector: Vec<u8> = collector;
        let known = plain.at.channel;
        let places: Vec<usize> =
            (0..collector.len() - 20).filter(|&at| collector[at..at + 20] == known[..]).collect();
        assert!(!places.is_empty());
        for at in places {
            collector[at..at + 20].copy_from_slice(STANDARD_ESCROW.as_slice());
        }
        let accounts = [(STANDARD_ESCROW, code(known)), (STANDARD_COLLECTOR, collector.into())];
        let accounts =
            accounts.map(|(at, code)| (at, Allocation { code, nonce: 1, ..Allocation::default() }));
        let mut town = Self::open_with(accounts.into(), Some(STANDARD_ESCROW));
        town.at.authorization_collector = STANDARD_COLLECTOR;
        town
    }

    fn open_with(more: BTreeMap<Address, Allocation>, channel: Option<Address>) -> Self {
        let accounts = Accounts::derive(&[7; 32], PEOPLE.len());
        let mut genesis =
            Genesis::development(&accounts.addresses(), U256::from(100 * LOYAL), START - 10 * DAY);
        genesis.accounts.extend(more);
        let clock = Arc::new(HandClock { seconds: START.into() });
        let chain = Arc::new(Chain::open(Store::in_memory().unwrap(), genesis, clock.clone()).unwrap());
        let keys = PEOPLE.into_iter().zip(&accounts.accounts);
        let keys: BTreeMap<_, _> =
            keys.map(|(name, account)| (name, Key::try_from(account).unwrap())).collect();
        let rpc: Arc<dyn Rpc> = chain.clone();
        let client = Arc::new(Client::connect(rpc, None, Patience::default()).unwrap());
        let owner = keys["owner"].address();
        let plan = Plan {
            proposers: vec![owner],
            delay_seconds: 2 * DAY,
            genesis_time: START - 10 * DAY,
            beneficiaries: [owner; 5],
            channel,
        };
        let at = deploy(&client, &keys["owner"], &plan).unwrap();
        let mut town = Self { devnet: chain, client, at, clock, model: U256::ZERO, hosting: 0, keys };
        town.send("owner", at.vesting, &GenesisVesting::releaseCall { index: U256::ZERO });
        for name in ["host", "user", "stranger"] {
            let call =
                LoyalCurrency::transferCall { to: town.address(name), value: U256::from(10_000 * LOYAL) };
            town.send("owner", at.currency, &call);
        }
        town.register();
        town.host();
        let issuer = town.address("owner");
        let call = CredentialRegistry::setIssuerCall { modelId: town.model, issuer, allowed: true };
        town.send("owner", at.credentials, &call);
        town
    }

    /// The secret of somebody's key, for programs that are not ours.
    pub(crate) fn secret(name: &str) -> B256 {
        let index = PEOPLE.iter().position(|one| *one == name).unwrap();
        Accounts::derive(&[7; 32], PEOPLE.len()).accounts[index].secret
    }

    pub(crate) fn key(&self, name: &str) -> &Key {
        &self.keys[name]
    }

    pub(crate) fn address(&self, name: &str) -> Address {
        self.keys[name].address()
    }

    pub(crate) fn send<C: SolCall>(&self, who: &str, to: Address, call: &C) -> Mined {
        self.client.send(&self.keys[who], to, call).unwrap()
    }

    /// Lets time pass, for the chain and for the host.
    pub(crate) fn pass(&self, seconds: u64) {
        self.clock.seconds.fetch_add(seconds, Ordering::SeqCst);
        self.client.ask::<Value>("evm_mine", json!([])).unwrap();
    }

    pub(crate) fn now(&self) -> u64 {
        self.clock.unix_seconds()
    }

    fn register(&mut self) {
        let (at, owner) = (self.at, self.address("owner"));
        let digest = |what: &str| keccak256(what);
        let (leaves, embedded) = (digest("leaves"), digest("fingerprints"));
        self.send("owner", at.registry, &Registry::commitLeavesCall { leafRoot: leaves, leafCount: 64 });
        self.pass(DAY);
        let time = U256::from(self.client.time().unwrap());
        let epoch = self.client.call(at.parameters, &Parameters::epochAtCall { time }).unwrap();
        self.send("owner", at.beacon, &Beacon::closeCall { epoch });
        let call = Registry::commitFingerprintsCall {
            leafRoot: leaves,
            fingerprintRoot: embedded,
            submitter: owner,
        };
        self.send("owner", at.registry, &call);
        let approve = LoyalCurrency::approveCall { spender: at.factory, value: U256::from(1_000 * LOYAL) };
        self.send("owner", at.currency, &approve);
        let manifest = digest("manifest");
        let agreement = message::Agreement {
            subject: keccak256((manifest, embedded).abi_encode()),
            grants: vec![message::Grant { account: owner, bps: 6_000 }],
            reserveBps: 4_000,
            expiresAt: self.now() + DAY,
        };
        let signatures = vec![self.keys["owner"].sign_message(&agreement, &self.domain())];
        let creation = ModelFactory::Creation {
            name: "Model".to_owned(),
            symbol: "MODEL".to_owned(),
            openHosting: true,
            version: ModelFactory::VersionTerms {
                manifestRoot: manifest,
                weightsRoot: digest("weights"),
                committer: owner,
                leafRoot: leaves,
                parentModel: U256::ZERO,
                parentVersion: 0,
                trainingRoot: digest("training"),
                evaluationRoot: digest("evaluation"),
                termsHash: digest("terms"),
                policyHash: digest("policy"),
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
        let mined = self.send("owner", at.factory, &ModelFactory::createCall { creation });
        self.model = mined.event::<ModelFactory::ModelCreated>().unwrap().modelId;
        let floor = Registry::setFloorCall {
            modelId: self.model,
            asset: at.currency,
            perCall: PRICE / 4,
            perThousand: PRICE / 10,
        };
        self.send("owner", at.registry, &floor);
        self.pass(7 * DAY + 60);
        self.send("owner", at.registry, &Registry::activateCall { modelId: self.model, version: 1 });
    }

    /// Opens a hosting of the model, and makes it the town's.
    pub(crate) fn host(&mut self) {
        let (at, bond) = (self.at, 720 * LOYAL);
        let approve = LoyalCurrency::approveCall { spender: at.gate, value: U256::from(bond) };
        self.send("host", at.currency, &approve);
        let opening = contracts::Gate::Opening {
            modelId: self.model,
            version: 1,
            level: 1,
            signer: self.address("signer"),
            asset: at.currency,
            price: PRICE,
            endpointHash: keccak256("endpoint"),
            bond,
        };
        let mined = self.send("host", at.gate, &contracts::Gate::openCall { opening });
        let id = mined.event::<contracts::Gate::HostingOpened>().unwrap().hostingId;
        let signed = message::Delivery {
            hostingId: id,
            version: 1,
            copyRoot: keccak256("weights"),
            subsetRoot: B256::ZERO,
            build: B256::ZERO,
            deliveredAt: self.client.time().unwrap(),
        };
        let signature = self.keys["signer"].sign_message(&signed, &self.domain());
        let delivery = contracts::Gate::Delivery {
            hostingId: id,
            version: 1,
            copyRoot: signed.copyRoot,
            subsetRoot: B256::ZERO,
            build: B256::ZERO,
            deliveredAt: signed.deliveredAt,
        };
        self.send("host", at.gate, &contracts::Gate::deliverCall { delivery, signature });
        self.hosting = id.saturating_to();
    }

    pub(crate) fn domain(&self) -> alloy_sol_types::Eip712Domain {
        message::domain(self.client.chain_id(), self.at.registry)
    }

    /// A credential of the user, good for a day.
    pub(crate) fn credential(&self) -> Credential {
        Credential {
            modelId: self.model,
            version: 0,
            hostingId: U256::ZERO,
            holder: self.address("user"),
            builder: Address::ZERO,
            asset: Address::ZERO,
            requestHash: B256::ZERO,
            policyHash: B256::ZERO,
            scopes: 1,
            callsMax: 1_000,
            spendMax: 1_000 * LOYAL,
            notBefore: 0,
            expiresAt: self.now() + DAY,
            modelGeneration: 0,
            holderGeneration: 0,
            salt: B256::ZERO,
        }
    }

    /// The user's channel to the hosting.
    pub(crate) fn channel(&self, salt: u8) -> Channel {
        let ends = Ends {
            payer: self.address("user"),
            hosting: U256::from(self.hosting),
            builder: Address::ZERO,
            redeemer: self.address("signer"),
            asset: self.at.currency,
            withdraw_delay: DAY,
            salt: B256::with_last_byte(salt),
        };
        Channel::between(&self.client, &self.at, &ends).unwrap()
    }

    /// Puts an amount into a channel.
    pub(crate) fn fund(&self, channel: &Channel, amount: u128) {
        let asset = Asset::read(&self.client, self.at.currency).unwrap();
        let (approval, deposit) = channel.deposit(&self.client, &asset, amount).unwrap();
        for step in approval.into_iter().chain([deposit]) {
            self.client.send_data(self.key("user"), step.to.into(), step.data).unwrap();
        }
    }

    /// A gate over books in `folder`.
    pub(crate) fn gate(&self, folder: &Path) -> Arc<Gate> {
        self.gate_on(self.client.clone(), folder, self.clock.clone())
    }

    /// A gate that sees the chain over a line of its own, and has a clock of its own.
    pub(crate) fn gate_on(
        &self,
        client: Arc<Client>,
        folder: &Path,
        clock: Arc<dyn Clock + Send + Sync>,
    ) -> Arc<Gate> {
        let silence = Duration::from_secs(45);
        let view = View::open(client, self.at, self.hosting, (silence, &*clock)).unwrap();
        let settings = Settings {
            price: Price {
                ceiling: PRICE,
                per_call: PRICE / 2,
                per_thousand_in: PRICE / 10,
                per_thousand_out: PRICE,
            },
            body_bytes_max: 10_000,
            unredeemed_max: 5 * LOYAL,
            withdraw_delay: DAY,
            issuer_url: None,
            url: "http://127.0.0.1:1/v1".to_owned(),
        };
        let books = Books::open(folder, self.hosting).unwrap();
        let keys = (self.key("signer").clone(), Some(self.key("host").clone()));
        Arc::new(Gate::open(view, books, keys, settings, clock).unwrap())
    }
}

/// A request that a caller makes, before it is signed: tests bend it.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) body: String,
    pub(crate) credential: Credential,
    pub(crate) issuer: &'static str,
    pub(crate) invocation: Invocation,
    pub(crate) holder: &'static str,
    pub(crate) config: ChannelConfig,
    pub(crate) ceiling: u128,
    pub(crate) payer: &'static str,
    pub(crate) salt: B256,
    pub(crate) builder: Option<Address>,
    /// Whether the invocation names the credential and the request as they are now.
    pub(crate) binds: bool,
}

impl Attempt {
    /// A good one: the next on a channel on which `charged` was charged.
    pub(crate) fn new(town: &Town, channel: &Channel, (nonce, charged): (u64, u128)) -> Self {
        Self {
            body: BODY.to_owned(),
            credential: town.credential(),
            issuer: "owner",
            invocation: Invocation {
                credentialId: B256::ZERO,
                hostingId: U256::from(town.hosting),
                version: 1,
                channelId: channel.id(),
                nonce,
                requestHash: B256::ZERO,
                amountMax: PRICE,
                deadline: town.now() + 600,
            },
            holder: "user",
            config: config_of(channel),
            ceiling: charged + PRICE,
            payer: "user",
            salt: B256::with_last_byte(42),
            builder: None,
            binds: true,
        }
    }

    pub(crate) fn signed(&self, town: &Town) -> (SignedCredential, SignedInvocation, SignedVoucher, B256) {
        let domain = town.domain();
        let credential = SignedCredential::sign(self.credential.clone(), town.key(self.issuer), &domain);
        let request_hash =
            Request::read(self.body.as_bytes()).map_or(B256::ZERO, |request| request.hash(self.salt));
        let mut invocation = self.invocation.clone();
        if self.binds {
            invocation.credentialId = credential.id(&domain);
            invocation.requestHash = request_hash;
        }
        let invocation = SignedInvocation::sign(invocation, town.key(self.holder), &domain);
        let domain = loyal_protocol::channel::domain(town.client.chain_id(), town.at.channel);
        let channel_id = message::digest(&self.config, &domain);
        let voucher = Voucher { channelId: channel_id, maxClaimableAmount: self.ceiling };
        let voucher = SignedVoucher {
            channel_id,
            max_claimable_amount: self.ceiling,
            signature: town.key(self.payer).sign_message(&voucher, &domain),
        };
        (credential, invocation, voucher, request_hash)
    }

    pub(crate) fn headers(&self, town: &Town) -> HeaderMap {
        let (credential, invocation, voucher, _) = self.signed(town);
        let payment = Payment::Batch(BatchPayment {
            kind: BatchKind::Voucher,
            channel_config: self.config.clone(),
            voucher,
            deposit: None,
            amount: None,
        });
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, value: String| drop(headers.insert(name, value.parse().unwrap()));
        put(PAYMENT_SIGNATURE, document::header(&paid(town, BATCH, payment)));
        put("loyal-credential", document::header(&credential));
        put("loyal-invocation", document::header(&invocation));
        put("loyal-salt", self.salt.to_string());
        if let Some(builder) = self.builder {
            put("loyal-builder", builder.to_string());
        }
        headers
    }
}

/// A payment in its envelope.
pub(crate) fn paid(town: &Town, scheme: &str, payload: Payment) -> PaymentPayload {
    let accepted = Requirements {
        scheme: scheme.to_owned(),
        network: Requirements::network_of(town.client.chain_id()),
        amount: PRICE,
        asset: town.at.currency,
        pay_to: Address::ZERO,
        max_timeout_seconds: 60,
        extra: Extra::default(),
    };
    PaymentPayload { x402_version: 2, accepted, payload }
}

pub(crate) fn config_of(channel: &Channel) -> ChannelConfig {
    let terms = channel.terms();
    ChannelConfig {
        payer: terms.payer,
        payerAuthorizer: terms.payerAuthorizer,
        receiver: terms.receiver,
        receiverAuthorizer: terms.receiverAuthorizer,
        token: terms.token,
        withdrawDelay: terms.withdrawDelay,
        salt: terms.salt,
    }
}

/// Runs a future to its end.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    });
    RUNTIME.block_on(future)
}
