//! `loyal access show`: what a wallet holds.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256};
use anyhow::Context as _;
use loyal_access::wallet::{Account, Book, Record, Wallet};
use loyal_protocol::{Asset, Client};
use loyal_types::Clock as _;
use serde_json::{Value, json};

use super::{WalletFolder, amount, cap};
use crate::clock::SystemClock;
use crate::site::Site;
use crate::{output, time};

/// Arguments of `loyal access show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Works while a proxy uses the wallet. `loyal verify` verifies a receipt, or all of a wallet's.

Examples:
  loyal access show
  loyal access show --receipts
  loyal access show --receipt 0x1f… > receipt.json")]
pub(crate) struct Args {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    wallet: WalletFolder,
    /// List the receipts, oldest first.
    #[arg(long, conflicts_with = "receipt")]
    receipts: bool,
    /// Print one receipt with its invocation, as a document to verify or to file a claim with: by the id of the invocation.
    #[arg(long, value_name = "ID")]
    receipt: Option<B256>,
}

/// Shows it.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    if let Some(id) = args.receipt {
        return one(args, id);
    }
    if args.receipts {
        return all(args);
    }
    let (file, book) = (args.wallet.credential()?, Wallet::peek(&args.wallet.path)?);
    let mut count = 0_u64;
    Wallet::receipts(&args.wallet.path, |_| {
        count += 1;
        Ok(())
    })?;
    let credential = &file.signed.credential;
    let now = SystemClock.unix_seconds();
    if args.site.json {
        return output::json(&json!({
            "credential": file.signed, "hosts": file.hosts, "receipts": count, "caps": book.caps, "faults": book.faults,
            "spent": spent_json(&book, now), "channels": book.channels.iter().map(channel_json).collect::<Vec<_>>(),
        }));
    }
    // Amounts of an asset that cannot be asked for its name are shown in base units.
    let client = args.site.client_at(&file.chain_urls, file.chain_id).ok();
    let assets = assets(client.as_ref(), &book);
    let mut rows = vec![
        ("model", credential.modelId.to_string()),
        ("holder", credential.holder.to_string()),
        ("issuer", file.signed.issuer.to_string()),
        ("expires", time::text(credential.expiresAt, now)),
    ];
    if credential.callsMax > 0 {
        rows.push(("invocations allowed", credential.callsMax.to_string()));
    }
    if !file.hosts.is_empty() {
        rows.push(("hosts", file.hosts.join("\n")));
    }
    rows.push(("receipts", count.to_string()));
    for (address, spent) in &book.spent {
        let asset = assets.get(address);
        let (hour, day) = spent.lately(now);
        let text = format!(
            "{} for {} invocations ({} in the last hour, {} in the last day)",
            amount(asset, spent.amount),
            spent.invocations,
            amount(asset, hour),
            amount(asset, day)
        );
        rows.push(("spent", text));
    }
    for (address, caps) in &book.caps {
        rows.extend(cap::rows(caps, assets.get(address)));
    }
    for (channel, account) in &book.channels {
        rows.push(("channel", channel_text(*channel, account, assets.get(&account.asset()), now)));
    }
    rows.extend(
        book.faults.iter().map(|(hosting, why)| ("not paid any more", format!("hosting {hosting}: {why}"))),
    );
    output::pairs(&rows)
}

fn assets(client: Option<&Client>, book: &Book) -> BTreeMap<Address, Asset> {
    let Some(client) = client else { return BTreeMap::new() };
    let used = book.channels.values().map(Account::asset).chain(book.caps.keys().copied());
    used.filter_map(|address| Some((address, super::asset_of(client, address).ok()?))).collect()
}

fn channel_text(channel: B256, account: &Account, asset: Option<&Asset>, now: u64) -> String {
    let mut text = format!(
        "{channel}\nhosting {}: {} put in, {} charged, {} left",
        account.hosting,
        amount(asset, account.balance),
        amount(asset, account.charged),
        amount(asset, account.rest())
    );
    if let Some(pending) = &account.pending {
        text.push_str(&format!("\nan invocation for up to {} has not ended", amount(asset, pending.amount)));
    }
    if account.withdraw_at != 0 {
        text.push_str(&format!("\nthe rest can be taken out {}", time::text(account.withdraw_at, now)));
    }
    text
}

fn channel_json((channel, account): (&B256, &Account)) -> Value {
    json!({
        "channel": channel, "hosting": account.hosting.to_string(), "asset": account.asset(),
        "balance": account.balance.to_string(), "charged": account.charged.to_string(),
        "ceiling": account.ceiling.to_string(), "rest": account.rest().to_string(),
        "isPending": account.pending.is_some(), "withoutReceipt": account.without_receipt,
        "withdrawAt": account.withdraw_at,
    })
}

fn spent_json(book: &Book, now: u64) -> Value {
    let row = |(asset, spent): (&Address, &loyal_access::wallet::Spent)| {
        let (hour, day) = spent.lately(now);
        json!({
            "asset": asset, "amount": spent.amount.to_string(), "invocations": spent.invocations,
            "hour": hour.to_string(), "day": day.to_string(),
        })
    };
    book.spent.iter().map(row).collect()
}

fn all(args: &Args) -> anyhow::Result<()> {
    let mut failed = None;
    let now = SystemClock.unix_seconds();
    Wallet::receipts(&args.wallet.path, |record| {
        if failed.is_none() {
            let line = if args.site.json { json!(record).to_string() } else { line_of(&record, now) };
            failed = output::line(&line).err();
        }
        Ok(())
    })?;
    failed.map_or(Ok(()), Err)
}

fn line_of(record: &Record, now: u64) -> String {
    let receipt = &record.receipt.receipt.receipt;
    let mut line = format!(
        "{}  {}  {} base units  {} tokens",
        receipt.invocationId,
        time::text(receipt.issuedAt, now),
        receipt.amount,
        u64::from(receipt.tokensIn) + u64::from(receipt.tokensOut)
    );
    if let Some(fault) = &record.fault {
        line.push_str(&format!("  BAD: {fault}"));
    }
    line
}

fn one(args: &Args, id: B256) -> anyhow::Result<()> {
    let mut found: Option<Record> = None;
    Wallet::receipts(&args.wallet.path, |record| {
        if record.receipt.receipt.receipt.invocationId == id {
            found = Some(record);
        }
        Ok(())
    })?;
    output::json(&json!(
        found.with_context(|| format!("{id}: the wallet has no receipt of this invocation"))?
    ))
}
