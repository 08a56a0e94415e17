//! Tools that ask somebody: the user, another agent, an engine. And where an answer's quotations come from.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use loyal_agent::agent::budget::Limits;
use loyal_agent::agent::{self, Style, Thinker};
use loyal_agent::client::Reach;
use loyal_agent::llm::{Reply, Scripted};
use loyal_agent::provenance::Provenance;
use loyal_agent::tool::{
    Effect, Found, Known, Output, Person, Search, Searx, Tool, ToolCard, ToolFault, Toolbox, ask_user,
    call_agent, domains_named, search, tool,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::kit::{SEED, Still, golden, hostile, up};
use crate::think::{Word, new};

struct Ada;

impl Person for Ada {
    fn allows<'a>(&'a self, _: &'a ToolCard, _: &'a Value) -> BoxFuture<'a, bool> {
        async { false }.boxed()
    }

    fn answer<'a>(&'a self, question: &'a str) -> BoxFuture<'a, Option<String>> {
        async move { (!question.contains("password")).then(|| format!("To {question:?}: blue.")) }.boxed()
    }
}

struct Nobody;

impl Person for Nobody {
    fn allows<'a>(&'a self, _: &'a ToolCard, _: &'a Value) -> BoxFuture<'a, bool> {
        async { false }.boxed()
    }
}

#[tokio::test]
async fn the_user_answers_in_their_own_words() {
    let asked = ask_user(Arc::new(Ada)).call(json!({ "question": "Which\u{1b}[2J colour?" })).await.unwrap();
    assert_eq!(asked.text, "To \"Which[2J colour?\": blue.");
    assert_eq!(asked.provenance, Provenance::User);
    let fault = ask_user(Arc::new(Nobody)).call(json!({ "question": "Which?" })).await.unwrap_err();
    assert!(fault.to_string().contains("nobody is there"));
}

#[tokio::test]
async fn another_agent_answers_in_words_of_its_own() {
    let up = up(golden()).await;
    let known = |name: &str, url: &str| Known { name: name.to_owned(), url: url.to_owned() };
    let agents = vec![known("golden", &up.url), known("gone", "http://127.0.0.1:1")];
    let tool = call_agent(agents.clone(), Reach::Local, Arc::new(Still), SEED);
    assert_eq!(tool.card().effect, Effect::Write);
    assert_eq!(tool.card().input["properties"]["agent"]["enum"], json!(["golden", "gone"]));
    let ask = |agent: &str, question: &str| tool.call(json!({ "agent": agent, "question": question }));
    let answer = ask("golden", "stream").await.unwrap();
    assert_eq!((answer.text.as_str(), answer.provenance), ("Hello world", Provenance::Agent(up.url.clone())));
    let failed = ask("golden", "raise").await.unwrap().text;
    assert!(failed.starts_with("(the agent failed: "), "{failed}");
    assert!(ask("gone", "x").await.is_err() && ask("other", "x").await.is_err());
    let public = call_agent(agents, Reach::Public, Arc::new(Still), SEED);
    assert!(public.call(json!({ "agent": "golden", "question": "stream" })).await.is_err());
}

#[tokio::test]
async fn a_thinking_agent_is_a_tool_of_another() {
    let upper = tool("upper", "Capitals.", |at: Word| async move { Ok(at.word.to_uppercase()) });
    let llm = Arc::new(Scripted::new([Reply::call("upper", r#"{"word":"a"}"#), Reply::text("It is A.")]));
    let mut thinker = Thinker::new("inner", llm, Arc::new(Still), SEED);
    thinker.tools = Toolbox::new().with(upper.with_effect(Effect::Write));
    let tool = Arc::new(thinker).as_tool("ask");
    assert_eq!(tool.card().effect, Effect::Write);
    let output = tool.call(json!({ "question": "Which?" })).await.unwrap();
    assert_eq!((output.text.as_str(), output.provenance), ("It is A.", Provenance::Tool("ask".to_owned())));
}

struct Engine;

impl Search for Engine {
    fn name(&self) -> String {
        "https://engine.example".to_owned()
    }

    fn search<'a>(&'a self, query: &'a str, _: usize) -> BoxFuture<'a, Result<Vec<Found>, ToolFault>> {
        let page = move |index: usize| Found {
            url: format!("https://{index}.example/"),
            title: format!("{query}\n{index}"),
            text: "x ".repeat(2_000),
        };
        async move { Ok((0..50).map(page).collect()) }.boxed()
    }
}

#[tokio::test]
async fn an_engine_is_asked_and_cut_short() {
    let tool = search(Arc::new(Engine));
    let found = tool.call(json!({ "query": "cats", "count": 2 })).await.unwrap();
    assert_eq!(found.provenance, Provenance::Page("https://engine.example".to_owned()));
    assert!(found.text.starts_with("1. cats 0\n   https://0.example/\n   x x"), "{}", found.text);
    assert!(found.text.contains("\n2. cats 1\n") && !found.text.contains("\n3. "));
    let many = tool.call(json!({ "query": "cats", "count": 500 })).await.unwrap();
    assert!(many.text.contains("\n20. ") && !many.text.contains("\n21. "));
}

/// What a SearXNG answers, as its documentation shows it.
#[tokio::test]
async fn the_json_of_a_searxng_is_read() {
    let body = r#"{"query": "a", "number_of_results": 0, "results": [
        {"url": "https://a.example/x", "title": "A & B", "content": "about  a", "engine": "duckduckgo", "score": 1.0},
        {"url": "", "title": "none"}, {"url": "https://b.example/", "title": "B"}], "answers": [], "suggestions": []}"#;
    let answer = |head: &str, body: &str| {
        format!("HTTP/1.1 {head}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
            .into_bytes()
    };
    let url = hostile(answer("200 OK", body), false).await;
    let tool = search(Arc::new(Searx::new(&format!("{url}/search")).unwrap()));
    let found = tool.call(json!({ "query": "a b&c" })).await.unwrap();
    assert_eq!(
        found.text,
        "1. A & B\n   https://a.example/x\n   about a\n2. B\n   https://b.example/\n   \n"
    );
    for (head, body) in [("403 Forbidden", ""), ("500 Oops", ""), ("200 OK", "<html>"), ("200 OK", "{}")] {
        let url = hostile(answer(head, body), false).await;
        let tool = search(Arc::new(Searx::new(&url).unwrap()));
        assert!(tool.call(json!({ "query": "a" })).await.is_err(), "{head} {body}");
    }
    assert!(Searx::new("no address").is_err() && Searx::new("http://a.example/?q=").is_err());
}

struct Book(ToolCard);

impl Tool for Book {
    fn card(&self) -> &ToolCard {
        &self.0
    }

    fn call<'a>(&'a self, _: Value) -> BoxFuture<'a, Result<Output, ToolFault>> {
        let text = "Vorwort. Die  Katze\n  sitzt im Gärtchen.".to_owned();
        async { Ok(Output { text, provenance: Provenance::Page("https://book.example".to_owned()) }) }.boxed()
    }
}

#[tokio::test]
async fn quotations_are_cited() {
    let book = Book(tool("book", "Reads.", |_: Word| async { Ok("") }).card().clone());
    let answer = "She says “die katze sitzt im gärtchen”, and \"nobody said this\", and \"Vorwort\".";
    let llm = Arc::new(Scripted::new([Reply::call("book", r#"{"word":""}"#), Reply::text(answer)]));
    let (run, _) = new(&llm, Limits::default());
    let tools = Toolbox::new().with(book);
    let outcome = agent::run("goal", Style::React, &mut run.with_tools(tools)).await.unwrap();
    let [citation] = &outcome.citations[..] else { panic!("{:?}", outcome.citations) };
    let text = "Vorwort. Die  Katze\n  sitzt im Gärtchen.";
    assert_eq!(&answer[citation.answer.0..citation.answer.1], "die katze sitzt im gärtchen");
    assert_eq!(&text[citation.place.0..citation.place.1], "Die  Katze\n  sitzt im Gärtchen");
    assert_eq!(citation.source, Provenance::Page("https://book.example".to_owned()));
    let hash: String = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(citation.source_sha256, hash);
}

#[test]
fn a_goal_names_where_a_browser_may_go() {
    for (goal, domains) in [
        ("play the video on https://media.example/demo?x=1.", vec!["media.example"]),
        (
            "compare (http://a.example:81), \"https://www.b.example\" and www.c.example!",
            vec!["a.example", "b.example", "c.example"],
        ),
        ("read https://a.example/1 and https://a.example/2", vec!["a.example"]),
        ("read notes.md, ask me@a.example and visit a.example", vec![]),
        ("go to https://user@evil.example", vec![]),
    ] {
        assert_eq!(domains_named(goal), domains, "{goal}");
    }
}
