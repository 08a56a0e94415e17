//! `loyal host open|top-up|post|exit`: a host's side of the chain.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::ValueEnum;
use loyal_access::document::Report;
use loyal_protocol::Key;
use loyal_roles::hosting::{self, Hosting, Next, Offer};
use serde_json::{Value, json};

use crate::site::{self, Actor, Reached, Site};
use crate::{output, time};

/// What refuses a use that nobody should notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    /// Nothing at run time; fingerprints, receipts and bonds afterwards.
    Open,
    /// Our host software answers admitted invocations only.
    Gated,
    /// Weights exist only inside an attested image.
    Enclaved,
}

/// Who signs for a hosting.
#[derive(Debug, clap::Args)]
pub(super) struct Signer {
    /// Who signs receipts, deliveries and reports: a key file or an account's number; the host itself unless given.
    #[arg(long, value_name = "KEY")]
    signer: Option<String>,
    /// A file with the signer's password; asked for at the terminal unless given.
    #[arg(long, value_name = "FILE")]
    signer_password_file: Option<PathBuf>,
}

/// Arguments of `loyal host open`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Run again, it goes on where it stopped and opens no second hosting. The bond must carry what is charged in a day: 36 \
times as much by default, in the asset of the price (--a-day says how many invocations). You get it back when the hosting has ended and nothing is held against it.

Example:
  loyal host open 3 --price 0.002 --a-day 10000 --endpoint https://models.example/v1 --key host.json --dry-run")]
pub(crate) struct OpenArgs {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    #[command(flatten)]
    signer: Signer,
    /// The model.
    model: u64,
    /// Its version; the active one unless given.
    #[arg(long, value_name = "N")]
    version: Option<u32>,
    /// The most that an invocation costs.
    #[arg(long, value_name = "AMOUNT")]
    price: String,
    /// In what: LOYAL, or the address of an asset that the model accepts.
    #[arg(long, value_name = "ASSET", default_value = "LOYAL")]
    asset: String,
    /// What is at risk; the least that the price needs unless given.
    #[arg(long, value_name = "AMOUNT")]
    bond: Option<String>,
    /// Invocations at the full price that the bond carries in a day; the host refuses more until the next.
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "bond", value_parser = clap::value_parser!(u64).range(1..))]
    a_day: u64,
    /// Where the model answers.
    #[arg(long, value_name = "URL")]
    endpoint: String,
    /// What refuses a use that nobody should notice.
    #[arg(long, value_enum, default_value_t = Level::Open)]
    level: Level,
}

/// Arguments of `loyal host top-up`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The amount is what the bond shall be, not what is added: run twice, it pays once. A hosting that was paused serves again.")]
pub(crate) struct TopUpArgs {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    /// The hosting.
    hosting: u64,
    /// What the bond shall be; the least that it must be unless given.
    #[arg(long, value_name = "AMOUNT")]
    to: Option<String>,
}

/// Arguments of `loyal host post`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --report every epoch that is over and has no report is reported as one in which nothing was invoked. That is a \
statement you can be held to: an invocation with a receipt that no report counts costs the bond.")]
pub(crate) struct PostArgs {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    #[command(flatten)]
    signer: Signer,
    /// The hosting.
    hosting: u64,
    /// A report, as JSON: hostingId, epoch, count, amount, tokens, top.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// Arguments of `loyal host exit`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The epoch in which you leave is reported when it is over. Run this again when the exit is over (fourteen days): it closes the hosting and sends the bond."
)]
pub(crate) struct ExitArgs {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    /// The hosting.
    hosting: u64,
}

/// Opens a hosting, or goes on with one that was begun.
pub(crate) fn open(args: &OpenArgs) -> anyhow::Result<()> {
    let reached = args.site.reach()?;
    let asset = site::asset_of(&reached, &args.asset)?;
    let key = args.site.actor(&args.actor)?;
    let signer = signer(&args.site, &args.signer, &key)?;
    let offer = Offer {
        model: args.model,
        version: args.version,
        level: args.level as u8,
        price: asset.parse(&args.price).context("--price")?,
        bond: args.bond.as_ref().map(|text| asset.parse(text)).transpose().context("--bond")?,
        daily: args.a_day,
        endpoint: args.endpoint.clone(),
        asset,
    };
    let ((id, next), taken) =
        site::walk(&reached.client, &key, (args.actor.dry_run, args.site.json), |walk| {
            Ok(hosting::open(walk, &reached.at, &offer, &signer)?)
        })?;
    say(&reached, &args.site, id, &next, &site::steps_json(&taken))
}

/// Raises a bond.
pub(crate) fn top_up(args: &TopUpArgs) -> anyhow::Result<()> {
    let reached = args.site.reach()?;
    let key = args.site.actor(&args.actor)?;
    let asset = Hosting::read(&reached.client, &reached.at, args.hosting)?.asset;
    let to = args.to.as_ref().map(|text| asset.parse(text)).transpose().context("--to")?;
    let (next, taken) = site::walk(&reached.client, &key, (args.actor.dry_run, args.site.json), |walk| {
        Ok(hosting::top_up(walk, &reached.at, args.hosting, to)?)
    })?;
    say(&reached, &args.site, args.hosting, &next, &site::steps_json(&taken))
}

/// Reports epochs.
pub(crate) fn post(args: &PostArgs) -> anyhow::Result<()> {
    let reached = args.site.reach()?;
    let key = args.site.actor(&args.actor)?;
    let signer = signer(&args.site, &args.signer, &key)?;
    let reports = match &args.report {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            let file: Report = serde_json::from_str(&text)
                .with_context(|| format!("{}: not a report of an epoch", path.display()))?;
            let report = file.report;
            ensure!(
                report.hostingId.saturating_to::<u64>() == args.hosting,
                "{}: a report of hosting {}, not {}",
                path.display(),
                report.hostingId,
                args.hosting
            );
            vec![report]
        }
        None => hosting::due(&reached.client, &reached.at, args.hosting)?
            .into_iter()
            .map(|epoch| hosting::empty_report(args.hosting, epoch))
            .collect(),
    };
    let ((), taken) = site::walk(&reached.client, &key, (args.actor.dry_run, args.site.json), |walk| {
        for report in &reports {
            hosting::post(walk, &reached.at, report, &signer)?;
        }
        Ok(())
    })?;
    if taken.is_empty() && !args.site.json {
        return output::line(&format!("hosting {} has nothing to report", args.hosting));
    }
    say(&reached, &args.site, args.hosting, &Next::Serves, &site::steps_json(&taken))
}

/// Ends a hosting.
pub(crate) fn exit(args: &ExitArgs) -> anyhow::Result<()> {
    let reached = args.site.reach()?;
    let key = args.site.actor(&args.actor)?;
    let (next, taken) = site::walk(&reached.client, &key, (args.actor.dry_run, args.site.json), |walk| {
        Ok(hosting::exit(walk, &reached.at, args.hosting)?)
    })?;
    say(&reached, &args.site, args.hosting, &next, &site::steps_json(&taken))
}

pub(super) fn signer(site: &Site, signer: &Signer, host: &Key) -> anyhow::Result<Key> {
    match &signer.signer {
        Some(named) => site.key(named, signer.signer_password_file.as_deref()),
        None => Ok(host.clone()),
    }
}

/// A hosting as it stands now, and what is next.
fn say(reached: &Reached, site: &Site, id: u64, next: &Next, steps: &Value) -> anyhow::Result<()> {
    let now = reached.client.time()?;
    let found = Hosting::read(&reached.client, &reached.at, id).ok();
    if site.json {
        return output::json(&json!({
            "hosting": id, "state": found.as_ref().map(|hosting| hosting.state),
            "bond": found.as_ref().map(|hosting| hosting.bond.to_string()), "steps": steps,
        }));
    }
    if let Some(hosting) = &found {
        output::pairs(&rows(hosting, now))?;
    }
    match next {
        Next::Copy => {
            output::say("next: the model's owner names the copy it makes for you; then run this again");
        }
        Next::Exits { until, report } => {
            if let Some((from, until)) = report {
                output::say(&format!(
                    "next: report the last epoch between {} and {}; later costs 1 % of the bond an hour",
                    time::text(*from, now),
                    time::text(*until, now)
                ));
            }
            output::say(&format!("next: run this again {}", time::text(*until, now)));
        }
        Next::Serves | Next::Ended | Next::Rehearsed => {}
    }
    Ok(())
}

/// How many invocations at the full price a bond carries in a day.
fn daily(hosting: &Hosting) -> String {
    match hosting.daily_max / hosting.price.max(1) {
        1 => "1 invocation at the price".to_owned(),
        count => format!("{count} invocations at the price"),
    }
}

/// A hosting, row by row.
pub(crate) fn rows(hosting: &Hosting, now: u64) -> Vec<(&'static str, String)> {
    let text = |amount: u128| hosting.asset.text(alloy_primitives::U256::from(amount));
    let mut rows = vec![
        ("hosting", hosting.id.to_string()),
        ("model", format!("{} (version {})", hosting.model, hosting.version)),
        ("state", hosting.state.to_owned()),
        ("host", hosting.host.to_string()),
        ("signer", hosting.signer.to_string()),
        ("price", format!("{} an invocation at most", text(hosting.price))),
        ("bond", text(hosting.bond)),
        ("it carries", format!("{} a day ({})", text(hosting.daily_max), daily(hosting))),
        ("reported", text(hosting.reported)),
        ("collected", text(hosting.collected)),
    ];
    if hosting.bond_required > hosting.bond {
        rows.push(("bond needed", text(hosting.bond_required)));
    }
    if hosting.convictions > 0 {
        rows.push(("convictions", hosting.convictions.to_string()));
    }
    if hosting.state == "exiting" {
        rows.push(("exit", time::text(hosting.exits_at, now)));
    }
    rows
}
