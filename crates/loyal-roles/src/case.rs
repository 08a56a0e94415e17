//! A case: the probes that speak against a hosting, laid open, so that anybody computes the evidence again offline.
//!
//! What a reader still takes from the chain is named in it: the leaf root, the Beacon's seed, who signs tickets, and that each
//! result stood there before the answer was opened (`ProbeBoard.probeOf(slot).resultId`).

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::SolValue as _;
use loyal_access::document::{SignedTicket, decimal};
use loyal_fingerprint::commitment::Opening;
use loyal_fingerprint::fingerprint::FingerprintSet;
use loyal_fingerprint::scheme::Rule;
use loyal_protocol::contracts::{Beacon, ProbeBoard, ProbeReader, Registry};
use loyal_protocol::{Addresses, Client, message};
use loyal_types::{Chance, Evidence, Hash};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::hosting::Hosting;
use crate::prover::ledger::{Entry, Outcome};
use crate::ticket::{Slot, uint48};

const FORMAT: &str = "loyal-case";
const VERSION: u32 = 1;
const FILE_BYTES_MAX: u64 = 64 << 20;
/// The state of a probe whose answer is open, as the board numbers them.
const OPENED: u8 = 4;
/// Bits and provers that a claim of unreported use asks for.
pub const BITS_MIN: i32 = 22;
/// As many provers must have coins on the model's side.
pub const PROVERS_MIN: usize = 3;

/// The document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Case {
    format: String,
    version: u32,
    /// The chain.
    pub chain_id: u64,
    /// The contract that messages are signed for.
    pub registry: Address,
    /// Whose use it is about.
    #[serde(with = "decimal")]
    pub hosting: u64,
    /// Root of the leaves that the hosted version stands on.
    pub leaf_root: B256,
    /// The seed from which the answers follow.
    pub seed: B256,
    /// Who signs tickets of the model.
    pub ticket_signer: Address,
    /// The probes.
    pub probes: Vec<Probe>,
}

/// One probe with everything about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Probe {
    /// The ticket.
    pub ticket: SignedTicket,
    /// What the prover committed to.
    pub result: Outcome,
    /// The digest of that, which stands on the chain.
    pub result_id: B256,
    /// The fingerprint, opened by the owner.
    pub opening: Opening,
}

/// What a case is worth.
#[derive(Debug, Clone, PartialEq)]
pub struct Weight {
    /// Probes that count.
    pub probes: usize,
    /// Coins on the model's side, of all.
    pub hits: u32,
    /// All coins.
    pub coins: u32,
    /// Provers with coins on the model's side.
    pub provers: usize,
    /// The evidence, in bits.
    pub bits: f64,
    /// Whether that suffices for a claim of unreported use.
    pub suffices: bool,
}

impl Case {
    /// Gathers what provers kept about a hosting and the owner opened.
    ///
    /// # Errors
    /// The chain's; `set` is another version's.
    pub fn gather(
        (client, at): (&Client, &Addresses),
        hosting: u64,
        entries: &[&Entry],
        set: &FingerprintSet,
    ) -> Result<Self> {
        let found = Hosting::read(client, at, hosting)?;
        let call = Registry::versionOfCall { modelId: U256::from(found.model), version: found.version };
        let version = client.call(at.registry, &call)?;
        let call = Registry::commitmentOfCall { commitment: version.commitment };
        let commitment = client.call(at.registry, &call)?;
        let seed = client.call(at.beacon, &Beacon::drawOfCall { epoch: commitment.beaconEpoch })?.seed;
        let time = uint48(client.time()?);
        let call = ProbeReader::ticketSignerAtCall { modelId: U256::from(found.model), time };
        let mut case = Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            chain_id: client.chain_id(),
            registry: at.registry,
            hosting,
            leaf_root: version.terms.leafRoot,
            seed,
            ticket_signer: client.call(at.probe_reader, &call)?,
            probes: Vec::new(),
        };
        if set.commitment().leaf_root.0 != case.leaf_root.0 {
            return Err(Error::refused("these are the fingerprints of another version"));
        }
        for entry in entries.iter().filter(|entry| entry.slot.hosting == hosting) {
            let probe =
                client.call(at.probe_board, &ProbeBoard::probeOfCall { slot: entry.slot.on_chain() })?;
            let (Some(held), Some(result)) = (&entry.held, &entry.result) else { continue };
            if probe.state != OPENED {
                continue;
            }
            let opening = Opening::new(set, entry.leaf).map_err(|error| Error::refused(error.to_string()))?;
            case.probes.push(Probe {
                ticket: held.ticket.clone(),
                result: result.clone(),
                result_id: probe.resultId,
                opening,
            });
        }
        Ok(case)
    }

    /// Computes everything again.
    ///
    /// # Errors
    /// What does not hold, and of which probe.
    pub fn verify(&self) -> Result<Weight> {
        let domain = message::domain(self.chain_id, self.registry);
        let mut counts: BTreeMap<Chance, (u32, u32)> = BTreeMap::new();
        let mut provers: BTreeMap<Address, (u32, u32)> = BTreeMap::new();
        let mut leaves = BTreeSet::new();
        for probe in &self.probes {
            let ticket = &probe.ticket.ticket;
            let slot = Slot { hosting: self.hosting, epoch: ticket.epoch, number: ticket.slot };
            let check = |holds: bool, what: &str| {
                if holds { Ok(()) } else { Err(Error::refused(format!("{slot}: {what}"))) }
            };
            let opening = &probe.opening;
            check(ticket.hostingId == U256::from(self.hosting), "the ticket is for another hosting")?;
            check(
                probe.ticket.signer(&domain) == Some(self.ticket_signer),
                "the model's ticket signer did not sign the ticket",
            )?;
            check(ticket.queryHash == keccak256(&opening.query), "the ticket is for another query")?;
            check(ticket.index == opening.proof.index, "the ticket is for another leaf")?;
            check(opening.verify(Hash(self.leaf_root.0)), "the fingerprint is no leaf of the commitment")?;
            check(leaves.insert(ticket.index), "the leaf was asked before")?;
            let result = probe.result.message(probe.ticket.id(&domain));
            check(
                message::digest(&result, &domain) == probe.result_id,
                "the prover committed to something else",
            )?;
            check(result.observedAt <= ticket.expiresAt, "it was asked when the ticket had ended")?;
            let rule = Rule::parse(&opening.answer_spec);
            let rule = rule.ok_or_else(|| Error::refused(format!("{slot}: a rule that nobody knows")))?;
            let secret = opening.secret(Hash(self.leaf_root.0), Hash(self.seed.0));
            let (hits, coins) = coins(&rule, secret, &probe.result.replies)
                .ok_or_else(|| Error::refused(format!("{slot}: a reply that is no list of pieces")))?;
            let count = counts.entry(rule.chance()).or_default();
            *count = (count.0 + hits, count.1 + coins);
            let own = provers.entry(ticket.prover).or_default();
            let misses = if rule.chance() == Chance::HALF { coins - hits } else { 0 };
            *own = (own.0 + hits, own.1 + misses);
        }
        let half = counts.get(&Chance::HALF).copied().unwrap_or_default();
        // Colours turned round speak by their misses.
        let is_turned = half.0 * 2 < half.1;
        let speaks = |own: &&(u32, u32)| if is_turned { own.1 > 0 } else { own.0 > 0 };
        let steps: i64 = counts
            .iter()
            .map(|(&chance, &(hits, coins))| Evidence::of(chance, hits, coins - hits).bits().steps())
            .sum();
        let (hits, coins) = counts.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let provers = provers.values().filter(speaks).count();
        Ok(Weight {
            probes: self.probes.len(),
            hits,
            coins,
            provers,
            bits: steps as f64 / 2_f64.powi(32),
            suffices: steps >= loyal_types::evidence::Bits::whole(BITS_MIN).steps() && provers >= PROVERS_MIN,
        })
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            std::io::Write::write_all(&mut file, b"\n")?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(|error| Error::file(path, error))
    }

    /// Reads what [`Case::write`] wrote; [`Case::verify`] says whether to believe it.
    ///
    /// # Errors
    /// The file is something else.
    pub fn read(path: &Path) -> Result<Self> {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(|error| Error::file(path, error))?;
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| Error::file(path, error))?;
        Self::parse(&bytes, path)
    }

    /// Reads the bytes of a case; `path` is named in errors.
    ///
    /// # Errors
    /// They are something else.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let found: Self = serde_json::from_slice(bytes).map_err(|error| Error::file(path, error))?;
        if found.format != FORMAT || found.version != VERSION {
            let why = format!(
                "{:?} of version {}, not {FORMAT:?} of version {VERSION}",
                found.format, found.version
            );
            return Err(Error::file(path, why));
        }
        Ok(found)
    }

    /// Whether the bytes say that they are a case.
    #[must_use]
    pub fn is_one(bytes: &[u8]) -> bool {
        let value: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
        value["format"] == FORMAT
    }
}

/// The coins in replies as contracts count them: one for each distinct piece at a place, or one for the first candidate.
fn coins(rule: &Rule, secret: Hash, replies: &[Bytes]) -> Option<(u32, u32)> {
    let mut seen = BTreeSet::new();
    let (mut hits, mut all) = (0, 0);
    for reply in replies {
        let pieces = <Vec<Bytes>>::abi_decode(reply).ok()?;
        let pieces: Vec<&[u8]> = pieces.iter().map(|piece| &piece[..]).collect();
        for coin in rule.coins(secret, &pieces) {
            let is_new = match rule {
                Rule::Tilt(_) => seen.insert((coin.position, coin.piece)),
                Rule::Verbatim(_) => all == 0,
            };
            if is_new {
                all += 1;
                hits += u32::from(coin.hit);
            }
        }
    }
    Some((hits, all))
}
