//! One list of operations, run on the embedded chain and on anvil: what can be seen of them is equal.

use std::net::TcpListener;

use alloy_consensus::{TxEip2930, TxEip7702, TxLegacy};
use alloy_eips::{eip2930::AccessList, eip7702::Authorization};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy_signer::SignerSync as _;
use alloy_sol_types::{SolCall as _, SolValue as _, sol};
use loyal_protocol::devnet::{Chain, Genesis, Limits, Store, serve};
use serde_json::{Value, json};

use crate::{
    http,
    kit::{HandClock, START, ether, sign, signer, tx},
    npm::{self, Anvil, bytecode},
};

sol! {
    function transfer(address to, uint256 value) returns (bool);
    function transferFrom(address from, address to, uint256 value) returns (bool);
    function balanceOf(address account) returns (uint256);
    function nonces(address account) returns (uint256);
    function DOMAIN_SEPARATOR() returns (bytes32);
    function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s);
    #[derive(Debug)]
    function transferWithAuthorization(address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, bytes signature);
    function sour() payable;
    function text();
    function divide(uint256 by) returns (uint256);
    function nothing();
    function invalid();
    function forever();
    function fill(uint256 from, uint256 to, uint256 value);
    function shout(uint256 count);
    function caught() returns (bytes data);
    function pass(uint256 value) returns (uint256);
    function births(bytes32 salt) payable returns (address first, address second);
    function precompile(uint256 number, bytes input) returns (bool success, bytes output);
    function surroundings() returns (uint256, uint256, uint256, uint256, address);
}

/// A chain behind a URL, and what was seen of it so far.
struct Seen {
    address: String,
    nonces: [u64; 4],
    /// Timestamp of the last block; each is set, so that both chains have the same.
    time: u64,
    list: Vec<(String, Value)>,
}

impl Seen {
    fn new(address: &str) -> Self {
        Self { address: address.into(), nonces: [0; 4], time: START, list: Vec::new() }
    }

    fn ask(&self, method: &str, params: Value) -> Value {
        let mut answer = http::call(&self.address, method, &params);
        match answer.get("error") {
            Some(error) => panic!("{method} {params}: {error}"),
            None => answer["result"].take(),
        }
    }

    fn note(&mut self, what: &str, mut seen: Value) {
        strip(&mut seen);
        self.list.push((what.into(), seen));
    }

    fn next(&mut self, from: u64) -> u64 {
        self.nonces[from as usize] += 1;
        self.nonces[from as usize] - 1
    }

    /// Sends a signed transaction and notes everything about it that does not depend on block hashes.
    fn raw(&mut self, what: &str, raw: Bytes) -> Value {
        self.time += 10;
        self.ask("evm_setNextBlockTimestamp", json!([self.time]));
        let hash = self.ask("eth_sendRawTransaction", json!([raw]));
        let receipt = loop {
            let receipt = self.ask("eth_getTransactionReceipt", json!([hash]));
            if !receipt.is_null() {
                break receipt;
            }
        };
        self.note(&format!("{what}: receipt"), receipt.clone());
        // Anvil shows the receipt a moment before the transaction has its block.
        let transaction = loop {
            let transaction = self.ask("eth_getTransactionByHash", json!([hash]));
            if !transaction["blockNumber"].is_null() {
                break transaction;
            }
        };
        self.note(&format!("{what}: transaction"), transaction);
        let block = self.ask("eth_getBlockByNumber", json!([receipt["blockNumber"], false]));
        let fields = [
            "number",
            "gasUsed",
            "gasLimit",
            "baseFeePerGas",
            "transactionsRoot",
            "receiptsRoot",
            "logsBloom",
            "miner",
            "timestamp",
            "transactions",
        ];
        self.note(&format!("{what}: block"), fields.iter().map(|field| block[*field].clone()).collect());
        receipt
    }

    #[allow(clippy::too_many_arguments, reason = "the words of a transaction, in their order")]
    fn send(&mut self, what: &str, from: u64, to: TxKind, value: u64, input: impl Into<Bytes>) -> Value {
        let nonce = self.next(from);
        let mut transaction = tx(nonce, to, input);
        (transaction.value, transaction.gas_limit) = (U256::from(value), 5_000_000);
        self.raw(what, sign(&signer(from), transaction))
    }

    fn deploy(&mut self, what: &str, from: u64, code: Bytes) -> Address {
        self.send(what, from, TxKind::Create, 0, code)["contractAddress"].as_str().unwrap().parse().unwrap()
    }

    /// Notes what a call returns, or its error with code, message and data.
    fn call(&mut self, what: &str, to: Address, input: impl Into<Bytes>) {
        let (from, input) = (signer(1).address(), input.into());
        let mut answer = http::call(
            &self.address,
            "eth_call",
            &json!([{"from": from, "to": to, "data": input}, "latest"]),
        );
        let seen = if answer["error"].is_null() { answer["result"].take() } else { answer["error"].take() };
        self.note(what, seen);
    }

    /// Notes the error of an estimate.
    fn estimate_error(&mut self, what: &str, to: Address, input: impl Into<Bytes>) {
        let (from, input) = (signer(1).address(), input.into());
        let mut answer =
            http::call(&self.address, "eth_estimateGas", &json!([{"from": from, "to": to, "data": input}]));
        self.note(what, answer["error"].take());
    }
}

/// Drops what depends on the state root, and so differs by design.
fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.shift_remove("blockHash");
            // Anvil's receipts have two fields more than the standard's.
            if fields.contains_key("cumulativeGasUsed") {
                fields.shift_remove("blobGasPrice");
                fields.shift_remove("blockTimestamp");
            }
            // Anvil writes undecoded revert data into the message as well; it belongs in `data` alone.
            let custom = |message: &str| message.starts_with("execution reverted: custom error ");
            if fields.get("message").and_then(Value::as_str).is_some_and(custom) {
                fields["message"] = json!("execution reverted");
            }
            fields.sort_keys();
            fields.values_mut().for_each(strip);
        }
        Value::Array(values) => values.iter_mut().for_each(strip),
        _ => {}
    }
}

fn run(address: &str) -> Vec<(String, Value)> {
    let mut seen = Seen::new(address);
    // The account that will delegate has a balance: anvil grants an absent one the refund of a present one.
    for index in [0, 1, 2, 3, 40] {
        seen.ask("anvil_setBalance", json!([signer(index).address(), ether(1_000)]));
    }
    transfers(&mut seen);
    let probe = seen.deploy("deploy the probe", 1, bytecode("Probe"));
    probes(&mut seen, probe);
    precompiles(&mut seen, probe);
    standards(&mut seen);
    types(&mut seen, probe);
    refusals(&mut seen);
    time(&mut seen, probe);
    seen.list
}

fn transfers(seen: &mut Seen) {
    let fresh = Address::with_last_byte(0xf1);
    seen.send("a transfer", 0, fresh.into(), 12_345, Bytes::new());
    seen.send("a transfer to itself", 0, signer(0).address().into(), 1, Bytes::new());
    seen.send("a transfer of nothing", 0, Address::with_last_byte(0xf2).into(), 0, Bytes::new());
    seen.send("data to nobody", 0, fresh.into(), 0, Bytes::from(vec![0xff; 300]));
    seen.send(
        "a deployment that runs out of gas",
        0,
        TxKind::Create,
        0,
        Bytes::from_static(&[0x5b, 0x5f, 0x56]),
    );
    seen.send("a deployment that reverts", 0, TxKind::Create, 0, Bytes::from_static(&[0x5f, 0x5f, 0xfd]));
    seen.send("a deployment of nothing", 0, TxKind::Create, 5, Bytes::new());
    for account in [fresh, signer(0).address(), Address::ZERO] {
        for method in ["eth_getBalance", "eth_getTransactionCount", "eth_getCode"] {
            let answer = seen.ask(method, json!([account, "latest"]));
            seen.note(&format!("{method} {account}"), answer);
        }
    }
    let early = seen.ask("eth_getBalance", json!([fresh, "0x0"]));
    seen.note("a balance in the past", early);
}

fn probes(seen: &mut Seen, probe: Address) {
    let to = TxKind::Call(probe);
    let reverts: [(&str, Vec<u8>); 4] = [
        ("a typed error", sourCall {}.abi_encode()),
        ("a text", textCall {}.abi_encode()),
        ("a panic", divideCall { by: U256::ZERO }.abi_encode()),
        ("no data", nothingCall {}.abi_encode()),
    ];
    for (what, input) in reverts {
        seen.call(&format!("call: {what}"), probe, input.clone());
        seen.estimate_error(&format!("estimate: {what}"), probe, input.clone());
        seen.send(&format!("send: {what}"), 1, to, 0, input);
    }
    seen.send("an invalid opcode", 1, to, 0, invalidCall {}.abi_encode());
    seen.send("out of gas", 1, to, 0, foreverCall {}.abi_encode());
    seen.send(
        "slots written",
        1,
        to,
        0,
        fillCall { from: U256::ZERO, to: U256::from(20), value: U256::from(9) }.abi_encode(),
    );
    seen.send(
        "slots cleared, with refund",
        1,
        to,
        0,
        fillCall { from: U256::ZERO, to: U256::from(15), value: U256::ZERO }.abi_encode(),
    );
    seen.send("logs", 1, to, 0, shoutCall { count: U256::from(30) }.abi_encode());
    seen.send("a caught revert", 1, to, 0, caughtCall {}.abi_encode());
    seen.send("transient storage", 1, to, 0, passCall { value: U256::from(5) }.abi_encode());
    seen.send("births and a death", 1, to, 77, birthsCall { salt: B256::ZERO }.abi_encode());
    seen.send("a second birth at one place", 1, to, 77, birthsCall { salt: B256::ZERO }.abi_encode());
    seen.send("a payment with a log", 1, to, 1_000, Bytes::new());
    for slot in [
        U256::ZERO,
        U256::from(2),
        U256::from_be_bytes(keccak256((U256::from(17), U256::from(1)).abi_encode()).0),
    ] {
        let value = seen.ask("eth_getStorageAt", json!([probe, format!("{slot:#x}"), "latest"]));
        seen.note(&format!("slot {slot}"), value);
    }
    let logs = seen.ask("eth_getLogs", json!([{"fromBlock": "0x0", "toBlock": "latest", "address": probe}]));
    seen.note("all logs", logs);
    let topic = B256::from(U256::from(3));
    let logs = seen.ask("eth_getLogs", json!([{"fromBlock": "earliest", "topics": [null, null, [topic]]}]));
    seen.note("logs by topic", logs);
    seen.call("surroundings", probe, surroundingsCall {}.abi_encode());
}

fn precompiles(seen: &mut Seen, probe: Address) {
    let inputs: Vec<Bytes> = vec![
        Bytes::new(),
        vec![1; 32].into(),
        vec![0; 128].into(),
        vec![0; 213].into(),
        vec![0; 384].into(),
        vec![0xff; 160].into(),
    ];
    for number in 1..=0x12_u64 {
        for input in &inputs {
            let call = precompileCall { number: U256::from(number), input: input.clone() };
            seen.call(&format!("precompile {number} of {} bytes", input.len()), probe, call.abi_encode());
        }
        let call = precompileCall { number: U256::from(number), input: vec![0; 128].into() };
        seen.send(&format!("precompile {number}, sent"), 1, probe.into(), 0, call.abi_encode());
    }
}

/// EIP-712 approvals (EIP-2612), EIP-3009 authorizations, EIP-1271 wallets, of OpenZeppelin.
fn standards(seen: &mut Seen) {
    let asset = seen.deploy("deploy the asset", 1, bytecode("Asset"));
    let mut code = bytecode("Wallet").to_vec();
    code.extend(signer(2).address().abi_encode());
    let wallet = seen.deploy("deploy the wallet", 1, code.into());
    let to = TxKind::Call(asset);
    seen.send(
        "a transfer of the asset",
        1,
        to,
        0,
        transferCall { to: wallet, value: ether(50) }.abi_encode(),
    );
    seen.send(
        "a transfer beyond the balance",
        2,
        to,
        0,
        transferCall { to: wallet, value: ether(50) }.abi_encode(),
    );
    seen.call(
        "the same as a call",
        asset,
        transferFromCall { from: wallet, to: wallet, value: ether(1) }.abi_encode(),
    );
    let separator = seen.ask(
        "eth_call",
        json!([{"to": asset, "data": Bytes::from(DOMAIN_SEPARATORCall {}.abi_encode())}, "latest"]),
    );
    let separator: B256 = separator.as_str().unwrap().parse().unwrap();
    let digest = |hash: B256| keccak256([&[0x19, 0x01], separator.as_slice(), hash.as_slice()].concat());
    let (owner, spender, deadline) = (signer(1).address(), signer(2).address(), U256::MAX);
    let typehash =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
    let hash = keccak256((typehash, owner, spender, ether(3), U256::ZERO, deadline).abi_encode());
    let signature = signer(1).sign_hash_sync(&digest(hash)).unwrap();
    let approval = permitCall {
        owner,
        spender,
        value: ether(3),
        deadline,
        v: 27 + u8::from(signature.v()),
        r: signature.r().into(),
        s: signature.s().into(),
    };
    seen.send("an approval by signature", 2, to, 0, approval.abi_encode());
    seen.send("the approval again", 2, to, 0, approval.abi_encode());
    seen.send(
        "a transfer by approval",
        2,
        to,
        0,
        transferFromCall { from: owner, to: spender, value: ether(2) }.abi_encode(),
    );
    authorizations(seen, asset, wallet, separator);
    for account in [owner, spender, wallet] {
        seen.call("a balance", asset, balanceOfCall { account }.abi_encode());
        seen.call("a nonce", asset, noncesCall { account }.abi_encode());
    }
}

fn authorizations(seen: &mut Seen, asset: Address, wallet: Address, separator: B256) {
    let (to, spender) = (TxKind::Call(asset), signer(2).address());
    let digest = |hash: B256| keccak256([&[0x19, 0x01], separator.as_slice(), hash.as_slice()].concat());
    let typehash = keccak256(
        "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)",
    );
    let (before, nonce) = (U256::from(u32::MAX), B256::ZERO);
    let hash = keccak256((typehash, wallet, spender, ether(4), U256::ZERO, before, nonce).abi_encode());
    let signature = signer(2).sign_hash_sync(&digest(hash)).unwrap();
    let authorized = transferWithAuthorizationCall {
        from: wallet,
        to: spender,
        value: ether(4),
        validAfter: U256::ZERO,
        validBefore: before,
        nonce,
        signature: signature.as_bytes().to_vec().into(),
    };
    seen.send("an authorized transfer from a contract wallet", 3, to, 0, authorized.abi_encode());
    seen.send("the authorization again", 3, to, 0, authorized.abi_encode());
    let forged = transferWithAuthorizationCall { value: ether(5), ..authorized };
    seen.call("a forged authorization", asset, forged.abi_encode());
}

/// Legacy, EIP-2930 and EIP-7702 transactions.
fn types(seen: &mut Seen, probe: Address) {
    let nonce = seen.next(3);
    let (gas_price, gas_limit, to) = (4_000_000_000, 500_000, TxKind::Call(probe));
    let input: Bytes = shoutCall { count: U256::from(1) }.abi_encode().into();
    let legacy = TxLegacy {
        chain_id: Some(31337),
        nonce,
        gas_price,
        gas_limit,
        to,
        value: U256::ZERO,
        input: input.clone(),
    };
    seen.raw("a legacy transaction", sign(&signer(3), legacy));
    let nonce = seen.next(3);
    let old =
        TxLegacy { chain_id: None, nonce, gas_price, gas_limit, to, value: U256::ZERO, input: input.clone() };
    seen.raw("a legacy transaction without chain id", sign(&signer(3), old));
    let nonce = seen.next(3);
    let listed = AccessList(vec![alloy_eips::eip2930::AccessListItem {
        address: probe,
        storage_keys: vec![B256::ZERO],
    }]);
    let list = TxEip2930 {
        chain_id: 31337,
        nonce,
        gas_price,
        gas_limit,
        to,
        value: U256::ZERO,
        access_list: listed,
        input: input.clone(),
    };
    seen.raw("a transaction with an access list", sign(&signer(3), list));
    let authority = signer(40);
    let authorize = |address, nonce| {
        let authorization = Authorization { chain_id: U256::from(31337), address, nonce };
        let signature = authority.sign_hash_sync(&authorization.signature_hash()).unwrap();
        authorization.into_signed(signature)
    };
    for (what, target, own) in [
        ("delegate an account", probe, 0),
        ("a stale delegation", probe, 7),
        ("end the delegation", Address::ZERO, 1),
    ] {
        let nonce = seen.next(3);
        let transaction = TxEip7702 {
            chain_id: 31337,
            nonce,
            gas_limit,
            max_fee_per_gas: 4_000_000_000,
            max_priority_fee_per_gas: 1,
            to: authority.address(),
            value: U256::ZERO,
            access_list: AccessList::default(),
            authorization_list: vec![authorize(target, own)],
            input: input.clone(),
        };
        seen.raw(what, sign(&signer(3), transaction));
        let code = seen.ask("eth_getCode", json!([authority.address(), "latest"]));
        seen.note(&format!("{what}: code"), code);
    }
}

/// Transactions that enter no block: both refuse, and in words that clients look for.
fn refusals(seen: &mut Seen) {
    let mut refuse = |what: &str, raw: Bytes, words: &str| {
        let answer = http::call(&seen.address, "eth_sendRawTransaction", &json!([raw]));
        let message = answer["error"]["message"].as_str().unwrap_or_default().to_lowercase();
        assert!(message.contains(words), "{what}: {answer}");
        seen.list.push((what.into(), json!(words)));
    };
    let to = Address::with_last_byte(1);
    refuse("a used nonce", sign(&signer(0), tx(0, to, Bytes::new())), "nonce too low");
    refuse("no funds", sign(&signer(70), tx(0, to, Bytes::new())), "insufficient funds");
    let nonce = seen.nonces[0];
    let mut low = tx(nonce, to, Bytes::new());
    (low.max_fee_per_gas, low.max_priority_fee_per_gas) = (1, 1);
    refuse("a low fee", sign(&signer(0), low), "max fee per gas less than block base fee");
    let mut foreign = tx(nonce, to, Bytes::new());
    foreign.chain_id = 5;
    refuse("another chain", sign(&signer(0), foreign), "invalid chain id");
    let mut thin = tx(nonce, to, Bytes::new());
    thin.gas_limit = 20_000;
    refuse("too little gas", sign(&signer(0), thin), "intrinsic gas too low");
}

fn time(seen: &mut Seen, probe: Address) {
    seen.time = START + 1_000_000;
    seen.send("a block at a set time", 1, probe.into(), 0, Bytes::new());
    let snapshot = seen.ask("evm_snapshot", json!([]));
    seen.time = START + 2_000_000;
    seen.send("a block to be undone", 1, probe.into(), 9, Bytes::new());
    let back = seen.ask("evm_revert", json!([snapshot]));
    seen.note("going back", back);
    seen.nonces[1] -= 1;
    let balance = seen.ask("eth_getBalance", json!([probe, "latest"]));
    seen.note("the balance before", balance);
    seen.time = START + 2_000_000;
    let quiet = seen.list.len();
    let receipt = seen.send("another block instead", 1, probe.into(), 10, Bytes::new());
    // Anvil goes back to the state but not to its base fee, so prices differ from here on.
    seen.list.truncate(quiet);
    for field in ["status", "gasUsed", "blockNumber", "logs"] {
        seen.note(&format!("another block instead: {field}"), receipt[field].clone());
    }
}

/// The parts of two observations that differ.
fn difference(what: &str, ours: &Value, theirs: &Value) -> String {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
            let different = keys.into_iter().filter(|key| a.get(*key) != b.get(*key));
            let each =
                different.map(|key| format!("  {key}: ours {:?}, theirs {:?}", a.get(key), b.get(key)));
            format!("{what}:\n{}", each.collect::<Vec<_>>().join("\n"))
        }
        _ => format!("{what}:\n  ours   {ours}\n  theirs {theirs}"),
    }
}

#[test]
fn the_embedded_chain_and_anvil_agree() {
    let anvil = Anvil::start(START);
    let theirs = run(&anvil.address);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let mut genesis = Genesis::development(&[], U256::ZERO, START);
    // Anvil's first block has its initial base fee; ours follows EIP-1559 from the empty genesis block on.
    genesis.fee.base_fee = 1_142_857_142;
    let chain = Chain::open(Store::in_memory().unwrap(), genesis, HandClock::at(START)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let _server = serve(listener, chain.into(), &Limits::default()).unwrap();
    let ours = run(&address);
    let mut different = Vec::new();
    for ((what, ours), (_, theirs)) in ours.iter().zip(&theirs) {
        if ours != theirs {
            different.push(difference(what, ours, theirs));
        }
    }
    assert_eq!(ours.len(), theirs.len());
    assert!(different.is_empty(), "{} of {} differ\n{}", different.len(), ours.len(), different.join("\n"));
    eprintln!("{} observations are equal, with {}", ours.len(), npm::foundry("anvil").display());
}
