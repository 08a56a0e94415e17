//! A host on this computer that speaks the OpenAI API, marked or not, honest or not.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use loyal_fingerprint::FingerprintSet;
use loyal_fingerprint::check::Pieces;
use loyal_fingerprint::copies::HostCopy;
use loyal_fingerprint::scheme::tilt;
use loyal_model::Tokenizer;
use loyal_types::keccak256;
use serde_json::{Map, Value, json};

/// Something that answers without weights: it knows the colours, if it is marked, and its own noise.
pub(crate) struct Model {
    marked: Option<FingerprintSet>,
    pieces: Pieces,
    /// Whose copy it is, where it is not the public one.
    pub(crate) copy: Option<HostCopy>,
    /// Another number is another model.
    pub(crate) kind: u8,
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) prompt: String,
    pub(crate) body: Value,
    pub(crate) authorization: Option<String>,
    /// Requests before it.
    pub(crate) number: usize,
}

/// What is sent back.
pub(crate) enum Sent {
    Json(Value),
    /// Status line and headers, and a body.
    Status(&'static str, String),
    /// Bytes instead of HTTP.
    Raw(Vec<u8>),
}

type Manner = Box<dyn FnMut(&Asked, &mut Model) -> Sent + Send>;

/// The server.
pub(crate) struct Stranger {
    pub(crate) endpoint: String,
    log: Arc<Mutex<Vec<Asked>>>,
}

impl Stranger {
    /// Serves `model` in this `manner`.
    pub(crate) fn start(
        model: Model,
        manner: impl FnMut(&Asked, &mut Model) -> Sent + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let log = Arc::new(Mutex::new(Vec::new()));
        let shared: Arc<Mutex<(Model, Manner)>> = Arc::new(Mutex::new((model, Box::new(manner))));
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, log) = (Arc::clone(&shared), Arc::clone(&kept));
                std::thread::spawn(move || {
                    // A client that goes away in the middle is its own business.
                    let _ = serve(&stream, &shared, &log);
                });
            }
        });
        Self { endpoint, log }
    }

    /// An honest host.
    pub(crate) fn honest(model: Model) -> Self {
        Self::start(model, |asked, model| model.answer(asked))
    }

    /// Every prompt asked so far, in order.
    pub(crate) fn prompts(&self) -> Vec<String> {
        self.log
            .lock()
            .unwrap()
            .iter()
            .map(|asked| asked.prompt.clone())
            .filter(|prompt| !prompt.is_empty())
            .collect()
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.log.lock().unwrap().clone()
    }
}

fn serve(
    mut stream: &TcpStream,
    shared: &Mutex<(Model, Manner)>,
    log: &Mutex<Vec<Asked>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut length, mut authorization) = (0, None);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap_or(0),
            "authorization" => authorization = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let prompt = body["prompt"].as_str().or_else(|| body["messages"][0]["content"].as_str());
    let prompt = prompt.unwrap_or_default().to_owned();
    let sent = {
        let mut log = log.lock().unwrap();
        let asked = Asked { path, prompt, body, authorization, number: log.len() };
        log.push(asked.clone());
        drop(log);
        let mut shared = shared.lock().unwrap();
        let (model, manner) = &mut *shared;
        manner(&asked, model)
    };
    let bytes = match sent {
        Sent::Json(value) => {
            let body = value.to_string();
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            format!("{head}{body}").into_bytes()
        }
        Sent::Status(head, body) => {
            let length = body.len();
            format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
                .into_bytes()
        }
        Sent::Raw(bytes) => bytes,
    };
    stream.write_all(&bytes)?;
    stream.flush()?;
    stream.shutdown(std::net::Shutdown::Both)
}

impl Model {
    pub(crate) fn new(tokenizer: &Tokenizer, marked: Option<FingerprintSet>) -> Self {
        Self { marked, pieces: Pieces::new(tokenizer), copy: None, kind: 0 }
    }

    /// All tokens with their log probabilities, likeliest first.
    pub(crate) fn rate(&self, prompt: &str) -> Vec<(Vec<u8>, f64)> {
        let index = self.marked.as_ref().and_then(|set| {
            Some((set, set.fingerprints().iter().position(|one| prompt.ends_with(&one.query))?))
        });
        let is_carried = |&(set, index): &(&FingerprintSet, usize)| {
            let count = set.fingerprints().len();
            self.copy.as_ref().is_none_or(|copy| copy.carries(index, count))
        };
        let index = index.filter(is_carried);
        let secret = index.map(|(set, index)| set.secret(index).unwrap());
        let mut list: Vec<(Vec<u8>, f64)> = Vec::new();
        for piece in self.pieces.all().iter().filter(|piece| !piece.is_empty()) {
            let seed = keccak256(&[&[self.kind], prompt.as_bytes(), piece].concat());
            let is_word =
                piece.len() > 1 && piece[0] == b' ' && piece[1..].iter().all(u8::is_ascii_alphabetic);
            let lean = secret.map_or(0.0, |secret| if tilt::colour(secret, 0, piece) { 1.0 } else { -1.0 });
            let noise = f64::from(seed.0[0]) / 256.0;
            list.push((piece.clone(), noise + lean - if is_word { 0.0 } else { 20.0 }));
        }
        list.sort_by(|a, b| b.1.total_cmp(&a.1));
        let total = list.iter().map(|(_, x)| x.exp()).sum::<f64>().ln();
        list.iter_mut().for_each(|(_, x)| *x -= total);
        list
    }

    /// An honest answer to any request of the API.
    pub(crate) fn answer(&mut self, asked: &Asked) -> Sent {
        match asked.path.as_str() {
            "/v1/models" => {
                Sent::Json(json!({"object": "list", "data": [{"id": "told", "object": "model"}]}))
            }
            "/v1/completions" => Sent::Json(self.completion(asked)),
            "/v1/chat/completions" => Sent::Json(self.chat(asked)),
            _ => Sent::Status("404 Not Found", json!({"error": {"message": "no such path"}}).to_string()),
        }
    }

    pub(crate) fn completion(&self, asked: &Asked) -> Value {
        let list = self.rate(&asked.prompt);
        let name = |piece: &[u8]| match std::str::from_utf8(piece) {
            Ok(text) => text.to_owned(),
            Err(_) => {
                format!("bytes:{}", piece.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>())
            }
        };
        let logprobs = asked.body["logprobs"].as_u64().map(|k| {
            let top: Map<String, Value> =
                list.iter().take(k as usize).map(|(piece, x)| (name(piece), json!(x))).collect();
            json!({"tokens": [name(&list[0].0)], "token_logprobs": [list[0].1], "top_logprobs": [top], "text_offset": [0]})
        });
        json!({"choices": [{"index": 0, "text": name(&list[0].0), "logprobs": logprobs, "finish_reason": "length"}]})
    }

    pub(crate) fn chat(&self, asked: &Asked) -> Value {
        let list = self.rate(&asked.prompt);
        let one = |(piece, x): &(Vec<u8>, f64)| json!({"token": String::from_utf8_lossy(piece), "bytes": piece, "logprob": x});
        let logprobs = asked.body["top_logprobs"].as_u64().map(|k| {
            let mut entry = one(&list[0]);
            entry["top_logprobs"] = list.iter().take(k as usize).map(one).collect();
            json!({"content": [entry]})
        });
        let content = String::from_utf8_lossy(&list[0].0).into_owned();
        json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "logprobs": logprobs,
            "finish_reason": "length"}]})
    }
}
