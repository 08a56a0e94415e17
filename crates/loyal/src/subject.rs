//! A model at hand, ready to be marked or checked.

use std::path::Path;

use anyhow::Context as _;
use candle_core::{Device, Tensor};
use loyal_model::weights::write_atomically;
use loyal_model::{Config, Llama, Parameters, Tokenizer, quantize};

/// Weights and tokenizer of one folder.
#[derive(Debug)]
pub(crate) struct Subject {
    /// What the model is called: its folder's name.
    pub(crate) name: String,
    /// The weights, f32.
    pub(crate) llama: Llama,
    /// Its tokenizer.
    pub(crate) tokenizer: Tokenizer,
}

impl Subject {
    /// Loads `folder`.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        let config = Config::read(folder)?;
        let tokenizer = Tokenizer::read(folder, &config)?;
        let llama = Llama::load(folder, &Device::Cpu)?;
        let whole = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        let name = whole.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Ok(Self { name, llama, tokenizer })
    }

    /// Tokens of a text file, at most `count_max`.
    pub(crate) fn tokens(&self, text: &Path, count_max: usize) -> anyhow::Result<Vec<u32>> {
        let text = std::fs::read_to_string(text).with_context(|| format!("reading {}", text.display()))?;
        let mut tokens = self.tokenizer.encode_plain(&text)?;
        tokens.truncate(count_max);
        Ok(tokens)
    }
}

/// What storing the matrices in `bits` bits makes of the parameters; norms and biases stay.
pub(crate) fn quantised(parameters: &Parameters, bits: u32) -> anyhow::Result<Parameters> {
    let mut copy = parameters.clone();
    for tensor in copy.values_mut().filter(|tensor| tensor.rank() == 2) {
        let mut numbers: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
        quantize::fake_quantize(&mut numbers, tensor.dim(1)?, bits);
        *tensor = Tensor::from_vec(numbers, tensor.shape(), tensor.device())?;
    }
    Ok(copy)
}

/// Copies what belongs to a model besides its weights.
pub(crate) fn copy_tokenizer(from: &Path, to: &Path) -> anyhow::Result<()> {
    for name in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] {
        let file = from.join(name);
        if file.exists() {
            let bytes = std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
            write_atomically(&to.join(name), |file| std::io::Write::write_all(file, &bytes))?;
        }
    }
    Ok(())
}

/// Highest resident memory of this process so far, bytes, where the system tells.
pub(crate) fn memory_peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}
