//! `loyal owner tickets`: tickets for the provers that are drawn, and the answers to what they lay open.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use loyal_fingerprint::fingerprint::FingerprintSet;
use loyal_protocol::Asset;
use loyal_roles::owner::ticketing::{self, Desk};
use loyal_roles::turn::{self, Turn};
use serde_json::json;

use crate::site::{self, Actor, Site};
use crate::{host, output};

/// How often requests are looked for: an answer has two hours.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Arguments of `loyal owner tickets`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Provers that the draw names ask here for the query they may ask; it is sealed to them. What they lay open later is opened within \
two hours, or costs 10 LOYAL of the model's purse. The key signs tickets from now on, which only the model's controller can \
decide. Keep the file of fingerprints to yourself.

Example:
  loyal owner tickets 3 --fingerprints secret.json --listen 127.0.0.1:8060 --key owner.json --purse 200")]
pub(crate) struct Args {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    /// The model.
    model: u64,
    /// The secret file of the version's fingerprints.
    #[arg(long, value_name = "FILE")]
    fingerprints: PathBuf,
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8060")]
    listen: SocketAddr,
    /// Let other machines reach it. It has no TLS: put a proxy in front of it.
    #[arg(long)]
    beyond_loopback: bool,
    /// LOYAL put aside for provers whose answers are not opened in time; as it is unless given.
    #[arg(long, value_name = "AMOUNT")]
    purse: Option<String>,
}

/// Gives tickets, and opens answers.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(
        args.beyond_loopback || args.listen.ip().is_loopback(),
        "{} can be reached from other machines; if that is meant, add --beyond-loopback",
        args.listen
    );
    let reached = args.site.reach()?;
    let key = args.site.actor(&args.actor)?;
    let set = Arc::new(FingerprintSet::read(&args.fingerprints)?);
    let loyal = Asset::read(&reached.client, reached.at.currency)?;
    let purse = args.purse.as_ref().map(|text| loyal.parse(text)).transpose().context("--purse")?;
    site::walk(&reached.client, &key, (args.actor.dry_run, args.site.json), |walk| {
        ticketing::appoint(walk, &reached.at, args.model, key.address())?;
        purse.map_or(Ok(()), |purse| Ok(ticketing::fund(walk, &reached.at, args.model, purse)?))
    })?;
    if args.actor.dry_run {
        return Ok(());
    }
    let listener = TcpListener::bind(args.listen).with_context(|| format!("listening on {}", args.listen))?;
    let address = format!("http://{}", listener.local_addr()?);
    if args.site.json {
        output::json(&json!({ "address": address, "model": args.model }))?;
    } else {
        output::line(&address)?;
        output::say(&format!("giving tickets for model {}, opening answers; Ctrl-C ends", args.model));
    }
    let (client, at, model) = (Arc::new(reached.client), reached.at, args.model);
    let desk = Desk::new((Arc::clone(&client), at), model, key.clone(), Arc::clone(&set), rand::random());
    let drain = host::drained();
    let watch = drain.clone();
    let json = args.site.json;
    let opening = std::thread::Builder::new().name("opening".to_owned()).spawn(move || {
        let mut open = || {
            Turn::take(&client, &key, |walk, failed| {
                if let Err(error) = ticketing::open(walk, &at, model, &set) {
                    failed.push(format!("opening answers: {error}"));
                }
            })
        };
        turn::run(LOOK_EVERY, &watch, &mut open, &mut |turn| site::tell(turn, json));
    })?;
    let served = ticketing::run(listener, desk, &drain);
    drain.begin();
    let _ = opening.join();
    Ok(served?)
}
