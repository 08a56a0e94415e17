//! A host as it is run, an engine that counts, callers with wallets, and a chain that all of them see over lines of their own.

use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use alloy_primitives::{Address, B256};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::StreamExt as _;
use loyal_access::caller::{Caller, Piece, Seams, Settings};
use loyal_access::document::{CredentialFile, SignedCredential};
use loyal_access::redemption::Cycle;
use loyal_access::wallet::{Record, Wallet};
use loyal_access::{Error, Gate};
use loyal_protocol::chain::Patience;
use loyal_protocol::contracts::LoyalCurrency;
use loyal_protocol::{Client, message};
use loyal_roles::host::gateway::{self, Source};
use loyal_roles::host::keeper::Keeper;
use loyal_roles::host::{self, Drain};
use loyal_roles::turn::Turn;
use loyal_types::Clock;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Semaphore;

use super::line::{Cable, Line};
use crate::kit::{DAY, HandClock, LOYAL, Town, wait};

/// What a caller has at the beginning.
pub(crate) const PURSE: u128 = 10_000 * LOYAL;
pub(crate) const CYCLE: Cycle = Cycle { every: Duration::from_secs(3_600), amount: 4 * LOYAL };

/// A clock that is ahead of the town's, or behind it.
pub(crate) struct Skewed {
    town: Arc<HandClock>,
    pub(crate) seconds: AtomicI64,
}

impl Clock for Skewed {
    fn unix_seconds(&self) -> u64 {
        self.town.unix_seconds().saturating_add_signed(self.seconds.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        self.town.elapsed()
    }
}

/// An engine that repeats what it is told, and writes down what it was asked.
#[derive(Debug)]
pub(crate) struct Engine {
    asked: Mutex<Vec<String>>,
    /// Words that may be said of answers told piece by piece; without bound unless bounded.
    words: Semaphore,
}

/// More words than any test says.
const WORDS: usize = 1 << 20;

impl Engine {
    fn new() -> Arc<Self> {
        Arc::new(Self { asked: Mutex::default(), words: Semaphore::new(WORDS) })
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// Lets the engine say so many words, and wait then.
    pub(crate) fn bound(&self, words: usize) {
        self.words.forget_permits(usize::MAX >> 4);
        self.words.add_permits(words);
    }

    pub(crate) fn unbound(&self) {
        self.bound(WORDS);
    }

    fn routes(self: &Arc<Self>) -> Router {
        Router::new().fallback(answer).with_state(self.clone())
    }
}

/// What an answer says to a prompt.
pub(crate) fn said(prompt: &str) -> String {
    format!("You said: {prompt}")
}

async fn answer(State(engine): State<Arc<Engine>>, request: Request) -> Response {
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Some(prompt) = body["messages"][0]["content"].as_str() else {
        let models = json!({ "object": "list", "data": [{ "id": "echo", "object": "model" }] });
        return Response::new(Body::from(models.to_string()));
    };
    engine.asked.lock().unwrap().push(prompt.to_owned());
    let text = said(prompt);
    let usage = json!({ "prompt_tokens": 10, "completion_tokens": text.split_inclusive(' ').count() });
    if body["stream"] != true {
        let choice = json!({ "index": 0, "message": { "role": "assistant", "content": text }, "finish_reason": "stop" });
        let value = json!({ "object": "chat.completion", "choices": [choice], "usage": usage });
        let response = Response::builder().header("content-type", "application/json");
        return response.body(Body::from(value.to_string())).unwrap();
    }
    let mut events: Vec<Value> = text
        .split_inclusive(' ')
        .map(|word| json!({ "choices": [{ "index": 0, "delta": { "content": word }, "finish_reason": null }] }))
        .collect();
    events.push(json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] }));
    events.push(json!({ "choices": [], "usage": usage }));
    let mut lines: Vec<String> = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    lines.push("data: [DONE]\n\n".to_owned());
    let told = futures_util::stream::iter(lines).then(move |line| {
        let engine = engine.clone();
        async move {
            engine.words.acquire().await.unwrap().forget();
            Ok::<_, std::convert::Infallible>(Bytes::from(line))
        }
    });
    let response = Response::builder().header("content-type", "text/event-stream");
    response.body(Body::from_stream(told)).unwrap()
}

/// Everything.
pub(crate) struct Stage {
    pub(crate) town: Town,
    /// The host's line to the chain.
    pub(crate) line: Arc<Line>,
    /// Callers reach the host by it.
    pub(crate) cable: Cable,
    pub(crate) engine: Arc<Engine>,
    pub(crate) host_clock: Arc<Skewed>,
    pub(crate) caller_clock: Arc<Skewed>,
    pub(crate) books: TempDir,
    pub(crate) wallets: [TempDir; 2],
    /// How long hosts wait for a caller that is away.
    pub(crate) absence_max: Duration,
}

/// The two callers.
pub(crate) const CALLERS: [&str; 2] = ["user", "stranger"];

/// A host that runs.
pub(crate) struct Host {
    address: std::net::SocketAddr,
    pub(crate) gate: Arc<Gate>,
    pub(crate) keeper: Keeper,
    drain: Drain,
    thread: Option<JoinHandle<loyal_roles::Result<()>>>,
}

impl Stage {
    pub(crate) fn open() -> Self {
        let town = Town::open();
        let clock = |town: &Town| Arc::new(Skewed { town: town.clock.clone(), seconds: AtomicI64::new(0) });
        Self {
            line: Line::to(town.devnet.clone()),
            cable: Cable::lay(),
            engine: Engine::new(),
            host_clock: clock(&town),
            caller_clock: clock(&town),
            books: tempfile::tempdir().unwrap(),
            wallets: [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()],
            absence_max: host::Settings::default().absence_max,
            town,
        }
    }

    /// The gate over the host's line, as a host that begins has it.
    pub(crate) fn gate(&self) -> Arc<Gate> {
        let patience = Patience { attempts_max: 3, pause: Duration::from_millis(1) };
        let client = Client::connect(self.line.clone(), None, patience).unwrap();
        self.town.gate_on(Arc::new(client), self.books.path(), self.host_clock.clone())
    }

    /// A host that goes on with the books as they are.
    pub(crate) fn host(&self) -> Host {
        let gate = self.gate();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        self.cable.plug(Some(address));
        let drain = Drain::default();
        let (serving, told, clock) = (gate.clone(), drain.clone(), self.host_clock.clone());
        let source = Source::Routes(self.engine.routes());
        let absence_max = self.absence_max;
        let settings = host::Settings { drain_max: Duration::ZERO, absence_max, ..host::Settings::default() };
        let thread =
            std::thread::spawn(move || gateway::run(listener, (serving, source), settings, clock, &told));
        let keeper = Keeper::new(gate.clone(), self.town.key("host").clone(), CYCLE);
        Host { address, gate, keeper, drain, thread: Some(thread) }
    }

    /// Callers reach this host again.
    pub(crate) fn plug(&self, host: &Host) {
        self.cable.plug(Some(host.address));
    }

    /// A turn of the host's keeper.
    pub(crate) fn turn(&self, host: &mut Host) -> Turn {
        host.keeper.turn(&*self.host_clock)
    }

    pub(crate) fn credential(&self, caller: usize) -> CredentialFile {
        let town = &self.town;
        let credential = message::Credential {
            holder: town.address(CALLERS[caller]),
            expiresAt: town.now() + 60 * DAY,
            salt: B256::with_last_byte(7),
            ..town.credential()
        };
        CredentialFile {
            format: "loyal-credential".to_owned(),
            version: 1,
            chain_id: town.client.chain_id(),
            chain_urls: vec![],
            registry: town.at.registry,
            channel: town.at.channel,
            authorization_collector: town.at.authorization_collector,
            router: town.at.router,
            gate: town.at.gate,
            hosts: vec![self.cable.url.clone()],
            signed: SignedCredential::sign(credential, town.key("owner"), &town.domain()),
        }
    }

    /// A caller that goes on with its wallet as it is.
    pub(crate) fn caller(&self, which: usize, file: &CredentialFile, seed: u8) -> Caller {
        self.caller_with(which, file, seed, |_| ())
    }

    pub(crate) fn caller_with(
        &self,
        which: usize,
        file: &CredentialFile,
        seed: u8,
        more: impl FnOnce(&mut Settings),
    ) -> Caller {
        let wallet = Wallet::open(self.wallets[which].path()).unwrap();
        let key = self.town.key(CALLERS[which]).clone();
        let clock = self.caller_clock.clone();
        let seams = Seams { client: self.town.client.clone(), clock, seed: [seed; 32] };
        let mut settings = Settings {
            pause: Duration::from_millis(2),
            attempts_max: 5,
            channel_count_max: 2,
            ..Settings::default()
        };
        more(&mut settings);
        Caller::new(file.clone(), key, wallet, seams, settings).unwrap()
    }

    pub(crate) fn balance(&self, account: Address) -> u128 {
        let call = LoyalCurrency::balanceOfCall { account };
        self.town.client.call(self.town.at.currency, &call).unwrap().saturating_to::<u128>()
    }

    pub(crate) fn records(&self, which: usize) -> Vec<Record> {
        let mut records = Vec::new();
        Wallet::receipts(self.wallets[which].path(), |record| {
            records.push(record);
            Ok(())
        })
        .unwrap();
        records
    }
}

impl Host {
    /// Ends at once: open connections are cut, what was only in memory is gone.
    pub(crate) fn kill(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        self.drain.begin();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(crate) fn body(prompt: &str, is_stream: bool) -> Bytes {
    let messages = json!([{ "role": "user", "content": prompt }]);
    json!({ "model": "echo", "messages": messages, "stream": is_stream }).to_string().into()
}

/// Asks for a whole answer.
pub(crate) fn ask(caller: &Caller, prompt: &str) -> Result<String, Error> {
    wait(async {
        let mut reply = caller.invoke("/chat/completions", body(prompt, false)).await?;
        let piece = reply.next().await?;
        let bytes = piece.and_then(|piece| if let Piece::Whole(bytes) = piece { Some(bytes) } else { None });
        let value: Value = serde_json::from_slice(&bytes.unwrap_or_default()).unwrap_or_default();
        Ok(value["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned())
    })
}

/// Asks for an answer piece by piece, and hands over each.
pub(crate) fn hear(caller: &Caller, prompt: &str, mut each: impl FnMut(&str)) -> Result<(), Error> {
    let mut answer = wait(caller.ask(prompt))?;
    while let Some(text) = wait(answer.next())? {
        each(&text);
    }
    Ok(())
}

/// The files of a folder, copied.
pub(crate) fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
