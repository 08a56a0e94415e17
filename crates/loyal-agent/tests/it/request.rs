//! What is refused before an agent is asked, in the words of FastAPI.

use loyal_agent::Session;
use loyal_agent::session::{Asked, Interaction, RequestMessage, parse};
use serde_json::{Value, json};

use crate::kit::{golden, ulid, up};

const ID: &str = "01M81BY2RSJS94CWFCAFFQAPWV";

fn check(body: &str, kind: &str, loc: Value, input: Value) {
    let refusal = parse(body.as_bytes()).expect_err(body);
    assert_eq!((refusal.kind, json!(refusal.loc), refusal.input), (kind, loc, input), "{body}");
}

/// The first fault of each list was recorded from the Python server.
#[test]
fn refusals_are_those_of_the_python_server() {
    check("{}", "missing", json!(["body", "query"]), json!({}));
    check("", "missing", json!(["body"]), Value::Null);
    check("null", "missing", json!(["body"]), Value::Null);
    check("[]", "model_attributes_type", json!(["body"]), json!([]));
    check("\"x\"", "model_attributes_type", json!(["body"]), json!("x"));
    check(r#"{"query":5}"#, "model_attributes_type", json!(["body", "query"]), json!(5));
    check(
        r#"{"query":{"id":"zzz","prompt":""}}"#,
        "ulid_format",
        json!(["body", "query", "id"]),
        json!("zzz"),
    );
    let body = format!(r#"{{"query":{{"id":"{ID}","prompt":3}}}}"#);
    check(&body, "string_type", json!(["body", "query", "prompt"]), json!(3));
    let body = format!(r#"{{"query":{{"id":"{ID}","prompt":""}},"session":{{"processor_id":"a"}}}}"#);
    check(&body, "missing", json!(["body", "session", "activity_id"]), json!({"processor_id": "a"}));
    check(r#"{"query""#, "json_invalid", json!(["body", 8]), json!({}));
    check("{\"query\":\n\n  x", "json_invalid", json!(["body", 14]), json!({}));
}

#[test]
fn uuids_are_no_ulids_and_deep_nesting_is_refused() {
    let body = r#"{"query":{"id":"0191e4a7-5b5e-7f3a-a000-000000000000","prompt":""}}"#;
    let input = json!("0191e4a7-5b5e-7f3a-a000-000000000000");
    check(body, "ulid_format", json!(["body", "query", "id"]), input);
    let deep = format!(r#"{{"query":{}"#, "[".repeat(100_000));
    assert!(parse(deep.as_bytes()).is_err());
}

fn chained(members: &str) -> String {
    format!(
        r#"{{"query":{{"id":"{ID}","prompt":"x","more":1}},"session":{{"processor_id":"a","activity_id":"{ID}","request_id":"{ID}",
        "interactions":[{{"request":{{"sender":null,"recipients":["b","a","b"],"event":{{{members}"content":{{
        "request_payload":{{"parts":[{{"prompt":"one","fileIds":["f"]}},{{"prompt":"two","files_ids":[]}}]}}}}}}}},
        "responses":[{{"event":{{"content_type":"atomic.json","event_name":"X","source":"s","content":{{"n":1e400}}}}}}]}}]}}}}"#
    )
}

#[test]
fn aliases_sets_and_chains_are_read() {
    let (a, b) = (ulid(1), ulid(2));
    let body =
        chained(&format!(r#""id":"{b}","chat_id":"{a}","parent_request_id":"{a}","root_request_id":"{a}","#));
    let request = parse(body.as_bytes()).unwrap();
    let session = request.session.unwrap();
    let interaction = &session.interactions()[0];
    let recipients: Vec<_> = interaction.request.recipients.as_ref().unwrap().iter().collect();
    assert_eq!(recipients, ["a", "b"]);
    let asked = interaction.request.event.as_ref().unwrap();
    assert_eq!((asked.text().as_str(), asked.content.capability.as_str()), ("one\ntwo", "assist"));
    let written = serde_json::to_value(asked).unwrap();
    assert_eq!(written["chatId"], json!(a));
    assert_eq!(written["content"]["request_payload"]["parts"][0]["fileIds"], json!(["f"]));
}

#[test]
fn chains_have_rules() {
    let (a, b) = (ulid(1), ulid(2));
    let event = json!(["body", "session", "interactions", 0, "request", "event"]);
    for members in [
        format!(r#""id":"{b}","chatId":"{a}","parent_request_id":"{a}","#),
        format!(r#""id":"{a}","chatId":"{a}","parent_request_id":"{a}","root_request_id":"{a}","#),
        format!(r#""id":"{a}","chatId":"{a}","parent_request_id":"{b}","root_request_id":"{a}","#),
        format!(r#""id":"{b}","chatId":"{a}","parent_request_id":"{a}","root_request_id":"{b}","#),
    ] {
        let refusal = parse(chained(&members).as_bytes()).unwrap_err();
        assert_eq!((refusal.kind, json!(refusal.loc)), ("value_error", event.clone()), "{members}");
    }
    let without_parent = chained(&format!(r#""id":"{b}","chatId":"{a}","#));
    let session = parse(without_parent.as_bytes()).unwrap().session.unwrap();
    assert_eq!(session.interactions()[0].request.event.as_ref().unwrap().root_request_id, Some(b));
}

/// The Python framework passes a conversation on without the user's questions.
#[test]
fn a_question_may_be_lost_on_the_way() {
    let body = format!(
        r#"{{"query":{{"id":"{ID}","prompt":"x"}},"session":{{"processor_id":"a","activity_id":"{ID}","request_id":"{ID}",
        "interactions":[{{"request":{{"sender":null,"recipients":null}},"responses":[]}}]}}}}"#
    );
    assert!(parse(body.as_bytes()).unwrap().session.unwrap().messages(1000).is_empty());
}

#[test]
fn messages_keep_the_newest_that_fit() {
    let interactions = ["aaaa", "bbb", "cc"].map(|text| Interaction {
        request: RequestMessage {
            sender: None,
            recipients: None,
            event: Some(Asked::new(ulid(1), ulid(2), text)),
        },
        responses: Vec::new(),
    });
    let session = Session::new("p", ulid(1), ulid(2), interactions.into());
    let texts = |max| session.messages(max).into_iter().map(|message| message.text).collect::<Vec<_>>();
    assert_eq!(texts(9), ["aaaa", "bbb", "cc"]);
    assert_eq!(texts(8), ["bbb", "cc"]);
    assert_eq!(texts(4), ["cc"]);
    assert!(texts(1).is_empty());
}

#[tokio::test]
async fn the_server_refuses_before_it_streams() {
    let up = up(golden()).await;
    let answer = up.post("/assist", "{}").await;
    assert!(answer.starts_with("HTTP/1.1 422 "), "{answer}");
    let expected =
        r#"{"detail":[{"type":"missing","loc":["body","query"],"msg":"Field required","input":{}}]}"#;
    assert!(answer.ends_with(expected), "{answer}");
    let answer = up.raw("GET /assist HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("allow: POST\r\n"), "{answer}");
    let answer = up.raw("GET /nothing HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.ends_with(r#"{"detail":"Not Found"}"#), "{answer}");
}

/// A page of another site can post text without asking first; it gets nowhere.
#[tokio::test]
async fn a_body_that_is_not_announced_as_json_is_no_request() {
    let up = up(golden()).await;
    let body = serde_json::to_string(&crate::kit::question("respond")).unwrap();
    let length = body.len();
    let request = format!(
        "POST /assist HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    assert!(up.raw(&request).await.starts_with("HTTP/1.1 422 "));
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused_unread() {
    let up = up(golden()).await;
    let head = "POST /assist HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\n";
    let answer = up.raw(&format!("{head}content-length: {}\r\n\r\n", 9 << 20)).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}
