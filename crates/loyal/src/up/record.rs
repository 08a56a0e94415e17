//! What `loyal up` made in its folder, as a file: with it, a second start makes nothing anew.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use alloy_primitives::Address;
use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

const FORMAT: &str = "loyal-up";
const VERSION: u32 = 1;
const FILE: &str = "up.json";

/// What was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    format: String,
    version: u32,
    /// On which chain.
    pub(super) chain_id: u64,
    /// Its contracts.
    pub(super) registry: Address,
    /// The model's number.
    pub(super) model: u64,
    /// The hosting's.
    pub(super) hosting: u64,
    /// What the model is called.
    pub(super) name: String,
    /// The folder whose root is registered.
    pub(super) weights: PathBuf,
}

impl Record {
    pub(super) fn new(
        (chain_id, registry): (u64, Address),
        (model, hosting): (u64, u64),
        name: &str,
        weights: &Path,
    ) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            chain_id,
            registry,
            model,
            hosting,
            name: name.to_owned(),
            weights: weights.to_owned(),
        }
    }

    /// The record of a folder, where something was finished there.
    pub(super) fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        let path = folder.join(FILE);
        let shown = path.display();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| shown.to_string()),
        };
        let found: Self = serde_json::from_str(&text)
            .with_context(|| format!("{shown}: not what `loyal up` writes; name another --folder"))?;
        ensure!(
            found.format == FORMAT && found.version == VERSION,
            "{shown}: {:?} of version {}, not {FORMAT:?} of version {VERSION}",
            found.format,
            found.version
        );
        Ok(Some(found))
    }

    /// Writes it, whole or not at all.
    pub(super) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let path = folder.join(FILE);
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            file.write_all(b"\n")?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        write().with_context(|| format!("{}: writing failed", path.display()))
    }
}
