//! The server's bounds: sizes, rates, batches, origins, filters, subscribers, nonsense.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use alloy_primitives::{Address, U256};
use loyal_protocol::{
    Error,
    devnet::{Chain, Endpoint, Limits, Store, serve},
};
use serde_json::{Value, json};

use crate::{
    http::{call, post, post_with},
    kit::{
        HandClock, Rng, START, Served, ask, chain, genesis, number, receipt, refused, sign, signer, transfer,
    },
};

#[test]
fn a_request_beyond_the_bounds_is_refused_and_the_next_is_answered() {
    let limits = Limits {
        request_bytes_max: 10_000,
        batch_count_max: 5,
        answer_bytes_max: 20_000,
        ..Limits::default()
    };
    let served = Served::new(&limits);
    let large = json!({"jsonrpc": "2.0", "id": 1, "method": "web3_sha3", "params": ["0x".to_owned() + &"00".repeat(20_000)]});
    let (status, answer) = post(&served.address, large.to_string().as_bytes()).unwrap();
    assert!(status == 413 || String::from_utf8_lossy(&answer).contains("-32007"), "{status}");
    let one = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []});
    let batch = |count: usize| serde_json::to_vec(&vec![one.clone(); count]).unwrap();
    let answer: Value = serde_json::from_slice(&post(&served.address, &batch(5)).unwrap().1).unwrap();
    assert_eq!(answer.as_array().unwrap().len(), 5);
    let answer: Value = serde_json::from_slice(&post(&served.address, &batch(6)).unwrap().1).unwrap();
    assert!(answer["error"]["code"].as_i64().is_some_and(|code| code < 0), "{answer}");
    let raws = (0..100).map(|nonce| sign(&signer(0), transfer(nonce, Address::ZERO, U256::from(1))));
    served.chain.send_all(raws.collect()).into_iter().for_each(|sent| assert!(sent.is_ok()));
    let answer = call(&served.address, "eth_getBlockByNumber", &json!(["latest", true]));
    assert_eq!(answer["error"]["code"], -32008, "{answer}");
    assert_eq!(call(&served.address, "eth_chainId", &json!([]))["result"], "0x7a69");
}

#[test]
fn requests_beyond_the_rate_are_refused_until_time_passes() {
    let served = Served::new(&Limits { request_rate_max: 10, ..Limits::default() });
    let ask = || call(&served.address, "eth_chainId", &json!([]));
    for _ in 0..10 {
        assert_eq!(ask()["result"], "0x7a69");
    }
    assert_eq!(ask()["error"]["code"], -32005);
    served.clock.elapsed_ms.fetch_add(1_000, Ordering::SeqCst);
    assert_eq!(ask()["result"], "0x7a69");
}

#[test]
fn a_batch_of_transactions_is_one_block() {
    let served = Served::new(&Limits::default());
    let mut batch: Vec<_> = (0..200)
        .map(|nonce| {
            json!({"jsonrpc": "2.0", "id": nonce, "method": "eth_sendRawTransaction",
            "params": [sign(&signer(0), transfer(nonce, Address::ZERO, U256::from(1)))]})
        })
        .collect();
    batch.push(
        json!({"jsonrpc": "2.0", "id": "bad", "method": "eth_sendRawTransaction", "params": ["0x02ff"]}),
    );
    let (_, answer) = post(&served.address, &serde_json::to_vec(&batch).unwrap()).unwrap();
    let answers: Vec<Value> = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answers.len(), 201);
    assert!(
        answers[..200]
            .iter()
            .enumerate()
            .all(|(id, answer)| answer["id"] == id && answer["result"].is_string())
    );
    assert_eq!(answers[200]["error"]["code"], -32003);
    assert_eq!(served.chain.status().block, 1);
}

#[test]
fn pages_of_other_sites_are_refused() {
    let served = Served::new(&Limits::default());
    let body = br#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}"#;
    let status = |headers: &str| post_with(&served.address, headers, body).unwrap().0;
    assert_eq!(status("origin: https://example.com\r\n"), 403);
    assert_eq!(status("origin: null\r\n"), 403);
    assert_eq!(status("origin: http://localhost:3000\r\n"), 200);
    let mut stream = TcpStream::connect(&served.address).unwrap();
    stream
        .write_all(
            b"POST / HTTP/1.1\r\nhost: rebound.example.com\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        )
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    let mut stream = TcpStream::connect(&served.address).unwrap();
    let preflight = format!(
        "OPTIONS / HTTP/1.1\r\nhost: {}\r\norigin: http://localhost:3000\r\nconnection: close\r\n\r\n",
        served.address
    );
    stream.write_all(preflight.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 204")
            && answer.contains("access-control-allow-origin: http://localhost:3000")
    );
}

#[test]
fn other_machines_are_served_only_where_that_is_safe() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let everywhere = || TcpListener::bind("0.0.0.0:0").unwrap();
    let mut production = genesis();
    (production.development, production.chain_id) = (false, 4_242);
    let open =
        |genesis| Arc::new(Chain::open(Store::in_memory().unwrap(), genesis, HandClock::at(START)).unwrap());
    let asked = Limits { beyond_loopback: true, ..Limits::default() };
    for (genesis, limits, allowed) in
        [(genesis(), Limits::default(), false), (genesis(), asked, true), (production, asked, false)]
    {
        let served = serve(everywhere(), open(genesis), &limits);
        assert_eq!(served.is_ok(), allowed);
        assert!(allowed || matches!(served, Err(Error::Unsafe { .. })));
    }
}

#[test]
fn a_hundred_thousand_filters_are_bounded_and_idle_ones_make_room() {
    let (chain, clock) = chain();
    let mut open = 0;
    let mut refusals = 0;
    for index in 0..100_000 {
        let (method, params) =
            if index % 2 == 0 { ("eth_newBlockFilter", json!([])) } else { ("eth_newFilter", json!([{}])) };
        match chain.request(method, params) {
            Ok(_) => open += 1,
            Err(fault) => {
                assert_eq!(fault.code, -32005);
                refusals += 1;
            }
        }
    }
    assert!(open < 10_000 && refusals > 90_000);
    assert_eq!(ask(&chain, "eth_getFilterChanges", json!(["0x1"])), json!([]));
    clock.elapsed_ms.fetch_add(301_000, Ordering::SeqCst);
    ask(&chain, "eth_newBlockFilter", json!([]));
    assert!(refused(&chain, "eth_getFilterChanges", json!(["0x1"])).message.contains("not found"));
}

#[test]
fn filters_tell_each_thing_once() {
    let (chain, _) = chain();
    let blocks = ask(&chain, "eth_newBlockFilter", json!([]));
    let mined = receipt(&chain, sign(&signer(0), transfer(0, Address::ZERO, U256::from(1))));
    assert_eq!(ask(&chain, "eth_getFilterChanges", json!([blocks])), json!([mined["blockHash"]]));
    assert_eq!(ask(&chain, "eth_getFilterChanges", json!([blocks])), json!([]));
    assert_eq!(ask(&chain, "eth_uninstallFilter", json!([blocks])), true);
    assert_eq!(ask(&chain, "eth_uninstallFilter", json!([blocks])), false);
}

/// The least WebSocket client: a handshake, and text frames of under 64 KiB.
struct Socket(TcpStream);

impl Socket {
    fn connect(address: &str) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(
            stream,
            "GET / HTTP/1.1\r\nhost: {address}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        .unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"));
        Self(stream)
    }

    fn send(&mut self, text: &str) {
        let mut frame = vec![0x81, 0x80 | 126];
        frame.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.0.write_all(&frame).unwrap();
    }

    fn read(&mut self) -> Value {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).unwrap();
        let mut length = u64::from(head[1]);
        if length == 126 {
            let mut more = [0; 2];
            self.0.read_exact(&mut more).unwrap();
            length = u16::from_be_bytes(more).into();
        }
        let mut text = vec![0; length as usize];
        self.0.read_exact(&mut text).unwrap();
        if head[0] == 0x81 { serde_json::from_slice(&text).unwrap() } else { self.read() }
    }

    fn subscribe(address: &str, params: &Value) -> Self {
        let mut socket = Self::connect(address);
        socket.send(
            &json!({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": params}).to_string(),
        );
        socket
    }
}

#[test]
fn a_slow_subscriber_stops_nobody_and_misses_nothing() {
    let served = Served::new(&Limits { waiting_count_max: 4, ..Limits::default() });
    let mut slow = Socket::subscribe(&served.address, &json!(["newHeads"]));
    let mut quick = Socket::subscribe(&served.address, &json!(["newHeads"]));
    assert!(slow.read()["result"].is_string() && quick.read()["result"].is_string());
    for block in 1..=3_000 {
        served.chain.mine().unwrap();
        assert_eq!(number(&quick.read()["params"]["result"]["number"]), block);
    }
    for block in 1..=3_000 {
        assert_eq!(number(&slow.read()["params"]["result"]["number"]), block);
    }
}

#[test]
fn a_wrong_subscription_is_refused_and_many_are_bounded() {
    let served = Served::new(&Limits { subscription_count_max: 3, ..Limits::default() });
    for params in [
        json!([]),
        json!(["nothing"]),
        json!(["logs", 5]),
        json!(["newPendingTransactions"]),
        json!({"a": 1}),
    ] {
        let answer = Socket::subscribe(&served.address, &params).read();
        assert!(answer["error"]["code"].is_i64(), "{params}: {answer}");
    }
    let mut socket = Socket::connect(&served.address);
    let mut refusals = 0;
    for id in 0..5 {
        socket.send(
            &json!({"jsonrpc": "2.0", "id": id, "method": "eth_subscribe", "params": ["newHeads"]})
                .to_string(),
        );
        refusals += usize::from(socket.read()["error"].is_object());
    }
    assert_eq!(refusals, 2);
}

#[test]
fn nonsense_is_answered_by_an_error() {
    let served = Served::new(&Limits::default());
    let bodies: [&[u8]; 8] =
        [b"", b"{", b"[]", b"null", b"[[[[[[[[", b"\xff\xfe", b"{\"jsonrpc\":\"2.0\"}", b"[1,2,{}]"];
    for body in bodies {
        let (status, answer) = post(&served.address, body).unwrap();
        assert!(status >= 400 || String::from_utf8_lossy(&answer).contains("error"), "{body:?}");
    }
    let deep = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_call\",\"params\":{}{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let (_, answer) = post(&served.address, deep.as_bytes()).unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("error"));
    assert_eq!(call(&served.address, "eth_chainId", &json!([]))["result"], "0x7a69");
}

/// A value of the kind that breaks parsers.
fn odd(rng: &mut Rng, depth: u64) -> Value {
    let words = [
        "latest",
        "pending",
        "0x",
        "0x0",
        "0xzz",
        "-1",
        "",
        "0x00000000000000000000000000000000000000001",
        "0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "newHeads",
        "\u{0}",
        "18446744073709551616",
    ];
    let keys = [
        "from",
        "to",
        "data",
        "input",
        "gas",
        "gasPrice",
        "maxFeePerGas",
        "value",
        "fromBlock",
        "toBlock",
        "blockHash",
        "topics",
        "address",
        "accessList",
        "authorizationList",
        "type",
        "nonce",
        "chainId",
        "stateDiff",
        "requireCanonical",
    ];
    match rng.below(if depth == 0 { 7 } else { 9 }) {
        0 => Value::Null,
        1 => json!(rng.below(2) == 0),
        2 => json!(rng.next()),
        3 => json!(-(rng.below(1_000) as f64) / 7.0),
        4 => json!(signer(rng.below(3)).address()),
        5 => json!(format!("{:#x}", rng.next() >> rng.below(64))),
        6 => json!(words[rng.below(words.len() as u64) as usize]),
        7 => (0..rng.below(4)).map(|_| odd(rng, depth - 1)).collect(),
        _ => Value::Object(
            (0..rng.below(5))
                .map(|_| (keys[rng.below(keys.len() as u64) as usize].into(), odd(rng, depth - 1)))
                .collect(),
        ),
    }
}

#[test]
fn odd_parameters_break_no_method() {
    let (chain, _) = chain();
    receipt(&chain, sign(&signer(0), transfer(0, Address::ZERO, U256::from(1))));
    let methods = [
        "web3_sha3",
        "eth_getBlockByNumber",
        "eth_getBlockByHash",
        "eth_getBlockReceipts",
        "eth_getTransactionByHash",
        "eth_getTransactionReceipt",
        "eth_getTransactionCount",
        "eth_getBalance",
        "eth_getCode",
        "eth_getStorageAt",
        "eth_call",
        "eth_estimateGas",
        "eth_createAccessList",
        "eth_feeHistory",
        "eth_sendRawTransaction",
        "eth_getLogs",
        "eth_newFilter",
        "eth_getFilterChanges",
        "eth_getFilterLogs",
        "eth_uninstallFilter",
        "evm_increaseTime",
        "evm_setNextBlockTimestamp",
        "evm_revert",
        "anvil_setBalance",
        "evm_mine",
        "eth_getProof",
    ];
    let mut rng = Rng(5);
    let (mut answered, mut refusals) = (0, 0);
    for _ in 0..30_000 {
        let method = methods[rng.below(methods.len() as u64) as usize];
        let params: Vec<_> = (0..rng.below(4)).map(|_| odd(&mut rng, 3)).collect();
        match chain.request(method, json!(params)) {
            Ok(_) => answered += 1,
            Err(fault) => {
                assert_ne!(fault.code, -32603, "{method} {params:?}: {fault}");
                refusals += 1;
            }
        }
    }
    assert!(answered > 1_000 && refusals > 1_000, "{answered} answered, {refusals} refused");
}

#[test]
fn broken_transactions_are_refused() {
    let (chain, _) = chain();
    let whole = sign(&signer(0), transfer(0, Address::ZERO, U256::from(1)));
    let mut rng = Rng(9);
    for _ in 0..5_000 {
        let mut bytes = whole.to_vec();
        for _ in 0..=rng.below(3) {
            let at = rng.below(bytes.len() as u64) as usize;
            match rng.below(3) {
                0 => bytes[at] ^= 1 << rng.below(8),
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, rng.next() as u8),
            }
        }
        if let Err(fault) =
            chain.request("eth_sendRawTransaction", json!([alloy_primitives::Bytes::from(bytes)]))
        {
            assert!([-32003, -32005].contains(&fault.code), "{fault}");
        }
    }
}

fn answered(endpoint: &Endpoint, client: &str, body: &[u8]) -> (u16, Value) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (status, body) = runtime.block_on(endpoint.answer(client.parse().unwrap(), body.to_vec())).unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

#[test]
fn a_client_beyond_its_rate_slows_nobody_else() {
    let (chain, clock) = chain();
    let limits = Limits { request_rate_max: 3, ..Limits::default() };
    let endpoint = Endpoint::new(Arc::new(chain), &limits).unwrap();
    let body = br#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#;
    let code = |client: &str| answered(&endpoint, client, body).1["error"]["code"].as_i64();
    for _ in 0..3 {
        assert_eq!(code("192.0.2.1"), None);
    }
    assert_eq!(code("192.0.2.1"), Some(-32005));
    assert_eq!(code("192.0.2.2"), None);
    assert_eq!(code("2001:db8::1"), None);
    clock.elapsed_ms.fetch_add(1_000, Ordering::SeqCst);
    assert_eq!(code("192.0.2.1"), None);
}

#[test]
fn an_endpoint_answers_as_the_server_does() {
    let served = Served::new(&Limits::default());
    let endpoint = Endpoint::new(served.chain.clone(), &Limits::default()).unwrap();
    let requests: [&[u8]; 6] = [
        br#"{"jsonrpc":"2.0","method":"eth_gasPrice","params":[]}"#,
        br#"{"jsonrpc":"2.0","id":7,"method":"eth_gasPrice","params":[]}"#,
        br#"[{"jsonrpc":"2.0","id":1,"method":"eth_chainId"},{"jsonrpc":"2.0","id":2,"method":"no_such"}]"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}"#,
        b"[[[[",
        b"",
    ];
    for request in requests {
        let (status, body) = post(&served.address, request).unwrap();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        assert_eq!(answered(&endpoint, "127.0.0.1", request), (status, body));
    }
}

#[test]
fn connections_beyond_the_bound_are_closed() {
    let served = Served::new(&Limits { connection_count_max: 2, ..Limits::default() });
    let held = [Socket::connect(&served.address), Socket::connect(&served.address)];
    let mut third = TcpStream::connect(&served.address).unwrap();
    // It is closed, or refused in words, but not left waiting.
    let _ = third.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let mut said = String::new();
    let _ = third.read_to_string(&mut said);
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 429"), "{said}");
    drop(held);
}
