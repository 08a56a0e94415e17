//! The default model as GGUF, read again by a reader of the test's own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use loyal_model::gguf::{self, Kind};
use loyal_model::{Config, Error, Weights};

fn default_model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/loyal-5m")
}

/// A value of the metadata, as far as the test looks.
#[derive(Debug, PartialEq)]
enum Value {
    Number(u32),
    Real(f32),
    Flag(bool),
    Text(String),
    Texts(Vec<String>),
    Integers(usize),
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let (head, rest) = self.0.split_at(count);
        self.0 = rest;
        head.to_vec()
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes(4).try_into().unwrap())
    }

    fn u64(&mut self) -> usize {
        u64::from_le_bytes(self.bytes(8).try_into().unwrap()).try_into().unwrap()
    }

    fn text(&mut self) -> String {
        let count = self.u64();
        String::from_utf8(self.bytes(count)).unwrap()
    }

    fn value(&mut self) -> Value {
        match self.u32() {
            4 => Value::Number(self.u32()),
            6 => Value::Real(f32::from_bits(self.u32())),
            7 => Value::Flag(self.bytes(1)[0] == 1),
            8 => Value::Text(self.text()),
            9 => match (self.u32(), self.u64()) {
                (8, count) => Value::Texts((0..count).map(|_| self.text()).collect()),
                (5, count) => {
                    self.bytes(4 * count);
                    Value::Integers(count)
                }
                other => panic!("{other:?}"),
            },
            other => panic!("type {other}"),
        }
    }
}

/// Metadata, and each tensor's dimensions, type and place in the file.
type Parsed = (BTreeMap<String, Value>, BTreeMap<String, (Vec<usize>, u32, usize)>);

fn parse(file: &[u8]) -> Parsed {
    let mut reader = Reader(file);
    assert_eq!((reader.bytes(4).as_slice(), reader.u32()), (&b"GGUF"[..], 3));
    let (tensor_count, value_count) = (reader.u64(), reader.u64());
    let values = (0..value_count).map(|_| (reader.text(), reader.value())).collect();
    let tensors: Vec<_> = (0..tensor_count)
        .map(|_| {
            let name = reader.text();
            let sizes: Vec<usize> = (0..reader.u32()).map(|_| reader.u64()).collect();
            (name, sizes, reader.u32(), reader.u64())
        })
        .collect();
    let start = (file.len() - reader.0.len()).next_multiple_of(32);
    let placed = tensors.into_iter().map(|(name, sizes, kind, offset)| (name, (sizes, kind, start + offset)));
    (values, placed.collect())
}

fn floats(file: &[u8], at: usize, count: usize) -> Vec<f32> {
    file[at..at + 4 * count].chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

#[test]
fn the_default_model_is_written_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    gguf::export(&default_model(), "loyal-5m", Kind::F32, &path).unwrap();
    let file = std::fs::read(&path).unwrap();
    let (values, tensors) = parse(&file);
    let config = Config::read(&default_model()).unwrap();
    assert_eq!(values["general.architecture"], Value::Text("llama".to_owned()));
    assert_eq!(values["llama.attention.head_count_kv"], Value::Number(config.kv_head_count as u32));
    assert_eq!(values["llama.rope.freq_base"], Value::Real(config.rope_theta as f32));
    assert_eq!(values["tokenizer.ggml.pre"], Value::Text("gpt-2".to_owned()));
    assert_eq!(values["tokenizer.ggml.add_bos_token"], Value::Flag(true), "its texts begin with a token");
    assert_eq!(values["tokenizer.ggml.token_type"], Value::Integers(config.vocab_size));
    let Value::Texts(tokens) = &values["tokenizer.ggml.tokens"] else { panic!("a list of tokens") };
    assert_eq!((tokens.len(), tokens[0].as_str()), (config.vocab_size, "<|endoftext|>"));
    assert_eq!(tensors.len(), config.parameters().len());
    let end = tensors.values().map(|(sizes, _, at)| at + 4 * sizes.iter().product::<usize>()).max().unwrap();
    assert_eq!(end.next_multiple_of(32), file.len());
    let weights = Weights::open(&default_model()).unwrap();
    let whole = |name: &str, source: &str| {
        let (sizes, kind, at) = &tensors[name];
        assert_eq!(*kind, 0);
        let numbers = floats(&file, *at, sizes.iter().product());
        (sizes.clone(), numbers, weights.get(source).unwrap().to_f32())
    };
    let (sizes, found, own) = whole("blk.2.ffn_down.weight", "model.layers.2.mlp.down_proj.weight");
    assert_eq!(sizes, [config.intermediate_size, config.hidden_size], "the fastest dimension first");
    assert_eq!(found, own);
    // The rows of a query head: first, middle, second, …
    let (_, found, own) = whole("blk.1.attn_q.weight", "model.layers.1.self_attn.q_proj.weight");
    let (width, half) = (config.hidden_size, config.head_size / 2);
    let row = |numbers: &[f32], at: usize| numbers[at * width..(at + 1) * width].to_vec();
    assert_eq!(row(&found, 0), row(&own, 0));
    assert_eq!(row(&found, 1), row(&own, half));
    assert_eq!(row(&found, config.head_size + 2), row(&own, config.head_size + 1));
}

#[test]
fn half_precision_is_half_as_large() {
    let folder = tempfile::tempdir().unwrap();
    let sizes = [Kind::F32, Kind::F16].map(|kind| {
        let path = folder.path().join("model.gguf");
        gguf::export(&default_model(), "x", kind, &path).unwrap();
        let (_, tensors) = parse(&std::fs::read(&path).unwrap());
        assert_eq!(tensors["output_norm.weight"].1, 0, "vectors stay as they are");
        std::fs::metadata(&path).unwrap().len()
    });
    assert!(sizes[1] * 10 < sizes[0] * 6, "{sizes:?}");
}

#[test]
fn what_llama_cpp_has_no_place_for_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let error = gguf::export(&crate::shared::golden("llama31"), "x", Kind::F16, &path).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    assert!(!path.exists(), "nothing half-written stays behind");
}
