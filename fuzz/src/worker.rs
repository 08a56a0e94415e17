//! The worker: gives a target one input after another, in a process that may crash.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::allocation;
use crate::plan::Plan;
use crate::target::Target;

/// What an input may hold for each of its bytes.
const HELD_BYTES_PER_BYTE: usize = 1024;

/// Past this an allocation is refused, which ends the worker.
const HELD_BYTES_LIMIT: usize = 1 << 30;

static PANIC: Mutex<String> = Mutex::new(String::new());

/// How a worker that did not crash ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Nothing broke.
    Well {
        /// Inputs given.
        inputs: u64,
        /// Inputs the target accepted.
        accepted: u64,
        /// The most bytes an input held.
        peak_bytes: usize,
    },
    /// An input broke the target.
    Broken {
        /// Which.
        number: u64,
        /// How.
        problem: String,
    },
}

/// Runs inputs until the time is over or one breaks the target. Before each, its number goes to `progress`.
///
/// # Errors
/// When `progress` cannot be written.
pub(crate) fn run(target: Target, plan: &Plan, seconds: u64, progress: &Path) -> Result<Ended> {
    let progress = File::create(progress).context("the progress file cannot be made")?;
    panic::set_hook(Box::new(|info| {
        if let Ok(mut message) = PANIC.lock() {
            *message = info.to_string();
        }
    }));
    let start = Instant::now();
    let (mut accepted, mut peak_bytes) = (0, 0);
    for number in 0.. {
        let over = plan.file(number).is_none() && start.elapsed() >= Duration::from_secs(seconds);
        let Some(input) = plan.input(number).filter(|_| !over) else {
            return Ok(Ended::Well { inputs: number, accepted, peak_bytes });
        };
        progress.write_all_at(&number.to_le_bytes(), 0).context("the progress file cannot be written")?;
        match one(target, &input) {
            Ok((Ok(()), peak)) => {
                accepted += 1;
                peak_bytes = peak_bytes.max(peak);
            }
            Ok((Err(refusal), _)) if plan.must_accept(number) => {
                return Ok(Ended::Broken { number, problem: format!("a valid file was refused: {refusal}") });
            }
            Ok((Err(_), peak)) => peak_bytes = peak_bytes.max(peak),
            Err(problem) => return Ok(Ended::Broken { number, problem }),
        }
    }
    unreachable!("there are more numbers than a run has time for")
}

/// Gives one input to the target: what it said and the most bytes it held, or how it broke.
fn one(target: Target, input: &[u8]) -> Result<(Result<(), String>, usize), String> {
    let work = || panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let (result, peak) = allocation::peak_of(HELD_BYTES_LIMIT, work);
    let said =
        result.map_err(|_| PANIC.lock().map_or_else(|_| "panicked".to_owned(), |message| message.clone()))?;
    let allowed = target.held_bytes_base + HELD_BYTES_PER_BYTE * input.len();
    if peak > allowed {
        return Err(format!(
            "held {peak} bytes for an input of {}; at most {allowed} are allowed",
            input.len()
        ));
    }
    Ok((said, peak))
}
