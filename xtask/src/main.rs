//! Chores of the repository: `cargo xtask <name>`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "chores talk to the terminal")]

use std::process::ExitCode;

use anyhow::{Result, bail};
use xtask::{Workspace, browser, contracts, deny, fuzz, generate, test, tidy};

/// One chore: its name, its arguments, what it is for, and the function that does it.
type Chore = (&'static str, &'static str, &'static str, fn(&Workspace, &[String]) -> Result<()>);

const CHORES: &[Chore] = &[
    ("test", "", "everything that must hold before a change lands", |workspace, _| test::run(workspace)),
    ("tidy", "", "rows, words, file heads, generated files", |workspace, _| tidy::run(workspace)),
    ("deny", "", "licences, bans and sources of every dependency", |workspace, _| deny::run(workspace)),
    ("fuzz", "[target] [--seconds N] [--seed N]", "hostile bytes for every parser of ours", fuzz::run),
    ("contracts", "[--write] [--long]", "the Solidity: compile, compare the artifacts, test", contracts::run),
    ("browser", "", "a Chromium for the tests, from the packages of this system", browser::run),
    ("generate", "", "writes the generated files anew", |workspace, _| generate::run(workspace)),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let Some((name, rest)) =
        arguments.split_first().filter(|(name, _)| !["help", "--help", "-h"].contains(&name.as_str()))
    else {
        println!("cargo xtask <chore>\n");
        for (name, arguments, about, _) in CHORES {
            println!("  {:<46} {about}", format!("{name} {arguments}"));
        }
        return Ok(());
    };
    let Some((_, usage, _, run)) = CHORES.iter().find(|(chore, ..)| chore == name) else {
        bail!("no chore is called {name}; `cargo xtask` lists them");
    };
    if usage.is_empty() && !rest.is_empty() {
        bail!("{name} takes no arguments, but got: {}", rest.join(" "));
    }
    run(&Workspace::here()?, rest)
}
