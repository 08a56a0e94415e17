#![doc = include_str!("../README.md")]
#![allow(clippy::disallowed_methods, reason = "a chore reads the clock")]
#![allow(clippy::panic_in_result_fn, reason = "a panic is how a target says that a parser broke its word")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a chore talks to the terminal")]

mod allocation;
mod args;
mod corpus;
mod mutate;
mod plan;
mod target;
mod watch;
mod worker;

use std::process::ExitCode;

use anyhow::Result;

use args::Args;
use plan::Plan;

#[global_allocator]
static ALLOCATOR: allocation::Counting = allocation::Counting;

fn main() -> ExitCode {
    match run() {
        Ok(failed) if failed.is_empty() => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!("failed: {}", failed.join(", "));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs what the arguments name; the names of the targets that failed come back.
fn run() -> Result<Vec<&'static str>> {
    let args = Args::parse(std::env::args().skip(1))?;
    let targets = args.targets()?;
    if let (Some(progress), [target]) = (&args.worker, &targets[..]) {
        let plan = Plan::new(*target, args.seed, args.input.as_ref())?;
        let ended = worker::run(*target, &plan, args.seconds, progress)?;
        println!("{}", watch::format(&ended));
        return Ok(Vec::new());
    }
    let mut failed = Vec::new();
    for target in targets {
        if let Err(error) = watch::run(target, &args) {
            eprintln!("{error:#}");
            failed.push(target.name);
        }
    }
    Ok(failed)
}
