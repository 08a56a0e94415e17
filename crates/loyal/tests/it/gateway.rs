//! `loyal host run`, `owner issue|revoke` and `access …`: a user gets a credential, asks a hosted model, pays, and keeps
//! receipts that its host can be held to.

use std::io::{BufRead as _, BufReader};
use std::process::Child;

use serde_json::{Value, json};

use crate::economy::{Economy, registered};

/// A long-running command that ends with this.
pub(crate) struct Serving {
    pub(crate) child: Child,
    said: Value,
}

impl Serving {
    pub(crate) fn start(it: &Economy, arguments: &[&str]) -> Self {
        let arguments = [arguments, &["--folder", "c", "--json"]].concat();
        let mut child = it.place.command(&arguments).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said = serde_json::from_str(&line).unwrap_or_else(|error| {
            let run = crate::command::finish(it.place.command(&arguments).spawn().unwrap());
            panic!("{error}: {line:?}; again: {run:?}")
        });
        Self { child, said }
    }

    pub(crate) fn address(&self) -> &str {
        self.said["address"].as_str().unwrap()
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let url = format!("{}{path}", self.address().trim_end_matches("/v1"));
        let text = ureq::get(&url).call().unwrap().body_mut().read_to_string().unwrap();
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    }

    /// Asks it to end, and waits until what is under way is done.
    pub(crate) fn end(mut self) {
        let pid = i32::try_from(self.child.id()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Questions to a process that does something once a second.
pub(crate) const LOOKS_MAX: usize = 50_000;

/// A registered model with a gated hosting of account 3; account 4 uses it.
pub(crate) fn hosted() -> Economy {
    let it = registered();
    for account in [&it.accounts[3], &it.accounts[4]] {
        it.json(&["chain", "send", "--key", "0", account, "1,000"]);
    }
    let open = ["host", "open", "1", "--price", "0.002", "--level", "gated", "--a-day", "5000"];
    it.json(&[&open[..], &["--endpoint", "http://127.0.0.1/v1", "--key", "3"]].concat());
    it
}

pub(crate) fn host(it: &Economy, more: &[&str]) -> Serving {
    let run = ["host", "run", "1", "m", "--key", "3", "--listen", "127.0.0.1:0"];
    Serving::start(it, &[&run[..], more].concat())
}

#[test]
fn an_invocation_is_permitted_paid_and_receipted_from_end_to_end() {
    let it = hosted();
    let host = host(&it, &["--per-call", "0.0015", "--per-thousand-out", "0.01", "--log", "access.jsonl"]);
    assert_eq!((&host.said["level"], &host.said["hosting"]), (&json!("gated"), &json!(1)));
    // Without payment nobody is answered, and the models say how they are served.
    assert_eq!(host.get("/v1/models")["data"][0]["level"], "gated");
    assert_eq!(host.get("/v1/loyal")["accepts"][0]["amount"], "2000000000000000");
    let unpaid = ureq::post(format!("{}/completions", host.address()))
        .config()
        .http_status_as_error(false)
        .build()
        .send("{\"prompt\": \"Hello\"}")
        .unwrap();
    assert_eq!((unpaid.status().as_u16(), unpaid.headers().contains_key("payment-required")), (402, true));
    // A server of credentials gives the user one.
    let desk = Serving::start(
        &it,
        &[
            "owner",
            "issue",
            "1",
            "--listen",
            "127.0.0.1:0",
            "--spend",
            "1",
            "--host",
            host.address(),
            "--key",
            "0",
        ],
    );
    let request = ["access", "request", desk.address(), "--key", "4", "--wallet", "w"];
    it.json(&request);
    let mut ask = vec!["access", "ask", "Where does the river end?", "--key", "4", "--wallet", "w"];
    let said = it.json(&ask);
    let receipt = &said["receipt"]["receipt"];
    assert_eq!((&receipt["seq"], &said["receipt"]["level"]), (&json!(0), &json!("gated")));
    assert_eq!(receipt["amount"], receipt["cumulative"]);
    ask[2] = "And at last?";
    let said = it.json(&ask);
    assert_eq!(said["receipt"]["receipt"]["seq"], 1);
    // Nothing but the two was answered.
    let metrics = host.get("/metrics");
    let metrics = metrics.as_str().unwrap();
    assert!(metrics.contains("loyal_host_admitted_total 2\n"), "{metrics}");
    assert!(metrics.contains("loyal_host_asked_to_pay_total"), "{metrics}");
    // The receipt verifies offline, and its epoch's report counts it once the day is over.
    let cumulative = said["receipt"]["receipt"]["cumulative"].as_str().unwrap().to_owned();
    it.place.write("receipt.json", said["receipt"]["receipt"].to_string());
    let verified = it.place.run(&["verify", "receipt.json", "--contracts", "c/contracts.json"]);
    assert!(verified.good().contains("receipt"), "{verified:?}");
    let id = said["receipt"]["receipt"]["invocationId"].as_str().unwrap();
    assert_eq!(host.get(&format!("/v1/receipts/{id}"))["inclusion"], Value::Null);
    it.pass("1d");
    let reported = || host.get(&format!("/v1/receipts/{id}"))["inclusion"]["report"].clone();
    assert!((0..LOOKS_MAX).any(|_| !reported().is_null()), "no report was posted");
    assert_eq!((&reported()["count"], &reported()["amount"]), (&json!(2), &json!(cumulative)));
    // What is taken back is refused from the next block on.
    it.json(&["owner", "revoke", "1", "--credential", "w/credential.json", "--key", "0"]);
    let refused = |_| {
        let run = it.place.run(&[&ask[..], &["--folder", "c"]].concat());
        assert!(run.code == Some(0) || run.stderr.contains("revoked"), "{run:?}");
        run.code != Some(0)
    };
    assert!((0..LOOKS_MAX).any(refused), "a credential that was taken back is still good");
    end(&it, host);
    // The log says who came, and nothing that was said.
    let log = std::fs::read_to_string(it.place.path("access.jsonl")).unwrap();
    assert!(log.contains(&it.accounts[4].to_lowercase()) && log.contains("credential_revoked"), "{log}");
    assert!(!log.contains("river") && !log.contains("last?"), "{log}");
}

/// The host ends, redeems what it is owed, and everybody takes what is theirs.
fn end(it: &Economy, host: Serving) {
    host.end();
    let page = it.json(&["model", "show", "1"]);
    let collected = page["hostings"][0]["collected"].as_str().unwrap();
    assert_ne!(collected, "0", "{page}");
    let paid = it.json(&["owner", "withdraw", "--key", "1"]);
    assert_ne!(paid["steps"], json!([]), "{paid}");
}

#[test]
fn a_host_that_is_killed_loses_no_income_and_counts_nothing_twice() {
    let it = hosted();
    let first = host(&it, &[]);
    let issue = ["owner", "issue", "1", "--holder", &it.accounts[4], "--out", "w.json", "--key", "0"];
    it.json(&issue);
    it.json(&["access", "request", "w.json", "--key", "4", "--wallet", "w"]);
    let mut seqs = Vec::new();
    let mut running = first;
    for round in 0..4 {
        for question in ["Who?", "Where?"] {
            let ask = ["access", "ask", question, "--key", "4", "--wallet", "w", "--host", running.address()];
            let said = it.json(&ask);
            seqs.push(said["receipt"]["receipt"]["seq"].as_u64().unwrap());
        }
        running.child.kill().unwrap();
        running.child.wait().unwrap();
        assert_eq!(seqs.len(), 2 * (round + 1));
        running = host(&it, &[]);
    }
    assert_eq!(seqs, (0..8).collect::<Vec<u64>>());
    running.end();
    let page = it.json(&["model", "show", "1"]);
    assert_eq!(page["hostings"][0]["collected"], "16000000000000000");
}

#[test]
fn a_bond_carries_so_many_invocations_a_day_and_says_so() {
    let it = registered();
    for account in [&it.accounts[3], &it.accounts[4]] {
        it.json(&["chain", "send", "--key", "0", account, "10"]);
    }
    let open = ["host", "open", "1", "--price", "0.002", "--a-day", "2", "--level", "gated"];
    let said = it.text(&[&open[..], &["--endpoint", "http://127.0.0.1/v1", "--key", "3"]].concat());
    assert!(said.contains("0.004 LOYAL a day (2 invocations at the price)"), "{said}");
    let running = host(&it, &[]);
    it.json(&["owner", "issue", "1", "--holder", &it.accounts[4], "--out", "w.json", "--key", "0"]);
    it.json(&["access", "request", "w.json", "--key", "4", "--wallet", "w"]);
    let ask = ["access", "ask", "Who?", "--key", "4", "--wallet", "w", "--host", running.address()];
    for _ in 0..2 {
        it.json(&ask);
    }
    it.bad(&ask, &["exposure", "bond carries 4000000000000000 base units a day"]);
    // The next day it serves again.
    it.pass("1d");
    let served = |_| it.place.run(&[&ask[..], &["--folder", "c"]].concat()).code == Some(0);
    assert!((0..LOOKS_MAX / 100).any(served));
}

#[test]
fn an_accused_host_answers_by_itself_from_its_books() {
    let it = hosted();
    let running = host(&it, &[]);
    it.json(&["owner", "issue", "1", "--holder", &it.accounts[4], "--out", "w.json", "--key", "0"]);
    it.json(&["access", "request", "w.json", "--key", "4", "--wallet", "w"]);
    let ask = ["access", "ask", "Who?", "--key", "4", "--wallet", "w", "--host", running.address()];
    let said = it.json(&ask);
    it.place.write("receipt.json", said["receipt"].to_string());
    let id = said["receipt"]["receipt"]["invocationId"].as_str().unwrap().to_owned();
    it.pass("1d");
    let reported = |_| !running.get(&format!("/v1/receipts/{id}"))["inclusion"].is_null();
    assert!((0..LOOKS_MAX).any(reported), "no report was posted");
    // The user says that the report leaves its receipt out, which is not so.
    let opened = it.json(&["court", "open", "omitted", "--receipt", "receipt.json", "--key", "4"]);
    let claim =
        opened["claim"].as_str().or_else(|| opened["id"].as_str()).unwrap_or_else(|| panic!("{opened}"));
    it.pass("2m");
    let cleared = |_| it.json(&["court", "show", claim])["outcome"] == "dismissed";
    assert!((0..LOOKS_MAX / 100).any(cleared), "{}", it.json(&["court", "show", claim]));
}
