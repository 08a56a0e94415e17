//! `Cargo.lock`: how many packages, and where they come from.

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// The file.
#[derive(Debug, Deserialize)]
pub struct Lock {
    /// Every package, ours too.
    #[serde(rename = "package")]
    pub packages: Vec<Package>,
}

/// One package.
#[derive(Debug, Clone, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where it comes from; absent for ours.
    pub source: Option<String>,
}

impl Lock {
    /// Reads the file's text.
    ///
    /// # Errors
    /// When it is not a lock file.
    pub fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).context("Cargo.lock: not a lock file")
    }
}
