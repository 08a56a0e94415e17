//! `loyal chain`: run, asked while it runs and after, funded, exported, imported, and refused.

use std::io::{BufRead as _, BufReader};
use std::process::Child;

use serde_json::{Value, json};

use crate::command::Place;

/// A chain that runs until this is dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) said: Value,
}

impl Running {
    pub(crate) fn start(place: &Place, more: &[&str]) -> Self {
        Self::start_at(place, "127.0.0.1:0", more)
    }

    pub(crate) fn start_at(place: &Place, address: &str, more: &[&str]) -> Self {
        let arguments = ["chain", "run", "--folder", "c", "--listen", address, "--json"];
        let mut child = place.command(&[&arguments, more].concat()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { said: serde_json::from_str(&line).unwrap(), child }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        self.url().trim_start_matches("http://").trim_end_matches('/')
    }

    fn url(&self) -> &str {
        self.said["url"].as_str().unwrap()
    }

    fn request(&self, method: &str, params: &Value) -> Value {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let mut answer = ureq::post(self.url()).content_type("application/json").send(&body).unwrap();
        let mut answer: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].take()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn of<'a>(verb: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["chain", verb, "--folder", "c"], more].concat()
}

#[test]
fn a_chain_says_where_it_listens_and_is_asked_while_it_runs() {
    let place = Place::new();
    let chain = Running::start(&place, &["--accounts", "3"]);
    assert_eq!((&chain.said["chainId"], &chain.said["block"]), (&json!(31337), &json!(0)));
    let (url, web_socket_url) = (chain.url(), chain.said["webSocketUrl"].as_str().unwrap());
    assert_eq!(url.replace("http://", "ws://"), web_socket_url);
    let accounts = chain.said["accounts"].as_array().unwrap();
    assert_eq!(accounts.len(), 3);
    chain.request("evm_mine", &json!([]));
    let status = place.run(&of("status", &["--json"])).json();
    assert_eq!((&status["block"], &status["development"]), (&json!(1), &json!(true)));
    assert_eq!(place.run(&["chain", "status", "--chain", url, "--json"]).json(), status);
    assert!(place.run(&of("status", &[])).good().contains("31337"));
    let account = accounts[1].as_str().unwrap();
    place.run(&of("fund", &[account, "77"])).good();
    let rows = place.run(&of("accounts", &["--json"])).json();
    assert_eq!(rows[1], json!({ "address": account, "balance": "0x4d" }));
    place.run(&of("export", &["out"])).bad(1, &["another process", "end `loyal chain run` first"]);
    place.run(&of("run", &["--listen", "127.0.0.1:0"])).bad(1, &["another process has this chain open"]);
}

#[test]
fn a_chain_that_ended_is_read_from_its_folder_and_goes_elsewhere() {
    let place = Place::new();
    let chain = Running::start(&place, &["--well-known"]);
    let account = chain.said["accounts"][0].clone();
    assert_eq!(account, "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
    for _ in 0..5 {
        chain.request("evm_mine", &json!([]));
    }
    let status = chain.request("loyal_status", &json!([]));
    drop(chain);
    assert_eq!(place.run(&of("status", &["--json"])).json(), status);
    place.run(&of("export", &["chain.jsonl"])).good();
    place.run(&["chain", "import", "--folder", "other", "chain.jsonl"]).good();
    let other = place.run(&["chain", "status", "--folder", "other", "--json"]).json();
    assert_eq!(other["hash"], status["hash"]);
    place.run(&of("fund", &[account.as_str().unwrap(), "12"])).good();
    let rows = place.run(&of("accounts", &[])).good().to_owned();
    assert!(rows.lines().next().unwrap().ends_with("0.000000000000000012 ether"), "{rows}");
}

#[test]
fn a_chain_keeps_the_blocks_asked_for() {
    let place = Place::new();
    let chain = Running::start(&place, &["--keep-blocks", "2", "--interval", "1"]);
    for _ in 0..6 {
        chain.request("evm_mine", &json!([]));
    }
    assert_eq!(chain.request("loyal_status", &json!([]))["oldestBlock"], 5);
}

#[test]
fn what_cannot_be_run_or_asked_is_refused_and_leaves_nothing() {
    let place = Place::new();
    let production = json!({
        "chainId": 4242, "development": false, "timestamp": 1, "gasLimit": 30_000_000,
        "fee": { "baseFee": 1, "elasticity": 2, "changeDenominator": 8, "priorityFee": 1 },
        "beneficiary": "0x0000000000000000000000000000000000000000", "stateRoot": "diff-chain", "accounts": {},
    });
    place.write("production.json", production.to_string());
    place.write("wrong.json", production.to_string().replace("4242", "31337"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let everywhere = ["--listen", "0.0.0.0:0"];
    let before = place.files();
    let cases: [(Vec<&str>, i32, &str); 9] = [
        (of("run", &everywhere), 2, "--beyond-loopback"),
        (
            of("run", &[&everywhere[..], &["--beyond-loopback", "--genesis", "production.json"]].concat()),
            1,
            "can be reached from other machines",
        ),
        (of("run", &["--listen", "127.0.0.1:0", "--genesis", "wrong.json"]), 1, "chainId 31337"),
        (of("run", &["--listen", &taken]), 1, &taken),
        (of("run", &["--keep-blocks", "0"]), 2, "--keep-blocks"),
        (of("status", &[]), 1, "there is no chain here"),
        (of("fund", &["nobody", "1"]), 1, "nobody: not an account"),
        (of("export", &["out"]), 1, "there is no chain here"),
        (vec!["chain", "status", "--chain", "http://127.0.0.1:9"], 1, "is it running?"),
    ];
    for (arguments, code, says) in cases {
        let run = place.run(&arguments);
        run.bad(code, &[says]);
        assert_eq!(run.stdout, "", "{arguments:?}");
        assert_eq!(place.files(), before, "{arguments:?} left something");
    }
}
