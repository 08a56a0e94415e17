//! What can go wrong, one variant per thing a caller might do differently.

use std::time::Duration;

use loyal_types::Origin;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An agent named an event in a way the wire cannot carry.
    #[error("{name:?} is no name of an event: 1 to 64 characters in one line, without a space at its ends")]
    BadEventName {
        /// Its first 64 characters.
        name: String,
    },
    /// A content that must be a JSON object is none.
    #[error("not a JSON object: {why}")]
    NoObject {
        /// What it is instead.
        why: String,
    },
    /// A bound was reached.
    #[error("the {what} is larger than {max}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// The bound, in bytes or in pieces.
        max: u64,
    },
    /// The agent has completed its response.
    #[error("the response is complete: nothing can follow")]
    ResponseClosed,
    /// The agent has completed this stream of text.
    #[error("the stream {stream_id} is complete: nothing can follow")]
    StreamClosed {
        /// Which.
        stream_id: String,
    },
    /// Whoever asked has gone, or the run was ended.
    #[error("the run was cancelled")]
    Cancelled,
    /// Nothing moved for too long.
    #[error("nothing moved for {}", seconds(*after))]
    Stalled {
        /// How long.
        after: Duration,
    },
    /// The whole took too long.
    #[error("not done within {}", seconds(*after))]
    TooLate {
        /// How long.
        after: Duration,
    },
    /// A response ended without `done`.
    #[error("the response ended before it was done")]
    CutShort,
    /// A response went on after `done`.
    #[error("the response went on after it was done")]
    AfterDone,
    /// A response holds something that is no event.
    #[error("line {line}: {why}")]
    BadEvent {
        /// The line, from one.
        line: u64,
        /// What is wrong.
        why: String,
    },
    /// A server answered with another status than 200.
    #[error("refused with status {status}: {detail}")]
    Refused {
        /// The status of HTTP.
        status: u16,
        /// The start of the body.
        detail: String,
    },
    /// An address that leads into a private network, or to this machine.
    #[error("{origin} leads to a machine that is not on the public internet")]
    NotPublic {
        /// Where it leads.
        origin: Origin,
    },
    /// A text is no address of the web.
    #[error("{why}")]
    BadAddress {
        /// Which, and why.
        why: String,
    },
    /// A connection could not be made, or broke.
    #[error("{origin}: {why}")]
    Connection {
        /// To where.
        origin: Origin,
        /// The system's words.
        why: String,
    },
    /// An agent failed, in its own words. The person who asked sees `public`, the log also `private`.
    #[error("{public}{}", private.as_ref().map(|private| format!(" ({private})")).unwrap_or_default())]
    Failed {
        /// A status of HTTP.
        code: u16,
        /// For whoever asked.
        public: String,
        /// For the operator.
        private: Option<String>,
    },
    /// The log of a run is damaged, tells another story than the run, or cannot be written.
    #[error("line {n} of the log: {why}")]
    BadLog {
        /// The line, from zero.
        n: u64,
        /// What is wrong.
        why: String,
    },
    /// A secret cannot be kept as one.
    #[error("the secret {name:?}: {why}")]
    BadSecret {
        /// Its name.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// A listener or a file of the server failed.
    #[error("{what}: {why}")]
    Server {
        /// What was tried.
        what: &'static str,
        /// The system's words.
        why: String,
    },
}

impl Error {
    /// An agent's own failure: only the operator reads why.
    #[must_use]
    pub fn failed(why: impl std::fmt::Display) -> Self {
        let public = "The agent could not finish its work.".to_owned();
        Self::Failed { code: 500, public, private: Some(why.to_string()) }
    }

    /// A failure to tell whoever asked.
    #[must_use]
    pub fn told(code: u16, public: impl Into<String>) -> Self {
        Self::Failed { code, public: public.into(), private: None }
    }
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}
