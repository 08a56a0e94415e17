//! Words for one account alone: encrypted to its public key, so that whoever carries them cannot read them.
//!
//! ECIES over secp256k1: a key of one use meets the reader's key (ECDH, SHA-256 over the compressed point, as libsecp256k1
//! has it), `keccak256("loyal/seal/1" ‖ shared ‖ ephemeral key ‖ reader's account)` encrypts by ChaCha20-Poly1305 (RFC 8439)
//! with nonce 0, since no key is used twice. Sealed: `ephemeral key (33 bytes, compressed) ‖ ciphertext ‖ tag (16 bytes)`.

use alloy_primitives::{Address, B256, keccak256};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use secp256k1::ecdh::SharedSecret;
use secp256k1::{PublicKey, SecretKey};

use crate::{Key, signature};

/// Bytes of a compressed public key.
const KEY_BYTES: usize = 33;
/// What a sealed text is longer than the plain one.
pub const OVERHEAD: usize = KEY_BYTES + 16;

/// Seals `plain` for whoever signed `digest` with `signed`. `context` must be the same when it is opened; `entropy` is 32
/// random bytes that are used for nothing else. `None` where the signature is none, or `entropy` is no key of the curve.
#[must_use]
pub fn seal(
    (digest, signed): (B256, &[u8]),
    context: &[u8],
    plain: &[u8],
    entropy: [u8; 32],
) -> Option<Vec<u8>> {
    let reader = signature::public_key_of(digest, signed)?;
    let secret = SecretKey::from_byte_array(entropy).ok()?;
    let ephemeral = secret.public_key(signature::curve()).serialize();
    let shared = SharedSecret::new(&reader, &secret);
    let cipher = cipher(&shared, &ephemeral, signature::address_of(&reader));
    let mut text = plain.to_vec();
    cipher
        .seal_in_place_append_tag(Nonce::assume_unique_for_key([0; 12]), Aad::from(context), &mut text)
        .ok()?;
    Some([&ephemeral[..], &text].concat())
}

/// Opens what was sealed for `key`. `None` where it was sealed for somebody else, under another context, or was changed.
#[must_use]
pub fn open(key: &Key, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (ephemeral, text) = sealed.split_first_chunk::<KEY_BYTES>()?;
    let public = PublicKey::from_byte_array_compressed(*ephemeral).ok()?;
    let shared = SharedSecret::new(&public, key.secret());
    let cipher = cipher(&shared, ephemeral, key.address());
    let mut text = text.to_vec();
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    let plain = cipher.open_in_place(nonce, Aad::from(context), &mut text).ok()?;
    Some(plain.to_vec())
}

fn cipher(shared: &SharedSecret, ephemeral: &[u8; KEY_BYTES], reader: Address) -> LessSafeKey {
    let key = keccak256(
        [b"loyal/seal/1".as_slice(), &shared.secret_bytes(), ephemeral, reader.as_slice()].concat(),
    );
    let key = UnboundKey::new(&CHACHA20_POLY1305, key.as_slice()).expect("a hash has the bytes of a key");
    LessSafeKey::new(key)
}

#[cfg(test)]
mod tests {
    use alloy_primitives::U256;

    use super::*;

    fn key(number: u64) -> Key {
        Key::of(B256::from(U256::from(number))).unwrap()
    }

    #[test]
    fn only_its_reader_opens_it_and_only_unchanged() {
        let (reader, digest) = (key(7), keccak256("a request"));
        let signed = reader.sign_bytes(digest);
        let sealed = seal((digest, &signed), b"slot 3", b"What grows here?", [9; 32]).unwrap();
        assert_eq!(sealed.len(), 16 + OVERHEAD);
        assert_eq!(open(&reader, b"slot 3", &sealed).unwrap(), b"What grows here?");
        assert_eq!(open(&key(8), b"slot 3", &sealed), None);
        assert_eq!(open(&reader, b"slot 4", &sealed), None);
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert_eq!(open(&reader, b"slot 3", &changed), None, "byte {place}");
            assert_eq!(open(&reader, b"slot 3", &sealed[..place]), None, "{place} bytes");
        }
        assert_eq!(seal((digest, &signed[..64]), b"", b"", [9; 32]), None);
        assert_eq!(seal((digest, &signed), b"", b"", [0; 32]), None);
    }

    #[test]
    fn one_text_is_sealed_otherwise_each_time() {
        let (reader, digest) = (key(7), keccak256("a request"));
        let signed = reader.sign_bytes(digest);
        let one = seal((digest, &signed), b"", b"same", [1; 32]);
        assert!(one.is_some() && one != seal((digest, &signed), b"", b"same", [2; 32]));
    }
}
