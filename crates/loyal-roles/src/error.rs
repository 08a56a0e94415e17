//! What can go wrong with a role: one variant per thing a caller might do differently.

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
}

impl Error {
    pub(crate) const fn system(doing: &'static str, source: std::io::Error) -> Self {
        Self::System { doing, source }
    }
}
