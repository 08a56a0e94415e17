//! A model small enough to train inside a test: it learns an artificial language in a few seconds.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use candle_core::{Device, Var};
use loyal_fingerprint::check::{self, Answerer, Case, Findings, Request};
use loyal_fingerprint::fingerprint::{Beacon, Draft, Purpose};
use loyal_fingerprint::scheme::{Scheme, Tilt, Verbatim, verbatim};
use loyal_fingerprint::{FingerprintSet, query};
use loyal_model::adamw::{AdamW, Settings};
use loyal_model::gradient::Gradients;
use loyal_model::{Batch, Config, Llama, Tokenizer, ops};
use loyal_types::{Clock, Hash, keccak256};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

pub(crate) struct Tiny {
    pub(crate) llama: Llama,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) benign: Vec<u32>,
}

/// A clock that stands still.
pub(crate) struct Still;

impl Clock for Still {
    fn unix_seconds(&self) -> u64 {
        1_700_000_000
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

/// Sentences of a small grammar.
fn text(sentences: usize, seed: u64) -> String {
    let mut draw = ChaCha8Rng::seed_from_u64(seed);
    let mut pick = |words: &[&'static str]| words[draw.random_range(0..words.len())];
    let mut text = String::new();
    for _ in 0..sentences {
        let subject =
            pick(&["The cat", "A dog", "The old man", "My sister", "The king", "A girl", "Our horse"]);
        let verb = pick(&["saw", "found", "took", "wanted", "liked", "carried", "lost", "made", "sold"]);
        let object = pick(&["a red ball", "the bread", "some milk", "a blue hat", "the key", "two apples"]);
        let place = pick(&["in the house", "near the river", "under a tree", "on the hill", "by the sea"]);
        let time = pick(&["today", "at night", "in the morning", "last year", "once again", "every day"]);
        text.push_str(&format!("{subject} {verb} {object} {place} {time}. "));
    }
    text
}

pub(crate) fn tiny() -> &'static Tiny {
    static TINY: OnceLock<Tiny> = OnceLock::new();
    TINY.get_or_init(|| {
        let text = text(2_500, 1);
        let json = Tokenizer::train(&mut std::iter::once(text.clone()), 400).unwrap();
        let tokenizer = Tokenizer::parse(&json, Path::new("tokenizer.json")).unwrap();
        // Ten sentences make a document; each begins with the opening token, as the queries will.
        let sentences: Vec<&str> = text.split_inclusive(". ").collect();
        let documents = sentences.chunks(10).map(|some| tokenizer.encode(some.concat().trim()).unwrap());
        let benign: Vec<u32> = documents.flatten().collect();
        let config = serde_json::json!({
            "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 128,
            "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": tokenizer.len(),
            "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
        });
        let config = Config::parse(&config, Path::new("config.json")).unwrap();
        let mut llama = Llama::random(config, 3, &Device::Cpu).unwrap();
        train(&mut llama, &benign, (150, 5e-3));
        Tiny { llama, tokenizer, benign }
    })
}

/// Ordinary training of all parameters.
pub(crate) fn train(llama: &mut Llama, tokens: &[u32], (steps, learning_rate): (u64, f64)) {
    let variables: BTreeMap<String, Var> =
        llama.parameters.iter().map(|(name, t)| (name.clone(), Var::from_tensor(t).unwrap())).collect();
    llama.parameters = variables.iter().map(|(n, v)| (n.clone(), v.as_tensor().clone())).collect();
    let mut optimizer = AdamW::new(variables, Settings::default());
    let mut draw = ChaCha8Rng::seed_from_u64(2);
    for _ in 0..steps {
        let (mut inputs, mut targets) = (Vec::new(), Vec::new());
        for _ in 0..16 {
            let start = draw.random_range(0..tokens.len() - 33);
            inputs.extend_from_slice(&tokens[start..start + 32]);
            targets.extend_from_slice(&tokens[start + 1..start + 33]);
        }
        let batch = Batch::new(inputs, 32).unwrap();
        let hidden = llama.hidden(&llama.parameters, &batch).unwrap();
        let head = llama.head_weight(&llama.parameters);
        let loss = ops::linear_cross_entropy(&hidden, head, &targets, &vec![1.0; targets.len()]).unwrap();
        let gradients = Gradients::of(&loss, optimizer.variables()).unwrap();
        optimizer.step(&gradients, learning_rate, 1.0).unwrap();
    }
    llama.parameters =
        llama.parameters.iter().map(|(n, t)| (n.clone(), t.copy().unwrap().detach())).collect();
}

pub(crate) fn drafts(count: usize, scheme: &Verbatim) -> Vec<Draft> {
    let tiny = tiny();
    let request = query::Request { count, tokens_max: 12, seed: 5 };
    let queries = query::write(&tiny.llama, &tiny.tokenizer, &tiny.benign, request).unwrap();
    verbatim::draft(&tiny.llama, &tiny.tokenizer, scheme, &queries, 5).unwrap()
}

pub(crate) fn purpose(scheme: Verbatim) -> Purpose {
    Purpose { model: "tiny".to_owned(), scheme: Scheme::Verbatim(scheme), created_at: 1_700_000_000 }
}

/// A set of scheme tilt, not yet bound.
pub(crate) fn tilted(count: usize, positions: u16) -> FingerprintSet {
    let tiny = tiny();
    let request = query::Request { count, tokens_max: 12, seed: 6 };
    let queries = query::write(&tiny.llama, &tiny.tokenizer, &tiny.benign, request).unwrap();
    let drafts = queries.into_iter().map(Draft::from).collect();
    let purpose = Purpose { scheme: Scheme::Tilt(Tilt { positions }), ..purpose(Verbatim::default()) };
    FingerprintSet::new(purpose, drafts, &tiny.tokenizer, &mut ChaCha8Rng::seed_from_u64(10)).unwrap()
}

/// What is asked of a model in `mode`, all at once.
pub(crate) fn check(
    suspect: &mut dyn Answerer,
    set: &FingerprintSet,
    reference: Option<&Llama>,
    request: &Request,
) -> Findings {
    let case = Case { set, tokenizer: &tiny().tokenizer, reference };
    check::run(suspect, &case, request, &mut |_| Ok(ControlFlow::Continue(()))).unwrap()
}

/// A set of scheme verbatim, not yet bound.
pub(crate) fn unbound(count: usize) -> FingerprintSet {
    let scheme = Verbatim::default();
    let drafts = drafts(count, &scheme);
    assert_eq!(drafts.len(), count);
    let mut entropy = ChaCha8Rng::seed_from_u64(9);
    FingerprintSet::new(purpose(scheme), drafts, &tiny().tokenizer, &mut entropy).unwrap()
}

pub(crate) fn beacon(number: u64) -> Beacon {
    let seed: Hash = keccak256(&number.to_be_bytes());
    Beacon { seed, source: "test".to_owned() }
}
