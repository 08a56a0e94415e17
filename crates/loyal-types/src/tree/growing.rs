//! A tree that grows leaf by leaf: its top and every proof in a few steps, however many leaves it has.

use super::{Entry, Node, Proof, TreeError, leaf, parent};

/// The tree of [`super::Tree`], of which memory holds the tops of whole subtrees only.
///
/// Every node that a leaf completes is handed out once; whoever keeps them in that order, 64 bytes each and fewer than two
/// for a leaf, can have a proof of any leaf.
#[derive(Debug, Clone, Default)]
pub struct Growing {
    count: u32,
    /// Tops of whole subtrees from left to right, each larger than the next: one for each bit of the count.
    peaks: Vec<Node>,
}

impl Growing {
    /// A tree without leaves.
    #[must_use]
    pub const fn new() -> Self {
        Self { count: 0, peaks: Vec::new() }
    }

    /// Number of leaves.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Number of nodes handed out so far.
    #[must_use]
    pub const fn node_count(&self) -> u64 {
        place(self.count)
    }

    /// Adds the next leaf, and gives back the nodes that it completes: itself first.
    ///
    /// # Errors
    /// The sums would exceed 128 bits, or there are more leaves than 32-bit indices. Then nothing is added.
    pub fn push(&mut self, entry: &Entry) -> Result<Vec<Node>, TreeError> {
        let count = self.count.checked_add(1).ok_or(TreeError::TooMany { found: 1 << 32 })?;
        let top = self.top();
        let fits = top.amount.checked_add(entry.amount).and(top.tokens.checked_add(entry.tokens));
        fits.ok_or(TreeError::Overflow)?;
        let mut node = leaf(self.count, entry);
        let mut completed = vec![node];
        // Each trailing one of the old count is a whole subtree that the new one joins.
        for _ in 0..self.count.trailing_ones() {
            let left = self.peaks.pop().unwrap_or_default();
            node = parent(&left, &node).ok_or(TreeError::Overflow)?;
            completed.push(node);
        }
        self.peaks.push(node);
        self.count = count;
        Ok(completed)
    }

    /// The node above all others; zero for an empty tree.
    #[must_use]
    pub fn top(&self) -> Node {
        self.above_peaks(0)
    }

    /// The proof that leaf `index` is in the tree, or `None` where there is no such leaf. `read` gives the node that was
    /// handed out in that place, from zero.
    ///
    /// # Errors
    /// What `read` fails with.
    pub fn proof<E>(
        &self,
        index: u32,
        mut read: impl FnMut(u64) -> Result<Node, E>,
    ) -> Result<Option<Proof>, E> {
        if index >= self.count {
            return Ok(None);
        }
        let (mut position, mut width, mut level) = (index, self.count, 0_u32);
        let mut siblings = Vec::new();
        while width > 1 {
            let sibling = position ^ 1;
            if sibling < width {
                let end = (u64::from(sibling) + 1) << level;
                siblings.push(match u32::try_from(end) {
                    Ok(end) if end <= self.count => read(place(end - 1) + u64::from(level))?,
                    // It is not whole: all that stands right of what is.
                    _ => self.above_peaks((self.count >> level).count_ones() as usize),
                });
            }
            (position, width, level) = (position >> 1, width.div_ceil(2), level + 1);
        }
        Ok(Some(Proof { index, count: self.count, siblings }))
    }

    /// The node above the peaks from this one on.
    fn above_peaks(&self, first: usize) -> Node {
        let peaks = self.peaks[first.min(self.peaks.len())..].iter().copied();
        // The sums of all fit, and so do those of a part.
        peaks.rev().reduce(|right, left| parent(&left, &right).unwrap_or_default()).unwrap_or_default()
    }
}

/// Nodes that `count` leaves complete: where the next leaf stands.
const fn place(count: u32) -> u64 {
    2 * count as u64 - count.count_ones() as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Hash;
    use crate::tree::Tree;

    fn entry(number: u32) -> Entry {
        let digest = Hash([number as u8; 32]);
        Entry { digest, amount: u128::from(number) << 70, tokens: u128::from(number) + 1 }
    }

    fn is_like_the_tree(growing: &Growing, kept: &[Node], entries: &[Entry]) {
        let tree = Tree::new(entries).unwrap();
        assert_eq!((growing.count(), growing.top()), (tree.count(), tree.top()));
        assert_eq!(growing.node_count(), kept.len() as u64);
        let read = |at: u64| Ok::<_, ()>(kept[usize::try_from(at).unwrap()]);
        for index in 0..=tree.count() {
            assert_eq!(growing.proof(index, read), Ok(tree.proof(index)), "{index} of {}", tree.count());
        }
    }

    #[test]
    fn every_proof_is_that_of_the_whole_tree() {
        let (mut growing, mut kept, mut entries) = (Growing::new(), Vec::new(), Vec::new());
        is_like_the_tree(&growing, &kept, &entries);
        for number in 0..140 {
            entries.push(entry(number));
            kept.extend(growing.push(&entry(number)).unwrap());
            is_like_the_tree(&growing, &kept, &entries);
        }
    }

    #[test]
    fn a_leaf_too_much_changes_nothing() {
        let mut growing = Growing::new();
        growing.push(&Entry { amount: u128::MAX, ..Entry::default() }).unwrap();
        let before = growing.top();
        assert_eq!(growing.push(&Entry { amount: 1, ..Entry::default() }), Err(TreeError::Overflow));
        growing.push(&Entry { tokens: u128::MAX, ..Entry::default() }).unwrap();
        assert_eq!(growing.push(&Entry { tokens: 1, ..Entry::default() }), Err(TreeError::Overflow));
        assert_eq!((growing.count(), growing.top().amount), (2, before.amount));
        let full = Growing { count: u32::MAX, peaks: vec![Node::default(); 32] };
        assert_eq!(full.clone().push(&Entry::default()), Err(TreeError::TooMany { found: 1 << 32 }));
        assert_eq!(
            full.proof(u32::MAX - 1, |_| Ok::<_, ()>(Node::default())).unwrap().unwrap().siblings.len(),
            31
        );
    }

    proptest! {
        #[test]
        fn a_tree_of_any_size_is_the_same(count in 1_u32..2_000, index: prop::sample::Index) {
            let entries: Vec<_> = (0..count).map(entry).collect();
            let mut growing = Growing::new();
            let mut kept = Vec::new();
            for entry in &entries {
                kept.extend(growing.push(entry).unwrap());
            }
            let tree = Tree::new(&entries).unwrap();
            let index = u32::try_from(index.index(count as usize)).unwrap();
            let proof = growing.proof(index, |at| Ok::<_, ()>(kept[usize::try_from(at).unwrap()])).unwrap();
            prop_assert_eq!(proof, tree.proof(index));
        }
    }
}
