//! Keys that sign for accounts.

use std::fmt;

use alloy_primitives::{Address, B256, Bytes, Signature};
use alloy_sol_types::{Eip712Domain, SolStruct};
use secp256k1::{Message, SecretKey};

use crate::{devnet::Account, signature};

/// A secret key and the account it signs for. Its secret is never shown.
#[derive(Clone)]
pub struct Key {
    secret: SecretKey,
    address: Address,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Key {
    /// The key with this secret, or `None` where the secret is no key of the curve.
    #[must_use]
    pub fn of(secret: B256) -> Option<Self> {
        let secret = SecretKey::from_byte_array(secret.0).ok()?;
        let address = signature::address_of(&secret.public_key(signature::curve()));
        Some(Self { secret, address })
    }

    /// The account.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.address
    }

    /// The secret, for what is sealed to it.
    pub(crate) const fn secret(&self) -> &SecretKey {
        &self.secret
    }

    /// The secret, for a file that keeps it.
    pub(crate) fn secret_bytes(&self) -> B256 {
        B256::from(self.secret.secret_bytes())
    }

    /// Signs a digest; `s` is low, as contracts demand, and the nonce is that of RFC 6979.
    #[must_use]
    pub fn sign(&self, digest: B256) -> Signature {
        let message = Message::from_digest(digest.0);
        let (parity, bytes) =
            signature::curve().sign_ecdsa_recoverable(message, &self.secret).serialize_compact();
        Signature::from_bytes_and_parity(&bytes, i32::from(parity) & 1 == 1)
    }

    /// Signs a digest, as contracts take it: r, s and v in 65 bytes.
    #[must_use]
    pub fn sign_bytes(&self, digest: B256) -> Bytes {
        self.sign(digest).as_bytes().into()
    }

    /// Signs a message under a domain.
    pub fn sign_message<M: SolStruct>(&self, message: &M, domain: &Eip712Domain) -> Bytes {
        self.sign_bytes(message.eip712_signing_hash(domain))
    }
}

/// The key of an account of an embedded chain.
impl TryFrom<&Account> for Key {
    type Error = crate::Failure;

    fn try_from(account: &Account) -> Result<Self, Self::Error> {
        let wrong = || crate::Failure::Key {
            path: account.address.to_string(),
            why: "the secret is not a key; make the accounts anew".to_owned(),
        };
        Self::of(account.secret).ok_or_else(wrong)
    }
}
