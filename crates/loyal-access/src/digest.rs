//! Digests of messages, made often: what is the same in all of them is hashed once.

use std::any::TypeId;
use std::cell::RefCell;
use std::thread::LocalKey;

use alloy_primitives::{B256, Keccak256, keccak256};
use alloy_sol_types::{Eip712Domain, SolStruct};

/// The digest of a message, as [`loyal_protocol::message::digest`] has it. Hosts make a dozen for each invocation: the hashes
/// of the type and of the domain are kept by each thread.
pub(crate) fn digest<M: SolStruct + 'static>(message: &M, domain: &Eip712Domain) -> B256 {
    let kind = kept(&TYPES, &TypeId::of::<M>(), |_| message.eip712_type_hash());
    let separator = kept(&DOMAINS, domain, Eip712Domain::hash_struct);
    let mut hash = Keccak256::new();
    hash.update(kind);
    hash.update(message.eip712_encode_data());
    let mut text = [0; 66];
    text[..2].copy_from_slice(&[0x19, 0x01]);
    text[2..34].copy_from_slice(separator.as_slice());
    text[34..].copy_from_slice(hash.finalize().as_slice());
    keccak256(text)
}

/// Hashes that a thread keeps, by what they are of; more than these few are made anew each time.
type Kept<T> = LocalKey<RefCell<Vec<(T, B256)>>>;
const KEPT_MAX: usize = 16;

thread_local! {
    static TYPES: RefCell<Vec<(TypeId, B256)>> = const { RefCell::new(Vec::new()) };
    static DOMAINS: RefCell<Vec<(Eip712Domain, B256)>> = const { RefCell::new(Vec::new()) };
}

fn kept<T: Clone + PartialEq>(place: &'static Kept<T>, of: &T, hash: impl FnOnce(&T) -> B256) -> B256 {
    place.with_borrow_mut(|all| {
        if let Some((_, hash)) = all.iter().find(|(one, _)| one == of) {
            return *hash;
        }
        let hash = hash(of);
        if all.len() < KEPT_MAX {
            all.push((of.clone(), hash));
        }
        hash
    })
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, U256};
    use loyal_protocol::message::{self, Agreement, Grant, UsageReport};

    use super::*;

    #[test]
    fn what_is_kept_changes_no_digest() {
        let grants = vec![Grant { account: Address::with_last_byte(3), bps: 6_000 }];
        for number in 0..40 {
            let domain = message::domain(number % 20, Address::with_last_byte(number as u8));
            let subject = keccak256([9]);
            let one = Agreement { subject, grants: grants.clone(), reserveBps: 4_000, expiresAt: number };
            let other = UsageReport {
                hostingId: U256::from(number),
                epoch: 1,
                count: 2,
                amount: 3,
                tokens: 4,
                top: B256::ZERO,
            };
            assert_eq!(digest(&one, &domain), message::digest(&one, &domain));
            assert_eq!(digest(&other, &domain), message::digest(&other, &domain));
        }
    }
}
