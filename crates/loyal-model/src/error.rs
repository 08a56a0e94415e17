//! What can go wrong with a model: one variant per thing a caller might do differently.

use std::path::{Path, PathBuf};

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a model could not be read, run, trained or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("{path}: {doing} failed: {source}{}", remedy(source))]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as a noun: "reading", "writing".
        doing: &'static str,
        /// The system's reason.
        #[source]
        source: std::io::Error,
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
    /// The model is of a kind this crate does not run.
    #[error("{path}: {what} is not supported; supported: {supported}")]
    Unsupported {
        /// The file that says so.
        path: PathBuf,
        /// The architecture, data type or rope scaling.
        what: String,
        /// What is supported.
        supported: &'static str,
    },
    /// Weights, tokenizer and configuration do not fit together.
    #[error("{path}: {name}: expected {expected}, found {found}")]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The tensor or field.
        name: String,
        /// What the configuration asks for.
        expected: String,
        /// What the file holds.
        found: String,
    },
    /// Prompt and answer do not fit in the model's context.
    #[error(
        "the prompt has {prompt_tokens} tokens and {new_tokens} more were asked for, but the model's context holds {context_tokens}; shorten the prompt or ask for fewer tokens"
    )]
    ContextOverflow {
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Tokens asked for.
        new_tokens: usize,
        /// Tokens the model can hold.
        context_tokens: usize,
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
    /// The tokenizer refused a text.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// The chat template could not be rendered.
    #[error("chat template: {0}")]
    Template(String),
    /// The loss is not a number any more.
    #[error("the loss became {loss} at step {step}; lower the learning rate (now {learning_rate})")]
    Diverged {
        /// The step.
        step: u64,
        /// The loss.
        loss: f32,
        /// The learning rate at that step.
        learning_rate: f64,
    },
    /// The tensor engine failed.
    #[error("tensor engine: {0}")]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    /// A file operation that failed.
    pub(crate) fn file(path: &Path, doing: &'static str, source: std::io::Error) -> Self {
        Self::File { path: path.to_owned(), doing, source }
    }

    /// A file whose content is wrong.
    #[allow(clippy::needless_pass_by_value, reason = "callers pass errors and literals alike")]
    pub(crate) fn malformed(path: &Path, problem: impl ToString, remedy: impl ToString) -> Self {
        Self::Malformed { path: path.to_owned(), problem: problem.to_string(), remedy: remedy.to_string() }
    }
}

fn remedy(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::NotFound => "; check the path",
        std::io::ErrorKind::PermissionDenied => "; give this user access or choose another folder",
        std::io::ErrorKind::StorageFull => "; free some space and run again: nothing was left half-written",
        _ => "",
    }
}
