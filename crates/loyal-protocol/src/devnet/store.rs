//! The durable store: one file, one write transaction per step, one writer.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use redb::{
    Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageBackend, TableDefinition,
};

use super::view::View;
use crate::{Error, Result};

/// The format this version reads and writes.
const FORMAT: u64 = 1;
const FILE: &str = "chain.redb";

pub(crate) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
pub(crate) const ACCOUNT: TableDefinition<'_, [u8; 20], &[u8]> = TableDefinition::new("account");
pub(crate) const SLOT: TableDefinition<'_, [u8; 52], &[u8]> = TableDefinition::new("slot");
pub(crate) const CODE: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("code");
/// An account before a step, by address and step.
pub(crate) const ACCOUNT_BEFORE: TableDefinition<'_, [u8; 28], &[u8]> =
    TableDefinition::new("account_before");
/// A slot before a step, by address, slot and step.
pub(crate) const SLOT_BEFORE: TableDefinition<'_, [u8; 60], &[u8]> = TableDefinition::new("slot_before");
pub(crate) const TOUCHED: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("touched");
pub(crate) const FUNDING: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("funding");
pub(crate) const BLOCK: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("block");
pub(crate) const BLOCK_HASH: TableDefinition<'_, [u8; 32], u64> = TableDefinition::new("block_hash");
pub(crate) const TRANSACTION: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("transaction");
pub(crate) const TRANSACTION_HASH: TableDefinition<'_, [u8; 32], (u64, u32)> =
    TableDefinition::new("transaction_hash");

/// How much of the past a store keeps. The newest state is kept always, and a header as long as its block's content, a
/// state that can be asked for, or BLOCKHASH needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Steps whose state can still be asked for or reverted to.
    pub state_count_max: u64,
    /// Blocks whose transactions, receipts and logs are kept.
    pub block_count_max: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { state_count_max: 4_096, block_count_max: u64::MAX }
    }
}

/// A chain's file, or its stand-in in memory. Only one process and one [`Store`] can hold a file.
pub struct Store {
    database: Database,
    pub(crate) retention: Retention,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("retention", &self.retention).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store in `folder`, or makes one there.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Foreign`], [`Error::Format`], [`Error::Damaged`] or [`Error::Store`].
    pub fn open(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)
            .map_err(|error| Error::Store { why: format!("{}: {error}", folder.display()) })?;
        let path = folder.join(FILE);
        sound(|| Self::open_file(path))
    }

    /// Whether `folder` has a store.
    pub fn is_in(folder: &Path) -> bool {
        folder.join(FILE).is_file()
    }

    fn open_file(path: PathBuf) -> Result<Self> {
        let opened = Database::builder().set_cache_size(64 << 20).create(&path);
        let database = opened.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => Error::Locked { path },
            DatabaseError::UpgradeRequired(version) => {
                Error::Foreign { path, why: format!("file format {version}") }
            }
            DatabaseError::Storage(redb::StorageError::Corrupted(what)) => {
                Error::Damaged { what: format!("{}: {what}", path.display()) }
            }
            DatabaseError::Storage(redb::StorageError::Io(error))
                if error.kind() == std::io::ErrorKind::InvalidData =>
            {
                Error::Foreign { path, why: error.to_string() }
            }
            other => Error::Store { why: format!("{}: {other}", path.display()) },
        })?;
        Self::with_database(database)
    }

    /// A store that lasts as long as the value.
    ///
    /// # Errors
    /// [`Error::Store`] without memory.
    pub fn in_memory() -> Result<Self> {
        Self::with_backend(redb::backends::InMemoryBackend::new())
    }

    /// A store on any storage: tests inject faults here.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn with_backend(backend: impl StorageBackend) -> Result<Self> {
        let opened = Database::builder().set_cache_size(16 << 20).create_with_backend(backend);
        Self::with_database(opened.map_err(|error| Error::Store { why: error.to_string() })?)
    }

    fn with_database(database: Database) -> Result<Self> {
        let write = database.begin_write()?;
        {
            let mut meta = write.open_table(META)?;
            let found = meta.get("format")?.map(|value| value.value().to_vec());
            match found {
                None => {
                    meta.insert("format", FORMAT.to_be_bytes().as_slice())?;
                }
                Some(bytes) if bytes == FORMAT.to_be_bytes() => {}
                Some(bytes) => {
                    let found = bytes.try_into().map_or(0, u64::from_be_bytes);
                    return Err(Error::Format { found, wanted: FORMAT });
                }
            }
            write.open_table(ACCOUNT)?;
            write.open_table(SLOT)?;
            write.open_table(CODE)?;
            write.open_table(ACCOUNT_BEFORE)?;
            write.open_table(SLOT_BEFORE)?;
            write.open_table(TOUCHED)?;
            write.open_table(FUNDING)?;
            write.open_table(BLOCK)?;
            write.open_table(BLOCK_HASH)?;
            write.open_table(TRANSACTION)?;
            write.open_table(TRANSACTION_HASH)?;
        }
        write.commit()?;
        Ok(Self { database, retention: Retention::default() })
    }

    /// The same store, keeping as much of the past as `retention` says from now on.
    #[must_use]
    pub fn keeping(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Gives space that is no longer used back to the file system.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub fn compact(&mut self) -> Result<()> {
        self.database.compact()?;
        Ok(())
    }

    /// Reads the whole file and compares every checksum; false where one was wrong and could be repaired.
    ///
    /// # Errors
    /// [`Error::Damaged`] where it cannot be repaired.
    pub fn check(&mut self) -> Result<bool> {
        let database = &mut self.database;
        sound(|| database.check_integrity().map_err(|error| Error::Damaged { what: error.to_string() }))
    }

    pub(crate) fn view(&self) -> Result<Arc<View>> {
        Ok(Arc::new(View::open(&self.database.begin_read()?)?))
    }

    pub(crate) fn begin_write(&self) -> Result<redb::WriteTransaction> {
        Ok(self.database.begin_write()?)
    }
}

/// Looks into a file that may be damaged: the engine panics on some damage, which is an answer here.
pub(crate) fn sound<T>(look: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(look)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let what = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("the file").to_owned();
        Err(Error::Damaged { what })
    })
}
