//! What can go wrong, one variant per thing a caller might do differently.

use std::path::PathBuf;

use alloy_primitives::{B256, Bytes};
use revm::database_interface::DBErrorMarker;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process, or another part of this one, has the store open.
    #[error("{path}: another process has this chain open")]
    Locked {
        /// The store's file.
        path: PathBuf,
    },
    /// The file is no store of an embedded chain.
    #[error("{path}: not the store of an embedded chain ({why})")]
    Foreign {
        /// The store's file.
        path: PathBuf,
        /// What was found instead.
        why: String,
    },
    /// The store was written by another format of this crate.
    #[error(
        "the store has format {found}, this version reads format {wanted}: export it with the version that wrote it"
    )]
    Format {
        /// The format found.
        found: u64,
        /// The format this version reads.
        wanted: u64,
    },
    /// The store belongs to a chain with another genesis.
    #[error("the store holds the chain with genesis block {found}, not {wanted}")]
    OtherGenesis {
        /// Hash of the store's genesis block.
        found: B256,
        /// Hash of the genesis block asked for.
        wanted: B256,
    },
    /// The store's content contradicts itself.
    #[error("the store is damaged: {what}")]
    Damaged {
        /// What contradicts what.
        what: String,
    },
    /// The store could not be read or written: a full disk, a failed sync, a vanished folder.
    #[error(
        "cannot read or write the store: {why}; nothing acknowledged is lost, start again once it is repaired"
    )]
    Store {
        /// The store's own words.
        why: String,
    },
    /// A genesis that no chain can start from.
    #[error("genesis: {why}")]
    Genesis {
        /// What is wrong and what would be right.
        why: String,
    },
    /// A setting of the server that this chain refuses.
    #[error("refused: {why}")]
    Unsafe {
        /// What is refused and what to do instead.
        why: String,
    },
    /// A transaction that cannot enter a block.
    #[error("{why}")]
    Rejected {
        /// The reason, in the words clients look for.
        why: String,
    },
    /// A call that a contract reverted.
    #[error("execution reverted{}", reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default())]
    Reverted {
        /// `Error(string)` or `Panic(uint256)` decoded, where it is one.
        reason: Option<String>,
        /// The revert data.
        data: Bytes,
    },
    /// A call that stopped without reverting: out of gas, invalid opcode.
    #[error("{why}")]
    Halted {
        /// The machine's reason.
        why: String,
    },
    /// A request with a wrong or missing parameter.
    #[error("{what}")]
    Request {
        /// Which parameter, and what would be right.
        what: String,
    },
    /// A block or filter that does not exist.
    #[error("{what} not found")]
    Unknown {
        /// The thing asked for.
        what: String,
    },
    /// State or bodies older than the store keeps.
    #[error("{what} is no longer kept")]
    Pruned {
        /// The thing asked for.
        what: String,
    },
    /// A bound of the server was reached.
    #[error("{what}")]
    Limit {
        /// Which bound.
        what: String,
    },
    /// A method this chain does not answer.
    #[error("{what}")]
    Unsupported {
        /// Which method, and why.
        what: String,
    },
    /// The chain file given to an import does not continue or reproduce the chain.
    #[error("line {line}: {why}")]
    Import {
        /// Line of the file, from one.
        line: u64,
        /// What is wrong.
        why: String,
    },
}

impl DBErrorMarker for Error {}

macro_rules! from_redb {
    ($($kind:ty),*) => {$(
        impl From<$kind> for Error {
            fn from(error: $kind) -> Self {
                match redb::Error::from(error) {
                    redb::Error::Corrupted(what) => Self::Damaged { what },
                    other => Self::Store { why: other.to_string() },
                }
            }
        }
    )*};
}
from_redb!(
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError,
    redb::CompactionError,
    redb::SetDurabilityError
);

impl From<alloy_rlp::Error> for Error {
    fn from(error: alloy_rlp::Error) -> Self {
        Self::Damaged { what: format!("a record does not decode: {error}") }
    }
}
