//! Two hosts of one model: one that keeps the rules, and one that took the gate away.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use alloy_primitives::{U256, keccak256};
use anyhow::{Context as _, Result, bail};
use loyal_access::Gate;
use loyal_access::books::Books;
use loyal_access::gate::{Price, Settings};
use loyal_access::issuer::{Issuer, Policy, Signers};
use loyal_access::redemption::Cycle;
use loyal_access::view::View;
use loyal_fingerprint::fingerprint::FingerprintSet;
use loyal_roles::host::gateway::{self, Source};
use loyal_roles::host::keeper::Keeper;
use loyal_roles::host::{self, Drain};
use loyal_roles::hosting::{self, Next, Offer};
use loyal_roles::owner::{issuing, ticketing};
use loyal_types::Clock;

use super::town::{DAY, LOYAL, Town};

/// What an invocation costs at most: 0.002 LOYAL.
pub const PRICE: u128 = LOYAL / 500;
/// What a host has at risk: 36 daily volumes of 10,000 invocations.
pub const BOND: u128 = 720 * LOYAL;
/// No call of the story lasts so long that a chain which is looked at once a day is out of date.
const SILENCE_MAX: Duration = Duration::from_secs(400 * DAY);

/// What answers in the story, on a thread of its own. It ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    /// Where it answers.
    pub url: String,
    drain: Drain,
    thread: Option<JoinHandle<loyal_roles::Result<()>>>,
}

impl Server {
    fn start(
        suffix: &str,
        serve: impl FnOnce(TcpListener, &Drain) -> loyal_roles::Result<()> + Send + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listening on the loopback")?;
        let url = format!("http://{}{suffix}", listener.local_addr()?);
        Self::serve(listener, url, serve)
    }

    fn serve(
        listener: TcpListener,
        url: String,
        serve: impl FnOnce(TcpListener, &Drain) -> loyal_roles::Result<()> + Send + 'static,
    ) -> Result<Self> {
        let drain = Drain::default();
        let watch = drain.clone();
        // One that ends by itself is noticed by whoever asks it: nobody answers there any more.
        let run = move || serve(listener, &watch);
        let thread = std::thread::Builder::new().name("server".to_owned()).spawn(run)?;
        Ok(Self { url, drain, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.drain.begin();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A host that keeps the rules.
#[derive(Debug)]
pub struct Honest {
    /// Its hosting.
    pub hosting: u64,
    /// Its affairs on the chain.
    pub keeper: Keeper,
    /// What answers; ended before the books are looked at.
    pub server: Server,
}

/// A host that serves the same model without a gate, and reports that nobody came.
#[derive(Debug)]
pub struct Cheat {
    /// Its hosting.
    pub hosting: u64,
    /// What answers.
    pub server: Server,
}

/// Opens a hosting for an address that is known already.
fn hosting_at(town: &Town, who: &str, model: u64, url: &str) -> Result<u64> {
    let offer = Offer {
        model,
        version: None,
        level: 1,
        asset: town.asset.clone(),
        price: PRICE,
        bond: Some(BOND),
        daily: 1,
        endpoint: url.to_owned(),
    };
    let key = town.key(who).clone();
    let (id, next) = town.act(who, |walk| Ok(hosting::open(walk, &town.at, &offer, &key)?))?;
    if next != Next::Serves {
        bail!("the hosting of {who} does not serve: {next:?}");
    }
    Ok(id)
}

/// Opens the honest hosting.
///
/// # Errors
/// The chain's; the system's.
pub fn honest(town: &Town, who: &str, model: u64, source: Source, issuer_url: &str) -> Result<Honest> {
    let listener = TcpListener::bind("127.0.0.1:0").context("listening on the loopback")?;
    let url = format!("http://{}/v1", listener.local_addr()?);
    let hosting = hosting_at(town, who, model, &url)?;
    let clock: Arc<dyn Clock + Send + Sync> = Arc::<super::town::DayClock>::clone(&town.clock);
    let view = View::open(Arc::clone(&town.client), town.at, hosting, (SILENCE_MAX, &*clock))?;
    let settings = Settings {
        price: Price::flat(PRICE),
        body_bytes_max: 1 << 20,
        unredeemed_max: 5 * LOYAL,
        withdraw_delay: DAY,
        issuer_url: Some(issuer_url.to_owned()),
        url: url.clone(),
    };
    let books = Books::open(&town.folder.join(format!("books-{who}")), hosting)?;
    let key = town.key(who).clone();
    let gate =
        Arc::new(Gate::open(view, books, (key.clone(), Some(key.clone())), settings, Arc::clone(&clock))?);
    let cycle = Cycle { every: Duration::from_secs(3_600), amount: 4 * LOYAL };
    let keeper = Keeper::new(Arc::clone(&gate), key, cycle);
    let server = Server::serve(listener, url, move |listener, drain| {
        gateway::run(listener, (gate, source), host::Settings::default(), clock, drain)
    })?;
    Ok(Honest { hosting, keeper, server })
}

/// Opens the other one: what answers stands there without a gate.
///
/// # Errors
/// The chain's; the system's.
pub fn cheat(town: &Town, who: &str, model: u64, source: Source) -> Result<Cheat> {
    let listener = TcpListener::bind("127.0.0.1:0").context("listening on the loopback")?;
    let url = format!("http://{}/v1", listener.local_addr()?);
    let hosting = hosting_at(town, who, model, &url)?;
    let clock: Arc<dyn Clock + Send + Sync> = Arc::<super::town::DayClock>::clone(&town.clock);
    let settings = host::Settings::default();
    let server = match source {
        Source::Model(model) => Server::serve(listener, url, move |listener, drain| {
            host::run(listener, *model, settings, clock, drain)
        })?,
        Source::Routes(routes) => Server::serve(listener, url, move |listener, drain| {
            host::serve(listener, routes, settings.drain_max, drain)
        })?,
        Source::Upstream(_) => bail!("the cheat of the story answers itself"),
    };
    Ok(Cheat { hosting, server })
}

/// Gives credentials of a model to whoever asks.
///
/// # Errors
/// The chain's; the system's.
pub fn issuer(town: &Town, owner: &str, model: u64, builder: &str, hosts: Vec<String>) -> Result<Server> {
    town.act(owner, |walk| Ok(issuing::appoint(walk, &town.at, model, town.address(owner))?))?;
    let issuer = Issuer {
        at: town.at,
        model: U256::from(model),
        policy: Policy {
            holders: Vec::new(),
            version: 0,
            hosting: 0,
            builder: town.address(builder),
            calls_max: 1_000,
            spend_max: 10 * LOYAL,
            lifetime: 30 * DAY,
            policy_hash: alloy_primitives::B256::ZERO,
        },
        signers: Signers { contract: None, keys: vec![town.key(owner).clone()] },
        chain_urls: Vec::new(),
        hosts,
    };
    let client = Arc::clone(&town.client);
    let seed = keccak256(town.address(owner)).0;
    Server::start("", move |listener, drain| issuing::run(listener, issuer, client, seed, drain))
}

/// Gives tickets to the provers that are drawn.
///
/// # Errors
/// The chain's; the system's.
pub fn desk(town: &Town, owner: &str, model: u64, set: Arc<FingerprintSet>) -> Result<Server> {
    let signer = town.key(owner).clone();
    town.act(owner, |walk| {
        ticketing::appoint(walk, &town.at, model, signer.address())?;
        Ok(ticketing::fund(walk, &town.at, model, 200 * LOYAL)?)
    })?;
    let seed = keccak256([town.address(owner).as_slice(), b"tickets"].concat()).0;
    let desk = ticketing::Desk::new((Arc::clone(&town.client), town.at), model, signer, set, seed);
    Server::start("", move |listener, drain| ticketing::run(listener, desk, drain))
}

/// A model as hosts serve it.
///
/// # Errors
/// The folder holds no model.
pub fn model(folder: &Path, name: &str) -> Result<Source> {
    let config = loyal_model::Config::read(folder)?;
    Ok(Source::Model(Box::new(host::Model {
        name: name.to_owned(),
        tokenizer: loyal_model::Tokenizer::read(folder, &config)?,
        template: loyal_model::template::ChatTemplate::read(folder)?,
        decoder: loyal_model::Decoder::open(folder, loyal_model::Precision::F32)?,
    })))
}
