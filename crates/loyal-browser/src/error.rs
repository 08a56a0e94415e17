//! What can go wrong, one variant per thing a caller might do differently.

use std::time::Duration;

use crate::Ref;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no Chromium on this machine, or not where it was said to be.
    #[error(
        "no Chromium found (looked for {tried}); install it with `apt install chromium`, or name its path"
    )]
    NoBrowser {
        /// The names and paths that were tried.
        tried: String,
    },
    /// Chromium did not start.
    #[error("Chromium did not start: {why}")]
    Launch {
        /// Its last words.
        why: String,
    },
    /// Chromium ended, and was not to be started again.
    #[error("the browser is gone")]
    Gone,
    /// The page's process ended.
    #[error("the page crashed")]
    Crashed,
    /// Something took longer than it may.
    #[error("{what}: not done within {} s", after.as_secs_f64())]
    Timeout {
        /// Which command or action.
        what: String,
        /// How long it was given.
        after: Duration,
    },
    /// A message was larger than it may be.
    #[error("the answer to {what} is larger than {bytes_max} bytes")]
    TooLarge {
        /// Which command.
        what: String,
        /// The bound.
        bytes_max: usize,
    },
    /// Chromium refused a command.
    #[error("{method}: {message}")]
    Protocol {
        /// Which command.
        method: String,
        /// Chromium's words.
        message: String,
    },
    /// The page shows a dialog: nothing else can be done before it is answered.
    #[error("a dialog is open ({kind}: {message:?}); answer it with the action `dialog`")]
    DialogOpen {
        /// `alert`, `confirm`, `prompt` or `beforeunload`.
        kind: String,
        /// Its words.
        message: String,
    },
    /// No snapshot gave out this ref.
    #[error("{target} is no ref of a snapshot")]
    Unknown {
        /// Which.
        target: Ref,
    },
    /// The element belongs to a document that is gone.
    #[error("{target} is gone{}", suggestion.map(|now| format!("; the one like it is now {now}")).unwrap_or_default())]
    Stale {
        /// Which.
        target: Ref,
        /// The one element of the same role and name.
        suggestion: Option<Ref>,
    },
    /// Something lies over every point of the element.
    #[error("{target} is covered by {by}")]
    Covered {
        /// Which.
        target: Ref,
        /// What lies over it.
        by: String,
    },
    /// The element is not drawn.
    #[error("{target} is not drawn, or has no size")]
    Hidden {
        /// Which.
        target: Ref,
    },
    /// The element takes no input.
    #[error("{target} is disabled")]
    Disabled {
        /// Which.
        target: Ref,
    },
    /// The action was done and the element did not notice.
    #[error("{target} did not receive the {what}")]
    Missed {
        /// Which.
        target: Ref,
        /// What was sent.
        what: &'static str,
    },
    /// The element took the value and holds another.
    #[error("{target} holds {found:?} instead of {wanted:?}")]
    NotKept {
        /// Which.
        target: Ref,
        /// What it was given.
        wanted: String,
        /// What it holds.
        found: String,
    },
    /// The element cannot do what is asked of it.
    #[error("{target} {why}")]
    Unfit {
        /// Which.
        target: Ref,
        /// What it is, and what would be right.
        why: String,
    },
    /// The allow-list refuses the address.
    #[error("{address} may not be visited: {why}")]
    Denied {
        /// Which.
        address: String,
        /// Why.
        why: String,
    },
    /// An address does not answer with a page.
    #[error("{address}: {why}")]
    Unreachable {
        /// Which.
        address: String,
        /// Chromium's words.
        why: String,
    },
    /// An action's arguments are wrong.
    #[error("{action}: {why}")]
    BadAction {
        /// Which.
        action: &'static str,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// A file of ours cannot be read or written.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: String,
        /// The system's words.
        why: String,
    },
}

impl Error {
    pub(crate) fn file(path: &std::path::Path, why: impl std::fmt::Display) -> Self {
        Self::File { path: path.display().to_string(), why: why.to_string() }
    }

    /// Whether Chromium says that a node or a context no longer exists.
    pub(crate) fn is_lost(&self) -> bool {
        const WORDS: [&str; 8] = [
            "No node with given id",
            "Could not find node",
            "Cannot find context",
            "does not belong to the document",
            "Node with given id does not belong",
            "Execution context was destroyed",
            "No frame",
            "Frame with the given id was not found",
        ];
        matches!(self, Self::Protocol { message, .. } if WORDS.iter().any(|word| message.contains(word)))
    }
}
