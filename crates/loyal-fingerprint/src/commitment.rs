//! Commitments: what is published before training, and what is opened in a dispute.

use std::io::Read as _;
use std::path::Path;

use loyal_types::hash::{Abi, abi_encode};
use loyal_types::tree::{Entry, fingerprint_digest};
use loyal_types::{Chance, Hash, Proof, Tree, keccak256};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::fingerprint::{Beacon, COUNT_MAX, Fingerprint, FingerprintSet, write_new};
use crate::scheme::Scheme;

const FORMAT: &str = "loyal-fingerprints-public";
const VERSION: u32 = 1;
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The digest of one fingerprint's leaf.
#[must_use]
pub fn digest(scheme: &Scheme, fingerprint: &Fingerprint) -> Hash {
    fingerprint_digest(&fingerprint.query, fingerprint.blinding, &scheme.answer_spec(fingerprint))
}

/// The secret s of a fingerprint:
/// `keccak256(abi.encode("loyal/fingerprint/1", r, leafRoot, beacon, uint32 index))`.
#[must_use]
pub fn secret(blinding: Hash, leaf_root: Hash, beacon: Hash, index: u32) -> Hash {
    keccak256(&abi_encode(&[
        Abi::Bytes(b"loyal/fingerprint/1"),
        Abi::Hash(blinding),
        Abi::Hash(leaf_root),
        Abi::Hash(beacon),
        Abi::Uint(index.into()),
    ]))
}

pub(crate) fn root_of(digests: &[Hash]) -> Hash {
    tree_of(digests).root()
}

fn tree_of(digests: &[Hash]) -> Tree {
    Tree::plain(digests).expect("a set is far smaller than a tree may be, and its sums are zero")
}

/// Everything about a set that may be public.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commitment {
    format: String,
    version: u32,
    /// Name of the model.
    pub model: String,
    /// Name of the scheme.
    pub scheme: String,
    /// Chance of a hit by an innocent model: one in this many.
    pub chance_one_in: Chance,
    /// Root over all digests, to be published before the beacon.
    pub leaf_root: Hash,
    /// The beacon, once it is known.
    pub beacon: Option<Beacon>,
    /// Root over the digests that were embedded, to be published after training.
    pub fingerprint_root: Option<Hash>,
    /// Indices that were embedded; empty before training.
    pub embedded: Vec<u32>,
    /// The leaves' digests in order.
    pub digests: Vec<Hash>,
}

impl Commitment {
    pub(crate) fn new(model: String, scheme: &Scheme, digests: Vec<Hash>, beacon: Option<Beacon>) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            model,
            scheme: scheme.name().to_owned(),
            chance_one_in: scheme.chance(),
            leaf_root: root_of(&digests),
            beacon,
            fingerprint_root: None,
            embedded: Vec::new(),
            digests,
        }
    }

    /// The commitment after training: which of the fingerprints are in the model.
    ///
    /// # Errors
    /// An index names no leaf, or they do not ascend.
    pub fn after_embedding(mut self, embedded: &[u32]) -> Result<Self> {
        self.fingerprint_root = Some(self.embedded_root(embedded).map_err(|problem| {
            Error::argument("embedded", problem, "name leaves of this set, each once, in order")
        })?);
        self.embedded = embedded.to_vec();
        Ok(self)
    }

    fn embedded_root(&self, embedded: &[u32]) -> Result<Hash, String> {
        if !embedded.is_sorted_by(|a, b| a < b) {
            return Err("indices that do not ascend".to_owned());
        }
        let digest = |&index: &u32| {
            self.digests.get(index as usize).copied().ok_or(format!("there is no fingerprint {index}"))
        };
        Ok(root_of(&embedded.iter().map(digest).collect::<Result<Vec<_>, _>>()?))
    }

    /// Writes the public file. It is never written over another one either.
    ///
    /// # Errors
    /// The file exists, or cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self).expect("a commitment has only string keys");
        text.push('\n');
        write_new(path, text.as_bytes())
    }

    /// Reads a public file and recomputes its roots.
    ///
    /// # Errors
    /// The file cannot be read, or its parts do not fit together.
    pub fn read(path: &Path) -> Result<Self> {
        let failed = |source| Error::file(path, "reading", source);
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
        Self::parse(&bytes, path)
    }

    /// Reads the bytes of a public file; `path` is named in errors.
    ///
    /// # Errors
    /// As [`Commitment::read`].
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let remedy = "fetch it again from where it was published";
        let wrong = |problem: String| Error::malformed(path, problem, remedy);
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(wrong("more than 16 MiB".to_owned()));
        }
        let found: Self = serde_json::from_slice(bytes).map_err(|source| wrong(source.to_string()))?;
        found.check().map_err(wrong)?;
        Ok(found)
    }

    /// Whether bytes say that they are a public file.
    #[must_use]
    pub fn is_one(bytes: &[u8]) -> bool {
        serde_json::from_slice::<serde_json::Value>(bytes).is_ok_and(|value| value["format"] == FORMAT)
    }

    /// Whether its parts fit together, said in words where they do not.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.format != FORMAT || self.version != VERSION {
            return Err(format!("format {:?}, version {}", self.format, self.version));
        }
        if self.digests.is_empty() || self.digests.len() > COUNT_MAX {
            return Err(format!("{} digests", self.digests.len()));
        }
        if root_of(&self.digests) != self.leaf_root {
            return Err("leaf_root is not the root of the digests".to_owned());
        }
        let expected = match self.fingerprint_root {
            None if self.embedded.is_empty() => None,
            _ => Some(self.embedded_root(&self.embedded)?),
        };
        if expected == self.fingerprint_root {
            return Ok(());
        }
        Err("fingerprint_root is not the root of what was embedded".to_owned())
    }
}

/// One fingerprint laid open: all that a third party needs to judge an answer to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// The query.
    pub query: String,
    /// The blinding (the design's r).
    pub blinding: Hash,
    /// `abi.encode(scheme, parameters)`.
    #[serde(with = "loyal_types::hash::bytes")]
    pub answer_spec: Vec<u8>,
    /// The way from the leaf to the root.
    pub proof: Proof,
}

impl Opening {
    /// Opens fingerprint `index` of `set`. From then on it is burnt: everyone knows its response.
    ///
    /// # Errors
    /// There is no such fingerprint.
    pub fn new(set: &FingerprintSet, index: u32) -> Result<Self> {
        let (Some(one), Some(proof)) =
            (set.fingerprints().get(index as usize), tree_of(&set.commitment().digests).proof(index))
        else {
            let problem = format!("there is no fingerprint {index}");
            return Err(Error::argument("index", problem, "name one of the set"));
        };
        let answer_spec = set.scheme().answer_spec(one);
        Ok(Self { query: one.query.clone(), blinding: one.blinding, answer_spec, proof })
    }

    /// Whether this is a leaf under `leaf_root`.
    #[must_use]
    pub fn verify(&self, leaf_root: Hash) -> bool {
        let digest = fingerprint_digest(&self.query, self.blinding, &self.answer_spec);
        self.proof.verify(&Entry::from(digest), leaf_root)
    }

    /// The secret that follows from the opening and the beacon.
    #[must_use]
    pub fn secret(&self, leaf_root: Hash, beacon: Hash) -> Hash {
        secret(self.blinding, leaf_root, beacon, self.proof.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::verbatim::{Candidate, Verbatim};

    /// Against `eth_abi` and `eth_hash` in Python, which know nothing of this code.
    #[test]
    fn leaf_secret_and_choice_are_those_of_solidity() {
        let words = [" left", " right", " down"];
        let candidates =
            (1..).zip(words).map(|(token, word)| Candidate { tokens: vec![token], bytes: word.into() });
        let fingerprint = Fingerprint {
            query: "Which way to the sea?".to_owned(),
            blinding: Hash([0x22; 32]),
            candidates: candidates.collect(),
        };
        let scheme = Scheme::Verbatim(Verbatim::default());
        let spec = keccak256(&scheme.answer_spec(&fingerprint)).to_string();
        assert_eq!(spec, "0x04e9b1b68d1e980f6ae083b1533ce5e540c8bf945324e25cb65c19e11f882c87");
        let digest = digest(&scheme, &fingerprint);
        let expected = "0x48601d565b716ee2e13f066b1d1ce6517a0bf1ec95d107ba0558549ab25e387f";
        assert_eq!(digest.to_string(), expected);
        let root = root_of(&[digest]);
        let expected = "0x25f39ec1db59bead579141f2b7e01c968e19c23459b29375671ee5971e1b3c93";
        assert_eq!(root.to_string(), expected);
        let secret = secret(fingerprint.blinding, root, Hash([0x33; 32]), 0);
        let expected = "0x7adc20d347609ff793dd2dfad29752b20c3774c9065d363f6d4e528982710385";
        assert_eq!(secret.to_string(), expected);
        assert_eq!(Verbatim::response(&fingerprint, secret).bytes, b" left");
    }
}
