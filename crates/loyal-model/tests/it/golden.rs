//! Logits, greedy answers and tokens as in `transformers`, for a tiny model of every architecture.

use loyal_model::generate::{self, Request};
use loyal_model::{Config, Decoder, Precision, Tokenizer};

use crate::shared::{golden, json, numbers, tokens};

pub(crate) const MODELS: [&str; 6] = ["llama2", "llama31", "linear", "smollm2", "qwen2", "qwen3"];

/// Compares a model with the golden answers. `logits` gives the logits after every token of a prompt.
pub(crate) fn check(name: &str, tolerance: f32, logits: &mut dyn FnMut(&[u32]) -> Vec<f32>) {
    let file = json(&golden(name).join("golden.json"));
    let vocab = Config::read(&golden(name)).unwrap().vocab_size;
    let mut fed = tokens(&file["prompt"]);
    let all = logits(&fed);
    for (position, expected) in
        file["positions"].as_array().unwrap().iter().zip(file["logits"].as_array().unwrap())
    {
        let position = position.as_u64().unwrap() as usize;
        for (token, (found, expected)) in
            all[position * vocab..(position + 1) * vocab].iter().zip(numbers(expected)).enumerate()
        {
            let error = (found - expected).abs();
            assert!(error < tolerance, "{name}, position {position}, token {token}: {found} for {expected}");
        }
    }
    let greedy = tokens(&file["greedy"]);
    fed.extend(&greedy);
    let all = logits(&fed);
    let prompt = fed.len() - greedy.len();
    for (offset, &expected) in greedy.iter().enumerate() {
        let row = &all[(prompt + offset - 1) * vocab..(prompt + offset) * vocab];
        assert_eq!(loyal_model::sampler::argmax(row), expected, "{name}, new token {offset}");
    }
    let nats: f64 = (1..fed.len())
        .map(|i| {
            -f64::from(loyal_model::sampler::log_softmax(&all[(i - 1) * vocab..i * vocab])[fed[i] as usize])
        })
        .sum();
    let mean = nats / (fed.len() - 1) as f64;
    assert!((mean - file["nats_per_token"].as_f64().unwrap()).abs() < f64::from(tolerance), "{name}: {mean}");
}

#[test]
fn decoder_in_f32() {
    for name in MODELS {
        for threads in [1, 2] {
            let decoder = Decoder::open(&golden(name), Precision::F32).unwrap().with_threads(threads);
            check(name, 1e-4, &mut |fed| decoder.feed_all(&mut decoder.session(), fed).unwrap());
            // One token at a time gives the same bits.
            let file = json(&golden(name).join("golden.json"));
            let fed = tokens(&file["prompt"]);
            let together = decoder.feed_all(&mut decoder.session(), &fed).unwrap();
            let mut session = decoder.session();
            let alone: Vec<f32> =
                fed.iter().flat_map(|&t| decoder.feed(&mut session, &[t]).unwrap()).collect();
            assert_eq!(alone, together, "{name}");
        }
    }
}

#[test]
fn decoder_of_a_model_in_memory() {
    for name in MODELS {
        let config = Config::read(&golden(name)).unwrap();
        let weights = loyal_model::Weights::open(&golden(name)).unwrap();
        let tensors = config
            .parameters()
            .iter()
            .map(|(name, shape)| (name.clone(), weights.expect(name, shape).unwrap().to_f32()))
            .collect();
        let memory = Decoder::from_tensors(&config, &tensors, Precision::F32).unwrap();
        check(name, 1e-4, &mut |fed| memory.feed_all(&mut memory.session(), fed).unwrap());
        let mut fewer = tensors;
        fewer.remove("model.norm.weight");
        let error = Decoder::from_tensors(&config, &fewer, Precision::F32).unwrap_err().to_string();
        assert!(error.contains("model.norm.weight"), "{error}");
    }
}

#[test]
fn greedy_answers() {
    let tokenizer = Tokenizer::read(&golden("llama31"), &Config::read(&golden("llama31")).unwrap()).unwrap();
    // The tokenizer only writes the text here: it must know the model's tokens.
    for name in ["llama31", "smollm2", "qwen2"] {
        let decoder = Decoder::open(&golden(name), Precision::F32).unwrap();
        let file = json(&golden(name).join("golden.json"));
        let request = Request {
            prompt: tokens(&file["prompt"]),
            new_tokens_max: 24,
            stop_at_eos: false,
            ..Request::default()
        };
        let mut go_on = |_: usize, _: &str| std::ops::ControlFlow::Continue(());
        let answers = generate::run(&decoder, &tokenizer, &[request], &mut go_on).unwrap();
        assert_eq!(answers[0].tokens, tokens(&file["greedy"]), "{name}");
    }
}

#[test]
fn tokens_of_every_text() {
    for name in ["llama2", "llama31"] {
        let folder = golden(name);
        let tokenizer = Tokenizer::read(&folder, &Config::read(&folder).unwrap()).unwrap();
        let file = json(&folder.join("tokens.json"));
        for case in file["cases"].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            let ids = tokens(&case["ids"]);
            assert_eq!(tokenizer.encode(text).unwrap(), ids, "{name}: {text:?}");
            assert_eq!(tokenizer.encode_plain(text).unwrap(), tokens(&case["plain"]), "{name}: {text:?}");
            assert_eq!(
                tokenizer.decode(&ids).unwrap(),
                case["decoded"].as_str().unwrap(),
                "{name}: {text:?}"
            );
        }
    }
}

#[test]
fn pieces_are_the_bytes_a_token_adds() {
    let piece = |name: &str, written: &str| {
        let folder = golden(name);
        let tokenizer = Tokenizer::read(&folder, &Config::read(&folder).unwrap()).unwrap();
        tokenizer.piece(tokenizer.token(written).unwrap())
    };
    assert_eq!(piece("llama2", "▁").unwrap(), b" ");
    assert_eq!(piece("llama2", "<0xE9>").unwrap(), [0xE9]);
    assert_eq!(piece("llama2", "</s>").unwrap(), b"");
    assert_eq!(piece("llama2", "▁the").unwrap(), b" the");
    assert_eq!(piece("llama31", "Ġthe").unwrap(), b" the");
    assert_eq!(piece("llama31", "Ċ").unwrap(), b"\n");
    assert_eq!(piece("llama31", "<|eot_id|>").unwrap(), b"");
    let folder = golden("llama31");
    let tokenizer = Tokenizer::read(&folder, &Config::read(&folder).unwrap()).unwrap();
    assert_eq!(tokenizer.piece(tokenizer.len() as u32), None);
}

#[test]
fn the_training_engine_agrees_with_transformers_too() {
    for name in MODELS {
        let llama = loyal_model::Llama::load(&golden(name), &candle_core::Device::Cpu).unwrap();
        check(name, 1e-4, &mut |fed| {
            let batch = loyal_model::Batch::new(fed.to_vec(), fed.len()).unwrap();
            let logits = llama.logits(&llama.parameters, &batch).unwrap();
            logits.flatten_all().unwrap().to_vec1().unwrap()
        });
    }
}
