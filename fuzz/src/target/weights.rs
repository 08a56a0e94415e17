//! Files of numbers: weights, their index, and checkpoints of a training run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use candle_core::{DType, Device, Var};
use loyal_model::adamw::{AdamW, Settings};
use loyal_model::{Weights, checkpoint, weights};

use super::{FOLDER, HELD_BYTES_BASE, Target, file, nowhere};

pub(super) const SAFETENSORS: Target = Target {
    name: "safetensors",
    run: safetensors,
    dictionary: SAFETENSORS_WORDS,
    mend: Some(mend_header),
    make: None,
    held_bytes_base: HELD_BYTES_BASE,
};

pub(super) const SAFETENSORS_INDEX: Target = Target {
    name: "safetensors_index",
    run: safetensors_index,
    dictionary: INDEX_WORDS,
    mend: None,
    make: None,
    held_bytes_base: HELD_BYTES_BASE,
};

pub(super) const CHECKPOINT: Target = Target {
    name: "checkpoint",
    run: restored,
    dictionary: SAFETENSORS_WORDS,
    mend: Some(mend_header),
    make: Some(made_checkpoint),
    held_bytes_base: HELD_BYTES_BASE,
};

const SAFETENSORS_WORDS: &[&str] = &[
    "\"dtype\":\"F32\"",
    "\"F32\"",
    "\"F16\"",
    "\"BF16\"",
    "\"I64\"",
    "\"U8\"",
    "\"shape\":[]",
    "\"data_offsets\":[0,0]",
    "\"__metadata__\"",
    "\"step\"",
    "\"job\"",
    "[18446744073709551615,2]",
];

const INDEX_WORDS: &[&str] = &[
    "\"weight_map\"",
    "\"metadata\"",
    "\"total_size\"",
    "\"shard.safetensors\"",
    "\"../shard.safetensors\"",
    "{}",
    "null",
];

const JOB: &str = "a job";

/// A safetensors file: its header, and every tensor of a file whose header passes.
fn safetensors(bytes: &[u8]) -> Result<(), String> {
    weights::check_bytes(bytes, nowhere()).map_err(|error| error.to_string())?;
    let path = file("weights.safetensors", bytes)?;
    read_all(&Weights::open_file(&path).map_err(|error| error.to_string())?)
}

/// Makes the length before the header say where the header ends.
fn mend_header(bytes: &mut [u8]) {
    let Some(end) = bytes.iter().rposition(|&byte| byte == b'}').filter(|&end| end >= 8) else { return };
    let length = end as u64 + 1 - 8;
    bytes[..8].copy_from_slice(&length.to_le_bytes());
}

/// The index of a sharded model, beside one good shard.
fn safetensors_index(bytes: &[u8]) -> Result<(), String> {
    if !FOLDER.path().join("shard.safetensors").exists() {
        file("shard.safetensors", include_bytes!("../../corpus/safetensors/mixed.safetensors"))?;
    }
    file("model.safetensors.index.json", bytes)?;
    read_all(&Weights::open(FOLDER.path()).map_err(|error| error.to_string())?)
}

fn read_all(weights: &Weights) -> Result<(), String> {
    weights.metadata().map_err(|error| error.to_string())?;
    for name in weights.names() {
        std::hint::black_box(weights.get(name).map(|view| view.to_f32()));
    }
    Ok(())
}

fn optimizer() -> AdamW {
    let variable =
        |shape: &[usize]| Var::zeros(shape, DType::F32, &Device::Cpu).expect("a small tensor can be made");
    let variables = BTreeMap::from([("a".to_owned(), variable(&[2, 3])), ("b".to_owned(), variable(&[4]))]);
    AdamW::new(variables, Settings::default())
}

fn made_checkpoint() -> Vec<u8> {
    let path = FOLDER.path().join("made");
    checkpoint::save(Path::new(&path), &optimizer(), JOB).expect("a checkpoint can be written");
    fs::read(path).expect("what was written can be read")
}

/// A checkpoint, put back into an optimizer.
fn restored(bytes: &[u8]) -> Result<(), String> {
    let path = file("checkpoint", bytes)?;
    checkpoint::restore(&path, &mut optimizer(), JOB).map_err(|error| error.to_string())?;
    Ok(())
}
