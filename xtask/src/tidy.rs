//! `cargo xtask tidy`: the rules of `tests/tidy.rs`, which are this crate's tests.

use anyhow::Result;

use crate::workspace::Workspace;

/// Runs the rules.
///
/// # Errors
/// When a file breaks one.
pub fn run(workspace: &Workspace) -> Result<()> {
    // A finding is a line of text; where in the rules it was found helps nobody.
    let arguments = ["test", "--quiet", "--locked", "--package", "xtask", "--test", "tidy"];
    workspace.cargo_with(&arguments, &[("RUST_BACKTRACE", "0")])
}
