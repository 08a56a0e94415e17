//! What the tests share: a clock that stands still, a server on a port of its own, raw HTTP, hostile servers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use loyal_agent::agent::Ended;
use loyal_agent::client::{self, Reach, Reply};
use loyal_agent::serve::{Limits, RunEnd, Server};
use loyal_agent::session::Request;
use loyal_agent::{Agent, Query, ResponseHandler, Result, Session, Ulid, agent};
use loyal_types::Clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

pub(crate) struct Still;

impl Clock for Still {
    fn unix_seconds(&self) -> u64 {
        1_800_000_000
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

pub(crate) const SEED: [u8; 32] = [7; 32];

/// A server on a free port, and how its runs ended.
pub(crate) struct Up {
    pub(crate) server: Arc<Server>,
    pub(crate) url: String,
    ends: Arc<(Mutex<Vec<RunEnd>>, Notify)>,
}

pub(crate) async fn up(agent: impl Agent + 'static) -> Up {
    up_with(agent, |server| server, Limits::default()).await
}

pub(crate) async fn up_with(
    agent: impl Agent + 'static,
    set: impl FnOnce(Server) -> Server,
    limits: Limits,
) -> Up {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let ends = Arc::new((Mutex::new(Vec::new()), Notify::new()));
    let watch = ends.clone();
    let server = set(Server::new(agent, limits, Arc::new(Still), SEED)).with_watch(move |end| {
        watch.0.lock().unwrap().push(end.clone());
        watch.1.notify_one();
    });
    let server = Arc::new(server);
    tokio::spawn({
        let server = server.clone();
        async move { server.run(listener).await.unwrap() }
    });
    Up { server, url, ends }
}

impl Up {
    /// How the run of this place ended, once it has.
    pub(crate) async fn end(&self, index: usize) -> Ended {
        loop {
            if let Some(end) = self.ends.0.lock().unwrap().get(index) {
                return end.ended.clone();
            }
            self.ends.1.notified().await;
        }
    }

    pub(crate) async fn ask(&self, prompt: &str) -> Result<Reply> {
        ask(&self.url, prompt).await
    }

    /// Sends a text over a connection of its own and reads the answer to its end.
    pub(crate) async fn raw(&self, text: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.url.trim_start_matches("http://")).await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> String {
        self.raw(&post(path, body)).await
    }
}

pub(crate) fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

pub(crate) fn local() -> client::Limits {
    client::Limits { reach: Reach::Local, ..client::Limits::default() }
}

pub(crate) fn ulid(number: u128) -> Ulid {
    Ulid::new(1_800_000_000_000, number)
}

pub(crate) fn question(prompt: &str) -> Request {
    let session = Session::new("sentient-chat-client", ulid(1), ulid(2), Vec::new());
    Request { query: Query { id: ulid(3), prompt: prompt.to_owned() }, session: Some(session) }
}

pub(crate) async fn ask(url: &str, prompt: &str) -> Result<Reply> {
    Reply::read(client::run(url, &question(prompt), local()).await?).await
}

/// An agent that does what the prompt says, as `golden/agent.py` does.
pub(crate) fn golden() -> impl Agent + 'static {
    agent("golden", |session: Session, query: Query, out: ResponseHandler| async move {
        let (name, rest) = query.prompt.split_once(' ').unwrap_or((&query.prompt, ""));
        match name {
            "stream" => {
                let stream = out.create_text_stream("FINAL_RESPONSE")?;
                for word in ["Hel", "lo", "", " wor", "ld"] {
                    stream.emit_chunk(word).await?;
                }
                stream.complete().await?;
                out.complete().await
            }
            "respond" => out.respond("ANSWER", "whole").await,
            "json" => {
                let first = serde_json::json!({"title": "é \u{2028} \u{1F600}", "n": 3, "x": 1.0, "y": 1e22, "z": -0.0,
                    "big": 123_456_789, "none": null, "nan": f64::NAN});
                let text = "a/b\\\"\u{8}\u{c}\n\r\t\u{1f}\u{7f}";
                out.emit_json("SOURCES", &serde_json::json!({"results": [first], "slash": text})).await?;
                out.emit_text_block("PLAN", "first\nsecond").await
            }
            "error" => {
                out.emit_error("nope", 429, Some(&serde_json::json!({"retry_after": 3}))).await?;
                out.emit_error("plain", 500, None).await
            }
            "unicode" => {
                let text = "a\u{85}b\u{2028}c\u{2029}d <&> é 漢 \u{1F600} \0\u{1b}\u{7f}";
                out.respond("ANSWER", text).await
            }
            "name" => out.emit_text_block("BAD\nevent: done", "x").await,
            "unclosed" => {
                let first = out.create_text_stream("FINAL_RESPONSE")?;
                let second = out.create_text_stream("THINKING")?;
                second.emit_chunk("b").await?;
                first.emit_chunk("a").await
            }
            "history" => {
                let seen: Vec<_> =
                    session.messages(usize::MAX).into_iter().map(|message| message.text).collect();
                out.emit_json("HISTORY", &serde_json::json!({ "seen": seen })).await
            }
            "count" => {
                let stream = out.create_text_stream("FINAL_RESPONSE")?;
                for index in 0..rest.parse().unwrap() {
                    stream.emit_chunk(format!("{index} ")).await?;
                }
                stream.complete().await
            }
            "panic" => panic!("secret detail"),
            "raise" => Err(loyal_agent::Error::failed("secret detail")),
            "told" => Err(loyal_agent::Error::told(402, "Pay first.")),
            "hang" => std::future::pending().await,
            other => out.respond("ANSWER", other).await,
        }
    })
}

/// A server that answers every request with the same bytes and then closes, or holds the connection open.
pub(crate) async fn hostile(answer: Vec<u8>, hold: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = vec![0; 65_536];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(&answer).await;
                if hold {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    url
}

/// The head of a stream of events that ends with the connection.
pub(crate) const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
