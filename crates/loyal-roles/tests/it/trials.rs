//! The ledger beside the contracts: random histories of claims, juries and stakes, everything compared after each step.
//!
//! `LOYAL_TRIALS=500` lives through so many histories instead of a few. What holds of the ledger by its rules is asked of the
//! contracts too, by the numbers of the protocol's invariants: the vault holds what is bound, thaws or was given (6), a
//! hosting is frozen by its open claims (7), the court holds what claims wait for and what is owed, and every claim ends by
//! time (8), no honest host is convicted (10), a slash is divided to the last unit (17), juries are drawn, distinct and no
//! party (18).

mod agreement;

use std::collections::BTreeSet;

use alloy_primitives::{B256, Bytes, U256, keccak256};
use alloy_sol_types::SolValue as _;
use loyal_protocol::contracts::*;
use loyal_protocol::{Addresses, message};
use loyal_roles::court::{self, Finding};
use loyal_roles::defence::{self, Said};
use loyal_roles::hosting;
use loyal_roles::stake::{self, Seat};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::ledger::{Claim, Hosting, Kind, Ledger, Outcome, Position, SEAT};
use crate::story::{leak, traced};
use crate::town::{BOND, DAY, LEAVES, LOYAL, PRICE, PURSE, Town, account, numbered};

const VALIDATORS: usize = 14;
/// Histories of the default run, and steps of each.
const TRIALS: u64 = 6;
const STEPS: u32 = 45;
/// A build that the owner allows.
const BUILD: &str = "an attested build";
/// The most that one step passes: until two juries were called, and did not sit.
const ROUNDS_MAX: usize = 12;

struct Both {
    town: Town,
    ledger: Ledger,
    rng: ChaCha8Rng,
    /// The hosting of the honest host.
    honest: u64,
    /// Leaves that were shown.
    leaves: u32,
    receipts: u32,
    supply: u128,
    /// What the vault holds for others: the owner's bond.
    others: u128,
}

fn people() -> impl Iterator<Item = String> {
    let crowd = (0..VALIDATORS).map(|number| numbered("validator", number));
    ["host", "cheat", "user", "claimant"].into_iter().map(str::to_owned).chain(crowd)
}

impl Both {
    fn new(seed: u64) -> Self {
        let town = Town::open().unwrap();
        town.seat("validator", VALIDATORS).unwrap();
        let until = U256::MAX.saturating_to::<u64>();
        let call = Gate::setImageCall { modelId: U256::from(town.model), image: keccak256(BUILD), until };
        town.send("owner", town.at.gate, &call).unwrap();
        let mut ledger = Ledger::default();
        for who in people() {
            ledger.wallet.insert(who, PURSE);
        }
        for number in 0..VALIDATORS {
            ledger.bind(&numbered("validator", number), SEAT);
        }
        let supply = town.supply().unwrap();
        let others = town.purse(town.at.vault).unwrap() - SEAT * VALIDATORS as u128;
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let mut both = Self { town, ledger, rng, honest: 0, leaves: 0, receipts: 100, supply, others };
        both.honest = both.host("host");
        for number in 0..12 {
            both.town.invoke(both.honest, &format!("Question {number}")).unwrap();
        }
        both.host("cheat");
        both.work(2);
        both.pass(both.now() + DAY);
        both
    }

    fn now(&self) -> u64 {
        self.town.now().unwrap()
    }

    fn at(&self) -> Addresses {
        self.town.at
    }

    fn host(&mut self, who: &str) -> u64 {
        let id = traced(&self.town, who).unwrap();
        let position = Position { bound: BOND, ..Position::default() };
        let hosting =
            Hosting { host: who.to_owned(), position, state: "active", exits_at: 0, convictions: 0 };
        self.ledger.hostings.insert(id, hosting);
        *self.ledger.wallet.get_mut(who).unwrap() -= BOND;
        id
    }

    /// The cheat's hostings that have not closed.
    fn cheats(&self) -> Vec<u64> {
        let all = self.ledger.hostings.iter();
        all.filter(|(id, one)| **id != self.honest && one.state != "closed").map(|(id, _)| *id).collect()
    }

    /// One of a list; none of none.
    fn any<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        (!of.is_empty()).then(|| of[self.rng.random_range(0..of.len())].clone())
    }

    fn claims(&self, fits: impl Fn(&Claim) -> bool) -> Vec<B256> {
        self.ledger.claims.iter().filter(|(_, claim)| fits(claim)).map(|(id, _)| *id).collect()
    }

    /// Invocations of today that the cheat's hostings answer, and report.
    fn work(&mut self, count: usize) {
        for id in self.cheats() {
            let one = &self.ledger.hostings[&id];
            // A report above what the bond carries would pause the hosting.
            if one.state == "active" && one.position.bound > 10 * LOYAL {
                for _ in 0..count {
                    self.town.invoke(id, "Anything").unwrap();
                }
            }
        }
    }

    /// Time passes; hosts report each day, and the honest one answers whoever accuses it.
    fn pass(&mut self, until: u64) {
        while self.now() <= until {
            let next = self.town.start_of(self.town.today().unwrap() + 1).unwrap();
            self.town.pass(next.min(until)).unwrap();
            for (id, one) in &self.ledger.hostings {
                if one.state != "closed" {
                    self.town.report_all(&one.host, *id).unwrap();
                }
            }
            self.defend();
        }
    }

    /// Invariant 10: what the honest host is accused of is dismissed.
    fn defend(&mut self) {
        let (at, honest) = (self.at(), self.honest);
        let replies = self.town.act("host", |walk| defence::run(walk, &at, honest, &self.town.book)).unwrap();
        for reply in replies {
            let claim = &self.ledger.claims[&reply.claim];
            if claim.kind == Kind::Leak {
                continue;
            }
            assert_eq!(reply.said, Said::Cleared, "{claim:?}");
            let now = self.now();
            self.ledger.end(reply.claim, Outcome::Dismissed, now);
        }
    }

    /// When a jury that is called now will have spoken: it is drawn with tomorrow's seed, and has two days.
    fn revealed_by(&self) -> u64 {
        self.town.start_of(self.town.today().unwrap() + 1).unwrap() + 2 * DAY
    }

    // --- claims

    fn accuse(&mut self, claim: Claim, evidence: &Bytes, proven: bool) {
        let kind = match claim.kind {
            Kind::Omitted => court::Kind::Omitted,
            Kind::Overcharge => court::Kind::Overcharge,
            Kind::Equivocation => court::Kind::Equivocation,
            Kind::Unauthorised => court::Kind::Unauthorised,
            Kind::Leak => court::Kind::Leak,
        };
        let id = self.town.accuse(&claim.claimant, kind, evidence).unwrap();
        let now = self.now();
        let days = if claim.kind == Kind::Leak { 2 } else { 1 };
        self.ledger.open(id, Claim { deadline: now + days * DAY, ..claim }, proven, now);
    }

    fn against(&mut self, kind: Kind, hosting: u64) -> Claim {
        let claimant = self.any(&["claimant", "user"]).unwrap();
        let bps = match kind {
            Kind::Equivocation => 1_000,
            Kind::Leak => 0,
            _ => 500,
        };
        Claim {
            kind,
            state: "open",
            outcome: Outcome::None,
            claimant: claimant.to_owned(),
            accused: self.ledger.hostings[&hosting].host.clone(),
            hosting,
            epoch: 0,
            bond: if kind == Kind::Leak { 100 * LOYAL } else { 10 * LOYAL },
            plea: 0,
            appeal: 0,
            claimant_appealed: false,
            loss: 0,
            bps,
            closes: kind == Kind::Leak,
            round: u8::from(kind == Kind::Leak),
            deadline: 0,
            ballots: Vec::new(),
        }
    }

    /// A receipt of a cheat beside those it reported, of a day that it reported.
    fn receipt(&mut self, hosting: u64) -> Option<message::Receipt> {
        let days = 0..self.town.today().unwrap();
        let days: Vec<_> = days.filter(|day| !self.logged(hosting, *day).is_empty()).collect();
        let day = self.any(&days)?;
        let mut receipt = self.logged(hosting, day)[0].clone();
        self.receipts += 1;
        receipt.seq = self.receipts;
        receipt.amount = u128::from(self.rng.random::<u64>()) % (3 * LOYAL / 2);
        receipt.invocationId = keccak256(self.receipts.to_be_bytes());
        Some(receipt)
    }

    fn logged(&self, hosting: u64, day: u32) -> Vec<message::Receipt> {
        self.town.book.receipts(hosting, day)
    }

    fn signed(&self, host: &str, receipt: &message::Receipt) -> (message::Receipt, Bytes) {
        (receipt.clone(), self.town.sign(host, receipt))
    }

    /// A receipt that convicts by itself, or by silence.
    fn accuse_by_receipt(&mut self, kind: Kind) {
        let cheats = self.cheats();
        let Some(hosting) = self.any(&cheats) else { return };
        let Some(mut receipt) = self.receipt(hosting) else { return };
        let mut claim = self.against(kind, hosting);
        claim.epoch = receipt.epoch;
        let evidence = match kind {
            Kind::Equivocation => {
                let mut other = receipt.clone();
                other.responseHash = B256::repeat_byte(9);
                let ((a, b), (c, d)) = (self.signed("cheat", &receipt), self.signed("cheat", &other));
                (a, b, c, d).abi_encode_params()
            }
            Kind::Overcharge => {
                let invocation = message::Invocation {
                    credentialId: B256::ZERO,
                    hostingId: receipt.hostingId,
                    version: 1,
                    channelId: B256::ZERO,
                    nonce: u64::from(self.receipts),
                    requestHash: B256::ZERO,
                    amountMax: PRICE,
                    deadline: receipt.issuedAt,
                };
                receipt.amount += PRICE + 1;
                receipt.invocationId = self.town.digest(&invocation);
                claim.loss = 100 * (receipt.amount - PRICE);
                let (a, b) = self.signed("cheat", &receipt);
                (a, b, invocation).abi_encode_params()
            }
            Kind::Unauthorised => {
                let (a, b) = self.signed("cheat", &receipt);
                (a, b, Bytes::new()).abi_encode_params()
            }
            _ => {
                // With a number that the report counts, the cheat has a day to open the leaf.
                if self.rng.random() {
                    receipt.seq = 0;
                }
                claim.loss = 100 * receipt.amount;
                self.signed("cheat", &receipt).abi_encode_params()
            }
        };
        let proven = match kind {
            Kind::Omitted => receipt.seq > 0,
            Kind::Unauthorised => false,
            _ => true,
        };
        self.accuse(claim, &evidence.into(), proven);
    }

    /// The honest host is accused by one of its own receipts.
    fn accuse_honest(&mut self) {
        let day = (0..self.town.today().unwrap()).find(|day| !self.logged(self.honest, *day).is_empty());
        let receipts = self.logged(self.honest, day.unwrap());
        let Some(receipt) = self.any(&receipts) else { return };
        let kind = self.any(&[Kind::Omitted, Kind::Unauthorised]).unwrap();
        let label = if kind == Kind::Omitted { "omitted" } else { "unauthorised" };
        let subject = keccak256((label, self.town.digest(&receipt)).abi_encode_params());
        let held = DisputeCourt::claimOnCall { subject };
        if self.town.client.call(self.at().court, &held).unwrap() != B256::ZERO {
            return;
        }
        let mut claim = self.against(kind, self.honest);
        (claim.epoch, claim.loss) = (receipt.epoch, if label == "omitted" { 100 * PRICE } else { 0 });
        let (receipt, signature) = self.signed("host", &receipt);
        let evidence = if kind == Kind::Omitted {
            (receipt, signature).abi_encode_params()
        } else {
            (receipt, signature, Bytes::new()).abi_encode_params()
        };
        self.accuse(claim, &evidence.into(), false);
    }

    fn accuse_of_leak(&mut self) {
        let cheats = self.cheats();
        let Some(hosting) = self.any(&cheats) else { return };
        if self.leaves + 40 > LEAVES {
            return;
        }
        let attested = self.rng.random();
        let build = if attested { keccak256(BUILD) } else { B256::ZERO };
        let evidence = leak(&self.town, hosting, self.leaves, build).unwrap();
        self.leaves += 16;
        let mut claim = self.against(Kind::Leak, hosting);
        claim.bps = if attested { 5_000 } else { 0 };
        self.accuse(claim, &evidence, false);
    }

    // --- what becomes of them

    fn plead(&mut self) {
        let now = self.now();
        let open = self.claims(|claim| {
            claim.kind == Kind::Leak && claim.state == "open" && claim.plea == 0 && now + 10 < claim.deadline
        });
        let Some(id) = self.any(&open) else { return };
        let (at, claim) = (self.at(), self.town.claim(id).unwrap());
        self.town.act("cheat", |walk| court::plead(walk, &at, &claim, Bytes::new())).unwrap();
        self.ledger.plead(id);
    }

    fn drop_claim(&mut self) {
        let now = self.now();
        let open = self.claims(|claim| claim.state == "open" && claim.plea == 0 && now + 10 < claim.deadline);
        let Some(id) = self.any(&open) else { return };
        let claim = self.ledger.claims[&id].clone();
        let call = DisputeCourt::dropCall { claimId: id };
        let dropped = self.town.send(&claim.claimant, self.at().court, &call);
        // What holds by silence cannot be taken back.
        assert_eq!(dropped.is_ok(), claim.kind == Kind::Leak, "{claim:?}");
        if dropped.is_ok() {
            let now = self.now();
            self.ledger.end(id, Outcome::Dropped, now);
        }
    }

    /// A claim's time comes, or its verdict is carried out.
    fn advance(&mut self, id: B256) {
        let deadline = self.ledger.claims[&id].deadline;
        if self.ledger.claims[&id].state != "final" {
            self.pass(deadline);
        }
        let (at, claim) = (self.at(), self.town.claim(id).unwrap());
        // The honest host may have ended it while time passed.
        if claim.state == "executed" {
            return;
        }
        self.town.act("user", |walk| court::advance(walk, &at, &claim)).unwrap();
        let now = self.now();
        if claim.state == "final" {
            self.ledger.execute(id, now);
        } else {
            self.ledger.rule(id, now, self.revealed_by());
        }
    }

    fn appeal(&mut self) {
        let now = self.now();
        let ruled = self.claims(|claim| claim.state == "ruled" && now + 10 < claim.deadline);
        let Some(id) = self.any(&ruled) else { return };
        let claim = self.ledger.claims[&id].clone();
        let (loser, winner) = if claim.outcome == Outcome::Upheld {
            (&claim.accused, &claim.claimant)
        } else {
            (&claim.claimant, &claim.accused)
        };
        let (at, found) = (self.at(), self.town.claim(id).unwrap());
        assert!(self.town.act(winner, |walk| court::appeal(walk, &at, &found)).is_err(), "{winner} has won");
        self.town.act(loser, |walk| court::appeal(walk, &at, &found)).unwrap();
        let revealed_by = self.revealed_by();
        self.ledger.appeal(id, revealed_by);
    }

    /// Invariant 18: who sits was seated, sits once, and is no party. Some of them vote, and some of those show it.
    fn vote(&mut self) {
        let voting = self.claims(|claim| claim.state == "voting");
        let Some(id) = self.any(&voting) else { return };
        let claim = self.town.claim(id).unwrap();
        let panel = claim.panel.clone().unwrap();
        let begins = self.town.start_of(panel.seed_epoch).unwrap();
        if !panel.members.is_empty() || self.now() + 3_600 > panel.commit_by {
            return;
        }
        if self.now() < begins {
            self.pass(begins);
        }
        let at = self.at();
        let drawn = Beacon::drawOfCall { epoch: panel.seed_epoch };
        if self.town.client.call(at.beacon, &drawn).unwrap().seed == B256::ZERO {
            self.town.send("user", at.beacon, &Beacon::closeCall { epoch: panel.seed_epoch }).unwrap();
        }
        self.town.send("user", at.jury, &Jury::drawCall { claimId: id, round: claim.round }).unwrap();
        let members = self.town.claim(id).unwrap().panel.unwrap().members;
        let names: Vec<_> = members
            .iter()
            .map(|of| people().find(|name| account(name) == *of).expect("a validator"))
            .collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "distinct: {names:?}");
        assert!(names.iter().all(|name| name.starts_with("validator")), "no party: {names:?}");
        let eager = self.rng.random_range(0..4);
        let lean = self.rng.random_range(0..=10);
        let mut committed = Vec::new();
        for name in &names {
            if self.rng.random_range(0..4) <= eager {
                let outcome = if self.rng.random_range(0..10) < lean { 1 } else { 2 };
                let finding = Finding { outcome, hits: 0, trials: 0, reason: format!("what {name} saw") };
                self.say(id, name, &finding);
                committed.push((name.clone(), finding));
            }
        }
        self.pass(panel.commit_by);
        for (name, finding) in committed {
            if self.rng.random_range(0..8) > 0 {
                self.say(id, &name, &finding);
                let outcome = if finding.outcome == 1 { Outcome::Upheld } else { Outcome::Dismissed };
                let claim = self.ledger.claims.get_mut(&id).unwrap();
                claim.ballots.push((claim.round, name, outcome));
            }
        }
    }

    fn say(&self, id: B256, name: &str, finding: &Finding) {
        let (at, claim) = (self.at(), self.town.claim(id).unwrap());
        self.town.act(name, |walk| court::vote(walk, &at, &claim, finding)).unwrap();
    }

    /// Whoever sat and was silent is fined, once.
    fn fine(&mut self) {
        let heard = self.claims(|claim| claim.round > 0);
        let Some(id) = self.any(&heard) else { return };
        let (at, claim) = (self.at(), self.town.claim(id).unwrap());
        let Some(panel) = claim.panel else { return };
        if self.now() <= panel.reveal_by {
            return;
        }
        for member in panel.members {
            let call = Jury::voteOfCall { claimId: id, round: claim.round, voter: member };
            let vote = self.town.client.call(at.jury, &call).unwrap();
            let call = Jury::fineVoterCall { claimId: id, round: claim.round, voter: member };
            let fined = self.town.send("user", at.jury, &call).is_ok();
            assert!(!fined || (vote.outcome == 0 && !vote.fined), "whoever spoke is not fined");
            if fined {
                self.ledger.fine(&people().find(|name| account(name) == member).unwrap());
            }
        }
    }

    // --- stakes and amounts

    fn stake(&mut self) {
        let name = numbered("validator", self.rng.random_range(0..VALIDATORS));
        let (at, position) = (self.at(), self.ledger.seats[&name].clone());
        match self.rng.random_range(0..3) {
            0 if self.ledger.wallet[&name] > SEAT => {
                self.town.act(&name, |walk| stake::bind(walk, &at, Seat::Validator, None)).unwrap();
                self.ledger.bind(&name, SEAT.saturating_sub(position.bound));
            }
            1 => {
                let to = position.bound - position.bound * self.rng.random_range(0..4) / 20;
                self.town.act(&name, |walk| stake::thaw(walk, &at, Seat::Validator, to)).unwrap();
                if to < position.bound {
                    let now = self.now();
                    self.ledger.seats.get_mut(&name).unwrap().thaw(position.bound - to, now);
                }
            }
            _ => {
                let before = self.now();
                self.town.act(&name, |walk| stake::withdraw(walk, &at, Seat::Validator)).unwrap();
                if before >= position.thaws_at {
                    self.ledger.collect(&name);
                }
            }
        }
    }

    fn take(&mut self) {
        let all: Vec<_> = people().collect();
        let name = self.any(&all).unwrap();
        let (at, who) = (self.at(), account(&name));
        self.town.act("user", |walk| court::withdraw(walk, &at, who)).unwrap();
        self.ledger.take(&name, false);
        let call = StakeVault::distributeCall { account: who, asset: at.currency };
        self.town.send("user", at.vault, &call).unwrap();
        self.ledger.take(&name, true);
    }

    /// Invariant 7: nobody leaves under a claim. A cheat that may leave does, and takes its bond when that has thawed.
    fn leave(&mut self) {
        let cheats = self.cheats();
        let Some(id) = self.any(&cheats) else { return };
        let (at, one) = (self.at(), self.ledger.hostings[&id].clone());
        if one.state == "exiting" {
            self.pass(one.exits_at);
            let frozen = self.ledger.hostings[&id].position.freezes > 0;
            let whole = self.ledger.hostings[&id].position.thawing;
            let closed = self.town.send("cheat", at.gate, &Gate::closeCall { hostingId: U256::from(id) });
            assert_eq!(closed.is_ok(), !frozen || whole == 0, "{one:?}");
            if closed.is_ok() {
                self.ledger.close(id);
            }
        } else {
            let left = self.town.act("cheat", |walk| hosting::exit(walk, &at, id));
            assert_eq!(left.is_ok(), one.position.freezes == 0, "{one:?}");
            if left.is_ok() {
                let now = self.now();
                let entry = self.ledger.hostings.get_mut(&id).unwrap();
                (entry.state, entry.exits_at) = ("exiting", now + crate::ledger::THAW);
                if entry.position.bound > 0 {
                    let all = entry.position.bound;
                    entry.position.thaw(all, now);
                }
            }
        }
    }

    fn step(&mut self) {
        if self.cheats().iter().filter(|id| self.ledger.hostings[*id].state == "active").count() == 0 {
            self.host("cheat");
            self.work(2);
            self.pass(self.now() + DAY);
        }
        match self.rng.random_range(0..24) {
            0 | 1 => self.accuse_by_receipt(Kind::Omitted),
            2 => self.accuse_by_receipt(Kind::Overcharge),
            3 => self.accuse_by_receipt(Kind::Equivocation),
            4 => self.accuse_by_receipt(Kind::Unauthorised),
            5 => self.accuse_honest(),
            6 | 7 => self.accuse_of_leak(),
            8 => self.plead(),
            9 => self.drop_claim(),
            10..14 => {
                let going = self.claims(|claim| claim.state != "executed");
                if let Some(id) = self.any(&going) {
                    self.advance(id);
                }
            }
            14..17 => self.vote(),
            17 => self.appeal(),
            18 => self.fine(),
            19 | 20 => self.stake(),
            21 => self.take(),
            22 => {
                if self.rng.random_range(0..4) == 0 {
                    self.leave();
                }
            }
            _ => {
                self.work(1);
                let hours = self.rng.random_range(1..40);
                self.pass(self.now() + hours * 3_600);
            }
        }
    }

    /// Invariant 8: every claim ends by time alone, and then all bonds are out.
    fn outlast(&mut self) {
        for _ in 0..ROUNDS_MAX {
            for id in self.claims(|claim| claim.state != "executed") {
                self.advance(id);
            }
        }
        assert!(self.claims(|claim| claim.state != "executed").is_empty(), "time ends every claim");
        assert!(self.ledger.hostings.values().all(|one| one.position.freezes == 0), "and frees every bond");
        let all: Vec<_> = people().collect();
        let at = self.at();
        for name in all {
            let who = account(&name);
            self.town.act("user", |walk| court::withdraw(walk, &at, who)).unwrap();
            self.ledger.take(&name, false);
        }
        assert_eq!(self.town.purse(at.court).unwrap(), 0, "bonds in are bonds out");
    }
}

#[test]
fn random_trials_agree_with_the_contracts() {
    #[allow(clippy::disallowed_methods, reason = "the long mode is asked for from outside")]
    let wanted = std::env::var("LOYAL_TRIALS").ok().and_then(|text| text.parse().ok()).unwrap_or(TRIALS);
    let mut count = std::collections::BTreeMap::<String, usize>::new();
    for seed in 0..wanted {
        let mut both = Both::new(seed);
        for step in 0..STEPS {
            both.step();
            both.check(&format!("seed {seed}, step {step}"));
        }
        both.outlast();
        both.check(&format!("seed {seed}, at the end"));
        for claim in both.ledger.claims.values() {
            *count
                .entry(format!("{:?} {:?}, round {}", claim.kind, claim.outcome, claim.round))
                .or_default() += 1;
        }
    }
    println!("{wanted} histories: {count:#?}");
}
