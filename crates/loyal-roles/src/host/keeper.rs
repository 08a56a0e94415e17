//! What a host does on the chain while it serves: follows it, redeems vouchers, reports epochs, answers claims.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use loyal_access::Gate;
use loyal_access::redemption::{self, Cycle};
use loyal_access::verification::root_of;
use loyal_protocol::walk::Taken;
use loyal_protocol::{Key, Walk};
use loyal_types::{Clock, Proof};

use super::Drain;
use crate::defence::{self, Look, Permission, Records, Request, Said};
use crate::error::Result;
use crate::hosting;
use crate::turn::{self, Turn};

/// How often the chain is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often claims against the hosting are looked for, in seconds: an answer has a day.
const ANSWER_EVERY: u64 = 60;

/// Keeps a hosting's affairs on the chain.
#[derive(Debug)]
pub struct Keeper {
    gate: Arc<Gate>,
    host: Key,
    cycle: Cycle,
    redeemed_at: Option<Duration>,
    pruned: u32,
    answered_at: u64,
    unanswered: HashSet<B256>,
}

/// Takes a turn each second until `drain` begins, then redeems what is left; `tell` hears of each turn in which something
/// was done or failed.
pub fn run(mut keeper: Keeper, clock: &dyn Clock, drain: &Drain, tell: &mut dyn FnMut(&Turn)) {
    turn::run(LOOK_EVERY, drain, &mut || keeper.turn(clock), tell);
    let turn = keeper.end();
    if !turn.taken.is_empty() || !turn.failed.is_empty() {
        tell(&turn);
    }
}

impl Keeper {
    /// A keeper that sends transactions as `host`.
    #[must_use]
    pub fn new(gate: Arc<Gate>, host: Key, cycle: Cycle) -> Self {
        Self { gate, host, cycle, redeemed_at: None, pruned: 0, answered_at: 0, unanswered: HashSet::new() }
    }

    /// Looks at the chain once and does what is due.
    pub fn turn(&mut self, clock: &dyn Clock) -> Turn {
        let mut turn = Turn::default();
        let withdraws = match self.gate.follow() {
            Ok(changes) => changes.withdrawals,
            Err(error) => {
                turn.failed.push(format!("looking at the chain: {error}"));
                return turn;
            }
        };
        let now = clock.elapsed();
        let is_due = self.redeemed_at.is_none_or(|at| now.saturating_sub(at) >= self.cycle.every);
        let owed = redemption::owed(&self.gate);
        match owed {
            Ok(owed) => {
                let hurries = owed
                    .iter()
                    .any(|owed| owed.amount >= self.cycle.amount || withdraws.contains(&owed.channel));
                if !owed.is_empty() && (is_due || hurries) {
                    self.redeemed_at = Some(now);
                    self.act(&mut turn, "redeeming", |walk, gate| Ok(redemption::redeem(walk, gate, &owed)?));
                } else if is_due {
                    self.redeemed_at = Some(now);
                }
                if is_due {
                    self.collect(&mut turn);
                }
            }
            Err(error) => turn.failed.push(format!("looking at channels: {error}")),
        }
        self.report(&mut turn);
        self.answer(&mut turn);
        self.prune(&mut turn);
        turn
    }

    /// Redeems everything that is left.
    pub fn end(&mut self) -> Turn {
        let mut turn = Turn::default();
        match redemption::owed(&self.gate) {
            Ok(owed) if !owed.is_empty() => {
                self.act(&mut turn, "redeeming", |walk, gate| Ok(redemption::redeem(walk, gate, &owed)?));
            }
            Ok(_) => {}
            Err(error) => turn.failed.push(format!("looking at channels: {error}")),
        }
        self.collect(&mut turn);
        turn
    }

    /// Divides what waits in tills: what transfers paid, and what was redeemed before the host was cut short.
    fn collect(&self, turn: &mut Turn) {
        match redemption::uncollected(&self.gate) {
            Ok(tills) if !tills.is_empty() => self.act(turn, "collecting", |walk, gate| {
                let collect = |(builder, till)| redemption::collect(walk, gate, builder, till);
                Ok(tills.into_iter().try_for_each(collect)?)
            }),
            Ok(_) => {}
            Err(error) => turn.failed.push(format!("looking at tills: {error}")),
        }
    }

    /// Reports epochs that are over. An epoch's report closes its books: they take no receipt any more.
    fn report(&self, turn: &mut Turn) {
        let hosting = self.gate.view().hosting();
        if self.gate.view().epoch(self.gate.now()) == 0 {
            return;
        }
        let (client, at) = (self.gate.view().client(), self.gate.view().at());
        let due = match hosting::due(client, at, hosting.id) {
            Ok(due) => due,
            Err(error) => return turn.failed.push(format!("looking for reports that are due: {error}")),
        };
        for epoch in due {
            let report = self.gate.books().report(epoch, true);
            self.act(turn, "reporting", |walk, gate| {
                hosting::post(walk, gate.view().at(), &report, gate.signer())
            });
        }
    }

    /// Answers claims against the hosting, each time the chain has moved.
    fn answer(&mut self, turn: &mut Turn) {
        let now = self.gate.now();
        if now < self.answered_at.saturating_add(ANSWER_EVERY) {
            return;
        }
        self.answered_at = now;
        let hosting = self.gate.view().hosting().id;
        let mut unanswered = Vec::new();
        self.act(turn, "answering claims", |walk, gate| {
            for reply in defence::run(walk, gate.view().at(), hosting, &GateRecords(gate))? {
                if let Said::Nothing { .. } = reply.said {
                    unanswered.push((
                        reply.claim,
                        format!("claim {} ({}): {}", reply.claim, reply.kind, reply.said),
                    ));
                }
            }
            Ok(())
        });
        // What has no answer is said once, not every minute.
        for (claim, said) in unanswered {
            if self.unanswered.insert(claim) {
                turn.failed.push(said);
            }
        }
    }

    fn prune(&mut self, turn: &mut Turn) {
        let epoch = self.gate.view().epoch(self.gate.now());
        if self.pruned != epoch {
            self.pruned = epoch;
            if let Err(error) = self.gate.books().prune(epoch) {
                turn.failed.push(format!("removing old books: {error}"));
            }
        }
    }

    fn act(&self, turn: &mut Turn, doing: &str, steps: impl FnOnce(&mut Walk<'_>, &Gate) -> Result<()>) {
        let client = Arc::clone(self.gate.view().client());
        let mut note = |taken: &Taken| turn.taken.push(taken.clone());
        let walked = Walk::begin(&client, &self.host, false, &mut note)
            .map_err(crate::Error::from)
            .and_then(|mut walk| steps(&mut walk, &self.gate));
        if let Err(error) = walked {
            turn.failed.push(format!("{doing}: {error}"));
        }
    }
}

/// The books, as a defence asks them.
struct GateRecords<'a>(&'a Gate);

impl GateRecords<'_> {
    fn kept(&self, invocation: B256) -> Result<Option<loyal_access::books::Kept>> {
        let books = self.0.books();
        let Some((epoch, seq)) = books.place_of(invocation)? else { return Ok(None) };
        Ok(books.kept(epoch, seq)?)
    }
}

impl Records for GateRecords<'_> {
    fn look_through(&self, hosting: u64, epoch: u32, look: &mut Look<'_>) -> Result<()> {
        if hosting != self.0.view().hosting().id {
            return Ok(());
        }
        let books = self.0.books();
        let (_, count) = books.turnover(epoch);
        for seq in 0..count {
            if let Some(kept) = books.kept(epoch, seq)?
                && look(&kept.receipt.receipt)?.is_break()
            {
                break;
            }
        }
        Ok(())
    }

    fn proof(&self, hosting: u64, epoch: u32, seq: u32) -> Result<Option<(Proof, B256)>> {
        if hosting != self.0.view().hosting().id {
            return Ok(None);
        }
        let found = self.0.books().proof(epoch, seq)?;
        Ok(found.map(|(proof, report)| (proof, root_of(&report))))
    }

    fn permission(&self, invocation: B256) -> Result<Option<Permission>> {
        let Some(kept) = self.kept(invocation)? else { return Ok(None) };
        Ok(kept.credential.map(|signed| Permission {
            invocation: kept.invocation.invocation,
            credential: signed.credential,
            issuer: signed.issuer,
            signature: signed.signature,
        }))
    }

    fn request(&self, invocation: B256) -> Result<Option<Request>> {
        let kept = self.kept(invocation)?;
        Ok(kept.map(|kept| {
            let (prompt, params_hash) = kept.asked;
            Request { salt: kept.salt, prompt, params_hash }
        }))
    }
}
