//! The runner's arguments.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::target::{self, TARGETS, Target};

/// What to run, and for how long.
#[derive(Debug, Clone)]
pub(crate) struct Args {
    /// Names of targets; empty for all.
    names: Vec<String>,
    /// How long each target runs.
    pub(crate) seconds: u64,
    /// From which inputs are made.
    pub(crate) seed: u64,
    /// One file alone.
    pub(crate) input: Option<PathBuf>,
    /// Be the worker, and write progress here.
    pub(crate) worker: Option<PathBuf>,
}

impl Args {
    /// Reads them.
    ///
    /// # Errors
    /// When one is unknown or lacks its value.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut args = Self { names: Vec::new(), seconds: 10, seed: 1, input: None, worker: None };
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match word.as_str() {
                "--seconds" => args.seconds = value()?.parse().context("--seconds needs a number")?,
                "--seed" => args.seed = value()?.parse().context("--seed needs a number")?,
                "--input" => args.input = Some(value()?.into()),
                "--worker" => args.worker = Some(value()?.into()),
                option if option.starts_with('-') => {
                    bail!("{option} is unknown; there are --seconds N, --seed N and --input FILE")
                }
                name => args.names.push(name.to_owned()),
            }
        }
        if args.input.is_some() && args.names.len() != 1 {
            bail!("--input needs the name of one target");
        }
        Ok(args)
    }

    /// The targets they name, or all.
    ///
    /// # Errors
    /// When there is no such target.
    pub(crate) fn targets(&self) -> Result<Vec<Target>> {
        if self.names.is_empty() {
            return Ok(TARGETS.to_vec());
        }
        let all = || TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(", ");
        self.names
            .iter()
            .map(|name| {
                target::named(name)
                    .with_context(|| format!("no target is called {name}; there are {}", all()))
            })
            .collect()
    }
}
