//! How the program ends when it neither succeeds nor fails, and the exit code of each way.

use std::process::ExitCode;

/// A way to end, carried as an error up to `main`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Ending {
    /// Whoever read our output has read enough, as `head` does. No failure.
    #[error("the reader of the output has gone")]
    PipeClosed,
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// The command line asks for something that makes no sense.
    #[error("{0}\n\nFor more information, try '--help'.")]
    Usage(String),
}

/// The exit code for what `run` returned: 0 done, 1 failed, 2 usage, 130 interrupted.
pub(crate) fn code(result: &anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    match error.downcast_ref::<Ending>() {
        Some(Ending::PipeClosed) => ExitCode::SUCCESS,
        Some(Ending::Interrupted) => ExitCode::from(130),
        Some(Ending::Usage(_)) => ExitCode::from(2),
        None => ExitCode::FAILURE,
    }
}
