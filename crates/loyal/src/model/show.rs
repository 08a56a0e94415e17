//! `loyal model show`: a registered model on one page.

use alloy_primitives::U256;
use loyal_roles::owner::Page;
use serde_json::{Value, json};

use crate::site::Site;
use crate::{output, time};

/// Arguments of `loyal model show`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    site: Site,
    /// The model's number on the chain.
    model: u64,
}

/// Says what the chain knows about a model.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let reached = args.site.reach()?;
    let page = Page::read(&reached.client, &reached.at, args.model)?;
    if args.site.json {
        output::json(&to_json(&page))
    } else {
        output::pairs(&rows(&page, reached.client.time()?))
    }
}

fn rows(page: &Page, now: u64) -> Vec<(&'static str, String)> {
    let lines =
        |lines: Vec<String>, none: &str| if lines.is_empty() { none.to_owned() } else { lines.join("\n") };
    let versions = page.versions.iter().map(|version| {
        let window = if version.state == "contestable" {
            format!(", until {}", time::text(version.window_ends, now))
        } else {
            String::new()
        };
        let parent =
            version.parent.map_or(String::new(), |(model, number)| format!(", made from {model}:{number}"));
        format!("{}  {}{window}{parent}  weights {}", version.number, version.state, version.weights_root)
    });
    let makers = page.makers.iter().map(|(account, bps)| format!("{account}  {} %", *bps as f64 / 100.0));
    let floors = page.floors.iter().map(|(asset, per_call, per_thousand)| {
        format!(
            "{} an invocation, {} for 1,000 tokens at least",
            asset.text(U256::from(*per_call)),
            asset.text(U256::from(*per_thousand))
        )
    });
    let hostings = page.hostings.iter().map(|hosting| {
        format!(
            "{}  {}  version {}  {}  at {}, bond {}",
            hosting.id,
            hosting.host,
            hosting.version,
            hosting.state,
            hosting.asset.text(U256::from(hosting.price)),
            hosting.asset.text(U256::from(hosting.bond))
        )
    });
    let revenue = page.revenue.iter().map(|(asset, sum)| asset.text(*sum));
    let host = if page.open_hosting { "anybody with a bond" } else { "whom the owner makes a copy for" };
    vec![
        ("model", format!("{}  {} ({})", page.model, page.name, page.symbol)),
        ("state", page.state.to_owned()),
        ("controlled by", page.controller.to_string()),
        ("versions", lines(versions.collect(), "none")),
        ("makers", lines(makers.collect(), "none")),
        ("shares", page.shares.to_string()),
        ("reserve", page.treasury.to_string()),
        ("may be hosted by", host.to_owned()),
        ("asks", lines(floors.collect(), "nothing yet: it accepts no asset")),
        ("hosts", lines(hostings.collect(), "none")),
        ("revenue so far", lines(revenue.collect(), "none")),
    ]
}

fn to_json(page: &Page) -> Value {
    let versions = page.versions.iter().map(|version| {
        json!({
            "version": version.number, "state": version.state, "weightsRoot": version.weights_root.to_string(),
            "fingerprintRoot": version.fingerprint_root.to_string(), "uri": version.uri,
            "windowEnds": version.window_ends,
            "parent": version.parent.map(|(model, version)| json!({ "model": model, "version": version })),
        })
    });
    let makers =
        page.makers.iter().map(|(account, bps)| json!({ "account": account.to_string(), "bps": bps }));
    let floors = page.floors.iter().map(|(asset, per_call, per_thousand)| {
        json!({
            "asset": asset.address.to_string(), "symbol": asset.symbol, "perCall": per_call.to_string(),
            "perThousand": per_thousand.to_string(),
        })
    });
    let hostings = page.hostings.iter().map(|hosting| {
        json!({
            "hosting": hosting.id, "host": hosting.host.to_string(), "version": hosting.version,
            "state": hosting.state, "asset": hosting.asset.address.to_string(),
            "price": hosting.price.to_string(), "bond": hosting.bond.to_string(),
            "convictions": hosting.convictions, "reported": hosting.reported.to_string(),
            "collected": hosting.collected.to_string(),
        })
    });
    let revenue = page
        .revenue
        .iter()
        .map(|(asset, sum)| json!({ "asset": asset.address.to_string(), "symbol": asset.symbol, "amount": sum.to_string() }));
    json!({
        "model": page.model, "name": page.name, "symbol": page.symbol, "state": page.state,
        "controller": page.controller.to_string(), "shares": page.shares.to_string(),
        "treasury": page.treasury.to_string(), "openHosting": page.open_hosting,
        "versions": versions.collect::<Vec<_>>(), "makers": makers.collect::<Vec<_>>(),
        "accepts": floors.collect::<Vec<_>>(), "hostings": hostings.collect::<Vec<_>>(),
        "revenue": revenue.collect::<Vec<_>>(),
    })
}
