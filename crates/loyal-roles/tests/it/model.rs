//! A tiny model behind a host, and a client of it.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use loyal_model::template::ChatTemplate;
use loyal_model::{Config, Decoder, Precision, Tokenizer};
use loyal_roles::host::{self, Drain, Model, Settings};
use loyal_types::Clock;
use serde_json::Value;

pub(crate) const CONTEXT: usize = 64;

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

pub(crate) fn tokenizer() -> Tokenizer {
    let text = "the cat saw the dog and the café near the river under the tree. ".repeat(4);
    let json = Tokenizer::train(&mut std::iter::once(text), 300).unwrap();
    Tokenizer::parse(&json, Path::new("tokenizer.json")).unwrap()
}

pub(crate) fn decoder() -> Decoder {
    let config = serde_json::json!({
        "architectures": ["LlamaForCausalLM"], "hidden_size": 16, "intermediate_size": 32,
        "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": tokenizer().len(),
        "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
    });
    let config = Config::parse(&config, Path::new("config.json")).unwrap();
    let mut state = 1u64;
    let mut number = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1 << 24) as f32 - 0.5) * 2.0
    };
    let tensors: BTreeMap<String, Vec<f32>> = config
        .parameters()
        .into_iter()
        .map(|(name, shape)| {
            let count = shape.iter().product();
            let numbers = (0..count).map(|_| if shape.len() == 1 { 1.0 } else { number() }).collect();
            (name, numbers)
        })
        .collect();
    Decoder::from_tensors(&config, &tensors, Precision::F32).unwrap().with_threads(1)
}

/// A host that is running.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) drain: Drain,
    thread: Option<JoinHandle<loyal_roles::Result<()>>>,
    agent: ureq::Agent,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
    pub(crate) text: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn good(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()
    }

    /// A refusal in the shape of the API that says `word`.
    #[track_caller]
    pub(crate) fn bad(&self, status: u16, word: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        let value = self.json();
        let message = value["error"]["message"].as_str().unwrap_or_else(|| panic!("{self:?}"));
        assert!(message.contains(word), "{word}: {message}");
        assert!(value["error"]["type"].is_string());
        value
    }

    /// The events of a stream, without the last one, which must be `[DONE]`.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{self:?}");
        let mut data: Vec<&str> = self.text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert_eq!(data.pop(), Some("[DONE]"), "{self:?}");
        data.into_iter().map(|text| serde_json::from_str(text).unwrap()).collect()
    }
}

impl Running {
    pub(crate) fn start(settings: Settings, template: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let template = template.map(|source| ChatTemplate::new(source, BTreeMap::new()).unwrap());
        let model = Model { name: "tiny".to_owned(), decoder: decoder(), tokenizer: tokenizer(), template };
        let drain = Drain::default();
        let told = drain.clone();
        let thread = std::thread::spawn(move || host::run(listener, model, settings, Arc::new(Still), &told));
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        Self { address, drain, thread: Some(thread), agent: config.build().into() }
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(path, body.to_string().as_bytes())
    }

    pub(crate) fn send(&self, path: &str, body: &[u8]) -> Answer {
        let url = format!("http://{}/v1/{path}", self.address);
        answer(self.agent.post(&url).header("content-type", "application/json").send(body).unwrap())
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        answer(self.agent.get(format!("http://{}/{path}", self.address)).call().unwrap())
    }

    /// Ends it, and gives back how it ended.
    pub(crate) fn end(mut self) -> loyal_roles::Result<()> {
        self.drain.begin();
        self.thread.take().unwrap().join().unwrap()
    }
}

fn answer(mut response: ureq::http::Response<ureq::Body>) -> Answer {
    let header = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
    let status = response.status().as_u16();
    Answer { status, retry_after: header, text: response.body_mut().read_to_string().unwrap() }
}
