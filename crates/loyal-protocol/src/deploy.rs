//! All contracts on a chain, by one routine: their places follow from the deploying account alone.
//!
//! A routine that was interrupted is run again: it leaves what is there and does what is missing.

use alloy_primitives::{Address, B256, Bytes, U256, b256, keccak256};
use alloy_sol_types::{SolConstructor as _, SolValue as _};
use serde::{Deserialize, Serialize};

use crate::{
    Client, Failure, Key, Outcome, Step, Walk,
    contracts::{self, *},
    devnet::CREATE2_FACTORY,
};

/// Hash of the code of the small contract that CREATE3 deploys through (OpenZeppelin's `Create3`).
const PROXY_HASH: B256 = b256!("57a34f6e879358dd76825d6700df87013ad6a3fb43c0d0c602f70a8772c153bd");

/// What the account that deploys decides.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Who may propose to the timelock beside the governor; nobody, where the governor shall be alone.
    pub proposers: Vec<Address>,
    /// The timelock's delay in seconds; at least one.
    pub delay_seconds: u64,
    /// When epoch 0 begins, in unix seconds; not after now.
    pub genesis_time: u64,
    /// Who receives the five allocations of LOYAL: initiatives, ecosystem, public, team, investors.
    pub beneficiaries: [Address; 5],
    /// An escrow of the x402 standard that is on the chain already, to be used instead of a new one.
    pub channel: Option<Address>,
}

/// Where every contract is. They know each other's places before they exist; that of the ledger of contributions is kept free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "each field is the contract of its name, documented in contracts/src")]
pub struct Addresses {
    pub launcher: Address,
    pub timelock: Address,
    pub parameters: Address,
    pub currency: Address,
    pub vesting: Address,
    pub vault: Address,
    pub beacon: Address,
    pub registry: Address,
    pub credentials: Address,
    pub shares_code: Address,
    pub treasury_code: Address,
    pub factory: Address,
    pub channel: Address,
    pub authorization_collector: Address,
    pub approval_collector: Address,
    pub gate: Address,
    pub router: Address,
    pub admission: Address,
    pub court: Address,
    pub jury: Address,
    pub colour_matcher: Address,
    pub verbatim_matcher: Address,
    pub probe_reader: Address,
    pub probe_board: Address,
    pub omission_examiner: Address,
    pub overcharge_examiner: Address,
    pub equivocation_examiner: Address,
    pub authorisation_examiner: Address,
    pub usage_examiner: Address,
    pub leak_examiner: Address,
    pub ownership_examiner: Address,
    pub governor: Address,
    pub model_governor_code: Address,
    pub model_timelock_code: Address,
    pub governor_factory: Address,
    pub ledger: Address,
}

impl Addresses {
    /// Where `account` deploys, or will. `channel` is an escrow that is there already.
    #[must_use]
    pub fn of(account: Address, channel: Option<Address>) -> Self {
        let launcher = CREATE2_FACTORY.create2(B256::ZERO, keccak256(code("Launcher")));
        let at = |name: &str| {
            let salt = keccak256((account, label(name)).abi_encode());
            launcher.create2(salt, PROXY_HASH).create(1)
        };
        Self {
            launcher,
            timelock: at("ProtocolTimelock"),
            parameters: at("Parameters"),
            currency: at("LoyalCurrency"),
            vesting: at("GenesisVesting"),
            vault: at("StakeVault"),
            beacon: at("Beacon"),
            registry: at("Registry"),
            credentials: at("CredentialRegistry"),
            shares_code: at("ModelShares"),
            treasury_code: at("ModelTreasury"),
            factory: at("ModelFactory"),
            channel: channel.unwrap_or_else(|| at("InvocationChannel")),
            authorization_collector: at("AuthorizationCollector"),
            approval_collector: at("ApprovalCollector"),
            gate: at("Gate"),
            router: at("RevenueRouter"),
            admission: at("Admission"),
            court: at("DisputeCourt"),
            jury: at("Jury"),
            colour_matcher: at("ColourMatcher"),
            verbatim_matcher: at("VerbatimMatcher"),
            probe_reader: at("ProbeReader"),
            probe_board: at("ProbeBoard"),
            omission_examiner: at("OmissionExaminer"),
            overcharge_examiner: at("OverchargeExaminer"),
            equivocation_examiner: at("EquivocationExaminer"),
            authorisation_examiner: at("AuthorisationExaminer"),
            usage_examiner: at("UsageExaminer"),
            leak_examiner: at("LeakExaminer"),
            ownership_examiner: at("OwnershipExaminer"),
            governor: at("LoyalGovernor"),
            model_governor_code: at("ModelGovernor"),
            model_timelock_code: at("ModelTimelock"),
            governor_factory: at("GovernorFactory"),
            ledger: at("ContributionLedger"),
        }
    }
}

/// Deploys what is missing, checks that the contracts know each other, and says where they are.
///
/// # Errors
/// The chain's, and [`Failure::NoContract`] where something else is in a contract's place.
pub fn deploy(client: &Client, key: &Key, plan: &Plan) -> Outcome<Addresses> {
    deploy_by(&mut Walk::begin(client, key, false, &mut |_| ())?, plan)
}

/// As [`deploy()`], step by step; a rehearsal leaves the chain as it is.
///
/// # Errors
/// As [`deploy()`].
pub fn deploy_by(walk: &mut Walk<'_>, plan: &Plan) -> Outcome<Addresses> {
    let client = walk.client;
    let places = Addresses::of(walk.account(), plan.channel);
    if client.code(CREATE2_FACTORY)?.is_empty() {
        let why =
            "this chain lacks the deterministic deployment contract; send its well-known transaction first";
        return Err(missing("CREATE2 factory", CREATE2_FACTORY, why));
    }
    if client.code(places.launcher)?.is_empty() {
        let data = [B256::ZERO.as_slice(), &code("Launcher")].concat();
        let says = "deploy Launcher, which puts contracts where their names say".to_owned();
        let gas_usual = gas_of(data.len());
        walk.take(Step { says, to: CREATE2_FACTORY, data: data.into(), gas_usual })?;
    }
    let mut site = Site { walk, launcher: places.launcher };
    policy(&mut site, &places, plan)?;
    models(&mut site, &places)?;
    payments(&mut site, &places, plan)?;
    probes(&mut site, &places)?;
    court(&mut site, &places)?;
    governors(&mut site, &places)?;
    if !walk.is_rehearsal() {
        check(client, &places)?;
    }
    Ok(places)
}

/// What it costs as a rule to deploy so many bytes: as calldata, as code, and the two contracts between.
const fn gas_of(bytes: usize) -> u64 {
    150_000 + 220 * bytes as u64
}

/// Checks that contracts are where they should be, and are those of one deployment.
///
/// # Errors
/// [`Failure::NoContract`], and the chain's.
pub fn check(client: &Client, places: &Addresses) -> Outcome<()> {
    for (name, address) in [
        ("Registry", places.registry),
        ("Gate", places.gate),
        ("RevenueRouter", places.router),
        ("InvocationChannel", places.channel),
        ("ModelFactory", places.factory),
        ("StakeVault", places.vault),
        ("DisputeCourt", places.court),
        ("LoyalGovernor", places.governor),
    ] {
        if client.code(address)?.is_empty() {
            return Err(missing(name, address, "there is no code; deploy first, or give the right address"));
        }
    }
    let factory = client.call(places.registry, &Registry::factoryCall {})?;
    let gate = client.call(places.router, &RevenueRouter::gateCall {})?;
    let router = client.call(places.gate, &Gate::routerCall {})?;
    let channel = client.call(places.admission, &Admission::channelCall {})?;
    let board = client.call(places.court, &DisputeCourt::boardCall {})?;
    let timelock = client.call(places.governor, &LoyalGovernor::timelockCall {})?;
    for (name, found, wanted) in [
        ("ModelFactory", factory, places.factory),
        ("Gate", gate, places.gate),
        ("RevenueRouter", router, places.router),
        ("InvocationChannel", channel, places.channel),
        ("ProbeBoard", board, places.probe_board),
        ("ProtocolTimelock", timelock, places.timelock),
    ] {
        if found != wanted {
            return Err(missing(name, wanted, format!("the others of this deployment know {found}")));
        }
    }
    Ok(())
}

fn missing(name: &'static str, address: Address, why: impl Into<String>) -> Failure {
    Failure::NoContract { name, address, why: why.into() }
}

/// A name as `bytes32`.
fn label(name: &str) -> B256 {
    let mut bytes = [0; 32];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes.into()
}

fn code(name: &str) -> Bytes {
    contracts::code_of(name).expect("every contract that is deployed has an artifact")
}

struct Site<'w, 'a> {
    walk: &'w mut Walk<'a>,
    launcher: Address,
}

impl Site<'_, '_> {
    /// Puts a contract in its place, unless it is there.
    fn put(&mut self, name: &'static str, place: Address, arguments: &[u8]) -> Outcome<()> {
        if !self.walk.client.code(place)?.is_empty() {
            return Ok(());
        }
        let init_code: Bytes = [code(name).as_ref(), arguments].concat().into();
        let gas = gas_of(init_code.len());
        let call = Launcher::deployCall { name: label(name), initCode: init_code };
        self.walk.take(Step::new(format!("deploy {name}"), self.launcher, &call, gas))?;
        if !self.walk.is_rehearsal() && self.walk.client.code(place)?.is_empty() {
            return Err(missing(name, place, "the deployment went somewhere else"));
        }
        Ok(())
    }
}

fn policy(site: &mut Site<'_, '_>, at: &Addresses, plan: &Plan) -> Outcome<()> {
    let timelock = ProtocolTimelock::constructorCall {
        minDelay: U256::from(plan.delay_seconds),
        proposers: [&[at.governor], &plan.proposers[..]].concat(),
    };
    site.put("ProtocolTimelock", at.timelock, &timelock.abi_encode())?;
    let parameters = Parameters::constructorCall { timelock_: at.timelock, genesisTime_: plan.genesis_time };
    site.put("Parameters", at.parameters, &parameters.abi_encode())?;
    let currency = LoyalCurrency::constructorCall { timelock_: at.timelock, genesis: at.vesting };
    site.put("LoyalCurrency", at.currency, &currency.abi_encode())?;
    let supply = if site.walk.is_rehearsal() {
        U256::ZERO
    } else {
        site.walk.client.call(at.currency, &LoyalCurrency::CAPCall {})?
    };
    let vesting = GenesisVesting::constructorCall {
        currency_: at.currency,
        supply_: supply,
        start_: plan.genesis_time,
        beneficiaries: plan.beneficiaries,
    };
    site.put("GenesisVesting", at.vesting, &vesting.abi_encode())?;
    let vault = StakeVault::constructorCall {
        parameters_: at.parameters,
        currency_: at.currency,
        treasury_: at.timelock,
    };
    site.put("StakeVault", at.vault, &vault.abi_encode())?;
    let beacon = Beacon::constructorCall {
        parameters_: at.parameters,
        vault_: at.vault,
        court_: at.court,
        currency_: at.currency,
    };
    site.put("Beacon", at.beacon, &beacon.abi_encode())
}

fn models(site: &mut Site<'_, '_>, at: &Addresses) -> Outcome<()> {
    let registry = Registry::constructorCall {
        factory_: at.factory,
        court_: at.court,
        beacon_: at.beacon,
        parameters_: at.parameters,
    };
    site.put("Registry", at.registry, &registry.abi_encode())?;
    let credentials = CredentialRegistry::constructorCall { registry_: at.registry };
    site.put("CredentialRegistry", at.credentials, &credentials.abi_encode())?;
    let shares = ModelShares::constructorCall {
        registry_: at.registry,
        router_: at.router,
        parameters_: at.parameters,
        factory_: at.factory,
    };
    site.put("ModelShares", at.shares_code, &shares.abi_encode())?;
    let treasury = ModelTreasury::constructorCall { registry_: at.registry, factory_: at.factory };
    site.put("ModelTreasury", at.treasury_code, &treasury.abi_encode())?;
    let parties = ModelFactory::FactoryParties {
        registry: at.registry,
        router: at.router,
        vault: at.vault,
        parameters: at.parameters,
        currency: at.currency,
        court: at.court,
        sharesCode: at.shares_code,
        treasuryCode: at.treasury_code,
    };
    let factory = ModelFactory::constructorCall { parties };
    site.put("ModelFactory", at.factory, &factory.abi_encode())
}

fn payments(site: &mut Site<'_, '_>, at: &Addresses, plan: &Plan) -> Outcome<()> {
    if plan.channel.is_none() {
        site.put("InvocationChannel", at.channel, &[])?;
    }
    let collector = AuthorizationCollector::constructorCall { channel_: at.channel };
    site.put("AuthorizationCollector", at.authorization_collector, &collector.abi_encode())?;
    let collector = ApprovalCollector::constructorCall { channel_: at.channel };
    site.put("ApprovalCollector", at.approval_collector, &collector.abi_encode())?;
    let parties = Gate::GateParties {
        registry: at.registry,
        router: at.router,
        vault: at.vault,
        parameters: at.parameters,
        court: at.court,
    };
    site.put("Gate", at.gate, &Gate::constructorCall { parties }.abi_encode())?;
    let parties = RevenueRouter::RouterParties {
        registry: at.registry,
        gate: at.gate,
        parameters: at.parameters,
        factory: at.factory,
        treasury: at.timelock,
        probeBoard: at.probe_board,
        court: at.court,
        ledger: at.ledger,
    };
    let router = RevenueRouter::constructorCall { parties };
    site.put("RevenueRouter", at.router, &router.abi_encode())?;
    let admission = Admission::constructorCall {
        registry_: at.registry,
        gate_: at.gate,
        credentials_: at.credentials,
        channel_: at.channel,
        router_: at.router,
    };
    site.put("Admission", at.admission, &admission.abi_encode())
}

fn probes(site: &mut Site<'_, '_>, at: &Addresses) -> Outcome<()> {
    site.put("ColourMatcher", at.colour_matcher, &[])?;
    site.put("VerbatimMatcher", at.verbatim_matcher, &[])?;
    let reader = ProbeReader::constructorCall {
        registry_: at.registry,
        gate_: at.gate,
        vault_: at.vault,
        court_: at.court,
        tilt_: at.colour_matcher,
        verbatim_: at.verbatim_matcher,
    };
    site.put("ProbeReader", at.probe_reader, &reader.abi_encode())?;
    let parties = ProbeBoard::BoardParties {
        registry: at.registry,
        gate: at.gate,
        router: at.router,
        reader: at.probe_reader,
        court: at.court,
        currency: at.currency,
        examiner: at.usage_examiner,
    };
    site.put("ProbeBoard", at.probe_board, &ProbeBoard::constructorCall { parties }.abi_encode())
}

fn court(site: &mut Site<'_, '_>, at: &Addresses) -> Outcome<()> {
    let (court_, gate_, registry_) = (at.court, at.gate, at.registry);
    let call = OmissionExaminer::constructorCall { court_, gate_ };
    site.put("OmissionExaminer", at.omission_examiner, &call.abi_encode())?;
    let call = OverchargeExaminer::constructorCall { court_, gate_ };
    site.put("OverchargeExaminer", at.overcharge_examiner, &call.abi_encode())?;
    let call = EquivocationExaminer::constructorCall { court_, gate_ };
    site.put("EquivocationExaminer", at.equivocation_examiner, &call.abi_encode())?;
    let call = AuthorisationExaminer::constructorCall { court_, gate_, credentials_: at.credentials };
    site.put("AuthorisationExaminer", at.authorisation_examiner, &call.abi_encode())?;
    let call = UsageExaminer::constructorCall { court_, gate_, board_: at.probe_board };
    site.put("UsageExaminer", at.usage_examiner, &call.abi_encode())?;
    let call = LeakExaminer::constructorCall { court_, gate_, registry_ };
    site.put("LeakExaminer", at.leak_examiner, &call.abi_encode())?;
    let call = OwnershipExaminer::constructorCall {
        court_,
        registry_,
        beacon_: at.beacon,
        parameters_: at.parameters,
    };
    site.put("OwnershipExaminer", at.ownership_examiner, &call.abi_encode())?;
    let parties = DisputeCourt::CourtParties {
        registry: at.registry,
        gate: at.gate,
        router: at.router,
        factory: at.factory,
        vault: at.vault,
        parameters: at.parameters,
        currency: at.currency,
        jury: at.jury,
        board: at.probe_board,
        treasury: at.timelock,
        examiners: [
            at.omission_examiner,
            at.overcharge_examiner,
            at.equivocation_examiner,
            at.authorisation_examiner,
            at.usage_examiner,
            at.leak_examiner,
            at.ownership_examiner,
        ],
    };
    site.put("DisputeCourt", at.court, &DisputeCourt::constructorCall { parties }.abi_encode())?;
    let jury = Jury::constructorCall {
        court_,
        registry_,
        vault_: at.vault,
        parameters_: at.parameters,
        beacon_: at.beacon,
    };
    site.put("Jury", at.jury, &jury.abi_encode())
}

fn governors(site: &mut Site<'_, '_>, at: &Addresses) -> Outcome<()> {
    let governor = LoyalGovernor::constructorCall { currency: at.currency, timelock_: at.timelock };
    site.put("LoyalGovernor", at.governor, &governor.abi_encode())?;
    let code = ModelGovernor::constructorCall { registry_: at.registry, router_: at.router };
    site.put("ModelGovernor", at.model_governor_code, &code.abi_encode())?;
    site.put("ModelTimelock", at.model_timelock_code, &[])?;
    let factory = GovernorFactory::constructorCall {
        registry_: at.registry,
        governorCode_: at.model_governor_code,
        timelockCode_: at.model_timelock_code,
    };
    site.put("GovernorFactory", at.governor_factory, &factory.abi_encode())
}
