//! The file in which a model's registration is prepared: what its owner decides, and what its makers sign.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
};

use alloy_primitives::{Address, B256, Bytes};
use alloy_sol_types::Eip712Domain;
use loyal_fingerprint::commitment::Commitment;
use loyal_protocol::{Key, contracts::ModelFactory, message, signature};
use serde::{Deserialize, Serialize};

use super::manifest;
use crate::error::{Error, Result};

const FORMAT: &str = "loyal-registration";
const VERSION: u32 = 1;
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Parts and reserve make this many.
const BPS: u32 = 10_000;
const NAME_BYTES_MAX: usize = 64;

/// A registration, as its file holds it. Paths are relative to the file's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    format: String,
    version: u32,
    /// The model's name.
    pub name: String,
    /// The symbol of its shares.
    pub symbol: String,
    /// The public file of the fingerprints that its owner commits to.
    pub leaves: PathBuf,
    /// The folder of the marked weights, once they exist.
    pub weights: Option<PathBuf>,
    /// Documents by name: `terms`, `training`, `evaluation`, `policy`, and any others.
    #[serde(default)]
    pub documents: BTreeMap<String, PathBuf>,
    /// Where the weights can be had.
    #[serde(default)]
    pub uri: String,
    /// The version that this one was made from.
    #[serde(default)]
    pub parent: Option<Parent>,
    /// Whether anybody with a bond may host it.
    pub open_hosting: bool,
    /// Who made it, and their parts.
    #[serde(default)]
    pub makers: Vec<Maker>,
    /// The part that the model keeps, in hundredths of a percent.
    #[serde(default)]
    pub reserve_bps: u16,
    /// The assets in which it is paid, and what it asks at least.
    #[serde(default)]
    pub accepts: Vec<Accepted>,
    /// What the makers sign, written by the commands.
    #[serde(default)]
    pub agreement: Option<Signed>,
}

/// The version that a model was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    /// The model.
    pub model: u64,
    /// Its version.
    pub version: u32,
}

/// A maker and its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Maker {
    /// Its account.
    pub account: Address,
    /// Its part, in hundredths of a percent.
    pub bps: u16,
}

/// An asset that a model accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// The asset.
    pub asset: Address,
    /// The least for an invocation, in base units.
    #[serde(with = "decimal")]
    pub per_call: u128,
    /// The least for 1,000 tokens, in base units.
    #[serde(with = "decimal")]
    pub per_thousand: u128,
}

/// What the makers sign, and their signatures so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// Until when it can be used, in unix seconds.
    pub expires_at: u64,
    /// Root over the documents.
    pub manifest_root: B256,
    /// Root of the weights.
    pub weights_root: B256,
    /// Root of the fingerprints that were embedded.
    pub fingerprint_root: B256,
    /// Signatures by account.
    pub signatures: BTreeMap<Address, Bytes>,
}

/// The roots of what lies on this computer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// Root over the documents.
    pub manifest: B256,
    /// Root of the weights.
    pub weights: B256,
    /// The documents that have fields of their own on the chain; zero where there is none.
    pub documents: BTreeMap<String, B256>,
}

impl Registration {
    /// A registration of which only the least is decided.
    #[must_use]
    pub fn new(name: &str, symbol: &str, leaves: &Path) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            name: name.to_owned(),
            symbol: symbol.to_owned(),
            leaves: leaves.to_owned(),
            weights: None,
            documents: BTreeMap::new(),
            uri: String::new(),
            parent: None,
            open_hosting: false,
            makers: Vec::new(),
            reserve_bps: 0,
            accepts: Vec::new(),
            agreement: None,
        }
    }

    /// Reads a registration and checks that it makes sense.
    ///
    /// # Errors
    /// The file is something else, or says what cannot be registered.
    pub fn read(path: &Path) -> Result<Self> {
        let size = match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::file(
                    path,
                    "there is no registration here; `loyal owner draft` writes one",
                ));
            }
            other => other.map_err(|error| Error::file(path, error))?.len(),
        };
        if size > FILE_BYTES_MAX {
            return Err(Error::file(path, format!("{size} bytes are no registration")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| Error::file(path, error))?;
        let found: Self = serde_json::from_str(&text)
            .map_err(|error| Error::file(path, format!("not a registration: {error}")))?;
        if found.format != FORMAT || found.version != VERSION {
            let why = format!(
                "{:?} of version {}, not {FORMAT:?} of version {VERSION}",
                found.format, found.version
            );
            return Err(Error::file(path, why));
        }
        found.check().map_err(|why| Error::file(path, why))?;
        Ok(found)
    }

    /// Says what cannot be registered, before anything is paid.
    ///
    /// # Errors
    /// A sentence about the first thing that is wrong.
    pub fn check(&self) -> Result<(), String> {
        for (what, text) in [("name", &self.name), ("symbol", &self.symbol)] {
            if text.is_empty() || text.len() > NAME_BYTES_MAX {
                return Err(format!("the {what} has {} bytes; 1 to {NAME_BYTES_MAX}", text.len()));
            }
        }
        let sum =
            u32::from(self.reserve_bps) + self.makers.iter().map(|maker| u32::from(maker.bps)).sum::<u32>();
        if sum != BPS {
            return Err(format!(
                "the makers' parts and the reserve make {} %, not 100 %",
                f64::from(sum) / 100.0
            ));
        }
        for (index, maker) in self.makers.iter().enumerate() {
            if maker.bps == 0 {
                return Err(format!("{} has no part", maker.account));
            }
            if self.makers[..index].iter().any(|other| other.account == maker.account) {
                return Err(format!("{} is named twice", maker.account));
            }
        }
        Ok(())
    }

    /// Whether bytes say that they are a registration.
    #[must_use]
    pub fn is_one(bytes: &[u8]) -> bool {
        serde_json::from_slice::<serde_json::Value>(bytes).is_ok_and(|value| value["format"] == FORMAT)
    }

    /// The makers whose signature under the agreement is none: all of them where nothing was signed. Accounts that are contracts
    /// sign otherwise (ERC-1271), and only the chain can say whether they did.
    #[must_use]
    pub fn unverified(&self, domain: &Eip712Domain) -> Vec<Address> {
        let signatures = self.agreement.as_ref().map(|signed| &signed.signatures);
        let digest = self.message().map(|agreement| message::digest(&agreement, domain));
        let is_signed = |maker: &Maker| {
            let signature = signatures.and_then(|all| all.get(&maker.account));
            signature.zip(digest).and_then(|(signature, digest)| signature::signer_of(digest, signature))
                == Some(maker.account)
        };
        self.makers.iter().filter(|maker| !is_signed(maker)).map(|maker| maker.account).collect()
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            file.write_all(b"\n")?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(|error| Error::file(path, error))
    }

    /// The public file of the fingerprints. `path` is the registration's.
    ///
    /// # Errors
    /// It cannot be read, or is something else.
    pub fn commitment(&self, path: &Path) -> Result<Commitment> {
        // The error names the file already.
        Commitment::read(&beside(path, &self.leaves)).map_err(|error| Error::refused(error.to_string()))
    }

    /// The roots of weights and documents. `path` is the registration's.
    ///
    /// # Errors
    /// A file cannot be read, or there are no weights yet.
    pub fn roots(&self, path: &Path) -> Result<Roots> {
        let Some(weights) = &self.weights else {
            return Err(Error::file(path, "\"weights\" names no folder yet"));
        };
        let weights = B256::from(manifest::weights_root(&beside(path, weights))?.0);
        let mut hashes = BTreeMap::new();
        for (name, document) in &self.documents {
            hashes.insert(name.clone(), manifest::document_hash(&beside(path, document))?);
        }
        let manifest = B256::from(manifest::manifest_root(&hashes)?.0);
        let documents = hashes.into_iter().map(|(name, hash)| (name, B256::from(hash.0))).collect();
        Ok(Roots { manifest, weights, documents })
    }

    /// What the makers sign, once there is an agreement.
    #[must_use]
    pub fn message(&self) -> Option<message::Agreement> {
        let signed = self.agreement.as_ref()?;
        let grants =
            self.makers.iter().map(|maker| message::Grant { account: maker.account, bps: maker.bps });
        Some(message::Agreement {
            subject: subject(signed.manifest_root, signed.fingerprint_root),
            grants: grants.collect(),
            reserveBps: self.reserve_bps,
            expiresAt: signed.expires_at,
        })
    }

    /// Adds a maker's signature.
    ///
    /// # Errors
    /// There is nothing to sign yet, or the account is no maker.
    pub fn sign(&mut self, key: &Key, domain: &Eip712Domain) -> Result<()> {
        let account = key.address();
        let Some(message) = self.message() else {
            return Err(Error::refused(
                "there is nothing to sign yet: the owner runs `loyal owner register` until it says so",
            ));
        };
        if !self.makers.iter().any(|maker| maker.account == account) {
            let makers: Vec<_> = self.makers.iter().map(|maker| maker.account.to_string()).collect();
            return Err(Error::refused(format!(
                "{account} is no maker of this model; they are {}",
                makers.join(", ")
            )));
        }
        let signature = key.sign_message(&message, domain);
        if let Some(signed) = &mut self.agreement {
            signed.signatures.insert(account, signature);
        }
        Ok(())
    }

    /// Makers who have not signed.
    #[must_use]
    pub fn unsigned(&self) -> Vec<Address> {
        let signed = |account: &Address| {
            self.agreement.as_ref().is_some_and(|agreement| agreement.signatures.contains_key(account))
        };
        self.makers.iter().map(|maker| maker.account).filter(|account| !signed(account)).collect()
    }

    /// The agreement as the factory takes it, with the signatures in the makers' order.
    #[must_use]
    pub fn for_factory(&self) -> Option<(ModelFactory::Agreement, Vec<Bytes>)> {
        let message = self.message()?;
        let signatures = &self.agreement.as_ref()?.signatures;
        let grants =
            self.makers.iter().map(|maker| ModelFactory::Grant { account: maker.account, bps: maker.bps });
        let agreement = ModelFactory::Agreement {
            subject: message.subject,
            grants: grants.collect(),
            reserveBps: message.reserveBps,
            expiresAt: message.expiresAt,
        };
        let of = |maker: &Maker| signatures.get(&maker.account).cloned().unwrap_or_default();
        Some((agreement, self.makers.iter().map(of).collect()))
    }
}

/// What an agreement is about: `keccak256(abi.encode(manifestRoot, fingerprintRoot))`.
#[must_use]
pub fn subject(manifest_root: B256, fingerprint_root: B256) -> B256 {
    alloy_primitives::keccak256([manifest_root.as_slice(), fingerprint_root.as_slice()].concat())
}

/// A path of the file, from where the file is.
fn beside(file: &Path, path: &Path) -> PathBuf {
    file.parent().map_or_else(|| path.to_owned(), |folder| folder.join(path))
}

/// 128-bit amounts as decimal strings.
mod decimal {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(value: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
