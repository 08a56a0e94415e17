//! What the embedded chain reads from strangers: requests, as bytes and by method, transactions, and its own files.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use loyal_protocol::devnet::{Accounts, Allocation, Chain, Endpoint, Genesis, Limits, Store, U256};
use loyal_types::Clock;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use super::{FOLDER, Target};

/// A chain holds this before it looks at its input.
const HELD_BYTES_BASE: usize = 192 << 20;

const TARGET: Target = Target {
    name: "",
    run: request,
    dictionary: WORDS,
    mend: None,
    make: None,
    held_bytes_base: HELD_BYTES_BASE,
};

pub(super) const CHAIN_REQUEST: Target = Target { name: "chain_request", run: request, ..TARGET };
pub(super) const CHAIN_RPC: Target = Target { name: "chain_rpc", run: rpc, ..TARGET };
pub(super) const CHAIN_TRANSACTION: Target =
    Target { name: "chain_transaction", run: transaction, dictionary: &[], ..TARGET };
pub(super) const CHAIN_EXPORT: Target =
    Target { name: "chain_export", run: export, make: Some(exported), ..TARGET };
pub(super) const CHAIN_GENESIS: Target =
    Target { name: "chain_genesis", run: genesis, make: Some(|| GENESIS.to_json().into_bytes()), ..TARGET };
pub(super) const CHAIN_ACCOUNTS: Target =
    Target { name: "chain_accounts", run: accounts, make: Some(saved_accounts), ..TARGET };

const WORDS: &[&str] = &[
    "\"latest\"",
    "\"pending\"",
    "\"earliest\"",
    "\"0x\"",
    "\"0x0\"",
    "\"0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\"",
    "\"0x00000000000000000000000000000000000000c0\"",
    "\"0x00000000000000000000000000000000000000c1\"",
    "\"0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266\"",
    "\"fromBlock\"",
    "\"toBlock\"",
    "\"blockHash\"",
    "\"topics\"",
    "\"address\"",
    "\"accessList\"",
    "\"authorizationList\"",
    "\"stateDiff\"",
    "\"code\"",
    "\"data\"",
    "\"from\"",
    "\"gas\"",
    "\"maxFeePerGas\"",
    "\"value\"",
    "\"newHeads\"",
    "\"logs\"",
    "\"transactions\"",
    "\"fundings\"",
    "\"block\"",
    "\"storage\"",
    "\"balance\"",
    "\"jsonrpc\":\"2.0\"",
    "\"id\"",
    "\"params\"",
    "eth_call",
    "eth_estimateGas",
    "eth_createAccessList",
    "eth_getLogs",
    "eth_newFilter",
    "eth_getFilterChanges",
    "eth_feeHistory",
    "eth_getBlockByNumber",
    "eth_getBlockReceipts",
    "eth_getStorageAt",
    "eth_sendRawTransaction",
    "eth_subscribe",
    "evm_mine",
    "evm_revert",
    "evm_snapshot",
    "evm_increaseTime",
    "evm_setNextBlockTimestamp",
    "anvil_setBalance",
    "null",
    "[]",
    "{}",
];

struct Still;

impl Clock for Still {
    fn unix_seconds(&self) -> u64 {
        1_700_000_100
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

/// One transfer of the first well-known account, its first transaction.
const TRANSFER: &[u8] = include_bytes!("../../corpus/chain_transaction/transfer.bin");

/// Well-known accounts, a contract that keeps its first argument and tells a log, and one that refuses.
static GENESIS: LazyLock<Genesis> = LazyLock::new(|| {
    let accounts = Accounts::well_known().addresses();
    let balance = U256::from(1_000_000_000_000_000_000_u64);
    let mut genesis = Genesis::development(&accounts, balance, 1_700_000_000);
    let contracts: [(u8, &[u8]); 2] =
        [(0xc0, b"\x5f\x35\x80\x5f\x55\x5f\x5f\xa1\x00"), (0xc1, b"\x60\x20\x5f\xfd")];
    for (last, code) in contracts {
        let mut address = [0; 20];
        address[19] = last;
        let contract = Allocation { code: code.into(), nonce: 1, ..Allocation::default() };
        genesis.accounts.insert(address.into(), contract);
    }
    genesis
});

fn open(genesis: Genesis) -> Result<Chain, String> {
    let store = Store::in_memory().map_err(|error| error.to_string())?;
    Chain::open(store, genesis, Arc::new(Still)).map_err(|error| error.to_string())
}

/// A chain with one block, of one transfer.
fn chain() -> Chain {
    let chain = open(GENESIS.clone()).expect("the genesis is good");
    chain.send(TRANSFER.to_vec().into()).expect("the transfer is good");
    chain
}

/// What no request may be answered with: it would say that the chain itself is broken.
fn check_code(code: i64, message: &str) {
    assert_ne!(code, -32603, "an internal error: {message}");
}

/// Requests, one a line: the method, a space, the parameters.
fn request(bytes: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let chain = chain();
    let mut refusal = None;
    for line in text.lines().take(32) {
        let (method, params) = line.split_once(' ').unwrap_or((line, "null"));
        let Ok(params) = serde_json::from_str(params) else {
            refusal = Some(format!("{method}: the parameters are no JSON"));
            continue;
        };
        if let Err(fault) = chain.request(method, params) {
            check_code(fault.code.into(), &fault.message);
            refusal = Some(format!("{method}: {fault}"));
        }
    }
    refusal.map_or(Ok(()), Err)
}

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_all().build().expect("a runtime can be made"));

/// The body of a POST request, through everything of the server but its socket.
fn rpc(bytes: &[u8]) -> Result<(), String> {
    let endpoint = Endpoint::new(Arc::new(chain()), &Limits::default()).map_err(|error| error.to_string())?;
    let answered = RUNTIME.block_on(endpoint.answer(IpAddr::V4(Ipv4Addr::LOCALHOST), bytes.to_vec()));
    let (status, body) = answered.expect("an endpoint answers");
    if status != 200 {
        return Err(format!("status {status}"));
    }
    if body.is_empty() {
        return Ok(());
    }
    let answer: Value = serde_json::from_slice(&body).expect("an answer is JSON");
    let answers = if let Value::Array(answers) = answer { answers } else { vec![answer] };
    let mut refusal = None;
    for answer in answers {
        let error = &answer["error"];
        if error.is_null() {
            continue;
        }
        // A subscription over HTTP is refused by the server's library in these words.
        if !String::from_utf8_lossy(bytes).contains("subscribe") {
            check_code(error["code"].as_i64().expect("an error has a code"), &error.to_string());
        }
        refusal = Some(error.to_string());
    }
    refusal.map_or(Ok(()), Err)
}

/// A raw transaction.
fn transaction(bytes: &[u8]) -> Result<(), String> {
    let chain = open(GENESIS.clone())?;
    let sent = chain.request("eth_sendRawTransaction", json!([hex(bytes)]));
    let hash = sent.map_err(|fault| {
        check_code(fault.code.into(), &fault.message);
        fault.to_string()
    })?;
    for method in ["eth_getTransactionByHash", "eth_getTransactionReceipt"] {
        chain.request(method, json!([hash])).expect("what was taken can be asked for");
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// An exported chain; what is read must be written as it was.
fn export(bytes: &[u8]) -> Result<(), String> {
    let genesis = Chain::genesis_of_export(&mut &*bytes).map_err(|error| error.to_string())?;
    let chain = open(genesis)?;
    chain.import(&mut &*bytes).map_err(|error| error.to_string())?;
    let mut again = Vec::new();
    chain.export(&mut again).expect("a chain that was imported can be exported");
    let other = open(chain.genesis().clone())?;
    other.import(&mut again.as_slice()).expect("what was exported can be imported");
    assert_eq!(other.status(), chain.status(), "a chain must survive being written and read");
    Ok(())
}

fn exported() -> Vec<u8> {
    let chain = chain();
    let account = Accounts::well_known().addresses()[3];
    chain.fund(account, U256::from(7)).expect("this is a development chain");
    chain.mine().expect("a block can be made");
    chain.fund(account, U256::from(8)).expect("this is a development chain");
    let mut bytes = Vec::new();
    chain.export(&mut bytes).expect("memory has room");
    bytes
}

/// What a chain starts from.
fn genesis(bytes: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let genesis = Genesis::parse(text).map_err(|error| error.to_string())?;
    assert_eq!(Genesis::parse(&genesis.to_json()).as_ref().ok(), Some(&genesis));
    let chain = open(genesis)?;
    chain.mine().expect("a chain that was started makes blocks");
    Ok(())
}

/// The file of a development chain's accounts.
fn accounts(bytes: &[u8]) -> Result<(), String> {
    std::fs::write(FOLDER.path().join("accounts.json"), bytes).map_err(|error| error.to_string())?;
    let accounts = Accounts::load(FOLDER.path()).map_err(|error| error.to_string())?;
    assert!(accounts.is_some(), "the file is there");
    Ok(())
}

fn saved_accounts() -> Vec<u8> {
    serde_json::to_vec_pretty(&Accounts::derive(&[3; 32], 3)).expect("accounts are JSON")
}
