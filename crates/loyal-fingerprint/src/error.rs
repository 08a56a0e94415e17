//! What can go wrong with fingerprints: one variant per thing a caller might do differently.

use std::path::{Path, PathBuf};

use loyal_types::Hash;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why fingerprints could not be written, read, embedded or looked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("{path}: {doing} failed: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What was tried, as a noun: "reading", "writing".
        doing: &'static str,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A secret is never written over another one.
    #[error(
        "{path} exists, and fingerprints are never overwritten: without them a marked model proves nothing; choose another name, or move the old file away yourself"
    )]
    Exists {
        /// The file that is there.
        path: PathBuf,
    },
    /// A secret lies where others can read it.
    #[error("{path} can be read by others (mode {mode:03o}); run: chmod 600 {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file's content is not what its format asks for.
    #[error("{path}: {problem}; {remedy}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where in the file.
        problem: String,
        /// What would be right.
        remedy: String,
    },
    /// An argument has a value that makes no sense.
    #[error("{name}: {problem}; {remedy}")]
    Argument {
        /// The argument.
        name: &'static str,
        /// What is wrong.
        problem: String,
        /// What would be right.
        remedy: String,
    },
    /// Answers depend on a beacon that has not been recorded.
    #[error(
        "these fingerprints are not bound to a beacon yet, so their responses do not exist; commit to the leaf root, then bind them to a public random number drawn later"
    )]
    Unbound,
    /// Responses were derived once and for all.
    #[error("these fingerprints are bound to the beacon {seed} already; write new ones instead")]
    Bound {
        /// The beacon in force.
        seed: Hash,
    },
    /// The fingerprints speak of other tokens.
    #[error(
        "the fingerprints were written for the tokenizer {expected}, this one is {found}; use the tokenizer of the model they were written for"
    )]
    Tokenizer {
        /// Digest of the tokenizer the fingerprints name.
        expected: Hash,
        /// Digest of the tokenizer given.
        found: Hash,
    },
    /// Too few queries pass the screen.
    #[error("only {found} of {wanted} queries are fit to use: {reasons}; {remedy}")]
    TooFewQueries {
        /// Queries asked for.
        wanted: usize,
        /// Queries that passed.
        found: usize,
        /// How many failed of each reason.
        reasons: String,
        /// What to change.
        remedy: &'static str,
    },
    /// Somebody else is writing a file that only one may write.
    #[error("{path}: {by} has it open; wait until it is done, or name another file")]
    Busy {
        /// The file.
        path: PathBuf,
        /// Who has it.
        by: &'static str,
    },
    /// Evidence says one thing and shows another.
    #[error("the evidence does not hold: {problem}")]
    Evidence {
        /// What does not fit.
        problem: String,
    },
    /// A suspect cannot be asked, now or later.
    #[error("{suspect} cannot be asked: {problem}")]
    Suspect {
        /// Who it is.
        suspect: String,
        /// Why not, and what would help.
        problem: String,
    },
    /// The caller asked to stop.
    #[error("stopped as asked; the model is as it was before")]
    Stopped,
    /// The model failed.
    #[error(transparent)]
    Model(#[from] loyal_model::Error),
    /// The tensor engine failed.
    #[error("tensor engine: {0}")]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    pub(crate) fn file(path: &Path, doing: &'static str, source: std::io::Error) -> Self {
        Self::File { path: path.to_owned(), doing, source }
    }

    pub(crate) fn malformed(path: &Path, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Malformed { path: path.to_owned(), problem: problem.into(), remedy: remedy.into() }
    }

    pub(crate) const fn evidence(problem: String) -> Self {
        Self::Evidence { problem }
    }

    pub(crate) fn argument(
        name: &'static str,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Argument { name, problem: problem.into(), remedy: remedy.into() }
    }
}
