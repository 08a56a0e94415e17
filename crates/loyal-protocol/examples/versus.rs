//! Figures of the embedded chain and of anvil from one run: `versus ANVIL`, the path of anvil's binary.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a measuring program"
)]

#[path = "../tests/it/http.rs"]
mod http;

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy_eips::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use loyal_protocol::devnet::{Chain, Genesis, Limits, Store, serve};
use loyal_types::Clock;
use serde_json::json;

const BLOCKS: u64 = 10;
const SINGLE: u64 = 300;
const THREADS: u64 = 8;

struct Fixed;

impl Clock for Fixed {
    fn unix_seconds(&self) -> u64 {
        1_800_000_000
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

fn signer(index: u64) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::from(U256::from(index + 77))).unwrap()
}

fn transfer(signer: &PrivateKeySigner, nonce: u64) -> Bytes {
    let tx = TxEip1559 {
        chain_id: 31337,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 100_000_000_000,
        max_priority_fee_per_gas: 1,
        to: Address::left_padding_from(&(nonce % 1_000 + 1_000).to_be_bytes()).into(),
        value: U256::from(1),
        ..Default::default()
    };
    let signature = signer.sign_hash_sync(&tx.signature_hash()).unwrap();
    TxEnvelope::from(tx.into_signed(signature)).encoded_2718().into()
}

/// Prints the three rates of the chain behind `address`.
fn measure(name: &str, address: &str) {
    for index in 0..=THREADS {
        let balance = U256::from(10).pow(U256::from(24));
        http::call(address, "anvil_setBalance", &json!([signer(index).address(), balance]));
    }
    let request =
        |raw: &Bytes| json!({"jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": [raw]});
    let batches: Vec<Vec<_>> = (0..BLOCKS)
        .map(|block| (0..1_000).map(|n| request(&transfer(&signer(0), block * 1_000 + n))).collect())
        .collect();
    let batches: Vec<_> = batches.iter().map(|batch| serde_json::to_vec(batch).unwrap()).collect();
    http::call(address, "evm_setAutomine", &json!([false]));
    let start = Instant::now();
    for batch in &batches {
        http::post(address, batch).unwrap();
        http::call(address, "evm_mine", &json!([]));
    }
    let seconds = start.elapsed().as_secs_f64();
    let mined = http::call(address, "eth_getTransactionCount", &json!([signer(0).address(), "latest"]));
    assert_eq!(mined["result"], format!("{:#x}", BLOCKS * 1_000));
    println!("{name}: {:.0} transfers/s in blocks of 1,000", (BLOCKS * 1_000) as f64 / seconds);
    http::call(address, "evm_setAutomine", &json!([true]));
    let send = |sender: u64, count: u64| {
        let raws: Vec<_> = (0..count).map(|nonce| transfer(&signer(sender), nonce)).collect();
        move || {
            for raw in &raws {
                let hash = &http::call(address, "eth_sendRawTransaction", &json!([raw]))["result"];
                while http::call(address, "eth_getTransactionReceipt", &json!([hash]))["result"].is_null() {}
            }
        }
    };
    let one = send(1, SINGLE);
    let start = Instant::now();
    one();
    println!(
        "{name}: {:.0} single transactions/s, each with its receipt",
        SINGLE as f64 / start.elapsed().as_secs_f64()
    );
    let several: Vec<_> = (2..=THREADS).map(|sender| send(sender, SINGLE / 3)).collect();
    let count = several.len() as u64 * (SINGLE / 3);
    let start = Instant::now();
    std::thread::scope(|scope| several.into_iter().for_each(|each| drop(scope.spawn(each))));
    println!(
        "{name}: {:.0} transactions/s of {} clients",
        count as f64 / start.elapsed().as_secs_f64(),
        THREADS - 1
    );
}

fn main() {
    let anvil = std::env::args().nth(1).expect("usage: versus ANVIL");
    let folder = tempfile::tempdir_in(".").unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let start = Instant::now();
    let genesis = Genesis::development(&[], U256::ZERO, 1_700_000_000);
    let chain = Arc::new(Chain::open(Store::open(folder.path()).unwrap(), genesis, Arc::new(Fixed)).unwrap());
    let server = runtime.block_on(async { serve(listener, chain.clone(), &Limits::default()).unwrap() });
    http::call(&address, "eth_chainId", &json!([]));
    println!("loyal: {} ms to the first answer, in a new folder", start.elapsed().as_millis());
    measure("loyal", &address);
    server.stop();
    let bytes = std::fs::metadata(folder.path().join("chain.redb")).unwrap().len();
    println!("loyal: {} bytes on disk a transaction", bytes / (BLOCKS * 1_000 + SINGLE + 7 * SINGLE / 3));
    let start = Instant::now();
    let mut child = Command::new(anvil)
        .args(["--hardfork", "prague", "--port", "0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let address = lines.find_map(|line| line.strip_prefix("Listening on ").map(ToOwned::to_owned)).unwrap();
    std::thread::spawn(move || lines.for_each(drop));
    http::call(&address, "eth_chainId", &json!([]));
    println!("anvil: {} ms to the first answer, nothing on disk", start.elapsed().as_millis());
    measure("anvil", &address);
    child.kill().unwrap();
    child.wait().unwrap();
}
