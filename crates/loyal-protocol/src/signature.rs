//! Signatures of accounts: who signed a digest.

use std::sync::LazyLock;

use alloy_primitives::{Address, B256, keccak256};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{All, Message, PublicKey, Secp256k1};

/// Half of the curve's order: a larger `s` is the other form of a signature that exists already (EIP-2).
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x5d,
    0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];

/// The account that signed a digest with 65 bytes r ‖ s ‖ v, or `None` where these are no signature that contracts take
/// (`v` is 27 or 28, `s` is low).
#[must_use]
pub fn signer_of(digest: B256, signature: &[u8]) -> Option<Address> {
    public_key_of(digest, signature).as_ref().map(address_of)
}

/// The public key behind a signature, under the same conditions.
pub(crate) fn public_key_of(digest: B256, signature: &[u8]) -> Option<PublicKey> {
    let (bytes, v) = signature.split_first_chunk::<64>()?;
    let parity = match v {
        [27] => RecoveryId::Zero,
        [28] => RecoveryId::One,
        _ => return None,
    };
    if bytes[32..] > HALF_ORDER[..] {
        return None;
    }
    let signature = RecoverableSignature::from_compact(bytes, parity).ok()?;
    curve().recover_ecdsa(Message::from_digest(digest.0), &signature).ok()
}

/// The account of a public key.
pub(crate) fn address_of(public: &PublicKey) -> Address {
    Address::from_slice(&keccak256(&public.serialize_uncompressed()[1..])[12..])
}

/// The curve with its tables.
pub(crate) fn curve() -> &'static Secp256k1<All> {
    static CURVE: LazyLock<Secp256k1<All>> = LazyLock::new(Secp256k1::new);
    &CURVE
}

#[cfg(test)]
mod tests {
    use alloy_primitives::U256;

    use super::*;
    use crate::Key;

    #[test]
    fn a_signature_names_its_account_in_one_form_only() {
        let key = Key::of(B256::from(U256::from(7))).unwrap();
        for number in 0..200_u8 {
            let digest = keccak256([number]);
            let good = key.sign_bytes(digest).to_vec();
            assert_eq!(signer_of(digest, &good), Some(key.address()));
            assert_ne!(signer_of(keccak256([number, 1]), &good), Some(key.address()));
            // The twin with the other s, and v as other tools write it.
            let order = U256::from_be_bytes(HALF_ORDER) * U256::from(2) + U256::from(1);
            let s = order - U256::from_be_slice(&good[32..64]);
            let mut twin = good.clone();
            twin[32..64].copy_from_slice(&s.to_be_bytes::<32>());
            twin[64] = 55 - good[64];
            assert_eq!(signer_of(digest, &twin), None);
            let mut short = good.clone();
            short[64] -= 27;
            assert_eq!(signer_of(digest, &short), None);
            assert_eq!(signer_of(digest, &good[..64]), None);
        }
    }
}
