//! Agents as servers of the Model Context Protocol over HTTP: the Python package visits, and so do web pages that should not.

use loyal_agent::mcp::{Connection, Pins, Served};
use loyal_agent::serve::{Limits, Server};
use loyal_agent::tool::{Toolbox, calculate};
use loyal_agent::{client::Reach, serve::Card};
use serde_json::{Value, json};

use crate::kit::{Up, golden, up, up_with};
use crate::python;

fn offering(server: Server) -> Server {
    let tools = Toolbox::new().with_all([calculate()]);
    let card = Card::new("golden", &Limits::default()).with_description("Does what it is told.");
    let served = Served { tools, call_count_max: 100, instructions: "Be kind.".to_owned() };
    server.with_card(card).with_offer(served).with_name("agent.example")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_package_asks_the_agent_and_its_tools() {
    let up = up_with(golden(), offering, Limits::default()).await;
    let calls = json!([
        ["assist", { "question": "stream" }],
        ["assist", { "question": "raise" }],
        ["assist", { "prompt": "x" }],
        ["calculate", { "expression": "2^64" }],
        ["nothing", {}],
    ]);
    let arguments = vec![format!("{}/mcp", up.url), calls.to_string()];
    let said = python::script(include_str!("visitor.py"), arguments).await;
    let seen: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&seen["name"], &seen["version"]), (&json!("golden"), &json!("2025-06-18")));
    let tools = seen["tools"].as_object().unwrap();
    assert_eq!(tools.keys().collect::<Vec<_>>(), ["assist", "calculate"]);
    assert_eq!(tools["assist"][0], "Asks the agent golden. Does what it is told.");
    assert_eq!(tools["assist"][1]["required"], json!(["question"]));
    let calls = seen["calls"].as_array().unwrap();
    assert_eq!(calls[0], json!([false, "Hello world"]));
    assert_eq!(calls[3], json!([false, "18446744073709551616"]));
    for (index, told) in [(1, "could not finish"), (2, "question"), (4, "there is no tool")] {
        let [failed, text] = &calls[index].as_array().unwrap()[..] else { panic!("{calls:?}") };
        assert!(failed == true && text.as_str().unwrap().contains(told), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_of_ours_is_a_tool_of_another_one() {
    let up = up(golden()).await;
    let connection =
        Connection::connect("golden", &format!("{}/mcp", up.url), Reach::Local, None).await.unwrap();
    let listed = connection.tools(&mut Pins::default(), &[]).await.unwrap();
    let names: Vec<_> = listed.tools.iter().map(|tool| tool.card().name.clone()).collect();
    assert_eq!(names, ["golden__assist"], "tools are offered by those who say so alone");
    let answer = listed.tools[0].call(json!({ "question": "stream" })).await.unwrap();
    assert!(answer.text == "Hello world" && answer.provenance.is_foreign());
}

/// The status and the body of a request with these headers.
async fn post(up: &Up, host: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let mut text = format!(
        "POST /mcp HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    let answer = up.raw(&format!("{text}\r\n{body}")).await;
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

const JSON: (&str, &str) = ("content-type", "application/json");
const PING: &str = r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#;

#[tokio::test]
async fn pages_of_other_sites_are_not_answered() {
    let up = up_with(golden(), offering, Limits::default()).await;
    let (own, port) = (up.url.trim_start_matches("http://").to_owned(), up.url.rsplit(':').next().unwrap());
    let other = format!("evil.example:{port}");
    let origin = |origin: &'static str| ("origin", origin);
    let own_origin: &'static str = Box::leak(up.url.clone().into_boxed_str());
    for (host, more, status) in [
        (own.as_str(), None, 200),
        (&own, Some(origin(own_origin)), 200),
        ("localhost:1", Some(origin("http://localhost:6274")), 200),
        ("agent.example", Some(origin("https://agent.example")), 200),
        ("192.0.2.1:80", None, 200),
        // A name that somebody pointed at this machine, with its own page or without.
        (&other, None, 421),
        (&other, Some(origin("http://evil.example")), 421),
        // A page elsewhere that knows the address.
        (&own, Some(origin("https://evil.example")), 403),
        (&own, Some(origin("http://192.0.2.7")), 403),
        (&own, Some(origin("null")), 403),
        ("192.0.2.1:80", Some(origin("http://localhost")), 403),
    ] {
        let headers: Vec<_> = [JSON].into_iter().chain(more).collect();
        let (found, body) = post(&up, host, &headers, PING).await;
        assert_eq!(found, status, "{host} {more:?}: {body}");
        assert_eq!(body.contains("\"result\":{}"), status == 200, "{body}");
    }
}

#[tokio::test]
async fn what_is_no_request_of_the_protocol_is_refused_by_its_codes() {
    let up = up(golden()).await;
    let json = [JSON];
    for (headers, body, status, told) in [
        (&json[..], "{", 400, "-32700"),
        (&json, "[]", 400, "-32600"),
        (&json, r#"{"id":1,"method":"ping"}"#, 400, "-32600"),
        (&json, r#"{"jsonrpc":"2.0","id":1,"method":"resources/list"}"#, 200, "-32601"),
        (&json, r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{}}"#, 200, "-32602"),
        (&json, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, 202, ""),
        (&[("content-type", "text/plain")], PING, 415, "application/json"),
        (&[], PING, 415, "application/json"),
        (&[JSON, ("accept", "text/html")], PING, 406, "application/json"),
        (&[JSON, ("mcp-protocol-version", "1999-01-01")], PING, 400, "version"),
    ] {
        let (found, said) = post(&up, "127.0.0.1", headers, body).await;
        assert_eq!(found, status, "{body}: {said}");
        assert!(said.contains(told), "{body}: {said}");
    }
    let looked = up.raw("GET /mcp HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    assert!(looked.starts_with("HTTP/1.1 405"), "{looked}");
}
