//! The agent seen as a chat model.

use serde_json::{Value, json};

use crate::kit::{golden, up};

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

fn said(prompt: &str, stream: bool) -> String {
    json!({ "model": "golden", "stream": stream, "messages": [{ "role": "user", "content": prompt }] })
        .to_string()
}

fn chunks(answer: &str) -> Vec<Value> {
    let lines = body(answer).lines().filter_map(|line| line.strip_prefix("data: "));
    lines.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

fn content(chunks: &[Value]) -> String {
    chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect()
}

#[tokio::test]
async fn an_answer_in_one_piece() {
    let up = up(golden()).await;
    for (prompt, expected) in [("stream", "Hello world"), ("respond", "whole")] {
        let answer = up.post("/v1/chat/completions", &said(prompt, false)).await;
        let value: Value = serde_json::from_str(body(&answer)).unwrap();
        assert_eq!(value["choices"][0]["message"]["content"], expected);
        assert_eq!((&value["object"], &value["created"]), (&json!("chat.completion"), &json!(1_800_000_000)));
    }
    let answer = up.post("/v1/chat/completions", &said("told", false)).await;
    assert!(answer.starts_with("HTTP/1.1 402 ") && answer.contains("Pay first."), "{answer}");
}

#[tokio::test]
async fn an_answer_in_pieces() {
    let up = up(golden()).await;
    let answer = up.post("/v1/chat/completions", &said("stream", true)).await;
    let pieces = chunks(&answer);
    assert_eq!(content(&pieces), "Hello world");
    assert_eq!(pieces[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(pieces.last().unwrap()["choices"][0]["finish_reason"], "stop");
    assert!(answer.contains("data: [DONE]\n\n"));
    let pieces = chunks(&up.post("/v1/chat/completions", &said("respond", true)).await);
    assert_eq!(content(&pieces), "whole", "blocks are the answer where nothing is called one");
    assert!(pieces.iter().any(|piece| piece["loyal_event"]["event_name"] == "ANSWER"));
    let pieces = chunks(&up.post("/v1/chat/completions", &said("told", true)).await);
    assert_eq!(pieces.last().unwrap()["error"]["message"], "Pay first.");
}

#[tokio::test]
async fn earlier_messages_are_the_history() {
    let up = up(golden()).await;
    let messages = json!([
        { "role": "system", "content": "be brief" },
        { "role": "user", "content": [{ "type": "text", "text": "one" }, { "type": "text", "text": "two" }] },
        { "role": "assistant", "content": "three" },
        { "role": "user", "content": "history" },
    ]);
    let chat = json!({ "model": "x", "messages": messages, "stream": true }).to_string();
    let pieces = chunks(&up.post("/v1/chat/completions", &chat).await);
    let seen = pieces.iter().find_map(|piece| piece["loyal_event"]["content"]["seen"].as_array()).unwrap();
    assert_eq!(seen, &["be brief", "one\ntwo", "three"].map(Value::from));
}

#[tokio::test]
async fn wrong_requests_are_told_why() {
    let up = up(golden()).await;
    for (chat, status) in [
        ("{".to_owned(), 400),
        ("{}".to_owned(), 400),
        (json!({ "messages": [] }).to_string(), 400),
        (json!({ "messages": [{ "role": "assistant", "content": "x" }] }).to_string(), 400),
        (
            json!({ "messages": [{ "role": "tool", "content": "x" }, { "role": "user", "content": "x" }] })
                .to_string(),
            400,
        ),
    ] {
        let answer = up.post("/v1/chat/completions", &chat).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{chat}: {answer}");
        let value: Value = serde_json::from_str(body(&answer)).unwrap();
        assert!(value["error"]["message"].is_string());
    }
}

#[tokio::test]
async fn the_list_of_models_is_the_agent() {
    let answer =
        up(golden()).await.raw("GET /v1/models HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    let value: Value = serde_json::from_str(body(&answer)).unwrap();
    assert_eq!(value["data"][0]["id"], "golden");
}
