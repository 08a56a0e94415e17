//! Whose model it is: a claim over fingerprints that were committed to earlier, and the leaves that are laid open for it.

use alloy_primitives::{Bytes, U256};
use alloy_sol_types::SolValue as _;
use loyal_fingerprint::commitment::Opening;
use loyal_fingerprint::fingerprint::FingerprintSet;
use loyal_protocol::contracts::{Beacon, OwnershipExaminer, Parameters};
use loyal_protocol::{Addresses, Step, Walk};

use super::Claim;
use crate::error::{Error, Result};

/// Gas of one leaf as a rule, and leaves in one transaction.
const LEAF_GAS: u64 = 160_000;
const LEAVES_MAX: usize = 16;

/// Evidence that a version carries another's fingerprints: the claimant's version, the accused one, the chance of a coin (one in
/// so many), and how many times 64 leaves are drawn (1 to 4).
#[must_use]
pub fn evidence(mine: (u64, u32), theirs: (u64, u32), one_in: u32, rounds: u8) -> Bytes {
    let (model, accused) = (U256::from(mine.0), U256::from(theirs.0));
    (model, mine.1, accused, theirs.1, one_in, u32::from(rounds)).abi_encode().into()
}

/// Lays the leaves open that the Beacon drew for a claim, so that everybody may ask them of the accused weights. Each is burnt. Run
/// again, it goes on where it stopped. Answers how many lie open now.
///
/// # Errors
/// The chain's; the claim is of another kind, or its seed is not there yet; `set` is another one.
pub fn lay_open(walk: &mut Walk<'_>, at: &Addresses, claim: &Claim, set: &FingerprintSet) -> Result<usize> {
    let client = walk.client;
    if claim.kind != "ownership" || claim.state != "open" {
        return Err(Error::refused(format!(
            "leaves are laid open for open claims of ownership; this one is {}, of {}",
            claim.state, claim.kind
        )));
    }
    let case = client.call(at.ownership_examiner, &OwnershipExaminer::caseOfCall { claimId: claim.id })?;
    if set.commitment().leaf_root.0 != case.leafRoot.0 {
        return Err(Error::refused(format!(
            "the claim is over the leaves {}, these are others",
            case.leafRoot
        )));
    }
    let epoch = case.seedEpoch;
    let begins = client.call(at.parameters, &Parameters::epochStartCall { epoch })?;
    if client.time()? < begins {
        return Err(Error::refused(format!(
            "the leaves are drawn by the seed of epoch {epoch}, which has not begun"
        )));
    }
    if client.call(at.beacon, &Beacon::drawOfCall { epoch })?.seed.is_zero() {
        let call = Beacon::closeCall { epoch };
        walk.take(Step::new(format!("draw the seed of epoch {epoch}"), at.beacon, &call, 75_000))?;
    }
    let leaves =
        client.call(at.ownership_examiner, &OwnershipExaminer::leavesOfCall { claimId: claim.id })?;
    let mut closed = Vec::new();
    for (place, index) in (0_u32..).zip(&leaves) {
        let call = OwnershipExaminer::isOpenedCall { claimId: claim.id, place };
        if !client.call(at.ownership_examiner, &call)? {
            closed.push(opening(set, place, *index)?);
        }
    }
    for batch in closed.chunks(LEAVES_MAX) {
        let call = OwnershipExaminer::openLeavesCall { claimId: claim.id, openings: batch.to_vec() };
        let says = format!("lay {} leaves open", batch.len());
        walk.take(Step::new(says, at.ownership_examiner, &call, LEAF_GAS * batch.len() as u64))?;
    }
    Ok(leaves.len())
}

fn opening(set: &FingerprintSet, place: u32, index: u32) -> Result<OwnershipExaminer::LeafOpening> {
    let found = Opening::new(set, index).map_err(|error| Error::refused(error.to_string()))?;
    let siblings = found.proof.siblings.iter().map(|node| OwnershipExaminer::Node {
        hash: node.hash.0.into(),
        amount: node.amount,
        tokens: node.tokens,
    });
    Ok(OwnershipExaminer::LeafOpening {
        place,
        query: found.query.into_bytes().into(),
        blinding: found.blinding.0.into(),
        answerSpec: found.answer_spec.into(),
        proof: OwnershipExaminer::Proof {
            index: found.proof.index,
            count: found.proof.count,
            siblings: siblings.collect(),
        },
    })
}
