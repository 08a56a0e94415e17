//! Rust and Python, each as the server and as the client of the other.

use loyal_agent::client::{self, Limits, Reply};
use loyal_agent::event::{Content, Event};
use loyal_agent::serve;
use loyal_agent::session::{Asked, Interaction, Request, RequestMessage, ResponseMessage};
use loyal_agent::{Error, Query};
use serde_json::{Value, json};
use std::time::Duration;

use crate::kit::{ask, golden, local, question, ulid, up, up_with};
use crate::python::{Server, script};

const CLIENT: &str = include_str!("client.py");

/// What Python's client makes of the answer of an agent.
async fn python_asks(url: &str, request: &Request) -> Vec<Value> {
    let body = serde_json::to_string(request).unwrap();
    let printed = script(CLIENT, vec![format!("{url}/assist"), body]).await;
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn conversation(prompt: &str) -> Request {
    let answer = |index: u128, name: &str, content: Content| ResponseMessage {
        sender: Some("agent".to_owned()),
        recipients: Some(["user".to_owned(), "other".to_owned()].into()),
        event: Event {
            id: ulid(index),
            source: "s".to_owned(),
            name: name.to_owned(),
            metadata: None,
            content,
        },
    };
    let sources = loyal_agent::event::Document::new(&json!({ "n": [1, null, "x"] })).unwrap();
    let interaction = Interaction {
        request: RequestMessage {
            sender: Some("user".to_owned()),
            recipients: Some(["agent".to_owned()].into()),
            event: Some(Asked::new(ulid(10), ulid(11), "earlier \u{2028} question")),
        },
        responses: vec![
            answer(20, "SOURCES", Content::Json(sources)),
            answer(21, "FINAL_RESPONSE", Content::Text("earlier answer".to_owned())),
            answer(22, "done", Content::Done(None)),
        ],
    };
    let request = question(prompt);
    let session = request.session.unwrap().with_interactions(vec![interaction]);
    Request { session: Some(session), ..request }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_client_reads_every_content_of_ours() {
    let up = up(golden()).await;
    let names = |events: &[Value]| -> Vec<String> {
        events.iter().map(|event| event["content_type"].as_str().unwrap().to_owned()).collect()
    };
    let events = python_asks(&up.url, &question("json")).await;
    assert_eq!(names(&events), ["atomic.json", "atomic.textblock", "atomic.done"]);
    assert_eq!(events[0]["content"]["results"][0]["title"], "é \u{2028} \u{1F600}");
    assert_eq!(events[0]["content"]["slash"], "a/b\\\"\u{8}\u{c}\n\r\t\u{1f}\u{7f}");
    let events = python_asks(&up.url, &question("error")).await;
    assert_eq!(names(&events), ["atomic.error", "atomic.error", "atomic.done"]);
    let expected = json!({ "error_message": "nope", "error_code": 429, "details": { "retry_after": 3 } });
    assert_eq!(events[0]["content"], expected);
    let events = python_asks(&up.url, &question("unicode")).await;
    let text = "a\u{85}b\u{2028}c\u{2029}d <&> é 漢 \u{1F600} \0\u{1b}\u{7f}";
    assert_eq!(events[0]["content"], text, "the separators that break the client on its own server");
    let events = python_asks(&up.url, &question("unclosed")).await;
    assert_eq!(names(&events), ["chunked.text"; 4].into_iter().chain(["atomic.done"]).collect::<Vec<_>>());
    for prompt in ["panic", "raise"] {
        let events = python_asks(&up.url, &question(prompt)).await;
        assert_eq!(names(&events), ["atomic.error", "atomic.done"], "{prompt}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_client_reads_a_thousand_chunks_of_ours() {
    let up = up(golden()).await;
    let events = python_asks(&up.url, &question("count 1000")).await;
    assert_eq!(events.len(), 1002);
    let text: String = events[..1000].iter().map(|event| event["content"].as_str().unwrap()).collect();
    assert_eq!(text, (0..1000).map(|index| format!("{index} ")).collect::<String>());
    let ids: Vec<_> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_client_is_kept_alive_by_comments() {
    let agent = loyal_agent::agent("slow", |_, _, out: loyal_agent::ResponseHandler| async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        out.respond("ANSWER", "late").await
    });
    let limits = serve::Limits { ping: Duration::from_millis(20), ..serve::Limits::default() };
    let up = up_with(agent, |server| server, limits).await;
    let events = python_asks(&up.url, &question("x")).await;
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["content"], "late");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_goes_both_ways() {
    let up = up(golden()).await;
    let events = python_asks(&up.url, &conversation("history")).await;
    assert_eq!(events[0]["content"]["seen"], json!(["earlier \u{2028} question", "earlier answer"]));
    let server = Server::start().await;
    let events = client::run(&server.url, &conversation("history"), local()).await.unwrap();
    let reply = Reply::read(events).await.unwrap();
    let Content::Json(seen) = &reply.events[0].content else { panic!("{reply:?}") };
    assert_eq!(seen.as_json(), r#"{"seen":[[{"n":[1,null,"x"]},"earlier answer"]]}"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_client_reads_the_python_server() {
    let server = Server::start().await;
    let reply = ask(&server.url, "stream").await.unwrap();
    assert_eq!(reply.answer(), "Hello world");
    assert_eq!(reply.events.len(), 7);
    let reply = ask(&server.url, "count 1000").await.unwrap();
    assert_eq!(reply.answer(), (0..1000).map(|index| format!("{index} ")).collect::<String>());
    assert_eq!(reply.events.len(), 1002);
    let reply = ask(&server.url, "unicode").await.unwrap();
    let text = "a\u{85}b\u{2028}c\u{2029}d <&> é 漢 \u{1F600} \0\u{1b}\u{7f}";
    assert_eq!(reply.answer(), text, "raw separators, which the Python client cannot read");
    let reply = ask(&server.url, "error").await.unwrap();
    assert_eq!(reply.faults().map(|fault| fault.code).collect::<Vec<_>>(), [429, 500]);
    let reply = ask(&server.url, "json").await.unwrap();
    assert!(matches!(&reply.events[0].content, Content::Json(document)
        if document.as_json().contains("123456789012345678901234567890")));
    let reply = ask(&server.url, "unclosed").await.unwrap();
    let streams = reply.streams();
    assert_eq!(
        streams,
        [("THINKING".to_owned(), "b".to_owned()), ("FINAL_RESPONSE".to_owned(), "a".to_owned())]
    );
    let reply = ask(&server.url, "name").await.unwrap();
    assert_eq!(reply.events[0].name, "BAD\nevent: done", "the name in the JSON counts");
}

/// What the Python server does wrong becomes a typed error here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_server_that_fails_is_noticed() {
    let server = Server::start().await;
    let idle = Duration::from_millis(300);
    let raising = client::run(&server.url, &question("raise"), Limits { idle, ..local() }).await.unwrap();
    assert_eq!(
        Reply::read(raising).await,
        Err(Error::Stalled { after: idle }),
        "it hangs where the agent raises"
    );
    let without = Request { query: Query { id: ulid(1), prompt: "stream".to_owned() }, session: None };
    let cut = match client::run(&server.url, &without, local()).await {
        Ok(events) => Reply::read(events).await.unwrap_err(),
        Err(error) => error,
    };
    assert!(
        matches!(cut, Error::CutShort | Error::Connection { .. }),
        "it cuts where there is no session: {cut:?}"
    );
    let none = client::Client::new(local()).card(&server.url).await;
    assert_eq!(none, Ok(None), "an agent without a card still works");
}

const OPENAI: &str = r#"
import json, sys
from openai import OpenAI
client = OpenAI(base_url=sys.argv[1] + "/v1", api_key="none", max_retries=0)
print(client.models.list().data[0].id)
said = [{"role": "user", "content": "stream"}]
print(client.chat.completions.create(model="golden", messages=said).choices[0].message.content)
pieces = client.chat.completions.create(model="golden", messages=said, stream=True)
print("".join(piece.choices[0].delta.content or "" for piece in pieces))
try:
    client.chat.completions.create(model="golden", messages=[{"role": "user", "content": "told"}])
except Exception as error:
    print(error.status_code)
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openai_client_takes_an_agent_for_a_model() {
    let up = up(golden()).await;
    let printed = script(OPENAI, vec![up.url.clone()]).await;
    assert_eq!(printed.lines().collect::<Vec<_>>(), ["golden", "Hello world", "Hello world", "402"]);
}
