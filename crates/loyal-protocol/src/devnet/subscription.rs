//! Subscriptions over WebSocket: new headers and logs, read from the store as fast as each client takes them.

use std::sync::Arc;

use alloy_rpc_types_eth::{
    Filter,
    pubsub::{Params as Kind, SubscriptionKind},
};
use jsonrpsee::{
    PendingSubscriptionSink, SubscriptionMessage, SubscriptionSink,
    types::{Params, SubscriptionId},
};
use serde_json::value::RawValue;

use super::{args::Args, chain::Chain, fault::Fault, filter, reply};
use crate::{Error, Result};

/// Blocks a subscriber may be behind before its subscription is closed.
const BEHIND_COUNT_MAX: u64 = 10_000;

/// Ids as Ethereum clients expect them: hexadecimal numbers.
#[derive(Debug, Default)]
pub(crate) struct Ids(std::sync::atomic::AtomicU64);

impl jsonrpsee::core::traits::IdProvider for Ids {
    fn next_id(&self) -> SubscriptionId<'static> {
        let id = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        SubscriptionId::Str(format!("{id:#x}").into())
    }
}

#[derive(Debug, Clone)]
enum Watched {
    Heads,
    Logs(Box<Filter>),
}

/// `eth_subscribe`: tells one client of every new block, in order, until it leaves or is too far behind.
pub(crate) async fn run(params: Params<'static>, pending: PendingSubscriptionSink, chain: Arc<Chain>) {
    let watched = match watched(&params) {
        Ok(watched) => watched,
        Err(error) => return pending.reject(Fault::from(error)).await,
    };
    let mut news = chain.watch();
    let mut next = chain.head().tip.block + 1;
    let Ok(sink) = pending.accept().await else { return };
    loop {
        let newest = *news.borrow_and_update();
        // After going back to a snapshot, the blocks from there on are new.
        next = next.min(newest + 1);
        if newest - (next - 1) > BEHIND_COUNT_MAX {
            return;
        }
        if next <= newest {
            let Ok(()) = tell(&sink, &chain, next, watched.clone()).await else { return };
            next += 1;
            continue;
        }
        tokio::select! {
            () = sink.closed() => return,
            changed = news.changed() => if changed.is_err() { return },
        }
    }
}

fn watched(params: &Params<'_>) -> Result<Watched> {
    let args = Args::parse(params.as_str())?;
    let unsupported =
        |name: &str| Error::Unsupported { what: format!("no {name} subscription is supported") };
    match args.required(0, "subscription")? {
        SubscriptionKind::NewHeads => Ok(Watched::Heads),
        SubscriptionKind::Logs => match args.optional(1, "filter")? {
            Some(Kind::Logs(filter)) => Ok(Watched::Logs(filter)),
            Some(Kind::None) | None => Ok(Watched::Logs(Box::default())),
            Some(_) => Err(Error::Request { what: "invalid argument 1 (filter)".into() }),
        },
        SubscriptionKind::NewPendingTransactions => Err(unsupported("newPendingTransactions")),
        SubscriptionKind::Syncing => Err(unsupported("syncing")),
        SubscriptionKind::TransactionReceipts => Err(unsupported("transactionReceipts")),
    }
}

/// Sends what block `number` has for a subscriber, waiting for room.
async fn tell(sink: &SubscriptionSink, chain: &Arc<Chain>, number: u64, watched: Watched) -> Result<(), ()> {
    let chain = chain.clone();
    let read = tokio::task::spawn_blocking(move || messages(&chain, number, &watched));
    for message in read.await.map_err(drop)?.map_err(drop)? {
        sink.send(message).await.map_err(drop)?;
    }
    Ok(())
}

fn messages(chain: &Chain, number: u64, watched: &Watched) -> Result<Vec<SubscriptionMessage>> {
    let head = chain.head();
    if number > head.tip.block {
        return Ok(Vec::new());
    }
    let block = head.view.sealed_block(number)?;
    match watched {
        Watched::Heads => Ok(vec![message(&reply::header(&block))?]),
        Watched::Logs(filter) => filter::in_block(&head.view, &block, filter)?.iter().map(message).collect(),
    }
}

fn message(value: &impl serde::Serialize) -> Result<SubscriptionMessage> {
    let text = serde_json::to_string(value).and_then(RawValue::from_string);
    Ok(SubscriptionMessage::from(text.map_err(|error| Error::Damaged { what: error.to_string() })?))
}
