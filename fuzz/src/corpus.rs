//! The files of a target: valid ones, mended failures, and the folder for new failures.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::target::Target;

/// One file, with its path for messages.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What it holds.
    pub(crate) bytes: Vec<u8>,
}

fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(target)
}

/// Valid files of a target: those it makes itself, then those of its folder in order of their names.
///
/// # Errors
/// When there is none.
pub(crate) fn valid(target: Target) -> Result<Vec<File>> {
    let mut files = Vec::new();
    if let Some(make) = target.make {
        files.push(File { path: PathBuf::from("(made by the target)"), bytes: make() });
    }
    files.extend(read(&folder("corpus", target.name))?);
    if files.is_empty() {
        bail!("fuzz/corpus/{} has no file: put at least one valid one there", target.name);
    }
    Ok(files)
}

/// Files that once broke a target.
///
/// # Errors
/// When one cannot be read.
pub(crate) fn regressions(target: &str) -> Result<Vec<File>> {
    read(&folder("regressions", target))
}

fn read(folder: &Path) -> Result<Vec<File>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("{}: listing failed", folder.display()))? {
        paths.push(entry?.path());
    }
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let bytes = fs::read(&path).with_context(|| format!("{}: reading failed", path.display()))?;
            Ok(File { path, bytes })
        })
        .collect()
}

/// Keeps an input that broke a target, named after its hash.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn keep_failure(target: &str, bytes: &[u8]) -> Result<PathBuf> {
    let folder = folder("failures", target);
    fs::create_dir_all(&folder).with_context(|| format!("{}: making the folder failed", folder.display()))?;
    let hash = Sha256::digest(bytes);
    let name: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let path = folder.join(name);
    fs::write(&path, bytes).with_context(|| format!("{}: writing failed", path.display()))?;
    Ok(path)
}
