//! All that `loyal up` runs at once: the host behind its gate, the keeper, the issuer, the status page, the chain.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{B256, U256};
use anyhow::Context as _;
use loyal_access::Gate;
use loyal_access::books::Books;
use loyal_access::gate::{Price, Settings};
use loyal_access::issuer::{Issuer, Policy, Signers};
use loyal_access::redemption::Cycle;
use loyal_access::view::View;
use loyal_protocol::{Addresses, Asset};
use loyal_roles::host::gateway::{self, Source, Upstream};
use loyal_roles::host::keeper::{self, Keeper};
use loyal_roles::host::status::{self, Hint, Party, Status};
use loyal_roles::host::{Drain, Settings as Engine};
use loyal_roles::owner::{Page, issuing};
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use serde_json::json;

use super::ground::Ground;
use super::hints::{self, Places};
use super::record::Record;
use super::{Args, Doors, HOST, OWNER, USER};
use crate::clock::SystemClock;
use crate::{host, output, site};

/// A chain that has been silent for longer admits nobody.
const SILENCE_MAX: Duration = Duration::from_secs(45);
const WITHDRAW_DELAY: u64 = 86_400;
const BODY_BYTES_MAX: usize = 1 << 20;
/// What a credential allows: so many invocations, so much LOYAL, for so long.
const CALLS_MAX: u32 = 100_000;
const SPEND_MAX: &str = "1000";
const LIFETIME: u64 = 30 * 86_400;
/// What a channel may owe, in LOYAL.
const OWED_MAX: &str = "5";

/// Where everything answers.
struct Addressed {
    rpc: String,
    host: String,
    issuer: String,
    status: String,
}

impl Addressed {
    fn of(args: &Args, doors: &Doors) -> anyhow::Result<Self> {
        let own = doors.rpc.as_ref().map(|listener| listener.local_addr()).transpose()?;
        let own = own.map(|address| format!("http://{address}"));
        Ok(Self {
            rpc: args.chain.clone().or(own).context("there is no chain")?,
            host: format!("http://{}/v1", doors.host.local_addr()?),
            issuer: format!("http://{}", doors.issuer.local_addr()?),
            status: format!("http://{}/", doors.status.local_addr()?),
        })
    }
}

/// Serves until Ctrl-C.
pub(super) fn run(
    args: &Args,
    doors: Doors,
    (ground, at): (&Ground, &Addresses),
    record: &Record,
) -> anyhow::Result<()> {
    let addressed = Addressed::of(args, &doors)?;
    let gate = gate(args, (ground, at), record, &addressed)?;
    let source = source(args, record)?;
    let desk = desk((ground, at), record, &addressed)?;
    let hints = hints::of(&Places {
        folder: &args.folder,
        chain: args.chain.as_deref(),
        issuer: &addressed.issuer,
        user: USER,
        owner: OWNER,
    });
    let parties = parties(ground, at, record)?;
    let board = Status { gate: Arc::clone(&gate), parties, hints: hints.clone(), nonce: rand::random() };
    let (clock, own) = (Arc::new(SystemClock), &ground.keys[HOST]);
    let owed_max = gate.settings().unredeemed_max;
    let cycle = Cycle { every: Duration::from_secs(args.redeem_every * 60), amount: owed_max / 5 * 4 };
    let keeper = Keeper::new(Arc::clone(&gate), own.clone(), cycle);
    // The chain serves longest: what ends before it has something to say to it.
    let last = Drain::default();
    let drains = [host::drained(), host::drained(), host::drained()];
    let [drain, aside, beside] = &drains;
    let chain = ground.serve(doors.rpc, &args.folder, &last)?;
    let served = std::thread::scope(|scope| {
        let (json, client) = (args.json, Arc::clone(&ground.client));
        let keeping =
            scope.spawn(move || keeper::run(keeper, &SystemClock, drain, &mut |turn| site::tell(turn, json)));
        let issuing = scope.spawn(move || issuing::run(doors.issuer, desk, client, rand::random(), aside));
        let ticking = clock.clone();
        let showing = scope.spawn(move || status::run(doors.status, board, ticking, beside));
        let served = announce(args, &addressed, (ground, &gate), (record, &hints)).and_then(|()| {
            let engine = Engine { seed: OsRng.try_next_u64()?, ..Engine::default() };
            Ok(gateway::run(doors.host, (Arc::clone(&gate), source), engine, clock, drain)?)
        });
        // Whatever ended the serving, what is owed is redeemed, and the others end with it.
        drains.iter().for_each(Drain::begin);
        let _ = keeping.join();
        let ended = [issuing.join(), showing.join()];
        served?;
        ended.into_iter().flatten().try_for_each(|ended| Ok(ended?))
    });
    last.begin();
    let ended = chain.and_then(|chain| chain.join().ok()).unwrap_or(Ok(()));
    served.and(ended)
}

/// The gate of the hosting, with its books.
fn gate(
    args: &Args,
    (ground, at): (&Ground, &Addresses),
    record: &Record,
    addressed: &Addressed,
) -> anyhow::Result<Arc<Gate>> {
    let (clock, own) = (Arc::new(SystemClock), &ground.keys[HOST]);
    let view = View::open(Arc::clone(&ground.client), *at, record.hosting, (SILENCE_MAX, &*clock))?;
    let asset = Asset::read(&ground.client, view.hosting().asset)?;
    let settings = Settings {
        price: Price::flat(view.hosting().price),
        body_bytes_max: BODY_BYTES_MAX,
        unredeemed_max: asset.parse(OWED_MAX)?,
        withdraw_delay: WITHDRAW_DELAY,
        issuer_url: Some(addressed.issuer.clone()),
        url: addressed.host.clone(),
    };
    let books = Books::open(&args.folder.join(format!("hosting-{}", record.hosting)), record.hosting)?;
    Ok(Arc::new(Gate::open(view, books, (own.clone(), Some(own.clone())), settings, clock)?))
}

fn source(args: &Args, record: &Record) -> anyhow::Result<Source> {
    let Some(url) = &args.upstream else {
        let folder = args.model.as_deref().unwrap_or(&record.weights);
        return Ok(Source::Model(Box::new(host::model(Some(folder), Some(&record.name), args.precision)?)));
    };
    let key = args
        .upstream_key_file
        .as_ref()
        .map(|path| std::fs::read_to_string(path).with_context(|| path.display().to_string()));
    Ok(Source::Upstream(Upstream::new(url, key.transpose()?.as_deref())?.with_model(args.name.clone())))
}

/// Who gives credentials, to whoever asks on this machine.
fn desk(
    (ground, at): (&Ground, &Addresses),
    record: &Record,
    addressed: &Addressed,
) -> anyhow::Result<Issuer> {
    let loyal = Asset::read(&ground.client, at.currency)?;
    let policy = Policy {
        holders: Vec::new(),
        version: 0,
        hosting: 0,
        builder: alloy_primitives::Address::ZERO,
        calls_max: CALLS_MAX,
        spend_max: loyal.parse(SPEND_MAX)?,
        lifetime: LIFETIME,
        policy_hash: B256::ZERO,
    };
    Ok(Issuer {
        at: *at,
        model: U256::from(record.model),
        policy,
        signers: Signers { contract: None, keys: vec![ground.keys[OWNER].clone()] },
        chain_urls: vec![addressed.rpc.clone()],
        hosts: vec![addressed.host.clone()],
    })
}

/// Whom invocations pay.
fn parties(ground: &Ground, at: &Addresses, record: &Record) -> anyhow::Result<Vec<Party>> {
    let page = Page::read(&ground.client, at, record.model)?;
    let party = |name: &str, account| Party { name: name.to_owned(), account };
    Ok(vec![
        party("owner", ground.keys[OWNER].address()),
        party("host", ground.keys[HOST].address()),
        party("the model's reserve", page.treasury),
        party("the protocol", at.timelock),
    ])
}

/// Says where everything is, and what can be typed next.
fn announce(
    args: &Args,
    addressed: &Addressed,
    (ground, gate): (&Ground, &Gate),
    (record, hints): (&Record, &[Hint]),
) -> anyhow::Result<()> {
    let account = |index: usize| ground.keys[index].address().to_string();
    if args.json {
        return output::json(&json!({
            "chain": addressed.rpc, "host": addressed.host, "issuer": addressed.issuer, "status": addressed.status,
            "model": record.model, "hosting": record.hosting, "folder": args.folder, "owner": account(OWNER),
            "user": account(USER),
        }));
    }
    let hosting = gate.view().hosting();
    let price = Asset::read(&ground.client, hosting.asset)?.text(U256::from(hosting.price));
    output::pairs(&[
        ("chain", addressed.rpc.clone()),
        ("model", format!("{}  {}", record.model, record.name)),
        ("hosting", format!("{}  {}, {price} an invocation at most", hosting.id, hosting.level)),
        ("host", addressed.host.clone()),
        ("credentials", addressed.issuer.clone()),
        ("status page", addressed.status.clone()),
    ])?;
    output::line("\nin another terminal:")?;
    for hint in hints {
        output::line(&format!("  # {}\n  {}", hint.what, hint.text))?;
    }
    output::say("Ctrl-C ends");
    Ok(())
}
