//! The answer to a claim of unreported use: for every probe that speaks for it, the receipt of that invocation in the report.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use alloy_primitives::{B256, Bytes, U256, keccak256};
use alloy_sol_types::{SolEvent as _, SolValue as _, sol};
use loyal_protocol::contracts::*;
use loyal_protocol::{Addresses, Client, Walk, message};
use loyal_types::{Chance, Evidence};

use super::{Records, Request, Said, give};
use crate::court::Claim;
use crate::error::Result;

sol! {
    struct ShownSlot { uint256 hostingId; uint32 epoch; uint16 number; }
    struct ShownNode { bytes32 hash; uint128 amount; uint128 tokens; }
    struct ShownProof { uint32 index; uint32 count; ShownNode[] siblings; }
    struct ShownUse {
        bytes32 invocationId; uint256 hostingId; uint32 epoch; uint32 seq; bytes32 requestHash; bytes32 responseHash;
        bytes32 traceRoot; uint32 tokensIn; uint32 tokensOut; uint128 amount; uint128 cumulative; uint64 issuedAt;
    }
    struct ShownReceipt {
        ShownSlot slot; ShownUse receipt; ShownProof proof; bytes32 salt; bytes prompt; bytes32 paramsHash; uint256 querySize;
    }
}

/// The state of a probe whose answer is open, as the board numbers them.
const OPENED: u8 = 4;
/// Receipts shown in one transaction.
const SHOWN_MAX: usize = 16;

/// A probe that counts, and what it asked.
struct Asked {
    slot: ProbeBoard::Slot,
    probe: ProbeBoard::Probe,
    query: Bytes,
}

/// What a host kept of the invocations of one epoch that may have been probes, beside what it reported.
struct Day {
    uses: Vec<(message::Receipt, B256, Request)>,
    report: Gate::Report,
}

/// Shows the receipts of the probes without which the claim has fewer bits.
pub(super) fn show(
    walk: &mut Walk<'_>,
    at: &Addresses,
    claim: &Claim,
    records: &dyn Records,
) -> Result<Said> {
    let asked = counted(walk.client, at, claim)?;
    let mut days = BTreeMap::new();
    let mut taken = BTreeSet::new();
    let mut answered = Vec::new();
    for at_hand in 0..asked.len() {
        let found = receipt_of((walk.client, at), (&asked, at_hand), (&mut days, &mut taken), records)?;
        let asked = &asked[at_hand];
        if let Some(shown) = found {
            answered.push((&asked.probe, shown));
        }
    }
    let found = answered.len();
    let shown = lowering(&asked, answered);
    if shown.is_empty() {
        let count = asked.len();
        return Ok(Said::nothing(format!(
            "of {count} probes that count, {found} have a receipt in a report that was early enough"
        )));
    }
    let mut before = 0;
    for batch in shown.chunks(SHOWN_MAX) {
        match give(walk, at, claim, batch.to_vec().abi_encode().into())? {
            Said::Weakened { .. } => before += batch.len(),
            Said::Nothing { .. } if before > 0 => break,
            said => return Ok(said),
        }
    }
    Ok(Said::Weakened { shown: before })
}

/// The probes that a claim stands on: those of its window that are open and not used up.
fn counted(client: &Client, at: &Addresses, claim: &Claim) -> Result<Vec<Asked>> {
    let id = U256::from(claim.hosting);
    let time = U256::from(client.time()?);
    let today = client.call(at.parameters, &Parameters::epochAtCall { time })?;
    let window_of = |epoch| client.call(at.probe_board, &ProbeBoard::windowOfCall { hostingId: id, epoch });
    let subject = |window: &u32| keccak256(("unreported", id, *window).abi_encode_params());
    let Some(window) = (0..=window_of(today)?).find(|window| subject(window) == claim.subject) else {
        return Ok(Vec::new());
    };
    let call = ProbeBoard::summaryOfCall { hostingId: id, window };
    let generation = client.call(at.probe_board, &call)?.generation;
    let topics = [Some(ProbeBoard::AnswerRequested::SIGNATURE_HASH), Some(B256::from(id))];
    let mut found = Vec::new();
    for event in client.find(at.probe_board, &topics)? {
        let Some(event) = event.decode::<ProbeBoard::AnswerRequested>() else { continue };
        let slot = ProbeBoard::Slot { hostingId: id, epoch: event.epoch, number: event.slot };
        let probe = client.call(at.probe_board, &ProbeBoard::probeOfCall { slot: slot.clone() })?;
        let counts = probe.state == OPENED && probe.generation == generation;
        if counts && window_of(event.epoch)? == window {
            found.push(Asked { slot, probe, query: event.query });
        }
    }
    Ok(found)
}

/// The receipt that answers a probe: its prompt ends with the query, and it was reported before anybody knew which.
fn receipt_of(
    (client, at): (&Client, &Addresses),
    (all, number): (&[Asked], usize),
    (days, taken): (&mut BTreeMap<u32, Day>, &mut BTreeSet<B256>),
    records: &dyn Records,
) -> Result<Option<ShownReceipt>> {
    let asked = &all[number];
    let probe = &asked.probe;
    let starts = client.call(at.parameters, &Parameters::epochStartCall { epoch: asked.slot.epoch })?;
    // A ticket is good until the first second of the next epoch.
    for epoch in [asked.slot.epoch, asked.slot.epoch + 1] {
        if let std::collections::btree_map::Entry::Vacant(entry) = days.entry(epoch) {
            entry.insert(Day::read((client, at), (asked.slot.hostingId, epoch), all, records)?);
        }
        let day = &days[&epoch];
        let early = day.report.postedAt != 0 && day.report.postedAt <= probe.requestedAt;
        if !early {
            continue;
        }
        for (receipt, id, request) in &day.uses {
            let fits = receipt.issuedAt >= starts
                && receipt.issuedAt <= probe.expiresAt
                && receipt.amount >= probe.floor
                && request.prompt.as_bytes().ends_with(&asked.query)
                && hash(request) == receipt.requestHash;
            if !fits || taken.contains(id) {
                continue;
            }
            let used = client.call(at.usage_examiner, &UsageExaminer::isUsedCall { receiptId: *id })?;
            let proof = records.proof(asked.slot.hostingId.saturating_to(), epoch, receipt.seq)?;
            let Some((proof, _)) = proof.filter(|(_, root)| !used && *root == day.report.root) else {
                continue;
            };
            taken.insert(*id);
            return Ok(Some(shown(asked, receipt, super::shown(&proof), request)));
        }
    }
    Ok(None)
}

impl Day {
    fn read(
        (client, at): (&Client, &Addresses),
        (hosting, epoch): (U256, u32),
        asked: &[Asked],
        records: &dyn Records,
    ) -> Result<Self> {
        let domain = message::domain(client.chain_id(), at.registry);
        let mut uses = Vec::new();
        records.look_through(hosting.saturating_to(), epoch, &mut |receipt| {
            if let Some(request) = records.request(receipt.invocationId)?
                && asked.iter().any(|asked| request.prompt.as_bytes().ends_with(&asked.query))
            {
                uses.push((receipt.clone(), message::digest(receipt, &domain), request));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let report = client.call(at.gate, &Gate::reportOfCall { hostingId: hosting, epoch })?;
        Ok(Self { uses, report })
    }
}

/// The request hash (`docs/protocol.md`).
fn hash(request: &Request) -> B256 {
    keccak256((request.salt, keccak256(&request.prompt), request.params_hash).abi_encode())
}

/// A probe without which there are more bits stays where it is: it speaks for the host.
fn lowering(asked: &[Asked], answered: Vec<(&ProbeBoard::Probe, ShownReceipt)>) -> Vec<ShownReceipt> {
    let mut sums = BTreeMap::<u32, (u32, u32)>::new();
    for asked in asked {
        let (hits, coins) = sums.entry(asked.probe.k).or_default();
        *hits += u32::from(asked.probe.hits);
        *coins += u32::from(asked.probe.coins);
    }
    let bits = |k: u32, hits: u32, coins: u32| {
        Chance::one_in(k).map(|chance| Evidence::of(chance, hits, coins - hits).bits()).ok()
    };
    let (mut shown, mut rest) = (Vec::new(), answered);
    loop {
        let mut kept = Vec::new();
        let before = shown.len();
        for (probe, receipt) in rest {
            let (hits, coins) = sums.get(&probe.k).copied().unwrap_or_default();
            let without = (hits - u32::from(probe.hits), coins - u32::from(probe.coins));
            if bits(probe.k, without.0, without.1) < bits(probe.k, hits, coins) {
                sums.insert(probe.k, without);
                shown.push(receipt);
            } else {
                kept.push((probe, receipt));
            }
        }
        if shown.len() == before {
            return shown;
        }
        rest = kept;
    }
}

fn shown(
    asked: &Asked,
    receipt: &message::Receipt,
    proof: ProbeBoard::Proof,
    request: &Request,
) -> ShownReceipt {
    let siblings = proof.siblings.into_iter();
    let siblings =
        siblings.map(|node| ShownNode { hash: node.hash, amount: node.amount, tokens: node.tokens });
    ShownReceipt {
        slot: ShownSlot {
            hostingId: asked.slot.hostingId,
            epoch: asked.slot.epoch,
            number: asked.slot.number,
        },
        receipt: ShownUse {
            invocationId: receipt.invocationId,
            hostingId: receipt.hostingId,
            epoch: receipt.epoch,
            seq: receipt.seq,
            requestHash: receipt.requestHash,
            responseHash: receipt.responseHash,
            traceRoot: receipt.traceRoot,
            tokensIn: receipt.tokensIn,
            tokensOut: receipt.tokensOut,
            amount: receipt.amount,
            cumulative: receipt.cumulative,
            issuedAt: receipt.issuedAt,
        },
        proof: ShownProof { index: proof.index, count: proof.count, siblings: siblings.collect() },
        salt: request.salt,
        prompt: Bytes::from(request.prompt.clone().into_bytes()),
        paramsHash: request.params_hash,
        querySize: U256::from(asked.query.len()),
    }
}
