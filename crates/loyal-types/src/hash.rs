//! A 32-byte hash, keccak256, and Solidity's `abi.encode` for what we hash.

pub mod abi_decode;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha3::{Digest as _, Keccak256};

/// Thirty-two bytes: a keccak256 digest, or a secret as long as one. Written `0x` and 64 lower-case digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash(pub [u8; 32]);

/// A text is not a hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a hash; write 0x and 64 lower-case hexadecimal digits")]
pub struct HashParseError {
    found: String,
}

/// The keccak256 digest of `bytes` (the original padding, as in Ethereum; not SHA3-256).
#[must_use]
pub fn keccak256(bytes: &[u8]) -> Hash {
    Hash(Keccak256::digest(bytes).into())
}

impl Hash {
    /// All zero.
    pub const ZERO: Self = Self([0; 32]);

    /// The hash, read as one big-endian number, modulo `divisor`.
    ///
    /// # Panics
    /// When `divisor` is zero.
    #[must_use]
    pub fn modulo(&self, divisor: u32) -> u32 {
        let divisor = u64::from(divisor);
        let rest = self.0.iter().fold(0u64, |rest, &byte| ((rest << 8) | u64::from(byte)) % divisor);
        u32::try_from(rest).expect("a remainder is below its divisor")
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Hash {
    type Err = HashParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The text goes into the error shortened: it may be a megabyte of something else.
        let wrong = || HashParseError { found: text.chars().take(80).collect() };
        let digits = text.strip_prefix("0x").ok_or_else(wrong)?;
        if digits.len() != 64 || digits.bytes().any(|digit| digit.is_ascii_uppercase()) {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| wrong())?;
        Ok(Self(bytes))
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Bytes of any length in JSON: `0x` and lower-case digits. Use as `#[serde(with = "loyal_types::hash::bytes")]`.
pub mod bytes {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    /// Writes `0x` and two digits a byte.
    ///
    /// # Errors
    /// What the serializer says.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("0x{}", hex::encode(bytes)))
    }

    /// Reads what [`serialize`] writes, and nothing else.
    ///
    /// # Errors
    /// The text has no `0x`, an odd number of digits, or something else than lower-case digits.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.strip_prefix("0x").filter(|digits| !digits.bytes().any(|d| d.is_ascii_uppercase()));
        let bytes = digits.and_then(|digits| hex::decode(digits).ok());
        bytes.ok_or_else(|| {
            D::Error::custom("bytes are written 0x and pairs of lower-case hexadecimal digits")
        })
    }
}

/// A value of Solidity's contract ABI: as many kinds as we hash.
#[derive(Debug, Clone, Copy)]
pub enum Abi<'a> {
    /// `bytes32`.
    Hash(Hash),
    /// Any unsigned integer type up to `uint128`.
    Uint(u128),
    /// `bytes` or `string`.
    Bytes(&'a [u8]),
    /// `bytes[]` or `string[]`.
    BytesList(&'a [Vec<u8>]),
}

/// `abi.encode(values…)`: heads of 32 bytes in order, then the tails of the dynamic values.
#[must_use]
pub fn abi_encode(values: &[Abi<'_>]) -> Vec<u8> {
    let mut heads = Vec::with_capacity(values.len() * 32);
    let mut tails = Vec::new();
    for value in values {
        match value {
            Abi::Hash(hash) => heads.extend_from_slice(&hash.0),
            Abi::Uint(number) => heads.extend_from_slice(&word(*number)),
            Abi::Bytes(bytes) => {
                heads.extend_from_slice(&word((values.len() * 32 + tails.len()) as u128));
                push_bytes(&mut tails, bytes);
            }
            Abi::BytesList(list) => {
                heads.extend_from_slice(&word((values.len() * 32 + tails.len()) as u128));
                tails.extend_from_slice(&word(list.len() as u128));
                let items: Vec<Abi<'_>> = list.iter().map(|bytes| Abi::Bytes(bytes)).collect();
                tails.extend_from_slice(&abi_encode(&items));
            }
        }
    }
    heads.extend_from_slice(&tails);
    heads
}

fn word(number: u128) -> [u8; 32] {
    let mut word = [0; 32];
    word[16..].copy_from_slice(&number.to_be_bytes());
    word
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&word(bytes.len() as u128));
    out.extend_from_slice(bytes);
    out.resize(out.len().next_multiple_of(32), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keccak_is_the_one_of_ethereum() {
        let empty = "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470";
        assert_eq!(keccak256(b"").to_string(), empty);
        let transfer = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
        assert_eq!(keccak256(b"Transfer(address,address,uint256)").to_string(), transfer);
    }

    /// The goldens of `fingerprints.md` §2: `abi.encode(bytes32, uint16, bytes)`.
    #[test]
    fn colours_hash_as_published() {
        let colour = |position: u128, piece: &[u8]| {
            let secret = Abi::Hash(Hash([0x11; 32]));
            keccak256(&abi_encode(&[secret, Abi::Uint(position), Abi::Bytes(piece)])).to_string()
        };
        for (position, piece, starts, ends) in [
            (0, " cat", "0x4430", "48e6"),
            (1, " cat", "0xead0", "498c"),
            (0, "é", "0xfb06", "4500"),
            (1, "é", "0xbfb5", "7b23"),
        ] {
            let found = colour(position, piece.as_bytes());
            assert!(found.starts_with(starts) && found.ends_with(ends), "{piece:?} {position}: {found}");
        }
    }

    /// The example of the ABI specification: `f(uint, uint32[], bytes10, bytes)` has nothing we lack but
    /// `uint32[]`; its `g(string[])` half is the list case, written out here.
    #[test]
    fn lists_encode_as_the_specification_says() {
        let list = [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()];
        let words: Vec<String> = abi_encode(&[Abi::BytesList(&list)]).chunks(32).map(hex::encode).collect();
        let number = |n: u64| format!("{n:064x}");
        let text = |t: &str| format!("{:0<64}", hex::encode(t));
        let expected = [
            number(0x20),
            number(3),
            number(0x60),
            number(0xa0),
            number(0xe0),
            number(3),
            text("one"),
            number(3),
            text("two"),
            number(5),
            text("three"),
        ];
        assert_eq!(words, expected);
    }

    #[test]
    fn hashes_read_back_and_refuse_everything_else() {
        let hash = keccak256(b"x");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        let plain = hash.to_string();
        for wrong in [&plain[2..], &plain[..65], &plain.to_uppercase(), "", "0x", &format!("{plain}00")] {
            assert!(wrong.parse::<Hash>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn modulo_is_that_of_the_whole_number() {
        let mut bytes = [0; 32];
        bytes[31] = 10;
        assert_eq!(Hash(bytes).modulo(3), 1);
        // 2^256 − 1 is divisible by 3, and is 15 modulo 16.
        assert_eq!(Hash([0xff; 32]).modulo(3), 0);
        assert_eq!(Hash([0xff; 32]).modulo(16), 15);
        assert_eq!(Hash([0xff; 32]).modulo(u32::MAX), 0);
    }
}
