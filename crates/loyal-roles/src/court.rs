//! The court, for whoever accuses, is accused, judges, or only moves a claim on when its time has come.

pub mod ownership;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::{SolEvent as _, SolValue as _};
use loyal_access::document::SignedReceipt;
use loyal_protocol::contracts::*;
use loyal_protocol::{Addresses, Asset, Client, Key, Step, Walk, message};

use crate::error::{Error, Result};

/// Of what a claim accuses, as the court numbers it, beginning with one.
const KINDS: [&str; 7] =
    ["omitted", "overcharge", "equivocation", "unauthorised", "unreported", "leak", "ownership"];
const STATES: [&str; 7] = ["none", "open", "voting", "ruled", "hung", "final", "executed"];
const OUTCOMES: [&str; 5] = ["none", "upheld", "dismissed", "forged", "dropped"];
/// Parameters, as the contract numbers them: the bonds of claims about receipts, about use, about ownership.
const BONDS: [u8; 3] = [14, 15, 16];

/// Gas that the steps use as a rule.
mod gas {
    pub(super) const ANNOUNCE: u64 = 50_000;
    pub(super) const OPEN: u64 = 600_000;
    pub(super) const SAY: u64 = 250_000;
    pub(super) const DRAW: u64 = 400_000;
    pub(super) const BALLOT: u64 = 110_000;
    pub(super) const MOVE: u64 = 350_000;
    pub(super) const TAKE: u64 = 60_000;
}

/// Of what a claim accuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A receipt that no report counts.
    Omitted = 1,
    /// A receipt over more than the invocation allowed.
    Overcharge = 2,
    /// Two receipts with one number.
    Equivocation = 3,
    /// A receipt for somebody who had no credential.
    Unauthorised = 4,
    /// Use that fingerprints saw and no report counts.
    Unreported = 5,
    /// A host's copy that serves elsewhere.
    Leak = 6,
    /// A model that carries another's fingerprints.
    Ownership = 7,
}

/// A claim as it stands.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Its id.
    pub id: B256,
    /// Of what it accuses.
    pub kind: &'static str,
    /// Where it stands.
    pub state: &'static str,
    /// How it ends, or ended so far.
    pub outcome: &'static str,
    /// Who accuses.
    pub claimant: Address,
    /// Who is accused.
    pub accused: Address,
    /// Which hosting; zero where none is.
    pub hosting: u64,
    /// Which model.
    pub model: u64,
    /// The epoch of the receipt it shows; zero where it shows none.
    pub epoch: u32,
    /// What cannot be claimed twice, as a hash.
    pub subject: B256,
    /// What the claimant has at risk.
    pub bond: u128,
    /// Whether the accused asks for a jury.
    pub is_pleaded: bool,
    /// Which jury sits or sat: 1, 2 after an appeal or an empty bench, 0 for none.
    pub round: u8,
    /// When its time comes, in unix seconds.
    pub deadline: u64,
    /// Its jury, where one was called.
    pub panel: Option<Panel>,
}

/// A jury.
#[derive(Debug, Clone)]
pub struct Panel {
    /// Who sits; nobody before it is drawn.
    pub members: Vec<Address>,
    /// The epoch whose seed draws it.
    pub seed_epoch: u32,
    /// Until when ballots are committed to, in unix seconds.
    pub commit_by: u64,
    /// Until when they are shown, in unix seconds.
    pub reveal_by: u64,
}

/// What a member of a jury finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Upheld (1), dismissed (2) or forged (3).
    pub outcome: u8,
    /// Fingerprints that answered.
    pub hits: u16,
    /// Fingerprints that were asked.
    pub trials: u16,
    /// Why, in words; only their hash goes to the chain.
    pub reason: String,
}

/// Evidence of a receipt that no report counts.
#[must_use]
pub fn omitted(signed: &SignedReceipt) -> Bytes {
    (signed.receipt.clone(), signed.signature.clone()).abi_encode_params().into()
}

/// Evidence of two receipts with one number.
#[must_use]
pub fn equivocation(one: &SignedReceipt, other: &SignedReceipt) -> Bytes {
    let (first, second) = (one.signature.clone(), other.signature.clone());
    (one.receipt.clone(), first, other.receipt.clone(), second).abi_encode_params().into()
}

/// Evidence of unreported use: the board of probes holds the rest. Windows of 180 epochs count from the first probed one.
#[must_use]
pub fn unreported(hosting: u64, window: u32) -> Bytes {
    (U256::from(hosting), window).abi_encode().into()
}

impl Claim {
    /// All claims, newest first.
    ///
    /// # Errors
    /// The chain's.
    pub fn all(client: &Client, at: &Addresses) -> Result<Vec<Self>> {
        let found = client.find(at.court, &[Some(DisputeCourt::ClaimOpened::SIGNATURE_HASH)])?;
        let ids = found.iter().rev().filter_map(|event| event.decode::<DisputeCourt::ClaimOpened>());
        ids.map(|opened| Self::read(client, at, opened.claimId)).collect()
    }

    /// The claims against a hosting, oldest first.
    ///
    /// # Errors
    /// The chain's.
    pub fn against(client: &Client, at: &Addresses, hosting: u64) -> Result<Vec<Self>> {
        let found = client.find(at.court, &[Some(DisputeCourt::ClaimOpened::SIGNATURE_HASH)])?;
        let opened = found.iter().filter_map(|event| event.decode::<DisputeCourt::ClaimOpened>());
        let here = opened.filter(|opened| opened.hostingId == U256::from(hosting));
        here.map(|opened| Self::read(client, at, opened.claimId)).collect()
    }

    /// The claim with an id, or with the digits it begins with.
    ///
    /// # Errors
    /// The chain's; there is none, or there are several.
    pub fn named(client: &Client, at: &Addresses, id: &str) -> Result<Self> {
        let mut found = Self::all(client, at)?;
        found.retain(|claim| claim.id.to_string().starts_with(id));
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(Error::refused(format!("there is no claim {id}"))),
            count => Err(Error::refused(format!("{count} claims begin with {id}: write more digits"))),
        }
    }

    /// The claim with this id.
    ///
    /// # Errors
    /// The chain's.
    pub fn read(client: &Client, at: &Addresses, id: B256) -> Result<Self> {
        let found = client.call(at.court, &DisputeCourt::claimOfCall { claimId: id })?;
        let panel = if found.round == 0 {
            None
        } else {
            let panel = client.call(at.jury, &Jury::panelOfCall { claimId: id, round: found.round })?;
            Some(Panel {
                members: panel.members,
                seed_epoch: panel.seedEpoch,
                commit_by: panel.commitBy,
                reveal_by: panel.revealBy,
            })
        };
        Ok(Self {
            id,
            kind: KINDS.get(usize::from(found.kind).wrapping_sub(1)).copied().unwrap_or("unknown"),
            state: STATES.get(usize::from(found.state)).copied().unwrap_or("unknown"),
            outcome: OUTCOMES.get(usize::from(found.outcome)).copied().unwrap_or("unknown"),
            claimant: found.claimant,
            accused: found.accused,
            hosting: found.hostingId.saturating_to(),
            model: found.modelId.saturating_to(),
            epoch: found.epoch,
            subject: found.subject,
            bond: found.bond,
            is_pleaded: found.pleaBond > 0,
            round: found.round,
            deadline: found.deadline,
            panel,
        })
    }

    /// What happens when its time comes and nobody has acted.
    #[must_use]
    pub const fn if_nobody_acts(&self) -> &'static str {
        match (self.state.as_bytes(), self.is_pleaded || self.round > 0) {
            (b"open", false) => "the claim is upheld where its evidence stands, else dismissed",
            (b"open", true) => "a jury is called",
            (b"voting", _) => {
                "the ballots that were shown are counted; without enough of them a larger jury is called"
            }
            (b"ruled", _) => "the verdict is final",
            (b"hung", _) => "the claim ends without a jury",
            (b"final", _) => "anybody may carry the verdict out",
            _ => "nothing: it has ended",
        }
    }
}

/// Opens a claim: announces it, so that nobody can see the evidence and come first, and opens it a block later.
/// Run again, it goes on where it stopped.
///
/// # Errors
/// The chain's; too little LOYAL for the bond.
pub fn open(walk: &mut Walk<'_>, at: &Addresses, kind: Kind, evidence: &Bytes) -> Result<B256> {
    let client = walk.client;
    let salt = keccak256([b"loyal/claim/1".as_slice(), evidence.as_ref()].concat());
    let id = keccak256((walk.account(), U256::from(kind as u8), keccak256(evidence), salt).abi_encode());
    let found = client.call(at.court, &DisputeCourt::claimOfCall { claimId: id })?;
    if found.state != 0 {
        return Ok(id);
    }
    let call = DisputeCourt::announcedAtCall { account: walk.account(), claimId: id };
    let announced = client.call(at.court, &call)?;
    let kept = client.call(at.court, &DisputeCourt::ANNOUNCED_SECONDSCall {})?;
    if announced.saturating_add(kept) < client.time()? {
        let call = DisputeCourt::commitClaimCall { claimId: id };
        walk.take(Step::new("announce a claim by its hash", at.court, &call, gas::ANNOUNCE))?;
    }
    let parameter = match kind as u8 {
        1..=4 => BONDS[0],
        7 => BONDS[2],
        _ => BONDS[1],
    };
    let bond = client.call(at.parameters, &Parameters::getCall { parameter })?;
    let loyal = Asset::read(client, at.currency)?;
    walk.take_if(Step::approval(client, &loyal, walk.account(), (at.court, "court"), bond)?)?;
    let says = format!("open the claim ({}), with a bond of {}", KINDS[kind as usize - 1], loyal.text(bond));
    let call = DisputeCourt::openCall { kind: kind as u8, evidence: evidence.clone(), salt };
    walk.take(Step::new(says, at.court, &call, gas::OPEN))?;
    Ok(id)
}

/// Brings what answers a claim; anybody may.
///
/// # Errors
/// The chain's.
pub fn answer(walk: &mut Walk<'_>, at: &Addresses, claim: &Claim, data: Bytes) -> Result<()> {
    let call = DisputeCourt::answerCall { claimId: claim.id, data };
    walk.take(Step::new("answer the claim", at.court, &call, gas::SAY))?;
    Ok(())
}

/// The accused puts up the same bond and asks for a jury.
///
/// # Errors
/// The chain's; the account is not the accused.
pub fn plead(walk: &mut Walk<'_>, at: &Addresses, claim: &Claim, data: Bytes) -> Result<()> {
    if claim.accused != walk.account() {
        return Err(Error::refused(format!("{} is accused, not {}", claim.accused, walk.account())));
    }
    if claim.is_pleaded {
        return Ok(());
    }
    let loyal = Asset::read(walk.client, at.currency)?;
    let bond = U256::from(claim.bond);
    walk.take_if(Step::approval(walk.client, &loyal, walk.account(), (at.court, "court"), bond)?)?;
    let says = format!("ask for a jury, with a bond of {}", loyal.text(bond));
    let call = DisputeCourt::pleadCall { claimId: claim.id, data };
    walk.take(Step::new(says, at.court, &call, gas::SAY))?;
    Ok(())
}

/// Takes a claim whose time has come one step on, or carries out its verdict; anybody may.
///
/// # Errors
/// The chain's; its time has not come.
pub fn advance(walk: &mut Walk<'_>, at: &Addresses, claim: &Claim) -> Result<()> {
    match claim.state {
        "executed" => Ok(()),
        "final" => {
            let call = DisputeCourt::executeCall { claimId: claim.id };
            walk.take(Step::new("carry out the verdict", at.court, &call, gas::MOVE))?;
            Ok(())
        }
        state if walk.client.time()? <= claim.deadline => {
            Err(Error::refused(format!("the claim is {state}, and its time has not come")))
        }
        _ => {
            let says = format!("take the claim on: {}", claim.if_nobody_acts());
            walk.take(Step::new(says, at.court, &DisputeCourt::ruleCall { claimId: claim.id }, gas::MOVE))?;
            Ok(())
        }
    }
}

/// The side that lost asks for a larger jury, for twice the bond; once.
///
/// # Errors
/// The chain's.
pub fn appeal(walk: &mut Walk<'_>, at: &Addresses, claim: &Claim) -> Result<()> {
    let loyal = Asset::read(walk.client, at.currency)?;
    let bond = U256::from(claim.bond) * U256::from(2);
    walk.take_if(Step::approval(walk.client, &loyal, walk.account(), (at.court, "court"), bond)?)?;
    let says = format!("appeal, with a bond of {}", loyal.text(bond));
    walk.take(Step::new(says, at.court, &DisputeCourt::appealCall { claimId: claim.id }, gas::MOVE))?;
    Ok(())
}

/// A member of the jury votes: it commits to its ballot while that is the time, and shows the same one after. The jury is
/// drawn first, where nobody has.
///
/// # Errors
/// The chain's; no jury sits, the account is not on it, or the ballot is not the one committed to.
pub fn vote(walk: &mut Walk<'_>, at: &Addresses, claim: &Claim, finding: &Finding) -> Result<()> {
    let Some(panel) = claim.panel.as_ref().filter(|_| claim.state == "voting") else {
        return Err(Error::refused(format!("the claim is {}: no jury sits", claim.state)));
    };
    let client = walk.client;
    if panel.members.is_empty() {
        draw(walk, at, claim, panel)?;
        if walk.is_rehearsal() {
            return Ok(());
        }
    }
    let members = client.call(at.jury, &Jury::panelOfCall { claimId: claim.id, round: claim.round })?.members;
    if !members.contains(&walk.account()) {
        return Err(Error::refused(format!("{} does not sit on this jury", walk.account())));
    }
    let ballot = ballot(walk.key(), claim, finding);
    let digest = message::digest(&ballot, &message::domain(client.chain_id(), at.registry));
    let commitment = keccak256((digest, walk.account()).abi_encode());
    let call = Jury::voteOfCall { claimId: claim.id, round: claim.round, voter: walk.account() };
    let found = client.call(at.jury, &call)?;
    if client.time()? <= panel.commit_by {
        if found.commitment != commitment {
            let call = Jury::commitBallotCall { claimId: claim.id, round: claim.round, commitment };
            walk.take(Step::new("commit to a ballot", at.jury, &call, gas::BALLOT))?;
        }
        return Ok(());
    }
    if found.outcome != 0 {
        return Ok(());
    }
    if found.commitment != commitment {
        return Err(Error::refused(
            "this is not the ballot you committed to: give the same outcome, counts and reason",
        ));
    }
    let ballot = Jury::Ballot {
        claimId: ballot.claimId,
        round: ballot.round,
        outcome: ballot.outcome,
        hits: ballot.hits,
        trials: ballot.trials,
        reasonHash: ballot.reasonHash,
        salt: ballot.salt,
    };
    walk.take(Step::new("show the ballot", at.jury, &Jury::revealBallotCall { ballot }, gas::BALLOT))?;
    Ok(())
}

/// Draws a jury with the seed of its epoch, which is fixed first where nobody has; anybody may.
///
/// # Errors
/// The chain's; its epoch has not begun.
pub fn draw(walk: &mut Walk<'_>, at: &Addresses, claim: &Claim, panel: &Panel) -> Result<()> {
    let client = walk.client;
    let epoch = panel.seed_epoch;
    let seed = client.call(at.beacon, &Beacon::drawOfCall { epoch })?.seed;
    if seed == B256::ZERO {
        let begins = client.call(at.parameters, &Parameters::epochStartCall { epoch })?;
        if client.time()? < begins {
            return Err(Error::refused(format!(
                "the jury is drawn by the seed of epoch {epoch}, which has not begun"
            )));
        }
        let says = format!("draw the seed of epoch {epoch}");
        walk.take(Step::new(says, at.beacon, &Beacon::closeCall { epoch }, 75_000))?;
    }
    let call = Jury::drawCall { claimId: claim.id, round: claim.round };
    walk.take(Step::new("draw the jury", at.jury, &call, gas::DRAW))?;
    Ok(())
}

/// A ballot whose salt only its voter can make again: from the key, so that nothing has to be kept between commit and show.
fn ballot(key: &Key, claim: &Claim, finding: &Finding) -> message::Ballot {
    let subject = keccak256([b"loyal/ballot/1".as_slice(), claim.id.as_slice(), &[claim.round]].concat());
    message::Ballot {
        claimId: claim.id,
        round: claim.round,
        outcome: finding.outcome,
        hits: finding.hits,
        trials: finding.trials,
        reasonHash: keccak256(&finding.reason),
        salt: keccak256(key.sign_bytes(subject)),
    }
}

/// Sends an account the LOYAL that claims left it.
///
/// # Errors
/// The chain's.
pub fn withdraw(walk: &mut Walk<'_>, at: &Addresses, account: Address) -> Result<U256> {
    let owed = walk.client.call(at.court, &DisputeCourt::owedCall { account })?;
    if owed > U256::ZERO {
        let loyal = Asset::read(walk.client, at.currency)?;
        let says = format!("send {} that claims left", loyal.text(owed));
        walk.take(Step::new(says, at.court, &DisputeCourt::withdrawCall { account }, gas::TAKE))?;
    }
    Ok(owed)
}
