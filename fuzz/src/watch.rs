//! The parent of a worker: sees it end, crash or hang, and keeps the input that did it.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::args::Args;
use crate::corpus;
use crate::plan::Plan;
use crate::target::Target;
use crate::worker::Ended;

/// The longest one input may take.
const INPUT_TIME_MAX: Duration = Duration::from_secs(10);

/// A panic may quote its input; more of it than this helps nobody.
const PROBLEM_CHARS_MAX: usize = 400;

/// Runs a target in a worker and says how it went.
///
/// # Errors
/// When an input broke the target.
pub(crate) fn run(target: Target, args: &Args) -> Result<()> {
    let plan = Plan::new(target, args.seed, args.input.as_ref())?;
    let folder = tempfile::tempdir().context("a temporary folder cannot be made")?;
    let progress = folder.path().join("progress");
    let mut child = start(target, args, &progress)?;
    let crashed = watch(&mut child, &progress)?;
    let mut said = String::new();
    child.stdout.take().context("the worker's output is piped")?.read_to_string(&mut said)?;
    let ended = match (crashed, parse(&said)) {
        (None, Some(ended)) => ended,
        (problem, _) => Ended::Broken {
            number: read_progress(&progress).context("the worker ended before its first input")?,
            problem: problem.unwrap_or_else(|| format!("the worker ended and said: {said}")),
        },
    };
    match ended {
        Ended::Well { inputs, accepted, peak_bytes } => {
            let (seed, peak) = (args.seed, peak_bytes as f64 / f64::from(1 << 20));
            println!(
                "{:<20} seed {seed}: {inputs} inputs, {accepted} accepted, at most {peak:.1} MiB held",
                target.name
            );
            Ok(())
        }
        Ended::Broken { number, problem } => broken(target, &plan, args.seed, number, &problem),
    }
}

fn broken(target: Target, plan: &Plan, seed: u64, number: u64, problem: &str) -> Result<()> {
    let input = plan.input(number).context("the worker broke at an input that is none")?;
    let problem: String = problem.chars().take(PROBLEM_CHARS_MAX).collect();
    let path = match plan.file(number) {
        Some(file) => file.path.clone(),
        None => corpus::keep_failure(target.name, &input)?,
    };
    bail!(
        "{}: seed {seed}, input {number}, {} bytes, kept in {}\n  {problem}\n  again: cargo xtask fuzz {} --input {}",
        target.name,
        input.len(),
        path.display(),
        target.name,
        path.display()
    )
}

fn start(target: Target, args: &Args, progress: &Path) -> Result<Child> {
    let program = std::env::current_exe().context("this program cannot be found")?;
    let mut command = Command::new(program);
    command.arg(target.name).args(["--seconds", &args.seconds.to_string(), "--seed", &args.seed.to_string()]);
    if let Some(input) = &args.input {
        command.arg("--input").arg(input);
    }
    // What the worker leaves behind goes with this folder, also when it crashes.
    command.env("TMPDIR", progress.parent().context("progress lies in a folder")?);
    command.arg("--worker").arg(progress).stdin(Stdio::null()).stdout(Stdio::piped());
    command.spawn().context("the worker cannot be started")
}

/// Waits for the worker; says what happened when it did not end by itself.
fn watch(child: &mut Child, progress: &Path) -> Result<Option<String>> {
    let mut seen = (None, Instant::now());
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((!status.success()).then(|| format!("the worker crashed: {status}")));
        }
        let number = read_progress(progress);
        if number != seen.0 {
            seen = (number, Instant::now());
        } else if number.is_some() && seen.1.elapsed() > INPUT_TIME_MAX {
            child.kill()?;
            child.wait()?;
            return Ok(Some(format!("still running after {} s", INPUT_TIME_MAX.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn read_progress(path: &Path) -> Option<u64> {
    Some(u64::from_le_bytes(fs::read(path).ok()?.try_into().ok()?))
}

/// What the worker writes as its last line.
pub(crate) fn format(ended: &Ended) -> String {
    match ended {
        Ended::Well { inputs, accepted, peak_bytes } => format!("well {inputs} {accepted} {peak_bytes}"),
        Ended::Broken { number, problem } => format!("broken {number} {problem}"),
    }
}

fn parse(line: &str) -> Option<Ended> {
    let mut words = line.trim_end().splitn(4, ' ');
    match words.next()? {
        "well" => Some(Ended::Well {
            inputs: words.next()?.parse().ok()?,
            accepted: words.next()?.parse().ok()?,
            peak_bytes: words.next()?.parse().ok()?,
        }),
        "broken" => {
            let (number, problem) = line.trim_end().strip_prefix("broken ")?.split_once(' ')?;
            Some(Ended::Broken { number: number.parse().ok()?, problem: problem.to_owned() })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Ended, format, parse};

    #[test]
    fn what_a_worker_says_is_understood() {
        let well = Ended::Well { inputs: 3, accepted: 2, peak_bytes: 100 };
        let broken =
            Ended::Broken { number: 7, problem: "panicked at a.rs:1:\nindex out of bounds".to_owned() };
        for ended in [well, broken] {
            assert_eq!(parse(&format(&ended)), Some(ended));
        }
        assert_eq!(parse("well 3"), None);
        assert_eq!(parse(""), None);
    }
}
