//! A model folder, opened for answering.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use loyal_model::{Config, Decoder, Precision, Tokenizer};

use crate::shipped;

/// How weights are kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kept {
    /// As precise as the file.
    F32,
    /// 16 bits a number.
    Bf16,
    /// 8-bit integers: faster, nearly the same answers.
    Int8,
    /// 4-bit integers: smallest, answers differ.
    Int4,
}

impl From<Kept> for Precision {
    fn from(kept: Kept) -> Self {
        match kept {
            Kept::F32 => Self::F32,
            Kept::Bf16 => Self::Bf16,
            Kept::Int8 => Self::Int8,
            Kept::Int4 => Self::Int4,
        }
    }
}

/// A model that can be asked.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Where it lies.
    pub(crate) folder: PathBuf,
    /// What answers.
    pub(crate) decoder: Decoder,
    /// What reads and spells.
    pub(crate) tokenizer: Tokenizer,
}

impl Opened {
    /// Opens the model in `folder`, or the default model.
    ///
    /// # Errors
    /// A file is missing, malformed or does not fit the others; it is named.
    pub(crate) fn open(folder: Option<&Path>, kept: Kept) -> anyhow::Result<Self> {
        let folder = shipped::folder(folder)?;
        check_is_folder(&folder)?;
        let tokenizer = Tokenizer::read(&folder, &Config::read(&folder)?)?;
        Ok(Self { decoder: Decoder::open(&folder, kept.into())?, tokenizer, folder })
    }
}

/// Says that there is no such folder, before a file in it is looked for.
pub(crate) fn check_is_folder(folder: &Path) -> anyhow::Result<()> {
    let what = "a model's folder holds config.json, tokenizer.json and model.safetensors";
    if folder.is_dir() {
        return Ok(());
    }
    let shown = folder.display();
    if folder.exists() {
        anyhow::bail!("{shown}: not a folder; {what}: give the folder itself");
    }
    anyhow::bail!("{shown}: no such folder; {what}: check the path, or get a model with `loyal model pull`")
}
