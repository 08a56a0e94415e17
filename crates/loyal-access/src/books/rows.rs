//! One row for each receipt of an epoch, on the disk: memory does not grow with the number of receipts.
//!
//! The two files say nothing that the log does not say, and are made anew whenever the books are opened: nobody waits for
//! them to be durable.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use alloy_primitives::B256;
use loyal_types::Hash;
use loyal_types::tree::Entry;

use crate::{Error, Result};

/// An invocation, a digest, an amount, tokens, a place in the log.
const ROW_BYTES: usize = 32 + 32 + 16 + 16 + 8;
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
    /// Its leaf.
    pub(super) entry: Entry,
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
    names: File,
    segments: usize,
    /// The newest invocations, and their numbers.
    recent: HashMap<B256, u32>,
}

impl Rows {
    /// Begins the rows of an epoch, in files whose names begin with `path`.
    pub(super) fn begin(path: &Path) -> Result<Self> {
        let path = path.with_extension("rows");
        let (file, names) = (begin(&path)?, begin(&path.with_extension("names"))?);
        Ok(Self { path, file, written: 0, waiting: Vec::new(), names, segments: 0, recent: HashMap::new() })
    }

    /// Files of an epoch's rows.
    pub(super) fn files(path: &Path) -> [PathBuf; 2] {
        [path.with_extension("rows"), path.with_extension("names")]
    }

    pub(super) const fn len(&self) -> usize {
        self.written + self.waiting.len()
    }

    /// Adds the next receipt.
    pub(super) fn push(&mut self, row: Row) -> Result<()> {
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

    /// All leaves, in order.
    pub(super) fn entries(&self) -> Result<Vec<Entry>> {
        let mut bytes = vec![0; self.written * ROW_BYTES];
        self.read(&self.file, 0, &mut bytes)?;
        let (rows, _) = bytes.as_chunks::<ROW_BYTES>();
        let rows = rows.iter().map(Row::of).chain(self.waiting.iter().copied());
        Ok(rows.map(|row| row.entry).collect())
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
        bytes[32..64].copy_from_slice(&self.entry.digest.0);
        bytes[64..80].copy_from_slice(&self.entry.amount.to_be_bytes());
        bytes[80..96].copy_from_slice(&self.entry.tokens.to_be_bytes());
        bytes[96..].copy_from_slice(&self.offset.to_be_bytes());
        bytes
    }

    fn of(bytes: &[u8; ROW_BYTES]) -> Self {
        let half = |at: usize| -> [u8; 16] { std::array::from_fn(|place| bytes[at + place]) };
        let entry = Entry {
            digest: Hash(std::array::from_fn(|place| bytes[32 + place])),
            amount: u128::from_be_bytes(half(64)),
            tokens: u128::from_be_bytes(half(80)),
        };
        let offset = u64::from_be_bytes(std::array::from_fn(|place| bytes[96 + place]));
        Self { invocation: B256::from_slice(&bytes[..32]), entry, offset }
    }
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

    use super::*;

    fn row(number: usize) -> Row {
        let entry = Entry {
            digest: Hash([number as u8; 32]),
            amount: number as u128 + (1 << 100),
            tokens: 3 * number as u128,
        };
        // Every third shares its first bytes with its neighbours.
        let mut invocation = keccak256((number as u64).to_be_bytes());
        if number.is_multiple_of(3) {
            invocation.0[..8].copy_from_slice(&((number / 30) as u64).to_be_bytes());
        }
        Row { invocation, entry, offset: number as u64 * 1_000 }
    }

    #[test]
    fn every_row_is_found_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut rows = Rows::begin(&folder.path().join("epoch-1.log")).unwrap();
        let count = 2 * SEGMENT + 1_700;
        for number in 0..count {
            assert_eq!(rows.len(), number);
            rows.push(row(number)).unwrap();
        }
        assert_eq!(rows.segments, 2);
        for number in (0..count).step_by(97).chain([count - 1, SEGMENT, SEGMENT - 1]) {
            let number_u32 = u32::try_from(number).unwrap();
            assert_eq!(rows.get(number_u32).unwrap(), Some(row(number)));
            assert_eq!(rows.find(row(number).invocation).unwrap(), Some(number_u32), "{number}");
        }
        assert_eq!(rows.find(keccak256("nobody's")).unwrap(), None);
        assert_eq!(rows.get(u32::try_from(count).unwrap()).unwrap(), None);
        let entries = rows.entries().unwrap();
        assert_eq!(entries.len(), count);
        assert!(entries.iter().enumerate().all(|(number, entry)| *entry == row(number).entry));
    }
}
