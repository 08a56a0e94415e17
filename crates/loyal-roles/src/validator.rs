//! The validator: feeds the Beacon, sits on juries, and finds by what anybody can check again.
//!
//! [`Validator::turn`] does what is due now. A secret for the Beacon and the salt of a ballot follow from the validator's key, so
//! that a process that is killed between commit and reveal reveals all the same; what it found about a claim is
//! written before it votes.

mod examining;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{B256, U256, keccak256};
use alloy_sol_types::SolValue as _;
use loyal_protocol::contracts::{Beacon, Parameters};
use loyal_protocol::{Addresses, Client, Failure, Key, Step, Walk};
use serde::{Deserialize, Serialize};

pub use examining::Examined;

use crate::court::{self, Claim, Finding};
use crate::error::{Error, Result};
use crate::host::Drain;
use crate::prover::draw_seed;
use crate::stake::{Position, Seat};
use crate::turn::{self, Turn};

/// How often a validator looks at the chain.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// A validator that has not found anything so long before the end of commits finds that nothing was shown.
const LAST_HOURS: u64 = 6 * 3_600;
const FINDING_BYTES_MAX: u64 = 1 << 20;

/// Gas of the steps as a rule (`contracts/snapshots`).
mod gas {
    pub(super) const COMMIT: u64 = 90_000;
    pub(super) const REVEAL: u64 = 70_000;
}

/// What a validator judges by.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A folder: bundles of evidence that claimants published (`CLAIM.bundle.json`), findings of a person (`CLAIM.finding.json`),
    /// and what was found so far (`found-CLAIM-ROUND.json`).
    pub docket: PathBuf,
    /// Folders of weights that were published, for claims about whose model they are.
    pub weights: Vec<PathBuf>,
}

/// A finding, as a file holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// `upheld`, `dismissed` or `forged`.
    pub outcome: String,
    /// Fingerprints that answered.
    #[serde(default)]
    pub hits: u16,
    /// Fingerprints that were asked.
    #[serde(default)]
    pub trials: u16,
    /// Why, in words.
    pub reason: String,
}

impl Written {
    const OUTCOMES: [&str; 3] = ["upheld", "dismissed", "forged"];

    /// As a ballot says it.
    ///
    /// # Errors
    /// The outcome is none of the three.
    pub fn finding(&self) -> Result<Finding> {
        let place = Self::OUTCOMES.iter().position(|outcome| *outcome == self.outcome);
        let place = place.ok_or_else(|| {
            Error::refused(format!("{:?}: write upheld, dismissed or forged", self.outcome))
        })?;
        let outcome = u8::try_from(place + 1).unwrap_or(u8::MAX);
        Ok(Finding { outcome, hits: self.hits, trials: self.trials, reason: self.reason.clone() })
    }
}

/// A validator.
#[derive(Debug)]
pub struct Validator {
    client: Arc<Client>,
    at: Addresses,
    key: Key,
    settings: Settings,
}

/// Takes turns until `drain` begins; `tell` hears of each in which something was done or failed.
pub fn run(validator: &Validator, drain: &Drain, tell: &mut dyn FnMut(&Turn)) {
    turn::run(LOOK_EVERY, drain, &mut || validator.turn(), tell);
}

impl Validator {
    /// A validator that is seated as `key`.
    ///
    /// # Errors
    /// The docket cannot be made.
    pub fn new((client, at): (Arc<Client>, Addresses), key: Key, settings: Settings) -> Result<Self> {
        std::fs::create_dir_all(&settings.docket).map_err(|error| Error::file(&settings.docket, error))?;
        Ok(Self { client, at, key, settings })
    }

    /// Does everything that is due now. One thing that fails does not keep it from another.
    pub fn turn(&self) -> Turn {
        Turn::take(&self.client, &self.key, |walk, failed| {
            if let Err(error) = self.feed(walk) {
                failed.push(format!("the Beacon: {error}"));
            }
            self.sit(walk, failed);
        })
    }

    // --- the Beacon

    /// Commits to a secret for the next epoch in the first half of this one, reveals it in the second, and fixes the seed of
    /// this one where nobody has.
    fn feed(&self, walk: &mut Walk<'_>) -> Result<()> {
        let (client, now) = (&self.client, self.client.time()?);
        let call = Parameters::epochAtCall { time: U256::from(now) };
        let today = client.call(self.at.parameters, &call)?;
        draw_seed(walk, &self.at, today)?;
        let next = today + 1;
        let begins = client.call(self.at.parameters, &Parameters::epochStartCall { epoch: next })?;
        let reveal_seconds = client.call(self.at.beacon, &Beacon::REVEAL_SECONDSCall {})?;
        let secret = self.secret(next);
        let commitment = keccak256((secret, self.key.address()).abi_encode());
        let call = Beacon::commitOfCall { epoch: next, validator: self.key.address() };
        let found = client.call(self.at.beacon, &call)?;
        if now + reveal_seconds < begins {
            let position = Position::read(client, &self.at, self.key.address(), Seat::Validator)?;
            if found.is_zero() && U256::from(position.bound) >= position.seat {
                let call = Beacon::commitCall { epoch: next, commitment };
                let says = format!("commit to a secret for the seed of epoch {next}");
                walk.take(Step::new(says, self.at.beacon, &call, gas::COMMIT))?;
            }
        } else if found == commitment {
            let call = Beacon::revealCall { epoch: next, secret };
            let says = format!("reveal the secret for the seed of epoch {next}");
            walk.take(Step::new(says, self.at.beacon, &call, gas::REVEAL))?;
        } else if !found.is_zero() {
            return Err(Error::refused(format!(
                "the secret for epoch {next} was committed to by another program: it must reveal it"
            )));
        }
        Ok(())
    }

    /// A secret that only this key makes, and makes again.
    fn secret(&self, epoch: u32) -> B256 {
        let subject = ("loyal/beacon-secret/1", U256::from(self.client.chain_id()), self.at.beacon, epoch);
        keccak256(self.key.sign_bytes(keccak256(subject.abi_encode_params())))
    }

    // --- juries

    fn sit(&self, walk: &mut Walk<'_>, failed: &mut Vec<String>) {
        let claims = match Claim::all(&self.client, &self.at) {
            Ok(claims) => claims,
            Err(error) => return failed.push(format!("looking for claims: {error}")),
        };
        for claim in claims.iter().filter(|claim| claim.state == "voting") {
            if let Err(error) = self.judge(walk, claim) {
                failed.push(format!("claim {} ({}): {error}", claim.id, claim.kind));
            }
        }
    }

    fn judge(&self, walk: &mut Walk<'_>, claim: &Claim) -> Result<()> {
        let claim = &self.drawn(walk, claim)?;
        let Some(panel) = &claim.panel else { return Ok(()) };
        if !panel.members.contains(&self.key.address()) {
            return Ok(());
        }
        let path = self.settings.docket.join(format!("found-{}-{}.json", claim.id, claim.round));
        let found = match read(&path)? {
            Some(found) => found,
            None => {
                let now = self.client.time()?;
                if now > panel.commit_by {
                    return Err(Error::refused("the time to commit to a ballot is over"));
                }
                let found = match self.examine(claim)? {
                    Examined::Found(found) => found,
                    Examined::Unknown(_) if now + LAST_HOURS > panel.commit_by => Written {
                        outcome: "dismissed".to_owned(),
                        hits: 0,
                        trials: 0,
                        reason: "no evidence was shown".to_owned(),
                    },
                    Examined::Unknown(why) => return Err(Error::refused(why)),
                };
                keep(&path, &found)?;
                found
            }
        };
        court::vote(walk, &self.at, claim, &found.finding()?)
    }

    /// The claim with its jury, drawn where that is possible now.
    fn drawn(&self, walk: &mut Walk<'_>, claim: &Claim) -> Result<Claim> {
        let Some(panel) = claim.panel.as_ref().filter(|panel| panel.members.is_empty()) else {
            return Ok(claim.clone());
        };
        let now = self.client.time()?;
        let call = Parameters::epochStartCall { epoch: panel.seed_epoch };
        if now < self.client.call(self.at.parameters, &call)? || now > panel.commit_by {
            return Ok(Claim { panel: None, ..claim.clone() });
        }
        match court::draw(walk, &self.at, claim, panel) {
            // Somebody was faster.
            Ok(()) | Err(Error::Chain(Failure::Reverted { .. })) => {}
            Err(error) => return Err(error),
        }
        Claim::read(&self.client, &self.at, claim.id)
    }
}

fn read(path: &Path) -> Result<Option<Written>> {
    use std::io::Read as _;
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::file(path, error)),
    };
    let mut bytes = Vec::new();
    file.take(FINDING_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| Error::file(path, error))?;
    serde_json::from_slice(&bytes).map(Some).map_err(|error| Error::file(path, error))
}

fn keep(path: &Path, found: &Written) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer_pretty(&mut file, found)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        std::fs::File::open(folder)?.sync_all()
    };
    write().map_err(|error| Error::file(path, error))
}
