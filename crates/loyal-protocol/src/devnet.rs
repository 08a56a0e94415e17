//! An EVM chain in this process: a durable store, real execution, standard JSON-RPC in front.

use std::{net::TcpListener, sync::Arc};

use loyal_types::Clock;

use crate::Result;

mod account;
mod args;
mod at;
mod block;
mod bound;
mod call;
mod chain;
mod client;
mod diff;
mod endpoint;
mod env;
mod export;
mod fault;
mod fee;
mod filter;
mod genesis;
mod method;
mod origin;
mod pool;
mod record;
mod reply;
mod server;
mod state;
mod status;
mod step;
mod store;
mod subscription;
mod time;
mod view;

pub use alloy_primitives::{Address, U256};

pub use account::{Account, Accounts};
pub use chain::Chain;
pub use endpoint::{Endpoint, Limits};
pub use fault::Fault;
pub use genesis::{Allocation, CREATE2_FACTORY, DEVELOPMENT_CHAIN_ID, FeeRules, Genesis, StateRoot};
pub use server::{Server, serve, serve_here};
pub use status::Status;
pub use store::{Retention, Store};

/// Opens the chain in `store`, or starts it there from `genesis`, and answers on `listener` until stopped.
///
/// # Errors
/// As [`Chain::open`] and [`serve`].
pub async fn run(
    listener: TcpListener,
    store: Store,
    genesis: Genesis,
    clock: Arc<dyn Clock + Send>,
) -> Result<()> {
    let chain = Arc::new(Chain::open(store, genesis, clock)?);
    serve(listener, chain, &Limits::default())?.stopped().await;
    Ok(())
}
