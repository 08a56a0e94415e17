//! What an accused host says: each open claim against its hosting is held against what it kept, and answered with what ends it.
//!
//! Nothing has to be remembered between two runs. Which receipt a claim is about follows from the claim's subject on the
//! chain, and what was answered already is no open claim any more.

mod probes;

use std::fmt;
use std::ops::ControlFlow;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::{Eip712Domain, SolValue as _};
use loyal_protocol::contracts::*;
use loyal_protocol::{Addresses, Failure, Walk, message};
use loyal_types::Proof;

use crate::court::{self, Claim};
use crate::error::{Error, Result};

/// What is done with each receipt.
pub type Look<'a> = dyn FnMut(&message::Receipt) -> Result<ControlFlow<()>> + 'a;

/// What a host keeps of its epochs, for as long as it can be accused.
pub trait Records {
    /// Goes through the receipts of a hosting's epoch in the order of their numbers, all that its report counts, until `look`
    /// breaks off. There may be millions.
    ///
    /// # Errors
    /// They cannot be read, or what `look` fails with.
    fn look_through(&self, hosting: u64, epoch: u32, look: &mut Look<'_>) -> Result<()>;

    /// The proof that the tree of an epoch's receipts holds the one with this number, and the root of that tree.
    ///
    /// # Errors
    /// It cannot be read.
    fn proof(&self, hosting: u64, epoch: u32, seq: u32) -> Result<Option<(Proof, B256)>>;

    /// By what an invocation was permitted; nothing where that was not kept.
    ///
    /// # Errors
    /// It cannot be read.
    fn permission(&self, invocation: B256) -> Result<Option<Permission>>;

    /// What an invocation asked; nothing where that was not kept.
    ///
    /// # Errors
    /// It cannot be read.
    fn request(&self, invocation: B256) -> Result<Option<Request>>;
}

/// By what an invocation was permitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// The invocation, as its caller signed it.
    pub invocation: message::Invocation,
    /// The credential it names.
    pub credential: message::Credential,
    /// Who issued that.
    pub issuer: Address,
    /// The issuer's signature under the credential.
    pub signature: Bytes,
}

/// What an invocation asked: what its request hash is made of (`docs/protocol.md`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Random bytes that came along.
    pub salt: B256,
    /// The last message of the user, or the prompt.
    pub prompt: String,
    /// The hash of everything else in the body.
    pub params_hash: B256,
}

/// What was said to a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The claim.
    pub claim: B256,
    /// Of what it accuses.
    pub kind: &'static str,
    /// What was said.
    pub said: Said,
}

/// What came of looking for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// The claim is dismissed.
    Cleared,
    /// Probes were taken out, and what is left still holds.
    Weakened {
        /// How many.
        shown: usize,
    },
    /// There is an answer, and this was a rehearsal.
    Rehearsed,
    /// There is no answer, for this reason: left alone, the claim is upheld or heard by a jury.
    Nothing {
        /// A sentence without an end.
        why: String,
    },
}

impl Said {
    fn nothing(why: impl Into<String>) -> Self {
        Self::Nothing { why: why.into() }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cleared => f.write_str("dismissed"),
            Self::Weakened { shown } => write!(f, "{shown} probes were taken out, and the rest still holds"),
            Self::Rehearsed => f.write_str("there is an answer"),
            Self::Nothing { why } => write!(f, "no answer: {why}"),
        }
    }
}

/// Answers every open claim against a hosting that the records can answer, and says what came of each.
/// Run again, it goes on where it stopped, and says nothing twice.
///
/// # Errors
/// The chain's, and those of the records. A claim that cannot be answered is none.
pub fn run(walk: &mut Walk<'_>, at: &Addresses, hosting: u64, records: &dyn Records) -> Result<Vec<Reply>> {
    let mut replies = Vec::new();
    for claim in Claim::against(walk.client, at, hosting)? {
        if claim.state != "open" {
            continue;
        }
        let said = if walk.client.time()? > claim.deadline {
            Said::nothing("its time is over")
        } else {
            match claim.kind {
                "omitted" => omitted(walk, at, &claim, records)?,
                "unauthorised" => unauthorised(walk, at, &claim, records)?,
                "unreported" => probes::show(walk, at, &claim, records)?,
                kind => Said::nothing(format!("no receipt speaks of {kind}, but a jury hears a plea")),
            }
        };
        replies.push(Reply { claim: claim.id, kind: claim.kind, said });
    }
    Ok(replies)
}

/// Opens the leaf of the receipt in the report that was posted.
fn omitted(walk: &mut Walk<'_>, at: &Addresses, claim: &Claim, records: &dyn Records) -> Result<Said> {
    let domain = message::domain(walk.client.chain_id(), at.registry);
    let Some(receipt) = subject_of(records, claim, &domain)? else {
        return Ok(Said::nothing(format!("no receipt of epoch {} is the one it shows", claim.epoch)));
    };
    let Some((proof, root)) = records.proof(claim.hosting, claim.epoch, receipt.seq)? else {
        return Ok(Said::nothing("the report has no such leaf"));
    };
    let call = Gate::reportOfCall { hostingId: U256::from(claim.hosting), epoch: claim.epoch };
    if walk.client.call(at.gate, &call)?.root != root {
        return Ok(Said::nothing(format!(
            "the report of epoch {} is not that of these receipts",
            claim.epoch
        )));
    }
    give(walk, at, claim, shown(&proof).abi_encode().into())
}

/// Shows the invocation behind the receipt, and the credential that permitted it.
fn unauthorised(walk: &mut Walk<'_>, at: &Addresses, claim: &Claim, records: &dyn Records) -> Result<Said> {
    let domain = message::domain(walk.client.chain_id(), at.registry);
    let Some(receipt) = subject_of(records, claim, &domain)? else {
        return Ok(Said::nothing(format!("no receipt of epoch {} is the one it shows", claim.epoch)));
    };
    let Some(kept) = records.permission(receipt.invocationId)? else {
        return Ok(Said::nothing("the credential of that invocation was not kept"));
    };
    let data = (kept.invocation, kept.credential, kept.issuer, kept.signature).abi_encode_params();
    give(walk, at, claim, data.into())
}

/// The receipt that a claim is about: the claim's subject is the hash of its kind and the receipt's id.
fn subject_of(
    records: &dyn Records,
    claim: &Claim,
    domain: &Eip712Domain,
) -> Result<Option<message::Receipt>> {
    let mut found = None;
    records.look_through(claim.hosting, claim.epoch, &mut |receipt| {
        let subject = keccak256((claim.kind, message::digest(receipt, domain)).abi_encode_params());
        if subject != claim.subject {
            return Ok(ControlFlow::Continue(()));
        }
        found = Some(receipt.clone());
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

/// A proof as contracts take it.
fn shown(proof: &Proof) -> ProbeBoard::Proof {
    let siblings = proof.siblings.iter();
    let siblings = siblings.map(|node| ProbeBoard::Node {
        hash: node.hash.0.into(),
        amount: node.amount,
        tokens: node.tokens,
    });
    ProbeBoard::Proof { index: proof.index, count: proof.count, siblings: siblings.collect() }
}

/// Gives an answer, and sees what became of the claim. What a contract refuses is no answer.
fn give(walk: &mut Walk<'_>, at: &Addresses, claim: &Claim, data: Bytes) -> Result<Said> {
    let refused = match court::answer(walk, at, claim, data) {
        Ok(()) if walk.is_rehearsal() => return Ok(Said::Rehearsed),
        Ok(()) => None,
        Err(Error::Chain(Failure::Reverted { reason, .. })) => Some(reason),
        Err(error) => return Err(error),
    };
    let now = Claim::read(walk.client, at, claim.id)?;
    Ok(match (now.state, now.outcome, refused) {
        (_, "dismissed", _) => Said::Cleared,
        ("open", _, None) => Said::Weakened { shown: 0 },
        ("open", _, Some(reason)) => Said::nothing(format!("the contract refused it: {reason}")),
        (state, outcome, _) => Said::nothing(format!("it is {state} meanwhile, {outcome}")),
    })
}
