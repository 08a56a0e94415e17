//! What a host refuses, and how it says so.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Barrier;

use loyal_roles::Error;
use loyal_roles::host::Settings;
use serde_json::json;

use crate::model::{CONTEXT, Running};

#[test]
fn what_makes_no_sense_is_refused() {
    let host = Running::start(Settings::default(), None);
    let message = json!([{"role": "user", "content": "x"}]);
    for (path, body, word) in [
        ("completions", json!({}), "prompt"),
        ("completions", json!({"prompt": ""  , "max_tokens": 100_000}), "context holds"),
        ("completions", json!({"prompt": []}), "empty"),
        ("completions", json!({"prompt": [[]]}), "empty"),
        ("completions", json!({"prompt": [99_999]}), "99999"),
        ("completions", json!({"prompt": "x", "max_tokens": CONTEXT}), "context holds"),
        ("completions", json!({"prompt": "x", "max_tokens": -1}), "body"),
        ("completions", json!({"prompt": "x", "temperature": -0.1}), "temperature"),
        ("completions", json!({"prompt": "x", "temperature": 2.1}), "temperature"),
        ("completions", json!({"prompt": "x", "top_p": 0}), "top_p"),
        ("completions", json!({"prompt": "x", "n": 0}), "n:"),
        ("completions", json!({"prompt": "x", "n": 65}), "n:"),
        ("completions", json!({"prompt": "x", "logprobs": 21}), "logprobs"),
        ("completions", json!({"prompt": "x", "echo": true}), "echo"),
        ("completions", json!({"prompt": "x", "best_of": 3}), "best_of"),
        ("completions", json!({"prompt": "x", "suffix": "y"}), "suffix"),
        ("completions", json!({"prompt": "x", "frequency_penalty": 0.5}), "frequency_penalty"),
        ("completions", json!({"prompt": "x", "logit_bias": {"5": 1}}), "logit_bias"),
        ("completions", json!({"prompt": "x", "stop": ["a", "b", "c", "d", "e"]}), "stop"),
        ("completions", json!({"prompt": "x", "stop": ""}), "stop"),
        ("chat/completions", json!({"messages": []}), "messages"),
        ("chat/completions", json!({"messages": message, "top_logprobs": 3}), "logprobs: true"),
        ("chat/completions", json!({"messages": message, "tools": [{}]}), "tools"),
        ("chat/completions", json!({"messages": [{"role": "wizard", "content": "x"}]}), "wizard"),
        (
            "chat/completions",
            json!({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
            "image_url",
        ),
        (
            "chat/completions",
            json!({"messages": message, "response_format": {"type": "json_object"}}),
            "plain text",
        ),
    ] {
        host.post(path, &body).bad(400, word);
    }
    for garbage in [&b"{"[..], b"", b"\xff\xfe", b"[1,2]", b"null"] {
        host.send("completions", garbage).bad(400, "body");
    }
    // What changes nothing is taken, and so are fields that nobody here knows.
    let body = json!({"prompt": "x", "max_tokens": 1, "frequency_penalty": 0, "logit_bias": {}, "user": "me", "echo": false});
    host.post("completions", &body).good();
    host.post("completions", &json!({"prompt": "x", "model": "other"})).bad(404, "other");
    host.get("v1/nothing").bad(404, "/v1/models");
    host.get("v1/completions").bad(405, "POST");
}

#[test]
fn large_requests_are_refused() {
    let host = Running::start(Settings { request_bytes_max: 1000, ..Settings::default() }, None);
    host.post("completions", &json!({"prompt": "x".repeat(1000)})).bad(413, "1000 bytes");
    host.post("completions", &json!({"prompt": "x", "max_tokens": 1})).good();
}

#[test]
fn what_finds_no_room_may_come_again() {
    let settings =
        Settings { batch_count_max: 1, waiting_count_max: 2, retry_after_seconds: 7, ..Settings::default() };
    let host = Running::start(settings, None);
    // Three answers to one request have no room where two may wait.
    let busy = host.post("completions", &json!({"prompt": "x", "n": 3}));
    busy.bad(429, "try again in 7 s");
    assert_eq!(busy.retry_after.as_deref(), Some("7"));
    // Of many at once some are answered and the others told to wait; nobody gets anything else.
    let start = Barrier::new(12);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ask = || {
            start.wait();
            host.post("completions", &json!({"prompt": "the", "max_tokens": 50})).status
        };
        let runs: Vec<_> = (0..12).map(|_| scope.spawn(ask)).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert!(
        statuses.contains(&200) && statuses.iter().all(|status| [200, 429].contains(status)),
        "{statuses:?}"
    );
    host.post("completions", &json!({"prompt": "x", "max_tokens": 1})).good();
}

#[test]
fn draining_finishes_what_is_under_way() {
    let host = Running::start(Settings::default(), None);
    let body = json!({"prompt": "the", "temperature": 0, "max_tokens": 60, "stream": true}).to_string();
    let mut stream = TcpStream::connect(host.address).unwrap();
    let head = format!("POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut beginning = [0; 12];
    stream.read_exact(&mut beginning).unwrap();
    assert_eq!(&beginning, b"HTTP/1.1 200");
    let address = host.address;
    host.end().unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("[DONE]"), "{rest}");
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[test]
fn settings_must_make_sense() {
    let host = Running::start(Settings { batch_count_max: 0, ..Settings::default() }, None);
    assert!(matches!(host.end(), Err(Error::Setting { name: "batch_count_max", .. })));
}
