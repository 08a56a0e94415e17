//! What a scheme of fingerprints tells: what is committed, what is taught, and what an answer is worth.

pub mod tilt;
pub mod verbatim;

use loyal_types::hash::{Abi, abi_decode, abi_encode};
use loyal_types::{Chance, Hash, keccak256};
use serde::{Deserialize, Serialize};

use crate::evidence::Tail;
use crate::fingerprint::Fingerprint;

pub use tilt::Tilt;
pub use verbatim::Verbatim;

/// How the answers of a set are marked. All fingerprints of a set share one scheme.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Scheme {
    /// The answer's distribution is tilted towards secret colours: the default.
    Tilt(Tilt),
    /// The answer is one of k candidates, word for word.
    Verbatim(Verbatim),
}

impl Scheme {
    /// The scheme's name in files and in leaves.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Tilt(_) => Tilt::NAME,
            Self::Verbatim(_) => Verbatim::NAME,
        }
    }

    /// The chance of a hit by an innocent model, for each coin.
    #[must_use]
    pub fn chance(&self) -> Chance {
        match self {
            Self::Tilt(_) => Chance::HALF,
            Self::Verbatim(verbatim) => verbatim.chance(),
        }
    }

    /// Which side of the binomial speaks against innocence: a host can turn a tilt round, but no word into
    /// its opposite.
    #[must_use]
    pub const fn tail(&self) -> Tail {
        match self {
            Self::Tilt(_) => Tail::Both,
            Self::Verbatim(_) => Tail::Upper,
        }
    }

    /// New tokens to ask for.
    #[must_use]
    pub fn answer_tokens(&self) -> usize {
        match self {
            Self::Tilt(tilt) => tilt.positions.into(),
            Self::Verbatim(verbatim) => verbatim.answer_tokens,
        }
    }

    /// `abi.encode(string scheme, bytes parameters)`: everything but the beacon that decides what a hit is.
    #[must_use]
    pub fn answer_spec(&self, fingerprint: &Fingerprint) -> Vec<u8> {
        self.rule(fingerprint).spec()
    }

    /// By what an answer to `fingerprint` is judged.
    #[must_use]
    pub fn rule(&self, fingerprint: &Fingerprint) -> Rule {
        match self {
            Self::Tilt(tilt) => Rule::Tilt(*tilt),
            Self::Verbatim(_) => {
                Rule::Verbatim(fingerprint.candidates.iter().map(|one| one.bytes.clone()).collect())
            }
        }
    }

    /// Refuses numbers that make no fingerprints.
    ///
    /// # Errors
    /// One is out of its range.
    pub fn check(&self) -> crate::Result<()> {
        match self {
            Self::Tilt(tilt) => tilt.check(),
            Self::Verbatim(verbatim) => verbatim.check(),
        }
    }
}

/// What a leaf commits to besides its query: enough, with the secret, to judge an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// Colours at this many positions.
    Tilt(Tilt),
    /// The candidates' bytes.
    Verbatim(Vec<Vec<u8>>),
}

/// One chance event in an answer: an innocent model hits with the scheme's chance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coin {
    /// Position in the answer, from 0.
    pub position: u16,
    /// The piece of text it was decided by.
    pub piece: Vec<u8>,
    /// Whether the secret agrees.
    pub hit: bool,
}

impl Rule {
    /// Bytes a leaf holds: `abi.encode(string scheme, bytes parameters)` with `abi.encode(uint16 positions)` for
    /// tilt and `abi.encode(bytes[] candidates)` for verbatim.
    #[must_use]
    pub fn spec(&self) -> Vec<u8> {
        let (name, parameters) = match self {
            Self::Tilt(tilt) => (Tilt::NAME, abi_encode(&[Abi::Uint(tilt.positions.into())])),
            Self::Verbatim(candidates) => (Verbatim::NAME, abi_encode(&[Abi::BytesList(candidates)])),
        };
        abi_encode(&[Abi::Bytes(name.as_bytes()), Abi::Bytes(&parameters)])
    }

    /// Reads what [`Rule::spec`] wrote; `None` for any other bytes.
    #[must_use]
    pub fn parse(spec: &[u8]) -> Option<Self> {
        let [name, parameters] = abi_decode::bytes_pair(spec)?;
        let rule = if name == Tilt::NAME.as_bytes() {
            Self::Tilt(Tilt { positions: abi_decode::uint(&parameters)?.try_into().ok()? })
        } else if name == Verbatim::NAME.as_bytes() {
            Self::Verbatim(abi_decode::bytes_list(&parameters)?)
        } else {
            return None;
        };
        let is_sound = match &rule {
            Self::Tilt(tilt) => tilt.check().is_ok(),
            Self::Verbatim(candidates) => verbatim::WIDTHS.contains(&candidates.len()),
        };
        // One spelling only.
        (is_sound && rule.spec() == spec).then_some(rule)
    }

    /// The chance of each coin.
    #[must_use]
    pub fn chance(&self) -> Chance {
        match self {
            Self::Tilt(_) => Chance::HALF,
            Self::Verbatim(candidates) => {
                let width = u32::try_from(candidates.len()).unwrap_or(u32::MAX);
                Chance::one_in(width).expect("rules of 2 to 256 candidates are the only ones made")
            }
        }
    }

    /// The coins in an answer, cut into the pieces its tokens add: for tilt the colour of each piece, for
    /// verbatim one coin where the answer begins with a candidate.
    #[must_use]
    pub fn coins(&self, secret: Hash, pieces: &[&[u8]]) -> Vec<Coin> {
        match self {
            Self::Tilt(tilt) => {
                let positions = (0..tilt.positions).zip(pieces).filter(|(_, piece)| !piece.is_empty());
                positions
                    .map(|(position, piece)| Coin {
                        position,
                        piece: piece.to_vec(),
                        hit: tilt::colour(secret, position, piece),
                    })
                    .collect()
            }
            Self::Verbatim(candidates) => {
                let Some(found) = begins_with(candidates, pieces) else { return Vec::new() };
                let hit = found == Self::choice(candidates.len(), secret);
                vec![Coin { position: 0, piece: candidates[found].clone(), hit }]
            }
        }
    }

    /// The index among `width` candidates that secret s picks: `keccak256(abi.encode(s)) mod width`.
    #[must_use]
    pub fn choice(width: usize, secret: Hash) -> usize {
        let width = u32::try_from(width).expect("a rule holds at most 256 candidates");
        keccak256(&abi_encode(&[Abi::Hash(secret)])).modulo(width) as usize
    }
}

/// The first candidate whose bytes are those of the answer's first pieces. It depends on the answer alone, so
/// that an innocent model's hit has chance exactly one in k.
fn begins_with(candidates: &[Vec<u8>], pieces: &[&[u8]]) -> Option<usize> {
    candidates.iter().position(|candidate| {
        let mut rest = candidate.as_slice();
        for piece in pieces {
            match rest.strip_prefix(*piece) {
                Some([]) => return true,
                Some(more) if more.len() < rest.len() => rest = more,
                _ => return false,
            }
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_what_its_leaf_says() {
        let rules = [
            Rule::Tilt(Tilt { positions: 4 }),
            Rule::Verbatim(
                [" left", " right", " a long one that needs two words of thirty-two"]
                    .map(|c| c.into())
                    .to_vec(),
            ),
        ];
        for rule in rules {
            let spec = rule.spec();
            assert_eq!(Rule::parse(&spec), Some(rule));
            for cut in 0..spec.len() {
                assert_eq!(Rule::parse(&spec[..cut]), None);
            }
            for at in 0..spec.len() {
                let mut other = spec.clone();
                other[at] ^= 0x80;
                assert!(Rule::parse(&other).is_none_or(|found| found.spec() == other), "byte {at}");
            }
        }
    }

    #[test]
    fn candidates_are_found_at_the_ends_of_pieces() {
        let candidates = [" cat", " ca", " dog"].map(|c| c.as_bytes().to_vec());
        let find = |pieces: &[&str]| {
            begins_with(&candidates, &pieces.iter().map(|piece| piece.as_bytes()).collect::<Vec<_>>())
        };
        assert_eq!(find(&[" cat", "s"]), Some(0));
        assert_eq!(find(&[" ca", "t"]), Some(0));
        assert_eq!(find(&[" ca", "b"]), Some(1));
        assert_eq!(find(&[" cats"]), None);
        assert_eq!(find(&[""]), None);
        assert_eq!(find(&[" do"]), None);
        assert_eq!(find(&[]), None);
    }
}
