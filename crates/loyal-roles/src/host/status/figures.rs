//! The figures of a host's status page, read from its books and the chain.

use alloy_primitives::{U64, U256};
use loyal_access::redemption;
use loyal_protocol::{Addresses, Asset, Client, contracts};
use serde_json::{Value, json};

use super::{Party, Status};
use crate::error::Result;
use crate::hosting::Hosting;
use crate::owner::{Page, revenue};

/// Receipts that are shown, newest first.
const RECEIPTS_MAX: usize = 20;
/// Epochs that are shown, newest first.
const EPOCHS_MAX: usize = 7;

/// Reads all of them.
pub(super) fn read(status: &Status) -> Result<Value> {
    let gate = &status.gate;
    let (client, at) = (gate.view().client(), gate.view().at());
    let block = client.ask::<U64>("eth_blockNumber", json!([]))?.to::<u64>();
    let hosting = Hosting::read(client, at, gate.view().hosting().id)?;
    let page = Page::read(client, at, hosting.model)?;
    let asset = &hosting.asset;
    let counts: serde_json::Map<String, Value> =
        gate.tally().counts().into_iter().map(|(name, count)| (name, count.into())).collect();
    let parties: Result<Vec<Value>> =
        status.parties.iter().map(|party| self::party(client, at, party, hosting.model, asset)).collect();
    let hints = status.hints.iter().map(|hint| json!({ "what": hint.what, "text": hint.text }));
    Ok(json!({
        "chain": { "id": client.chain_id(), "block": block, "time": client.time()? },
        "model": model(&page, hosting.version),
        "hosting": {
            "id": hosting.id, "state": hosting.state, "level": gate.view().hosting().level,
            "host": hosting.host.to_string(), "signer": hosting.signer.to_string(),
            "price": amount(asset, hosting.price), "bond": amount(asset, hosting.bond),
            "carries": amount(asset, hosting.daily_max), "reported": amount(asset, hosting.reported),
            "collected": amount(asset, hosting.collected), "convictions": hosting.convictions,
            "url": gate.settings().url, "issuer": gate.settings().issuer_url,
        },
        "epoch": epoch(status, asset),
        "epochs": epochs(status, asset)?,
        "since": counts,
        "unredeemed": unredeemed(status, asset),
        "parties": parties?,
        "receipts": receipts(status, asset)?,
        "hints": hints.collect::<Vec<_>>(),
    }))
}

/// An amount, for programs and for people.
fn amount(asset: &Asset, units: u128) -> Value {
    json!({ "units": units.to_string(), "text": asset.text(U256::from(units)) })
}

fn model(page: &Page, version: u32) -> Value {
    let served = page.versions.iter().find(|entry| entry.number == version);
    json!({
        "id": page.model, "name": page.name, "symbol": page.symbol, "state": page.state, "version": version,
        "versionState": served.map(|entry| entry.state),
        "weightsRoot": served.map(|entry| entry.weights_root.to_string()),
        "uri": served.map(|entry| entry.uri.clone()),
        "revenue": page.revenue.iter().map(|(asset, sum)| asset.text(*sum)).collect::<Vec<_>>(),
    })
}

/// The epoch that runs.
fn epoch(status: &Status, asset: &Asset) -> Value {
    let (view, books) = (status.gate.view(), status.gate.books());
    let now = status.gate.now();
    let number = view.epoch(now);
    let (charged, count) = books.turnover(number);
    let ends_at = view.epoch_end(number);
    json!({
        "number": number, "endsAt": ends_at, "secondsLeft": ends_at.saturating_sub(now), "invocations": count,
        "charged": amount(asset, charged), "carries": amount(asset, view.hosting().fee_max),
    })
}

/// Epochs of which receipts are kept, and whether the chain has their reports.
fn epochs(status: &Status, asset: &Asset) -> Result<Vec<Value>> {
    let (view, books) = (status.gate.view(), status.gate.books());
    let mut known = books.epochs();
    known.sort_unstable();
    let mut shown = Vec::new();
    for epoch in known.into_iter().rev().take(EPOCHS_MAX) {
        let (charged, count) = books.turnover(epoch);
        let call = contracts::Gate::reportOfCall { hostingId: U256::from(view.hosting().id), epoch };
        let report = view.client().call(view.at().gate, &call)?;
        shown.push(json!({
            "epoch": epoch, "invocations": count, "charged": amount(asset, charged),
            "reported": report.postedAt != 0,
        }));
    }
    Ok(shown)
}

/// What vouchers owe that are not redeemed yet; nothing is said where the chain does not answer.
fn unredeemed(status: &Status, asset: &Asset) -> Value {
    let owed = redemption::owed(&status.gate).ok();
    owed.map_or(Value::Null, |owed| amount(asset, owed.iter().map(|owed| owed.amount).sum()))
}

/// What somebody has, and may withdraw.
fn party(client: &Client, at: &Addresses, party: &Party, model: u64, asset: &Asset) -> Result<Value> {
    let due = revenue::due(client, at, party.account, &[model])?;
    // Allocations of LOYAL become free with time alone, whatever the model earns.
    let earned = due.iter().filter(|due| !matches!(due.what, revenue::What::Vested { .. }));
    let mut sums: Vec<(Asset, U256)> = Vec::new();
    for due in earned {
        match sums.iter_mut().find(|(asset, _)| *asset == due.asset) {
            Some((_, sum)) => *sum = sum.saturating_add(due.amount),
            None => sums.push((due.asset.clone(), due.amount)),
        }
    }
    let withdrawable =
        sums.iter().map(|(asset, sum)| json!({ "units": sum.to_string(), "text": asset.text(*sum) }));
    let balance = asset.balance(client, party.account)?;
    Ok(json!({
        "name": party.name, "account": party.account.to_string(),
        "withdrawable": withdrawable.collect::<Vec<_>>(),
        "balance": { "units": balance.to_string(), "text": asset.text(balance) },
    }))
}

/// The newest receipts: ids and counts, nothing of what was asked or answered.
fn receipts(status: &Status, asset: &Asset) -> Result<Vec<Value>> {
    let books = status.gate.books();
    let mut epochs = books.epochs();
    epochs.sort_unstable();
    let mut shown = Vec::new();
    for epoch in epochs.into_iter().rev() {
        let (_, count) = books.turnover(epoch);
        for seq in (0..count).rev() {
            if shown.len() == RECEIPTS_MAX {
                return Ok(shown);
            }
            let Some(kept) = books.kept(epoch, seq)? else { continue };
            let receipt = &kept.receipt.receipt;
            shown.push(json!({
                "invocation": receipt.invocationId.to_string(), "epoch": epoch, "seq": seq,
                "amount": amount(asset, receipt.amount), "tokensIn": receipt.tokensIn,
                "tokensOut": receipt.tokensOut, "issuedAt": receipt.issuedAt,
            }));
        }
    }
    Ok(shown)
}
