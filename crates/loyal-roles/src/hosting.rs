//! The chain's side of a host: a hosting is opened, its bond kept up, its epochs reported, its end waited for.

mod delivery;

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::SolEvent as _;
use loyal_protocol::{Addresses, Asset, Client, Key, Step, Walk, contracts::*, message};

pub use delivery::{Copy, acknowledge, copy_of, prepare};

use crate::error::{Error, Result};

/// Parameters, as the contract numbers them.
const REPORT_DUE: u8 = 2;
const BOND_FACTOR: u8 = 5;
/// States of a hosting, as the Gate numbers them.
const STATES: [&str; 8] =
    ["unknown", "requested", "bonded", "delivered", "active", "paused", "exiting", "closed"];
const BONDED: u8 = 2;
const ACTIVE: u8 = 4;
const PAUSED: u8 = 5;
const EXITING: u8 = 6;
const CLOSED: u8 = 7;
/// Epochs of which reports are posted in one go.
const REPORTS_MAX: u32 = 1_000;

/// Gas that the steps use as a rule (`contracts/snapshots/GasTest.json`).
mod gas {
    pub(super) const OPEN: u64 = 420_000;
    pub(super) const DELIVER: u64 = 113_000;
    pub(super) const TOP_UP: u64 = 110_000;
    pub(super) const RESUME: u64 = 70_000;
    pub(super) const POST: u64 = 173_000;
    pub(super) const EXIT: u64 = 110_000;
    pub(super) const CLOSE: u64 = 110_000;
}

/// A hosting, for people.
#[derive(Debug, Clone)]
pub struct Hosting {
    /// Its id.
    pub id: u64,
    /// What it serves.
    pub model: u64,
    /// Which version.
    pub version: u32,
    /// Whose it is.
    pub host: Address,
    /// Who signs for it now.
    pub signer: Address,
    /// Where it stands.
    pub state: &'static str,
    /// What it is paid in.
    pub asset: Asset,
    /// The most it asks for an invocation.
    pub price: u128,
    /// What it has at risk.
    pub bond: u128,
    /// The most that it may charge in a day: its bond, divided by the bond factor.
    pub daily_max: u128,
    /// What it must have at risk before it may serve again.
    pub bond_required: u128,
    /// Convictions so far.
    pub convictions: u16,
    /// All that it ever reported.
    pub reported: u128,
    /// All that was ever collected.
    pub collected: u128,
    /// The first epoch without a report.
    pub next_epoch: u32,
    /// When its exit is over, in unix seconds.
    pub exits_at: u64,
}

/// What a host offers.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The model.
    pub model: u64,
    /// Its version; the active one where none is named.
    pub version: Option<u32>,
    /// What refuses an unnoticed use: nothing (0), our software (1), an attested image (2).
    pub level: u8,
    /// The asset.
    pub asset: Asset,
    /// The most an invocation costs, in base units.
    pub price: u128,
    /// The bond, in base units; the least that the price needs where none is named.
    pub bond: Option<u128>,
    /// Invocations at the full price that the bond carries in a day, where no bond is named: at least one.
    pub daily: u64,
    /// Where it answers.
    pub endpoint: String,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The hosting serves.
    Serves,
    /// The model's owner names the copy that it makes for this host; until then the host waits.
    Copy,
    /// Its exit takes until then; the report of the last epoch is due before.
    Exits {
        /// When the exit is over, in unix seconds.
        until: u64,
        /// From when to when the last epoch is reported without a fine, in unix seconds; none where it is reported.
        report: Option<(u64, u64)>,
    },
    /// It has ended.
    Ended,
    /// Nothing more can be rehearsed.
    Rehearsed,
}

/// Opens a hosting, or goes on with one that was begun. `signer` signs the delivery and, later, receipts and reports.
///
/// # Errors
/// The chain's; a price or bond that the contract would refuse, said before anything is paid.
pub fn open(walk: &mut Walk<'_>, at: &Addresses, offer: &Offer, signer: &Key) -> Result<(u64, Next)> {
    let client = walk.client;
    let (model, version) = served(client, at, offer)?;
    if let Some((id, state)) = begun(client, at, walk.account(), (model, version))? {
        let next =
            if state == BONDED { deliver(walk, at, (id, model, version), signer)? } else { Next::Serves };
        return Ok((id, next));
    }
    let bond = checked_bond(client, at, model, offer)?;
    let asset = &offer.asset;
    let approval = Step::approval(client, asset, walk.account(), (at.gate, "gate"), U256::from(bond))?;
    walk.take_if(approval)?;
    let opening = Gate::Opening {
        modelId: U256::from(model),
        version,
        level: offer.level,
        signer: signer.address(),
        asset: asset.address,
        price: offer.price,
        endpointHash: keccak256(offer.endpoint.trim_end_matches('/')),
        bond,
    };
    let says = format!(
        "open a hosting of model {model} (version {version}) at {} an invocation, with a bond of {}",
        asset.text(U256::from(offer.price)),
        asset.text(U256::from(bond))
    );
    let mined = walk.take(Step::new(says, at.gate, &Gate::openCall { opening }, gas::OPEN))?;
    let id = match mined {
        Some(mined) => mined.event::<Gate::HostingOpened>().map(|event| event.hostingId),
        None => Some(client.call(at.gate, &Gate::hostingCountCall {})? + U256::from(1)),
    };
    let id = id.ok_or_else(|| Error::refused("the gate opened no hosting"))?.saturating_to();
    Ok((id, deliver(walk, at, (id, model, version), signer)?))
}

/// The least bond that carries so many invocations at a price in a day: at least one.
///
/// # Errors
/// The chain's.
pub fn bond_least(client: &Client, at: &Addresses, price: u128, daily: u64) -> Result<U256> {
    let factor = client.call(at.parameters, &Parameters::getCall { parameter: BOND_FACTOR })?;
    Ok(U256::from(price).saturating_mul(factor).saturating_mul(U256::from(daily.max(1))))
}

/// The version asked for, which must be one that is served.
fn served(client: &Client, at: &Addresses, offer: &Offer) -> Result<(u64, u32)> {
    let id = U256::from(offer.model);
    let entry = client.call(at.registry, &Registry::modelOfCall { modelId: id })?;
    if entry.versionCount == 0 {
        return Err(Error::refused(format!("there is no model {}", offer.model)));
    }
    let version = offer.version.unwrap_or(if entry.activeVersion == 0 { 1 } else { entry.activeVersion });
    if !client.call(at.registry, &Registry::isServeableCall { modelId: id, version })? {
        return Err(Error::refused(format!(
            "version {version} of model {} is not served now; `loyal model show {}` tells which is",
            offer.model, offer.model
        )));
    }
    Ok((offer.model, version))
}

/// A hosting of this host and version that has not ended.
fn begun(client: &Client, at: &Addresses, host: Address, of: (u64, u32)) -> Result<Option<(u64, u8)>> {
    let topics = [
        Some(Gate::HostingOpened::SIGNATURE_HASH),
        None,
        Some(B256::from(U256::from(of.0))),
        Some(host.into_word()),
    ];
    for event in client.find(at.gate, &topics)?.iter().rev() {
        let Some(opened) = event.decode::<Gate::HostingOpened>() else { continue };
        let hosting = client.call(at.gate, &Gate::hostingOfCall { hostingId: opened.hostingId })?;
        if hosting.version == of.1 && matches!(hosting.state, BONDED | ACTIVE | PAUSED) {
            return Ok(Some((opened.hostingId.saturating_to(), hosting.state)));
        }
    }
    Ok(None)
}

fn checked_bond(client: &Client, at: &Addresses, model: u64, offer: &Offer) -> Result<u128> {
    let asset = &offer.asset;
    let call = Registry::floorOfCall { modelId: U256::from(model), asset: asset.address };
    let floor = client.call(at.registry, &call)?;
    if !floor.accepted {
        return Err(Error::refused(format!("model {model} is not paid in {}", asset.symbol)));
    }
    if offer.price < floor.perCall {
        return Err(Error::refused(format!(
            "model {model} asks at least {} an invocation, not {}",
            asset.text(U256::from(floor.perCall)),
            asset.text(U256::from(offer.price))
        )));
    }
    let factor = client.call(at.parameters, &Parameters::getCall { parameter: BOND_FACTOR })?;
    let least = U256::from(offer.price).saturating_mul(factor);
    let bond = offer.bond.map_or(least.saturating_mul(U256::from(offer.daily.max(1))), U256::from);
    if bond < least || bond.is_zero() {
        return Err(Error::refused(format!(
            "a bond of {} does not carry a price of {}: it takes {factor} times as much, {}",
            asset.text(bond),
            asset.text(U256::from(offer.price)),
            asset.text(least)
        )));
    }
    u128::try_from(bond).map_err(|_| Error::refused("a bond cannot be that large"))
}

/// The signer acknowledges its copy, where there is one to acknowledge.
fn deliver(walk: &mut Walk<'_>, at: &Addresses, of: (u64, u64, u32), signer: &Key) -> Result<Next> {
    let (id, model, version) = of;
    let client = walk.client;
    let prepared = client.call(at.gate, &Gate::copyOfCall { hostingId: U256::from(id) })?;
    let (copy_root, subset_root) = if prepared.copyRoot == B256::ZERO {
        let open =
            client.call(at.registry, &Registry::modelOfCall { modelId: U256::from(model) })?.openHosting;
        if !open {
            return Ok(Next::Copy);
        }
        let call = Registry::versionOfCall { modelId: U256::from(model), version };
        (client.call(at.registry, &call)?.terms.weightsRoot, B256::ZERO)
    } else {
        (prepared.copyRoot, prepared.subsetRoot)
    };
    let signed = message::Delivery {
        hostingId: U256::from(id),
        version,
        copyRoot: copy_root,
        subsetRoot: subset_root,
        build: B256::ZERO,
        deliveredAt: client.time()?,
    };
    let signature = signer.sign_message(&signed, &message::domain(client.chain_id(), at.registry));
    let delivery = Gate::Delivery {
        hostingId: signed.hostingId,
        version,
        copyRoot: copy_root,
        subsetRoot: subset_root,
        build: B256::ZERO,
        deliveredAt: signed.deliveredAt,
    };
    let call = Gate::deliverCall { delivery, signature };
    walk.take(Step::new(format!("acknowledge the copy of hosting {id}"), at.gate, &call, gas::DELIVER))?;
    Ok(if walk.is_rehearsal() { Next::Rehearsed } else { Next::Serves })
}

/// Raises a hosting's bond to an amount, or to what it must be; where it was paused, it serves again.
/// Run twice, it pays once.
///
/// # Errors
/// The chain's; a bond that is there already is none.
pub fn top_up(walk: &mut Walk<'_>, at: &Addresses, id: u64, to: Option<u128>) -> Result<Next> {
    let client = walk.client;
    let hosting = Hosting::read(client, at, id)?;
    let factor = client.call(at.parameters, &Parameters::getCall { parameter: BOND_FACTOR })?;
    let least = U256::from(hosting.price).saturating_mul(factor).max(U256::from(hosting.bond_required));
    let wanted = to.map_or(least, U256::from);
    let more = wanted.saturating_sub(U256::from(hosting.bond));
    if more > U256::ZERO {
        let approval = Step::approval(client, &hosting.asset, walk.account(), (at.gate, "gate"), more)?;
        walk.take_if(approval)?;
        let amount = u128::try_from(more).map_err(|_| Error::refused("a bond cannot be that large"))?;
        let call = Gate::topUpCall { hostingId: U256::from(id), amount };
        let says = format!(
            "raise the bond of hosting {id} by {} to {}",
            hosting.asset.text(more),
            hosting.asset.text(wanted)
        );
        walk.take(Step::new(says, at.gate, &call, gas::TOP_UP))?;
    }
    if hosting.state == "paused"
        && wanted.max(U256::from(hosting.bond)) >= least
        && hosting.host == walk.account()
    {
        let call = Gate::resumeCall { hostingId: U256::from(id) };
        walk.take(Step::new(format!("serve again with hosting {id}"), at.gate, &call, gas::RESUME))?;
    }
    Ok(if walk.is_rehearsal() { Next::Rehearsed } else { Next::Serves })
}

/// Posts the report of an epoch, signed by the hosting's signer.
///
/// # Errors
/// The chain's; the signer is not the hosting's.
pub fn post(walk: &mut Walk<'_>, at: &Addresses, report: &message::UsageReport, signer: &Key) -> Result<()> {
    let client = walk.client;
    let id: u64 = report.hostingId.saturating_to();
    let hosting = Hosting::read(client, at, id)?;
    if hosting.signer != signer.address() {
        return Err(Error::refused(format!(
            "{} signs for hosting {id}, not {}",
            hosting.signer,
            signer.address()
        )));
    }
    let posted =
        client.call(at.gate, &Gate::reportOfCall { hostingId: report.hostingId, epoch: report.epoch })?;
    if posted.postedAt != 0 {
        let same = posted.count == report.count && posted.amount == report.amount;
        return if same {
            Ok(())
        } else {
            Err(Error::refused(format!("hosting {id} has reported another epoch {} already", report.epoch)))
        };
    }
    let signature = signer.sign_message(report, &message::domain(client.chain_id(), at.registry));
    let says = format!(
        "report epoch {} of hosting {id}: {} invocations, {}",
        report.epoch,
        report.count,
        hosting.asset.text(U256::from(report.amount))
    );
    let report = Gate::UsageReport {
        hostingId: report.hostingId,
        epoch: report.epoch,
        count: report.count,
        amount: report.amount,
        tokens: report.tokens,
        top: report.top,
    };
    walk.take(Step::new(says, at.gate, &Gate::postCall { report, signature }, gas::POST))?;
    Ok(())
}

/// Epochs that are over, were served and have no report.
///
/// # Errors
/// The chain's.
pub fn due(client: &Client, at: &Addresses, id: u64) -> Result<Vec<u32>> {
    let hosting = client.call(at.gate, &Gate::hostingOfCall { hostingId: U256::from(id) })?;
    if !matches!(hosting.state, ACTIVE | PAUSED | EXITING) {
        return Ok(Vec::new());
    }
    let time = U256::from(client.time()?);
    let current = client.call(at.parameters, &Parameters::epochAtCall { time })?;
    let until = current.min(hosting.servedUntil.saturating_add(1));
    let all = hosting.nextEpoch..until;
    let mut found = Vec::new();
    for epoch in all.take(REPORTS_MAX as usize) {
        let call = Gate::reportOfCall { hostingId: U256::from(id), epoch };
        if client.call(at.gate, &call)?.postedAt == 0 {
            found.push(epoch);
        }
    }
    Ok(found)
}

/// The report of an epoch in which nobody invoked anything.
#[must_use]
pub fn empty_report(id: u64, epoch: u32) -> message::UsageReport {
    message::UsageReport { hostingId: U256::from(id), epoch, count: 0, amount: 0, tokens: 0, top: B256::ZERO }
}

/// Ends a hosting, and sends its bond once its exit is over.
///
/// # Errors
/// The chain's; reports that are missing.
pub fn exit(walk: &mut Walk<'_>, at: &Addresses, id: u64) -> Result<Next> {
    let client = walk.client;
    let hosting = client.call(at.gate, &Gate::hostingOfCall { hostingId: U256::from(id) })?;
    if hosting.state == CLOSED {
        return Ok(Next::Ended);
    }
    if hosting.state != EXITING {
        check_reported(client, at, id)?;
        let call = Gate::exitCall { hostingId: U256::from(id) };
        walk.take(Step::new(
            format!("end hosting {id}; its bond begins to thaw"),
            at.gate,
            &call,
            gas::EXIT,
        ))?;
        if walk.is_rehearsal() {
            return Ok(Next::Rehearsed);
        }
        let hosting = client.call(at.gate, &Gate::hostingOfCall { hostingId: U256::from(id) })?;
        return exits(client, at, &hosting);
    }
    if client.time()? < hosting.exitsAt {
        return exits(client, at, &hosting);
    }
    check_reported(client, at, id)?;
    let call = Gate::closeCall { hostingId: U256::from(id) };
    walk.take(Step::new(format!("close hosting {id} and take its bond back"), at.gate, &call, gas::CLOSE))?;
    Ok(if walk.is_rehearsal() { Next::Rehearsed } else { Next::Ended })
}

fn check_reported(client: &Client, at: &Addresses, id: u64) -> Result<()> {
    let due = due(client, at, id)?;
    let (Some(first), Some(last)) = (due.first(), due.last()) else { return Ok(()) };
    let epochs = if first == last { format!("epoch {first}") } else { format!("epochs {first} to {last}") };
    Err(Error::refused(format!("hosting {id} has not reported {epochs}: `loyal host post {id}` first")))
}

fn exits(client: &Client, at: &Addresses, hosting: &Gate::Hosting) -> Result<Next> {
    let until = hosting.exitsAt;
    if hosting.nextEpoch > hosting.servedUntil {
        return Ok(Next::Exits { until, report: None });
    }
    let call = Parameters::epochStartCall { epoch: hosting.servedUntil + 1 };
    let ends = client.call(at.parameters, &call)?;
    let due = client.call(at.parameters, &Parameters::getCall { parameter: REPORT_DUE })?;
    Ok(Next::Exits { until, report: Some((ends, ends.saturating_add(due.saturating_to()))) })
}

/// The hostings of a model, oldest first.
///
/// # Errors
/// The chain's.
pub fn of_model(client: &Client, at: &Addresses, model: u64) -> Result<Vec<Hosting>> {
    let topics = [Some(Gate::HostingOpened::SIGNATURE_HASH), None, Some(B256::from(U256::from(model)))];
    let opened = client.find(at.gate, &topics)?;
    let ids = opened.iter().filter_map(|event| Some(event.decode::<Gate::HostingOpened>()?.hostingId));
    ids.map(|id| Hosting::read(client, at, id.saturating_to())).collect()
}

impl Hosting {
    /// Reads a hosting from the chain.
    ///
    /// # Errors
    /// The chain's; there is no such hosting.
    pub fn read(client: &Client, at: &Addresses, id: u64) -> Result<Self> {
        let hosting_id = U256::from(id);
        let found = client.call(at.gate, &Gate::hostingOfCall { hostingId: hosting_id })?;
        if found.host == Address::ZERO {
            let count = client.call(at.gate, &Gate::hostingCountCall {})?;
            return Err(Error::refused(format!("there is no hosting {id}: the chain has {count}")));
        }
        let bond = client.call(at.gate, &Gate::bondOfCall { hostingId: hosting_id })?;
        let factor = client.call(at.parameters, &Parameters::getCall { parameter: BOND_FACTOR })?;
        let time = alloy_primitives::aliases::U48::from(client.time()?);
        Ok(Self {
            id,
            model: found.modelId.saturating_to(),
            version: found.version,
            host: found.host,
            signer: client.call(at.gate, &Gate::signerAtCall { hostingId: hosting_id, time })?,
            state: STATES.get(usize::from(found.state)).copied().unwrap_or("unknown"),
            asset: Asset::read(client, found.asset)?,
            price: found.price,
            bond,
            daily_max: bond / factor.saturating_to::<u128>().max(1),
            bond_required: found.bondRequired,
            convictions: found.convictions,
            reported: found.reported,
            collected: client.call(at.router, &RevenueRouter::collectedOfCall { hostingId: hosting_id })?,
            next_epoch: found.nextEpoch,
            exits_at: found.exitsAt,
        })
    }
}
