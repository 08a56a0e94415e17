//! What a gated host does with many clients, with those who go away, and what it writes down of all of them.

#[allow(dead_code, reason = "the measurement uses the rest")]
#[path = "../../examples/load/town.rs"]
mod town;
#[allow(dead_code, reason = "the measurement uses the rest")]
#[path = "../../examples/load/volley.rs"]
mod volley;

use std::io::{Read as _, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse as _;
use axum::routing::post;
use loyal_access::Gate;
use loyal_protocol::devnet::Store;
use loyal_roles::host::gateway::{self, Source};
use loyal_roles::host::limits::{Limits, Rate};
use loyal_roles::host::log::Log;
use loyal_roles::host::{Drain, Settings};
use loyal_types::Clock;
use serde_json::Value;
use town::{Town, key};
use volley::{Caller, Site, Wish, wire};

const WHOLE: &str = r#"{"choices":[{"message":{"content":"Sealed words."}}],"usage":{"prompt_tokens":9,"completion_tokens":3}}"#;
const STREAM: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Sealed words.\"}}]}\n\n\
    data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3}}\n\ndata: [DONE]\n\n";

/// A clock that stands where the test puts it.
struct Hand(AtomicU64);

impl Clock for Hand {
    fn unix_seconds(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_secs(self.unix_seconds())
    }
}

/// A host with its town, and what it is asked by.
struct Hosted {
    site: Site,
    gate: Arc<Gate>,
    clock: Arc<Hand>,
    drain: Drain,
    serving: Option<JoinHandle<loyal_roles::Result<()>>>,
    _folder: tempfile::TempDir,
}

impl Hosted {
    fn start(callers: usize, engine: Router, settings: Settings) -> Self {
        let clock = Arc::new(Hand(1_800_000_000.into()));
        let town = Town::open(Store::in_memory().unwrap(), callers, clock.clone()).unwrap();
        (0..callers).for_each(|number| town.fund(number).unwrap());
        let (folder, listener) = (tempfile::tempdir().unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let port = listener.local_addr().unwrap().port();
        let site = site(&town, port);
        let gate = town.gate(folder.path(), &format!("http://127.0.0.1:{port}/v1")).unwrap();
        let drain = Drain::default();
        let (told, hand, watch) = (Arc::clone(&gate), clock.clone(), drain.clone());
        let serving = std::thread::spawn(move || {
            gateway::run(listener, (told, Source::Routes(engine)), settings, hand, &watch)
        });
        Self { site, gate, clock, drain, serving: Some(serving), _folder: folder }
    }

    fn caller(&self, number: usize, wish: Wish) -> Caller {
        Caller::new(&self.site, number, (wish, 0))
    }

    fn pass(&self, seconds: u64) {
        self.clock.0.fetch_add(seconds, Ordering::SeqCst);
    }

    fn metric(&self, name: &str) -> u64 {
        let mut line = TcpStream::connect(("127.0.0.1", self.site.gated)).unwrap();
        line.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        line.read_to_string(&mut text).unwrap();
        let found = text.lines().find_map(|line| line.strip_prefix(&format!("loyal_host_{name} ")));
        found.unwrap_or_else(|| panic!("{name} is not in {text}")).parse().unwrap()
    }

    fn receipts(&self) -> u32 {
        self.gate.books().turnover(self.gate.view().epoch(self.gate.now())).1
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        self.drain.begin();
        let ended = self.serving.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended.unwrap().unwrap().unwrap();
        }
    }
}

fn site(town: &Town, port: u16) -> Site {
    Site {
        chain_id: town.client.chain_id(),
        registry: town.at.registry,
        channel: town.at.channel,
        asset: town.at.currency,
        till: town.channel(town::caller(0).address()).unwrap().till(),
        signer: key("signer").address(),
        model: town.model,
        hosting: town.hosting,
        now: town.client.time().unwrap(),
        gated: port,
        open: 0,
        process: 0,
    }
}

/// The next request of a caller, on a connection of its own.
fn request(caller: &mut Caller, wish: Wish) -> Vec<u8> {
    let mut headers = caller.next().map(|(name, value)| (name.to_owned(), value)).to_vec();
    headers.push(("connection".to_owned(), "close".to_owned()));
    wire(wish, &headers)
}

fn unpaid() -> Vec<u8> {
    wire(Wish::Whole, &[("connection".to_owned(), "close".to_owned())])
}

/// The status, and all that came.
fn ask(site: &Site, request: &[u8]) -> (u16, String) {
    let mut line = TcpStream::connect(("127.0.0.1", site.gated)).unwrap();
    line.write_all(request).unwrap();
    let mut text = String::new();
    line.read_to_string(&mut text).unwrap();
    (text[9..12].parse().unwrap(), text)
}

fn engine() -> Router {
    Router::new().route(
        "/v1/chat/completions",
        post(async |body: Bytes| {
            let is_stream = String::from_utf8_lossy(&body).contains("\"stream\":true");
            let (kind, text) =
                if is_stream { ("text/event-stream", STREAM) } else { ("application/json", WHOLE) };
            ([(CONTENT_TYPE, kind)], text)
        }),
    )
}

fn limited(limits: Limits) -> Settings {
    Settings { limits, ..Settings::default() }
}

#[test]
fn a_caller_who_comes_too_often_waits_and_pays_nothing_for_it() {
    let caller = Rate { per_minute: 60, burst: 3 };
    let host = Hosted::start(2, engine(), limited(Limits { caller, ..Limits::NONE }));
    let mut often = host.caller(0, Wish::Whole);
    for _ in 0..3 {
        assert_eq!(ask(&host.site, &request(&mut often, Wish::Whole)).0, 200);
    }
    let fourth = request(&mut often, Wish::Whole);
    let (status, text) = ask(&host.site, &fourth);
    assert_eq!(status, 429, "{text}");
    assert!(text.contains("retry-after: 2") && text.contains("rate_limit_exceeded"), "{text}");
    assert_eq!((host.receipts(), host.metric("turned_away_caller_total")), (3, 1));
    // Another caller at the same address is not held up.
    assert_eq!(ask(&host.site, &request(&mut host.caller(1, Wish::Whole), Wish::Whole)).0, 200);
    // The same request is answered later: it was never there.
    host.pass(1);
    assert_eq!(ask(&host.site, &fourth).0, 200);
    assert_eq!(host.receipts(), 5);
}

#[test]
fn an_address_that_is_refused_too_often_is_turned_away_unread() {
    let address = Rate { per_minute: 60, burst: 2 };
    let host = Hosted::start(1, engine(), limited(Limits { address, ..Limits::NONE }));
    let mut caller = host.caller(0, Wish::Whole);
    // Who is admitted never counts.
    for _ in 0..5 {
        assert_eq!(ask(&host.site, &request(&mut caller, Wish::Whole)).0, 200);
    }
    assert_eq!(ask(&host.site, &unpaid()).0, 402);
    assert_eq!(ask(&host.site, &unpaid()).0, 402);
    let (status, text) = ask(&host.site, &unpaid());
    assert_eq!(status, 429, "{text}");
    assert!(text.contains("retry-after: "), "{text}");
    let next = request(&mut caller, Wish::Whole);
    assert_eq!(ask(&host.site, &next).0, 429);
    assert_eq!(host.metric("turned_away_address_total"), 2);
    assert_eq!(host.metric("asked_to_pay_total"), 2);
    host.pass(1);
    assert_eq!(ask(&host.site, &next).0, 200);
}

/// What a log wrote.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_log_says_who_came_and_nothing_that_was_said() {
    let written = Written::default();
    let log = Log::new(Box::new(written.clone())).unwrap();
    let settings = Settings { log: Some(log), ..Settings::default() };
    let host = Hosted::start(2, engine(), settings);
    let mut said = Vec::new();
    for (number, wish) in [(0, Wish::Whole), (1, Wish::Stream)] {
        let asked = request(&mut host.caller(number, wish), wish);
        let (status, answered) = ask(&host.site, &asked);
        assert_eq!(status, 200, "{answered}");
        assert!(answered.contains("Sealed words."), "{answered}");
        said.push(String::from_utf8(asked).unwrap());
    }
    assert_eq!(ask(&host.site, &unpaid()).0, 402);
    let mut stolen = request(&mut host.caller(0, Wish::Whole), Wish::Whole);
    let end = stolen.len() - 2;
    stolen[end] = b'}';
    assert_eq!(ask(&host.site, &stolen).0, 400);
    drop(host);
    let log = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4, "{log}");
    for (line, number) in lines[..2].iter().zip(0..) {
        assert_eq!(line["holder"], town::caller(number).address().to_string().to_lowercase(), "{line}");
        assert_eq!((&line["status"], &line["amount"]), (&200.into(), &"1000000".into()), "{line}");
        assert_eq!((&line["tokens_in"], &line["tokens_out"]), (&9.into(), &3.into()), "{line}");
        assert_eq!((&line["is_stream"], &line["has_left"]), (&(number == 1).into(), &false.into()), "{line}");
        assert_eq!((&line["path"], &line["address"]), (&"/v1/chat/completions".into(), &"127.0.0.1".into()));
    }
    assert_eq!((&lines[2]["status"], &lines[2]["code"]), (&402.into(), &"payment_required".into()));
    assert_eq!((&lines[3]["status"], &lines[3]["code"]), (&400.into(), &"malformed".into()));
    // Neither what was asked and answered, nor what permits and pays: no header's value, and no part of one.
    for word in ["fingerprint", "Sealed", "words", "Nothing", "loyal-credential", "signature", "max_tokens"] {
        assert!(!log.contains(word), "{word:?} is in {log}");
    }
    for value in said.iter().flat_map(|asked| asked.lines()).filter_map(|line| line.split_once(": ")) {
        let secret = value.0.starts_with("loyal-") || value.0 == "payment-signature";
        assert!(!secret || !log.contains(&value.1[..40]), "{} is in {log}", value.0);
    }
}

/// Says when it is dropped.
struct Guard(Sender<()>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// An engine that thinks for ever over the first question, and says when it begins and when it is told to stop.
fn thinker() -> (Router, Receiver<()>, Receiver<()>) {
    let ((begins, begun), (stops, stopped)) = (channel(), channel());
    let (asked, seams) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new((begins, stops))));
    let answer = move || {
        let (number, seams) = (asked.fetch_add(1, Ordering::SeqCst), Arc::clone(&seams));
        async move {
            if number == 0 {
                let guard = seams.lock().ok().map(|seams| (seams.0.send(()), Guard(seams.1.clone())));
                std::future::pending::<()>().await;
                drop(guard);
            }
            ([(CONTENT_TYPE, "application/json")], WHOLE).into_response()
        }
    };
    (Router::new().route("/v1/chat/completions", post(answer)), begun, stopped)
}

#[test]
fn who_goes_away_stops_the_work_and_pays_nothing() {
    let (engine, begun, stopped) = thinker();
    let written = Written::default();
    let log = Log::new(Box::new(written.clone())).unwrap();
    let host = Hosted::start(1, engine, Settings { log: Some(log), ..Settings::default() });
    let asked = request(&mut host.caller(0, Wish::Whole), Wish::Whole);
    let mut line = TcpStream::connect(("127.0.0.1", host.site.gated)).unwrap();
    line.write_all(&asked).unwrap();
    begun.recv().unwrap();
    drop(line);
    stopped.recv().unwrap();
    // The channel is free again, the nonce unused: the same request is answered, once it is asked again.
    let answered = (0..1_000).find(|_| ask(&host.site, &asked).0 == 200);
    assert!(answered.is_some() && host.receipts() == 1);
    drop(host);
    let log = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    assert_eq!(log.lines().filter(|line| line.contains("\"has_left\":true")).count(), 1, "{log}");
}
