//! What a run of one target looks at, in order: its files as they are, then inputs made from them. One number says
//! which input is meant, to the worker and to its parent alike.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::corpus::{self, File};
use crate::mutate::{self, Material};
use crate::target::Target;

/// The inputs of one target.
#[derive(Debug)]
pub(crate) struct Plan {
    target: Target,
    seed: u64,
    files: Vec<File>,
    valid: Vec<Vec<u8>>,
}

impl Plan {
    /// A target's files, then inputs made from `seed`; or one file alone.
    ///
    /// # Errors
    /// When a file cannot be read or the target has no corpus.
    pub(crate) fn new(target: Target, seed: u64, only: Option<&PathBuf>) -> Result<Self> {
        let mut plan = Self { target, seed, files: Vec::new(), valid: Vec::new() };
        if let Some(path) = only {
            let bytes = fs::read(path).with_context(|| format!("{}: reading failed", path.display()))?;
            plan.files.push(File { path: path.clone(), bytes });
            return Ok(plan);
        }
        plan.files = corpus::valid(target)?;
        plan.valid = plan.files.iter().map(|file| file.bytes.clone()).collect();
        plan.files.extend(corpus::regressions(target.name)?);
        Ok(plan)
    }

    /// Input `number`, or `None` past the last one; made inputs never end.
    pub(crate) fn input(&self, number: u64) -> Option<Vec<u8>> {
        if let Some(file) = self.file(number) {
            return Some(file.bytes.clone());
        }
        if self.valid.is_empty() {
            return None;
        }
        let Target { dictionary, mend, .. } = self.target;
        let material = Material { corpus: &self.valid, dictionary, mend };
        Some(mutate::input(material, self.seed, number - self.files.len() as u64))
    }

    /// The file that input `number` is, if it is one.
    pub(crate) fn file(&self, number: u64) -> Option<&File> {
        self.files.get(usize::try_from(number).ok()?)
    }

    /// Whether the target has to accept input `number`.
    pub(crate) fn must_accept(&self, number: u64) -> bool {
        number < self.valid.len() as u64
    }
}
