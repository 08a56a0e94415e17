//! `cargo xtask fuzz`: builds and runs the fuzz targets of `fuzz/`.

use anyhow::Result;

use crate::workspace::Workspace;

/// Runs one target or, without a name, each in turn; the arguments are those of the runner.
///
/// # Errors
/// When a target fails; the runner has said with which input.
pub fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    let mut all = vec!["run", "--quiet", "--locked", "--package", "fuzz", "--"];
    all.extend(arguments.iter().map(String::as_str));
    workspace.cargo(&all)
}
