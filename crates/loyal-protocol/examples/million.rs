//! A long chain on disk: `million COUNT KEEP`, transfers in blocks of 1,000, all of them kept first, then KEEP blocks.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a measuring program"
)]

#[path = "measure/measure.rs"]
mod measure;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use alloy_primitives::U256;
use loyal_protocol::devnet::{Chain, Genesis, Retention, Store};
use measure::{SystemClock, memory, signer, transfer};
use rayon::prelude::*;

const BLOCK: u64 = 1_000;
const REPORT: u64 = 100_000;

fn open(folder: &Path, keep: u64) -> Chain {
    let retention = Retention { block_count_max: keep, ..Retention::default() };
    let balance = U256::from(10).pow(U256::from(24));
    let mut genesis = Genesis::development(&[signer(0).address()], balance, 1_700_000_000);
    // Blocks of a thousand transfers are half full, so that the base fee stays where it is.
    genesis.gas_limit = 2 * BLOCK * 21_000;
    let store = Store::open(folder).unwrap().keeping(retention);
    Chain::open(store, genesis, Arc::new(SystemClock(Instant::now()))).unwrap()
}

fn say(what: &str, folder: &Path) {
    let bytes = std::fs::metadata(folder.join("chain.redb")).unwrap().len();
    println!("{what}: {} MB on disk, {} MB of memory", bytes / 1_000_000, memory(std::process::id()));
}

/// Sends `count` transfers in blocks.
fn send(chain: &Chain, count: u64, folder: &Path) {
    let from = signer(0);
    let mut busy = Duration::ZERO;
    for start in (0..count).step_by(BLOCK as usize) {
        let raws = (start..start + BLOCK).into_par_iter().map(|nonce| transfer(&from, nonce)).collect();
        let sent = Instant::now();
        assert!(chain.send_all(raws).iter().all(Result::is_ok));
        busy += sent.elapsed();
        let done = start + BLOCK;
        if done.is_multiple_of(REPORT) {
            let rate = REPORT as f64 / std::mem::take(&mut busy).as_secs_f64();
            say(&format!("{done} transactions, {rate:.0}/s"), folder);
        }
    }
}

fn compact(folder: &Path) {
    let start = Instant::now();
    let mut store = Store::open(folder).unwrap();
    store.compact().unwrap();
    drop(store);
    say(&format!("after compaction, {:.1} s", start.elapsed().as_secs_f64()), folder);
}

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse().unwrap());
    let (count, keep) = (args.next().unwrap_or(1_000_000), args.next().unwrap_or(100));
    let folder = tempfile::tempdir_in(".").unwrap();
    println!("everything kept:");
    let chain = open(folder.path(), u64::MAX);
    send(&chain, count, folder.path());
    drop(chain);
    let start = Instant::now();
    let chain = open(folder.path(), keep);
    println!("opened again in {} ms", start.elapsed().as_millis());
    // Each block drops two old ones.
    for _ in 0..count / BLOCK {
        chain.mine().unwrap();
    }
    say(&format!("after {} more blocks, {keep} kept", count / BLOCK), folder.path());
    drop(chain);
    compact(folder.path());
    let folder = tempfile::tempdir_in(".").unwrap();
    println!("{keep} blocks kept from the start:");
    let chain = open(folder.path(), keep);
    send(&chain, count, folder.path());
    drop(chain);
    compact(folder.path());
}
