//! `loyal prover run|probe`: a prover's days.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use anyhow::{Context as _, ensure};
use loyal_access::outbound::Reach;
use loyal_model::{Config, Tokenizer};
use loyal_protocol::Key;
use loyal_roles::prover::{self, Ledger, Means, Prover, Purse, Settings, Text};
use loyal_roles::stake::{Position, Seat};
use loyal_types::Clock;
use serde_json::json;

use crate::clock::SystemClock;
use crate::site::{self, Actor, Reached, Site};
use crate::{host, output, shipped};

/// Arguments that both have.
#[derive(Debug, clap::Args)]
pub(super) struct Common {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    /// Where the model's owner gives tickets (`loyal owner tickets`).
    #[arg(long, value_name = "URL")]
    tickets: String,
    /// Where credentials are given (`loyal owner issue --listen`).
    #[arg(long, value_name = "URL")]
    issuer: String,
    /// Where a hosting answers, up to and with /v1; each is known by the hash that stands on the chain.
    #[arg(long = "host", value_name = "URL", required = true)]
    hosts: Vec<String>,
    /// Who pays the keys that ask: a key file or an account's number; the prover itself unless given, which shows whose
    /// they are.
    #[arg(long, value_name = "KEY")]
    funder: Option<String>,
    /// A file with the funder's password; asked for at the terminal unless given.
    #[arg(long, value_name = "FILE", requires = "funder")]
    funder_password_file: Option<PathBuf>,
    /// Folder of the model, whose tokenizer cuts replies [default: the model that comes with Loyal]
    #[arg(long, value_name = "FOLDER")]
    model: Option<PathBuf>,
    /// Ordinary text of which other prompts are made [default: the text that comes with Loyal]
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Only this hosting; all that the draw names unless given.
    #[arg(long, value_name = "ID")]
    hosting: Vec<u64>,
    /// How often a slot asks its query, each time behind other words.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=4))]
    sends: u32,
    /// Ordinary invocations around them, whose receipts are audited.
    #[arg(long, value_name = "N", default_value_t = 16)]
    cover: u32,
    /// Where the prover keeps what it asked [default: prover-ACCOUNT in the chain's folder]
    #[arg(long, value_name = "FOLDER")]
    ledger: Option<PathBuf>,
}

/// Arguments of `loyal prover run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A prover is drawn for hostings by each epoch's seed; it takes a seat (`loyal stake bind prover`). It asks at a random time, with \
keys that nobody has seen, among ordinary prompts. What stands in a host's report stays closed; the rest is laid open, and \
enough of it becomes a claim, for which the prover needs a bond of 100 LOYAL. Killed at any point, it goes on where it was.

Example:
  loyal prover run --key prover.json --funder purse.json --tickets http://127.0.0.1:8060 --issuer http://127.0.0.1:8070 \\
      --host http://127.0.0.1:8080/v1")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    common: Common,
    /// A slot is asked at a random time within so many hours.
    #[arg(long, value_name = "HOURS", default_value_t = 12, value_parser = clap::value_parser!(u64).range(0..=20))]
    within: u64,
}

/// Arguments of `loyal prover probe`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  loyal prover probe --key prover.json --tickets http://127.0.0.1:8060 --issuer http://127.0.0.1:8070 --host http://127.0.0.1:8080/v1")]
pub(crate) struct ProbeArgs {
    #[command(flatten)]
    common: Common,
}

/// Probes until it is told to end.
pub(super) fn run(args: &RunArgs) -> anyhow::Result<()> {
    let common = &args.common;
    let prover = open(common, Duration::from_secs(args.within * 3_600))?;
    if common.site.json {
        output::json(&json!({ "ledger": prover.ledger().folder() }))?;
    } else {
        output::line(&prover.ledger().folder().display().to_string())?;
        output::say("probing; Ctrl-C ends");
    }
    let (drain, json) = (host::drained(), common.site.json);
    prover::run(prover, &drain, &mut |turn| site::tell(turn, json));
    Ok(())
}

/// Does what is due now.
pub(super) fn probe(args: &ProbeArgs) -> anyhow::Result<()> {
    let common = &args.common;
    let mut prover = open(common, Duration::ZERO)?;
    let turn = prover.turn();
    if common.site.json {
        output::json(&json!({
            "ledger": prover.ledger().folder(), "steps": site::steps_json(&turn.taken), "failed": turn.failed,
        }))?;
    } else {
        site::tell(&turn, false);
        super::show::table(prover.ledger().entries())?;
    }
    ensure!(turn.failed.is_empty(), "{} things could not be done; run it again", turn.failed.len());
    Ok(())
}

fn open(args: &Common, delay_max: Duration) -> anyhow::Result<Prover> {
    ensure!(!args.actor.dry_run, "--dry-run: probing cannot be rehearsed");
    let Reached { client, at } = args.site.reach()?;
    let key = args.site.actor(&args.actor)?;
    let position = Position::read(&client, &at, key.address(), Seat::Prover)?;
    ensure!(
        position.is_seated,
        "{} has no seat as a prover and is never drawn: `loyal stake bind prover` takes one",
        key.address()
    );
    let funder = match &args.funder {
        Some(named) => args.site.key(named, args.funder_password_file.as_deref()).context("--funder")?,
        None => {
            output::say(
                "the prover pays the keys that ask: hosts can see whose they are; --funder names another account",
            );
            key.clone()
        }
    };
    let folder =
        args.ledger.clone().unwrap_or_else(|| args.site.folder().join(format!("prover-{}", key.address())));
    let ledger = Ledger::open(&folder)?;
    let model = shipped::folder(args.model.as_deref())?;
    let tokenizer = Arc::new(Tokenizer::read(&model, &Config::read(&model)?)?);
    let text = match &args.text {
        Some(path) => std::fs::read_to_string(path).with_context(|| path.display().to_string())?,
        None => shipped::benign_text().to_owned(),
    };
    let means = Means {
        funder,
        root: root(&folder)?,
        issuer_url: args.issuer.clone(),
        endpoints: args.hosts.iter().map(|url| url.trim_end_matches('/').to_owned()).collect(),
        reach: Reach::Local,
    };
    let client = Arc::new(client);
    let clock: Arc<dyn Clock + Send + Sync> = Arc::new(SystemClock);
    let purse = Purse::new(&folder, means, Arc::clone(&client), clock);
    let settings = Settings {
        hostings: args.hosting.clone(),
        sends: args.sends,
        cover: args.cover,
        delay_max,
        ..Settings::new(args.tickets.clone(), tokenizer, Text::of(&text)?)
    };
    Ok(Prover::new((client, at), key, (ledger, purse), settings, rand::random())?)
}

/// The secret from which the keys follow that ask: made once, kept in the folder.
fn root(folder: &Path) -> anyhow::Result<B256> {
    let path = folder.join("keys.secret");
    if let Ok(text) = std::fs::read_to_string(&path) {
        return text.trim().parse().with_context(|| format!("{}: no secret of 32 bytes", path.display()));
    }
    // Of 2²⁵⁶ values fewer than 2¹²⁸ are no key; what follows from it is hashed besides.
    let root = B256::new(rand::random());
    ensure!(Key::of(root).is_some(), "the system's randomness is broken");
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        std::io::Write::write_all(&mut file, format!("{root}\n").as_bytes())?;
        file.as_file().sync_all()?;
        file.persist_noclobber(&path).map_err(|error| error.error)?;
        Ok(())
    };
    write().with_context(|| format!("{}: writing failed", path.display()))?;
    Ok(root)
}
