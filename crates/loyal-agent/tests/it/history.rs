//! Earlier questions and answers: brought by the caller, or remembered for it.

use loyal_agent::client::{self, Reply};
use loyal_agent::serve::Limits;
use loyal_agent::session::{Asked, History, Interaction, Request, RequestMessage};
use loyal_agent::{Query, Session};

use crate::kit::{Up, golden, local, question, ulid, up_with};

async fn seen(up: &Up, request: &Request) -> Vec<String> {
    let reply = Reply::read(client::run(&up.url, request, local()).await.unwrap()).await.unwrap();
    let event = serde_json::to_value(&reply.events[0]).unwrap();
    event["content"]["seen"]
        .as_array()
        .unwrap()
        .iter()
        .map(|text| text.as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_caller_that_sends_no_history_has_one() {
    let up =
        up_with(golden(), |server| server.with_history(History::in_memory(1 << 20)), Limits::default()).await;
    assert!(seen(&up, &question("history")).await.is_empty());
    up.ask("stream").await.unwrap();
    up.ask("respond").await.unwrap();
    up.end(2).await;
    let expected = ["history", "stream", "Hello world", "respond", "whole"];
    assert_eq!(seen(&up, &question("history")).await, expected);
    let other = Session::new("p", ulid(77), ulid(2), Vec::new());
    let other = Request { query: Query { id: ulid(3), prompt: "history".to_owned() }, session: Some(other) };
    assert!(seen(&up, &other).await.is_empty(), "another conversation");
    let own = interaction("mine");
    let session = question("").session.unwrap().with_interactions(vec![own]);
    let own = Request { query: Query { id: ulid(3), prompt: "history".to_owned() }, session: Some(session) };
    assert_eq!(seen(&up, &own).await, ["mine"], "what the caller brings counts");
}

fn interaction(text: &str) -> Interaction {
    let request =
        RequestMessage { sender: None, recipients: None, event: Some(Asked::new(ulid(1), ulid(2), text)) };
    Interaction { request, responses: Vec::new() }
}

fn texts(history: &History, activity: u128) -> Vec<String> {
    let session = history.complete(&Session::new("p", ulid(activity), ulid(2), Vec::new()));
    session.messages(usize::MAX).into_iter().map(|message| message.text).collect()
}

#[test]
fn the_conversation_silent_for_longest_is_forgotten() {
    let history = History::in_memory(2000);
    for activity in [1, 2, 3] {
        history.add(ulid(activity), interaction(&format!("{activity}{}", "x".repeat(200)))).unwrap();
    }
    assert_eq!(texts(&history, 1).len(), 1);
    history.add(ulid(4), interaction(&"y".repeat(200))).unwrap();
    assert_eq!([1, 2, 3, 4].map(|activity| texts(&history, activity).len()), [1, 0, 1, 1]);
}

#[test]
fn one_long_conversation_keeps_its_newest_part() {
    let history = History::in_memory(2000);
    for index in 0..100 {
        history.add(ulid(1), interaction(&format!("{index}"))).unwrap();
    }
    let texts = texts(&history, 1);
    assert!(texts.len() < 20 && texts.last().unwrap() == "99", "{texts:?}");
}

#[test]
fn a_file_remembers_over_a_restart_and_a_half_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.jsonl");
    let history = History::in_file(&path, 1 << 20).unwrap();
    history.add(ulid(1), interaction("one")).unwrap();
    history.add(ulid(1), interaction("two")).unwrap();
    drop(history);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&bytes[..], &bytes[..50]].concat()).unwrap();
    let history = History::in_file(&path, 1 << 20).unwrap();
    history.add(ulid(1), interaction("three")).unwrap();
    drop(history);
    assert_eq!(texts(&History::in_file(&path, 1 << 20).unwrap(), 1), ["one", "two", "three"]);
    std::fs::write(&path, "{\"other\":1}\n").unwrap();
    let error = History::in_file(&path, 1 << 20).unwrap_err().to_string();
    assert!(error.contains("line 1"), "{error}");
}
