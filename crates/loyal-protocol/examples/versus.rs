//! Figures of the embedded chain and of anvil from one run, each a process: `versus ANVIL`, the path of anvil's binary.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a measuring program"
)]

#[path = "../tests/it/http.rs"]
mod http;
#[path = "measure/measure.rs"]
mod measure;

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Instant,
};

use alloy_primitives::{Bytes, U256};
use loyal_protocol::devnet::{Chain, Genesis, Limits, Store, serve_here};
use measure::{SystemClock, memory, signer, transfer};
use rayon::prelude::*;
use serde_json::{Value, json};

const BLOCK: u64 = 1_000;
const BLOCKS: u64 = 10;
const SINGLE: u64 = 300;
const CLIENTS: u64 = 7;
/// Transactions after which memory is looked at.
const LOADED: u64 = 100_000;

/// The process measured.
struct Measured {
    name: &'static str,
    child: Child,
    address: String,
}

impl Measured {
    /// Starts it, and tells how long it takes to the first answer.
    fn start(name: &'static str, command: &mut Command) -> Self {
        let start = Instant::now();
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| Some(line.strip_prefix("Listening on ")?.to_owned())).unwrap();
        // Anvil ends where nobody reads what it says.
        std::thread::spawn(move || lines.for_each(drop));
        http::call(&address, "eth_chainId", &json!([]));
        println!(
            "{name}: {} ms from the start of the process to the first answer",
            start.elapsed().as_millis()
        );
        Self { name, child, address }
    }

    fn call(&self, method: &str, params: &Value) -> Value {
        http::call(&self.address, method, params)["result"].take()
    }

    fn say(&self, count: u64, start: Instant, what: &str) {
        println!("{}: {:.0} {what}", self.name, count as f64 / start.elapsed().as_secs_f64());
    }

    fn measure(&self) {
        for index in 0..=CLIENTS + 1 {
            let balance = U256::from(10).pow(U256::from(24));
            self.call("anvil_setBalance", &json!([signer(index).address(), balance]));
        }
        self.blocks(0, BLOCKS, "transfers/s in blocks of 1,000");
        let one = self.sending(1, SINGLE);
        let start = Instant::now();
        one();
        self.say(SINGLE, start, "single transactions/s, each with its receipt");
        let several: Vec<_> = (2..CLIENTS + 2).map(|sender| self.sending(sender, SINGLE)).collect();
        let start = Instant::now();
        std::thread::scope(|scope| several.into_iter().for_each(|each| drop(scope.spawn(each))));
        self.say(CLIENTS * SINGLE, start, &format!("transactions/s of {CLIENTS} clients"));
        let sent = BLOCKS * BLOCK + (CLIENTS + 1) * SINGLE;
        self.blocks(BLOCKS, (LOADED - sent).div_ceil(BLOCK), "transfers/s up to 100,000 in all");
        println!("{}: {} MB of memory after 100,000 transactions", self.name, memory(self.child.id()));
    }

    /// Sends blocks of transfers, one batch each, from the block with number `first` on.
    fn blocks(&self, first: u64, count: u64, what: &str) {
        let request = |raw: Bytes| json!({"jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": [raw]});
        let from = signer(0);
        let batches: Vec<_> = (first..first + count)
            .into_par_iter()
            .map(|block| (0..BLOCK).map(|n| request(transfer(&from, block * BLOCK + n))).collect::<Vec<_>>())
            .map(|batch| serde_json::to_vec(&batch).unwrap())
            .collect();
        self.call("evm_setAutomine", &json!([false]));
        let start = Instant::now();
        for batch in &batches {
            http::post(&self.address, batch).unwrap();
            self.call("evm_mine", &json!([]));
        }
        self.say(count * BLOCK, start, what);
        let mined = self.call("eth_getTransactionCount", &json!([from.address(), "latest"]));
        assert_eq!(mined, format!("{:#x}", (first + count) * BLOCK));
        self.call("evm_setAutomine", &json!([true]));
    }

    /// A client that sends one transaction after the other, and asks for each receipt until it is there.
    fn sending(&self, sender: u64, count: u64) -> impl FnOnce() + '_ {
        let raws: Vec<_> = (0..count).map(|nonce| transfer(&signer(sender), nonce)).collect();
        move || {
            for raw in &raws {
                let hash = self.call("eth_sendRawTransaction", &json!([raw]));
                assert!(hash.is_string());
                while self.call("eth_getTransactionReceipt", &json!([hash])).is_null() {}
            }
        }
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The embedded chain in `folder`, as a process of its own.
fn run(folder: &Path) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let genesis = Genesis::development(&[], U256::ZERO, 1_700_000_000);
    let clock = Arc::new(SystemClock(Instant::now()));
    let chain = Arc::new(Chain::open(Store::open(folder).unwrap(), genesis, clock).unwrap());
    println!("Listening on {}", listener.local_addr().unwrap());
    serve_here(listener, chain, &Limits::default()).unwrap();
}

fn main() {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = args.iter().map(String::as_str).collect();
    let anvil = match words[..] {
        ["run", folder] => return run(Path::new(folder)),
        [anvil] => anvil,
        _ => panic!("usage: versus ANVIL"),
    };
    let folder = tempfile::tempdir_in(".").unwrap();
    let own = std::env::current_exe().unwrap();
    let loyal = Measured::start("loyal", Command::new(own).arg("run").arg(folder.path()));
    loyal.measure();
    drop(loyal);
    let bytes = std::fs::metadata(folder.path().join("chain.redb")).unwrap().len();
    println!("loyal: {} bytes on disk a transaction", bytes / LOADED);
    let arguments = ["--hardfork", "prague", "--port", "0"];
    Measured::start("anvil", Command::new(anvil).args(arguments)).measure();
}
