//! The court in plain Rust, from its rules: no EVM, amounts in `u128`. It says what every step leaves to whom.

use std::collections::BTreeMap;

use alloy_primitives::B256;

use crate::town::{DAY, LOYAL};

/// What a stake, a bond or a claim waits for; as the parameters have it.
pub(crate) const THAW: u64 = 14 * DAY;
const APPEAL: u64 = 3 * DAY;
const HUNG: u64 = 14 * DAY;
/// What a jury's member needs.
pub(crate) const SEAT: u128 = 10_000 * LOYAL;
/// Members of the first jury, and of the second.
const JURIES: [usize; 2] = [5, 11];

/// Of what a claim accuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Omitted,
    Overcharge,
    Equivocation,
    Unauthorised,
    Leak,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    None,
    Upheld,
    Dismissed,
    Dropped,
}

/// A claim: what is at stake in it, and where it stands, in the words of `loyal_roles::court`.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) kind: Kind,
    pub(crate) state: &'static str,
    pub(crate) outcome: Outcome,
    pub(crate) claimant: String,
    pub(crate) accused: String,
    pub(crate) hosting: u64,
    pub(crate) epoch: u32,
    /// What the claimant put up to open it, the accused to be heard, and whoever lost to be heard again.
    pub(crate) bond: u128,
    pub(crate) plea: u128,
    pub(crate) appeal: u128,
    /// Whether the claimant is who appealed.
    pub(crate) claimant_appealed: bool,
    /// What the receipt itself costs, and the least part of the bond.
    pub(crate) loss: u128,
    pub(crate) bps: u128,
    /// Whether it ends the hosting.
    pub(crate) closes: bool,
    pub(crate) round: u8,
    pub(crate) deadline: u64,
    /// Ballots that were shown: the round, whose, and what it says.
    pub(crate) ballots: Vec<(u8, String, Outcome)>,
}

/// What is at risk in the vault.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) bound: u128,
    pub(crate) thawing: u128,
    pub(crate) thaws_at: u64,
    pub(crate) freezes: u32,
}

/// A hosting, as far as the court goes.
#[derive(Debug, Clone)]
pub(crate) struct Hosting {
    pub(crate) host: String,
    pub(crate) position: Position,
    pub(crate) state: &'static str,
    pub(crate) exits_at: u64,
    pub(crate) convictions: u16,
}

/// What everybody should have.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    pub(crate) wallet: BTreeMap<String, u128>,
    /// What claims left to an account.
    pub(crate) owed: BTreeMap<String, u128>,
    /// What slashes gave to an account.
    pub(crate) rewards: BTreeMap<String, u128>,
    pub(crate) hostings: BTreeMap<u64, Hosting>,
    pub(crate) seats: BTreeMap<String, Position>,
    pub(crate) claims: BTreeMap<B256, Claim>,
    /// What receipts of an epoch have cost a hosting.
    pub(crate) taken: BTreeMap<(u64, u32), u128>,
    /// What slashes gave the holders of the model.
    pub(crate) shares: u128,
    pub(crate) burnt: u128,
}

impl Position {
    pub(crate) const fn whole(&self) -> u128 {
        self.bound + self.thawing
    }

    /// What is bound goes first.
    fn slash(&mut self, amount: u128) {
        let from_bound = amount.min(self.bound);
        self.bound -= from_bound;
        self.thawing -= amount - from_bound;
    }

    pub(crate) fn thaw(&mut self, amount: u128, now: u64) {
        self.bound -= amount;
        self.thawing += amount;
        self.thaws_at = now + THAW;
    }
}

impl Claim {
    /// What waits in the court for this claim's end.
    pub(crate) fn waiting(&self) -> u128 {
        if self.is_over() { 0 } else { self.bond + self.plea + self.appeal }
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, "final" | "executed")
    }

    fn shown(&self, round: u8) -> impl Iterator<Item = &(u8, String, Outcome)> {
        self.ballots.iter().filter(move |(of, _, _)| *of == round)
    }

    /// What a jury found, if more than half of its seats spoke: upheld by more than half of those, else dismissed.
    fn tally(&self, round: u8) -> Option<Outcome> {
        let shown = self.shown(round).count();
        let upheld = self.shown(round).filter(|(_, _, outcome)| *outcome == Outcome::Upheld).count();
        let sat = shown * 2 > JURIES[usize::from(round) - 1];
        sat.then_some(if upheld * 2 > shown { Outcome::Upheld } else { Outcome::Dismissed })
    }
}

fn add(to: &mut BTreeMap<String, u128>, who: &str, amount: u128) {
    *to.entry(who.to_owned()).or_default() += amount;
}

impl Ledger {
    fn spend(&mut self, who: &str, amount: u128) {
        *self.wallet.get_mut(who).expect("everybody has a wallet") -= amount;
    }

    fn claim(&mut self, id: B256) -> &mut Claim {
        self.claims.get_mut(&id).expect("the claim is known")
    }

    /// A claim holds its hosting; one that is proven is carried out at once.
    pub(crate) fn open(&mut self, id: B256, claim: Claim, proven: bool, now: u64) {
        self.spend(&claim.claimant, claim.bond);
        self.hostings.get_mut(&claim.hosting).expect("known").position.freezes += 1;
        self.claims.insert(id, claim);
        if proven {
            self.finish(id, Outcome::Upheld);
            self.execute(id, now);
        }
    }

    pub(crate) fn plead(&mut self, id: B256) {
        let claim = self.claim(id);
        claim.plea = claim.bond;
        let (who, amount) = (claim.accused.clone(), claim.plea);
        self.spend(&who, amount);
    }

    /// Whoever lost puts up twice the bond for a larger jury.
    pub(crate) fn appeal(&mut self, id: B256, revealed_by: u64) {
        let claim = self.claim(id);
        claim.claimant_appealed = claim.outcome != Outcome::Upheld;
        claim.appeal = 2 * claim.bond;
        let who = if claim.claimant_appealed { &claim.claimant } else { &claim.accused }.clone();
        let amount = claim.appeal;
        self.convene(id, 2, revealed_by);
        self.spend(&who, amount);
    }

    fn convene(&mut self, id: B256, round: u8, revealed_by: u64) {
        let claim = self.claim(id);
        (claim.state, claim.round, claim.deadline) = ("voting", round, revealed_by);
    }

    /// A claim whose time has come goes one step on. `revealed_by` is when a jury that is called now will have spoken.
    pub(crate) fn rule(&mut self, id: B256, now: u64, revealed_by: u64) {
        let claim = self.claim(id).clone();
        let tally = (claim.round > 0).then(|| claim.tally(claim.round)).flatten();
        match (claim.state, claim.round, tally) {
            ("open", _, _) if claim.kind == Kind::Leak => self.convene(id, 1, revealed_by),
            ("open", _, _) => self.end(id, Outcome::Upheld, now),
            ("voting", 1, Some(outcome)) => {
                let claim = self.claim(id);
                (claim.state, claim.outcome, claim.deadline) = ("ruled", outcome, now + APPEAL);
            }
            ("voting", 1, None) => self.convene(id, 2, revealed_by),
            ("voting", _, Some(outcome)) => self.end(id, outcome, now),
            // An appeal that nobody heard leaves the first verdict.
            ("voting", _, None) if claim.appeal > 0 => self.end(id, claim.outcome, now),
            ("voting", _, None) => {
                let claim = self.claim(id);
                (claim.state, claim.deadline) = ("hung", now + HUNG);
            }
            ("ruled", _, _) => self.end(id, claim.outcome, now),
            ("hung", _, _) => self.end(id, Outcome::Dismissed, now),
            (state, _, _) => panic!("a claim that is {state} has no time"),
        }
    }

    /// What takes nothing is carried out at once.
    pub(crate) fn end(&mut self, id: B256, outcome: Outcome, now: u64) {
        self.finish(id, outcome);
        if outcome != Outcome::Upheld {
            self.execute(id, now);
        }
    }

    /// Whoever wins has back what it put up, and half of what the other side did; those who voted so share the other half.
    fn finish(&mut self, id: B256, outcome: Outcome) {
        let claim = self.claim(id);
        (claim.state, claim.outcome) = ("final", outcome);
        let claim = claim.clone();
        let upheld = outcome == Outcome::Upheld;
        let (mut accuser, mut accused) = (claim.bond, claim.plea);
        *if claim.claimant_appealed { &mut accuser } else { &mut accused } += claim.appeal;
        let (own, lost) = if upheld { (accuser, accused) } else { (accused, accuser) };
        let winner = if upheld { &claim.claimant } else { &claim.accused };
        add(&mut self.owed, winner, own + lost / 2);
        let rest = lost - lost / 2;
        if outcome == Outcome::Dropped {
            add(&mut self.owed, &claim.claimant, rest);
            return;
        }
        let voters: Vec<_> = claim.ballots.iter().filter(|(_, _, said)| *said == outcome).collect();
        let each = if voters.is_empty() { 0 } else { rest / voters.len() as u128 };
        for (_, who, _) in &voters {
            add(&mut self.owed, who, each);
        }
        self.burnt += rest - each * voters.len() as u128;
    }

    /// The hosting is free of the claim, and pays where it was upheld.
    pub(crate) fn execute(&mut self, id: B256, now: u64) {
        let claim = self.claim(id);
        claim.state = "executed";
        let claim = claim.clone();
        let hosting = self.hostings.get_mut(&claim.hosting).expect("known");
        hosting.position.freezes -= 1;
        if claim.outcome != Outcome::Upheld || hosting.state == "closed" {
            return;
        }
        let bond = hosting.position.whole();
        let mut amount = claim.loss.max(bond * claim.bps / 10_000).min(bond);
        if claim.kind != Kind::Leak {
            // All receipts of an epoch together cost half of the bond there was.
            let taken = self.taken.entry((claim.hosting, claim.epoch)).or_default();
            amount = amount.min(((bond + *taken) / 2).saturating_sub(*taken));
            *taken += amount;
        }
        hosting.convictions += 1;
        if claim.closes && hosting.state != "exiting" {
            (hosting.state, hosting.exits_at) = ("exiting", now + THAW);
            if hosting.position.bound > 0 {
                let all = hosting.position.bound;
                hosting.position.thaw(all, now);
            }
        }
        hosting.position.slash(amount);
        // Half to who accused, a fifth is burnt, the rest is the holders'.
        let (half, fifth) = (amount / 2, amount / 5);
        add(&mut self.rewards, &claim.claimant, half);
        self.burnt += fifth;
        self.shares += amount - half - fifth;
    }

    /// A member of a jury that was silent loses a hundredth of a seat.
    pub(crate) fn fine(&mut self, who: &str) {
        let position = self.seats.get_mut(who).expect("it has a seat");
        let amount = (SEAT / 100).min(position.whole());
        position.slash(amount);
        self.burnt += amount;
    }

    pub(crate) fn bind(&mut self, who: &str, amount: u128) {
        self.spend(who, amount);
        self.seats.entry(who.to_owned()).or_default().bound += amount;
    }

    /// Takes what claims left, or what slashes gave.
    pub(crate) fn take(&mut self, who: &str, rewards: bool) {
        let from = if rewards { &mut self.rewards } else { &mut self.owed };
        let amount = from.insert(who.to_owned(), 0).unwrap_or_default();
        add(&mut self.wallet, who, amount);
    }

    /// What has thawed goes home.
    pub(crate) fn collect(&mut self, who: &str) {
        let amount = std::mem::take(&mut self.seats.get_mut(who).expect("it has a stake").thawing);
        add(&mut self.wallet, who, amount);
    }

    pub(crate) fn close(&mut self, hosting: u64) {
        let entry = self.hostings.get_mut(&hosting).expect("known");
        entry.state = "closed";
        let (who, amount) = (entry.host.clone(), std::mem::take(&mut entry.position.thawing));
        add(&mut self.wallet, &who, amount);
    }
}
