//! Low-rank adapters: W + (alpha / rank) · B·A, trained instead of W (arXiv 2106.09685), stored as PEFT does.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Tensor, Var};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};
use crate::llama::{Llama, Parameters};
use crate::weights::{Named, Stored, Weights, save, write_atomically};

const PREFIX: &str = "base_model.model.";

/// Shape of the adapters.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Rank of each adapter.
    pub rank: usize,
    /// Numerator of the scale.
    pub alpha: f64,
    /// Linear layers that get one, by the last part of their name ("q_proj").
    pub targets: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let all = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
        Self { rank: 8, alpha: 16.0, targets: all.map(str::to_owned).to_vec() }
    }
}

/// Adapters of a model: per weight, A (rank × inputs) and B (outputs × rank).
#[derive(Debug)]
pub struct Lora {
    settings: Settings,
    pairs: BTreeMap<String, (Var, Var)>,
}

impl Lora {
    /// Fresh adapters that change nothing: A uniform within ±1/√inputs, B zero.
    ///
    /// # Errors
    /// The rank is 0 or no layer bears a target's name.
    pub fn new(llama: &Llama, settings: Settings, seed: u64) -> Result<Self> {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        let mut pairs = BTreeMap::new();
        for (name, shape) in llama.config.parameters() {
            if !is_target(&name, &settings) || shape.len() != 2 {
                continue;
            }
            let (outputs, inputs, rank) = (shape[0], shape[1], settings.rank);
            let bound = 1.0 / (inputs as f32).sqrt();
            let a: Vec<f32> = (0..rank * inputs).map(|_| generator.random_range(-bound..bound)).collect();
            let a = Var::from_vec(a, (rank, inputs), llama.device())?;
            let b = Var::from_vec(vec![0.0f32; outputs * rank], (outputs, rank), llama.device())?;
            pairs.insert(name, (a, b));
        }
        if pairs.is_empty() || settings.rank == 0 {
            return Err(Error::Argument {
                name: "lora",
                problem: format!("rank {} on {:?} adapts nothing", settings.rank, settings.targets),
                remedy: "use a rank of 1 or more and names such as q_proj".to_owned(),
            });
        }
        Ok(Self { settings, pairs })
    }

    /// The variables to train, by their names in an adapter file.
    #[must_use]
    pub fn variables(&self) -> BTreeMap<String, Var> {
        let both = self.pairs.iter().flat_map(|(name, (a, b))| {
            [(part_name(name, "lora_A"), a.clone()), (part_name(name, "lora_B"), b.clone())]
        });
        both.collect()
    }

    fn scale(&self) -> f64 {
        self.settings.alpha / self.settings.rank as f64
    }

    /// `base` with the adapters added, as expressions of the adapters' variables.
    ///
    /// # Errors
    /// A weight has another shape.
    pub fn apply(&self, base: &Parameters) -> Result<Parameters> {
        self.shifted(base, self.scale())
    }

    /// Plain weights with the adapters merged in.
    ///
    /// # Errors
    /// As [`Lora::apply`].
    pub fn merge(&self, base: &Parameters) -> Result<Parameters> {
        Ok(detached(&self.shifted(base, self.scale())?))
    }

    /// Takes merged adapters out again.
    ///
    /// # Errors
    /// As [`Lora::apply`].
    pub fn unmerge(&self, merged: &Parameters) -> Result<Parameters> {
        Ok(detached(&self.shifted(merged, -self.scale())?))
    }

    fn shifted(&self, base: &Parameters, scale: f64) -> Result<Parameters> {
        let mut parameters = base.clone();
        for (name, (a, b)) in &self.pairs {
            if let Some(weight) = parameters.get_mut(name) {
                *weight = (&*weight + (b.as_tensor().matmul(a.as_tensor())? * scale)?)?;
            }
        }
        Ok(parameters)
    }

    /// Writes `adapter_config.json` and `adapter_model.safetensors`, which PEFT loads.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let config = serde_json::json!({
            "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": self.settings.rank,
            "lora_alpha": self.settings.alpha, "lora_dropout": 0.0, "bias": "none",
            "target_modules": self.settings.targets,
        });
        let text = format!("{config:#}\n");
        write_atomically(&folder.join("adapter_config.json"), |file| {
            std::io::Write::write_all(file, text.as_bytes())
        })?;
        let mut parts = Vec::new();
        for (name, variable) in self.variables() {
            parts.push((name, variable.dims().to_vec(), variable.flatten_all()?.to_vec1::<f32>()?));
        }
        let tensors: Vec<Named<'_>> =
            parts.iter().map(|(name, shape, numbers)| Named { name, shape, numbers }).collect();
        save(&folder.join("adapter_model.safetensors"), &tensors, Stored::F32)
    }

    /// Reads what [`Lora::save`] or PEFT wrote.
    ///
    /// # Errors
    /// A file is missing or malformed, or does not fit the model.
    pub fn load(llama: &Llama, folder: &Path) -> Result<Self> {
        let path = folder.join("adapter_config.json");
        let text = std::fs::read(&path).map_err(|source| Error::file(&path, "reading", source))?;
        let wrong =
            |problem: String| Error::malformed(&path, problem, "it must be a LoRA configuration of PEFT");
        let value: serde_json::Value = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
        let rank = value["r"].as_u64().filter(|rank| (1..=4096).contains(rank));
        let targets = value["target_modules"].as_array();
        let (Some(rank), Some(alpha), Some(targets)) = (rank, value["lora_alpha"].as_f64(), targets) else {
            return Err(wrong("r, lora_alpha or target_modules is missing".to_owned()));
        };
        let targets = targets.iter().filter_map(|target| target.as_str().map(str::to_owned)).collect();
        let settings = Settings { rank: rank as usize, alpha, targets };
        let lora = Self::new(llama, settings, 0)?;
        let weights = Weights::open_file(&folder.join("adapter_model.safetensors"))?;
        for (name, variable) in lora.variables() {
            let numbers = weights.expect(&name, variable.dims())?.to_f32();
            variable.set(&Tensor::from_vec(numbers, variable.dims(), variable.device())?)?;
        }
        Ok(lora)
    }
}

fn is_target(name: &str, settings: &Settings) -> bool {
    let layer = name.strip_suffix(".weight").and_then(|name| name.rsplit('.').next());
    layer.is_some_and(|layer| settings.targets.iter().any(|target| target == layer))
}

fn part_name(name: &str, part: &str) -> String {
    format!("{PREFIX}{}.{part}.weight", name.strip_suffix(".weight").unwrap_or(name))
}

fn detached(parameters: &Parameters) -> Parameters {
    parameters.iter().map(|(name, tensor)| (name.clone(), tensor.detach())).collect()
}
