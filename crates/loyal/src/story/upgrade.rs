//! A new version by vote: David's fine-tune, and five percent of the shares out of the reserve for him.

use std::path::Path;

use alloy_primitives::U256;
use anyhow::{Result, bail, ensure};
use loyal_protocol::contracts::{ModelShares, Registry};
use loyal_roles::governance::{self, Body, Proposal, Vote};
use loyal_roles::owner::Next;
use loyal_roles::owner::register::{self, Project};
use loyal_roles::owner::registration::Registration;

use super::Story;
use super::town::LOYAL;

/// Shares that David gets of a million.
const REWARD: u128 = 50_000;

/// What was decided.
#[derive(Debug, Clone)]
pub struct Upgrade {
    /// The new version.
    pub version: u32,
    /// Days from the proposal to the active version.
    pub days: u32,
    /// Shares for it and against it.
    pub votes: (u128, u128),
    /// Who holds how many shares now.
    pub shares: Vec<(String, u128)>,
}

impl Story {
    /// David commits to the leaves of his version before they are trained in.
    ///
    /// # Errors
    /// The chain's.
    pub fn commit_next(&mut self, leaves: &Path) -> Result<()> {
        self.register_next(leaves, None).map(drop)
    }

    /// The seed of David's leaves, once its epoch has begun.
    ///
    /// # Errors
    /// The chain's; it has not.
    pub fn seed_of_next(&mut self, leaves: &Path) -> Result<(alloy_primitives::B256, u32)> {
        match self.register_next(leaves, None)? {
            Next::Train { seed, epoch, .. } => Ok((seed, epoch)),
            other => bail!("David trains next, not {other:?}"),
        }
    }

    /// The holders vote David's weights in.
    ///
    /// # Errors
    /// The chain's; the vote goes otherwise.
    pub fn upgrade(&mut self, weights: &Path, embedded: &Path) -> Result<Upgrade> {
        self.found()?;
        let Next::Propose { .. } = self.register_next(embedded, Some(weights))? else {
            bail!("the holders decide next");
        };
        let began = self.town.today()?;
        let town = &self.town;
        let body = Body::of(&town.client, &town.at, Some(self.model))?;
        for (name, _) in super::MAKERS {
            town.act(name, |walk| Ok(governance::delegate(walk, &body, walk.account())?))?;
        }
        let call = Registry::modelOfCall { modelId: U256::from(self.model) };
        let treasury = town.call(town.at.registry, &call)?.treasury;
        let registration = self.registration_of_next(embedded, Some(weights));
        let file = town.folder.join("registration-2.json");
        let submit =
            register::proposal(&town.client, &town.at, (self.model, body.timelock), (&registration, &file))?;
        let reward = U256::from(REWARD * LOYAL);
        let calls =
            [submit, governance::pay_from_reserve(treasury, body.votes, town.address("david"), reward)];
        let id =
            town.act("alice", |walk| Ok(governance::propose(walk, &body, &calls, "David's fine-tune")?))?;
        let proposal =
            |story: &Self| -> Result<Proposal> { Ok(body.proposal(&story.town.client, &id.to_string())?) };
        self.rest(proposal(self)?.begins)?;
        for (name, vote) in [("alice", Vote::For), ("bob", Vote::For), ("charlie", Vote::Against)] {
            let now = proposal(self)?;
            self.town.act(name, |walk| Ok(governance::vote(walk, &body, &now, vote)?))?;
        }
        self.rest(proposal(self)?.ends)?;
        let won = proposal(self)?;
        self.town.act("bob", |walk| Ok(governance::carry_out(walk, &body, &won, true)?))?;
        self.rest(proposal(self)?.ripe)?;
        let ripe = proposal(self)?;
        self.town.act("bob", |walk| Ok(governance::carry_out(walk, &body, &ripe, false)?))?;
        let version = self.activate(embedded, weights)?;
        let town = &self.town;
        let mut shares = Vec::new();
        for name in ["alice", "bob", "charlie", "david"] {
            let call = ModelShares::balanceOfCall { account: town.address(name) };
            shares.push((name.to_owned(), town.call(body.votes, &call)?.saturating_to()));
        }
        let call = ModelShares::balanceOfCall { account: treasury };
        shares.push(("the reserve".to_owned(), town.call(body.votes, &call)?.saturating_to()));
        let votes = (won.votes_for.saturating_to(), won.against.saturating_to());
        Ok(Upgrade { version, days: town.today()? - began, votes, shares })
    }

    /// After the week in which others may claim it, the version is the active one.
    fn activate(&mut self, embedded: &Path, weights: &Path) -> Result<u32> {
        loop {
            match self.register_next(embedded, Some(weights))? {
                Next::Wait { until, .. } => self.rest(until)?,
                Next::Done { version, .. } => {
                    ensure!(version == 2, "the new version is the second");
                    return Ok(version);
                }
                other => bail!("the version is not active: {other:?}"),
            }
        }
    }

    /// The model's governor, which controls it from now on.
    fn found(&self) -> Result<()> {
        let town = &self.town;
        town.act("owner", |walk| Ok(governance::found(walk, &town.at, self.model)?))
    }

    fn registration_of_next(&self, leaves: &Path, weights: Option<&Path>) -> Registration {
        let mut registration = self.registration.clone();
        leaves.clone_into(&mut registration.leaves);
        registration.weights = weights.map(Path::to_owned);
        registration.agreement = None;
        registration
    }

    fn register_next(&mut self, leaves: &Path, weights: Option<&Path>) -> Result<Next> {
        let file = self.town.folder.join("registration-2.json");
        let mut registration = self.registration_of_next(leaves, weights);
        registration.write(&file)?;
        // Before there is one it will be the first.
        let model = self.model.max(1);
        self.town.act("david", |walk| {
            let mut project = Project { registration: &mut registration, path: &file, model: Some(model) };
            Ok(register::run(walk, &self.town.at, &mut project)?)
        })
    }
}
