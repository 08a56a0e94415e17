//! What can go wrong with a role: one variant per thing a caller might do differently.

use std::path::{Path, PathBuf};

use loyal_protocol::Failure;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a role cannot be played.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused something to do with the network or threads.
    #[error("{doing} failed: {source}")]
    System {
        /// What was tried, as a noun.
        doing: &'static str,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A setting has a value that makes no sense.
    #[error("{name}: {problem}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// A file cannot be read or written, or holds something else.
    #[error("{}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// What was asked for cannot be done, and why.
    #[error("{why}")]
    Refused {
        /// A sentence.
        why: String,
    },
    /// The chain, or a contract, said no.
    #[error(transparent)]
    Chain(#[from] Failure),
}

impl Error {
    #[allow(clippy::needless_pass_by_value, reason = "callers are done with what they found")]
    pub(crate) fn file(path: &Path, why: impl ToString) -> Self {
        Self::File { path: path.to_owned(), why: why.to_string() }
    }

    pub(crate) fn refused(why: impl Into<String>) -> Self {
        Self::Refused { why: why.into() }
    }

    pub(crate) const fn system(doing: &'static str, source: std::io::Error) -> Self {
        Self::System { doing, source }
    }
}
