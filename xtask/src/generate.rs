//! Generated files: which there are, what each must hold, and writing them anew.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::finding::Finding;
use crate::workspace::Workspace;

/// A file that a program writes and git keeps.
#[derive(Debug, Clone, Copy)]
pub struct Generated {
    /// The file, relative to the root.
    pub path: &'static str,
    /// A file that must be there before it can be made: its generator's source.
    pub source: &'static str,
    /// Makes its content.
    pub make: fn(&Workspace) -> Result<Vec<u8>>,
}

/// Every generated file.
pub const GENERATED: &[Generated] = &[
    Generated { path: "docs/cli.md", source: "crates/loyal/src/manual.rs", make: command_line },
    Generated {
        path: "crates/loyal-protocol/artifacts/reasons.txt",
        source: "contracts/src/Gate.sol",
        make: reasons,
    },
];

/// The sentences that stand at the errors of the contracts, one line for each: name, tab, sentence.
fn reasons(workspace: &Workspace) -> Result<Vec<u8>> {
    let mut lines = Vec::new();
    for folder in ["contracts/src", "contracts/src/examiners", "contracts/src/libraries"] {
        for entry in fs::read_dir(workspace.root.join(folder))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "sol") {
                let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
                lines.extend(reasons_of(&text));
            }
        }
    }
    lines.sort();
    lines.dedup();
    Ok(lines.concat().into_bytes())
}

/// The errors of one source. Errors below each other share the sentence above the first.
fn reasons_of(source: &str) -> Vec<String> {
    let (mut lines, mut says) = (Vec::new(), String::new());
    let mut open = false;
    for line in source.lines().map(str::trim) {
        if let Some(begin) = line.strip_prefix("/// @dev ") {
            (says, open) = (begin.to_owned(), true);
        } else if let Some(more) = line.strip_prefix("/// ").filter(|_| open) {
            says = format!("{says} {more}");
        } else if let Some((name, _)) = line.strip_prefix("error ").and_then(|rest| rest.split_once('(')) {
            let mut letters = says.trim_end_matches('.').chars();
            let first = letters.next().map(|letter| letter.to_lowercase().to_string()).unwrap_or_default();
            if !first.is_empty() {
                lines.push(format!("{name}\t{first}{}\n", letters.as_str()));
            }
            open = false;
        } else {
            (says, open) = (String::new(), false);
        }
    }
    lines
}

/// The manual of the command line, written by the command itself.
fn command_line(workspace: &Workspace) -> Result<Vec<u8>> {
    let program = workspace.built("loyal")?;
    let output = Command::new(&program).arg("manual").output();
    let output = output.with_context(|| format!("{} could not be started", program.display()))?;
    ensure!(output.status.success(), "`loyal manual`: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(output.stdout)
}

/// Files that are not what their generator makes.
///
/// # Errors
/// When a generator fails.
pub fn findings(workspace: &Workspace, generated: &[Generated]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for file in generated.iter().filter(|file| workspace.root.join(file.source).is_file()) {
        let wanted = (file.make)(workspace).with_context(|| format!("making {} failed", file.path))?;
        if fs::read(workspace.root.join(file.path)).ok().as_ref() != Some(&wanted) {
            findings.push(Finding::new(
                file.path,
                0,
                "not what its generator makes; run `cargo xtask generate`",
            ));
        }
    }
    Ok(findings)
}

/// Writes every generated file whose generator exists.
///
/// # Errors
/// When a generator fails or a file cannot be written.
pub fn run(workspace: &Workspace) -> Result<()> {
    for file in GENERATED {
        if !workspace.root.join(file.source).is_file() {
            eprintln!("{}: not made, {} is not there yet", file.path, file.source);
            continue;
        }
        let content = (file.make)(workspace).with_context(|| format!("making {} failed", file.path))?;
        fs::write(workspace.root.join(file.path), content)
            .with_context(|| format!("{}: writing failed", file.path))?;
        eprintln!("{}: written", file.path);
    }
    Ok(())
}
