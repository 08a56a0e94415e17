//! Tickets: the right of a drawn prover to ask one fingerprint of one hosting, with the query sealed to it.
//!
//! A prover asks for one with an [`Application`], signed by its staking key; the owner answers with a [`Grant`]. Both can be
//! made again and say the same: nobody has to keep what was asked.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::SolValue as _;
use loyal_access::document::{SignedTicket, decimal};
use loyal_protocol::contracts::{Gate, ProbeReader};
use loyal_protocol::{Addresses, Client, Key, message, seal, signature};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The most bytes of a query.
pub const QUERY_BYTES_MAX: usize = 16 << 10;

/// A place in the probes of a hosting's epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// The hosting.
    #[serde(with = "decimal")]
    pub hosting: u64,
    /// The epoch.
    pub epoch: u32,
    /// The place.
    pub number: u16,
}

/// What a prover asks an owner for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Application {
    /// For which slot.
    pub slot: Slot,
    /// Who was drawn for it.
    pub prover: Address,
    /// Its signature.
    pub signature: Bytes,
}

/// What the owner answers: the ticket, and the query for the prover's eyes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The ticket.
    pub ticket: SignedTicket,
    /// The query, sealed ([`loyal_protocol::seal`]).
    pub sealed: Bytes,
}

/// Who is drawn for a slot, with which leaf, and what the ticket of it says besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawn {
    /// Who probes.
    pub prover: Address,
    /// With which leaf.
    pub leaf: u32,
    /// The model that is hosted.
    pub model: u64,
    /// Its version.
    pub version: u32,
    /// Hash of the hosting's address.
    pub endpoint_hash: B256,
    /// When the ticket ends: with the epoch.
    pub expires_at: u64,
}

impl Slot {
    /// As contracts take it.
    #[must_use]
    pub fn on_chain(&self) -> loyal_protocol::contracts::ProbeBoard::Slot {
        loyal_protocol::contracts::ProbeBoard::Slot {
            hostingId: U256::from(self.hosting),
            epoch: self.epoch,
            number: self.number,
        }
    }

    /// What is encrypted stays with its slot.
    fn context(&self) -> Vec<u8> {
        ("loyal/ticket/1", self.hosting, self.epoch, self.number).abi_encode_params()
    }
}

impl std::fmt::Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "slot {} of hosting {} in epoch {}", self.number, self.hosting, self.epoch)
    }
}

/// All slots of a hosting's epoch, in their order. The epoch's seed must be drawn.
///
/// # Errors
/// The chain's.
pub fn drawn(client: &Client, at: &Addresses, hosting: u64, epoch: u32) -> Result<Vec<Drawn>> {
    let id = U256::from(hosting);
    let draw = client.call(at.probe_reader, &ProbeReader::drawCall { hostingId: id, epoch })?;
    let found = client.call(at.gate, &Gate::hostingOfCall { hostingId: id })?;
    let call = loyal_protocol::contracts::Parameters::epochStartCall { epoch: epoch + 1 };
    let expires_at = client.call(at.parameters, &call)?;
    let both = draw.provers.into_iter().zip(draw.leaves);
    let one = |(prover, leaf)| Drawn {
        prover,
        leaf,
        model: found.modelId.saturating_to(),
        version: found.version,
        endpoint_hash: found.endpointHash,
        expires_at,
    };
    Ok(both.map(one).collect())
}

impl Drawn {
    /// The ticket that belongs to it.
    #[must_use]
    pub const fn ticket(&self, slot: Slot, query_hash: B256) -> message::ProbeTicket {
        message::ProbeTicket {
            modelId: U256::from_limbs([self.model, 0, 0, 0]),
            version: self.version,
            hostingId: U256::from_limbs([slot.hosting, 0, 0, 0]),
            endpointHash: self.endpoint_hash,
            epoch: slot.epoch,
            slot: slot.number,
            prover: self.prover,
            index: self.leaf,
            queryHash: query_hash,
            expiresAt: self.expires_at,
        }
    }
}

impl Application {
    /// Asks for the ticket of a slot.
    #[must_use]
    pub fn sign(slot: Slot, key: &Key, (chain_id, registry): (u64, Address)) -> Self {
        let prover = key.address();
        let signature = key.sign_bytes(digest(slot, prover, chain_id, registry));
        Self { slot, prover, signature }
    }

    /// Whether the prover signed it.
    #[must_use]
    pub fn verify(&self, (chain_id, registry): (u64, Address)) -> bool {
        let digest = digest(self.slot, self.prover, chain_id, registry);
        signature::signer_of(digest, &self.signature) == Some(self.prover)
    }
}

fn digest(slot: Slot, prover: Address, chain_id: u64, registry: Address) -> B256 {
    let what = "loyal/ticket-application/1";
    keccak256(
        (what, U256::from(chain_id), registry, slot.hosting, slot.epoch, slot.number, prover)
            .abi_encode_params(),
    )
}

impl Grant {
    /// Answers an application that was verified: `ticket` for the slot, `query` for its prover. `entropy` is 32 random bytes
    /// that are used once.
    ///
    /// # Errors
    /// The signature is none, or the entropy no key of the curve (draw again).
    pub fn new(
        application: &Application,
        ticket: SignedTicket,
        query: &str,
        (chain_id, registry, entropy): (u64, Address, [u8; 32]),
    ) -> Result<Self> {
        let digest = digest(application.slot, application.prover, chain_id, registry);
        let signed = (digest, &application.signature[..]);
        let sealed = seal::seal(signed, &application.slot.context(), query.as_bytes(), entropy)
            .ok_or_else(|| Error::refused("the query cannot be sealed to the application's signature"))?;
        Ok(Self { ticket, sealed: sealed.into() })
    }

    /// Opens the query, and checks that the ticket is the one of this slot, for this query, by `signer`.
    ///
    /// # Errors
    /// What is wrong with the owner's answer.
    pub fn open(
        &self,
        (slot, drawn): (Slot, &Drawn),
        key: &Key,
        (client, at): (&Client, &Addresses),
    ) -> Result<String> {
        let wrong = |why: &str| Err(Error::refused(format!("the owner's ticket for {slot}: {why}")));
        if self.sealed.len() > QUERY_BYTES_MAX + seal::OVERHEAD {
            return wrong("the query is too long");
        }
        let Some(query) = seal::open(key, &slot.context(), &self.sealed) else {
            return wrong("the query is not sealed to this prover");
        };
        let Ok(query) = String::from_utf8(query) else { return wrong("the query is no text") };
        if query.is_empty() {
            return wrong("the query is empty");
        }
        if self.ticket.ticket != drawn.ticket(slot, keccak256(&query)) {
            return wrong("it says something else than the draw and the query");
        }
        let call = ProbeReader::ticketSignerAtCall {
            modelId: U256::from(drawn.model),
            time: uint48(client.time()?),
        };
        let expected = client.call(at.probe_reader, &call)?;
        let domain = message::domain(client.chain_id(), at.registry);
        if expected == Address::ZERO || self.ticket.signer(&domain) != Some(expected) {
            return wrong("the model's ticket signer did not sign it");
        }
        Ok(query)
    }
}

/// A time as contracts keep it in histories.
pub(crate) fn uint48(time: u64) -> alloy_primitives::aliases::U48 {
    alloy_primitives::aliases::U48::saturating_from(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> Key {
        Key::of(B256::from(U256::from(number))).unwrap()
    }

    #[test]
    fn an_application_is_for_one_slot_of_one_prover_on_one_chain() {
        let slot = Slot { hosting: 3, epoch: 7, number: 2 };
        let site = (31_337, Address::with_last_byte(1));
        let good = Application::sign(slot, &key(5), site);
        assert!(good.verify(site));
        assert!(!good.verify((1, site.1)) && !good.verify((site.0, Address::with_last_byte(2))));
        let other = Application { slot: Slot { number: 3, ..slot }, ..good.clone() };
        assert!(!other.verify(site));
        let other = Application { prover: key(6).address(), ..good.clone() };
        assert!(!other.verify(site));
        let text = serde_json::to_string(&good).unwrap();
        assert_eq!(serde_json::from_str::<Application>(&text).unwrap(), good);
        assert!(serde_json::from_str::<Application>(&text.replace("\"epoch\"", "\"Epoch\"")).is_err());
    }
}
