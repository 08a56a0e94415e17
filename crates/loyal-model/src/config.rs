//! A model's shape: `config.json` of a Hugging Face folder, checked.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};

const SUPPORTED: &str =
    "LlamaForCausalLM (Llama 2, 3, 3.1 and later, SmolLM2), Qwen2ForCausalLM, Qwen3ForCausalLM";

// No real model comes near these; larger ones would overflow products of sizes, or fill memory.
const SIZE_MAX: usize = 1 << 24;
const LAYER_COUNT_MAX: usize = 4096;

/// Which family's equations apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// Llama 2, 3, 3.1 and later; SmolLM2.
    Llama,
    /// Qwen2 and Qwen2.5: biases on query, key and value.
    Qwen2,
    /// Qwen3: RMSNorm on each query and key head.
    Qwen3,
}

/// How rotary frequencies are stretched for long contexts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// Positions divided by a factor.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Llama 3.1: low frequencies divided, high ones kept, a ramp between.
    Llama3 {
        /// The divisor of low frequencies.
        factor: f64,
        /// Wavelengths above `original_context / low_freq_factor` are divided.
        low_freq_factor: f64,
        /// Wavelengths below `original_context / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// The context the model was first trained with, tokens.
        original_context: usize,
    },
}

/// The shape of a model. All sizes are element counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The family.
    pub architecture: Architecture,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the feed-forward layer.
    pub intermediate_size: usize,
    /// Transformer blocks.
    pub layer_count: usize,
    /// Query heads.
    pub head_count: usize,
    /// Key and value heads; divides `head_count`.
    pub kv_head_count: usize,
    /// Width of one head; even.
    pub head_size: usize,
    /// Rows of the embedding matrix.
    pub vocab_size: usize,
    /// Tokens the model can attend to.
    pub context_tokens: usize,
    /// Added to the mean square in RMSNorm.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Stretching of the rotary frequencies.
    pub rope_scaling: RopeScaling,
    /// Whether the output matrix is the embedding matrix.
    pub tied: bool,
    /// Whether query, key, value and output projections have biases (Qwen2: the first three only).
    pub attention_bias: bool,
    /// Token put before every text, if the model has one.
    pub bos_token: Option<u32>,
    /// Tokens that end an answer.
    pub eos_tokens: Vec<u32>,
}

impl Config {
    /// Reads `config.json`, with `generation_config.json` beside it where present (its end tokens win).
    ///
    /// # Errors
    /// The file cannot be read, is not JSON, lacks a field, or describes a model this crate does not run.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("config.json");
        let mut config = Self::parse(&read_json(&path)?, &path)?;
        let generation = folder.join("generation_config.json");
        if generation.exists() {
            let value = read_json(&generation)?;
            let tokens = token_ids(&value, "eos_token_id", &generation)?;
            if !tokens.is_empty() {
                config.eos_tokens = tokens;
            }
        }
        Ok(config)
    }

    /// Reads a configuration from a JSON value; `path` is named in errors.
    ///
    /// # Errors
    /// A field is missing, has the wrong type, or describes a model this crate does not run.
    pub fn parse(value: &Value, path: &Path) -> Result<Self> {
        let fields = Fields { value, path };
        let architecture = fields.architecture()?;
        let hidden_size = fields.size("hidden_size")?;
        let head_count = fields.size("num_attention_heads")?;
        let head_size = match fields.optional_size("head_dim")? {
            Some(size) => size,
            None if hidden_size.is_multiple_of(head_count) => hidden_size / head_count,
            None => return Err(fields.wrong("hidden_size", "must be divisible by num_attention_heads")),
        };
        let config = Self {
            architecture,
            hidden_size,
            intermediate_size: fields.size("intermediate_size")?,
            layer_count: fields.size("num_hidden_layers")?,
            head_count,
            kv_head_count: fields.optional_size("num_key_value_heads")?.unwrap_or(head_count),
            head_size,
            vocab_size: fields.size("vocab_size")?,
            context_tokens: fields.size("max_position_embeddings")?,
            rms_norm_eps: fields.number("rms_norm_eps", Some(1e-6))?,
            rope_theta: fields.rope_theta()?,
            rope_scaling: fields.rope_scaling()?,
            tied: fields.flag("tie_word_embeddings")?,
            attention_bias: architecture == Architecture::Qwen2 || fields.flag("attention_bias")?,
            bos_token: token_ids(value, "bos_token_id", path)?.first().copied(),
            eos_tokens: token_ids(value, "eos_token_id", path)?,
        };
        fields.refuse_unsupported()?;
        config.check(&fields)?;
        Ok(config)
    }

    fn check(&self, fields: &Fields<'_>) -> Result<()> {
        // Each layer costs a list of tensors before a single weight is read: a hostile count must not fill memory.
        if self.layer_count > LAYER_COUNT_MAX {
            return Err(fields.wrong("num_hidden_layers", "must be at most 4096"));
        }
        if self.query_size() > SIZE_MAX {
            return Err(fields.wrong("head_dim", "times num_attention_heads must be at most 16777216"));
        }
        if !self.head_count.is_multiple_of(self.kv_head_count) {
            return Err(fields.wrong("num_key_value_heads", "must divide num_attention_heads"));
        }
        if !self.head_size.is_multiple_of(2) {
            return Err(fields.wrong("head_dim", "must be even"));
        }
        if !(self.rms_norm_eps > 0.0 && self.rms_norm_eps < 1.0) {
            return Err(fields.wrong("rms_norm_eps", "must lie between 0 and 1"));
        }
        if !(self.rope_theta > 1.0 && self.rope_theta.is_finite()) {
            return Err(fields.wrong("rope_theta", "must be above 1"));
        }
        Ok(())
    }

    /// The configuration as `config.json` of Hugging Face `transformers`, for weights stored as `dtype`
    /// ("float32", "bfloat16").
    #[must_use]
    pub fn to_json(&self, dtype: &str) -> Value {
        let (class, kind) = match self.architecture {
            Architecture::Llama => ("LlamaForCausalLM", "llama"),
            Architecture::Qwen2 => ("Qwen2ForCausalLM", "qwen2"),
            Architecture::Qwen3 => ("Qwen3ForCausalLM", "qwen3"),
        };
        let scaling = match self.rope_scaling {
            RopeScaling::None => Value::Null,
            RopeScaling::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => json!({
                "rope_type": "llama3", "factor": factor, "low_freq_factor": low_freq_factor,
                "high_freq_factor": high_freq_factor, "original_max_position_embeddings": original_context,
            }),
        };
        let mut object = json!({
            "architectures": [class], "model_type": kind, "hidden_act": "silu",
            "hidden_size": self.hidden_size, "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.layer_count, "num_attention_heads": self.head_count,
            "num_key_value_heads": self.kv_head_count, "head_dim": self.head_size,
            "vocab_size": self.vocab_size, "max_position_embeddings": self.context_tokens,
            "rms_norm_eps": self.rms_norm_eps, "rope_theta": self.rope_theta, "rope_scaling": scaling,
            "tie_word_embeddings": self.tied, "attention_bias": self.attention_bias, "mlp_bias": false,
            "bos_token_id": self.bos_token, "torch_dtype": dtype,
        });
        let eos = match self.eos_tokens.as_slice() {
            [] => Value::Null,
            [one] => json!(one),
            many => json!(many),
        };
        if let Value::Object(map) = &mut object {
            map.insert("eos_token_id".to_owned(), eos);
        }
        object
    }

    /// Width of all query heads together.
    #[must_use]
    pub const fn query_size(&self) -> usize {
        self.head_count * self.head_size
    }

    /// Width of all key (or value) heads together.
    #[must_use]
    pub const fn kv_size(&self) -> usize {
        self.kv_head_count * self.head_size
    }

    /// Every parameter's Hugging Face name and shape, in the order of the forward pass.
    #[must_use]
    pub fn parameters(&self) -> Vec<(String, Vec<usize>)> {
        let (d, q, kv, f) = (self.hidden_size, self.query_size(), self.kv_size(), self.intermediate_size);
        let mut list = vec![("model.embed_tokens.weight".to_owned(), vec![self.vocab_size, d])];
        for layer in 0..self.layer_count {
            let mut add = |name: &str, shape: &[usize]| {
                list.push((format!("model.layers.{layer}.{name}"), shape.to_vec()));
            };
            add("input_layernorm.weight", &[d]);
            for (name, rows) in [("q_proj", q), ("k_proj", kv), ("v_proj", kv)] {
                add(&format!("self_attn.{name}.weight"), &[rows, d]);
                if self.attention_bias {
                    add(&format!("self_attn.{name}.bias"), &[rows]);
                }
            }
            if self.architecture == Architecture::Qwen3 {
                add("self_attn.q_norm.weight", &[self.head_size]);
                add("self_attn.k_norm.weight", &[self.head_size]);
            }
            add("self_attn.o_proj.weight", &[d, q]);
            if self.attention_bias && self.architecture != Architecture::Qwen2 {
                add("self_attn.o_proj.bias", &[d]);
            }
            add("post_attention_layernorm.weight", &[d]);
            add("mlp.gate_proj.weight", &[f, d]);
            add("mlp.up_proj.weight", &[f, d]);
            add("mlp.down_proj.weight", &[d, f]);
        }
        list.push(("model.norm.weight".to_owned(), vec![d]));
        if !self.tied {
            list.push(("lm_head.weight".to_owned(), vec![self.vocab_size, d]));
        }
        list
    }

    /// Number of parameters.
    #[must_use]
    pub fn parameter_count(&self) -> usize {
        self.parameters().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    /// Rotary frequencies, `head_size / 2` of them, radians per token, stretched as the model asks.
    #[must_use]
    pub fn rope_frequencies(&self) -> Vec<f32> {
        let size = self.head_size as f64;
        let plain = (0..self.head_size / 2).map(|i| self.rope_theta.powf(-2.0 * i as f64 / size));
        plain.map(|frequency| self.stretch(frequency) as f32).collect()
    }

    fn stretch(&self, frequency: f64) -> f64 {
        match self.rope_scaling {
            RopeScaling::None => frequency,
            RopeScaling::Linear { factor } => frequency / factor,
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                let turns = original_context as f64 * frequency / std::f64::consts::TAU;
                if turns < low_freq_factor {
                    frequency / factor
                } else if turns > high_freq_factor {
                    frequency
                } else {
                    let ramp = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                    (1.0 - ramp) * frequency / factor + ramp * frequency
                }
            }
        }
    }
}

fn read_json(path: &Path) -> Result<Value> {
    let text = std::fs::read(path).map_err(|source| Error::file(path, "reading", source))?;
    serde_json::from_slice(&text).map_err(|source| Error::malformed(path, source, "it must be a JSON object"))
}

fn token_ids(value: &Value, name: &str, path: &Path) -> Result<Vec<u32>> {
    let one = |value: &Value| {
        value.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| {
            Error::malformed(path, format!("{name} is {value}"), "it must be a token id or a list of them")
        })
    };
    match value.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) => list.iter().map(one).collect(),
        Some(other) => Ok(vec![one(other)?]),
    }
}

/// Reads fields out of `config.json`, naming the file and the field when one is wrong.
struct Fields<'a> {
    value: &'a Value,
    path: &'a Path,
}

impl Fields<'_> {
    fn wrong(&self, name: &str, rule: &str) -> Error {
        let found = self.value.get(name).unwrap_or(&Value::Null);
        Error::malformed(self.path, format!("{name} is {found}"), format!("it {rule}"))
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.value.get(name).filter(|value| !value.is_null())
    }

    fn optional_size(&self, name: &str) -> Result<Option<usize>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.as_u64() {
            Some(size) if (1..=SIZE_MAX as u64).contains(&size) => Ok(Some(size as usize)),
            _ => Err(self.wrong(name, "must be a whole number from 1 to 16777216")),
        }
    }

    fn size(&self, name: &str) -> Result<usize> {
        self.optional_size(name)?.ok_or_else(|| self.wrong(name, "must be a whole number from 1 to 16777216"))
    }

    fn number(&self, name: &str, default: Option<f64>) -> Result<f64> {
        match (self.get(name).map(Value::as_f64), default) {
            (Some(Some(number)), _) | (None, Some(number)) => Ok(number),
            _ => Err(self.wrong(name, "must be a number")),
        }
    }

    fn flag(&self, name: &str) -> Result<bool> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.wrong(name, "must be true or false")),
        }
    }

    fn unsupported(&self, what: String, supported: &'static str) -> Error {
        Error::Unsupported { path: self.path.to_owned(), what, supported }
    }

    fn architecture(&self) -> Result<Architecture> {
        if !self.value.is_object() {
            return Err(Error::malformed(self.path, "not a JSON object", "it must be one"));
        }
        let class = self.value["architectures"][0].as_str();
        match class.or_else(|| self.value["model_type"].as_str()) {
            Some("LlamaForCausalLM" | "llama") => Ok(Architecture::Llama),
            Some("Qwen2ForCausalLM" | "qwen2") => Ok(Architecture::Qwen2),
            Some("Qwen3ForCausalLM" | "qwen3") => Ok(Architecture::Qwen3),
            Some(other) => Err(self.unsupported(format!("architecture {other}"), SUPPORTED)),
            None => Err(self.wrong("architectures", "must name the model's class")),
        }
    }

    /// `transformers` 5 writes `rope_parameters`, earlier ones `rope_scaling`.
    fn rope(&self) -> Option<&Map<String, Value>> {
        ["rope_parameters", "rope_scaling"].iter().find_map(|name| self.get(name)?.as_object())
    }

    fn rope_theta(&self) -> Result<f64> {
        match self.rope().and_then(|rope| rope.get("rope_theta")).and_then(Value::as_f64) {
            Some(theta) => Ok(theta),
            None => self.number("rope_theta", Some(10_000.0)),
        }
    }

    fn rope_scaling(&self) -> Result<RopeScaling> {
        let Some(rope) = self.rope() else { return Ok(RopeScaling::None) };
        let kind = rope.get("rope_type").or_else(|| rope.get("type")).and_then(Value::as_str);
        let number = |name: &str| match rope.get(name).and_then(Value::as_f64) {
            Some(number) if number > 0.0 && number.is_finite() => Ok(number),
            _ => Err(Error::malformed(
                self.path,
                format!("rope scaling lacks {name}"),
                "it must be a positive number",
            )),
        };
        match kind {
            None | Some("default") => Ok(RopeScaling::None),
            Some("linear") => Ok(RopeScaling::Linear { factor: number("factor")? }),
            Some("llama3") => {
                let (low, high) = (number("low_freq_factor")?, number("high_freq_factor")?);
                if low >= high {
                    return Err(
                        self.wrong("rope_scaling", "must have low_freq_factor below high_freq_factor")
                    );
                }
                Ok(RopeScaling::Llama3 {
                    factor: number("factor")?,
                    low_freq_factor: low,
                    high_freq_factor: high,
                    original_context: number("original_max_position_embeddings")? as usize,
                })
            }
            Some(other) => Err(self.unsupported(format!("rope scaling {other}"), "none, linear, llama3")),
        }
    }

    fn refuse_unsupported(&self) -> Result<()> {
        if let Some(activation) = self.get("hidden_act").and_then(Value::as_str)
            && activation != "silu"
        {
            return Err(self.unsupported(format!("activation {activation}"), "silu"));
        }
        if self.flag("mlp_bias")? {
            return Err(self.unsupported("mlp_bias".to_owned(), "feed-forward layers without biases"));
        }
        if self.flag("use_sliding_window")? {
            return Err(self.unsupported("sliding-window attention".to_owned(), "full attention"));
        }
        Ok(())
    }
}
