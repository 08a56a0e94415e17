//! Copies of a traced model: each host's carries a subset of the tracing pool that only the owner knows.

use std::fs::File;
use std::path::{Path, PathBuf};

use loyal_types::hash::{Abi, abi_encode};
use loyal_types::{Hash, keccak256};
use rand::RngCore;
use serde::{Deserialize, Serialize};

use crate::FingerprintSet;
use crate::error::{Error, Result};
use crate::journal::{self, Journal, Kind, Line, Lock};
use crate::pool::Pool;

const FORMAT: &str = "loyal-copies";
const VERSION: u32 = 1;
/// Longest name of a copy, bytes.
const NAME_BYTES_MAX: usize = 128;
const KIND: Kind = Kind {
    remedy: "a register of copies is never edited: restore it from a backup; without it no leak can be traced",
    busy: "another embedding",
};

/// The copy of one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostCopy {
    /// Who was given it.
    pub name: String,
    /// Thirty-two random bytes, from which its subset follows.
    pub secret: Hash,
}

impl HostCopy {
    /// Draws the secret of a new copy from `entropy`, which must be fit for secrets.
    ///
    /// # Errors
    /// The name is empty, too long, or would not stand on one line.
    pub fn new(name: &str, entropy: &mut dyn RngCore) -> Result<Self> {
        let is_plain = !name.trim().is_empty() && name.trim() == name && !name.chars().any(char::is_control);
        if !is_plain || name.len() > NAME_BYTES_MAX {
            let remedy = format!("write 1 to {NAME_BYTES_MAX} bytes on one line, without spaces at its ends");
            return Err(Error::argument("copy", format!("the name {name:?}"), remedy));
        }
        let mut secret = Hash::ZERO;
        entropy.fill_bytes(&mut secret.0);
        Ok(Self { name: name.to_owned(), secret })
    }

    /// Whether the copy carries leaf `index` of `count`: every one outside of the tracing pool, and of that pool those with
    /// `keccak256(abi.encode("loyal/copy/1", bytes32 secret, uint32 index)) & 1 = 1`, a fair coin each.
    #[must_use]
    pub fn carries(&self, index: usize, count: usize) -> bool {
        if Pool::of(index, count) != Pool::Tracing {
            return true;
        }
        let index = u32::try_from(index).expect("a set holds at most 65,536 fingerprints");
        let coin = keccak256(&abi_encode(&[
            Abi::Bytes(b"loyal/copy/1"),
            Abi::Hash(self.secret),
            Abi::Uint(index.into()),
        ]));
        coin.0[31] & 1 == 1
    }

    /// The leaves it carries, in order.
    #[must_use]
    pub fn indices(&self, count: usize) -> Vec<usize> {
        (0..count).filter(|&index| self.carries(index, count)).collect()
    }

    /// Root over the digests of the leaves it carries: what is published before the copy is delivered.
    #[must_use]
    pub fn subset_root(&self, set: &FingerprintSet) -> Hash {
        let digests = set.commitment().digests;
        let carried: Vec<Hash> =
            self.indices(digests.len()).into_iter().map(|index| digests[index]).collect();
        crate::commitment::root_of(&carried)
    }
}

/// What happened to copies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Event {
    /// The first line: copies of which marks.
    Begun { format: String, version: u32, leaf_root: Hash },
    /// A copy is about to be made.
    Made { copy: HostCopy, subset_root: Hash },
}

/// The register of all copies of one set: a secret file, without which nothing can be traced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    path: PathBuf,
    leaf_root: Hash,
}

impl Register {
    /// The register beside a secret file, named after the leaf root (`0123456789abcdef.copies`).
    #[must_use]
    pub fn beside(secret: &Path, set: &FingerprintSet) -> Self {
        let leaf_root = set.leaf_root();
        let name = format!("{}.copies", &leaf_root.to_string()[2..18]);
        Self { path: secret.with_file_name(name), leaf_root }
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The copy called `name`: the one that is registered, or a new one, whose secret is on the disk when this returns.
    ///
    /// # Errors
    /// The name is none, or the register cannot be read or written, was changed, or is another set's.
    pub fn copy(
        &self,
        set: &FingerprintSet,
        name: &str,
        (entropy, time): (&mut dyn RngCore, u64),
    ) -> Result<HostCopy> {
        let fresh = HostCopy::new(name, entropy)?;
        let (mut journal, lines) = Journal::open(&self.path, KIND, Lock::Waiting)?;
        if lines.is_empty() {
            let begun =
                Event::Begun { format: FORMAT.to_owned(), version: VERSION, leaf_root: self.leaf_root };
            journal.append(time, begun)?;
        }
        if let Some(known) = self.copies_of(&lines)?.into_iter().find(|copy| copy.name == name) {
            return Ok(known);
        }
        journal.append(time, Event::Made { copy: fresh.clone(), subset_root: fresh.subset_root(set) })?;
        Ok(fresh)
    }

    /// All copies, in the order they were made; none where there is no register.
    ///
    /// # Errors
    /// The register cannot be read, was changed, or is another set's.
    pub fn copies(&self) -> Result<Vec<HostCopy>> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(Error::file(&self.path, "reading", source)),
        };
        let bytes = journal::read_bounded(&mut file, &self.path)?;
        let (lines, _) = journal::parse(&bytes, &self.path, KIND)?;
        self.copies_of(&lines)
    }

    fn copies_of(&self, lines: &[Line<Event>]) -> Result<Vec<HostCopy>> {
        let wrong = |problem: String| Err(Error::malformed(&self.path, problem, KIND.remedy));
        let mut copies: Vec<HostCopy> = Vec::new();
        for (number, line) in lines.iter().enumerate() {
            match &line.event {
                Event::Begun { format, version, .. } if format != FORMAT || *version != VERSION => {
                    return wrong(format!("format {format:?}, version {version}"));
                }
                Event::Begun { leaf_root, .. } if *leaf_root != self.leaf_root => {
                    return wrong(format!("it is the register of {leaf_root}, not of {}", self.leaf_root));
                }
                Event::Begun { .. } if number == 0 => {}
                _ if number == 0 => return wrong("it has no first line".to_owned()),
                Event::Begun { .. } => return wrong(format!("line {}: it begins twice", number + 1)),
                Event::Made { copy, .. } if copies.iter().any(|one| one.name == copy.name) => {
                    return wrong(format!("line {}: {:?} was made before", number + 1, copy.name));
                }
                Event::Made { copy, .. } => copies.push(copy.clone()),
            }
        }
        Ok(copies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    /// Against `eth_abi` and `eth_hash` in Python, which know nothing of this code.
    #[test]
    fn subsets_are_those_of_solidity() {
        let copy = HostCopy { name: "a".to_owned(), secret: Hash([0x44; 32]) };
        let carried: Vec<usize> =
            Pool::Tracing.indices(64).filter(|&index| copy.carries(index, 64)).collect();
        assert_eq!(carried, [48, 50, 53, 56, 57, 58, 59, 62]);
        assert!(
            Pool::Ownership.indices(64).chain(Pool::Probes.indices(64)).all(|index| copy.carries(index, 64))
        );
    }

    #[test]
    fn subsets_are_fair_and_unlike() {
        let mut draw = ChaCha8Rng::seed_from_u64(1);
        let copies: Vec<HostCopy> =
            (0..40).map(|i| HostCopy::new(&format!("host {i}"), &mut draw).unwrap()).collect();
        let pool: Vec<usize> = Pool::Tracing.indices(1024).collect();
        for (at, one) in copies.iter().enumerate() {
            let half = pool.iter().filter(|&&index| one.carries(index, 1024)).count();
            assert!((88..=168).contains(&half), "{half} of 256");
            for other in &copies[..at] {
                let same = pool.iter().filter(|&&i| one.carries(i, 1024) == other.carries(i, 1024)).count();
                assert!((88..=168).contains(&same), "{same} of 256 alike");
            }
        }
    }

    #[test]
    fn names_stand_on_one_line() {
        let mut draw = ChaCha8Rng::seed_from_u64(1);
        for name in ["", " ", " a", "a\n", "a\tb", &"x".repeat(129)] {
            let error = HostCopy::new(name, &mut draw).unwrap_err().to_string();
            assert!(error.contains("1 to 128 bytes"), "{error}");
        }
        assert!(HostCopy::new("Host Nr. 7 (Ærø)", &mut draw).is_ok());
    }
}
