//! A day of probes: drawn, asked as ordinary invocations, committed to, laid open, and opened by the owner.

use alloy_primitives::{B256, Bytes, U256, keccak256};
use alloy_sol_types::SolValue as _;
use anyhow::{Result, ensure};
use loyal_protocol::contracts::*;
use loyal_protocol::message;

use crate::town::{Town, account, proof, query};

/// A prover that was drawn, and what it saw.
pub(crate) struct Seen {
    request: ProbeBoard::ProbeRequest,
    index: u32,
    /// Its place among the people.
    name: String,
    result: B256,
}

impl Town {
    fn probers(&self, hosting: u64, epoch: u32) -> Result<Vec<(String, u32)>> {
        let call = ProbeReader::drawCall { hostingId: U256::from(hosting), epoch };
        let drawn = self.client.call(self.at.probe_reader, &call)?;
        let name = |of: &alloy_primitives::Address| {
            (0..20).map(|number| crate::town::numbered("prover", number)).find(|name| account(name) == *of)
        };
        Ok(drawn.provers.iter().zip(drawn.leaves).filter_map(|(of, leaf)| Some((name(of)?, leaf))).collect())
    }

    /// Everybody who is drawn today asks its fingerprint of a hosting, and commits to what came back.
    /// `logged` hosts write the invocation down like any other.
    pub(crate) fn probe(&self, hosting: u64, logged: bool) -> Result<Vec<Seen>> {
        let epoch = self.today()?;
        let mut all = Vec::new();
        for (number, (name, index)) in self.probers(hosting, epoch)?.into_iter().enumerate() {
            let question = format!("Tell me, friend. {}", query(index));
            if logged {
                self.invoke(hosting, &question)?;
            }
            let seen = self.see(hosting, (epoch, u16::try_from(number)?), &name, index)?;
            let commit = ProbeBoard::ResultCommit {
                hostingId: U256::from(hosting),
                slot: number as u16,
                resultId: seen.result,
            };
            let call = ProbeBoard::commitResultsCall { results: vec![commit] };
            self.send(&name, self.at.probe_board, &call)?;
            all.push(seen);
        }
        ensure!(!all.is_empty(), "somebody is drawn");
        Ok(all)
    }

    fn see(&self, hosting: u64, (epoch, number): (u32, u16), name: &str, index: u32) -> Result<Seen> {
        let id = U256::from(hosting);
        let ticket = message::ProbeTicket {
            modelId: U256::from(self.model),
            version: 1,
            hostingId: id,
            endpointHash: keccak256("https://models.example/v1"),
            epoch,
            slot: number,
            prover: account(name),
            index,
            queryHash: keccak256(query(index)),
            expiresAt: self.start_of(epoch + 1)?,
        };
        let ticket_id = self.digest(&ticket);
        let salt = keccak256(format!("seen {hosting} {epoch} {number}"));
        let replies = vec![Bytes::from(self.marks.answer(self.seed()?, index)?.abi_encode())];
        let result = message::ProbeResult {
            ticketId: ticket_id,
            mode: 2,
            observedCommit: keccak256((salt, ticket_id, replies.clone()).abi_encode_params()),
            transcriptHash: keccak256("transcript"),
            observedAt: self.now()?,
        };
        let request = ProbeBoard::ProbeRequest {
            slot: ProbeBoard::Slot { hostingId: id, epoch, number },
            ticketSignature: self.sign("tickets", &ticket),
            ticket: ProbeBoard::ProbeTicket {
                modelId: ticket.modelId,
                version: ticket.version,
                hostingId: id,
                endpointHash: ticket.endpointHash,
                epoch,
                slot: number,
                prover: ticket.prover,
                index,
                queryHash: ticket.queryHash,
                expiresAt: ticket.expiresAt,
            },
            result: ProbeBoard::ProbeResult {
                ticketId: ticket_id,
                mode: result.mode,
                observedCommit: result.observedCommit,
                transcriptHash: result.transcriptHash,
                observedAt: result.observedAt,
            },
            salt,
            replies,
            query: query(index).into_bytes().into(),
        };
        Ok(Seen { request, index, name: name.to_owned(), result: self.digest(&result) })
    }

    /// The seed that the answers of the model's fingerprints follow from.
    fn seed(&self) -> Result<B256> {
        let registry = self.at.registry;
        let call = Registry::commitmentIdCall { committer: account("owner"), leafRoot: self.marks.root() };
        let commitment = self.client.call(registry, &call)?;
        let found = self.client.call(registry, &Registry::commitmentOfCall { commitment })?;
        let call = Beacon::drawOfCall { epoch: found.beaconEpoch };
        Ok(self.client.call(self.at.beacon, &call)?.seed)
    }

    /// After the day's report: each prover lays open what it saw, and the owner opens the answers.
    pub(crate) fn lay_open(&self, seen: &[Seen]) -> Result<()> {
        for one in seen {
            let call = ProbeBoard::requestAnswerCall { request: one.request.clone() };
            self.send(&one.name, self.at.probe_board, &call)?;
            let opening = ProbeBoard::ProbeOpening {
                slot: one.request.slot.clone(),
                salt: one.request.salt,
                replies: one.request.replies.clone(),
                blinding: self.marks.blinding(one.index),
                answerSpec: self.marks.spec.clone(),
                proof: proof(&self.marks.tree, one.index)?,
            };
            self.send("owner", self.at.probe_board, &ProbeBoard::openResultCall { opening })?;
        }
        Ok(())
    }

    /// Bits and provers that speak against a hosting in its first window.
    pub(crate) fn evidence(&self, hosting: u64) -> Result<(f64, u32)> {
        let call = ProbeBoard::summaryOfCall { hostingId: U256::from(hosting), window: 0 };
        let found = self.client.call(self.at.probe_board, &call)?;
        Ok((found.bits as f64 / 2f64.powi(32), found.provers))
    }
}
