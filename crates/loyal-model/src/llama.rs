//! The Llama family as differentiable functions of its parameters.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::config::{Architecture, Config};
use crate::error::{Error, Result};
use crate::ops::{self, Heads, Rotary};
use crate::weights::{Named, Stored, Weights, save, write_atomically};

/// Parameters by Hugging Face name, f32. Any of them may be a variable or an expression of variables, so
/// adapters, merges and quantised copies are just other maps.
pub type Parameters = BTreeMap<String, Tensor>;

/// Called with the name of each linear layer's weight and the rows that enter it (rows × inputs).
pub type Observer<'a> = &'a mut dyn FnMut(&str, &Tensor) -> Result<()>;

/// A batch of equally long token sequences.
#[derive(Debug, Clone)]
pub struct Batch {
    tokens: Arc<Vec<u32>>,
    length: usize,
}

impl Batch {
    /// Sequences one after another, each of `length` tokens.
    ///
    /// # Errors
    /// The tokens do not split into whole sequences.
    pub fn new(tokens: Vec<u32>, length: usize) -> Result<Self> {
        if length == 0 || tokens.is_empty() || !tokens.len().is_multiple_of(length) {
            return Err(Error::Argument {
                name: "batch",
                problem: format!("{} tokens do not split into sequences of {length}", tokens.len()),
                remedy: "pass whole sequences".to_owned(),
            });
        }
        Ok(Self { tokens: Arc::new(tokens), length })
    }

    /// All tokens, sequence after sequence.
    #[must_use]
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Tokens of one sequence.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length
    }

    /// Sequences.
    #[must_use]
    pub fn count(&self) -> usize {
        self.tokens.len() / self.length
    }
}

/// A model that can be trained: its shape, its parameters and where they live.
#[derive(Debug, Clone)]
pub struct Llama {
    /// The shape.
    pub config: Config,
    /// The parameters.
    pub parameters: Parameters,
    device: Device,
    rotary: Rotary,
}

impl Llama {
    /// A model with the given parameters.
    ///
    /// # Errors
    /// A parameter is absent or has the wrong shape.
    pub fn new(config: Config, parameters: Parameters, device: &Device) -> Result<Self> {
        for (name, shape) in config.parameters() {
            let found = parameters.get(&name).map(|tensor| tensor.dims().to_vec());
            if found.as_ref() != Some(&shape) {
                return Err(Error::Mismatch {
                    path: "parameters".into(),
                    name,
                    expected: format!("shape {shape:?}"),
                    found: found.map_or_else(|| "nothing".to_owned(), |found| format!("shape {found:?}")),
                });
            }
        }
        // Longer sequences are never trained in one piece.
        let rotary = Rotary::new(&config.rope_frequencies(), config.context_tokens.min(8192));
        Ok(Self { config, parameters, device: device.clone(), rotary })
    }

    /// A fresh model: matrices from a normal distribution of deviation 0.02 (projections into the residual
    /// stream divided by √(2·layers), as in GPT-2), norms 1, biases 0.
    ///
    /// # Errors
    /// The device refuses.
    pub fn random(config: Config, seed: u64, device: &Device) -> Result<Self> {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        let mut parameters = Parameters::new();
        for (name, shape) in config.parameters() {
            let count = shape.iter().product();
            let deviation = match name.as_str() {
                n if n.ends_with("o_proj.weight") || n.ends_with("down_proj.weight") => {
                    0.02 / (2.0 * config.layer_count as f32).sqrt()
                }
                _ => 0.02,
            };
            let numbers = match shape.len() {
                1 if name.ends_with("bias") => vec![0.0; count],
                1 => vec![1.0; count],
                _ => normal(&mut generator, count, deviation),
            };
            parameters.insert(name, Tensor::from_vec(numbers, shape, device)?);
        }
        Self::new(config, parameters, device)
    }

    /// Loads a Hugging Face folder into f32.
    ///
    /// # Errors
    /// A file is missing or malformed, or weights do not fit the configuration.
    pub fn load(folder: &Path, device: &Device) -> Result<Self> {
        let config = Config::read(folder)?;
        let weights = Weights::open(folder)?;
        let mut parameters = Parameters::new();
        for (name, shape) in config.parameters() {
            let numbers = weights.expect(&name, &shape)?.to_f32();
            parameters.insert(name, Tensor::from_vec(numbers, shape, device)?);
        }
        Self::new(config, parameters, device)
    }

    /// Writes `config.json`, `generation_config.json` and `model.safetensors` into `folder`, each whole or not
    /// at all, weights last. The tokenizer is the caller's to copy.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn save(&self, folder: &Path, stored: Stored) -> Result<()> {
        let text = pretty(&self.config.to_json(stored.name()));
        write_atomically(&folder.join("config.json"), |file| {
            std::io::Write::write_all(file, text.as_bytes())
        })?;
        let generation = pretty(&serde_json::json!({
            "bos_token_id": self.config.bos_token, "eos_token_id": self.config.to_json("")["eos_token_id"],
        }));
        let path = folder.join("generation_config.json");
        write_atomically(&path, |file| std::io::Write::write_all(file, generation.as_bytes()))?;
        let numbers = self.numbers()?;
        let shapes: BTreeMap<String, Vec<usize>> = self.config.parameters().into_iter().collect();
        let tensors: Vec<Named<'_>> =
            numbers.iter().map(|(name, numbers)| Named { name, shape: &shapes[name], numbers }).collect();
        save(&folder.join("model.safetensors"), &tensors, stored)
    }

    /// The parameters as plain numbers, row-major.
    ///
    /// # Errors
    /// The device refuses.
    pub fn numbers(&self) -> Result<BTreeMap<String, Vec<f32>>> {
        let read = |(name, tensor): (&String, &Tensor)| Ok((name.clone(), tensor.flatten_all()?.to_vec1()?));
        self.parameters.iter().map(read).collect()
    }

    /// Where the parameters live.
    #[must_use]
    pub const fn device(&self) -> &Device {
        &self.device
    }

    /// Hidden states after the final norm, (tokens × width), as a function of `parameters`.
    ///
    /// # Errors
    /// A token is outside the vocabulary or a sequence is longer than the context.
    pub fn hidden(&self, parameters: &Parameters, batch: &Batch) -> Result<Tensor> {
        self.observe(parameters, batch, &mut |_, _| Ok(()))
    }

    /// [`Llama::hidden`], showing `observer` what enters each linear layer.
    ///
    /// # Errors
    /// As [`Llama::hidden`], and what the observer returns.
    pub fn observe(&self, parameters: &Parameters, batch: &Batch, observer: Observer<'_>) -> Result<Tensor> {
        let mut x = self.embed(parameters, batch)?;
        for layer in 0..self.config.layer_count {
            x = self.block(parameters, layer, &x, (batch.count(), batch.length()), observer)?;
        }
        self.norm(parameters, &x)
    }

    /// Logits of every token, (tokens × vocabulary).
    ///
    /// # Errors
    /// As [`Llama::hidden`].
    pub fn logits(&self, parameters: &Parameters, batch: &Batch) -> Result<Tensor> {
        self.head(parameters, &self.hidden(parameters, batch)?)
    }

    /// Logits of rows of hidden states.
    ///
    /// # Errors
    /// The rows have another width.
    pub fn head(&self, parameters: &Parameters, hidden: &Tensor) -> Result<Tensor> {
        Ok(ops::linear(hidden, self.head_weight(parameters))?)
    }

    /// The output matrix, (vocabulary × width).
    #[must_use]
    pub fn head_weight<'a>(&self, parameters: &'a Parameters) -> &'a Tensor {
        &parameters[if self.config.tied { "model.embed_tokens.weight" } else { "lm_head.weight" }]
    }

    pub(crate) fn embed(&self, parameters: &Parameters, batch: &Batch) -> Result<Tensor> {
        if batch.length() > self.rotary.length() {
            return Err(Error::ContextOverflow {
                prompt_tokens: batch.length(),
                new_tokens: 0,
                context_tokens: self.rotary.length(),
            });
        }
        Ok(ops::embedding(&parameters["model.embed_tokens.weight"], &batch.tokens)?)
    }

    pub(crate) fn norm(&self, parameters: &Parameters, x: &Tensor) -> Result<Tensor> {
        Ok(ops::rms_norm(x, &parameters["model.norm.weight"], self.config.rms_norm_eps)?)
    }

    /// One transformer block over rows of (sequences × tokens).
    pub(crate) fn block(
        &self,
        parameters: &Parameters,
        layer: usize,
        x: &Tensor,
        (batch, length): (usize, usize),
        observer: Observer<'_>,
    ) -> Result<Tensor> {
        let mut at = Block { config: &self.config, parameters, layer, observer };
        let h = at.norm(x, "input_layernorm.weight")?;
        let (q, k) = (at.linear(&h, "self_attn.q_proj")?, at.linear(&h, "self_attn.k_proj")?);
        let v = at.linear(&h, "self_attn.v_proj")?;
        let (q, k) =
            (at.head_norm(q, "self_attn.q_norm.weight")?, at.head_norm(k, "self_attn.k_norm.weight")?);
        let (q, k) = (ops::rope(&q, &self.rotary, length)?, ops::rope(&k, &self.rotary, length)?);
        let heads = Heads {
            batch,
            length,
            query: self.config.head_count,
            key_value: self.config.kv_head_count,
            size: self.config.head_size,
        };
        let mixed = ops::causal_attention(&q, &k, &v, heads)?;
        let x = (x + at.linear(&mixed, "self_attn.o_proj")?)?;
        let h = at.norm(&x, "post_attention_layernorm.weight")?;
        let inner = ops::swiglu(&at.linear(&h, "mlp.gate_proj")?, &at.linear(&h, "mlp.up_proj")?)?;
        Ok((x + at.linear(&inner, "mlp.down_proj")?)?)
    }
}

/// The parameters of one transformer block.
struct Block<'a, 'b> {
    config: &'a Config,
    parameters: &'a Parameters,
    layer: usize,
    observer: Observer<'b>,
}

impl Block<'_, '_> {
    fn get(&self, name: &str) -> Option<&Tensor> {
        self.parameters.get(&format!("model.layers.{}.{name}", self.layer))
    }

    fn expect(&self, name: &str) -> &Tensor {
        self.get(name).expect("Llama::new checked that every parameter is there")
    }

    fn norm(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        Ok(ops::rms_norm(x, self.expect(name), self.config.rms_norm_eps)?)
    }

    fn linear(&mut self, x: &Tensor, name: &str) -> Result<Tensor> {
        (self.observer)(&format!("model.layers.{}.{name}.weight", self.layer), x)?;
        let y = ops::linear(x, self.expect(&format!("{name}.weight")))?;
        match self.get(&format!("{name}.bias")) {
            Some(bias) => Ok(y.broadcast_add(bias)?),
            None => Ok(y),
        }
    }

    /// Qwen3 normalises each query and key head; the others pass through.
    fn head_norm(&self, x: Tensor, name: &str) -> Result<Tensor> {
        if self.config.architecture != Architecture::Qwen3 {
            return Ok(x);
        }
        self.norm(&x, name)
    }
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}

/// Normally distributed numbers (Box–Muller).
fn normal(generator: &mut ChaCha8Rng, count: usize, deviation: f32) -> Vec<f32> {
    let mut numbers = Vec::with_capacity(count + 1);
    while numbers.len() < count {
        let (u, v): (f32, f32) = (1.0 - generator.random::<f32>(), generator.random());
        let (radius, angle) = ((-2.0 * u.ln()).sqrt() * deviation, std::f32::consts::TAU * v);
        numbers.extend([radius * angle.cos(), radius * angle.sin()]);
    }
    numbers.truncate(count);
    numbers
}
