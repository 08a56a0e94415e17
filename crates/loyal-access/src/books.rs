//! A host's books: which invocations were answered, what they cost, what was paid. Durable before anybody hears of it.
//!
//! One log for each epoch, of frames that carry their length and checksum; many records share one `fdatasync`. At the start
//! of an epoch's log stands a snapshot of what reaches beyond epochs, so that old logs can go.

mod journal;
mod record;
mod rows;
mod sums;

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::Eip712Domain;
use bytes::Bytes;
use loyal_protocol::Key;
use loyal_protocol::message::{Invocation, Receipt, UsageReport};
use loyal_types::{Hash, Proof};

use journal::{Journal, Written};
use record::Record;
use sums::Sums;
pub use sums::{Account, Caps, Hindrance, Reservation};

use crate::document::{SignedCredential, SignedInvocation, SignedReceipt};
use crate::payment::{ChannelTerms, SignedVoucher};
use crate::{Error, Result};

/// Epochs of which receipts are kept.
pub const RETENTION_EPOCHS: u32 = 45;

/// A host's books.
#[derive(Debug)]
pub struct Books {
    folder: PathBuf,
    hosting: U256,
    sums: Mutex<Sums>,
    /// Invocations whose reply is about to be kept.
    keeping: Mutex<HashSet<B256>>,
    journal: Journal,
    _lock: File,
}

/// An answered invocation, as it is about to be written down.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What was reserved for it.
    pub reservation: Reservation,
    /// Its permission.
    pub credential: Arc<SignedCredential>,
    /// What was asked for.
    pub invocation: Arc<SignedInvocation>,
    /// Salt of the request's hash.
    pub salt: B256,
    /// The prompt, and the hash of everything else: what a host shows when it is said to have hidden a use.
    pub asked: (String, B256),
    /// How it is paid.
    pub paid: Paid,
    /// Hash of the reply.
    pub response_hash: B256,
    /// Tokens of the prompt.
    pub tokens_in: u32,
    /// Tokens of the reply.
    pub tokens_out: u32,
    /// What it costs, in base units.
    pub amount: u128,
    /// Now, in unix seconds.
    pub now: u64,
    /// The epoch of now.
    pub epoch: u32,
}

/// How an invocation is paid.
#[allow(clippy::large_enum_variant, reason = "made once for a request and moved once")]
#[derive(Debug, Clone)]
pub enum Paid {
    /// By a voucher of a channel that a builder brought, or nobody (zero).
    Voucher {
        /// The channel.
        terms: ChannelTerms,
        /// Who brought it.
        builder: Address,
        /// The voucher.
        voucher: SignedVoucher,
    },
    /// By a transaction of its own, for whoever brought the invocation; zero for nobody.
    Transfer(B256, Address),
}

/// A receipt that is on its way to the disk.
#[derive(Debug)]
pub struct Pending {
    /// The receipt. It may be shown once it is durable.
    pub receipt: SignedReceipt,
    written: Written,
}

impl Pending {
    /// Waits until the receipt is durable.
    ///
    /// # Errors
    /// [`Error::File`] where it could not be written: then nothing may be shown.
    pub async fn durable(self) -> Result<SignedReceipt> {
        self.written.wait().await?;
        Ok(self.receipt)
    }
}

/// A receipt with what the host keeps to defend it.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The receipt.
    pub receipt: SignedReceipt,
    /// The invocation it answers.
    pub invocation: SignedInvocation,
    /// Salt of its hashes.
    pub salt: B256,
    /// The prompt, and the hash of everything else in the request.
    pub asked: (String, B256),
    /// The credential that permitted it, where it is still kept.
    pub credential: Option<SignedCredential>,
}

impl Books {
    /// Opens the books of a hosting, or begins them. A record that a crash tore is set aside: nobody was shown it.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Refused`] where another process has them open, or they are another hosting's.
    pub fn open(folder: &Path, hosting: u64) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|error| Error::file(folder, error))?;
        let lock = journal::lock(folder)?;
        let hosting = U256::from(hosting);
        let sums = Sums::read(folder, hosting)?;
        let journal = Journal::start(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            hosting,
            sums: Mutex::new(sums),
            keeping: Mutex::default(),
            journal,
            _lock: lock,
        })
    }

    /// Where a channel stands.
    #[must_use]
    pub fn account(&self, channel: B256) -> Option<Account> {
        self.sums().account(channel)
    }

    /// All channels with a voucher, and where they stand.
    #[must_use]
    pub fn accounts(&self) -> Vec<(B256, Account)> {
        self.sums().accounts()
    }

    /// Whoever brought an invocation; zero stands for nobody, and is always among them.
    #[must_use]
    pub fn builders(&self) -> Vec<Address> {
        self.sums().builders()
    }

    /// Whether a transfer, by its nonce, paid for an answer already.
    #[must_use]
    pub fn has_paid(&self, transfer: B256) -> bool {
        self.sums().has_paid(transfer)
    }

    /// Looks at what only the host can judge, without reserving anything.
    #[must_use]
    pub fn hindrance(&self, wanted: &Reservation, caps: &Caps) -> Option<Hindrance> {
        self.sums().hindrance(wanted, caps)
    }

    /// Keeps room for an invocation until it is answered or given up.
    ///
    /// # Errors
    /// What hinders.
    pub fn reserve(&self, wanted: &Reservation, caps: &Caps) -> std::result::Result<(), Hindrance> {
        self.sums().reserve(wanted, caps)
    }

    /// Keeps a channel for something that is no invocation; answers whether nobody else has it.
    #[must_use]
    pub fn hold(&self, channel: B256) -> bool {
        self.sums().hold(channel)
    }

    /// Lets go of what [`Books::hold`] kept.
    pub fn let_go(&self, channel: B256) {
        self.sums().let_go(channel);
    }

    /// Gives an invocation up.
    pub fn release(&self, reservation: &Reservation) {
        self.sums().release(reservation);
    }

    /// Writes an answered invocation down, with a receipt of the next number.
    ///
    /// # Errors
    /// [`Error::File`] where an earlier record could not be written: the books are closed then;
    /// [`Error::Refused`] where the epoch's report is made already.
    pub fn settle(&self, answer: &Answer, signer: &Key, domain: &Eip712Domain) -> Result<Pending> {
        let mut sums = self.sums();
        let now = answer.now.max(sums.last_at());
        let epoch = answer.epoch.max(sums.last_epoch());
        if sums.is_closed(epoch) {
            return Err(Error::Refused(format!("epoch {epoch} is reported already")));
        }
        let invocation = &answer.invocation.invocation;
        let receipt = Receipt {
            invocationId: answer.invocation.id(domain),
            hostingId: self.hosting,
            epoch,
            seq: sums.next_seq(epoch),
            requestHash: invocation.requestHash,
            responseHash: answer.response_hash,
            traceRoot: B256::ZERO,
            tokensIn: answer.tokens_in,
            tokensOut: answer.tokens_out,
            amount: answer.amount,
            cumulative: sums.charged(&answer.reservation).saturating_add(answer.amount),
            issuedAt: now,
        };
        // Signed, numbered and queued under one lock: the order on the disk is the order of the numbers.
        let receipt = SignedReceipt::sign(receipt, signer, domain);
        let id = receipt.id(domain);
        let snapshot = (sums.last_epoch() != epoch || sums.is_empty()).then(|| sums.snapshot(now));
        let records = sums.take(Record::of(answer, receipt.clone(), id))?;
        sums.release(&answer.reservation);
        let (written, offsets) = self.journal.write(epoch, snapshot, &records)?;
        for (record, offset) in records.iter().zip(offsets) {
            sums.placed(epoch, record, offset)?;
        }
        Ok(Pending { receipt, written })
    }

    /// The receipt of an invocation, where there is one: its epoch and number.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn place_of(&self, invocation: B256) -> Result<Option<(u32, u32)>> {
        self.sums().place_of(invocation)
    }

    /// The receipt of an invocation that may have been answered before. One whose nonce is above the channel's last was not:
    /// that takes no look at the disk.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn answered(&self, invocation: &Invocation, id: B256) -> Result<Option<(u32, u32)>> {
        let sums = self.sums();
        if sums.is_new(invocation) { Ok(None) } else { sums.place_of(id) }
    }

    /// What is kept of a receipt.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn kept(&self, epoch: u32, seq: u32) -> Result<Option<Kept>> {
        let Some(offset) = self.sums().offset_of(epoch, seq)? else { return Ok(None) };
        let Record::Answered(answered) = journal::read_at(&self.folder, epoch, offset)? else {
            return Ok(None);
        };
        let invocation = answered.invocation.as_ref().clone();
        let offset = self.sums().credential_offset(epoch, invocation.invocation.credentialId);
        let credential =
            match offset.map(|offset| journal::read_at(&self.folder, epoch, offset)).transpose()? {
                Some(Record::Credential(_, signed)) => Some(signed.as_ref().clone()),
                _ => None,
            };
        let asked = (answered.prompt, answered.params_hash);
        Ok(Some(Kept { receipt: answered.receipt, invocation, salt: answered.salt, asked, credential }))
    }

    /// Notes that a reply is on its way to be kept, or no longer.
    pub(crate) fn note_keeping(&self, invocation: B256, is_coming: bool) {
        let mut keeping = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        if is_coming {
            keeping.insert(invocation);
        } else {
            keeping.remove(&invocation);
        }
    }

    /// Whether the reply to an invocation is on its way to be kept.
    pub(crate) fn is_keeping(&self, invocation: B256) -> bool {
        self.keeping.lock().unwrap_or_else(PoisonError::into_inner).contains(&invocation)
    }

    /// Keeps a reply for those who ask again.
    pub fn keep_reply(&self, invocation: B256, reply: Bytes) {
        self.sums().keep_reply(invocation, reply);
    }

    /// The reply to an invocation, while it is kept.
    #[must_use]
    pub fn reply(&self, invocation: B256) -> Option<Bytes> {
        self.sums().reply(invocation)
    }

    /// The report of an epoch. `closes` lets no receipt into it any more.
    pub fn report(&self, epoch: u32, closes: bool) -> UsageReport {
        let mut sums = self.sums();
        if closes {
            sums.close(epoch);
        }
        report_of(&sums, self.hosting, epoch)
    }

    /// The proof that an epoch's tree holds a receipt, and the report of that very tree.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn proof(&self, epoch: u32, seq: u32) -> Result<Option<(Proof, UsageReport)>> {
        let sums = self.sums();
        let proof = sums.proof(epoch, seq)?;
        Ok(proof.map(|proof| (proof, report_of(&sums, self.hosting, epoch))))
    }

    /// What was charged in an epoch so far, and how often.
    #[must_use]
    pub fn turnover(&self, epoch: u32) -> (u128, u32) {
        self.sums().turnover(epoch)
    }

    /// Epochs with receipts that are kept.
    #[must_use]
    pub fn epochs(&self) -> Vec<u32> {
        self.sums().epochs()
    }

    /// Forgets epochs that need not be kept any more; the newest snapshot stays.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn prune(&self, current: u32) -> Result<()> {
        let oldest = current.saturating_sub(RETENTION_EPOCHS);
        self.sums().forget(oldest);
        journal::remove_before(&self.folder, oldest)
    }

    fn sums(&self) -> MutexGuard<'_, Sums> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn report_of(sums: &Sums, hosting: U256, epoch: u32) -> UsageReport {
    let (count, top) = sums.top(epoch);
    UsageReport {
        hostingId: hosting,
        epoch,
        count,
        amount: top.amount,
        tokens: top.tokens,
        top: B256::from(top.hash.0),
    }
}

/// Bytes of one of our hashes as those of another crate's.
pub(crate) fn hash_of(digest: B256) -> Hash {
    Hash(digest.0)
}
