//! One row for each receipt of an epoch, and the nodes of the epoch's tree, on the disk: neither memory nor the time that a
//! report or a proof takes grows with the number of receipts.
//!
//! The three files say nothing that the log does not say, and are made anew whenever the books are opened: nobody waits for
//! them to be durable.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use alloy_primitives::B256;
use loyal_types::tree::{Entry, Growing, Node};
use loyal_types::{Hash, Proof};

use crate::{Error, Result};

/// An invocation, a place in the log.
const ROW_BYTES: usize = 32 + 8;
/// A hash, an amount, tokens.
const NODE_BYTES: usize = 32 + 16 + 16;
/// Rows that wait in memory to be written together.
const WAITING_MAX: usize = 512;
/// Invocations that are found by memory alone; more are sorted into a segment on the disk.
const SEGMENT: usize = 1 << 16;
/// The first bytes of an invocation and its number.
const NAME_BYTES: usize = 8 + 4;

/// What is known of a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    /// What it answers.
    pub(super) invocation: B256,
    /// Where it begins in the log.
    pub(super) offset: u64,
}

/// The receipts of an epoch, in order, and found by their invocations.
#[derive(Debug)]
pub(super) struct Rows {
    path: PathBuf,
    file: File,
    /// Rows in the file; then come those that wait.
    written: usize,
    waiting: Vec<Row>,
    tree: Growing,
    nodes: File,
    /// Nodes in their file; then come those that wait.
    nodes_written: u64,
    nodes_waiting: Vec<Node>,
    names: File,
    segments: usize,
    /// The newest invocations, and their numbers.
    recent: HashMap<B256, u32>,
}

impl Rows {
    /// Begins the rows of an epoch, in files whose names begin with `path`.
    pub(super) fn begin(path: &Path) -> Result<Self> {
        let [path, names, nodes] = Self::files(path);
        Ok(Self {
            file: begin(&path)?,
            path,
            written: 0,
            waiting: Vec::new(),
            tree: Growing::new(),
            nodes: begin(&nodes)?,
            nodes_written: 0,
            nodes_waiting: Vec::new(),
            names: begin(&names)?,
            segments: 0,
            recent: HashMap::new(),
        })
    }

    /// Files of an epoch's rows.
    pub(super) fn files(path: &Path) -> [PathBuf; 3] {
        ["rows", "names", "nodes"].map(|kind| path.with_extension(kind))
    }

    pub(super) const fn len(&self) -> usize {
        self.written + self.waiting.len()
    }

    /// Adds the next receipt, and its leaf to the tree.
    pub(super) fn push(&mut self, row: Row, entry: &Entry) -> Result<()> {
        let nodes = self.tree.push(entry).map_err(|error| Error::Refused(error.to_string()))?;
        self.nodes_waiting.extend(nodes);
        let number = u32::try_from(self.len()).unwrap_or(u32::MAX);
        self.recent.insert(row.invocation, number);
        self.waiting.push(row);
        if self.waiting.len() >= WAITING_MAX {
            self.write()?;
        }
        if self.recent.len() >= SEGMENT { self.sort() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<()> {
        let bytes: Vec<u8> = self.waiting.iter().flat_map(|row| row.to_bytes()).collect();
        let start = (self.written * ROW_BYTES) as u64;
        let wrote = self.file.seek(SeekFrom::Start(start)).and_then(|_| self.file.write_all(&bytes));
        wrote.map_err(|error| Error::file(&self.path, error))?;
        self.written += self.waiting.len();
        self.waiting.clear();
        let bytes: Vec<u8> = self.nodes_waiting.iter().flat_map(node_to_bytes).collect();
        let start = self.nodes_written * NODE_BYTES as u64;
        let wrote = self.nodes.seek(SeekFrom::Start(start)).and_then(|_| self.nodes.write_all(&bytes));
        wrote.map_err(|error| Error::file(&self.path, error))?;
        self.nodes_written = self.tree.node_count();
        self.nodes_waiting.clear();
        Ok(())
    }

    /// Writes the newest invocations down as a segment, in order.
    fn sort(&mut self) -> Result<()> {
        let mut names: Vec<_> =
            self.recent.drain().map(|(invocation, number)| (name_of(invocation), number)).collect();
        names.sort_unstable();
        let mut bytes = Vec::with_capacity(names.len() * NAME_BYTES);
        for (name, number) in &names {
            bytes.extend(name.to_be_bytes());
            bytes.extend(number.to_be_bytes());
        }
        let start = (self.segments * SEGMENT * NAME_BYTES) as u64;
        let wrote = self.names.seek(SeekFrom::Start(start)).and_then(|_| self.names.write_all(&bytes));
        wrote.map_err(|error| Error::file(&self.path, error))?;
        self.segments += 1;
        Ok(())
    }

    /// The receipt with this number.
    pub(super) fn get(&self, number: u32) -> Result<Option<Row>> {
        let number = number as usize;
        if let Some(at) = number.checked_sub(self.written) {
            return Ok(self.waiting.get(at).copied());
        }
        let mut bytes = [0; ROW_BYTES];
        self.read(&self.file, number * ROW_BYTES, &mut bytes)?;
        Ok(Some(Row::of(&bytes)))
    }

    /// The number of the receipt of an invocation.
    pub(super) fn find(&self, invocation: B256) -> Result<Option<u32>> {
        if let Some(&number) = self.recent.get(&invocation) {
            return Ok(Some(number));
        }
        let name = name_of(invocation);
        for segment in (0..self.segments).rev() {
            let mut at = self.first(segment, name)?;
            while at < SEGMENT {
                let (found, number) = self.name(segment, at)?;
                if found != name {
                    break;
                }
                if self.is_of(number, invocation)? {
                    return Ok(Some(number));
                }
                at += 1;
            }
        }
        Ok(None)
    }

    fn is_of(&self, number: u32, invocation: B256) -> Result<bool> {
        Ok(self.get(number)?.is_some_and(|row| row.invocation == invocation))
    }

    /// The first place of a segment that does not come before a name.
    fn first(&self, segment: usize, name: u64) -> Result<usize> {
        let (mut low, mut high) = (0, SEGMENT);
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.name(segment, middle)?.0 < name {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    fn name(&self, segment: usize, at: usize) -> Result<(u64, u32)> {
        let mut bytes = [0; NAME_BYTES];
        self.read(&self.names, (segment * SEGMENT + at) * NAME_BYTES, &mut bytes)?;
        let (name, number) = bytes.split_at(8);
        let name = name.try_into().map_or(0, u64::from_be_bytes);
        Ok((name, number.try_into().map_or(0, u32::from_be_bytes)))
    }

    /// The tree so far.
    pub(super) const fn tree(&self) -> &Growing {
        &self.tree
    }

    /// The proof of a receipt.
    pub(super) fn proof(&self, number: u32) -> Result<Option<Proof>> {
        self.tree.proof(number, |at| self.node(at))
    }

    fn node(&self, at: u64) -> Result<Node> {
        if let Some(waiting) = at.checked_sub(self.nodes_written) {
            let found = usize::try_from(waiting).ok().and_then(|waiting| self.nodes_waiting.get(waiting));
            return found.copied().ok_or_else(|| Error::Refused(format!("the tree has no node {at}")));
        }
        let mut bytes = [0; NODE_BYTES];
        self.read(&self.nodes, at as usize * NODE_BYTES, &mut bytes)?;
        Ok(node_of(&bytes))
    }

    fn read(&self, mut file: &File, at: usize, to: &mut [u8]) -> Result<()> {
        let read = file.seek(SeekFrom::Start(at as u64)).and_then(|_| file.read_exact(to));
        read.map_err(|error| Error::file(&self.path, error))
    }
}

impl Row {
    fn to_bytes(self) -> [u8; ROW_BYTES] {
        let mut bytes = [0; ROW_BYTES];
        bytes[..32].copy_from_slice(self.invocation.as_slice());
        bytes[32..].copy_from_slice(&self.offset.to_be_bytes());
        bytes
    }

    fn of(bytes: &[u8; ROW_BYTES]) -> Self {
        let offset = u64::from_be_bytes(std::array::from_fn(|place| bytes[32 + place]));
        Self { invocation: B256::from_slice(&bytes[..32]), offset }
    }
}

fn node_to_bytes(node: &Node) -> [u8; NODE_BYTES] {
    let mut bytes = [0; NODE_BYTES];
    bytes[..32].copy_from_slice(&node.hash.0);
    bytes[32..48].copy_from_slice(&node.amount.to_be_bytes());
    bytes[48..].copy_from_slice(&node.tokens.to_be_bytes());
    bytes
}

fn node_of(bytes: &[u8; NODE_BYTES]) -> Node {
    let half = |at: usize| u128::from_be_bytes(std::array::from_fn(|place| bytes[at + place]));
    Node { hash: Hash(std::array::from_fn(|place| bytes[place])), amount: half(32), tokens: half(48) }
}

/// The first bytes of an invocation's id, which is a hash.
fn name_of(invocation: B256) -> u64 {
    let first: [u8; 8] = std::array::from_fn(|place| invocation[place]);
    u64::from_be_bytes(first)
}

/// A file that is empty, and private as the log is.
fn begin(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).read(true).write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path).map_err(|error| Error::file(path, error))
}

#[cfg(test)]
mod tests {
    use alloy_primitives::keccak256;
    use loyal_types::Tree;

    use super::*;

    fn row(number: usize) -> Row {
        // Every third shares its first bytes with its neighbours.
        let mut invocation = keccak256((number as u64).to_be_bytes());
        if number.is_multiple_of(3) {
            invocation.0[..8].copy_from_slice(&((number / 30) as u64).to_be_bytes());
        }
        Row { invocation, offset: number as u64 * 1_000 }
    }

    fn leaf(number: usize) -> Entry {
        let digest = Hash([number as u8; 32]);
        Entry { digest, amount: number as u128 + (1 << 100), tokens: 3 * number as u128 }
    }

    #[test]
    fn every_row_is_found_and_proved_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut rows = Rows::begin(&folder.path().join("epoch-1.log")).unwrap();
        let count = 2 * SEGMENT + 1_700;
        for number in 0..count {
            assert_eq!(rows.len(), number);
            rows.push(row(number), &leaf(number)).unwrap();
        }
        assert_eq!(rows.segments, 2);
        let tree = Tree::new(&(0..count).map(leaf).collect::<Vec<_>>()).unwrap();
        assert_eq!((rows.tree().top(), rows.tree().count()), (tree.top(), tree.count()));
        for number in (0..count).step_by(97).chain([count - 1, SEGMENT, SEGMENT - 1]) {
            let number_u32 = u32::try_from(number).unwrap();
            assert_eq!(rows.get(number_u32).unwrap(), Some(row(number)));
            assert_eq!(rows.find(row(number).invocation).unwrap(), Some(number_u32), "{number}");
            assert_eq!(rows.proof(number_u32).unwrap(), tree.proof(number_u32), "{number}");
        }
        assert_eq!(rows.find(keccak256("nobody's")).unwrap(), None);
        let after = u32::try_from(count).unwrap();
        assert_eq!(rows.get(after).unwrap(), None);
        assert_eq!(rows.proof(after).unwrap(), None);
    }
}
