//! From an empty chain to a hosting that serves: contracts, a registered model, a bond, an issuer. Cut short, it goes on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use alloy_primitives::{Address, U256};
use anyhow::{Context as _, bail, ensure};
use loyal_fingerprint::fingerprint::{Beacon, FingerprintSet, Purpose};
use loyal_fingerprint::scheme::{Scheme, Tilt};
use loyal_model::{Config, Tokenizer};
use loyal_protocol::contracts::LoyalCurrency;
use loyal_protocol::deploy::{self, Plan};
use loyal_protocol::{Addresses, Asset, Key, Step};
use loyal_roles::hosting::{self, Offer};
use loyal_roles::owner::manifest;
use loyal_roles::owner::register::{self, Project};
use loyal_roles::owner::registration::{Accepted, Maker, Registration};
use loyal_roles::owner::{Next, issuing, revenue};
use loyal_types::{Clock as _, Hash};
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use serde_json::json;

use super::ground::Ground;
use super::record::Record;
use super::{HOST, OWNER, USER};
use crate::clock::SystemClock;
use crate::site::Contracts;
use crate::{output, shipped};

/// Fingerprints that are committed to. None is embedded: the model is registered as it is.
const FINGERPRINTS: usize = 8;
/// The owner makes 60 %, the model keeps the rest.
const MAKER_BPS: u16 = 6_000;
const RESERVE_BPS: u16 = 4_000;
const TIMELOCK_DELAY: u64 = 2 * 86_400;
const SEND_GAS: u64 = 60_000;
/// What the user gets to spend, and the host besides its bond, in whole LOYAL.
const POCKET: u64 = 100;
/// What the owner needs for the bond of the model and for the others, in whole LOYAL.
const OWNER_LEAST: u64 = 10_000;
const LOYAL: u64 = 1_000_000_000_000_000_000;

/// What is to be hosted.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// The folder in which all of it is kept.
    pub(super) folder: &'a Path,
    /// A file of contracts that are there already.
    pub(super) contracts: Option<&'a Path>,
    /// What the model is called.
    pub(super) name: String,
    /// The folder whose root is registered.
    pub(super) weights: PathBuf,
    /// The most that an invocation costs, as it was typed.
    pub(super) price: &'a str,
    /// Invocations at the full price that the bond carries in a day.
    pub(super) daily: u64,
    /// Where it answers.
    pub(super) endpoint: String,
}

/// The contracts: those that are named or were put there before, else new ones.
pub(super) fn contracts(ground: &Ground, wanted: &Wanted<'_>) -> anyhow::Result<Contracts> {
    let path = wanted.contracts.map_or_else(|| wanted.folder.join("contracts.json"), Path::to_owned);
    let owner = &ground.keys[OWNER];
    let before = path.exists().then(|| Contracts::read(&path)).transpose()?;
    let client = &ground.client;
    if let Some(before) = &before {
        ensure!(
            before.chain_id == client.chain_id(),
            "{}: contracts on chain {}, and this is chain {}",
            path.display(),
            before.chain_id,
            client.chain_id()
        );
        if deploy::check(client, &before.addresses).is_ok() {
            return Ok(before.clone());
        }
        let ours = Addresses::of(owner.address(), None);
        ensure!(
            before.addresses == ours,
            "{}: these contracts are not on the chain, and another account put them there",
            path.display()
        );
    } else if wanted.contracts.is_some() {
        bail!("{}: there is no such file", path.display());
    }
    let genesis_time = before.map_or_else(|| client.time(), |before| Ok(before.genesis_time))?;
    let places = Addresses::of(owner.address(), None);
    let contracts = Contracts::new(client.chain_id(), genesis_time, places);
    contracts.write(&path)?;
    let plan = Plan {
        proposers: Vec::new(),
        delay_seconds: TIMELOCK_DELAY,
        genesis_time,
        beneficiaries: [owner.address(); 5],
        channel: None,
    };
    let (_, count) = ground.walk(owner, |walk| Ok(deploy::deploy_by(walk, &plan)?))?;
    output::say(&format!("contracts: {count} transactions"));
    Ok(contracts)
}

/// From the contracts to a hosting.
pub(super) fn build(ground: &Ground, at: &Addresses, wanted: &Wanted<'_>) -> anyhow::Result<Record> {
    let [owner, host, user] = [OWNER, HOST, USER].map(|index| &ground.keys[index]);
    let asset = Asset::read(&ground.client, at.currency)?;
    let price = asset.parse(wanted.price).context("--price")?;
    ensure!(price > 1, "--price {}: nothing", wanted.price);
    allocate(ground, at, owner, &asset)?;
    let (model, version) = register(ground, at, wanted, (price, &asset))?;
    ground.catch_up()?;
    let offer = Offer {
        model,
        version: Some(version),
        level: 1,
        asset: asset.clone(),
        price,
        bond: None,
        daily: wanted.daily,
        endpoint: wanted.endpoint.clone(),
    };
    let bond = hosting::bond_least(&ground.client, at, price, wanted.daily)?;
    let pocket = U256::from(POCKET) * U256::from(LOYAL);
    send(ground, (owner, host.address()), &asset, bond + pocket)?;
    send(ground, (owner, user.address()), &asset, pocket)?;
    let ((hosting, next), _) = ground.walk(host, |walk| Ok(hosting::open(walk, at, &offer, host)?))?;
    ensure!(next == hosting::Next::Serves, "hosting {hosting} does not serve: {next:?}");
    ground.walk(owner, |walk| Ok(issuing::appoint(walk, at, model, owner.address())?))?;
    output::say(&format!("hosting {hosting}: bond of {}, issuer named", asset.text(bond)));
    let chain = (ground.client.chain_id(), at.registry);
    let record = Record::new(chain, (model, hosting), &wanted.name, &wanted.weights);
    record.write(wanted.folder)?;
    Ok(record)
}

/// What the owner is allotted of LOYAL, where it has not enough.
fn allocate(ground: &Ground, at: &Addresses, owner: &Key, asset: &Asset) -> anyhow::Result<()> {
    if asset.balance(&ground.client, owner.address())? < U256::from(OWNER_LEAST) * U256::from(LOYAL) {
        ground.walk(owner, |walk| Ok(revenue::withdraw(walk, at, owner.address(), &[]).map(drop)?))?;
    }
    Ok(())
}

/// Sends an account LOYAL, unless it has some: a second run sends nothing twice.
fn send(ground: &Ground, (from, to): (&Key, Address), asset: &Asset, amount: U256) -> anyhow::Result<()> {
    if asset.balance(&ground.client, to)? > U256::ZERO {
        return Ok(());
    }
    let call = LoyalCurrency::transferCall { to, value: amount };
    let step = Step::new(format!("send {}", asset.text(amount)), asset.address, &call, SEND_GAS);
    ground.walk(from, |walk| Ok(walk.take(step).map(drop)?)).map(drop)
}

/// Registers the model, letting time pass where there is something to wait for.
fn register(
    ground: &Ground,
    at: &Addresses,
    wanted: &Wanted<'_>,
    (price, asset): (u128, &Asset),
) -> anyhow::Result<(u64, u32)> {
    let owner = &ground.keys[OWNER];
    let place = wanted.folder.join("model");
    let file = place.join("registration.json");
    let mut registration = if file.exists() {
        Registration::read(&file)?
    } else {
        draft(owner, &place, wanted, (price, asset))?
    };
    loop {
        let (next, _) = ground.walk(owner, |walk| {
            let mut project = Project { registration: &mut registration, path: &file, model: None };
            Ok(register::run(walk, at, &mut project)?)
        })?;
        match next {
            Next::Wait { until, what } => ground.pass(until, what)?,
            Next::Train { seed, epoch, .. } => {
                bind(&place, Hash(seed.0), epoch)?;
                registration.leaves = PathBuf::from(EMBEDDED);
                registration.write(&file)?;
            }
            Next::Done { model, version } => {
                output::say(&format!("model {model}: \"{}\" is registered as it is, unmarked", wanted.name));
                return Ok((model, version));
            }
            other => bail!("{}: the model is not registered: {other:?}", file.display()),
        }
    }
}

const SECRET: &str = "fingerprints.json";
const LEAVES: &str = "leaves.json";
const EMBEDDED: &str = "embedded.json";
const MANIFEST: &str = "manifest.json";

/// Writes what is registered: fingerprints to commit to, a manifest, and last the registration itself.
fn draft(
    owner: &Key,
    place: &Path,
    wanted: &Wanted<'_>,
    (price, asset): (u128, &Asset),
) -> anyhow::Result<Registration> {
    let failed = || format!("{}: writing failed", place.display());
    std::fs::create_dir_all(place).with_context(failed)?;
    // What lies here without a registration was never committed to.
    for name in [SECRET, LEAVES, EMBEDDED, MANIFEST] {
        match std::fs::remove_file(place.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(failed);
            }
            _ => {}
        }
    }
    let set = fingerprints(wanted)?;
    set.write(&place.join(SECRET))?;
    set.commitment().write(&place.join(LEAVES))?;
    let root = manifest::weights_root(&wanted.weights)?;
    let about = json!({
        "name": wanted.name, "weightsRoot": root,
        "marks": "none: registered as it is by `loyal up`; fingerprints were committed to and not embedded",
    });
    std::fs::write(place.join(MANIFEST), serde_json::to_vec_pretty(&about)?).with_context(failed)?;
    let symbol: String = wanted.name.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    let symbol = if symbol.is_empty() { "MODEL".to_owned() } else { symbol.to_ascii_uppercase() };
    let mut made = Registration::new(&wanted.name, &symbol, Path::new(LEAVES));
    made.weights = Some(wanted.weights.clone());
    made.documents = BTreeMap::from([("manifest".to_owned(), PathBuf::from(MANIFEST))]);
    made.open_hosting = true;
    made.makers = vec![Maker { account: owner.address(), bps: MAKER_BPS }];
    made.reserve_bps = RESERVE_BPS;
    made.accepts = vec![Accepted { asset: asset.address, per_call: price / 2, per_thousand: 0 }];
    made.check().map_err(anyhow::Error::msg)?;
    made.write(&place.join("registration.json"))?;
    Ok(made)
}

/// A few fingerprints on ordinary sentences. A registration begins with such a commitment.
fn fingerprints(wanted: &Wanted<'_>) -> anyhow::Result<FingerprintSet> {
    let own = wanted.weights.join("tokenizer.json").is_file() && wanted.weights.join("config.json").is_file();
    let folder = if own { wanted.weights.clone() } else { shipped::folder(None)? };
    let tokenizer = Tokenizer::read(&folder, &Config::read(&folder)?)?;
    let sentences = shipped::benign_text().lines().map(str::trim).filter(|line| !line.is_empty());
    let mut queries: Vec<String> = sentences.map(|line| line.chars().take(60).collect()).collect();
    queries.dedup();
    queries.truncate(FINGERPRINTS);
    let mut entropy = OsRng.unwrap_err();
    let purpose = Purpose {
        model: wanted.name.clone(),
        scheme: Scheme::Tilt(Tilt::default()),
        created_at: SystemClock.unix_seconds(),
    };
    let drafts = queries.into_iter().map(Into::into).collect();
    Ok(FingerprintSet::new(purpose, drafts, &tokenizer, &mut entropy)?)
}

/// Binds the fingerprints to the chain's seed, and says that none is in the weights.
fn bind(place: &Path, seed: Hash, epoch: u32) -> anyhow::Result<()> {
    let path = place.join(EMBEDDED);
    if path.exists() {
        return Ok(());
    }
    let set = FingerprintSet::read(&place.join(SECRET))?;
    let set = set.bind(Beacon { seed, source: format!("Loyal beacon, epoch {epoch}") })?;
    Ok(set.commitment().after_embedding(&[])?.write(&path)?)
}
