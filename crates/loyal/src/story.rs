//! The story of Loyal on one machine: a model is marked, registered and hosted by an honest host and by a cheat; users pay,
//! provers ask as users do, and the contracts decide. Nothing in it is played: every message is signed, every host answers over
//! HTTP, every amount is read from the chain. Only the days pass at once.
//!
//! `cargo run --release --example story` tells it in a page; `loyal demo` tells it with the evidence.

pub mod hosts;
mod judgement;
mod people;
pub mod town;
mod upgrade;

use std::path::Path;
use std::sync::Arc;

use alloy_primitives::{B256, U256};
use alloy_sol_types::SolEvent as _;
use anyhow::{Context as _, Result, bail};
use loyal_access::document::SignedReceipt;
use loyal_fingerprint::fingerprint::FingerprintSet;
use loyal_model::Tokenizer;
use loyal_protocol::contracts::{Beacon, ProbeBoard};
use loyal_protocol::message;
use loyal_roles::case::Case;
use loyal_roles::host::gateway::Source;
use loyal_roles::hosting;
use loyal_roles::owner::register::{self, Project};
use loyal_roles::owner::registration::{Accepted, Maker, Registration};
use loyal_roles::owner::ticketing::{self, Opened};
use loyal_roles::owner::{Next, revenue};
use loyal_roles::prover::{Prover, Text};
use loyal_roles::validator::Validator;

use hosts::{Cheat, Honest, PRICE, Server};
pub use judgement::{Conviction, Slander};
use people::User;
pub use people::{PROVERS, USERS, VALIDATORS};
use town::Town;
pub use upgrade::Upgrade;

/// Who made the model, and their parts in hundredths of a percent; 40 % stay in reserve.
pub const MAKERS: [(&str, u16); 3] = [("alice", 3_000), ("bob", 1_500), ("charlie", 1_500)];
const RESERVE_BPS: u16 = 4_000;
/// After so many days without a verdict the story has gone wrong.
const DAYS_MAX: u32 = 14;

/// The story as far as it is told.
pub struct Story {
    /// Where it happens.
    pub town: Town,
    registration: Registration,
    /// The model, once it is registered.
    pub model: u64,
    validators: Vec<Validator>,
    provers: Vec<Prover>,
    users: Vec<User>,
    set: Option<Arc<FingerprintSet>>,
    honest: Option<Honest>,
    cheat: Option<Cheat>,
    servers: Vec<Server>,
    runtime: tokio::runtime::Runtime,
}

impl std::fmt::Debug for Story {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Story").field("model", &self.model).finish_non_exhaustive()
    }
}

/// What a day brought.
#[derive(Debug, Clone, PartialEq)]
pub struct Day {
    /// Which.
    pub epoch: u32,
    /// Invocations that users paid for.
    pub paid: usize,
    /// Invocations that the cheat answered, seen by nobody but those who asked.
    pub hidden: usize,
    /// Slots that provers asked, of both hostings.
    pub probes: usize,
    /// Probes of the honest hosting that were found in its report, so that their queries stay secret.
    pub reported: usize,
    /// Probes of the cheat that were laid open and opened.
    pub opened: usize,
    /// Bits against each hosting: the honest one, the cheat.
    pub bits: (f64, f64),
    /// Provers whose coins speak against the cheat.
    pub provers: u32,
}

impl Story {
    /// Begins: a chain, its people, seats of validators and provers.
    ///
    /// # Errors
    /// The chain's; the system's.
    pub fn open(folder: &Path, seed: u64) -> Result<Self> {
        let town = Town::open(folder, seed, &people::all())?;
        people::endow(&town)?;
        let validators = people::validators(&town)?;
        let mut registration = Registration::new("demo", "DEMO", Path::new("leaves.json"));
        let makers = MAKERS.map(|(name, bps)| Maker { account: town.address(name), bps });
        registration.makers = makers.to_vec();
        registration.reserve_bps = RESERVE_BPS;
        registration.open_hosting = true;
        registration.accepts =
            vec![Accepted { asset: town.asset.address, per_call: PRICE / 2, per_thousand: 0 }];
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Self {
            town,
            registration,
            model: 0,
            validators,
            provers: Vec::new(),
            users: Vec::new(),
            set: None,
            honest: None,
            cheat: None,
            servers: Vec::new(),
            runtime,
        })
    }

    /// The owner commits to leaves, validators feed the Beacon, and the next epoch's seed is drawn: what the answers follow from.
    /// Answers the seed, its epoch, and whether nobody but the sealer had a part in it.
    ///
    /// # Errors
    /// The chain's.
    pub fn commit(&mut self) -> Result<(B256, u32, bool)> {
        let Next::Wait { .. } = self.register()? else { bail!("a seed takes a night") };
        self.night()?;
        match self.register()? {
            Next::Train { seed, epoch, weak } => Ok((seed, epoch, weak)),
            other => bail!("after the seed comes the training, not {other:?}"),
        }
    }

    /// Registers the marked weights: the embedded leaves, the makers' agreement, the week in which others may claim the model.
    ///
    /// # Errors
    /// The chain's; files that are not there.
    pub fn publish(&mut self, weights: &Path, embedded: &Path, set: FingerprintSet) -> Result<u64> {
        self.registration.weights = Some(weights.to_owned());
        self.registration.leaves = embedded.to_owned();
        loop {
            match self.register()? {
                Next::Wait { until, .. } => self.town.pass(until)?,
                Next::Sign { .. } => {
                    let domain = message::domain(self.town.client.chain_id(), self.town.at.registry);
                    for (name, _) in MAKERS {
                        self.registration.sign(self.town.key(name), &domain)?;
                    }
                }
                Next::Done { model, .. } => {
                    self.model = model;
                    self.set = Some(Arc::new(set));
                    return Ok(model);
                }
                other => bail!("the model was not registered: {other:?}"),
            }
        }
    }

    fn register(&mut self) -> Result<Next> {
        let file = self.town.folder.join("registration.json");
        self.registration.write(&file)?;
        let mut registration = self.registration.clone();
        let next = self.town.act("owner", |walk| {
            let mut project = Project { registration: &mut registration, path: &file, model: None };
            Ok(register::run(walk, &self.town.at, &mut project)?)
        })?;
        self.registration = registration;
        Ok(next)
    }

    /// Opens both hostings, the owner's servers, and sends users and provers there. `tokenizer` cuts replies; `text` is what
    /// ordinary prompts are made of.
    ///
    /// # Errors
    /// The chain's; the system's.
    pub fn host(
        &mut self,
        honest: Source,
        cheat: Source,
        (tokenizer, text): (Tokenizer, &str),
    ) -> Result<(u64, u64)> {
        let set = self.set.clone().context("a model is registered first")?;
        let town = &self.town;
        let desk = hosts::desk(town, "owner", self.model, set)?;
        let issuer = hosts::issuer(town, "owner", self.model, "builder", Vec::new())?;
        let honest = hosts::honest(town, "host", self.model, honest, &issuer.url)?;
        let cheat = hosts::cheat(town, "cheat", self.model, cheat)?;
        let endpoints = vec![honest.server.url.clone(), cheat.server.url.clone()];
        let text = Text::of(text)?;
        let means = (issuer.url.as_str(), desk.url.as_str(), endpoints);
        self.provers = people::provers(town, means, (&Arc::new(tokenizer), &text))?;
        self.users = people::users(town, &self.runtime, &issuer.url, &honest.server.url)?;
        let found = (honest.hosting, cheat.hosting);
        (self.honest, self.cheat) = (Some(honest), Some(cheat));
        self.servers.extend([desk, issuer]);
        Ok(found)
    }

    /// A day: users and provers ask, hosts report in the night, what is missing from their reports is laid open and opened.
    ///
    /// # Errors
    /// The chain's; a host that does not answer.
    pub fn day(&mut self, questions: &[String]) -> Result<Day> {
        let epoch = self.town.today()?;
        self.turn_validators()?;
        let (paid, hidden) = self.ask(questions)?;
        self.turn_provers()?;
        self.night()?;
        self.report()?;
        let opened = self.turn_provers()?;
        let (honest, cheat) = self.hostings()?;
        let (against_cheat, provers) = self.evidence(cheat)?;
        let entries = || self.provers.iter().flat_map(|prover| prover.ledger().entries());
        let today = |hosting: u64| {
            entries().filter(move |entry| entry.slot.epoch == epoch && entry.slot.hosting == hosting)
        };
        let is_reported = |entry: &&loyal_roles::prover::ledger::Entry| {
            entry.probes().any(|send| send.is_reported == Some(true))
        };
        Ok(Day {
            epoch,
            paid,
            hidden,
            probes: today(honest).count() + today(cheat).count(),
            reported: today(honest).filter(is_reported).count(),
            opened: opened.iter().filter(|one| one.coins.is_some()).count(),
            bits: (self.evidence(honest)?.0, against_cheat),
            provers,
        })
    }

    /// Days until the evidence against the cheat suffices.
    ///
    /// # Errors
    /// As [`Story::day`]; no verdict within two weeks.
    pub fn days(&mut self, questions: &[String], tell: &mut dyn FnMut(&Day)) -> Result<u32> {
        for count in 1..=DAYS_MAX {
            let day = self.day(questions)?;
            tell(&day);
            // A claim of unreported use asks for 22 bits, of three provers.
            if day.bits.1 >= 22.0 && day.provers >= 3 {
                return Ok(count);
            }
        }
        bail!(
            "{DAYS_MAX} days of probes did not suffice: are the answers of the hosts those of the marked model?"
        )
    }

    /// Everybody takes what is theirs. Answers who got how much, the provers and validators as one each, and what the
    /// protocol is owed.
    ///
    /// # Errors
    /// The chain's.
    pub fn withdraw(&mut self) -> Result<Vec<(String, u128)>> {
        let town = &self.town;
        let mut received = Vec::new();
        for name in ["alice", "bob", "charlie", "host", "builder"] {
            let account = town.address(name);
            let before = town.purse(account)?;
            town.act("owner", |walk| {
                Ok(revenue::withdraw(walk, &town.at, account, &[self.model]).map(drop)?)
            })?;
            received.push((name.to_owned(), town.purse(account)? - before));
        }
        let paid = ProbeBoard::ProverPaid::SIGNATURE_HASH;
        let events = town.client.find(town.at.probe_board, &[Some(paid)])?;
        let paid = events.iter().filter_map(|event| event.decode::<ProbeBoard::ProverPaid>());
        received.push(("provers".to_owned(), paid.map(|event| event.amount.saturating_to::<u128>()).sum()));
        let treasury = town.at.timelock;
        let owed = revenue::due(&town.client, &town.at, treasury, &[self.model])?;
        let owed = owed.iter().fold(U256::ZERO, |sum, due| sum + due.amount);
        received.push(("the protocol".to_owned(), owed.saturating_to()));
        Ok(received)
    }

    /// A receipt that a user was given by the honest host, with the proof that its report counts it.
    ///
    /// # Errors
    /// There is none.
    pub fn receipt(&self) -> Result<SignedReceipt> {
        let user = self.users.first().context("nobody asked")?;
        user.receipt()
    }

    /// The case against the cheat: what provers saw and the owner opened, for strangers to compute again.
    ///
    /// # Errors
    /// The chain's.
    pub fn case(&self) -> Result<Case> {
        let (_, cheat) = self.hostings()?;
        let set = self.set.as_ref().context("a model is registered")?;
        let entries: Vec<_> = self.provers.iter().flat_map(|prover| prover.ledger().entries()).collect();
        Ok(Case::gather((&self.town.client, &self.town.at), cheat, &entries, set)?)
    }

    // --- what the days are made of

    fn turn_validators(&mut self) -> Result<()> {
        for (number, validator) in self.validators.iter().enumerate() {
            let turn = validator.turn();
            self.town.note(&people::numbered("validator", number), &turn.taken);
            if let Some(failed) = turn.failed.first() {
                bail!("validator {number}: {failed}");
            }
        }
        Ok(())
    }

    /// All provers at once, each on a thread of its own as they would be on machines of their own; then the owner opens the
    /// answers to what they laid open.
    fn turn_provers(&mut self) -> Result<Vec<Opened>> {
        let turns = std::thread::scope(|scope| {
            let turn = |prover| scope.spawn(|| Prover::turn(prover));
            let threads: Vec<_> = self.provers.iter_mut().map(turn).collect();
            threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
        });
        for (number, turn) in turns.into_iter().enumerate() {
            let name = people::numbered("prover", number);
            let Ok(turn) = turn else { bail!("{name} broke off") };
            self.town.note(&name, &turn.taken);
            if let Some(failed) = turn.failed.first() {
                bail!("{name}: {failed}");
            }
        }
        let set = self.set.clone().context("a model is registered")?;
        self.town.act("owner", |walk| Ok(ticketing::open(walk, &self.town.at, self.model, &set)?))
    }

    /// From somewhere in an epoch to just after its end: validators commit to secrets, reveal them, and draw the seed.
    fn night(&mut self) -> Result<()> {
        let town = &self.town;
        let next = town.today()? + 1;
        let begins = town.start_of(next)?;
        let reveal = town.call(town.at.beacon, &Beacon::REVEAL_SECONDSCall {})?;
        self.turn_validators()?;
        self.town.pass(begins - reveal + 60)?;
        self.turn_validators()?;
        self.town.pass(begins + 60)?;
        self.turn_validators()
    }

    /// The hosts redeem, report, and answer claims. The cheat reports days on which nobody came.
    fn report(&mut self) -> Result<()> {
        let town = &self.town;
        if let Some(honest) = &mut self.honest {
            let turn = honest.keeper.turn(&*town.clock);
            town.note("host", &turn.taken);
            if let Some(failed) = turn.failed.first() {
                bail!("the honest host: {failed}");
            }
        }
        if let Some(cheat) = &self.cheat {
            let key = town.key("cheat").clone();
            for epoch in hosting::due(&town.client, &town.at, cheat.hosting)? {
                let report = hosting::empty_report(cheat.hosting, epoch);
                town.act("cheat", |walk| Ok(hosting::post(walk, &town.at, &report, &key)?))?;
            }
        }
        Ok(())
    }

    /// Lets days pass until after a moment, on which the hosts report that nobody came and provers do what is due.
    fn wait(&mut self, until: u64) -> Result<()> {
        while self.town.now()? <= until {
            self.night()?;
            self.report()?;
            self.turn_provers()?;
        }
        Ok(())
    }

    /// Lets days pass in which nobody is drawn: the story waits for a vote.
    fn rest(&mut self, until: u64) -> Result<()> {
        while self.town.now()? <= until {
            self.night()?;
            self.report()?;
        }
        Ok(())
    }

    fn hostings(&self) -> Result<(u64, u64)> {
        match (&self.honest, &self.cheat) {
            (Some(honest), Some(cheat)) => Ok((honest.hosting, cheat.hosting)),
            _ => bail!("nobody hosts the model yet"),
        }
    }

    /// Bits and provers that speak against a hosting in its first window.
    fn evidence(&self, hosting: u64) -> Result<(f64, u32)> {
        let call = ProbeBoard::summaryOfCall { hostingId: U256::from(hosting), window: 0 };
        let found = self.town.call(self.town.at.probe_board, &call)?;
        Ok((found.bits as f64 / 2_f64.powi(32), found.provers))
    }

    /// Users ask the honest host for money, and the cheat without anybody knowing.
    fn ask(&self, questions: &[String]) -> Result<(usize, usize)> {
        let cheat = self.cheat.as_ref().context("nobody hosts the model yet")?;
        let (mut paid, mut hidden) = (0, 0);
        for (number, question) in questions.iter().enumerate() {
            let user = &self.users[number % self.users.len()];
            self.runtime.block_on(user.ask(question))?;
            paid += 1;
            self.runtime.block_on(people::ask_unseen(&cheat.server.url, question))?;
            hidden += 1;
        }
        Ok((paid, hidden))
    }
}
