//! `loyal prover …`, `owner tickets`, `validator run`: a prover asks a gated host as any user does, and what the host reports
//! stays secret.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};

use crate::economy::{Economy, registered};
use crate::gateway::Serving;
use crate::model::{self, Shape};

/// Questions to a process that does something once a second.
const LOOKS_MAX: usize = 50_000;

/// A model with a hosting that reports, an issuer, a ticket desk, and account 4 as a seated prover.
struct Probed {
    it: Economy,
    host: Serving,
    issuer: Serving,
    desk: Serving,
    url: String,
}

impl Probed {
    fn open() -> Self {
        Self::open_behind(None)
    }

    /// With `behind`, the hosting's address is that of something in front of the host, which is given both addresses.
    fn open_behind(behind: Option<fn(String, String)>) -> Self {
        let it = registered();
        it.json(&["chain", "send", "--key", "0", &it.accounts[3], "1,000"]);
        it.json(&["chain", "send", "--key", "0", &it.accounts[4], "5,000"]);
        it.json(&["stake", "bind", "prover", "--key", "4"]);
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let front = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let url = format!("http://{}/v1", if behind.is_some() { &front } else { &free });
        let open = ["host", "open", "1", "--price", "0.002", "--level", "gated", "--a-day", "5000"];
        it.json(&[&open[..], &["--endpoint", &url, "--key", "3"]].concat());
        let issuer = Serving::start(
            &it,
            &["owner", "issue", "1", "--listen", "127.0.0.1:0", "--spend", "1", "--key", "0"],
        );
        let tickets = ["owner", "tickets", "1", "--fingerprints", "bound.json", "--listen", "127.0.0.1:0"];
        let desk = Serving::start(&it, &[&tickets[..], &["--key", "0", "--purse", "50"]].concat());
        // Who took a seat today is drawn from tomorrow on.
        it.pass("1d");
        model::write(&it.place.path("wide"), Shape { context: 1_024, ..Shape::default() });
        let host = Serving::start(&it, &["host", "run", "1", "wide", "--key", "3", "--listen", &free]);
        if let Some(behind) = behind {
            behind(front, free);
        }
        Self { it, host, issuer, desk, url }
    }

    fn probe<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let probe = ["prover", "probe", "--key", "4", "--model", "wide", "--cover", "3", "--ledger", "p"];
        let seams =
            ["--tickets", self.desk.address(), "--issuer", self.issuer.address(), "--host", &self.url];
        [&probe[..], &seams, more].concat()
    }

    fn slots(&self) -> Value {
        self.it.place.run(&["prover", "show", "p", "--json"]).json()["slots"].clone()
    }

    fn count(&self, name: &str) -> usize {
        let metrics = self.host.get("/metrics");
        let line = metrics.as_str().unwrap().lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

#[test]
fn what_a_host_reports_stays_secret_and_the_prover_is_told_so() {
    let it = Probed::open();
    let said = it.it.json(&it.probe(&[]));
    assert_eq!(said["failed"], json!([]), "{said}");
    let steps = said["steps"].to_string();
    assert!(steps.contains("commit to what slot 0 of hosting 1"), "{steps}");
    let slots = it.slots();
    assert_eq!(slots.as_array().unwrap().len(), 1, "one prover has one slot: {slots}");
    let sends = slots[0]["sends"].as_array().unwrap();
    assert_eq!(sends.len(), 7);
    assert!(sends.iter().all(|send| send["invocation"].is_string()), "every answer left a receipt: {slots}");
    assert_eq!(it.count("loyal_host_admitted_total"), 7);
    // Again, and nothing is asked again.
    assert_eq!(it.it.json(&it.probe(&[]))["steps"], json!([]));
    assert_eq!(it.count("loyal_host_admitted_total"), 7);
    // The query is nobody's business, not even in what is shown.
    let secret = std::fs::read_to_string(it.it.place.path("prompts.txt")).unwrap();
    let shown = it.it.place.run(&["prover", "show", "p"]).good().to_owned();
    assert!(secret.lines().all(|query| !shown.contains(query)), "{shown}");
    it.it.pass("1d");
    let id = sends[0]["invocation"].as_str().unwrap().to_owned();
    let reported = || !it.host.get(&format!("/v1/receipts/{id}"))["inclusion"].is_null();
    assert!((0..LOOKS_MAX).any(|_| reported()), "no report was posted");
    let said = it.it.json(&it.probe(&[]));
    assert_eq!(said["failed"], json!([]), "{said}");
    let note = it.slots()[0]["note"].clone();
    assert_eq!(note, "reported: the query stays secret");
    // The receipts of the day, audited once more from the wallet that holds them.
    let wallet = std::fs::read_dir(it.it.place.path("p")).unwrap().find_map(|file| {
        let name = file.unwrap().file_name().into_string().unwrap();
        name.starts_with("caller-1-").then(|| format!("p/{name}"))
    });
    let audit = ["prover", "audit", &wallet.unwrap(), "--host", it.host.address()];
    let found = it.it.json(&audit);
    let states: Vec<_> =
        found["receipts"].as_array().unwrap().iter().map(|row| row["state"].clone()).collect();
    assert_eq!(states, vec![json!("reported"); 7]);
}

#[test]
fn a_prover_that_is_killed_at_any_point_goes_on_where_it_was() {
    let it = Probed::open();
    let mut kills = 0;
    for wait in 1_u64.. {
        let mut child = it
            .it
            .place
            .command(&[&it.probe(&[])[..], &["--folder", "c", "--json"]].concat())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(wait * 30));
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    let said = it.it.json(&it.probe(&[]));
    assert_eq!(said["failed"], json!([]), "{said}");
    assert!(kills > 0);
    let slots = it.slots();
    assert_eq!(slots.as_array().unwrap().len(), 1, "{slots}");
    assert_eq!(slots[0]["state"], "committed to");
    // An answer that had come and was not written down is asked for again: at most one for each time it was killed.
    let asked = it.count("loyal_host_admitted_total");
    assert!((7..=7 + kills).contains(&asked), "{asked} invocations, killed {kills} times");
}

#[test]
fn a_prover_says_what_it_lacks() {
    let it = registered();
    let probe = [
        "prover",
        "probe",
        "--key",
        "4",
        "--tickets",
        "http://127.0.0.1:9",
        "--issuer",
        "http://127.0.0.1:9",
        "--host",
        "http://127.0.0.1:9/v1",
    ];
    it.bad(&probe, &["has no seat as a prover", "loyal stake bind prover"]);
    it.bad(
        &["validator", "run", "--key", "4"],
        &["has no seat as a validator", "loyal stake bind validator"],
    );
    it.bad(&["validator", "examine", "0x12"], &["there is no claim 0x12"]);
    let tickets = ["owner", "tickets", "1", "--fingerprints", "bound.json", "--key", "4"];
    it.bad(&tickets, &["Probe_NotController"]);
    it.bad(&["prover", "audit", "LICENSE", "--host", "http://127.0.0.1:9/v1"], &["LICENSE"]);
    let empty = it.place.run(&["prover", "show", "nothing-here"]);
    assert_eq!(empty.good().trim(), "no slot was drawn yet");
}

#[test]
fn a_host_that_leaves_receipts_out_is_accused_by_the_prover_who_holds_them() {
    let it = Probed::open();
    assert_eq!(it.it.json(&it.probe(&[]))["failed"], json!([]));
    let bond = || {
        it.it.json(&["model", "show", "1"])["hostings"][0]["bond"].as_str().unwrap().parse::<u128>().unwrap()
    };
    let before = bond();
    // It reports a day on which nobody came: by the command line, before its own keeper says the truth.
    let Probed { it: place, host, issuer, desk, url } = it;
    drop(host);
    place.pass("1d");
    place.json(&["host", "post", "1", "--key", "3"]);
    let probe = ["prover", "probe", "--key", "4", "--model", "wide", "--cover", "3", "--ledger", "p"];
    let seams = ["--tickets", desk.address(), "--issuer", issuer.address(), "--host", &url];
    // Nobody answers at the host any more, so that today's slot cannot be asked; yesterday's receipts speak for themselves.
    let run = place.place.run(&[&probe[..], &seams, &["--folder", "c", "--json"]].concat());
    let said: Value = serde_json::from_str(&run.stdout).unwrap();
    let count = |words: &str| said["steps"].to_string().matches(words).count();
    assert_eq!(count("open the claim (omitted)"), 7, "each receipt convicts: {said}");
    let claims = place.json(&["court", "show"]);
    let all = claims.as_array().unwrap();
    assert!(all.iter().all(|claim| claim["state"] == "executed" && claim["outcome"] == "upheld"), "{claims}");
    let after =
        place.json(&["model", "show", "1"])["hostings"][0]["bond"].as_str().unwrap().parse::<u128>().unwrap();
    // Five percent for each, as far as half of the bond for one epoch.
    assert!(after < before && after >= before / 2, "{before} to {after}");
    // And the probe is laid open besides: nothing was reported of it.
    assert_eq!(count("lay open what slot"), 1, "{said}");
}

/// Passes everything on to a host, except the receipts that it gives.
fn without_receipts(front: String, back: String) {
    use std::io::{Read as _, Write as _};
    let listener = TcpListener::bind(front).unwrap();
    let pass = move |mut caller: std::net::TcpStream| -> std::io::Result<()> {
        let (mut asked, mut buffer) = (Vec::new(), [0; 65_536]);
        loop {
            let count = caller.read(&mut buffer)?;
            asked.extend_from_slice(&buffer[..count]);
            let text = String::from_utf8_lossy(&asked).to_ascii_lowercase();
            let Some(head) = text.find("\r\n\r\n") else { continue };
            let length =
                text.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
            if count == 0 || asked.len() >= head + 4 + length.unwrap_or(0) {
                break;
            }
        }
        // One request for each connection, so that an answer ends where its connection does.
        let asked = String::from_utf8_lossy(&asked).replacen("\r\n", "\r\nconnection: close\r\n", 1);
        let mut host = std::net::TcpStream::connect(&back)?;
        host.write_all(asked.as_bytes())?;
        let mut answer = Vec::new();
        host.read_to_end(&mut answer)?;
        let text = String::from_utf8_lossy(&answer).replace("loyal-receipt:", "x-nothing:");
        caller.write_all(text.as_bytes())
    };
    std::thread::spawn(move || {
        for caller in listener.incoming().flatten() {
            let pass = pass.clone();
            std::thread::spawn(move || pass(caller));
        }
    });
}

#[test]
fn a_host_that_withholds_receipts_is_heard_and_laid_open_all_the_same() {
    let it = Probed::open_behind(Some(without_receipts));
    // What it answers is kept; that it stops being paid after a while is its own loss.
    let mut said = Value::Null;
    for _ in 0..5 {
        let run = it.it.place.run(&[&it.probe(&[])[..], &["--folder", "c", "--json"]].concat());
        said = serde_json::from_str(&run.stdout).unwrap();
        if said["failed"] == json!([]) {
            break;
        }
    }
    assert_eq!(said["failed"], json!([]), "{said}");
    let slots = it.slots();
    let sends = slots[0]["sends"].as_array().unwrap();
    let answered = sends.iter().filter(|send| send["isAnswered"] == true).count();
    assert!(answered >= 1, "{slots}");
    assert!(sends.iter().all(|send| send["invocation"].is_null()), "there are no receipts: {slots}");
    assert_eq!(slots[0]["state"], "committed to");
}
