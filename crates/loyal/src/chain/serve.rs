//! `loyal chain run`.

use std::{net::TcpListener, sync::Arc, time::Duration};

use anyhow::Context as _;
use loyal_protocol::devnet::{Accounts, Chain, Genesis, Limits, Retention, Store, serve_here};
use loyal_types::Clock as _;
use serde_json::json;

use super::{RunArgs, announce};
use crate::{clock::SystemClock, ending::Ending, output};

/// What an account of a new development chain has: 10,000 ether.
const BALANCE: &str = "10000000000000000000000";

pub(super) fn run(args: &RunArgs) -> anyhow::Result<()> {
    let folder = &args.folder.folder;
    if !args.listen.ip().is_loopback() && !args.beyond_loopback {
        let why = "can be reached from other machines; a development chain may with --beyond-loopback";
        return Err(Ending::Usage(format!("--listen {}: {why}", args.listen)).into());
    }
    // An address that is taken is said before a folder is made.
    let listener = TcpListener::bind(args.listen).with_context(|| args.listen.to_string())?;
    let address = listener.local_addr()?;
    let limits = Limits { beyond_loopback: args.beyond_loopback, ..Limits::default() };
    let given = args.genesis.as_ref().map(|path| {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Genesis::parse(&text).with_context(|| path.display().to_string())
    });
    let given = given.transpose()?;
    if let Some(genesis) = &given {
        limits.admit(address, genesis)?;
    }
    let mut store = Store::open(folder)?;
    if let Some(block_count_max) = args.keep_blocks {
        store = store.keeping(Retention { block_count_max, ..Retention::default() });
    }
    let genesis = match (given, Chain::genesis_of(&store)?) {
        (Some(genesis), _) | (None, Some(genesis)) => genesis,
        (None, None) => development(args)?,
    };
    limits.admit(address, &genesis)?;
    let chain = Chain::open(store, genesis, Arc::new(SystemClock))?;
    let chain = Arc::new(chain.sealing_every(Duration::from_millis(args.interval)));
    let (url, web_socket_url) = (format!("http://{address}"), format!("ws://{address}"));
    announce(folder, &url)?;
    let status = chain.status();
    if args.json {
        let accounts = Accounts::load(folder)?.map(|made| made.addresses()).unwrap_or_default();
        let accounts: Vec<_> = accounts.iter().map(ToString::to_string).collect();
        output::json(&json!({
            "url": url,
            "webSocketUrl": web_socket_url,
            "chainId": status.chain_id,
            "development": status.development,
            "block": status.block,
            "accounts": accounts,
        }))?;
    } else {
        output::line(&url)?;
    }
    output::say(&format!("chain {} at block {}; Ctrl-C ends it", status.chain_id, status.block));
    Ok(serve_here(listener, chain, &limits)?)
}

/// A new development chain with accounts of its own, their keys beside the store.
fn development(args: &RunArgs) -> anyhow::Result<Genesis> {
    let accounts = if args.well_known {
        Accounts::well_known()
    } else {
        Accounts::derive(&rand::random(), args.accounts)
    };
    accounts.save(&args.folder.folder)?;
    Ok(Genesis::development(&accounts.addresses(), BALANCE.parse()?, SystemClock.unix_seconds()))
}
