//! Governance: proposals of the protocol's DAO and of each model's, voted on by those who hold.
//!
//! A proposal is found again by its number: everything that queueing and executing need stands in the event that made it.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::{SolCall as _, SolEvent as _};
use loyal_protocol::contracts::*;
use loyal_protocol::{Addresses, Client, Failure, Step, Walk};

use crate::error::{Error, Result};

/// States of a proposal, as OpenZeppelin numbers them.
const STATES: [&str; 8] =
    ["pending", "active", "canceled", "defeated", "succeeded", "queued", "expired", "executed"];

/// Gas that the steps use as a rule.
mod gas {
    pub(super) const PROPOSE: u64 = 150_000;
    pub(super) const VOTE: u64 = 100_000;
    pub(super) const QUEUE: u64 = 160_000;
    pub(super) const EXECUTE: u64 = 200_000;
    pub(super) const DELEGATE: u64 = 100_000;
    pub(super) const FOUND: u64 = 900_000;
    pub(super) const HAND_OVER: u64 = 80_000;
}

/// Governed values, in the contract's order, with what they are counted in.
pub const PARAMETERS: [(&str, Unit); 24] = [
    ("ownership-window", Unit::Seconds),
    ("superseded-grace", Unit::Seconds),
    ("report-due", Unit::Seconds),
    ("late-bps-per-hour", Unit::Bps),
    ("late-hours-max", Unit::Count),
    ("bond-factor", Unit::Count),
    ("dues-after", Unit::Seconds),
    ("thaw", Unit::Seconds),
    ("protocol-fee", Unit::Bps),
    ("royalty", Unit::Bps),
    ("onboarding-bond", Unit::Loyal),
    ("version-mint", Unit::Bps),
    ("validator-seat", Unit::Loyal),
    ("prover-seat", Unit::Loyal),
    ("receipt-claim-bond", Unit::Loyal),
    ("use-claim-bond", Unit::Loyal),
    ("ownership-claim-bond", Unit::Loyal),
    ("receipt-answer", Unit::Seconds),
    ("use-answer", Unit::Seconds),
    ("ballot-commit", Unit::Seconds),
    ("ballot-reveal", Unit::Seconds),
    ("appeal-window", Unit::Seconds),
    ("jury-seats", Unit::Count),
    ("appeal-seats", Unit::Count),
];

/// What a governed value is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Hundredths of a percent.
    Bps,
    /// Base units of LOYAL.
    Loyal,
    /// Things.
    Count,
}

/// Who decides: the protocol's DAO, or a model's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Body {
    /// The governor.
    pub governor: Address,
    /// What carries out its decisions.
    pub timelock: Address,
    /// What votes are counted in: LOYAL, or a model's shares.
    pub votes: Address,
    /// The model; none for the protocol.
    pub model: Option<u64>,
}

/// A call that a proposal makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The contract.
    pub to: Address,
    /// The call.
    pub data: Bytes,
}

/// How a vote counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vote {
    /// Against it.
    Against = 0,
    /// For it.
    For = 1,
    /// Neither, but towards the quorum.
    Abstain = 2,
}

/// A proposal as it stands.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// Its number.
    pub id: U256,
    /// Who made it.
    pub proposer: Address,
    /// What it says about itself.
    pub description: String,
    /// What it does.
    pub calls: Vec<Call>,
    /// Where it stands.
    pub state: &'static str,
    /// Votes for it.
    pub votes_for: U256,
    /// Votes against it.
    pub against: U256,
    /// Votes that abstain.
    pub abstained: U256,
    /// Votes for it and abstentions that it needs; zero before its vote begins.
    pub quorum: U256,
    /// When its vote begins, in unix seconds.
    pub begins: u64,
    /// When its vote ends, in unix seconds.
    pub ends: u64,
    /// From when on it can be executed, in unix seconds; zero before it is queued.
    pub ripe: u64,
}

impl Body {
    /// The protocol's DAO, or a model's.
    ///
    /// # Errors
    /// The chain's; a model whose governor was not founded.
    pub fn of(client: &Client, at: &Addresses, model: Option<u64>) -> Result<Self> {
        let Some(model) = model else {
            return Ok(Self {
                governor: at.governor,
                timelock: at.timelock,
                votes: at.currency,
                model: None,
            });
        };
        let id = U256::from(model);
        let governor = client.call(at.governor_factory, &GovernorFactory::governorOfCall { modelId: id })?;
        let timelock = client.call(at.governor_factory, &GovernorFactory::timelockOfCall { modelId: id })?;
        if client.code(governor)?.is_empty() {
            return Err(Error::refused(format!(
                "model {model} has no governor yet: `loyal governance found {model}` makes one"
            )));
        }
        let votes = client.call(at.registry, &Registry::modelOfCall { modelId: id })?.shares;
        Ok(Self { governor, timelock, votes, model: Some(model) })
    }

    /// What an account can vote with now.
    ///
    /// # Errors
    /// The chain's.
    pub fn votes_of(&self, client: &Client, account: Address) -> Result<U256> {
        Ok(client.call(self.votes, &LoyalCurrency::getVotesCall { account })?)
    }

    /// All proposals, newest first.
    ///
    /// # Errors
    /// The chain's.
    pub fn proposals(&self, client: &Client) -> Result<Vec<Proposal>> {
        let found = client.find(self.governor, &[Some(LoyalGovernor::ProposalCreated::SIGNATURE_HASH)])?;
        let made = found.iter().rev().filter_map(|event| event.decode::<LoyalGovernor::ProposalCreated>());
        made.map(|made| self.read(client, made)).collect()
    }

    /// The proposal with a number, or with the digits it begins with.
    ///
    /// # Errors
    /// The chain's; there is none, or there are several.
    pub fn proposal(&self, client: &Client, number: &str) -> Result<Proposal> {
        let mut found = self.proposals(client)?;
        found.retain(|proposal| proposal.id.to_string().starts_with(number));
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(Error::refused(format!("there is no proposal {number}"))),
            count => Err(Error::refused(format!("{count} proposals begin with {number}: write more digits"))),
        }
    }

    fn read(&self, client: &Client, made: LoyalGovernor::ProposalCreated) -> Result<Proposal> {
        let id = made.proposalId;
        let state = client.call(self.governor, &LoyalGovernor::stateCall { proposalId: id })?;
        let votes = client.call(self.governor, &LoyalGovernor::proposalVotesCall { proposalId: id })?;
        let ends = client.call(self.governor, &LoyalGovernor::proposalDeadlineCall { proposalId: id })?;
        let ripe = client.call(self.governor, &LoyalGovernor::proposalEtaCall { proposalId: id })?;
        let quorum = if state == 0 {
            U256::ZERO
        } else {
            client.call(self.governor, &LoyalGovernor::quorumCall { timepoint: made.voteStart })?
        };
        Ok(Proposal {
            id,
            proposer: made.proposer,
            description: made.description,
            calls: made.targets.into_iter().zip(made.calldatas).map(|(to, data)| Call { to, data }).collect(),
            state: STATES.get(usize::from(state)).copied().unwrap_or("unknown"),
            votes_for: votes.forVotes,
            against: votes.againstVotes,
            abstained: votes.abstainVotes,
            quorum,
            begins: made.voteStart.saturating_to(),
            ends: ends.saturating_to(),
            ripe: ripe.saturating_to(),
        })
    }
}

/// Set a governed value.
#[must_use]
pub fn set_parameter(at: &Addresses, parameter: u8, value: U256) -> Call {
    let call = Parameters::setCall { parameter, value };
    Call { to: at.parameters, data: call.abi_encode().into() }
}

/// Submit a version of a model. The governor's timelock must be who may (`fingerprints` named it as their submitter).
#[must_use]
pub fn submit_version(at: &Addresses, model: u64, terms: Registry::VersionTerms) -> Call {
    let call = Registry::submitVersionCall { modelId: U256::from(model), terms };
    Call { to: at.registry, data: call.abi_encode().into() }
}

/// Pay out of a model's reserve: its shares, or any other asset it holds.
#[must_use]
pub fn pay_from_reserve(treasury: Address, asset: Address, to: Address, amount: U256) -> Call {
    Call { to: treasury, data: ModelTreasury::payCall { asset, to, amount }.abi_encode().into() }
}

/// Founds a model's governor, and hands the model to its timelock. From then on its holders decide.
///
/// # Errors
/// The chain's; the account does not control the model.
pub fn found(walk: &mut Walk<'_>, at: &Addresses, model: u64) -> Result<()> {
    let (client, id) = (walk.client, U256::from(model));
    let governor = client.call(at.governor_factory, &GovernorFactory::governorOfCall { modelId: id })?;
    let timelock = client.call(at.governor_factory, &GovernorFactory::timelockOfCall { modelId: id })?;
    let controller = client.call(at.registry, &Registry::controllerOfCall { modelId: id })?;
    if controller != walk.account() && controller != timelock {
        return Err(Error::refused(format!(
            "{controller} controls model {model}: only it can hand the model over"
        )));
    }
    if client.code(governor)?.is_empty() {
        let call = GovernorFactory::foundCall { modelId: id };
        let says = format!("found the governor of model {model}, and its timelock");
        walk.take(Step::new(says, at.governor_factory, &call, gas::FOUND))?;
    }
    if controller != timelock {
        let call = Registry::setControllerCall { modelId: id, controller: timelock };
        let says = format!("hand model {model} to its holders: only their votes change it from now on");
        walk.take(Step::new(says, at.registry, &call, gas::HAND_OVER))?;
    }
    Ok(())
}

/// Lets an account vote with what the walk's account holds. Who delegates to nobody has no vote, not even its own.
///
/// # Errors
/// The chain's.
pub fn delegate(walk: &mut Walk<'_>, body: &Body, to: Address) -> Result<()> {
    let account = walk.account();
    if walk.client.call(body.votes, &LoyalCurrency::delegatesCall { account })? == to {
        return Ok(());
    }
    let says =
        if to == account { "vote with what you hold".to_owned() } else { format!("let {to} vote for you") };
    walk.take(Step::new(says, body.votes, &LoyalCurrency::delegateCall { delegatee: to }, gas::DELEGATE))?;
    Ok(())
}

/// Proposes; the same proposal is made once.
///
/// # Errors
/// The chain's; fewer votes than a proposal needs.
pub fn propose(walk: &mut Walk<'_>, body: &Body, calls: &[Call], description: &str) -> Result<U256> {
    let client = walk.client;
    let (targets, values, calldatas) = parts(calls);
    let ask = LoyalGovernor::hashProposalCall {
        targets: targets.clone(),
        values: values.clone(),
        calldatas: calldatas.clone(),
        descriptionHash: keccak256(description),
    };
    let id = client.call(body.governor, &ask)?;
    match client.call(body.governor, &LoyalGovernor::stateCall { proposalId: id }) {
        Ok(_) => return Ok(id),
        Err(Failure::Reverted { .. }) => {}
        Err(failure) => return Err(failure.into()),
    }
    let needed = client.call(body.governor, &LoyalGovernor::proposalThresholdCall {})?;
    let has = body.votes_of(client, walk.account())?;
    if has < needed {
        let unit = U256::from(10).pow(U256::from(18));
        return Err(Error::refused(format!(
            "a proposal needs {} votes behind it and you have {}: `loyal governance delegate` makes what you hold count",
            needed / unit,
            has / unit
        )));
    }
    let call = LoyalGovernor::proposeCall { targets, values, calldatas, description: description.to_owned() };
    walk.take(Step::new(format!("propose \"{description}\""), body.governor, &call, gas::PROPOSE))?;
    Ok(id)
}

/// Votes on a proposal.
///
/// # Errors
/// The chain's; there is no vote now.
pub fn vote(walk: &mut Walk<'_>, body: &Body, proposal: &Proposal, vote: Vote) -> Result<()> {
    if proposal.state != "active" {
        return Err(Error::refused(format!(
            "proposal {} is {}: there is no vote now",
            short(proposal.id),
            proposal.state
        )));
    }
    let call = LoyalGovernor::castVoteCall { proposalId: proposal.id, support: vote as u8 };
    let how = match vote {
        Vote::Against => "vote against",
        Vote::For => "vote for",
        Vote::Abstain => "abstain from",
    };
    let says = format!("{how} \"{}\"", proposal.description);
    walk.take(Step::new(says, body.governor, &call, gas::VOTE))?;
    Ok(())
}

/// Queues a proposal that succeeded, or executes one whose time has come: whichever is next.
///
/// # Errors
/// The chain's; neither is next.
pub fn carry_out(walk: &mut Walk<'_>, body: &Body, proposal: &Proposal, queue: bool) -> Result<()> {
    let (targets, values, calldatas) = parts(&proposal.calls);
    let hash: B256 = keccak256(&proposal.description);
    let says = |verb: &str| format!("{verb} \"{}\"", proposal.description);
    match (proposal.state, queue) {
        ("succeeded", true) => {
            let call = LoyalGovernor::queueCall { targets, values, calldatas, descriptionHash: hash };
            walk.take(Step::new(says("queue"), body.governor, &call, gas::QUEUE))?;
        }
        ("queued", false) if walk.client.time()? >= proposal.ripe => {
            let call = LoyalGovernor::executeCall { targets, values, calldatas, descriptionHash: hash };
            walk.take(Step::new(says("execute"), body.governor, &call, gas::EXECUTE))?;
        }
        // What is done already is no failure: a command that was cut short is run again.
        ("queued", true) | ("executed", _) => {}
        ("queued", false) => {
            return Err(Error::refused(format!(
                "proposal {} waits in the timelock still",
                short(proposal.id)
            )));
        }
        (state, _) => {
            return Err(Error::refused(format!("proposal {} is {state}", short(proposal.id))));
        }
    }
    Ok(())
}

/// The digits of a proposal's number that people read.
#[must_use]
pub fn short(id: U256) -> String {
    id.to_string().chars().take(8).collect()
}

fn parts(calls: &[Call]) -> (Vec<Address>, Vec<U256>, Vec<Bytes>) {
    let targets = calls.iter().map(|call| call.to).collect();
    (targets, vec![U256::ZERO; calls.len()], calls.iter().map(|call| call.data.clone()).collect())
}
