//! Stake: what validators and provers put at risk for a seat, and how they get it back.

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolValue as _;
use loyal_protocol::contracts::*;
use loyal_protocol::{Addresses, Asset, Client, Step, Walk};

use crate::error::{Error, Result};

/// Gas that the steps use as a rule.
mod gas {
    pub(super) const BIND: u64 = 220_000;
    pub(super) const THAW: u64 = 120_000;
    pub(super) const WITHDRAW: u64 = 70_000;
}

/// What a seat is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seat {
    /// Sits on juries and feeds the beacon.
    Validator,
    /// Probes hosts when it is drawn.
    Prover,
}

/// A position in the vault.
#[derive(Debug, Clone)]
pub struct Position {
    /// Its id.
    pub id: B256,
    /// At risk, and not thawing.
    pub bound: u128,
    /// On its way back, and still at risk.
    pub thawing: u128,
    /// When that is free, in unix seconds.
    pub thaws_at: u64,
    /// How many claims hold it.
    pub freezes: u32,
    /// What a seat takes.
    pub seat: U256,
    /// Whether the account may be drawn.
    pub is_seated: bool,
    /// What slashes of others gave the account.
    pub rewards: U256,
}

impl Seat {
    const fn subject(self) -> &'static str {
        match self {
            Self::Validator => "validator",
            Self::Prover => "prover",
        }
    }

    /// The parameter that says what a seat takes.
    const fn parameter(self) -> u8 {
        match self {
            Self::Validator => 12,
            Self::Prover => 13,
        }
    }

    fn label(self) -> B256 {
        let mut bytes = [0; 32];
        bytes[..self.subject().len()].copy_from_slice(self.subject().as_bytes());
        bytes.into()
    }

    fn terms(self, at: &Addresses, account: Address) -> StakeVault::Terms {
        StakeVault::Terms {
            arbiter: at.court,
            keeper: account,
            owner: account,
            asset: at.currency,
            subject: self.label(),
        }
    }
}

impl Position {
    /// Reads the position of an account.
    ///
    /// # Errors
    /// The chain's.
    pub fn read(client: &Client, at: &Addresses, account: Address, seat: Seat) -> Result<Self> {
        let terms = seat.terms(at, account);
        let id = alloy_primitives::keccak256(terms.abi_encode());
        let found = client.call(at.vault, &StakeVault::positionOfCall { id })?;
        let roll =
            client.call(at.vault, &StakeVault::rollOfCall { arbiter: at.court, subject: seat.label() })?;
        Ok(Self {
            id,
            bound: found.bound,
            thawing: found.thawing,
            thaws_at: found.thawsAt,
            freezes: found.freezes,
            seat: client.call(at.parameters, &Parameters::getCall { parameter: seat.parameter() })?,
            is_seated: client.call(at.vault, &StakeVault::isSeatedCall { roll, account })?,
            rewards: client.call(at.vault, &StakeVault::rewardsCall { account, asset: at.currency })?,
        })
    }
}

/// Raises a stake to an amount, or to what a seat takes. Run twice, it pays once.
///
/// # Errors
/// The chain's; too little LOYAL.
pub fn bind(walk: &mut Walk<'_>, at: &Addresses, seat: Seat, to: Option<u128>) -> Result<()> {
    let client = walk.client;
    let position = Position::read(client, at, walk.account(), seat)?;
    let wanted = to.map_or(position.seat, U256::from);
    let more = wanted.saturating_sub(U256::from(position.bound));
    if more.is_zero() {
        return Ok(());
    }
    let loyal = Asset::read(client, at.currency)?;
    walk.take_if(Step::approval(client, &loyal, walk.account(), (at.vault, "vault"), more)?)?;
    let amount = u128::try_from(more).map_err(|_| Error::refused("a stake cannot be that large"))?;
    let call = StakeVault::bindCall { terms: seat.terms(at, walk.account()), amount };
    let says =
        format!("put {} at risk as {}, {} in all", loyal.text(more), seat.subject(), loyal.text(wanted));
    walk.take(Step::new(says, at.vault, &call, gas::BIND))?;
    Ok(())
}

/// Lowers a stake to an amount; what is over begins to thaw. Run twice, it thaws once.
///
/// # Errors
/// The chain's.
pub fn thaw(walk: &mut Walk<'_>, at: &Addresses, seat: Seat, to: u128) -> Result<()> {
    let client = walk.client;
    let position = Position::read(client, at, walk.account(), seat)?;
    let Some(amount) = position.bound.checked_sub(to).filter(|amount| *amount > 0) else { return Ok(()) };
    let loyal = Asset::read(client, at.currency)?;
    let call = StakeVault::thawCall { id: position.id, amount };
    let says =
        format!("let {} of the stake thaw; what thaws already waits anew", loyal.text(U256::from(amount)));
    walk.take(Step::new(says, at.vault, &call, gas::THAW))?;
    Ok(())
}

/// Takes what has thawed, and what slashes of others gave.
///
/// # Errors
/// The chain's; what thaws is held by a claim, or not free yet.
pub fn withdraw(walk: &mut Walk<'_>, at: &Addresses, seat: Seat) -> Result<()> {
    let client = walk.client;
    let position = Position::read(client, at, walk.account(), seat)?;
    let loyal = Asset::read(client, at.currency)?;
    if position.rewards > U256::ZERO {
        let call = StakeVault::distributeCall { account: walk.account(), asset: at.currency };
        let says = format!("take {} that slashes gave", loyal.text(position.rewards));
        walk.take(Step::new(says, at.vault, &call, gas::WITHDRAW))?;
    }
    if position.thawing == 0 {
        return Ok(());
    }
    let amount = loyal.text(U256::from(position.thawing));
    if position.freezes > 0 {
        return Err(Error::refused(format!("{amount} is held by a claim until that ends")));
    }
    if client.time()? >= position.thaws_at {
        let call = StakeVault::withdrawCall { id: position.id };
        walk.take(Step::new(format!("take {amount} that has thawed"), at.vault, &call, gas::WITHDRAW))?;
    }
    Ok(())
}
