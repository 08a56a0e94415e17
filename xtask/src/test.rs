//! `cargo xtask test`: everything that must hold before a change lands, in the order of what fails fastest.

use anyhow::Result;

use crate::step::{self, Outcome, Step};
use crate::workspace::Workspace;
use crate::{browser, contracts, deny, fuzz, tidy};

/// Every step. Add one here when a new kind of check appears; nothing else needs to know.
pub const STEPS: &[Step] = &[
    Step { name: "format", about: "cargo fmt --all --check", run: format },
    Step { name: "tidy", about: "rows, words, file heads, generated files", run: tidy_rules },
    Step { name: "deny", about: "licences, bans and sources of every dependency", run: dependencies },
    Step { name: "lint", about: "cargo clippy --workspace --all-targets -- -D warnings", run: lint },
    Step { name: "build", about: "cargo test --workspace --no-run", run: build },
    Step { name: "browser", about: "Chromium, installed where it is missing", run: browser::step },
    Step { name: "test", about: "cargo test --workspace --lib --bins --tests --examples", run: tests },
    Step { name: "doc-test", about: "cargo test --workspace --doc", run: doc_tests },
    Step { name: "doc", about: "cargo doc --workspace --no-deps, warnings are errors", run: documentation },
    Step { name: "contracts", about: "Solidity: compile, compare the artifacts, test", run: contracts::step },
    Step { name: "fuzz", about: "some seconds of hostile bytes for every parser", run: hostile_bytes },
];

/// How long each fuzz target runs here; `cargo xtask fuzz --seconds N` for more.
const FUZZ_SECONDS: u64 = 4;

// xtask's own tests are the tidy step.
const TESTS: [&str; 9] =
    ["test", "--workspace", "--exclude", "xtask", "--locked", "--lib", "--bins", "--tests", "--examples"];

/// Runs every step and prints where the minutes went.
///
/// # Errors
/// When a step failed.
pub fn run(workspace: &Workspace) -> Result<()> {
    step::run(STEPS, workspace)
}

fn format(workspace: &Workspace) -> Result<Outcome> {
    if !workspace.has_cargo("fmt") {
        return Ok(missing("rustfmt"));
    }
    workspace.cargo(&["fmt", "--all", "--check"])?;
    Ok(Outcome::Passed)
}

fn lint(workspace: &Workspace) -> Result<Outcome> {
    if !workspace.has_cargo("clippy") {
        return Ok(missing("clippy"));
    }
    workspace.cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])?;
    Ok(Outcome::Passed)
}

fn missing(component: &str) -> Outcome {
    Outcome::Missing { what: component.to_owned(), install: format!("rustup component add {component}") }
}

fn tidy_rules(workspace: &Workspace) -> Result<Outcome> {
    tidy::run(workspace)?;
    Ok(Outcome::Passed)
}

fn dependencies(workspace: &Workspace) -> Result<Outcome> {
    deny::run(workspace)?;
    Ok(Outcome::Passed)
}

fn build(workspace: &Workspace) -> Result<Outcome> {
    workspace.cargo(&[&TESTS[..], &["--no-run"]].concat())?;
    Ok(Outcome::Passed)
}

fn tests(workspace: &Workspace) -> Result<Outcome> {
    workspace.cargo(&[&TESTS[..], &["--no-fail-fast"]].concat())?;
    Ok(Outcome::Passed)
}

fn doc_tests(workspace: &Workspace) -> Result<Outcome> {
    workspace.cargo(&["test", "--workspace", "--locked", "--doc", "--no-fail-fast"])?;
    Ok(Outcome::Passed)
}

fn documentation(workspace: &Workspace) -> Result<Outcome> {
    // `loyal` is a library and a binary of one name: the library's pages win, the binary has none of its own.
    let arguments = ["doc", "--workspace", "--no-deps", "--locked", "--lib"];
    workspace.cargo_with(&arguments, &[("RUSTDOCFLAGS", "-D warnings")])?;
    Ok(Outcome::Passed)
}

fn hostile_bytes(workspace: &Workspace) -> Result<Outcome> {
    fuzz::run(workspace, &["--seconds".to_owned(), FUZZ_SECONDS.to_string()])?;
    Ok(Outcome::Passed)
}
