//! The contracts, as the compiler sees them: calls, events, typed reverts and deployment code.
//!
//! Made from `artifacts/`, which `cargo xtask contracts` holds to `contracts/src` byte for byte.
#![allow(
    missing_docs,
    missing_debug_implementations,
    reason = "made from the ABI; the documentation is in contracts/src"
)]
#![allow(clippy::all, clippy::pedantic, clippy::restriction, reason = "made from the ABI")]

use alloy_sol_types::{SolEventInterface as _, SolInterface as _, sol};

sol! { #[sol(all_derives)] "artifacts/Admission.sol" }
sol! { #[sol(all_derives)] "artifacts/ApprovalCollector.sol" }
sol! { #[sol(all_derives)] "artifacts/AuthorizationCollector.sol" }
sol! { #[sol(all_derives)] "artifacts/Beacon.sol" }
sol! { #[sol(all_derives)] "artifacts/CredentialRegistry.sol" }
sol! { #[sol(all_derives)] "artifacts/Launcher.sol" }
sol! { #[sol(all_derives)] "artifacts/Gate.sol" }
sol! { #[sol(all_derives)] "artifacts/GenesisVesting.sol" }
sol! { #[sol(all_derives)] "artifacts/InvocationChannel.sol" }
sol! { #[sol(all_derives)] "artifacts/LoyalCurrency.sol" }
sol! { #[sol(all_derives)] "artifacts/ModelFactory.sol" }
sol! { #[sol(all_derives)] "artifacts/ModelShares.sol" }
sol! { #[sol(all_derives)] "artifacts/ModelTreasury.sol" }
sol! { #[sol(all_derives)] "artifacts/Parameters.sol" }
sol! { #[sol(all_derives)] "artifacts/ProtocolTimelock.sol" }
sol! { #[sol(all_derives)] "artifacts/Registry.sol" }
sol! { #[sol(all_derives)] "artifacts/RevenueRouter.sol" }
sol! { #[sol(all_derives)] "artifacts/StakeVault.sol" }
sol! { #[sol(all_derives)] "artifacts/Till.sol" }
sol! { #[sol(all_derives)] "artifacts/ColourMatcher.sol" }
sol! { #[sol(all_derives)] "artifacts/VerbatimMatcher.sol" }
sol! { #[sol(all_derives)] "artifacts/ProbeReader.sol" }
sol! { #[sol(all_derives)] "artifacts/ProbeBoard.sol" }
sol! { #[sol(all_derives)] "artifacts/DisputeCourt.sol" }
sol! { #[sol(all_derives)] "artifacts/Jury.sol" }
sol! { #[sol(all_derives)] "artifacts/OmissionExaminer.sol" }
sol! { #[sol(all_derives)] "artifacts/OverchargeExaminer.sol" }
sol! { #[sol(all_derives)] "artifacts/EquivocationExaminer.sol" }
sol! { #[sol(all_derives)] "artifacts/AuthorisationExaminer.sol" }
sol! { #[sol(all_derives)] "artifacts/UsageExaminer.sol" }
sol! { #[sol(all_derives)] "artifacts/LeakExaminer.sol" }
sol! { #[sol(all_derives)] "artifacts/OwnershipExaminer.sol" }
sol! { #[sol(all_derives)] "artifacts/LoyalGovernor.sol" }
sol! { #[sol(all_derives)] "artifacts/ModelGovernor.sol" }
sol! { #[sol(all_derives)] "artifacts/ModelTimelock.sol" }
sol! { #[sol(all_derives)] "artifacts/GovernorFactory.sol" }

/// The contracts with an artifact.
pub const NAMES: [&str; 36] = [
    "Admission",
    "ApprovalCollector",
    "AuthorizationCollector",
    "Beacon",
    "CredentialRegistry",
    "Launcher",
    "Gate",
    "GenesisVesting",
    "InvocationChannel",
    "LoyalCurrency",
    "ModelFactory",
    "ModelShares",
    "ModelTreasury",
    "Parameters",
    "ProtocolTimelock",
    "Registry",
    "RevenueRouter",
    "StakeVault",
    "Till",
    "ColourMatcher",
    "VerbatimMatcher",
    "ProbeReader",
    "ProbeBoard",
    "DisputeCourt",
    "Jury",
    "OmissionExaminer",
    "OverchargeExaminer",
    "EquivocationExaminer",
    "AuthorisationExaminer",
    "UsageExaminer",
    "LeakExaminer",
    "OwnershipExaminer",
    "LoyalGovernor",
    "ModelGovernor",
    "ModelTimelock",
    "GovernorFactory",
];

/// The deployment code of a contract, without the arguments of its constructor.
///
/// # Panics
/// Never: the artifacts are part of this crate, and a test reads each of them.
#[must_use]
pub fn code_of(name: &str) -> Option<alloy_primitives::Bytes> {
    let text = match name {
        "Admission" => include_str!("../artifacts/Admission.json"),
        "ApprovalCollector" => include_str!("../artifacts/ApprovalCollector.json"),
        "AuthorizationCollector" => include_str!("../artifacts/AuthorizationCollector.json"),
        "Beacon" => include_str!("../artifacts/Beacon.json"),
        "CredentialRegistry" => include_str!("../artifacts/CredentialRegistry.json"),
        "Launcher" => include_str!("../artifacts/Launcher.json"),
        "Gate" => include_str!("../artifacts/Gate.json"),
        "GenesisVesting" => include_str!("../artifacts/GenesisVesting.json"),
        "InvocationChannel" => include_str!("../artifacts/InvocationChannel.json"),
        "LoyalCurrency" => include_str!("../artifacts/LoyalCurrency.json"),
        "ModelFactory" => include_str!("../artifacts/ModelFactory.json"),
        "ModelShares" => include_str!("../artifacts/ModelShares.json"),
        "ModelTreasury" => include_str!("../artifacts/ModelTreasury.json"),
        "Parameters" => include_str!("../artifacts/Parameters.json"),
        "ProtocolTimelock" => include_str!("../artifacts/ProtocolTimelock.json"),
        "Registry" => include_str!("../artifacts/Registry.json"),
        "RevenueRouter" => include_str!("../artifacts/RevenueRouter.json"),
        "StakeVault" => include_str!("../artifacts/StakeVault.json"),
        "Till" => include_str!("../artifacts/Till.json"),
        "ColourMatcher" => include_str!("../artifacts/ColourMatcher.json"),
        "VerbatimMatcher" => include_str!("../artifacts/VerbatimMatcher.json"),
        "ProbeReader" => include_str!("../artifacts/ProbeReader.json"),
        "ProbeBoard" => include_str!("../artifacts/ProbeBoard.json"),
        "DisputeCourt" => include_str!("../artifacts/DisputeCourt.json"),
        "Jury" => include_str!("../artifacts/Jury.json"),
        "OmissionExaminer" => include_str!("../artifacts/OmissionExaminer.json"),
        "OverchargeExaminer" => include_str!("../artifacts/OverchargeExaminer.json"),
        "EquivocationExaminer" => include_str!("../artifacts/EquivocationExaminer.json"),
        "AuthorisationExaminer" => include_str!("../artifacts/AuthorisationExaminer.json"),
        "UsageExaminer" => include_str!("../artifacts/UsageExaminer.json"),
        "LeakExaminer" => include_str!("../artifacts/LeakExaminer.json"),
        "OwnershipExaminer" => include_str!("../artifacts/OwnershipExaminer.json"),
        "LoyalGovernor" => include_str!("../artifacts/LoyalGovernor.json"),
        "ModelGovernor" => include_str!("../artifacts/ModelGovernor.json"),
        "ModelTimelock" => include_str!("../artifacts/ModelTimelock.json"),
        "GovernorFactory" => include_str!("../artifacts/GovernorFactory.json"),
        _ => return None,
    };
    let artifact: serde_json::Value = serde_json::from_str(text).expect("an artifact is JSON");
    Some(artifact["bytecode"].as_str()?.parse().expect("an artifact's code is hexadecimal"))
}

/// What a contract says when it reverts with an error of its own: the error's name with its facts, and whose it is.
#[must_use]
pub fn revert_of(data: &[u8]) -> Option<String> {
    macro_rules! first {
        ($($contract:ident $errors:ident),*) => {
            $(if let Ok(error) = $contract::$errors::abi_decode(data) {
                return Some(inner(&format!("{error:?}")));
            })*
        };
    }
    first!(ApprovalCollector ApprovalCollectorErrors, AuthorizationCollector AuthorizationCollectorErrors, Beacon BeaconErrors, CredentialRegistry CredentialRegistryErrors, Launcher LauncherErrors, Gate GateErrors, GenesisVesting GenesisVestingErrors, InvocationChannel InvocationChannelErrors, LoyalCurrency LoyalCurrencyErrors, ModelFactory ModelFactoryErrors, ModelShares ModelSharesErrors, ModelTreasury ModelTreasuryErrors, Parameters ParametersErrors, ProtocolTimelock ProtocolTimelockErrors, Registry RegistryErrors, RevenueRouter RevenueRouterErrors, StakeVault StakeVaultErrors, Till TillErrors, ColourMatcher ColourMatcherErrors, VerbatimMatcher VerbatimMatcherErrors, ProbeReader ProbeReaderErrors, ProbeBoard ProbeBoardErrors, DisputeCourt DisputeCourtErrors, Jury JuryErrors, OmissionExaminer OmissionExaminerErrors, OverchargeExaminer OverchargeExaminerErrors, EquivocationExaminer EquivocationExaminerErrors, AuthorisationExaminer AuthorisationExaminerErrors, UsageExaminer UsageExaminerErrors, LeakExaminer LeakExaminerErrors, OwnershipExaminer OwnershipExaminerErrors, LoyalGovernor LoyalGovernorErrors, ModelGovernor ModelGovernorErrors, ModelTimelock ModelTimelockErrors, GovernorFactory GovernorFactoryErrors);
    None
}

/// An event of ours: its name with its facts.
#[must_use]
pub fn event_of(log: &alloy_primitives::LogData) -> Option<String> {
    macro_rules! first {
        ($($contract:ident $events:ident),*) => {
            $(if let Ok(event) = $contract::$events::decode_raw_log(log.topics(), &log.data) {
                return Some(inner(&format!("{event:?}")));
            })*
        };
    }
    first!(Beacon BeaconEvents, CredentialRegistry CredentialRegistryEvents, Launcher LauncherEvents, Gate GateEvents, GenesisVesting GenesisVestingEvents, InvocationChannel InvocationChannelEvents, LoyalCurrency LoyalCurrencyEvents, ModelFactory ModelFactoryEvents, ModelShares ModelSharesEvents, ModelTreasury ModelTreasuryEvents, Parameters ParametersEvents, ProtocolTimelock ProtocolTimelockEvents, Registry RegistryEvents, RevenueRouter RevenueRouterEvents, StakeVault StakeVaultEvents, ProbeReader ProbeReaderEvents, ProbeBoard ProbeBoardEvents, DisputeCourt DisputeCourtEvents, Jury JuryEvents, UsageExaminer UsageExaminerEvents, LeakExaminer LeakExaminerEvents, OwnershipExaminer OwnershipExaminerEvents, LoyalGovernor LoyalGovernorEvents, ModelGovernor ModelGovernorEvents, ModelTimelock ModelTimelockEvents, GovernorFactory GovernorFactoryEvents);
    None
}

/// `Variant(Variant { a: 1 })` without its wrapper.
fn inner(text: &str) -> String {
    text.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(text).to_owned()
}
