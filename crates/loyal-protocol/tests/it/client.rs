//! The typed client on the embedded chain and on anvil: one deployment, typed refusals, nonces, endpoints that fail.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use alloy_primitives::{Address, B256, Bytes, U256};
use loyal_protocol::{
    Addresses, Client, Failure, Key, Outcome,
    chain::Patience,
    contracts::*,
    deploy,
    deploy::Plan,
    devnet::Chain,
    rpc::{Agreeing, Http, Rpc},
};
use serde_json::{Value, json};

use crate::{
    kit::{self, START, ether, signer},
    npm::Anvil,
};

pub(crate) fn key(index: u64) -> Key {
    Key::of(signer(index).to_bytes()).unwrap()
}

fn quick() -> Patience {
    Patience { attempts_max: 2_000, pause: std::time::Duration::from_millis(1) }
}

pub(crate) fn plan() -> Plan {
    Plan {
        proposers: vec![key(0).address()],
        delay_seconds: 172_800,
        genesis_time: START,
        beneficiaries: [key(0).address(); 5],
        channel: None,
    }
}

pub(crate) fn chain() -> Arc<Chain> {
    Arc::new(kit::chain().0)
}

/// Runs a test of the client on the embedded chain, then on anvil.
pub(crate) fn on_both(test: impl Fn(&Arc<dyn Rpc>)) {
    let embedded: Arc<dyn Rpc> = chain();
    test(&embedded);
    let (_anvil, http) = anvil(START);
    test(&http);
}

/// An anvil whose clock begins at `timestamp`, with the tests' accounts funded.
pub(crate) fn anvil(timestamp: u64) -> (Anvil, Arc<dyn Rpc>) {
    let anvil = Anvil::start(timestamp);
    let http: Arc<dyn Rpc> =
        Arc::new(Http::new(&format!("http://{}", anvil.address), std::time::Duration::from_secs(30)));
    for index in 0..10 {
        http.request("anvil_setBalance", json!([signer(index).address(), ether(10_000)])).unwrap();
    }
    (anvil, http)
}

pub(crate) fn client(rpc: Arc<dyn Rpc>) -> Client {
    Client::connect(rpc, Some(31337), quick()).unwrap()
}

#[test]
fn a_deployment_is_resumed_and_found_again() {
    on_both(|chain| {
        let client = client(chain.clone());
        let places = deploy(&client, &key(0), &plan()).unwrap();
        assert_eq!(places, Addresses::of(key(0).address(), None));
        let sent: Value = client.ask("eth_getTransactionCount", json!([key(0).address(), "latest"])).unwrap();
        assert_eq!(deploy(&client, &key(0), &plan()).unwrap(), places);
        let again: Value =
            client.ask("eth_getTransactionCount", json!([key(0).address(), "latest"])).unwrap();
        assert_eq!(sent, again, "nothing is sent where everything is there");
        let supply = client.call(places.currency, &LoyalCurrency::totalSupplyCall {}).unwrap();
        assert_eq!(supply, (U256::from(1) << 35) * ether(1));
        let other = Addresses::of(key(1).address(), None);
        assert!(matches!(loyal_protocol::deploy::check(&client, &other), Err(Failure::NoContract { .. })));
    });
}

#[test]
fn every_contract_has_code_within_the_limit() {
    for name in ["Gate", "Registry", "RevenueRouter", "InvocationChannel", "ModelShares", "Till"] {
        assert!(loyal_protocol::contracts::code_of(name).unwrap().len() > 500, "{name}");
    }
    assert_eq!(loyal_protocol::contracts::code_of("Nothing"), None);
}

#[test]
fn refusals_name_the_error_and_its_facts() {
    on_both(|chain| {
        let client = client(chain.clone());
        let places = deploy(&client, &key(0), &plan()).unwrap();
        let call = Parameters::setCall { parameter: 8, value: U256::from(1) };
        let failure = client.send(&key(1), places.parameters, &call).unwrap_err();
        let text = failure.to_string();
        assert!(
            text.contains("Parameters_NotTimelock")
                && text.to_lowercase().contains(&key(1).address().to_string().to_lowercase()),
            "{text}"
        );
        let failure =
            client.call(places.registry, &Registry::ownerOfCall { tokenId: U256::from(7) }).unwrap_err();
        assert!(matches!(failure, Failure::Reverted { .. }), "{failure}");
        let failure = client.call(Address::with_last_byte(0x77), &Registry::modelCountCall {}).unwrap_err();
        assert!(matches!(failure, Failure::Nonsense { .. }), "{failure}");
    });
}

#[test]
fn events_come_with_their_names() {
    on_both(|chain| {
        let client = client(chain.clone());
        let places = deploy(&client, &key(0), &plan()).unwrap();
        let mined = client
            .send(&key(0), places.vesting, &GenesisVesting::releaseCall { index: U256::from(2) })
            .unwrap();
        let released: GenesisVesting::Released = mined.event().unwrap();
        assert_eq!(released.beneficiary, key(0).address());
        let text: Vec<_> = mined.logs.iter().filter_map(loyal_protocol::chain::Event::text).collect();
        assert!(text.iter().any(|line| line.contains("Released")), "{text:?}");
        let seen = client.events(&[places.vesting], 0, mined.block_number.to()).unwrap();
        assert_eq!(seen.last().unwrap().decode::<GenesisVesting::Released>().unwrap(), released);
    });
}

#[test]
fn threads_share_an_account() {
    on_both(|chain| {
        let client = client(chain.clone());
        let places = deploy(&client, &key(0), &plan()).unwrap();
        client.send(&key(0), places.vesting, &GenesisVesting::releaseCall { index: U256::from(2) }).unwrap();
        let call = LoyalCurrency::transferCall { to: key(2).address(), value: U256::from(5) };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        client.send(&key(0), places.currency, &call).unwrap();
                    }
                });
            }
        });
        let account = key(2).address();
        let balance = client.call(places.currency, &LoyalCurrency::balanceOfCall { account }).unwrap();
        assert_eq!(balance, U256::from(200), "forty transfers, each once");
    });
}

#[test]
fn accounts_without_means_are_told() {
    on_both(|chain| {
        let client = client(chain.clone());
        let poor = Key::of(B256::with_last_byte(7)).unwrap();
        let failure = client.send_data(&poor, alloy_primitives::TxKind::Create, Bytes::from_static(&[0]));
        assert!(matches!(failure, Err(Failure::Unfunded { .. } | Failure::Refused { .. })), "{failure:?}");
        let other = Client::connect(chain.clone(), Some(1), quick()).unwrap_err();
        assert_eq!(other, Failure::OtherChain { found: 31337, wanted: 1 });
    });
}

/// Answers, but loses what it heard about every second request.
#[derive(Debug)]
struct Flaky {
    chain: Arc<dyn Rpc>,
    count: AtomicU32,
}

impl Rpc for Flaky {
    fn request(&self, method: &str, params: Value) -> Outcome<Value> {
        let answer = self.chain.request(method, params);
        let lost =
            method == "eth_sendRawTransaction" && self.count.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
        if lost {
            Err(Failure::Silent { endpoint: self.name(), why: "the line broke".into() })
        } else {
            answer
        }
    }

    fn name(&self) -> String {
        "a flaky endpoint".to_owned()
    }
}

#[test]
fn a_broken_line_does_not_send_twice() {
    on_both(|chain| {
        let steady = client(chain.clone());
        let places = deploy(&steady, &key(0), &plan()).unwrap();
        steady.send(&key(0), places.vesting, &GenesisVesting::releaseCall { index: U256::from(2) }).unwrap();
        let flaky = client(Arc::new(Flaky { chain: chain.clone(), count: AtomicU32::new(0) }));
        let call = LoyalCurrency::transferCall { to: key(3).address(), value: U256::from(1) };
        for _ in 0..10 {
            flaky.send(&key(0), places.currency, &call).unwrap();
        }
        let account = key(3).address();
        let balance = flaky.call(places.currency, &LoyalCurrency::balanceOfCall { account }).unwrap();
        assert_eq!(balance, U256::from(10));
    });
}

/// Lies about balances.
#[derive(Debug)]
struct Liar(Arc<dyn Rpc>);

impl Rpc for Liar {
    fn request(&self, method: &str, params: Value) -> Outcome<Value> {
        if method == "eth_call" { Ok(json!(B256::with_last_byte(1))) } else { self.0.request(method, params) }
    }

    fn name(&self) -> String {
        "a liar".to_owned()
    }
}

#[test]
fn endpoints_must_agree() {
    on_both(|chain| {
        let honest = client(chain.clone());
        let places = deploy(&honest, &key(0), &plan()).unwrap();
        let both = client(Arc::new(Agreeing::new(vec![chain.clone(), Arc::new(Liar(chain.clone()))])));
        let failure = both.call(places.currency, &LoyalCurrency::totalSupplyCall {}).unwrap_err();
        assert!(matches!(failure, Failure::Disagreement { .. }), "{failure}");
        let same = client(Arc::new(Agreeing::new(vec![chain.clone(), chain.clone()])));
        same.send(&key(0), places.vesting, &GenesisVesting::releaseCall { index: U256::from(2) }).unwrap();
        assert!(client(Arc::new(Liar(chain.clone()))).time().is_ok(), "and is believed where it is alone");
    });
}

/// Swallows what is sent to it: it says that it took it, and forgets it.
#[derive(Debug)]
struct Forgetful(Arc<dyn Rpc>);

impl Rpc for Forgetful {
    fn request(&self, method: &str, params: Value) -> Outcome<Value> {
        if method == "eth_sendRawTransaction" {
            return Ok(json!(B256::repeat_byte(1)));
        }
        self.0.request(method, params)
    }

    fn name(&self) -> String {
        "a forgetful endpoint".to_owned()
    }
}

#[test]
fn a_transaction_that_is_dropped_is_pending_and_one_that_is_replaced_is_told() {
    on_both(|chain| {
        let steady = client(chain.clone());
        let places = deploy(&steady, &key(0), &plan()).unwrap();
        let release = |index: u64| GenesisVesting::releaseCall { index: U256::from(index) };
        steady.send(&key(0), places.vesting, &release(2)).unwrap();
        let call = LoyalCurrency::transferCall { to: key(3).address(), value: U256::from(1) };
        let short = Patience { attempts_max: 3, pause: std::time::Duration::ZERO };
        let dropping = Client::connect(Arc::new(Forgetful(chain.clone())), Some(31337), short).unwrap();
        // Dropped: it may still come, so it is not done again, and the account's next one waits behind it.
        let failure = dropping.send(&key(0), places.currency, &call).unwrap_err();
        assert!(matches!(failure, Failure::Pending { .. }), "{failure}");
        assert!(failure.to_string().contains("ask for it again before sending another"), "{failure}");
        // Replaced: another transaction of the account took the nonce meanwhile.
        let dropping =
            Client::connect(Arc::new(Racing::new(chain.clone(), places.currency)), Some(31337), short)
                .unwrap();
        let failure = dropping.send(&key(0), places.currency, &call).unwrap_err();
        assert!(
            matches!(failure, Failure::Replaced { account, .. } if account == key(0).address()),
            "{failure}"
        );
        let account = key(3).address();
        let balance = steady.call(places.currency, &LoyalCurrency::balanceOfCall { account }).unwrap();
        assert_eq!(balance, U256::from(2), "only the racer's transfer was done");
    });
}

/// Lets another wallet of the same account be faster.
#[derive(Debug)]
struct Racing {
    chain: Arc<dyn Rpc>,
    currency: Address,
    raced: AtomicBool,
}

impl Racing {
    fn new(chain: Arc<dyn Rpc>, currency: Address) -> Self {
        Self { chain, currency, raced: AtomicBool::new(false) }
    }
}

impl Rpc for Racing {
    fn request(&self, method: &str, params: Value) -> Outcome<Value> {
        if method == "eth_sendRawTransaction" {
            // The racer asks for the same nonce; what comes after the first is refused by its own patience.
            if !self.raced.swap(true, Ordering::SeqCst) {
                let call = LoyalCurrency::transferCall { to: key(3).address(), value: U256::from(2) };
                client(self.chain.clone()).send(&key(0), self.currency, &call)?;
            }
            return Ok(json!(B256::repeat_byte(1)));
        }
        self.chain.request(method, params)
    }

    fn name(&self) -> String {
        "an endpoint that another wallet uses too".to_owned()
    }
}

#[test]
fn an_endpoint_that_stalls_or_talks_without_end_is_left() {
    let serve = |talk: fn(std::net::TcpStream)| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || listener.incoming().for_each(|stream| talk(stream.unwrap())));
        Http::new(&url, std::time::Duration::from_millis(300))
    };
    let stalls = serve(|stream| {
        std::thread::sleep(std::time::Duration::from_secs(5));
        drop(stream);
    });
    let failure = stalls.request("eth_chainId", json!([])).unwrap_err();
    assert!(matches!(failure, Failure::Silent { .. }), "{failure}");
    let garbles = serve(|mut stream| {
        let _ = std::io::Read::read(&mut stream, &mut [0; 4_096]);
        let _ = std::io::Write::write_all(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nwhat");
    });
    let failure = garbles.request("eth_chainId", json!([])).unwrap_err();
    assert!(matches!(failure, Failure::Nonsense { .. }), "{failure}");
    let endless = serve(|mut stream| {
        let _ = std::io::Read::read(&mut stream, &mut [0; 4_096]);
        let _ =
            std::io::Write::write_all(&mut stream, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        while std::io::Write::write_all(&mut stream, b"1\r\n{\r\n").is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    });
    let failure = endless.request("eth_chainId", json!([])).unwrap_err();
    assert!(matches!(failure, Failure::Silent { .. }), "{failure}");
}
