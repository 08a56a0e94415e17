//! A model behind a URL, with the dialects of its hosts, and models without tool calls.

use std::sync::{Arc, Mutex};

use loyal_agent::llm::{
    Ask, Completion, Delta, Finish, Llm as _, LlmFault, Message, OpenAi, Prompted, Reply, Role, Scripted,
    ToolSpec,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A host that gives one answer after the other, and what it was asked.
async fn host(answers: Vec<String>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            loop {
                let mut piece = [0; 4096];
                let length = stream.read(&mut piece).await.unwrap();
                request.extend_from_slice(&piece[..length]);
                let text = String::from_utf8_lossy(&request).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                if body.len() >= length.parse().unwrap() {
                    seen.lock().unwrap().push(text);
                    break;
                }
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, asked)
}

fn stream(chunks: &[Value], done: bool) -> String {
    let mut text =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n".to_owned();
    chunks.iter().for_each(|chunk| text.push_str(&format!("data: {chunk}\n\n")));
    if done {
        text.push_str("data: [DONE]\n\n");
    }
    text
}

fn status(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn ask() -> Ask {
    let tool =
        ToolSpec { name: "t".to_owned(), description: "d".to_owned(), input: json!({ "type": "object" }) };
    let messages = vec![Message::new(Role::System, "s"), Message::new(Role::User, "u")];
    Ask { messages, tools: vec![tool], max_tokens: 9, ..Ask::default() }
}

async fn complete(answers: Vec<String>) -> (Result<Completion, LlmFault>, Vec<Delta>, Vec<String>) {
    let (url, asked) = host(answers).await;
    let llm = OpenAi::new(&url, "m").unwrap().with_key("k").unwrap();
    let mut deltas = Vec::new();
    let result = llm.complete(&ask(), &mut |delta| deltas.push(delta)).await;
    let asked = asked.lock().unwrap().clone();
    (result, deltas, asked)
}

fn delta(delta: &Value, finish: Option<&str>) -> Value {
    json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] })
}

#[tokio::test]
async fn a_text_comes_in_pieces_with_its_usage_last() {
    let chunks = [
        delta(&json!({ "role": "assistant", "content": "" }), None),
        delta(&json!({ "reasoning_content": "hm" }), None),
        delta(&json!({ "content": "Hel" }), None),
        delta(&json!({ "content": "lo" }), Some("stop")),
        json!({ "choices": [], "usage": { "prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7 } }),
    ];
    let (result, deltas, asked) = complete(vec![stream(&chunks, true)]).await;
    let completion = result.unwrap();
    assert_eq!(
        (completion.text.as_str(), completion.usage.total(), completion.finish),
        ("Hello", 7, Finish::Stop)
    );
    let expected = [Delta::Reasoning("hm".into()), Delta::Text("Hel".into()), Delta::Text("lo".into())];
    assert_eq!(deltas, expected);
    assert!(
        asked[0].starts_with("POST /v1/chat/completions HTTP/1.1")
            && asked[0].contains("authorization: Bearer k")
    );
    let body: Value = serde_json::from_str(asked[0].split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!((&body["model"], &body["tools"][0]["function"]["name"]), (&json!("m"), &json!("t")));
}

#[tokio::test]
async fn calls_come_in_pieces_by_index_or_by_identifier() {
    let piece = |index: Value, id: Value, name: Value, arguments: &str| {
        let call = json!({ "index": index, "id": id, "function": { "name": name, "arguments": arguments } });
        delta(&json!({ "tool_calls": [call] }), None)
    };
    let by_index = [
        piece(json!(0), json!("a"), json!("t"), "{\"x\""),
        piece(json!(1), json!("b"), json!("u"), "{}"),
        piece(json!(0), Value::Null, Value::Null, ":1}"),
        delta(&json!({}), Some("tool_calls")),
    ];
    let by_id = [
        piece(Value::Null, json!("a"), json!("t"), "{\"x\""),
        piece(Value::Null, Value::Null, Value::Null, ":1}"),
        piece(Value::Null, json!("b"), json!("u"), "{}"),
        delta(&json!({}), Some("stop")),
    ];
    for chunks in [by_index, by_id] {
        let completion = complete(vec![stream(&chunks, true)]).await.0.unwrap();
        let calls: Vec<_> =
            completion.calls.iter().map(|call| (&*call.id, &*call.name, &*call.arguments)).collect();
        assert_eq!(calls, [("a", "t", "{\"x\":1}"), ("b", "u", "{}")]);
        assert_eq!(completion.finish, Finish::Calls);
        assert!(completion.usage.prompt_tokens > 0, "a host that does not count is counted for");
    }
}

#[tokio::test]
async fn a_host_that_does_not_stream_is_read_too() {
    let body = json!({ "choices": [{ "message": { "role": "assistant", "content": "whole" }, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 1, "completion_tokens": 1 } });
    let answer = status("200 OK\r\ncontent-type: application/json", &body.to_string());
    assert_eq!(complete(vec![answer]).await.0.unwrap().text, "whole");
}

#[tokio::test]
async fn busy_hosts_are_tried_again_and_refusals_are_not() {
    let good = stream(&[delta(&json!({ "content": "x" }), Some("stop"))], true);
    let busy = status("429 Too Many\r\nretry-after: 0", "");
    let (result, _, asked) =
        complete(vec![busy.clone(), status("503 Busy\r\nretry-after: 0", ""), good.clone()]).await;
    assert_eq!((result.unwrap().text.as_str(), asked.len()), ("x", 3));
    let (result, _, asked) =
        complete(vec![busy.clone(), busy.clone(), busy.clone(), busy, good.clone()]).await;
    assert!(matches!(result, Err(LlmFault::Busy { status: 429, .. })) && asked.len() == 4);
    let (result, _, asked) = complete(vec![status("401 No", "wrong key"), good.clone()]).await;
    assert_eq!(result, Err(LlmFault::Refused { status: 401, detail: "wrong key".to_owned() }));
    assert_eq!(asked.len(), 1);
    let patient = status("429 Too Many\r\nretry-after: 3600", "");
    assert!(
        matches!(complete(vec![patient, good]).await.0, Err(LlmFault::Busy { .. })),
        "an hour is a refusal"
    );
}

#[tokio::test]
async fn answers_that_cannot_be_read_have_a_type() {
    let error = json!({ "error": { "message": "overloaded" } });
    let in_mid_stream = stream(&[delta(&json!({ "content": "x" }), None), error], true);
    assert!(
        matches!(complete(vec![in_mid_stream]).await.0, Err(LlmFault::Refused { detail, .. }) if detail == "overloaded")
    );
    let many = json!({ "tool_calls": [{ "index": 1_000_000, "function": { "name": "x" } }] });
    for answer in [
        stream(&[delta(&json!({ "content": "x" }), None)], false),
        stream(&[], true),
        stream(&[json!("text")], true),
        stream(&[delta(&many, None)], true),
        format!("{}data: {{\n\n", stream(&[], false)),
    ] {
        let result = complete(vec![answer.clone()]).await.0;
        assert!(matches!(result, Err(LlmFault::Garbage { .. })), "{answer}: {result:?}");
    }
}

#[tokio::test]
async fn a_model_without_tool_calls_is_told_in_words_and_repaired() {
    for (said, asks) in [
        (vec![r#"{"tool":"t","arguments":{"x":1}}"#], 1),
        (vec!["```json\n{\"tool\":\"t\",\"arguments\":{\"x\":1}}\n```"], 1),
        (vec![r#"{"tool":"t","arguments":{"x":1}"#, r#"{"tool":"t","arguments":{"x":1}}"#], 2),
    ] {
        let llm = Prompted(Scripted::new(said.into_iter().map(Reply::text)));
        let completion = llm.complete(&ask(), &mut |_| {}).await.unwrap();
        assert_eq!((&*completion.calls[0].name, &*completion.calls[0].arguments), ("t", "{\"x\":1}"));
        let asked = llm.0.asks();
        assert_eq!(asked.len(), asks);
        assert!(asked[0].tools.is_empty() && asked[0].messages[0].text.contains("- t: d"));
    }
    let broken = Prompted(Scripted::new([Reply::text(r#"{"tool": oops}"#)]));
    assert!(matches!(broken.complete(&ask(), &mut |_| {}).await, Err(LlmFault::Garbage { .. })));
    assert_eq!(broken.0.asks().len(), 3, "two repairs");
    let plain = Prompted(Scripted::new([Reply::text("just text")]));
    assert_eq!(plain.complete(&ask(), &mut |_| {}).await.unwrap().text, "just text");
}
