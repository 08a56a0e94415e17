//! Asking: a slot's ticket, its invocations among ordinary ones, and the commitment to what came back.

use alloy_primitives::{B256, Bytes, U256, keccak256};
use alloy_sol_types::SolValue as _;
use loyal_fingerprint::check::cut;
use loyal_protocol::contracts::{Parameters, ProbeBoard};
use loyal_protocol::{Step, Walk, message};
use rand::seq::SliceRandom as _;
use rand::{Rng as _, RngCore as _};
use serde_json::json;

use super::ledger::{Entry, Held, ORDINARY, Outcome, PROBE, Send};
use super::{Prover, gas};
use crate::error::{Error, Result};
use crate::hosting::Hosting;
use crate::ticket::{self, Application, Drawn, Grant, Slot};

/// Pieces that are kept of a reply: as many as any scheme looks at.
const PIECES_MAX: usize = 16;
/// Words of an ordinary prompt.
const WORDS: std::ops::Range<usize> = 6..14;
/// A ticket is used so long before its end at the latest.
const MARGIN_SECONDS: u64 = 600;
/// An invocation that fails so often is given up.
const ATTEMPTS_MAX: u32 = 4;

impl Prover {
    /// Notes the slots that this prover was drawn for today, and when it will ask each.
    pub(super) fn look_for_slots(&mut self, walk: &mut Walk<'_>, hostings: &[Hosting]) -> Result<()> {
        let (epoch, now) = (self.today()?, self.client.time()?);
        self.draw_seed(walk, epoch)?;
        let call = Parameters::epochStartCall { epoch: epoch + 1 };
        let ends = self.client.call(self.at.parameters, &call)?;
        for hosting in hostings.iter().filter(|hosting| hosting.host != self.key.address()) {
            let drawn = ticket::drawn(&self.client, &self.at, hosting.id, epoch)?;
            for (number, one) in (0_u16..).zip(&drawn) {
                let slot = Slot { hosting: hosting.id, epoch, number };
                if one.prover != self.key.address() || self.ledger.entry(slot).is_some() {
                    continue;
                }
                let room = ends.saturating_sub(now + MARGIN_SECONDS).min(self.settings.delay_max.as_secs());
                let due_at = now + self.draw.random_range(0..=room);
                self.ledger.keep(Entry {
                    slot,
                    leaf: one.leaf,
                    due_at,
                    held: None,
                    sends: Vec::new(),
                    result: None,
                    is_over: false,
                    note: None,
                })?;
            }
        }
        Ok(())
    }

    /// Takes a slot of today as far as it goes now.
    pub(super) fn ask_slot(&mut self, walk: &mut Walk<'_>, slot: Slot, hosting: &Hosting) -> Result<()> {
        let Some(mut entry) = self.ledger.entry(slot).cloned() else { return Ok(()) };
        let is_done = entry.result.is_some() && self.probe(slot)?.state != super::state::NONE;
        if is_done || self.client.time()? < entry.due_at {
            return Ok(());
        }
        let drawn = ticket::drawn(&self.client, &self.at, slot.hosting, slot.epoch)?;
        let Some(drawn) = drawn.get(usize::from(slot.number)) else { return Ok(()) };
        if entry.held.is_none() {
            match self.ticket((slot, drawn)) {
                Ok(held) => {
                    entry.sends = self.plan(&held.query);
                    entry.held = Some(held);
                    self.ledger.keep(entry.clone())?;
                }
                Err(error) => return self.go_without(walk, slot, error),
            }
        }
        self.send_all(&mut entry, hosting, drawn)?;
        if entry.result.is_none() {
            entry.result = Some(self.outcome(&entry)?);
            self.ledger.keep(entry.clone())?;
        }
        self.commit(walk, &entry)
    }

    /// Asks the owner for the ticket.
    fn ticket(&self, (slot, drawn): (Slot, &Drawn)) -> Result<Held> {
        let site = (self.client.chain_id(), self.at.registry);
        let application = Application::sign(slot, &self.key, site);
        let base = self.settings.ticket_url.trim_end_matches('/').trim_end_matches("/v1");
        let url = format!("{base}/v1/tickets");
        let body = serde_json::to_vec(&application).map_err(|error| Error::refused(error.to_string()))?;
        let (status, body) = self.runtime.block_on(self.purse.post(&url, body.into()))?;
        if status != 200 {
            let value: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            let why = value["error"]["message"].as_str().unwrap_or("it does not say why");
            return Err(Error::refused(format!("{url} gives no ticket (status {status}): {why}")));
        }
        let grant: Grant = serde_json::from_slice(&body)
            .map_err(|error| Error::refused(format!("{url} answers with no ticket: {error}")))?;
        let query = grant.open((slot, drawn), &self.key, (&self.client, &self.at))?;
        Ok(Held { ticket: grant.ticket, query })
    }

    /// Without a ticket by the middle of the epoch a prover says so: a coin against the owner, and the slot is not empty.
    fn go_without(&mut self, walk: &mut Walk<'_>, slot: Slot, why: Error) -> Result<()> {
        let begins =
            self.client.call(self.at.parameters, &Parameters::epochStartCall { epoch: slot.epoch })?;
        let late = self.client.call(self.at.probe_board, &ProbeBoard::TICKET_SECONDSCall {})?;
        if self.client.time()? < begins + late {
            return Err(why);
        }
        self.commit_to(walk, slot, B256::ZERO)?;
        let Some(mut entry) = self.ledger.entry(slot).cloned() else { return Ok(()) };
        (entry.is_over, entry.note) = (true, Some(format!("no ticket: {why}")));
        self.ledger.keep(entry)
    }

    /// The invocations of a slot: its probes among ordinary ones, in an order that says nothing.
    fn plan(&mut self, query: &str) -> Vec<Send> {
        let mut sends = Vec::new();
        for number in 0..self.settings.sends.clamp(1, 4) {
            let prompt = if number == 0 {
                query.to_owned()
            } else {
                format!("{}\n{query}", self.settings.text.sentence(&mut self.draw))
            };
            sends.push(Send::new(PROBE, prompt));
        }
        for _ in 0..self.settings.cover {
            let sentence = self.settings.text.sentence(&mut self.draw);
            let count = self.draw.random_range(WORDS);
            let prompt = sentence.split_whitespace().take(count).collect::<Vec<_>>().join(" ");
            sends.push(Send::new(ORDINARY, prompt));
        }
        sends.shuffle(&mut self.draw);
        sends
    }

    /// Makes the invocations that were not made yet.
    fn send_all(&mut self, entry: &mut Entry, hosting: &Hosting, drawn: &Drawn) -> Result<()> {
        let Some(url) = self.purse.endpoint(drawn.endpoint_hash).map(str::to_owned) else {
            return Err(Error::refused(format!("where hosting {} answers is not known", hosting.id)));
        };
        let open = entry.sends.iter().filter(|send| send.text.is_none()).count();
        let count = u32::try_from(open).unwrap_or(u32::MAX);
        for place in 0..entry.sends.len() {
            let send = &entry.sends[place];
            if send.text.is_some() || send.attempt_count >= ATTEMPTS_MAX {
                continue;
            }
            let body = json!({ "prompt": send.prompt, "max_tokens": PIECES_MAX, "temperature": 0 });
            let asked = self.purse.ask((hosting, entry.slot.epoch), &url, &body, count);
            let answer = self.runtime.block_on(asked);
            let send = &mut entry.sends[place];
            send.attempt_count += 1;
            match answer {
                Ok(answer) => {
                    (send.text, send.receipt, send.problem) = (Some(answer.text), answer.receipt, None);
                }
                Err(error) => send.problem = Some(error.to_string()),
            }
            self.ledger.keep(entry.clone())?;
        }
        let is_open = |send: &&Send| send.text.is_none() && send.attempt_count < ATTEMPTS_MAX;
        match entry.sends.iter().find(is_open) {
            None => Ok(()),
            Some(send) => {
                let why = send.problem.as_deref().unwrap_or("it was not asked");
                Err(Error::refused(format!("hosting {} does not answer: {why}", hosting.id)))
            }
        }
    }

    /// What came back, as it will be laid open.
    fn outcome(&mut self, entry: &Entry) -> Result<Outcome> {
        let mut replies = Vec::new();
        for send in entry.probes() {
            let pieces = match &send.text {
                Some(text) => self.pieces(&send.prompt, text)?,
                None => Vec::new(),
            };
            replies.push(Bytes::from(pieces.abi_encode()));
        }
        let mut salt = B256::ZERO;
        self.draw.fill_bytes(&mut salt.0);
        let text = serde_json::to_vec(&entry.sends).map_err(|error| Error::refused(error.to_string()))?;
        Ok(Outcome {
            salt,
            replies,
            // Without a receipt nobody but other provers can bear it out.
            mode: if entry.probes().any(|send| send.receipt.is_some()) { 0 } else { 2 },
            transcript_hash: keccak256(text),
            observed_at: self.client.time()?,
        })
    }

    /// A reply, cut as anybody cuts it who has the model's tokenizer.
    fn pieces(&self, prompt: &str, text: &str) -> Result<Vec<Bytes>> {
        let tokenizer = &self.settings.tokenizer;
        let cut = cut::first(tokenizer, prompt, text, PIECES_MAX);
        let tokens = cut.map_err(|error| Error::refused(format!("cutting a reply: {error}")))?;
        let piece = |token: &u32| Bytes::from(tokenizer.piece(*token).unwrap_or_default());
        Ok(tokens.unwrap_or_default().iter().map(piece).collect())
    }

    fn commit(&mut self, walk: &mut Walk<'_>, entry: &Entry) -> Result<()> {
        let Some(id) = self.result_id(entry) else { return Ok(()) };
        self.commit_to(walk, entry.slot, id)
    }

    /// The digest of a slot's result.
    pub(super) fn result_id(&self, entry: &Entry) -> Option<B256> {
        let (held, result) = (entry.held.as_ref()?, entry.result.as_ref()?);
        let domain = message::domain(self.client.chain_id(), self.at.registry);
        Some(message::digest(&result.message(held.ticket.id(&domain)), &domain))
    }

    fn commit_to(&self, walk: &mut Walk<'_>, slot: Slot, result_id: B256) -> Result<()> {
        if self.probe(slot)?.state != super::state::NONE {
            return Ok(());
        }
        let result = ProbeBoard::ResultCommit {
            hostingId: U256::from(slot.hosting),
            slot: slot.number,
            resultId: result_id,
        };
        let call = ProbeBoard::commitResultsCall { results: vec![result] };
        walk.take(Step::new(format!("commit to what {slot} said"), self.at.probe_board, &call, gas::COMMIT))?;
        Ok(())
    }
}

impl Send {
    const fn new(kind: u8, prompt: String) -> Self {
        Self { kind, prompt, text: None, receipt: None, attempt_count: 0, problem: None, is_reported: None }
    }
}
