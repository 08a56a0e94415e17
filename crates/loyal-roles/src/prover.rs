//! The prover: asks hosts as any user does, keeps what they said, and accuses those whose answers are in no report.
//!
//! [`Prover::turn`] does what is due now and returns: new slots are noted, those of today are asked at their times, those of
//! earlier days are looked for in the hosts' reports, and what is missing there is laid open. All that it needs stands in its
//! [`Ledger`] and on the chain, so that it may be killed at any point.

mod accusing;
mod asking;
pub mod audit;
pub mod ledger;
pub mod purse;

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::U256;
use loyal_model::Tokenizer;
use loyal_protocol::contracts::{Beacon, Gate, Parameters, ProbeBoard};
use loyal_protocol::{Addresses, Client, Key, Step, Walk};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;

pub use ledger::Ledger;
pub use purse::{Means, Purse};

use crate::error::{Error, Result};
use crate::host::Drain;
use crate::hosting::Hosting;
use crate::ticket::Slot;
use crate::turn::{self, Turn};

/// How often a prover looks at the chain.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Fewest sentences that hide anything.
const SENTENCES_MIN: usize = 32;

/// Gas of the steps as a rule (`contracts/snapshots`).
mod gas {
    pub(super) const SEED: u64 = 75_000;
    pub(super) const COMMIT: u64 = 260_000;
    pub(super) const REQUEST: u64 = 420_000;
    pub(super) const EXPIRE: u64 = 120_000;
    pub(super) const PAYOUT: u64 = 150_000;
}

/// Where a probe stands, as the board numbers it.
mod state {
    pub(super) const NONE: u8 = 0;
    pub(super) const COMMITTED: u8 = 1;
    pub(super) const REQUESTED: u8 = 3;
    pub(super) const OPENED: u8 = 4;

    pub(super) const fn name(state: u8) -> &'static str {
        match state {
            2 => "the owner gave no ticket",
            5 => "the owner did not open the answer",
            6 => "the fingerprint was burnt before",
            7 => "the host showed a receipt",
            8 => "a jury called it forged",
            _ => "it is known to nobody",
        }
    }
}

/// How a prover works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the owner gives tickets (without `/v1`).
    pub ticket_url: String,
    /// The hostings that are probed; all of the chain where none is named.
    pub hostings: Vec<u64>,
    /// The tokenizer of the model, by which replies are cut.
    pub tokenizer: Arc<Tokenizer>,
    /// Out of what ordinary prompts are made.
    pub text: Text,
    /// How often a slot asks its query, each time behind other words: one to four.
    pub sends: u32,
    /// Ordinary invocations around them, whose receipts are looked for too.
    pub cover: u32,
    /// A slot is asked at a random time within this one.
    pub delay_max: Duration,
    /// The provers' pool is looked into so long after an epoch's end, when its hosts have redeemed,
    pub payout_after: Duration,
    /// and given up after so long.
    pub payout_until: Duration,
}

impl Settings {
    /// The defaults, for what has none.
    #[must_use]
    pub fn new(ticket_url: String, tokenizer: Arc<Tokenizer>, text: Text) -> Self {
        Self {
            ticket_url,
            hostings: Vec::new(),
            tokenizer,
            text,
            sends: 4,
            cover: 16,
            delay_max: Duration::from_secs(12 * 3_600),
            payout_after: Duration::from_secs(12 * 3_600),
            payout_until: Duration::from_secs(14 * 86_400),
        }
    }
}

/// Sentences of ordinary text.
#[derive(Debug, Clone)]
pub struct Text(Vec<String>);

impl Text {
    /// The sentences of a text.
    ///
    /// # Errors
    /// There are too few.
    pub fn of(text: &str) -> Result<Self> {
        let sentences = text.split_inclusive(['.', '!', '?', '\n']).map(str::trim);
        let long = sentences.filter(|sentence| sentence.split_whitespace().count() >= 6);
        let sentences: Vec<String> = long.map(|sentence| sentence.trim_matches('"').to_owned()).collect();
        if sentences.len() < SENTENCES_MIN {
            let problem =
                format!("{} sentences; give ordinary text with {SENTENCES_MIN} or more", sentences.len());
            return Err(Error::Setting { name: "text", problem });
        }
        Ok(Self(sentences))
    }

    fn sentence(&self, draw: &mut ChaCha20Rng) -> &str {
        &self.0[draw.random_range(0..self.0.len())]
    }
}

/// A prover.
pub struct Prover {
    client: Arc<Client>,
    at: Addresses,
    key: Key,
    settings: Settings,
    ledger: Ledger,
    purse: Purse,
    draw: ChaCha20Rng,
    runtime: tokio::runtime::Runtime,
}

impl std::fmt::Debug for Prover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prover").field("account", &self.key.address()).finish_non_exhaustive()
    }
}

/// Takes turns until `drain` begins; `tell` hears of each in which something was done or failed.
pub fn run(mut prover: Prover, drain: &Drain, tell: &mut dyn FnMut(&Turn)) {
    turn::run(LOOK_EVERY, drain, &mut || prover.turn(), tell);
}

impl Prover {
    /// A prover that is seated as `key`. `seed` is 32 random bytes.
    ///
    /// # Errors
    /// The system gives no reactor.
    pub fn new(
        (client, at): (Arc<Client>, Addresses),
        key: Key,
        (ledger, purse): (Ledger, Purse),
        settings: Settings,
        seed: [u8; 32],
    ) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|source| Error::system("a reactor", source))?;
        let draw = ChaCha20Rng::from_seed(seed);
        Ok(Self { client, at, key, settings, ledger, purse, draw, runtime })
    }

    /// What it keeps.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Does everything that is due now. One thing that fails does not keep it from another.
    pub fn turn(&mut self) -> Turn {
        let (client, key) = (Arc::clone(&self.client), self.key.clone());
        Turn::take(&client, &key, |walk, failed| self.work(walk, failed))
    }

    fn work(&mut self, walk: &mut Walk<'_>, failed: &mut Vec<String>) {
        let (hostings, today) = match self.hostings().and_then(|found| Ok((found, self.today()?))) {
            Ok(found) => found,
            Err(error) => return failed.push(format!("looking at the chain: {error}")),
        };
        if let Err(error) = self.look_for_slots(walk, &hostings) {
            failed.push(format!("looking for slots: {error}"));
        }
        for slot in self.ledger.open_slots() {
            let Some(hosting) = hostings.iter().find(|hosting| hosting.id == slot.hosting) else { continue };
            let done = if slot.epoch == today {
                self.ask_slot(walk, slot, hosting)
            } else {
                self.conclude(walk, slot, hosting)
            };
            if let Err(error) = done {
                failed.push(format!("{slot}: {error}"));
            }
        }
        for hosting in &hostings {
            if let Err(error) = self.accuse(walk, hosting) {
                failed.push(format!("accusing hosting {}: {error}", hosting.id));
            }
        }
    }

    /// The hostings that are probed, and those that were.
    fn hostings(&self) -> Result<Vec<Hosting>> {
        let mut found = Vec::new();
        let topics = [Some(<Gate::HostingOpened as alloy_sol_types::SolEvent>::SIGNATURE_HASH)];
        for event in self.client.find(self.at.gate, &topics)? {
            let Some(opened) = event.decode::<Gate::HostingOpened>() else { continue };
            let id: u64 = opened.hostingId.saturating_to();
            if self.settings.hostings.is_empty() || self.settings.hostings.contains(&id) {
                found.push(Hosting::read(&self.client, &self.at, id)?);
            }
        }
        Ok(found)
    }

    fn today(&self) -> Result<u32> {
        let time = U256::from(self.client.time()?);
        Ok(self.client.call(self.at.parameters, &Parameters::epochAtCall { time })?)
    }

    fn probe(&self, slot: Slot) -> Result<ProbeBoard::Probe> {
        let call = ProbeBoard::probeOfCall { slot: slot.on_chain() };
        Ok(self.client.call(self.at.probe_board, &call)?)
    }

    /// Fixes the seed of an epoch that has begun, where nobody has.
    fn draw_seed(&self, walk: &mut Walk<'_>, epoch: u32) -> Result<()> {
        draw_seed(walk, &self.at, epoch)
    }
}

/// Fixes the seed of an epoch that has begun, where nobody has; anybody may.
///
/// # Errors
/// The chain's.
pub(crate) fn draw_seed(walk: &mut Walk<'_>, at: &Addresses, epoch: u32) -> Result<()> {
    if !walk.client.call(at.beacon, &Beacon::drawOfCall { epoch })?.seed.is_zero() {
        return Ok(());
    }
    let call = Beacon::closeCall { epoch };
    let step = Step::new(format!("draw the seed of epoch {epoch}"), at.beacon, &call, gas::SEED);
    match walk.take(step) {
        // Somebody was faster.
        Ok(_) | Err(loyal_protocol::Failure::Reverted { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
