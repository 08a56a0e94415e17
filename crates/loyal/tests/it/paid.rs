//! Agents that pay for their thinking: a real chain, a real gate, an engine that says what a script says.

#[path = "../../examples/pass-on/story.rs"]
mod story;
#[path = "../../examples/pass-on/town.rs"]
#[allow(dead_code, reason = "the example uses all of it")]
mod town;

use std::sync::{Arc, Mutex};

use alloy_primitives::U256;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use loyal_access::wallet::{Caps, Entry, Wallet};
use loyal_agent::agent::budget::{Budget, Exhausted, Limits};
use loyal_agent::agent::log::{Log, read};
use loyal_agent::agent::{self, Ending, Outcome, Run, Style};
use loyal_agent::llm::{Ask, Delta, Fallback, Llm, LlmFault, Message, Paid, Role};
use loyal_agent::tool::{Toolbox, calculate};
use loyal_protocol::message;
use loyal_roles::host::gateway::Source;
use serde_json::{Value, json};
use town::{BACK, FRONT, PRICE, Town, key};

/// What an engine says to one request.
#[derive(Debug, Clone)]
enum Line {
    Says(&'static str),
    Calls(&'static str, &'static str),
    Refuses(&'static str),
    /// An error in the middle of the answer.
    Breaks,
}

type Asked = Arc<Mutex<Vec<Value>>>;

/// An engine that says one line after another, the last again and again, and what it was asked.
fn engine(lines: &[Line]) -> (Source, Asked) {
    let asked = Asked::default();
    let state = (asked.clone(), Arc::new(lines.to_vec()));
    let routes = Router::new().route("/v1/chat/completions", post(answer)).with_state(state);
    (Source::Routes(routes), asked)
}

async fn answer(State((asked, lines)): State<(Asked, Arc<Vec<Line>>)>, body: String) -> Response {
    let body: Value = serde_json::from_str(&body).unwrap();
    let index = {
        let mut asked = asked.lock().unwrap();
        asked.push(body);
        asked.len() - 1
    };
    let chunk = |delta: Value, finish: Value| json!({ "object": "chat.completion.chunk", "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] });
    let mut events = Vec::new();
    match lines[index.min(lines.len() - 1)].clone() {
        Line::Says(text) => {
            let pieces =
                text.split_inclusive(' ').map(|piece| chunk(json!({ "content": piece }), Value::Null));
            events.extend(pieces);
            events.push(chunk(json!({}), json!("stop")));
        }
        Line::Calls(name, arguments) => {
            let (head, tail) = arguments.split_at(arguments.len() / 2);
            let call = json!({ "index": 0, "id": "c1", "type": "function", "function": { "name": name, "arguments": head } });
            events.push(chunk(json!({ "tool_calls": [call] }), Value::Null));
            let call = json!({ "index": 0, "function": { "arguments": tail } });
            events.push(chunk(json!({ "tool_calls": [call] }), json!("tool_calls")));
        }
        Line::Refuses(why) => {
            let error = json!({ "error": { "message": why, "code": "unsupported", "type": "invalid_request_error" } });
            return (StatusCode::BAD_REQUEST, error.to_string()).into_response();
        }
        Line::Breaks => {
            events.push(chunk(json!({ "content": "half an " }), Value::Null));
            events.push(json!({ "error": { "message": "out of memory", "code": "server_error" } }));
        }
    }
    events.push(json!({ "choices": [], "usage": { "prompt_tokens": 20, "completion_tokens": 10 } }));
    let text: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    ([("content-type", "text/event-stream")], text + "data: [DONE]\n\n").into_response()
}

/// What 20 tokens in and 10 out cost.
const COST: u128 = PRICE / 2 + PRICE / 100;

async fn town(lines: &[Line]) -> (Arc<Town>, Asked) {
    let (source, asked) = engine(lines);
    let town = tokio::task::spawn_blocking(move || Town::open(source).unwrap()).await.unwrap();
    (Arc::new(town), asked)
}

async fn paid(town: &Arc<Town>) -> Paid {
    let town = town.clone();
    let caller = tokio::task::spawn_blocking(move || town.caller(FRONT).unwrap()).await.unwrap();
    Paid::open(caller).await.unwrap()
}

fn question() -> Ask {
    Ask { messages: vec![Message::new(Role::User, "Hello?")], max_tokens: 50, ..Ask::default() }
}

/// A run with a calculator that may spend so much; its outcome and its log.
async fn run(town: &Town, llm: Arc<dyn Llm>, amount: u128, earlier: &[u8]) -> (Outcome, Vec<u8>) {
    let (log, lines) = Log::in_memory(town.clock.clone());
    let log = log.resuming(earlier).unwrap();
    let budget = Budget::new(Limits { amount, ..Limits::default() }, log.now());
    let mut run = Run::new(llm, budget, log, [1; 32]).with_tools(Toolbox::new().with_all([calculate()]));
    let outcome = agent::run("What is 2^10?", Style::React, &mut run).await.unwrap();
    (outcome, lines.bytes())
}

fn records(town: &Town, agent: usize) -> Vec<loyal_access::wallet::Record> {
    let mut records = Vec::new();
    Wallet::receipts(&town.wallet(agent), |record| {
        records.push(record);
        Ok(())
    })
    .unwrap();
    records
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_ask_is_paid_receipted_and_named_in_the_log() {
    let lines = [Line::Calls("calculate", r#"{"expression":"2^10"}"#), Line::Says("It is 1024.")];
    let (town, asked) = town(&lines).await;
    let llm = Arc::new(paid(&town).await);
    assert_eq!(llm.amount_max(), PRICE);
    let (outcome, log) = run(&town, llm.clone(), 10 * PRICE, &[]).await;
    assert_eq!((outcome.answer.as_str(), outcome.complete), ("It is 1024.", true), "{outcome:?}");
    assert_eq!((outcome.spent.amount, outcome.paid.len(), outcome.spent.model_tokens), (2 * COST, 2, 60));
    let results = asked.lock().unwrap()[1]["messages"].as_array().unwrap().last().unwrap().clone();
    assert!(results["role"] == "tool" && results["content"].as_str().unwrap().contains("1024"), "{results}");
    // What the log names, the wallet holds, and it verifies.
    let domain = message::domain(town.client.chain_id(), llm_registry(&town));
    let records = records(&town, FRONT);
    for (payment, record) in outcome.paid.iter().zip(&records) {
        let receipt = &record.receipt.receipt.receipt;
        assert_eq!(payment.invocation, receipt.invocationId.to_string());
        assert_eq!((payment.amount, &payment.host), (receipt.amount, &town.url));
        assert!(loyal_access::verification::Verification::of_record(record, &domain).is_good());
        let named = read(&log).unwrap().iter().any(|line| line.body.get().contains(&payment.invocation));
        assert!(named, "{}", payment.invocation);
    }
    // A replay says the same and pays nothing.
    let (again, same) = run(&town, llm, 10 * PRICE, &log).await;
    assert_eq!((again, same, asked.lock().unwrap().len()), (outcome, log, 2));
}

fn llm_registry(town: &Town) -> alloy_primitives::Address {
    Wallet::peek(&town.wallet(FRONT)).unwrap().site.unwrap().registry
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_arrives_early_is_heard_early_and_what_it_cost_at_the_end() {
    let (town, _) = town(&[Line::Says("one two three")]).await;
    let llm = paid(&town).await;
    let mut heard = Vec::new();
    let completion = llm.complete(&question(), &mut |delta| heard.push(delta)).await.unwrap();
    assert_eq!(completion.text, "one two three");
    let texts: Vec<_> = heard.iter().filter(|delta| matches!(delta, Delta::Text(_))).collect();
    assert_eq!(texts.len(), 3, "{heard:?}");
    assert!(matches!(heard.last(), Some(Delta::Paid(payment)) if payment.amount == COST), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cap_of_the_wallet_ends_a_run_and_nothing_is_signed() {
    let (town, asked) = town(&[Line::Says("never")]).await;
    let mut wallet = Wallet::open(&town.wallet(FRONT)).unwrap();
    let caps = Caps { request: Some(PRICE / 2), ..Caps::default() };
    wallet.write(Entry::Caps { asset: town.asset.address, caps }).unwrap();
    drop(wallet);
    let (outcome, log) = run(&town, Arc::new(paid(&town).await), 10 * PRICE, &[]).await;
    assert!(matches!(outcome.ending, Ending::Model(LlmFault::Capped { .. })), "{outcome:?}");
    assert_eq!((outcome.spent.amount, outcome.paid.len(), asked.lock().unwrap().len()), (0, 0, 0));
    assert!(String::from_utf8(log).unwrap().contains("capped"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_asks_no_more_than_its_money_carries() {
    let (town, asked) = town(&[Line::Calls("calculate", r#"{"expression":"2^10"}"#)]).await;
    let llm: Arc<dyn Llm> = Arc::new(paid(&town).await);
    let (outcome, _) = run(&town, llm.clone(), PRICE - 1, &[]).await;
    assert_eq!((outcome.ending, asked.lock().unwrap().len()), (Ending::Exhausted(Exhausted::Amount), 0));
    // With the money of one ask, the first is the last word: it has no tools.
    let (outcome, _) = run(&town, llm, PRICE + PRICE / 2, &[]).await;
    assert_eq!((outcome.spent.amount, asked.lock().unwrap().len()), (COST, 1), "{outcome:?}");
    assert!(asked.lock().unwrap()[0].get("tools").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_or_breaks_costs_nothing() {
    let (town, _) = town(&[Line::Refuses("no such thing"), Line::Breaks]).await;
    let llm = Arc::new(paid(&town).await);
    let refused = llm.complete(&question(), &mut |_| {}).await.unwrap_err();
    assert!(
        matches!(&refused, LlmFault::Refused { status: 400, detail } if detail.contains("no such thing")),
        "{refused:?}"
    );
    let broken = llm.complete(&question(), &mut |_| {}).await.unwrap_err();
    assert!(broken.is_free(), "{broken:?}");
    assert!(records(&town, FRONT).is_empty());
    let (outcome, _) = run(&town, llm, 10 * PRICE, &[]).await;
    assert_eq!(outcome.spent.amount, 0, "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_without_calls_of_tools_is_told_of_them_in_words() {
    let lines = [
        Line::Refuses("tools: this host knows none"),
        Line::Says(r#"{"tool": "calculate", "arguments": {"expression": "2^10"}}"#),
        Line::Says("It is 1024."),
    ];
    let (town, asked) = town(&lines).await;
    let llm = Arc::new(Fallback::new(paid(&town).await));
    let (outcome, _) = run(&town, llm, 20 * PRICE, &[]).await;
    assert_eq!((outcome.answer.as_str(), outcome.spent.amount), ("It is 1024.", 2 * COST), "{outcome:?}");
    let asked = asked.lock().unwrap();
    assert!(
        asked[0].get("tools").is_some() && asked[1].get("tools").is_none() && asked[2].get("tools").is_none()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_is_passed_on_pays_both_builders() {
    let (town, asked) = town(&[Line::Says("It goes to the sea."), Line::Says("A river.")]).await;
    let told = story::run(town.clone(), "Where does the river go?", 50).await.unwrap();
    assert_eq!((told.behind.as_str(), told.answer.as_str()), ("It goes to the sea.", "A river."));
    let prompt = asked.lock().unwrap()[1]["messages"][1]["content"].clone();
    assert_eq!(prompt, "What is this about? It goes to the sea.");
    assert_eq!(told.paid.iter().map(|payment| payment.amount).collect::<Vec<_>>(), [COST, COST]);
    // 2.5 % are the protocol's; of the rest 3 % are the builder's and 25 % the host's, of either agent.
    let (fee, rest) = (COST * 25 / 1_000, COST - COST * 25 / 1_000);
    let builders: Vec<_> = told.divided.iter().map(|(builder, _)| *builder).collect();
    for agent in [FRONT, BACK] {
        assert!(builders.contains(&key(agent).unwrap().address()));
    }
    for (_, all) in &told.divided {
        assert_eq!((all.parts.fee, all.parts.builder), (U256::from(fee), U256::from(rest * 3 / 100)));
        assert_eq!(all.parts.host, U256::from(rest / 4));
    }
    let got = |name: &str| told.received.iter().find(|(who, _)| who == name).unwrap().1;
    assert_eq!(got("the builder in front"), U256::from(rest * 3 / 100));
    assert_eq!(got("the builder behind"), U256::from(rest * 3 / 100));
    assert_eq!(got("host"), U256::from(2 * (rest / 4)));
    assert!(told.table(&town).unwrap().contains("asked behind"));
}
