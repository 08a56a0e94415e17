//! What the court makes of a cheat, and of a liar.

use alloy_primitives::{Address, U256};
use anyhow::{Context as _, Result, bail, ensure};
use loyal_access::document::{Inclusion, SignedReceipt};
use loyal_access::outbound::{Outbound, Reach};
use loyal_protocol::contracts::{DisputeCourt, LoyalCurrency, StakeVault};
use loyal_roles::court::{self, Claim, Kind};
use loyal_roles::hosting::Hosting;
use loyal_roles::prover::audit::{self, Found};

use super::{Story, people};

/// Steps that a claim takes at most: it is ruled, final, carried out.
const STEPS_MAX: usize = 6;

/// What became of the cheat.
#[derive(Debug, Clone)]
pub struct Conviction {
    /// The claim, which a prover filed.
    pub claim: Claim,
    /// Days from the claim to the verdict.
    pub days: u32,
    /// The cheat's bond before and after.
    pub bond: (u128, u128),
    /// What each prover got whose coins spoke.
    pub rewards: Vec<(Address, u128)>,
    /// What burnt.
    pub burnt: u128,
}

/// What became of the liar.
#[derive(Debug, Clone)]
pub struct Slander {
    /// The claim.
    pub claim: Claim,
    /// The receipt that it said was left out.
    pub receipt: SignedReceipt,
    /// The proof that it was not.
    pub inclusion: Inclusion,
    /// What the liar lost.
    pub lost: u128,
    /// What the host got for its trouble.
    pub gained: u128,
    /// The honest host's bond, of which nothing is gone.
    pub bond: u128,
}

impl Story {
    /// A prover files the claim, the cheat has nothing to show and is silent for two days, and the verdict is carried out.
    ///
    /// # Errors
    /// The chain's; the court finds otherwise.
    pub fn convict(&mut self) -> Result<Conviction> {
        let (_, cheat) = self.hostings()?;
        let bond = self.bond(cheat)?;
        let supply = self.supply()?;
        self.turn_provers()?;
        let claim = self.claim_against(cheat, "unreported")?;
        let filed = self.town.today()?;
        // The claimant takes its own claim on, step by step, as its times come.
        for _ in 0..STEPS_MAX {
            let claim = Claim::read(&self.town.client, &self.town.at, claim.id)?;
            if claim.state == "executed" {
                break;
            }
            self.wait(claim.deadline)?;
            self.turn_provers()?;
        }
        let claim = Claim::read(&self.town.client, &self.town.at, claim.id)?;
        ensure!(
            (claim.state, claim.outcome) == ("executed", "upheld"),
            "the cheat is {}, the claim {}",
            claim.outcome,
            claim.state
        );
        let mut rewards = Vec::new();
        for number in 0..people::PROVERS {
            let account = self.town.address(&people::numbered("prover", number));
            let call = StakeVault::rewardsCall { account, asset: self.town.asset.address };
            let reward: u128 = self.town.call(self.town.at.vault, &call)?.saturating_to();
            if reward > 0 {
                rewards.push((account, reward));
            }
        }
        Ok(Conviction {
            days: self.town.today()? - filed,
            bond: (bond, self.bond(cheat)?),
            rewards,
            burnt: supply - self.supply()?,
            claim,
        })
    }

    /// A user swears that the honest host left its receipt out of the report. The host's own keeper shows where it stands.
    ///
    /// # Errors
    /// The chain's; the court finds otherwise.
    pub fn slander(&mut self) -> Result<Slander> {
        let (honest, _) = self.hostings()?;
        let receipt = self.receipt()?;
        let liar = people::numbered("user", 0);
        let (town, account) = (&self.town, self.town.address(&liar));
        // A claim takes a bond; whoever lies has it.
        town.pay("owner", account, 20 * super::town::LOYAL)?;
        let before = town.purse(account)?;
        let id = town
            .act(&liar, |walk| Ok(court::open(walk, &town.at, Kind::Omitted, &court::omitted(&receipt))?))?;
        // The keeper looks for claims once a minute.
        town.pass(town.now()? + 120)?;
        self.report()?;
        let town = &self.town;
        let claim = Claim::read(&town.client, &town.at, id)?;
        ensure!(claim.outcome == "dismissed", "the honest host is cleared, not {}", claim.outcome);
        let claim = if claim.state == "executed" {
            claim
        } else {
            town.act(&liar, |walk| Ok(court::advance(walk, &town.at, &claim)?))?;
            Claim::read(&town.client, &town.at, id)?
        };
        let call = DisputeCourt::owedCall { account: town.address("host") };
        let gained: u128 = town.call(town.at.court, &call)?.saturating_to();
        let url = &self.honest.as_ref().context("the honest host answers")?.server.url;
        let outbound = Outbound::new(Reach::Local);
        let looking = audit::run((&town.client, &town.at), &outbound, url, &receipt);
        let Found::Reported(inclusion) = self.runtime.block_on(looking)? else {
            bail!("the host shows no proof of the receipt");
        };
        Ok(Slander {
            claim,
            receipt,
            inclusion: *inclusion,
            lost: before - town.purse(account)?,
            gained,
            bond: self.bond(honest)?,
        })
    }

    fn claim_against(&self, hosting: u64, kind: &str) -> Result<Claim> {
        let found = Claim::against(&self.town.client, &self.town.at, hosting)?;
        let claim = found.into_iter().find(|claim| claim.kind == kind);
        claim.with_context(|| format!("nobody accused hosting {hosting} of {kind}"))
    }

    fn bond(&self, hosting: u64) -> Result<u128> {
        Ok(Hosting::read(&self.town.client, &self.town.at, hosting)?.bond)
    }

    fn supply(&self) -> Result<u128> {
        let found: U256 = self.town.call(self.town.at.currency, &LoyalCurrency::totalSupplyCall {})?;
        Ok(found.saturating_to())
    }
}
