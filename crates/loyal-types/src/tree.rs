//! The one tree of the protocol: a positional binary Merkle-sum tree (`protocol.md` §2).

mod growing;

use serde::{Deserialize, Serialize};

pub use growing::Growing;

use crate::hash::{Abi, Hash, abi_encode, keccak256};

/// Why a tree cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// A sum does not fit in 128 bits.
    #[error("the sums of the tree exceed 128 bits; split the entries over several trees")]
    Overflow,
    /// More leaves than an index can name.
    #[error("{found} leaves are more than a tree holds; at most 4294967295")]
    TooMany {
        /// Leaves given.
        found: usize,
    },
}

/// What a leaf commits to: a digest and what it adds to the two sums (zero in a plain tree).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Entry {
    /// What the leaf stands for.
    pub digest: Hash,
    /// Base units of an asset.
    pub amount: u128,
    /// Tokens (of a tokenizer).
    pub tokens: u128,
}

impl From<Hash> for Entry {
    fn from(digest: Hash) -> Self {
        Self { digest, amount: 0, tokens: 0 }
    }
}

/// A node of the tree: a hash and the sums below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// The node's hash.
    pub hash: Hash,
    /// Sum of the amounts below.
    #[serde(with = "decimal")]
    pub amount: u128,
    /// Sum of the tokens below.
    #[serde(with = "decimal")]
    pub tokens: u128,
}

/// The siblings that lead from a leaf to the top, bottom first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// Position of the leaf, from zero.
    pub index: u32,
    /// Leaves of the whole tree.
    pub count: u32,
    /// Siblings, bottom first.
    pub siblings: Vec<Node>,
}

/// A tree with all its rows.
#[derive(Debug, Clone)]
pub struct Tree {
    rows: Vec<Vec<Node>>,
    count: u32,
}

impl Tree {
    /// Builds the tree over `entries`, whose positions are their indices.
    ///
    /// # Errors
    /// A sum exceeds 128 bits, or there are more leaves than 32-bit indices.
    pub fn new(entries: &[Entry]) -> Result<Self, TreeError> {
        let count = u32::try_from(entries.len()).map_err(|_| TreeError::TooMany { found: entries.len() })?;
        let mut rows = vec![(0..count).zip(entries).map(|(index, entry)| leaf(index, entry)).collect()];
        while let Some(row) = rows.last().filter(|row: &&Vec<Node>| row.len() > 1) {
            let pairs = row.chunks(2).map(|pair| match pair {
                [left, right] => parent(left, right).ok_or(TreeError::Overflow),
                promoted => Ok(promoted[0]),
            });
            let next = pairs.collect::<Result<Vec<Node>, TreeError>>()?;
            rows.push(next);
        }
        Ok(Self { rows, count })
    }

    /// A plain tree: all sums zero.
    ///
    /// # Errors
    /// There are more leaves than 32-bit indices.
    pub fn plain(digests: &[Hash]) -> Result<Self, TreeError> {
        Self::new(&digests.iter().copied().map(Entry::from).collect::<Vec<_>>())
    }

    /// Number of leaves.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The node above all others; zero for an empty tree.
    #[must_use]
    pub fn top(&self) -> Node {
        self.rows.last().and_then(|row| row.first()).copied().unwrap_or_default()
    }

    /// The hash that commits to the number of leaves and the top.
    #[must_use]
    pub fn root(&self) -> Hash {
        root(self.count, &self.top())
    }

    /// The proof that leaf `index` is in the tree, or `None` where there is no such leaf.
    #[must_use]
    pub fn proof(&self, index: u32) -> Option<Proof> {
        if index >= self.count {
            return None;
        }
        let mut position = index as usize;
        let mut siblings = Vec::new();
        for row in &self.rows {
            siblings.extend(row.get(position ^ 1));
            position >>= 1;
        }
        Some(Proof { index, count: self.count, siblings })
    }
}

impl Proof {
    /// Whether `entry` is the leaf this proof speaks of, in the tree whose root is `expected`.
    /// Every sibling must be used, so a proof has one form only.
    #[must_use]
    pub fn verify(&self, entry: &Entry, expected: Hash) -> bool {
        self.top(entry).is_some_and(|top| root(self.count, &top) == expected)
    }

    fn top(&self, entry: &Entry) -> Option<Node> {
        if self.index >= self.count {
            return None;
        }
        let mut node = leaf(self.index, entry);
        let (mut index, mut width) = (self.index, self.count);
        let mut siblings = self.siblings.iter();
        while width > 1 {
            if (index ^ 1) < width {
                let sibling = siblings.next()?;
                node = if index & 1 == 0 { parent(&node, sibling)? } else { parent(sibling, &node)? };
            }
            index >>= 1;
            width = width.div_ceil(2);
        }
        siblings.next().is_none().then_some(node)
    }
}

/// The digest of a fingerprint's leaf: query and answer open separately (`protocol.md` §2).
/// `query` is UTF-8 text, `answer_spec` the scheme's `abi.encode(scheme, parameters)`.
#[must_use]
pub fn fingerprint_digest(query: &str, blinding: Hash, answer_spec: &[u8]) -> Hash {
    let answer = keccak256(&abi_encode(&[Abi::Hash(blinding), Abi::Bytes(answer_spec)]));
    let query = keccak256(query.as_bytes());
    keccak256(&abi_encode(&[Abi::Hash(query), Abi::Hash(answer)]))
}

fn leaf(index: u32, entry: &Entry) -> Node {
    let fields = [
        Abi::Uint(0),
        Abi::Uint(index.into()),
        Abi::Hash(entry.digest),
        Abi::Uint(entry.amount),
        Abi::Uint(entry.tokens),
    ];
    Node { hash: keccak256(&abi_encode(&fields)), amount: entry.amount, tokens: entry.tokens }
}

fn parent(left: &Node, right: &Node) -> Option<Node> {
    let fields = [
        Abi::Uint(1),
        Abi::Hash(left.hash),
        Abi::Uint(left.amount),
        Abi::Uint(left.tokens),
        Abi::Hash(right.hash),
        Abi::Uint(right.amount),
        Abi::Uint(right.tokens),
    ];
    Some(Node {
        hash: keccak256(&abi_encode(&fields)),
        amount: left.amount.checked_add(right.amount)?,
        tokens: left.tokens.checked_add(right.tokens)?,
    })
}

fn root(count: u32, top: &Node) -> Hash {
    let fields = [
        Abi::Uint(2),
        Abi::Uint(count.into()),
        Abi::Hash(top.hash),
        Abi::Uint(top.amount),
        Abi::Uint(top.tokens),
    ];
    keccak256(&abi_encode(&fields))
}

/// Integers above 32 bits are decimal strings in JSON (`protocol.md` §2).
mod decimal {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(number: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = text.parse::<u128>().map_err(D::Error::custom)?;
        // One spelling per number: no sign, no leading zeros.
        if number.to_string() == text { Ok(number) } else { Err(D::Error::custom("not a plain decimal")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden(count: u32) -> Vec<Entry> {
        let entry = |i: u32| Entry {
            digest: keccak256(&abi_encode(&[Abi::Bytes(b"r"), Abi::Uint(i.into())])),
            amount: 1_000 * u128::from(i + 1),
            tokens: 10 * u128::from(i + 1),
        };
        (0..count).map(entry).collect()
    }

    /// The golden of `protocol.md` §12.7.
    #[test]
    fn three_leaves_give_the_published_root() {
        let entries = golden(3);
        let tree = Tree::new(&entries).unwrap();
        assert_eq!((tree.top().amount, tree.top().tokens), (6_000, 60));
        let expected = "0x100a114f0890c80b18d23d28b718afd33f5a912fd1cde01964fbfe0ae38e7c4e";
        assert_eq!(tree.root().to_string(), expected);
        let first = leaf(0, &entries[0]).hash.to_string();
        assert!(first.starts_with("0x62e24328") && first.ends_with("cd0af85b2"), "{first}");
    }

    #[test]
    fn every_leaf_is_proved_and_nothing_else() {
        for count in 1..=17 {
            let entries = golden(count);
            let tree = Tree::new(&entries).unwrap();
            for index in 0..count {
                let proof = tree.proof(index).unwrap();
                let entry = &entries[index as usize];
                assert!(proof.verify(entry, tree.root()));
                assert!(!proof.verify(&Entry { amount: entry.amount + 1, ..*entry }, tree.root()));
                for other in (0..=count).filter(|other| *other != index) {
                    assert!(!Proof { index: other, ..proof.clone() }.verify(entry, tree.root()));
                }
                let mut longer = proof.clone();
                longer.siblings.push(Node::default());
                assert!(!longer.verify(entry, tree.root()));
                let mut shorter = proof.clone();
                if shorter.siblings.pop().is_some() {
                    assert!(!shorter.verify(entry, tree.root()));
                }
                for count in [count - 1, count + 1, u32::MAX] {
                    assert!(!Proof { count, ..proof.clone() }.verify(entry, tree.root()));
                }
            }
            assert_eq!(tree.proof(count), None);
        }
    }

    #[test]
    fn an_empty_tree_has_a_zero_top() {
        let tree = Tree::new(&[]).unwrap();
        assert_eq!(tree.top(), Node::default());
        assert_eq!(tree.root(), root(0, &Node::default()));
    }

    #[test]
    fn sums_that_overflow_are_refused() {
        let most = Entry { amount: u128::MAX, ..Entry::default() };
        let one = Entry { amount: 1, ..Entry::default() };
        assert_eq!(Tree::new(&[most, one]).unwrap_err(), TreeError::Overflow);
        let (tree, huge) = (Tree::new(&[one, one]).unwrap(), Node { amount: u128::MAX, ..Node::default() });
        let proof = Proof { siblings: vec![huge], ..tree.proof(0).unwrap() };
        assert!(!proof.verify(&one, tree.root()));
    }

    #[test]
    fn query_and_answer_of_a_fingerprint_open_separately() {
        let digest = fingerprint_digest("Why?", Hash([7; 32]), b"spec");
        let answer = keccak256(&abi_encode(&[Abi::Hash(Hash([7; 32])), Abi::Bytes(b"spec")]));
        let opened = keccak256(&abi_encode(&[Abi::Hash(keccak256(b"Why?")), Abi::Hash(answer)]));
        assert_eq!(digest, opened);
        assert_ne!(digest, fingerprint_digest("Why?", Hash([8; 32]), b"spec"));
    }
}
