//! A model as one GGUF file (version 3), the format of llama.cpp: weights, shape and tokenizer.
//!
//! llama.cpp rotates neighbouring pairs where the Hugging Face layout rotates halves: for `llama` the rows of query and
//! key matrices change places accordingly.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use half::f16;
use serde_json::Value;

use crate::config::{Architecture, Config, RopeScaling};
use crate::error::{Error, Result};
use crate::weights::{Weights, write_atomically};

const VERSION: u32 = 3;
const ALIGNMENT: usize = 32;
/// The file types and tensor types of llama.cpp.
const TYPE_F32: u32 = 0;
const TYPE_F16: u32 = 1;

/// How matrices are stored; vectors are always f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As exact as they are.
    F32,
    /// Half the size.
    F16,
}

/// Writes the model in `folder` to `path`, whole or not at all, under the name `name`.
///
/// # Errors
/// The model cannot be read, llama.cpp has no place for its kind, or the file cannot be written.
pub fn export(folder: &Path, name: &str, kind: Kind, path: &Path) -> Result<()> {
    let config = Config::read(folder)?;
    let weights = Weights::open(folder)?;
    weights.check(&config)?;
    let mut header = Header::default();
    shape(&mut header, &config, (name, kind), folder)?;
    vocabulary(&mut header, &config, &folder.join("tokenizer.json"))?;
    let tensors: Vec<Tensor> =
        config.parameters().into_iter().map(|(name, shape)| Tensor::new(name, shape, kind)).collect();
    let mut failed = Ok(());
    write_atomically(path, |file| {
        let mut file = BufWriter::new(file);
        file.write_all(&header.bytes(&tensors))?;
        for tensor in &tensors {
            match tensor.numbers(&config, &weights) {
                Ok(numbers) => tensor.write(&numbers, &mut file)?,
                Err(error) => {
                    failed = Err(error);
                    return Err(std::io::Error::other("a tensor cannot be read"));
                }
            }
        }
        file.flush()
    })
    .or_else(|error| failed.and(Err(error)))
}

/// Metadata, written as it comes.
#[derive(Debug, Default)]
struct Header {
    count: u64,
    bytes: Vec<u8>,
}

impl Header {
    fn entry(&mut self, key: &str, kind: u32, value: &[u8]) {
        self.count += 1;
        push_text(&mut self.bytes, key);
        self.bytes.extend_from_slice(&kind.to_le_bytes());
        self.bytes.extend_from_slice(value);
    }

    fn number(&mut self, key: &str, value: usize) {
        // Sizes were checked to be far below 2³².
        self.entry(key, 4, &(value as u32).to_le_bytes());
    }

    fn real(&mut self, key: &str, value: f64) {
        self.entry(key, 6, &(value as f32).to_le_bytes());
    }

    fn flag(&mut self, key: &str, value: bool) {
        self.entry(key, 7, &[u8::from(value)]);
    }

    fn text(&mut self, key: &str, value: &str) {
        let mut bytes = Vec::new();
        push_text(&mut bytes, value);
        self.entry(key, 8, &bytes);
    }

    fn texts(&mut self, key: &str, values: &[String]) {
        let mut bytes = [8u32.to_le_bytes().as_slice(), &(values.len() as u64).to_le_bytes()].concat();
        values.iter().for_each(|value| push_text(&mut bytes, value));
        self.entry(key, 9, &bytes);
    }

    fn integers(&mut self, key: &str, values: &[i32]) {
        let mut bytes = [5u32.to_le_bytes().as_slice(), &(values.len() as u64).to_le_bytes()].concat();
        values.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
        self.entry(key, 9, &bytes);
    }

    /// Everything before the tensors' data.
    fn bytes(&self, tensors: &[Tensor]) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&(tensors.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&self.count.to_le_bytes());
        bytes.extend_from_slice(&self.bytes);
        let mut offset = 0;
        for tensor in tensors {
            push_text(&mut bytes, &tensor.name);
            bytes.extend_from_slice(&(tensor.shape.len() as u32).to_le_bytes());
            // The fastest dimension first.
            tensor.shape.iter().rev().for_each(|&size| bytes.extend_from_slice(&(size as u64).to_le_bytes()));
            bytes.extend_from_slice(&tensor.kind.to_le_bytes());
            bytes.extend_from_slice(&(offset as u64).to_le_bytes());
            offset += tensor.byte_count().next_multiple_of(ALIGNMENT);
        }
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        bytes
    }
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

fn shape(header: &mut Header, config: &Config, (name, kind): (&str, Kind), folder: &Path) -> Result<()> {
    let family = match config.architecture {
        Architecture::Llama => "llama",
        Architecture::Qwen2 => "qwen2",
        Architecture::Qwen3 => "qwen3",
    };
    if config.rope_scaling != RopeScaling::None
        || (config.architecture == Architecture::Llama && config.attention_bias)
    {
        let what = "stretched rotary frequencies, or a Llama with biases, as GGUF".to_owned();
        let supported = "plain Llama, Qwen2 and Qwen3; llama.cpp's own converter knows the others";
        return Err(Error::Unsupported { path: folder.join("config.json"), what, supported });
    }
    header.text("general.architecture", family);
    header.text("general.name", name);
    header.number("general.file_type", if kind == Kind::F32 { 0 } else { 1 });
    let mut number = |key: &str, value| header.number(&format!("{family}.{key}"), value);
    number("context_length", config.context_tokens);
    number("embedding_length", config.hidden_size);
    number("block_count", config.layer_count);
    number("feed_forward_length", config.intermediate_size);
    number("attention.head_count", config.head_count);
    number("attention.head_count_kv", config.kv_head_count);
    number("attention.key_length", config.head_size);
    number("attention.value_length", config.head_size);
    number("rope.dimension_count", config.head_size);
    number("vocab_size", config.vocab_size);
    header.real(&format!("{family}.attention.layer_norm_rms_epsilon"), config.rms_norm_eps);
    header.real(&format!("{family}.rope.freq_base"), config.rope_theta);
    Ok(())
}

/// The vocabulary of a byte-level BPE tokenizer, in llama.cpp's words.
fn vocabulary(header: &mut Header, config: &Config, path: &Path) -> Result<()> {
    let bytes = std::fs::read(path).map_err(|source| Error::file(path, "reading", source))?;
    let remedy = "download tokenizer.json again from the same place as the weights";
    let value: Value =
        serde_json::from_slice(&bytes).map_err(|error| Error::malformed(path, error, remedy))?;
    let unsupported = |what: &str| Error::Unsupported {
        path: path.to_owned(),
        what: format!("{what}, as GGUF"),
        supported: "byte-level BPE that splits text as GPT-2, SmolLM, Llama 3 or Qwen2 do",
    };
    let (Some(vocab), Some(merges)) =
        (value["model"]["vocab"].as_object(), value["model"]["merges"].as_array())
    else {
        return Err(unsupported("a tokenizer without merges"));
    };
    let split = splitting(&value["pre_tokenizer"]).ok_or_else(|| unsupported("its way of splitting text"))?;
    // What the vocabulary leaves free is padding that no text reaches.
    let mut tokens: Vec<String> = (0..config.vocab_size).map(|token| format!("[PAD{token}]")).collect();
    let mut kinds = vec![UNUSED; config.vocab_size];
    let mut put = |text: &str, token: Option<u64>, kind: i32| {
        let slot = token.and_then(|token| usize::try_from(token).ok()).filter(|&token| token < tokens.len());
        if let Some(token) = slot {
            (tokens[token], kinds[token]) = (text.to_owned(), kind);
        }
    };
    vocab.iter().for_each(|(text, token)| put(text, token.as_u64(), NORMAL));
    for added in value["added_tokens"].as_array().into_iter().flatten() {
        let kind = if added["special"] == true { CONTROL } else { USER_DEFINED };
        put(added["content"].as_str().unwrap_or_default(), added["id"].as_u64(), kind);
    }
    let merges = merges.iter().map(|merge| match merge {
        Value::String(text) => text.clone(),
        pair => format!("{} {}", pair[0].as_str().unwrap_or_default(), pair[1].as_str().unwrap_or_default()),
    });
    header.text("tokenizer.ggml.model", "gpt2");
    header.text("tokenizer.ggml.pre", split);
    header.texts("tokenizer.ggml.tokens", &tokens);
    header.integers("tokenizer.ggml.token_type", &kinds);
    header.texts("tokenizer.ggml.merges", &merges.collect::<Vec<_>>());
    let tokenizer = crate::Tokenizer::parse(&bytes, path)?;
    let first = tokenizer.encode("a")?.first().copied();
    let begins = first.filter(|&token| tokenizer.piece(token).is_some_and(|piece| piece.is_empty()));
    header.flag("tokenizer.ggml.add_bos_token", begins.is_some());
    header.flag("tokenizer.ggml.add_space_prefix", false);
    if let Some(token) = begins.or(config.bos_token) {
        header.number("tokenizer.ggml.bos_token_id", token as usize);
    }
    if let Some(&token) = config.eos_tokens.first() {
        header.number("tokenizer.ggml.eos_token_id", token as usize);
    }
    Ok(())
}

const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;

/// llama.cpp's name for a way of splitting text into words.
fn splitting(value: &Value) -> Option<&'static str> {
    let steps = value["pretokenizers"].as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
    match steps {
        [only]
            if only["type"] == "ByteLevel"
                && only["use_regex"] != false
                && only["add_prefix_space"] != true =>
        {
            Some("gpt-2")
        }
        [digits, bytes] if digits["type"] == "Digits" && bytes["type"] == "ByteLevel" => Some("smollm"),
        [split, bytes] if split["type"] == "Split" && bytes["type"] == "ByteLevel" => {
            let pattern = split["pattern"]["Regex"].as_str()?;
            match pattern {
                _ if pattern.contains(r"\p{N}{1,3}") => Some("llama-bpe"),
                _ if pattern.contains(r"\p{L}+|\p{N}|") => Some("qwen2"),
                _ => None,
            }
        }
        _ => None,
    }
}

/// A tensor under llama.cpp's name.
#[derive(Debug)]
struct Tensor {
    source: String,
    name: String,
    shape: Vec<usize>,
    kind: u32,
}

impl Tensor {
    fn new(source: String, shape: Vec<usize>, kind: Kind) -> Self {
        let kind = if shape.len() == 1 || kind == Kind::F32 { TYPE_F32 } else { TYPE_F16 };
        Self { name: renamed(&source), source, shape, kind }
    }

    fn byte_count(&self) -> usize {
        self.shape.iter().product::<usize>() * if self.kind == TYPE_F32 { 4 } else { 2 }
    }

    fn numbers(&self, config: &Config, weights: &Weights) -> Result<Vec<f32>> {
        let numbers = weights.expect(&self.source, &self.shape)?.to_f32();
        let heads = match self.source.rsplit('.').nth(1) {
            Some("q_proj") => config.head_count,
            Some("k_proj") => config.kv_head_count,
            _ => return Ok(numbers),
        };
        if config.architecture != Architecture::Llama {
            return Ok(numbers);
        }
        Ok(paired(&numbers, heads, config.head_size))
    }

    fn write(&self, numbers: &[f32], file: &mut BufWriter<&mut File>) -> std::io::Result<()> {
        for &number in numbers {
            match self.kind {
                TYPE_F32 => file.write_all(&number.to_le_bytes())?,
                _ => file.write_all(&f16::from_f32(number).to_le_bytes())?,
            }
        }
        let padding = self.byte_count().next_multiple_of(ALIGNMENT) - self.byte_count();
        file.write_all(&vec![0; padding])
    }
}

/// Rows of each head from halves (0 … n/2−1, n/2 … n−1) to pairs (0, n/2, 1, n/2+1, …).
fn paired(numbers: &[f32], heads: usize, head_size: usize) -> Vec<f32> {
    let width = numbers.len() / (heads * head_size);
    let mut out = Vec::with_capacity(numbers.len());
    for head in numbers.chunks_exact(head_size * width) {
        for at in 0..head_size {
            let row = at / 2 + (at % 2) * head_size / 2;
            out.extend_from_slice(&head[row * width..(row + 1) * width]);
        }
    }
    out
}

/// `model.layers.3.self_attn.q_proj.weight` is `blk.3.attn_q.weight` there.
fn renamed(source: &str) -> String {
    let plain = match source {
        "model.embed_tokens.weight" => "token_embd.weight",
        "model.norm.weight" => "output_norm.weight",
        "lm_head.weight" => "output.weight",
        _ => "",
    };
    if !plain.is_empty() {
        return plain.to_owned();
    }
    let parts: Vec<&str> = source.split('.').collect();
    let [.., layer, "input_layernorm" | "post_attention_layernorm", _] = parts.as_slice() else {
        let [_, _, layer, _, part, end] = parts.as_slice() else { return source.to_owned() };
        let part = match *part {
            "q_proj" => "attn_q",
            "k_proj" => "attn_k",
            "v_proj" => "attn_v",
            "o_proj" => "attn_output",
            "q_norm" => "attn_q_norm",
            "k_norm" => "attn_k_norm",
            "gate_proj" => "ffn_gate",
            "up_proj" => "ffn_up",
            "down_proj" => "ffn_down",
            other => other,
        };
        return format!("blk.{layer}.{part}.{end}");
    };
    let part = if source.contains("input_layernorm") { "attn_norm" } else { "ffn_norm" };
    format!("blk.{layer}.{part}.weight")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_llama_cpps() {
        for (source, name) in [
            ("model.embed_tokens.weight", "token_embd.weight"),
            ("model.layers.3.self_attn.q_proj.weight", "blk.3.attn_q.weight"),
            ("model.layers.12.self_attn.k_proj.bias", "blk.12.attn_k.bias"),
            ("model.layers.0.mlp.down_proj.weight", "blk.0.ffn_down.weight"),
            ("model.layers.0.input_layernorm.weight", "blk.0.attn_norm.weight"),
            ("model.layers.0.post_attention_layernorm.weight", "blk.0.ffn_norm.weight"),
            ("lm_head.weight", "output.weight"),
        ] {
            assert_eq!(renamed(source), name);
        }
    }

    /// `reshape(heads, 2, n/2, width).swapaxes(1, 2)`, as llama.cpp's converter has it.
    #[test]
    fn halves_become_pairs() {
        let numbers: Vec<f32> = (0..16).map(|x| x as f32).collect();
        let rows = |list: &[usize]| {
            list.iter().flat_map(|row| [2.0 * *row as f32, 2.0 * *row as f32 + 1.0]).collect::<Vec<_>>()
        };
        assert_eq!(paired(&numbers, 2, 4), rows(&[0, 2, 1, 3, 4, 6, 5, 7]));
    }

    #[test]
    fn ways_of_splitting() {
        let gpt2 = serde_json::json!({"type": "ByteLevel", "add_prefix_space": false, "use_regex": true});
        assert_eq!(splitting(&gpt2), Some("gpt-2"));
        assert_eq!(splitting(&serde_json::json!({"type": "Metaspace"})), None);
        let split = |pattern: &str| {
            splitting(&serde_json::json!({"type": "Sequence", "pretokenizers":
                [{"type": "Split", "pattern": {"Regex": pattern}}, {"type": "ByteLevel", "use_regex": false}]}))
        };
        assert_eq!(split(r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s]+"), Some("llama-bpe"));
        assert_eq!(split(r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s]+"), Some("qwen2"));
        assert_eq!(split(r"\d"), None);
    }
}
