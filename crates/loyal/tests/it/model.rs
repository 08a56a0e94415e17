//! A model of some thousand random weights, written as a folder.

use std::fs;
use std::path::Path;

use loyal_model::config::{Architecture, RopeScaling};
use loyal_model::weights::{Named, Stored, save};
use loyal_model::{Config, Tokenizer};
use serde_json::json;

pub(crate) const CONTEXT: usize = 64;
const TEXT: &str = "the cat saw the dog and the dog saw the cat near the river under the tree";

/// What can be different.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) context: usize,
    pub(crate) vocabulary: usize,
    pub(crate) seed: u64,
}

impl Default for Shape {
    fn default() -> Self {
        Self { context: CONTEXT, vocabulary: 270, seed: 1 }
    }
}

/// Writes it into `folder`.
pub(crate) fn write(folder: &Path, shape: Shape) {
    fs::create_dir_all(folder).unwrap();
    let tokenizer = Tokenizer::train(&mut std::iter::once(TEXT.to_owned()), shape.vocabulary).unwrap();
    fs::write(folder.join("tokenizer.json"), &tokenizer).unwrap();
    let config =
        config(Tokenizer::parse(&tokenizer, Path::new("tokenizer.json")).unwrap().len(), shape.context);
    fs::write(folder.join("config.json"), config.to_json("float32").to_string()).unwrap();
    fs::write(folder.join("tokenizer_config.json"), json!({"eos_token": "<|endoftext|>"}).to_string())
        .unwrap();
    let mut state = shape.seed;
    let parameters: Vec<(String, Vec<usize>, Vec<f32>)> = config
        .parameters()
        .into_iter()
        .map(|(name, sizes)| {
            let count: usize = sizes.iter().product();
            let numbers =
                (0..count).map(|_| if sizes.len() == 1 { 1.0 } else { number(&mut state) }).collect();
            (name, sizes, numbers)
        })
        .collect();
    let named: Vec<Named<'_>> =
        parameters.iter().map(|(name, shape, numbers)| Named { name, shape, numbers }).collect();
    save(&folder.join("model.safetensors"), &named, Stored::F32).unwrap();
}

/// Numbers between -1/2 and 1/2 (splitmix64).
fn number(state: &mut u64) -> f32 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1 << 24) as f32 - 0.5
}

fn config(vocab_size: usize, context_tokens: usize) -> Config {
    Config {
        architecture: Architecture::Llama,
        hidden_size: 16,
        intermediate_size: 32,
        layer_count: 2,
        head_count: 4,
        kv_head_count: 2,
        head_size: 4,
        vocab_size,
        context_tokens,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        tied: true,
        attention_bias: false,
        bos_token: Some(0),
        eos_tokens: vec![0],
    }
}
