//! `cargo xtask fuzz`: builds and runs the fuzz targets of `fuzz/`.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::workspace::Workspace;

/// Runs one target or, without a name, each in turn; the arguments are those of the runner.
///
/// # Errors
/// When a target fails; the runner has said with which input.
pub fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    let runner = workspace.built("fuzz")?;
    let status = Command::new(&runner).args(arguments).current_dir(&workspace.root).status();
    let status = status.with_context(|| format!("{} could not be started", runner.display()))?;
    ensure!(status.success(), "fuzzing ended with {status}");
    Ok(())
}
