//! A caller's durable state, in one folder: what it signed, what it was charged, what it holds receipts for.
//!
//! Whatever is signed is on the disk before it leaves. A process that is killed at any instant is followed by one that knows
//! the highest ceiling that may be out, and which invocation may have been answered.

mod book;
mod journal;
mod transfer;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

pub use book::{Account, Book, Capped, Caps, Entry, Pending, Site, Spent};
use journal::Journal;
pub use transfer::{Invoked, Purchase, Transfer};

use crate::document::{HandedReceipt, SignedInvocation};
use crate::{Error, Result};

/// Files of a wallet's folder.
const JOURNAL: &str = "wallet.log";
const RECEIPTS: &str = "receipts.log";
const PURCHASES: &str = "purchases.log";
const LOCK: &str = "lock";
/// How long the journal grows before one line takes the place of all.
const JOURNAL_BYTES_MAX: u64 = 4 << 20;

/// A wallet that this process alone has open.
#[derive(Debug)]
pub struct Wallet {
    folder: PathBuf,
    journal: Journal,
    receipts: Journal,
    purchases: Journal,
    book: Book,
    _lock: File,
}

/// A receipt, and what it is a receipt for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// When it was received, in unix seconds.
    pub at: u64,
    /// Where the host answers.
    pub host: String,
    /// What was paid with.
    pub asset: Address,
    /// The invocation.
    pub invocation: SignedInvocation,
    /// The salt of its hashes.
    pub salt: B256,
    /// The receipt.
    pub receipt: HandedReceipt,
    /// Whether the whole answer was seen, and is the one that the receipt speaks of.
    pub is_answer_seen: bool,
    /// What is wrong with it, where something is: evidence for a claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl Wallet {
    /// Opens the wallet of a folder, or makes one there.
    ///
    /// # Errors
    /// [`Error::Locked`] where another process has it open; [`Error::File`].
    pub fn open(folder: &Path) -> Result<Self> {
        make_folder(folder)?;
        let lock = File::create(folder.join(LOCK)).map_err(|error| Error::file(&folder.join(LOCK), error))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Error::Locked { folder: folder.to_owned() },
            TryLockError::Error(error) => Error::file(&folder.join(LOCK), error),
        })?;
        let mut book = Book::default();
        let path = folder.join(JOURNAL);
        let journal = Journal::open(&path, |line| take_line(&mut book, &path, line))?;
        let receipts = Journal::open_end(&folder.join(RECEIPTS))?;
        let purchases = Journal::open_end(&folder.join(PURCHASES))?;
        journal::sync_folder(folder).map_err(|error| Error::file(folder, error))?;
        Ok(Self { folder: folder.to_owned(), journal, receipts, purchases, book, _lock: lock })
    }

    /// What the wallet of a folder knows, also while another process has it open.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn peek(folder: &Path) -> Result<Book> {
        let (mut book, path) = (Book::default(), folder.join(JOURNAL));
        journal::read(&path, |line| take_line(&mut book, &path, line))?;
        Ok(book)
    }

    /// The receipts of a folder's wallet, oldest first, each once.
    ///
    /// # Errors
    /// [`Error::File`], and those of `each`.
    pub fn receipts(folder: &Path, mut each: impl FnMut(Record) -> Result<()>) -> Result<()> {
        let path = folder.join(RECEIPTS);
        let mut last = None;
        journal::read(&path, |line| {
            let record: Record = serde_json::from_str(line).map_err(|error| Error::file(&path, error))?;
            // A process that was killed between the receipt and the journal writes it again when it is back.
            let id = record.receipt.receipt.receipt.invocationId;
            if last.replace(id) == Some(id) { Ok(()) } else { each(record) }
        })
    }

    /// What was bought of servers that give no receipts, oldest first.
    ///
    /// # Errors
    /// [`Error::File`], and those of `each`.
    pub fn purchases(folder: &Path, mut each: impl FnMut(Purchase) -> Result<()>) -> Result<()> {
        let path = folder.join(PURCHASES);
        journal::read(&path, |line| {
            each(serde_json::from_str(line).map_err(|error| Error::file(&path, error))?)
        })
    }

    /// Keeps what a server said of a payment.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn keep_purchase(&mut self, purchase: &Purchase) -> Result<()> {
        let line =
            serde_json::to_string(purchase).map_err(|error| Error::Wallet { why: error.to_string() })?;
        self.purchases.append(&line)
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it knows.
    #[must_use]
    pub const fn book(&self) -> &Book {
        &self.book
    }

    /// One of its channels.
    ///
    /// # Errors
    /// [`Error::Wallet`] where it is not in the wallet.
    pub fn account(&self, channel: B256) -> Result<&Account> {
        let known = self.book.channels.get(&channel);
        known.ok_or_else(|| Error::Wallet { why: format!("channel {channel} is not in the wallet") })
    }

    /// Writes an entry, and goes by it once it is on the disk.
    ///
    /// # Errors
    /// [`Error::Wallet`] where the entry contradicts what is known; [`Error::File`]. The wallet is then as before.
    pub fn write(&mut self, entry: Entry) -> Result<()> {
        let line = serde_json::to_string(&entry).map_err(|error| Error::Wallet { why: error.to_string() })?;
        self.book.take(entry).map_err(|why| Error::Wallet { why })?;
        if let Err(error) = self.journal.append(&line) {
            self.book = Self::peek(&self.folder)?;
            return Err(error);
        }
        if self.journal.bytes() > JOURNAL_BYTES_MAX {
            self.shorten()?;
        }
        Ok(())
    }

    /// Signs an invocation that costs `amount` at most on a channel; it is on the disk when this returns, and may leave.
    ///
    /// # Errors
    /// [`Error::Capped`] before anything is signed; as [`Wallet::write`].
    pub fn sign(
        &mut self,
        channel: B256,
        amount: u128,
        now: u64,
        make: impl FnOnce(&Account) -> Result<Pending>,
    ) -> Result<Pending> {
        let account = self.account(channel)?;
        let asset = account.asset();
        self.book.check_caps(asset, amount, now).map_err(|capped| Error::Capped { asset, capped })?;
        let pending = make(account)?;
        self.write(Entry::Signed { channel, pending: Box::new(pending.clone()) })?;
        Ok(pending)
    }

    /// Keeps a receipt, and goes by what it says.
    ///
    /// # Errors
    /// As [`Wallet::write`].
    pub fn settle(&mut self, channel: B256, record: &Record) -> Result<()> {
        self.keep(record)?;
        let amount = record.receipt.receipt.receipt.amount;
        self.write(Entry::Settled { channel, amount, at: record.at })
    }

    /// Signs a transfer; it is on the disk when this returns, and may leave.
    ///
    /// # Errors
    /// As [`Wallet::sign`].
    pub fn promise(&mut self, transfer: Transfer, now: u64) -> Result<Transfer> {
        let asset = transfer.asset();
        self.book
            .check_caps(asset, transfer.amount(), now)
            .map_err(|capped| Error::Capped { asset, capped })?;
        self.write(Entry::Promised { transfer: Box::new(transfer.clone()) })?;
        Ok(transfer)
    }

    /// Keeps a receipt that something is wrong with: evidence.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn keep(&mut self, record: &Record) -> Result<()> {
        let line = serde_json::to_string(record).map_err(|error| Error::Wallet { why: error.to_string() })?;
        self.receipts.append(&line)
    }

    /// Writes all that is known in the place of how it came about.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn shorten(&mut self) -> Result<()> {
        let line = serde_json::to_string(&Entry::Book(Box::new(self.book.clone())));
        self.journal.replace(&line.map_err(|error| Error::Wallet { why: error.to_string() })?)
    }
}

fn take_line(book: &mut Book, path: &Path, line: &str) -> Result<()> {
    let entry = serde_json::from_str(line).map_err(|error| Error::file(path, error))?;
    book.take(entry).map_err(|why| Error::file(path, why))
}

/// A folder that nobody else looks into.
fn make_folder(folder: &Path) -> Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|error| Error::file(folder, error))
}
