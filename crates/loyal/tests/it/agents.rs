//! Agents on the command line: our tools over the Model Context Protocol, and where a browser may be sent.

use serde_json::{Value, json};

use crate::command::Place;

/// What `loyal agent mcp` answers to a conversation, by the number of the request.
fn conversation(place: &Place, flags: &[&str], requests: &[Value]) -> Vec<Value> {
    let hello = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
    let mut lines = vec![
        json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello }),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
    ];
    for (index, request) in requests.iter().enumerate() {
        let mut request = request.clone();
        (request["jsonrpc"], request["id"]) = (json!("2.0"), json!(index + 1));
        lines.push(request);
    }
    let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let run = place.run_with_input(&[&["agent", "mcp"], flags].concat(), input.as_bytes());
    let mut answers: Vec<Value> =
        run.good().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    answers.sort_by_key(|answer| answer["id"].as_u64());
    assert_eq!(answers[0]["result"]["serverInfo"]["name"], "loyal");
    answers
}

fn call(name: &str, arguments: &Value) -> Value {
    json!({ "method": "tools/call", "params": { "name": name, "arguments": arguments } })
}

#[test]
fn tools_are_served_on_pipes() {
    let place = Place::new();
    place.write("notes/a.txt", "hello");
    let requests = [
        json!({ "method": "tools/list" }),
        call("calculate", &json!({ "expression": "2^64" })),
        call("read_file", &json!({ "path": "a.txt" })),
        call("write_file", &json!({ "path": "b.txt", "text": "x" })),
        call("python", &json!({ "code": "print(sum(range(5)))" })),
        call("python", &json!({ "code": "open('notes/a.txt')" })),
        call("python", &json!({ "code": "x = [0]\nwhile True: x = x + x" })),
    ];
    let flags = ["--files", "notes", "--python"];
    let answers = conversation(&place, &flags, &requests);
    let names: Vec<_> = answers[1]["result"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["calculate", "list_files", "read_file", "python"]);
    let text = |index: usize| answers[index]["result"]["content"][0]["text"].as_str().unwrap();
    assert_eq!(text(2), "18446744073709551616");
    assert_eq!(text(3), "hello");
    assert!(text(4).contains("permission") && answers[4]["result"]["isError"] == true, "{}", text(4));
    assert_eq!(text(5), "10");
    assert!(text(6).contains("PermissionError"), "{}", text(6));
    assert!(text(7).contains("MemoryError"), "{}", text(7));
    let granted = conversation(&place, &["--files", "notes", "--grant", "write_file"], &requests[3..4]);
    assert_eq!(granted[1]["result"]["isError"], false, "{granted:?}");
    assert_eq!(std::fs::read_to_string(place.path("notes/b.txt")).unwrap(), "x");
}

/// A server of ours as a server of tools for ours: what was approved stands in a file.
#[test]
fn our_server_is_used_by_ours() {
    let place = Place::new();
    let server = format!("inner={} agent mcp", env!("CARGO_BIN_EXE_loyal"));
    let flags = ["--mcp", &server, "--mcp-reads", "inner__calculate", "--mcp-pins", "pins.json"];
    let requests =
        [json!({ "method": "tools/list" }), call("inner__calculate", &json!({ "expression": "6*7" }))];
    let answers = conversation(&place, &flags, &requests);
    assert_eq!(answers[2]["result"]["content"][0]["text"], "42", "{answers:?}");
    let pins = std::fs::read_to_string(place.path("pins.json")).unwrap();
    assert!(pins.contains("\"inner__calculate\""), "{pins}");
    place.write("pins.json", pins.replace(": \"", ": \"0"));
    let changed = conversation(&place, &flags, &requests);
    assert!(changed[2]["result"]["content"][0]["text"].as_str().unwrap().contains("there is no tool"));
    let again = [&flags[..], &["--mcp-approve", "inner"]].concat();
    assert_eq!(conversation(&place, &again, &requests)[2]["result"]["content"][0]["text"], "42");
}

#[test]
fn what_makes_no_sense_is_said() {
    let place = Place::new();
    place.run(&["agent", "mcp", "--grant", "nothing"]).bad(1, &["there is no such tool", "calculate"]);
    place.run(&["agent", "mcp", "--mcp", "x=/nonexistent"]).bad(1, &["MCP server"]);
    place.run(&["agent", "serve", "--echo", "--python"]).bad(1, &["--echo uses no tools"]);
    let model = ["--model-url", "http://127.0.0.1:1/v1"];
    let browse = [&["agent", "browse", "which is cheaper?"], &model[..]].concat();
    place.run(&browse).bad(1, &["where may it go?", "--allow", "--anywhere"]);
}
