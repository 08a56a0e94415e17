//! Answers piece by piece, and what becomes of them when somebody leaves.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use loyal_roles::host::Settings;
use serde_json::json;

use crate::host::greedy;
use crate::model::Running;

#[test]
fn pieces_make_the_whole() {
    let host = Running::start(Settings::default(), None);
    let body = json!({"prompt": "the cat", "temperature": 0, "max_tokens": 30, "stream": true, "logprobs": 2,
        "stream_options": {"include_usage": true}});
    let mut events = host.post("completions", &body).events();
    let usage = events.pop().unwrap();
    assert_eq!(
        (usage["choices"].clone(), usage["usage"]["completion_tokens"].as_u64()),
        (json!([]), Some(30))
    );
    let expected = greedy("the cat", 30);
    let text: String = events.iter().map(|event| event["choices"][0]["text"].as_str().unwrap()).collect();
    assert_eq!(text, expected.text);
    let tokens: usize =
        events.iter().map(|event| event["choices"][0]["logprobs"]["tokens"].as_array().unwrap().len()).sum();
    assert_eq!(tokens, 30);
    let reasons: Vec<_> = events.iter().map(|event| event["choices"][0]["finish_reason"].clone()).collect();
    assert_eq!(reasons.last(), Some(&json!("length")));
    assert!(reasons[..reasons.len() - 1].iter().all(|reason| reason.is_null()));
    assert!(events.iter().all(|event| event["id"] == events[0]["id"]));
}

#[test]
fn chats_stream_too() {
    let host = Running::start(Settings::default(), None);
    let ask = |stream: bool| {
        json!({"messages": [{"role": "user", "content": "the cat"}], "temperature": 0, "max_tokens": 12, "n": 2,
            "stream": stream})
    };
    let whole = host.post("chat/completions", &ask(false)).good();
    let events = host.post("chat/completions", &ask(true)).events();
    assert!(events.iter().all(|event| event["object"] == "chat.completion.chunk"));
    for index in 0..2u64 {
        let own =
            || events.iter().map(|event| &event["choices"][0]).filter(|choice| choice["index"] == index);
        let text: String = own().filter_map(|choice| choice["delta"]["content"].as_str()).collect();
        assert_eq!(whole["choices"][index as usize]["message"]["content"], text);
        assert_eq!(own().next().unwrap()["delta"]["role"], "assistant");
        assert_eq!(own().filter(|choice| !choice["finish_reason"].is_null()).count(), 1);
    }
}

/// A client that leaves makes room: its answer is given up, and the next one is made.
#[test]
fn whoever_leaves_makes_room() {
    let settings = Settings { batch_count_max: 1, waiting_count_max: 1, ..Settings::default() };
    let host = Running::start(settings, None);
    for _ in 0..20 {
        let body = json!({"prompt": "the", "temperature": 0, "max_tokens": 60, "stream": true}).to_string();
        let mut stream = TcpStream::connect(host.address).unwrap();
        let head =
            format!("POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        assert!(line.contains("200") || line.contains("429"), "{line}");
    }
    // Each of those before has gone, or is on its way out: sooner or later there is room.
    let ask = json!({"prompt": "the cat", "temperature": 0, "max_tokens": 4});
    let answers = std::iter::repeat_with(|| host.post("completions", &ask));
    let answer = answers.take(100_000).find(|answer| answer.status != 429).unwrap();
    assert_eq!(answer.good()["choices"][0]["text"], greedy("the cat", 4).text);
}
