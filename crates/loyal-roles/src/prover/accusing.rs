//! What follows an epoch: receipts are looked for in the report, what has none is laid open, and evidence becomes a claim.

use alloy_primitives::U256;
use loyal_access::document::SignedReceipt;
use loyal_protocol::contracts::{
    DisputeCourt, Gate, Parameters, ProbeBoard, ProbeReader, Registry, RevenueRouter,
};
use loyal_protocol::{Failure, Step, Walk, message};

use super::audit::{self, Found};
use super::ledger::{Entry, PROBE};
use super::{Prover, gas, state};
use crate::court::{self, Claim, Kind};
use crate::error::{Error, Result};
use crate::hosting::Hosting;
use crate::ticket::Slot;

/// Bits from which unreported use is proven, in steps of 2⁻³², and the provers that must have seen it.
const BITS_MIN: i64 = 22 << 32;
const PROVERS_MIN: u32 = 3;
/// A host that does not show its receipts for so long after its report is asked for them by a claim.
const AWAY_SECONDS: u64 = 86_400;
/// The provers' part, as the router numbers its pools.
const PROVERS_POOL: u8 = 1;

impl Prover {
    /// Takes a slot of an earlier epoch as far as it goes now.
    pub(super) fn conclude(&mut self, walk: &mut Walk<'_>, slot: Slot, hosting: &Hosting) -> Result<()> {
        let Some(mut entry) = self.ledger.entry(slot).cloned() else { return Ok(()) };
        let probe = self.probe(slot)?;
        match probe.state {
            state::NONE => return self.end(&mut entry, "it was not committed to in time"),
            state::COMMITTED => {
                if !self.is_report_due_over(slot)? {
                    return Ok(());
                }
                self.look_for_receipts(walk, &mut entry, hosting)?;
                let is_reported =
                    |send: &super::ledger::Send| send.kind == PROBE && send.is_reported == Some(true);
                let nothing_to_show =
                    entry.sends.iter().all(|send| send.kind != PROBE || send.text.is_none());
                if entry.sends.iter().any(is_reported) {
                    entry.note = Some("reported: the query stays secret".to_owned());
                } else if nothing_to_show {
                    entry.note = Some("the host did not answer".to_owned());
                } else if self.is_burnt(&entry)? {
                    entry.note =
                        Some("nothing was reported, and the fingerprint was burnt before".to_owned());
                } else {
                    return self.lay_open(walk, &entry);
                }
            }
            state::REQUESTED => {
                let seconds = self.client.call(self.at.probe_board, &ProbeBoard::OPEN_SECONDSCall {})?;
                if self.client.time()? > probe.requestedAt + seconds {
                    let call = ProbeBoard::expireCall { slot: slot.on_chain() };
                    let says = format!("end {slot}, whose answer the owner left closed");
                    self.take(walk, Step::new(says, self.at.probe_board, &call, gas::EXPIRE))?;
                }
                return Ok(());
            }
            state::OPENED => {
                entry.note = Some(format!("{} of {} coins on the model's side", probe.hits, probe.coins));
            }
            other => entry.note = Some(state::name(other).to_owned()),
        }
        if self.pay_out(walk, slot, hosting)? {
            entry.is_over = true;
        }
        if self.ledger.entry(slot) != Some(&entry) {
            self.ledger.keep(entry)?;
        }
        Ok(())
    }

    fn end(&mut self, entry: &mut Entry, note: &str) -> Result<()> {
        (entry.is_over, entry.note) = (true, Some(note.to_owned()));
        self.ledger.keep(entry.clone())
    }

    /// Whether the epoch's report is posted, or so late that nobody waits for it.
    fn is_report_due_over(&self, slot: Slot) -> Result<bool> {
        if self.report(slot.hosting, slot.epoch)?.postedAt != 0 {
            return Ok(true);
        }
        let call = Parameters::epochStartCall { epoch: slot.epoch + 1 };
        let ends = self.client.call(self.at.parameters, &call)?;
        let late = self.client.call(self.at.probe_board, &ProbeBoard::REPORT_SECONDSCall {})?;
        Ok(self.client.time()? >= ends + late)
    }

    fn report(&self, hosting: u64, epoch: u32) -> Result<Gate::Report> {
        let call = Gate::reportOfCall { hostingId: U256::from(hosting), epoch };
        Ok(self.client.call(self.at.gate, &call)?)
    }

    /// Looks for every receipt of a slot, those of ordinary invocations too, and accuses where one was left out.
    fn look_for_receipts(&mut self, walk: &mut Walk<'_>, entry: &mut Entry, hosting: &Hosting) -> Result<()> {
        for place in 0..entry.sends.len() {
            let send = &entry.sends[place];
            let Some(receipt) = send.receipt.clone().filter(|_| send.is_reported.is_none()) else { continue };
            let is_reported = self.audit(walk, &receipt, hosting)?;
            entry.sends[place].is_reported = Some(is_reported);
            self.ledger.keep(entry.clone())?;
        }
        Ok(())
    }

    /// Whether a receipt is in the report of its epoch; if not, the claim is filed.
    ///
    /// # Errors
    /// The chain's; too little LOYAL for the claim's bond; the report is not there yet, or its host is away.
    pub(super) fn audit(
        &self,
        walk: &mut Walk<'_>,
        receipt: &SignedReceipt,
        hosting: &Hosting,
    ) -> Result<bool> {
        let url = self.endpoint_of(hosting)?;
        let looking = audit::run((&self.client, &self.at), self.purse.outbound(), &url, receipt);
        match self.runtime.block_on(looking)? {
            Found::Reported(_) => return Ok(true),
            Found::Missing { .. } => {}
            Found::Unposted => {
                let epoch = receipt.receipt.epoch;
                return Err(Error::refused(format!("hosting {} has not reported epoch {epoch}", hosting.id)));
            }
            // A host that is away for a while is no cheat.
            Found::Away(why) => {
                let posted_at = self.report(hosting.id, receipt.receipt.epoch)?.postedAt;
                if self.client.time()? < posted_at + AWAY_SECONDS {
                    return Err(Error::refused(why));
                }
            }
        }
        match court::open(walk, &self.at, Kind::Omitted, &court::omitted(receipt)) {
            // Somebody claimed it before.
            Ok(_) | Err(Error::Chain(Failure::Reverted { .. })) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn endpoint_of(&self, hosting: &Hosting) -> Result<String> {
        let call = Gate::hostingOfCall { hostingId: U256::from(hosting.id) };
        let hash = self.client.call(self.at.gate, &call)?.endpointHash;
        let url = self.purse.endpoint(hash);
        let unknown = || Error::refused(format!("where hosting {} answers is not known", hosting.id));
        url.map(str::to_owned).ok_or_else(unknown)
    }

    /// Whether a leaf says nothing any more: it is burnt, or somebody laid it open already.
    fn is_burnt(&self, entry: &Entry) -> Result<bool> {
        let call = ProbeReader::commitmentOfCall { hostingId: U256::from(entry.slot.hosting) };
        let commitment = self.client.call(self.at.probe_reader, &call)?.id;
        let call = ProbeBoard::isRequestedCall { commitment, index: entry.leaf };
        if self.client.call(self.at.probe_board, &call)? {
            return Ok(true);
        }
        let call = Registry::isBurntCall { commitment, index: entry.leaf };
        Ok(self.client.call(self.at.registry, &call)?)
    }

    /// Lays a result open whose receipt is in no report: the owner has two hours to open the answer.
    fn lay_open(&mut self, walk: &mut Walk<'_>, entry: &Entry) -> Result<()> {
        let (Some(held), Some(result)) = (&entry.held, &entry.result) else { return Ok(()) };
        let domain = message::domain(self.client.chain_id(), self.at.registry);
        let ticket = &held.ticket.ticket;
        let found = result.message(held.ticket.id(&domain));
        let request = ProbeBoard::ProbeRequest {
            slot: entry.slot.on_chain(),
            ticket: ProbeBoard::ProbeTicket {
                modelId: ticket.modelId,
                version: ticket.version,
                hostingId: ticket.hostingId,
                endpointHash: ticket.endpointHash,
                epoch: ticket.epoch,
                slot: ticket.slot,
                prover: ticket.prover,
                index: ticket.index,
                queryHash: ticket.queryHash,
                expiresAt: ticket.expiresAt,
            },
            ticketSignature: held.ticket.signature.clone(),
            result: ProbeBoard::ProbeResult {
                ticketId: found.ticketId,
                mode: found.mode,
                observedCommit: found.observedCommit,
                transcriptHash: found.transcriptHash,
                observedAt: found.observedAt,
            },
            salt: result.salt,
            replies: result.replies.clone(),
            query: held.query.clone().into_bytes().into(),
        };
        let call = ProbeBoard::requestAnswerCall { request };
        let says = format!("lay open what {} said", entry.slot);
        self.take(walk, Step::new(says, self.at.probe_board, &call, gas::REQUEST))
    }

    /// Takes a step that another prover, or the time, may have made needless.
    fn take(&self, walk: &mut Walk<'_>, step: Step) -> Result<()> {
        match walk.take(step) {
            Ok(_) | Err(Failure::Reverted { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the slot's part of the epoch's pool, once there is one. Answers whether nothing more will come.
    fn pay_out(&self, walk: &mut Walk<'_>, slot: Slot, hosting: &Hosting) -> Result<bool> {
        let asset = hosting.asset.address;
        let call = ProbeBoard::slotIdCall { slot: slot.on_chain() };
        let id = self.client.call(self.at.probe_board, &call)?;
        if self.client.call(self.at.probe_board, &ProbeBoard::isPaidCall { slotId: id, asset })? {
            return Ok(true);
        }
        let (now, call) = (self.client.time()?, Parameters::epochStartCall { epoch: slot.epoch + 1 });
        let ends = self.client.call(self.at.parameters, &call)?;
        // The host redeems and collects within the day; who takes an empty pool fixes it at nothing.
        if now < ends + self.settings.payout_after.as_secs() {
            return Ok(false);
        }
        let call = RevenueRouter::pooledCall { _0: PROVERS_POOL, modelId: U256::from(hosting.model), asset };
        let pooled = self.client.call(self.at.router, &call)?;
        if pooled.is_zero() {
            return Ok(now > ends + self.settings.payout_until.as_secs());
        }
        let call = ProbeBoard::payoutCall { slot: slot.on_chain(), asset };
        let says = format!("take the part of {slot} in the provers' pool");
        self.take(walk, Step::new(says, self.at.probe_board, &call, gas::PAYOUT))?;
        Ok(true)
    }

    /// Accuses a hosting whose windows hold enough evidence, and takes on the claims of this prover.
    pub(super) fn accuse(&self, walk: &mut Walk<'_>, hosting: &Hosting) -> Result<()> {
        let epoch = self.today()?;
        let id = U256::from(hosting.id);
        let claims = Claim::against(&self.client, &self.at, hosting.id)?;
        for claim in claims.iter().filter(|claim| claim.claimant == self.key.address()) {
            self.take_on(walk, claim)?;
        }
        let is_open = |claim: &Claim| claim.kind == "unreported" && claim.state != "executed";
        if claims.iter().any(is_open) {
            return Ok(());
        }
        let first = self.client.call(self.at.probe_board, &ProbeBoard::firstEpochOfCall { hostingId: id })?;
        if first == 0 {
            return Ok(());
        }
        let call = ProbeBoard::windowOfCall { hostingId: id, epoch };
        let window = self.client.call(self.at.probe_board, &call)?;
        for window in window.saturating_sub(1)..=window {
            let call = ProbeBoard::summaryOfCall { hostingId: id, window };
            let found = self.client.call(self.at.probe_board, &call)?;
            if found.bits < BITS_MIN || found.provers < PROVERS_MIN {
                continue;
            }
            let evidence = court::unreported(hosting.id, window);
            match court::open(walk, &self.at, Kind::Unreported, &evidence) {
                // Answers that are still to be opened, or somebody was faster.
                Ok(_) | Err(Error::Chain(Failure::Reverted { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn take_on(&self, walk: &mut Walk<'_>, claim: &Claim) -> Result<()> {
        let is_due = claim.state == "final" || self.client.time()? > claim.deadline;
        match claim.state {
            "executed" => {
                let account = self.key.address();
                let owed = self.client.call(self.at.court, &DisputeCourt::owedCall { account })?;
                if !owed.is_zero() {
                    court::withdraw(walk, &self.at, account)?;
                }
                Ok(())
            }
            _ if is_due => match court::advance(walk, &self.at, claim) {
                Ok(()) | Err(Error::Chain(Failure::Reverted { .. })) => Ok(()),
                Err(error) => Err(error),
            },
            _ => Ok(()),
        }
    }
}
