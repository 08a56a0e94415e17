//! Identifiers that sort by time: ULIDs, and a source of them that never repeats or goes back.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use loyal_types::Clock;
use rand::RngCore as _;
use rand_chacha::ChaCha12Rng;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The letters of Crockford's base 32.
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Letters of a ULID.
const LENGTH: usize = 26;
/// What a parser says of a text that is none; the request's refusal recognises it.
pub(crate) const UNRECOGNIZED: &str = "Unrecognized format";

/// 48 bits of milliseconds since the Unix epoch and 80 of randomness. Written as 26 upper-case letters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ulid(u128);

/// A text is no ULID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{UNRECOGNIZED}")]
pub struct UlidError;

impl Ulid {
    /// All zeros: stands where a message of somebody else's left its identifier out.
    pub const NIL: Self = Self(0);

    /// Of milliseconds since the Unix epoch (the lower 48 bits count) and randomness (the lower 80).
    #[must_use]
    pub const fn new(unix_millis: u64, random: u128) -> Self {
        Self(((unix_millis as u128) << 80) | (random & ((1 << 80) - 1)))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn unix_millis(self) -> u64 {
        (self.0 >> 80) as u64
    }

    /// The 26 letters.
    #[must_use]
    pub fn letters(self) -> [u8; LENGTH] {
        let mut letters = [0; LENGTH];
        let mut rest = self.0;
        for letter in letters.iter_mut().rev() {
            *letter = LETTERS[(rest & 31) as usize];
            rest >>= 5;
        }
        letters
    }
}

impl FromStr for Ulid {
    type Err = UlidError;

    /// Reads 26 letters of either case; the first is at most `7`.
    fn from_str(text: &str) -> Result<Self, UlidError> {
        let bytes = text.as_bytes();
        if bytes.len() != LENGTH || bytes[0] > b'7' {
            return Err(UlidError);
        }
        let digit = |byte: &u8| LETTERS.iter().position(|letter| *letter == byte.to_ascii_uppercase());
        let value = bytes.iter().try_fold(0u128, |value, byte| Some(value << 5 | digit(byte)? as u128));
        value.map(Self).ok_or(UlidError)
    }
}

impl fmt::Display for Ulid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.letters()).expect("the letters are ASCII"))
    }
}

impl fmt::Debug for Ulid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Ulid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Ulid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Ulid;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Ulid, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// A source of ULIDs, each greater than the one before, from a clock and randomness that are passed in.
pub struct Ulids {
    clock: Arc<dyn Clock + Send + Sync>,
    random: ChaCha12Rng,
    last: Ulid,
}

impl Ulids {
    /// The same clock readings and the same randomness give the same identifiers.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock + Send + Sync>, random: ChaCha12Rng) -> Self {
        Self { clock, random, last: Ulid::NIL }
    }

    /// A fresh one, or the last plus one where the fresh one is not greater: a clock that stands still or goes
    /// back does no harm.
    pub fn draw(&mut self) -> Ulid {
        let random = u128::from(self.random.next_u64()) << 16 | u128::from(self.random.next_u32() & 0xffff);
        let fresh = Ulid::new(self.clock.unix_millis(), random);
        self.last = if fresh > self.last { fresh } else { Ulid(self.last.0.wrapping_add(1)) };
        self.last
    }

    /// Ten letters that name a stream of text: `[a-z][a-z0-9]{9}`.
    pub fn stream_id(&mut self) -> String {
        const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        let mut rest = self.random.next_u64();
        let mut draw = |among: u64| {
            let letter = ALPHABET[(rest % among) as usize];
            rest /= among;
            char::from(letter)
        };
        std::iter::once(draw(26)).chain((0..9).map(|_| draw(36))).collect()
    }
}

impl fmt::Debug for Ulids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ulids").field("last", &self.last).finish_non_exhaustive()
    }
}
