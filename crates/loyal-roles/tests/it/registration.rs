//! A registration and a hosting, cut short after every single request to the chain, and gone on with: nothing is paid twice.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use alloy_primitives::{Address, B256, U256};
use loyal_protocol::chain::Patience;
use loyal_protocol::contracts::{GenesisVesting, LoyalCurrency};
use loyal_protocol::deploy::{Plan, deploy};
use loyal_protocol::devnet::{Chain, Genesis, Store};
use loyal_protocol::rpc::Rpc;
use loyal_protocol::walk::Taken;
use loyal_protocol::{Addresses, Asset, Client, Failure, Key, Outcome, Walk, message};
use loyal_roles::hosting::{self, Offer};
use loyal_roles::owner::register::{self, Project};
use loyal_roles::owner::registration::{Accepted, Maker, Registration};
use loyal_roles::owner::{Next, Page, revenue};
use loyal_roles::{Error, Result};
use loyal_types::{Hash, Tree, keccak256};
use serde_json::{Value, json};

const START: u64 = 1_800_000_000;
pub(crate) const DAY: u64 = 86_400;
pub(crate) const LOYAL: u128 = 1_000_000_000_000_000_000;

/// Leaves of the fingerprints: the keccak of each number.
pub(crate) const LEAVES: u8 = 16;

struct Noon;

impl loyal_types::Clock for Noon {
    fn unix_seconds(&self) -> u64 {
        START
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

/// A chain that goes silent after so many requests; the last of them is done, but its answer is lost.
#[derive(Debug)]
struct Mortal {
    chain: Arc<Chain>,
    left: AtomicI64,
}

impl Rpc for Mortal {
    fn request(&self, method: &str, params: Value) -> Outcome<Value> {
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        let silent = || Failure::Silent { endpoint: self.name(), why: "the line is dead".to_owned() };
        if left <= 0 {
            return Err(silent());
        }
        let answer = Rpc::request(&*self.chain, method, params);
        if left == 1 { Err(silent()) } else { answer }
    }

    fn name(&self) -> String {
        "a mortal endpoint".to_owned()
    }
}

/// A chain with contracts, an owner (0), a maker (1), a host (3), and whoever else a test wants.
pub(crate) struct World {
    pub(crate) chain: Arc<Chain>,
    pub(crate) at: Addresses,
    folder: tempfile::TempDir,
}

pub(crate) fn key(number: u8) -> Key {
    Key::of(B256::repeat_byte(number + 1)).unwrap()
}

fn patience() -> Patience {
    Patience { attempts_max: 3, pause: Duration::ZERO }
}

impl World {
    pub(crate) fn new() -> Self {
        let accounts: Vec<_> = (0..12).map(|number| key(number).address()).collect();
        let genesis = Genesis::development(&accounts, U256::from(100 * LOYAL), START - 10 * DAY);
        let chain = Arc::new(Chain::open(Store::in_memory().unwrap(), genesis, Arc::new(Noon)).unwrap());
        let client = Client::connect(chain.clone(), None, patience()).unwrap();
        let owner = key(0).address();
        let plan = Plan {
            proposers: vec![owner],
            delay_seconds: 2 * DAY,
            genesis_time: START - 10 * DAY,
            beneficiaries: [owner; 5],
            channel: None,
        };
        let at = deploy(&client, &key(0), &plan).unwrap();
        client.send(&key(0), at.vesting, &GenesisVesting::releaseCall { index: U256::from(2) }).unwrap();
        let call = LoyalCurrency::transferCall { to: key(3).address(), value: U256::from(1_000 * LOYAL) };
        client.send(&key(0), at.currency, &call).unwrap();
        let world = Self { chain, at, folder: tempfile::tempdir().unwrap() };
        world.write_files();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write_files(&self) {
        let digests: Vec<Hash> = (0..LEAVES).map(|number| keccak256(&[number])).collect();
        let root = Tree::plain(&digests).unwrap().root();
        let mut public = json!({
            "format": "loyal-fingerprints-public", "version": 1, "model": "m", "scheme": "tilt", "chance_one_in": 2,
            "leaf_root": root, "beacon": null, "fingerprint_root": null, "embedded": [], "digests": digests,
        });
        std::fs::write(self.path("leaves.json"), public.to_string()).unwrap();
        public["fingerprint_root"] = json!(root);
        public["embedded"] = json!((0..LEAVES).collect::<Vec<u8>>());
        std::fs::write(self.path("embedded.json"), public.to_string()).unwrap();
        std::fs::create_dir(self.path("weights")).unwrap();
        std::fs::write(self.path("weights/model.safetensors"), b"weights").unwrap();
    }

    /// A registration as its owner drafts it.
    fn draft(&self, open_hosting: bool) -> PathBuf {
        let mut draft = Registration::new("Dobby", "DOBBY", Path::new("leaves.json"));
        draft.makers = vec![
            Maker { account: key(0).address(), bps: 6_000 },
            Maker { account: key(1).address(), bps: 1_000 },
        ];
        draft.reserve_bps = 3_000;
        draft.open_hosting = open_hosting;
        draft.accepts = vec![Accepted { asset: self.at.currency, per_call: LOYAL / 1_000, per_thousand: 0 }];
        let path = self.path("registration.json");
        draft.write(&path).unwrap();
        path
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.chain.clone(), None, patience()).unwrap()
    }

    pub(crate) fn pass(&self, until: u64) {
        let client = self.client();
        // Blocks in a hurry run ahead of the clock: then one step is not enough.
        while client.time().unwrap() <= until {
            let seconds = until - client.time().unwrap() + 1;
            client.ask::<Value>("evm_increaseTime", json!([seconds])).unwrap();
            client.ask::<Value>("evm_mine", json!([])).unwrap();
        }
    }

    /// One run of `loyal owner register`, over an endpoint.
    fn register(&self, rpc: Arc<dyn Rpc>, path: &Path) -> Result<Next> {
        let client = Client::connect(rpc, None, patience())?;
        let (owner, mut quiet) = (key(0), |_: &Taken| ());
        let mut walk = Walk::begin(&client, &owner, false, &mut quiet)?;
        let mut registration = Registration::read(path)?;
        let mut project = Project { registration: &mut registration, path, model: None };
        register::run(&mut walk, &self.at, &mut project)
    }

    /// One run of `loyal host open`, over an endpoint.
    pub(crate) fn open(&self, rpc: Arc<dyn Rpc>, model: u64) -> Result<(u64, hosting::Next)> {
        let client = Client::connect(rpc, None, patience())?;
        let (host, mut quiet) = (key(3), |_: &Taken| ());
        let mut walk = Walk::begin(&client, &host, false, &mut quiet)?;
        let offer = Offer {
            model,
            version: None,
            level: 1,
            asset: Asset::read(&client, self.at.currency)?,
            price: LOYAL / 500,
            bond: None,
            daily: 1,
            endpoint: "https://models.example/v1/".to_owned(),
        };
        hosting::open(&mut walk, &self.at, &offer, &host)
    }

    /// From the draft to an active model.
    pub(crate) fn registered(&self, life: Option<i64>, open_hosting: bool) -> u64 {
        let path = self.draft(open_hosting);
        let steady = || -> Arc<dyn Rpc> { self.chain.clone() };
        let mortal = |life| -> Arc<dyn Rpc> {
            Arc::new(Mortal { chain: self.chain.clone(), left: AtomicI64::new(life) })
        };
        loop {
            if let Some(life) = life {
                // What it returns is lost with the process; that it cannot panic is part of the test.
                let _ = self.register(mortal(life), &path);
            }
            match self.register(steady(), &path).unwrap() {
                Next::Wait { until, .. } => self.pass(until),
                Next::Train { .. } => {
                    let mut registration = Registration::read(&path).unwrap();
                    registration.leaves = "embedded.json".into();
                    registration.weights = Some("weights".into());
                    registration.write(&path).unwrap();
                }
                Next::Sign { accounts, .. } => {
                    assert_eq!(accounts, [key(1).address()], "the owner has signed by itself");
                    let mut registration = Registration::read(&path).unwrap();
                    let domain = message::domain(31337, self.at.registry);
                    registration.sign(&key(1), &domain).unwrap();
                    registration.write(&path).unwrap();
                }
                Next::Done { model, version: 1 } => return model,
                other => panic!("{other:?}"),
            }
        }
    }

    /// From the draft to a hosting that serves. With `life`, every run begins with an endpoint that goes silent after
    /// so many requests, and goes on with one that does not.
    fn story(&self, life: Option<i64>) -> [U256; 4] {
        let model = self.registered(life, true);
        if let Some(life) = life {
            let mortal = Mortal { chain: self.chain.clone(), left: AtomicI64::new(life) };
            let _ = self.open(Arc::new(mortal), model);
        }
        let (hosting, next) = self.open(self.chain.clone(), model).unwrap();
        assert_eq!((hosting, next), (1, hosting::Next::Serves));
        let client = self.client();
        let asset = Asset::read(&client, self.at.currency).unwrap();
        let sent = |account: Address| -> U256 {
            client.ask("eth_getTransactionCount", json!([account, "latest"])).unwrap()
        };
        let has = |account: Address| asset.balance(&client, account).unwrap();
        let (owner, host) = (key(0).address(), key(3).address());
        [sent(owner), has(owner), sent(host), has(host)]
    }

    fn again(&self, snapshot: &mut Value) {
        let client = self.client();
        assert_eq!(client.ask::<Value>("evm_revert", json!([snapshot])).unwrap(), json!(true));
        *snapshot = client.ask("evm_snapshot", json!([])).unwrap();
    }
}

#[test]
fn nothing_is_paid_twice_wherever_it_was_cut_short() {
    let world = World::new();
    let mut snapshot: Value = world.client().ask("evm_snapshot", json!([])).unwrap();
    let whole = world.story(None);
    // A run of the longest step asks about a hundred things.
    for life in 1..120 {
        world.again(&mut snapshot);
        assert_eq!(world.story(Some(life)), whole, "silent after {life} requests");
    }
}

#[test]
fn a_page_shows_what_was_done_and_revenue_goes_to_whom_it_belongs() {
    let world = World::new();
    world.story(None);
    let client = world.client();
    let page = Page::read(&client, &world.at, 1).unwrap();
    assert_eq!((page.name.as_str(), page.symbol.as_str(), page.state), ("Dobby", "DOBBY", "active"));
    assert_eq!(page.makers, [(key(0).address(), 6_000), (key(1).address(), 1_000)]);
    assert_eq!((page.versions.len(), page.versions[0].state), (1, "active"));
    assert_eq!((page.hostings.len(), page.hostings[0].state), (1, "active"));
    assert!(page.revenue.is_empty());
    let none = Page::read(&client, &world.at, 2).unwrap_err().to_string();
    assert!(none.contains("there is no model 2: the chain has 1 to 1"), "{none}");
    // Nothing was earned; what vests of LOYAL is owed to its beneficiary all the same.
    assert_eq!(revenue::due(&client, &world.at, key(1).address(), &[]).unwrap(), []);
    assert!(!revenue::due(&client, &world.at, key(0).address(), &[]).unwrap().is_empty());
}

#[test]
fn what_the_contracts_would_refuse_is_said_before() {
    let world = World::new();
    let path = world.draft(true);
    let mut registration = Registration::read(&path).unwrap();
    registration.makers[0].bps += 1;
    registration.write(&path).unwrap();
    let wrong = Registration::read(&path).unwrap_err().to_string();
    assert!(wrong.contains("make 100.01 %, not 100 %"), "{wrong}");
    let offer = |price, bond| {
        let client = world.client();
        let host = key(2);
        let mut quiet = |_: &Taken| ();
        let mut walk = Walk::begin(&client, &host, true, &mut quiet).unwrap();
        let offer = Offer {
            model: 1,
            version: None,
            level: 1,
            asset: Asset::read(&client, world.at.currency).unwrap(),
            price,
            bond,
            daily: 1,
            endpoint: "https://models.example".to_owned(),
        };
        hosting::open(&mut walk, &world.at, &offer, &host).map_err(|error: Error| error.to_string())
    };
    assert!(offer(LOYAL, None).unwrap_err().contains("there is no model 1"));
    world.story(None);
    assert!(offer(1, None).unwrap_err().contains("model 1 asks at least 0.001 LOYAL"));
    assert!(offer(LOYAL, Some(LOYAL)).unwrap_err().contains("36 times as much, 36 LOYAL"));
    let short = offer(1_000 * LOYAL, None).unwrap_err();
    assert!(short.contains("needs 36,000 LOYAL"), "{short}");
}
