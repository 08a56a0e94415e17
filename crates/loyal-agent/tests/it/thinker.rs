//! A thinking agent served: asked over the wire, thinking with a script.

use std::sync::Arc;

use loyal_agent::agent::{Style, Thinker};
use loyal_agent::client;
use loyal_agent::event::Content;
use loyal_agent::llm::{LlmFault, Reply, Role, Scripted};
use loyal_agent::serve::Limits;
use loyal_agent::session::History;
use loyal_agent::tool::{Toolbox, calculate};

use crate::kit::{SEED, Still, local, question, up, up_with};

fn thinker(llm: &Arc<Scripted>) -> Thinker {
    let mut thinker = Thinker::new("thinker", llm.clone(), Arc::new(Still), SEED);
    thinker.tools = Toolbox::new().with(calculate());
    thinker
}

#[tokio::test]
async fn steps_answer_and_log_reach_whoever_asked() {
    let call = Reply::call("calculate", r#"{"expression":"6*7"}"#);
    let llm = Arc::new(Scripted::new([call, Reply::text("It is 42.")]));
    let reply = up(thinker(&llm)).await.ask("What is six times seven?").await.unwrap();
    assert_eq!(reply.answer(), "It is 42.");
    assert_eq!(reply.events[0].name, "TOOLS");
    let Content::Done(Some(facts)) = &reply.events.last().unwrap().content else { panic!("{reply:?}") };
    let facts: serde_json::Value = facts.read().unwrap();
    assert_eq!(facts["complete"], true);
    assert_eq!(facts["log"].as_str().unwrap().len(), 64);
    let result = &llm.asks()[1].messages[3];
    assert!(result.role == Role::Tool && result.text.contains("\n42\n"), "{}", result.text);
}

#[tokio::test]
async fn earlier_questions_are_part_of_the_next_ask() {
    let llm = Arc::new(Scripted::new([Reply::text("one"), Reply::text("two")]));
    let history = |server: loyal_agent::serve::Server| server.with_history(History::in_memory(1 << 20));
    let up = up_with(thinker(&llm), history, Limits::default()).await;
    up.ask("first?").await.unwrap();
    up.end(0).await;
    up.ask("second?").await.unwrap();
    let texts: Vec<_> = llm.asks()[1].messages[1..].iter().map(|message| message.text.clone()).collect();
    assert_eq!(texts, ["first?", "one", "second?"]);
}

#[tokio::test]
async fn a_model_that_fails_is_an_error_event() {
    let refusing = LlmFault::Refused { status: 401, detail: "wrong key".to_owned() };
    let llm = Arc::new(Scripted::new([Reply::Fault(refusing)]));
    for style in [Style::React, Style::Recursive] {
        let mut thinker = thinker(&llm);
        thinker.style = style;
        let reply = up(thinker).await.ask("x").await.unwrap();
        assert!(reply.faults().next().unwrap().message.starts_with("There is no answer"), "{reply:?}");
        assert!(reply.events.last().unwrap().is_done());
    }
}

/// Whoever leaves ends the run, and with it the ask that was under way.
#[tokio::test]
async fn leaving_ends_the_thinking() {
    let llm = Arc::new(Scripted::new([Reply::call("calculate", r#"{"expression":"1"}"#), Reply::Hang]));
    let up = up(thinker(&llm)).await;
    let mut events = client::run(&up.url, &question("x"), local()).await.unwrap();
    events.next().await.unwrap().unwrap();
    drop(events);
    assert_eq!(up.end(0).await, loyal_agent::agent::Ended::Cancelled);
}
