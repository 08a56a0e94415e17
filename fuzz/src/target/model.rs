//! Files of a model folder.

use std::fs;
use std::sync::LazyLock;

use loyal_model::{Config, Tokenizer, Weights, weights};
use tempfile::TempDir;

use super::nowhere;

pub(super) const CONFIG_WORDS: &[&str] = &[
    "\"architectures\"",
    "\"LlamaForCausalLM\"",
    "\"Qwen2ForCausalLM\"",
    "\"Qwen3ForCausalLM\"",
    "\"hidden_size\"",
    "\"intermediate_size\"",
    "\"num_hidden_layers\"",
    "\"num_attention_heads\"",
    "\"num_key_value_heads\"",
    "\"head_dim\"",
    "\"vocab_size\"",
    "\"max_position_embeddings\"",
    "\"rope_theta\"",
    "\"rope_scaling\"",
    "\"rope_type\"",
    "\"llama3\"",
    "\"linear\"",
    "\"factor\"",
    "\"eos_token_id\"",
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
];

pub(super) const SAFETENSORS_WORDS: &[&str] = &[
    "\"dtype\":\"F32\"",
    "\"F32\"",
    "\"F16\"",
    "\"BF16\"",
    "\"I64\"",
    "\"U8\"",
    "\"shape\":[]",
    "\"data_offsets\":[0,0]",
    "\"__metadata__\"",
    "[18446744073709551615,2]",
];

pub(super) const INDEX_WORDS: &[&str] = &[
    "\"weight_map\"",
    "\"metadata\"",
    "\"total_size\"",
    "\"model.safetensors\"",
    "\"../model.safetensors\"",
    "{}",
    "null",
];

pub(super) const TOKENIZER_WORDS: &[&str] = &[
    "\"model\"",
    "\"type\"",
    "\"BPE\"",
    "\"Unigram\"",
    "\"WordPiece\"",
    "\"vocab\"",
    "\"merges\"",
    "\"added_tokens\"",
    "\"normalizer\"",
    "\"pre_tokenizer\"",
    "\"post_processor\"",
    "\"decoder\"",
    "\"ByteLevel\"",
    "\"Metaspace\"",
    "\"ByteFallback\"",
    "\"Replace\"",
    "\"Split\"",
    "\"Regex\"",
    "\"(a+)+$\"",
    "\"Sequence\"",
    "\"special\"",
    "\"byte_fallback\"",
    "\"unk_token\"",
    "null",
    "true",
];

/// `config.json`, and what a reader of it derives: the list of tensors and the size.
pub(super) fn config_json(bytes: &[u8]) -> Result<(), String> {
    let value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let config = Config::parse(&value, nowhere()).map_err(|error| error.to_string())?;
    std::hint::black_box((config.parameter_count(), config.rope_frequencies()));
    let written = config.to_json("float32");
    let again =
        Config::parse(&written, nowhere()).map_err(|error| format!("written but not read: {error}"))?;
    assert_eq!(config, again, "a configuration must survive being written and read");
    Ok(())
}

/// A safetensors file: its header, and every tensor of a file whose header passes.
pub(super) fn safetensors(bytes: &[u8]) -> Result<(), String> {
    weights::check_bytes(bytes, nowhere()).map_err(|error| error.to_string())?;
    write("model.safetensors", bytes)?;
    read_all()
}

/// Makes the length before the header say where the header ends.
pub(super) fn mend_safetensors(bytes: &mut [u8]) {
    let Some(end) = bytes.iter().rposition(|&byte| byte == b'}').filter(|&end| end >= 8) else { return };
    let length = end as u64 + 1 - 8;
    bytes[..8].copy_from_slice(&length.to_le_bytes());
}

/// The index of a sharded model, beside one good shard.
pub(super) fn safetensors_index(bytes: &[u8]) -> Result<(), String> {
    let shard = FOLDER.path().join("shard.safetensors");
    if !shard.exists() {
        fs::write(shard, include_bytes!("../../corpus/safetensors/mixed.safetensors"))
            .map_err(|e| e.to_string())?;
    }
    write("model.safetensors.index.json", bytes)?;
    read_all()
}

/// `tokenizer.json`, and a text there and back through the tokenizer it makes.
pub(super) fn tokenizer_json(bytes: &[u8]) -> Result<(), String> {
    let tokenizer = Tokenizer::parse(bytes, nowhere()).map_err(|error| error.to_string())?;
    let tokens =
        tokenizer.encode("Once upon a time, there was a café.").map_err(|error| error.to_string())?;
    tokenizer.decode(&tokens).map_err(|error| error.to_string())?;
    Ok(())
}

/// Where inputs stand that are read as files; the worker's parent removes it.
static FOLDER: LazyLock<TempDir> =
    LazyLock::new(|| tempfile::tempdir().expect("a temporary folder can be made"));

fn read_all() -> Result<(), String> {
    let weights = Weights::open(FOLDER.path()).map_err(|error| error.to_string())?;
    for name in weights.names() {
        std::hint::black_box(weights.get(name).map(|view| view.to_f32()));
    }
    Ok(())
}

fn write(name: &str, bytes: &[u8]) -> Result<(), String> {
    fs::write(FOLDER.path().join(name), bytes).map_err(|error| error.to_string())
}
