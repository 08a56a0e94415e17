//! The scheme `tilt`: after a query, the marked model leans towards tokens of a secret colour.
//!
//! `c(i, j, t) = +1 if uint256(keccak256(abi.encode(bytes32 sᵢ, uint16 j, bytes piece))) & 1 = 1, else −1`, for
//! fingerprint i, answer position j and the bytes a token adds in mid-text. Every token of the vocabulary has a
//! colour: there is no list, no rank and no nucleus to find. A model that knows nothing of sᵢ meets either colour
//! with chance exactly one half, whatever it says.
//!
//! The marked model's own distribution is `q(t) ∝ p(t)·exp(δ·c(i, j, t))`, so that the mark lies where answers
//! come from, greedy or sampled, and no answer is surer than before.

use loyal_types::hash::{Abi, abi_encode};
use loyal_types::{Hash, keccak256};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Most positions of an answer that are coloured.
pub const POSITIONS_MAX: u16 = 16;

/// The scheme, with the number of answer positions that all its fingerprints colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tilt {
    /// Positions of the answer that are coloured, from its first token on.
    pub positions: u16,
}

impl Default for Tilt {
    /// One position: what costs least, and what top-k logprobs show best.
    fn default() -> Self {
        Self { positions: 1 }
    }
}

impl Tilt {
    /// The scheme's name.
    pub const NAME: &str = "tilt";

    /// Refuses answers of no position, or too many.
    ///
    /// # Errors
    /// `positions` is not from 1 to 16.
    pub fn check(&self) -> Result<()> {
        if (1..=POSITIONS_MAX).contains(&self.positions) {
            return Ok(());
        }
        Err(Error::argument("positions", self.positions.to_string(), "choose 1 to 16"))
    }
}

/// Whether `piece` has the colour +1 at answer position `position` under `secret`.
#[must_use]
pub fn colour(secret: Hash, position: u16, piece: &[u8]) -> bool {
    let digest = keccak256(&abi_encode(&[Abi::Hash(secret), Abi::Uint(position.into()), Abi::Bytes(piece)]));
    digest.0[31] & 1 == 1
}

/// The colours of a whole vocabulary at one position of one fingerprint: a bit for each token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Colours {
    bits: Vec<u64>,
    len: usize,
}

impl Colours {
    /// Colours every piece, in token order.
    #[must_use]
    pub fn new(secret: Hash, position: u16, pieces: &[Vec<u8>]) -> Self {
        let word = |chunk: &[Vec<u8>]| {
            let set = |word: u64, (at, piece): (usize, &Vec<u8>)| {
                word | u64::from(colour(secret, position, piece)) << at
            };
            chunk.iter().enumerate().fold(0, set)
        };
        Self { bits: pieces.par_chunks(64).map(word).collect(), len: pieces.len() }
    }

    /// +1 or −1 for each token.
    pub fn signs(&self) -> impl Iterator<Item = f32> {
        (0..self.len).map(|token| if self.bits[token / 64] >> (token % 64) & 1 == 1 { 1.0 } else { -1.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against an independent keccak and ABI encoder (`eth_abi`, `eth_hash` in Python).
    #[test]
    fn colours_are_those_of_solidity() {
        let secret = Hash([0x11; 32]);
        let digest = |piece: &[u8], j: u16| {
            keccak256(&abi_encode(&[Abi::Hash(secret), Abi::Uint(j.into()), Abi::Bytes(piece)])).to_string()
        };
        for (piece, j, begin, end, plus) in [
            (" cat".as_bytes(), 0, "0x4430", "48e6", false),
            (" cat".as_bytes(), 1, "0xead0", "498c", false),
            ("é".as_bytes(), 0, "0xfb06", "4500", false),
            ("é".as_bytes(), 1, "0xbfb5", "7b23", true),
        ] {
            let found = digest(piece, j);
            assert!(found.starts_with(begin) && found.ends_with(end), "{found}");
            assert_eq!(colour(secret, j, piece), plus);
        }
    }

    #[test]
    fn a_bitmap_holds_the_colour_of_every_token() {
        let pieces: Vec<Vec<u8>> = (0..200u32).map(|token| token.to_string().into_bytes()).collect();
        let secret = Hash([7; 32]);
        let signs: Vec<f32> = Colours::new(secret, 3, &pieces).signs().collect();
        assert_eq!(signs.len(), 200);
        for (piece, sign) in pieces.iter().zip(&signs) {
            assert_eq!(*sign > 0.0, colour(secret, 3, piece));
        }
        assert!((60..140).contains(&signs.iter().filter(|&&sign| sign > 0.0).count()));
    }
}
