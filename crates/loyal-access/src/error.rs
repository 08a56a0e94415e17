//! What can go wrong at a gate or at a caller, one variant per thing one might do differently.

use std::path::{Path, PathBuf};

use alloy_primitives::Address;
use loyal_protocol::Failure;
use loyal_types::Origin;

use crate::wallet::Capped;

/// The result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The chain refused, or could not be asked.
    #[error(transparent)]
    Chain(#[from] Failure),
    /// A document is not what it should be.
    #[error(transparent)]
    Document(#[from] crate::document::DocumentError),
    /// A file could not be read or written.
    #[error("{}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was seen.
        why: String,
    },
    /// The body of a request cannot be bound to an invocation.
    #[error(transparent)]
    Request(#[from] crate::request::RequestError),
    /// An address is none of the web.
    #[error("{why}")]
    BadAddress {
        /// What is wrong with it.
        why: String,
    },
    /// A machine that is not on the public internet, where only such may be reached.
    #[error("{origin} is not on the public internet")]
    NotPublic {
        /// Where it leads.
        origin: Origin,
    },
    /// Nobody answered, or the answer broke off. The same invocation may be sent again: it is paid once.
    #[error("{origin} does not answer: {why}")]
    Connection {
        /// Where it led.
        origin: Origin,
        /// What was seen.
        why: String,
    },
    /// A host refused; nothing was charged.
    #[error("the host refused ({code}): {message}")]
    Denied {
        /// The status of HTTP.
        status: u16,
        /// The stable code.
        code: String,
        /// The host's words.
        message: String,
        /// When to try again, in seconds, where the host says so.
        retry_after: Option<u64>,
    },
    /// A host does what no honest one does; it is not paid any more, or was not paid at all.
    #[error("{why}")]
    Misbehaved {
        /// What it did.
        why: String,
    },
    /// A hosting misbehaved earlier.
    #[error("hosting {hosting} is not paid any more: {why}; `loyal access withdraw` gets the rest back")]
    Faulted {
        /// The hosting.
        hosting: String,
        /// What it did.
        why: String,
    },
    /// The invocation was answered and paid, and its answer is no longer kept; the receipt is in the wallet.
    #[error("this invocation was answered and paid, and its answer is no longer kept by the host")]
    AnswerGone,
    /// A cap would be passed; nothing was signed.
    #[error(
        "the cap for {} is {} and {} is spent or promised: an invocation for up to {} more would pass it (base units of {asset})",
        capped.of, capped.cap, capped.spent, capped.wanted
    )]
    Capped {
        /// Of what the cap is.
        asset: Address,
        /// The cap.
        capped: Capped,
    },
    /// The host asks for more than the caller gives for this request; nothing was signed.
    #[error("the host asks for {amount} base units, and this request may cost {amount_max}")]
    TooDear {
        /// What it asks for.
        amount: u128,
        /// What was allowed.
        amount_max: u128,
    },
    /// Another process has the wallet open.
    #[error("{}: another process has this wallet open", folder.display())]
    Locked {
        /// The wallet.
        folder: PathBuf,
    },
    /// What is to be written down contradicts what the wallet knows.
    #[error("the wallet refuses: {why}")]
    Wallet {
        /// What contradicts.
        why: String,
    },
    /// Something asked for makes no sense; says what would.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    /// Whether the payer has too little.
    #[must_use]
    pub const fn is_short(&self) -> bool {
        matches!(self, Self::Chain(Failure::Short { .. }))
    }

    pub(crate) fn file(path: &Path, why: impl std::fmt::Display) -> Self {
        Self::File { path: path.to_owned(), why: why.to_string() }
    }
}
