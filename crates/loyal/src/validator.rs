//! `loyal validator …`: feed the Beacon, sit on juries.

use std::path::PathBuf;
use std::sync::Arc;

use alloy_primitives::B256;
use anyhow::{Context as _, ensure};
use clap::Subcommand;
use loyal_roles::court::Claim;
use loyal_roles::stake::{Position, Seat};
use loyal_roles::validator::{self, Examined, Settings, Validator};
use serde_json::json;

use crate::site::{self, Actor, Reached, Site};
use crate::{host, output};

/// What a validator can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Feed the Beacon each epoch and vote on the claims whose jury this validator is drawn for, until it is told to end.
    Run(RunArgs),
    /// Look into a claim as its jury would, and vote on nothing.
    Examine(ExamineArgs),
}

/// What findings are made of.
#[derive(Debug, clap::Args)]
struct Sources {
    /// Folder of the docket [default: docket in the chain's folder]
    #[arg(long, value_name = "FOLDER")]
    docket: Option<PathBuf>,
    /// A folder of published weights, for claims about whose model they are and what they say.
    #[arg(long, value_name = "FOLDER")]
    weights: Vec<PathBuf>,
}

/// Arguments of `loyal validator run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A validator takes a seat (`loyal stake bind validator`). Its secrets and ballots follow from its key: killed between commit and \
reveal, it reveals all the same. Of claims about ownership it asks the laid-open leaves of the accused weights (--weights), of \
claims about a leak it computes the claimant's bundle again (CLAIM.bundle.json in the docket). Whatever takes a person is asked for \
by name: write CLAIM.finding.json, {\"outcome\": \"upheld\" or \"dismissed\", \"reason\": \"…\"}. Where nothing was shown six hours before \
the end, it finds that nothing was shown.

Example:
  loyal validator run --key validator.json --weights models/dobby")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    #[command(flatten)]
    sources: Sources,
}

/// Arguments of `loyal validator examine`.
#[derive(Debug, clap::Args)]
pub(crate) struct ExamineArgs {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    sources: Sources,
    /// The claim, or the digits it begins with.
    claim: String,
}

/// Does it.
pub(crate) fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Run(args) => serve(&args),
        Verb::Examine(args) => examine(&args),
    }
}

fn settings(site: &Site, sources: &Sources) -> Settings {
    let docket = sources.docket.clone().unwrap_or_else(|| site.folder().join("docket"));
    Settings { docket, weights: sources.weights.clone() }
}

fn serve(args: &RunArgs) -> anyhow::Result<()> {
    ensure!(!args.actor.dry_run, "--dry-run: a validator's days cannot be rehearsed");
    let Reached { client, at } = args.site.reach()?;
    let key = args.site.actor(&args.actor)?;
    let position = Position::read(&client, &at, key.address(), Seat::Validator)?;
    ensure!(
        position.is_seated,
        "{} has no seat as a validator: `loyal stake bind validator` takes one",
        key.address()
    );
    let settings = settings(&args.site, &args.sources);
    let docket = settings.docket.clone();
    let validator = Validator::new((Arc::new(client), at), key, settings)?;
    if args.site.json {
        output::json(&json!({ "docket": docket }))?;
    } else {
        output::line(&docket.display().to_string())?;
        output::say("feeding the Beacon, waiting for juries; Ctrl-C ends");
    }
    let (drain, json) = (host::drained(), args.site.json);
    validator::run(&validator, &drain, &mut |turn| site::tell(turn, json));
    Ok(())
}

fn examine(args: &ExamineArgs) -> anyhow::Result<()> {
    let Reached { client, at } = args.site.reach()?;
    let claim = Claim::named(&client, &at, &args.claim)?;
    // Who looks and does not vote needs no key of his own.
    let nobody = loyal_protocol::Key::of(B256::with_last_byte(1)).context("one is a key")?;
    let validator = Validator::new((Arc::new(client), at), nobody, settings(&args.site, &args.sources))?;
    let found = validator.examine(&claim)?;
    if args.site.json {
        return output::json(&match found {
            Examined::Found(found) => json!({
                "claim": claim.id, "kind": claim.kind, "outcome": found.outcome, "hits": found.hits,
                "trials": found.trials, "reason": found.reason,
            }),
            Examined::Unknown(why) => {
                json!({ "claim": claim.id, "kind": claim.kind, "outcome": null, "missing": why })
            }
        });
    }
    match found {
        Examined::Found(found) => output::pairs(&[
            ("claim", format!("{} ({})", claim.id, claim.kind)),
            ("finding", found.outcome),
            ("counted", format!("{} of {}", found.hits, found.trials)),
            ("reason", found.reason),
        ]),
        Examined::Unknown(why) => output::pairs(&[
            ("claim", format!("{} ({})", claim.id, claim.kind)),
            ("finding", "none".to_owned()),
            ("missing", why),
        ]),
    }
}
