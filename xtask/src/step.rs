//! Steps of a long chore: each says what it does and how long it took; the end says where the minutes went.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::workspace::Workspace;

/// One step.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// A short name, for the table at the end.
    pub name: &'static str,
    /// What it does, shown before it starts.
    pub about: &'static str,
    /// Does it; an error is a failed step.
    pub run: fn(&Workspace) -> Result<Outcome>,
}

/// How a step ended, when it did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It looked and found nothing wrong.
    Passed,
    /// A real part is not installed here. With `CI=true` that is a failure.
    Missing {
        /// The part.
        what: String,
        /// How to install it.
        install: String,
    },
}

/// One row of the table at the end.
#[derive(Debug, Clone)]
pub struct Timing {
    /// The step's name.
    pub name: &'static str,
    /// "passed", "failed" or "missing".
    pub ended: &'static str,
    /// How long it took.
    pub took: Duration,
}

/// Runs every step, also after one failed, and prints the table and the closing line.
///
/// # Errors
/// When a step failed.
pub fn run(steps: &[Step], workspace: &Workspace) -> Result<()> {
    let mut timings = Vec::new();
    for step in steps {
        eprintln!("\n== {}: {}", step.name, step.about);
        let start = Instant::now();
        let ended = ending((step.run)(workspace), workspace.strict);
        let took = start.elapsed();
        eprintln!("== {} {ended} in {}", step.name, duration(took));
        timings.push(Timing { name: step.name, ended, took });
    }
    print!("{}", table(&timings));
    let failed = timings.iter().filter(|timing| timing.ended == "failed").count();
    if failed > 0 {
        bail!("{failed} of {} steps failed", timings.len());
    }
    Ok(())
}

fn ending(result: Result<Outcome>, strict: bool) -> &'static str {
    match result {
        Ok(Outcome::Passed) => "passed",
        Ok(Outcome::Missing { what, install }) => {
            eprintln!("{what} is missing; install it with: {install}");
            if strict { "failed" } else { "missing" }
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            "failed"
        }
    }
}

/// Where the minutes went, and the plain closing line `N passed, N failed`.
pub fn table(timings: &[Timing]) -> String {
    let all: Duration = timings.iter().map(|timing| timing.took).sum();
    let mut text = String::from("\nwhere the time went\n");
    for timing in timings {
        let percent = 100.0 * timing.took.as_secs_f64() / all.as_secs_f64().max(1e-9);
        let _ = writeln!(
            text,
            "  {:<14} {:>12} {percent:>4.0} %  {}",
            timing.name,
            duration(timing.took),
            timing.ended
        );
    }
    let _ = writeln!(text, "  {:<14} {:>12}", "all", duration(all));
    let count = |ended| timings.iter().filter(|timing| timing.ended == ended).count();
    if count("missing") > 0 {
        let _ = writeln!(
            text,
            "  {} missing: neither passed nor failed; see above for how to install",
            count("missing")
        );
    }
    let _ = writeln!(text, "\n{} passed, {} failed", count("passed"), count("failed"));
    text
}

fn duration(took: Duration) -> String {
    let seconds = took.as_secs();
    if seconds < 60 {
        format!("{:.1} s", took.as_secs_f64())
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}
