//! Reading back what `abi_encode` wrote: the few shapes that leaves commit to. Anything out of bounds is `None`;
//! that an encoding is the only one of its value, the caller finds by encoding it again.

/// `abi.encode(bytes, bytes)`.
#[must_use]
pub fn bytes_pair(encoded: &[u8]) -> Option<[Vec<u8>; 2]> {
    Some([bytes_at(encoded, offset(encoded, 0)?)?.to_vec(), bytes_at(encoded, offset(encoded, 1)?)?.to_vec()])
}

/// `abi.encode(uint…)`, up to `uint128`.
#[must_use]
pub fn uint(encoded: &[u8]) -> Option<u128> {
    word(encoded, 0)
}

/// `abi.encode(bytes[])`.
#[must_use]
pub fn bytes_list(encoded: &[u8]) -> Option<Vec<Vec<u8>>> {
    let list = encoded.get(offset(encoded, 0)?..)?;
    let count = offset(list, 0)?;
    let items = list.get(32..)?;
    // Each item takes two words at least, which bounds what a hostile count can ask for.
    if count > items.len() / 64 {
        return None;
    }
    (0..count).map(|i| Some(bytes_at(items, offset(items, i)?)?.to_vec())).collect()
}

fn word(encoded: &[u8], index: usize) -> Option<u128> {
    let start = index.checked_mul(32)?;
    let word = encoded.get(start..start.checked_add(32)?)?;
    let (high, low) = word.split_at(16);
    let low = u128::from_be_bytes(low.try_into().ok()?);
    high.iter().all(|&byte| byte == 0).then_some(low)
}

fn offset(encoded: &[u8], index: usize) -> Option<usize> {
    word(encoded, index)?.try_into().ok()
}

fn bytes_at(encoded: &[u8], start: usize) -> Option<&[u8]> {
    let tail = encoded.get(start..)?;
    let length = offset(tail, 0)?;
    tail.get(32..)?.get(..length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::{Abi, abi_encode};

    #[test]
    fn what_was_encoded_comes_back() {
        let pair = abi_encode(&[Abi::Bytes(b"tilt"), Abi::Bytes(&[7; 70])]);
        assert_eq!(bytes_pair(&pair), Some([b"tilt".to_vec(), vec![7; 70]]));
        assert_eq!(uint(&abi_encode(&[Abi::Uint(u128::MAX)])), Some(u128::MAX));
        let list = vec![b"a".to_vec(), Vec::new(), vec![1; 33]];
        assert_eq!(bytes_list(&abi_encode(&[Abi::BytesList(&list)])), Some(list));
    }

    #[test]
    fn hostile_lengths_are_refused() {
        assert_eq!(bytes_list(&[0xff; 96]), None);
        let mut huge = abi_encode(&[Abi::BytesList(&[vec![1]])]);
        huge[32..64].fill(0xff);
        assert_eq!(bytes_list(&huge), None);
        assert_eq!(bytes_pair(&[]), None);
        let pair = abi_encode(&[Abi::Bytes(b"a"), Abi::Bytes(b"b")]);
        assert!((0..pair.len() - 31).all(|cut| bytes_pair(&pair[..cut]).is_none()));
    }
}
