//! `loyal access …` and `loyal verify`: from a credential's file to receipts that verify, against a host that judges.

#[path = "../../../loyal-access/tests/it/double.rs"]
#[allow(dead_code, reason = "the crate that it comes from uses all of it")]
mod double;

use std::io::{BufRead as _, BufReader};
use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::U256;
use double::{Double, Fault};
use loyal_protocol::chain::Patience;
use loyal_protocol::devnet::{Accounts, Chain, Genesis, Limits, Server, Store, serve};
use loyal_protocol::{Client, Key};
use loyal_types::Clock;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::command::Place;
use crate::market::{self, LOYAL, Market};

const PRICE: u128 = LOYAL / 500;
const DAY: u64 = 86_400;

struct Noon;

impl Clock for Noon {
    fn unix_seconds(&self) -> u64 {
        market::START
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

/// A chain on a port, a host on another, and a place with the user's accounts and credential.
struct Town {
    place: Place,
    double: Arc<Double>,
    runtime: Runtime,
    _server: Server,
}

fn key(index: usize) -> Key {
    Key::try_from(&Accounts::derive(&[7; 32], 8).accounts[index]).unwrap()
}

impl Town {
    fn open() -> Self {
        let genesis = Genesis::development(&[], U256::ZERO, market::START - 10 * DAY);
        let chain = Arc::new(Chain::open(Store::in_memory().unwrap(), genesis, Arc::new(Noon)).unwrap());
        let mut market = Market::on(chain.clone()).unwrap();
        let model = market.model("model", (0, 0)).unwrap();
        let hosting = market.host(model, PRICE).unwrap();
        let client = Arc::new(Client::connect(chain.clone(), None, Patience::default()).unwrap());
        let runtime = Runtime::new().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (double, server) = runtime.block_on(async {
            let server = serve(listener, chain, &Limits::default()).unwrap();
            (Double::start(client, market.at, key(5), hosting, PRICE).await, server)
        });
        let place = Place::new();
        std::fs::create_dir_all(place.path("loyal-chain")).unwrap();
        Accounts::derive(&[7; 32], 8).save(&place.path("loyal-chain")).unwrap();
        let mut file = double::credential(&double, key(6).address(), &key(0));
        file.chain_urls = vec![url];
        place.write("credential.json", serde_json::to_string(&file).unwrap());
        Self { place, double, runtime, _server: server }
    }

    fn json(&self, arguments: &[&str]) -> Value {
        self.place.run(&[arguments, &["--json"]].concat()).json()
    }

    fn good(&self, arguments: &[&str]) -> String {
        self.place.run(arguments).good().to_owned()
    }

    fn bad(&self, arguments: &[&str], words: &[&str]) {
        self.place.run(arguments).bad(1, words);
    }
}

#[test]
fn a_credential_is_kept_an_answer_is_paid_and_its_receipt_verifies() {
    let town = Town::open();
    town.bad(&["access", "ask", "hello", "--key", "6"], &["no credential is here", "loyal access request"]);
    town.bad(&["access", "request", "credential.json", "--key", "3"], &["the credential is", "the key is"]);
    let kept = town.json(&["access", "request", "credential.json", "--key", "6"]);
    assert_eq!(kept["holder"], key(6).address().to_string());
    let asked = town.place.run(&["access", "ask", "good morning", "--key", "6"]);
    assert_eq!(asked.good(), "You said: good morning\n");
    assert!(asked.stderr.contains("0.001 LOYAL for 1 tokens in and 2 out"), "{asked:?}");
    let said = town.json(&["access", "ask", "again", "--key", "6"]);
    assert_eq!(
        (said["answer"].as_str(), said["cost"].as_str()),
        (Some("You said: again"), Some("1000000000000000"))
    );
    let shown = town.good(&["access", "show"]);
    for words in ["0.002 LOYAL for 2 invocations", "0.02 LOYAL put in, 0.002 LOYAL charged, 0.018 LOYAL left"]
    {
        assert!(shown.contains(words), "{shown}");
    }
    let shown = town.json(&["access", "show"]);
    assert_eq!(
        (&shown["receipts"], &shown["channels"][0]["charged"]),
        (&json!(2), &json!("2000000000000000"))
    );
    // Receipts, one and all, and what was changed.
    let list = town.good(&["access", "show", "--receipts"]);
    let id = list.split_whitespace().next().unwrap();
    let receipt = town.good(&["access", "show", "--receipt", id]);
    town.place.write("receipt.json", &receipt);
    let verify = ["verify", "receipt.json", "--credential", "credential.json"];
    assert!(town.good(&verify).contains("the receipt is for this invocation"));
    town.place.write("receipt.json", receipt.replace("\"tokensOut\":2", "\"tokensOut\":3"));
    let found = town.json(&["verify", "receipt.json", "--credential", "credential.json"]);
    assert_ne!(
        found["facts"]["signer"],
        key(5).address().to_string(),
        "a changed receipt is nobody's we know"
    );
    town.place.write("receipt.json", receipt.replace("\"amount\":\"1", "\"amount\":\"9"));
    town.bad(&verify, &["does not hold", "its sum holds its amount"]);
    town.bad(&["verify", "receipt.json"], &["say for which contracts"]);
    assert_eq!(town.json(&["verify", "loyal-wallet"])["receipts"], 2);
    assert!(town.good(&["verify", "credential.json"]).contains("its issuer signed it"));
    town.place.write("other.json", "{}");
    town.bad(&["verify", "other.json", "--credential", "credential.json"], &["no document of ours"]);
}

#[test]
fn caps_hold_and_the_rest_comes_back() {
    let town = Town::open();
    town.good(&["access", "request", "credential.json", "--key", "6"]);
    assert!(town.good(&["access", "cap", "--request", "0.001", "--day", "1"]).contains("0.001 LOYAL"));
    town.bad(&["access", "ask", "x", "--key", "6"], &["the cap for a request is 1000000000000000"]);
    town.good(&["access", "cap", "--request", "none"]);
    town.good(&["access", "ask", "x", "--key", "6"]);
    let caps = town.json(&["access", "show"])["caps"].clone();
    assert_eq!(caps.as_object().unwrap().values().next().unwrap(), &json!({ "day": "1000000000000000000" }));
    let asked = town.json(&["access", "withdraw", "--key", "6"]);
    assert_eq!(
        (&asked["channels"][0]["state"], &asked["channels"][0]["amount"]),
        (&json!("asked"), &json!("19000000000000000"))
    );
    town.bad(&["access", "ask", "x", "--key", "6"], &["is being emptied"]);
    let ready = asked["channels"][0]["readyAt"].as_u64().unwrap();
    town.double.client.ask::<Value>("evm_setNextBlockTimestamp", json!([ready])).unwrap();
    town.double.client.ask::<Value>("evm_mine", json!([])).unwrap();
    assert!(town.good(&["access", "withdraw", "--key", "6"]).contains("0.019 LOYAL came back"));
    assert!(town.good(&["access", "withdraw", "--key", "6"]).contains("nothing is left"));
}

#[test]
fn a_host_that_breaks_the_rules_is_paid_again_only_when_it_is_forgiven() {
    let town = Town::open();
    town.good(&["access", "request", "credential.json", "--key", "6"]);
    town.double.will([Fault::OtherAnswer]);
    town.bad(&["access", "ask", "x", "--key", "6"], &["the receipt speaks of another answer"]);
    town.bad(&["access", "ask", "x", "--key", "6"], &["is not paid any more", "loyal access withdraw"]);
    assert!(town.good(&["access", "show"]).contains("not paid any more"));
    town.bad(&["verify", "loyal-wallet"], &["1 of 1 receipts do not hold"]);
    town.bad(&["access", "forgive", "77"], &["has broken no rule"]);
    let hosting =
        town.json(&["access", "show"])["faults"].as_object().unwrap().keys().next().unwrap().clone();
    town.good(&["access", "forgive", &hosting]);
    assert_eq!(town.good(&["access", "ask", "y", "--key", "6"]), "You said: y\n");
}

/// A proxy that runs until this is dropped.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_proxy_pays_for_programs_and_locks_the_wallet() {
    let town = Town::open();
    town.good(&["access", "request", "credential.json", "--key", "6"]);
    let arguments = ["access", "proxy", "--key", "6", "--listen", "127.0.0.1:0", "--json"];
    let mut proxy = Proxy(town.place.command(&arguments).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(proxy.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let said: Value = serde_json::from_str(&line).unwrap();
    let url = format!("{}/chat/completions", said["url"].as_str().unwrap());
    let body = json!({ "messages": [{ "role": "user", "content": "hello" }] }).to_string();
    let mut answer = ureq::post(&url).content_type("application/json").send(&body).unwrap();
    let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
    assert_eq!(answer["choices"][0]["message"]["content"], "You said: hello");
    town.bad(&["access", "ask", "x", "--key", "6"], &["another process has this wallet open"]);
    assert_eq!(town.json(&["access", "show"])["receipts"], 1);
    drop(proxy);
    town.good(&["access", "ask", "x", "--key", "6"]);
    let bound = ["access", "proxy", "--key", "6", "--listen", "0.0.0.0:0"];
    town.bad(&bound, &["want a secret"]);
    drop(town.runtime);
}

#[test]
fn an_agent_pays_with_a_wallet_and_hears_what_its_host_withholds() {
    use loyal_agent::llm::{Ask, Llm as _, LlmFault, Message, Paid, Role};

    let town = Town::open();
    town.good(&["access", "request", "credential.json", "--key", "6"]);
    let serve = ["agent", "serve", "--wallet", "loyal-wallet", "--key", "6", "--listen", "127.0.0.1:0"];
    let mut agent = Proxy(town.place.command(&serve).spawn().unwrap());
    let mut url = String::new();
    BufReader::new(agent.0.stdout.take().unwrap()).read_line(&mut url).unwrap();
    assert_eq!(town.good(&["agent", "ask", url.trim(), "good evening"]), "You said: good evening\n");
    drop(agent);
    assert_eq!(town.json(&["access", "show"])["receipts"], 1);
    let named = ["agent", "serve", "--wallet", "loyal-wallet", "--key", "6", "--spend", "much"];
    town.bad(&named, &["--spend"]);
    town.bad(&["agent", "serve", "--wallet", "loyal-wallet"], &["--key: who pays?"]);
    // A host that keeps its receipt back is not paid any more.
    let asked = town.runtime.block_on(async {
        let caller = loyal::caller(town.place.path("loyal-wallet"), key(6)).await.unwrap();
        let llm = Paid::open(caller).await.unwrap();
        town.double.will([Fault::OtherSigner]);
        let messages = vec![Message::new(Role::User, "Hello?")];
        let ask = Ask { messages, max_tokens: 9, ..Ask::default() };
        let mut faults = Vec::new();
        for _ in 0..2 {
            faults.push(llm.complete(&ask, &mut |_| {}).await.unwrap_err());
        }
        faults
    });
    for fault in &asked {
        assert!(matches!(fault, LlmFault::Withheld { .. }) && !fault.is_free(), "{fault:?}");
    }
    assert_eq!(town.double.answered(), 2);
}
