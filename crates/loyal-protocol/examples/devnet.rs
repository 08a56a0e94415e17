//! A development chain in the folder given, on the address given: `devnet FOLDER [ADDRESS [ACCOUNT..]]`.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "an example is a small binary")]

use std::{
    net::TcpListener,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use alloy_primitives::U256;
use loyal_protocol::devnet::{Chain, Genesis, Limits, Store, serve};
use loyal_types::Clock;

struct SystemClock(Instant);

impl Clock for SystemClock {
    fn unix_seconds(&self) -> u64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = PathBuf::from(args.next().ok_or("usage: devnet FOLDER [ADDRESS [ACCOUNT..]]")?);
    let listener = TcpListener::bind(args.next().unwrap_or_else(|| "127.0.0.1:8545".into()))?;
    let accounts = args.map(|account| account.parse()).collect::<Result<Vec<_>, _>>()?;
    let store = Store::open(&folder)?;
    let genesis = match Chain::genesis_of(&store)? {
        Some(genesis) => genesis,
        None => Genesis::development(&accounts, U256::from(10).pow(U256::from(22)), 1_700_000_000),
    };
    let chain = Arc::new(Chain::open(store, genesis, Arc::new(SystemClock(Instant::now())))?);
    println!("listening on {}", listener.local_addr()?);
    serve(listener, chain, &Limits::default())?.stopped().await;
    Ok(())
}
