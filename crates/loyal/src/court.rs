//! `loyal court …`: claims against hosts and owners, and how they end.

use std::path::{Path, PathBuf};

use alloy_primitives::{Address, Bytes, U256};
use anyhow::{Context as _, bail};
use clap::{Subcommand, ValueEnum};
use loyal_access::document::{HandedReceipt, SignedReceipt};
use loyal_fingerprint::fingerprint::FingerprintSet;
use loyal_protocol::{Asset, Walk};
use loyal_roles::court::{self, Claim, Finding, Kind};
use serde_json::{Value, json};

use crate::site::{self, Actor, Reached, Site};
use crate::{output, time};

mod simulate;

/// What can be done at court.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Say where claims stand, and what happens if nobody acts: all of them, or one.
    Show(ShowArgs),
    /// Accuse: announce a claim, and open it with its bond.
    Open(OpenArgs),
    /// Bring what answers a claim; anybody may.
    Answer(AnswerArgs),
    /// As the accused, put up the same bond and ask for a jury.
    Plead(AnswerArgs),
    /// As the claimant of an ownership, lay the drawn leaves open, so that everybody may ask them of the accused weights.
    LayOpen(LayOpenArgs),
    /// As a member of the jury, commit to a ballot, and show it when that is the time.
    Vote(VoteArgs),
    /// Ask for a larger jury, for twice the bond, as the side that lost.
    Appeal(ClaimArgs),
    /// Take a claim on whose time has come, or carry out its verdict; anybody may.
    Execute(ClaimArgs),
    /// Send an account the LOYAL that claims left it.
    Withdraw(WithdrawArgs),
    /// Live through many days as honest and cheating hosts: what is caught when, and what bond that takes.
    Simulate(simulate::Args),
}

/// Arguments of `loyal court show`.
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    site: Site,
    /// The claim, or the digits it begins with.
    claim: Option<String>,
}

/// Of what a claim accuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Accusation {
    /// A receipt that no report counts.
    Omitted,
    /// A receipt over more than the invocation allowed.
    Overcharge,
    /// Two receipts with one number.
    Equivocation,
    /// A receipt for somebody who had no credential.
    Unauthorised,
    /// Use that fingerprints saw and no report counts.
    Unreported,
    /// A host's copy that serves elsewhere.
    Leak,
    /// A model that carries another's fingerprints.
    Ownership,
}

/// Arguments of `loyal court open`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A claim that is dismissed costs its bond: half of it goes to the accused, half to those who judged. What the evidence \
proves by itself is carried out at once.

Examples:
  loyal court open equivocation --receipt one.json --receipt other.json --key 4
  loyal court open unreported --hosting 2 --key 4
  loyal court open ownership --mine 1:1 --theirs 7:1 --key 0")]
pub(crate) struct OpenArgs {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    /// Of what it accuses.
    #[arg(value_enum)]
    accusation: Accusation,
    /// A signed receipt, as JSON: one for omitted, two for equivocation.
    #[arg(long = "receipt", value_name = "FILE", conflicts_with = "evidence")]
    receipts: Vec<PathBuf>,
    /// The hosting, for unreported.
    #[arg(long, value_name = "ID", conflicts_with = "evidence")]
    hosting: Option<u64>,
    /// The window of 180 probed epochs, for unreported; the first is 0.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "hosting")]
    window: u32,
    /// Your model and its version, for ownership.
    #[arg(long, value_name = "MODEL:VERSION", requires = "theirs", value_parser = version)]
    mine: Option<(u64, u32)>,
    /// The accused model and its version, for ownership.
    #[arg(long, value_name = "MODEL:VERSION", requires = "mine", value_parser = version)]
    theirs: Option<(u64, u32)>,
    /// An innocent model answers with chance one in so many, for ownership: 2 for tilt.
    #[arg(long, value_name = "K", default_value_t = 2, requires = "mine")]
    one_in: u32,
    /// So many times 64 leaves are drawn, for ownership.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "mine", value_parser = clap::value_parser!(u8).range(1..=4))]
    rounds: u8,
    /// The evidence of any kind, as the court's examiner of that kind takes it: 0x and bytes.
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,
}

/// Arguments of `loyal court answer` and `plead`.
#[derive(Debug, clap::Args)]
pub(crate) struct AnswerArgs {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    /// The claim, or the digits it begins with.
    claim: String,
    /// What is said, as the court's examiner of that kind takes it: 0x and bytes.
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
}

/// Arguments of `loyal court lay-open`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The Beacon draws the leaves after the claim, so that nobody chose them. What is laid open is spent everywhere.

Example:
  loyal court lay-open 0x12ab --fingerprints secret.json --key 0")]
pub(crate) struct LayOpenArgs {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    /// The claim, or the digits it begins with.
    claim: String,
    /// The secret file of the claimant's fingerprints.
    #[arg(long, value_name = "FILE")]
    fingerprints: PathBuf,
}

/// Arguments of `loyal court vote`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Run it twice with the same words: while ballots are committed to, and when they are shown. Who commits and does not show \
loses a part of its seat.")]
pub(crate) struct VoteArgs {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    /// The claim, or the digits it begins with.
    claim: String,
    /// How it should end.
    #[arg(value_enum)]
    outcome: Ending,
    /// Fingerprints that answered, where the claim is about them.
    #[arg(long, value_name = "N", default_value_t = 0)]
    hits: u16,
    /// Fingerprints that were asked, where the claim is about them.
    #[arg(long, value_name = "N", default_value_t = 0)]
    trials: u16,
    /// Why; only the hash of it goes to the chain.
    #[arg(long, default_value = "")]
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ending {
    Upheld,
    Dismissed,
    Forged,
}

/// Arguments of `loyal court appeal` and `execute`.
#[derive(Debug, clap::Args)]
pub(crate) struct ClaimArgs {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    /// The claim, or the digits it begins with.
    claim: String,
}

/// Arguments of `loyal court withdraw`.
#[derive(Debug, clap::Args)]
pub(crate) struct WithdrawArgs {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    /// Whose; the key's own account unless given.
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<Address>,
}

/// Does it.
pub(crate) fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Show(args) => show(&args),
        Verb::Open(args) => open(&args),
        Verb::Answer(args) => {
            let data = bytes(args.data.as_deref())?;
            on(&args.site, &args.actor, &args.claim, |walk, reached, claim| {
                Ok(court::answer(walk, &reached.at, claim, data)?)
            })
        }
        Verb::Plead(args) => {
            let data = bytes(args.data.as_deref())?;
            on(&args.site, &args.actor, &args.claim, |walk, reached, claim| {
                Ok(court::plead(walk, &reached.at, claim, data)?)
            })
        }
        Verb::LayOpen(args) => {
            let set = FingerprintSet::read(&args.fingerprints)?;
            on(&args.site, &args.actor, &args.claim, |walk, reached, claim| {
                court::ownership::lay_open(walk, &reached.at, claim, &set)?;
                Ok(())
            })
        }
        Verb::Vote(args) => {
            let outcome = args.outcome as u8 + 1;
            let finding =
                Finding { outcome, hits: args.hits, trials: args.trials, reason: args.reason.clone() };
            on(&args.site, &args.actor, &args.claim, |walk, reached, claim| {
                Ok(court::vote(walk, &reached.at, claim, &finding)?)
            })
        }
        Verb::Appeal(args) => on(&args.site, &args.actor, &args.claim, |walk, reached, claim| {
            Ok(court::appeal(walk, &reached.at, claim)?)
        }),
        Verb::Execute(args) => on(&args.site, &args.actor, &args.claim, |walk, reached, claim| {
            Ok(court::advance(walk, &reached.at, claim)?)
        }),
        Verb::Withdraw(args) => withdraw(&args),
        Verb::Simulate(args) => simulate::run(&args),
    }
}

fn show(args: &ShowArgs) -> anyhow::Result<()> {
    let reached = args.site.reach()?;
    if let Some(id) = &args.claim {
        let claim = Claim::named(&reached.client, &reached.at, id)?;
        return say(&reached, &args.site, &claim, None);
    }
    let all = Claim::all(&reached.client, &reached.at)?;
    if args.site.json {
        return output::json(&all.iter().map(to_json).collect());
    }
    if all.is_empty() {
        return output::line("no claims yet");
    }
    for claim in all {
        let id = &claim.id.to_string()[..10];
        output::line(&format!("{id}  {:<12}  {:<9}  {}", claim.kind, claim.state, claim.outcome))?;
    }
    Ok(())
}

fn open(args: &OpenArgs) -> anyhow::Result<()> {
    let kind = match args.accusation {
        Accusation::Omitted => Kind::Omitted,
        Accusation::Overcharge => Kind::Overcharge,
        Accusation::Equivocation => Kind::Equivocation,
        Accusation::Unauthorised => Kind::Unauthorised,
        Accusation::Unreported => Kind::Unreported,
        Accusation::Leak => Kind::Leak,
        Accusation::Ownership => Kind::Ownership,
    };
    let receipts = args.receipts.iter().map(|path| receipt(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let evidence = match (&args.evidence, kind, &receipts[..]) {
        (Some(path), ..) => bytes(Some(path))?,
        (None, Kind::Omitted, [one]) => court::omitted(one),
        (None, Kind::Equivocation, [one, other]) => court::equivocation(one, other),
        (None, Kind::Omitted, _) => {
            bail!("omitted: give the one receipt that no report counts, with --receipt")
        }
        (None, Kind::Equivocation, _) => bail!("equivocation: give both receipts, with --receipt twice"),
        (None, Kind::Unreported, _) => {
            let hosting = args.hosting.context("unreported: say which hosting, with --hosting")?;
            court::unreported(hosting, args.window)
        }
        (None, Kind::Ownership, _) => {
            let both = args.mine.zip(args.theirs);
            let (mine, theirs) = both.context("ownership: name both versions, with --mine and --theirs")?;
            court::ownership::evidence(mine, theirs, args.one_in, args.rounds)
        }
        (None, ..) => bail!("give the evidence with --evidence"),
    };
    let reached = args.site.reach()?;
    let key = args.site.actor(&args.actor)?;
    let mode = (args.actor.dry_run, args.site.json);
    let (id, taken) =
        site::walk(&reached.client, &key, mode, |walk| Ok(court::open(walk, &reached.at, kind, &evidence)?))?;
    if args.actor.dry_run {
        return if args.site.json {
            output::json(&json!({ "steps": site::steps_json(&taken) }))
        } else {
            Ok(())
        };
    }
    let claim = Claim::named(&reached.client, &reached.at, &id.to_string())?;
    say(&reached, &args.site, &claim, Some(site::steps_json(&taken)))
}

/// A model and its version, as `3:1`.
fn version(text: &str) -> Result<(u64, u32), String> {
    let parts =
        text.split_once(':').and_then(|(model, version)| Some((model.parse().ok()?, version.parse().ok()?)));
    parts.ok_or_else(|| format!("{text}: write the model and its version, as 3:1"))
}

fn withdraw(args: &WithdrawArgs) -> anyhow::Result<()> {
    let reached = args.site.reach()?;
    let key = args.site.actor(&args.actor)?;
    let account = args.account.unwrap_or(key.address());
    let mode = (args.actor.dry_run, args.site.json);
    let (amount, taken) =
        site::walk(&reached.client, &key, mode, |walk| Ok(court::withdraw(walk, &reached.at, account)?))?;
    if args.site.json {
        return output::json(&json!({ "amount": amount.to_string(), "steps": site::steps_json(&taken) }));
    }
    if amount.is_zero() {
        return output::line(&format!("claims left nothing to {account}"));
    }
    Ok(())
}

/// A step about a claim, and where the claim stands then.
fn on(
    site: &Site,
    actor: &Actor,
    claim: &str,
    step: impl FnOnce(&mut Walk<'_>, &Reached, &Claim) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let reached = site.reach()?;
    let found = Claim::named(&reached.client, &reached.at, claim)?;
    let key = site.actor(actor)?;
    let ((), taken) =
        site::walk(&reached.client, &key, (actor.dry_run, site.json), |walk| step(walk, &reached, &found))?;
    let found = Claim::named(&reached.client, &reached.at, claim)?;
    say(&reached, site, &found, Some(site::steps_json(&taken)))
}

/// A receipt: alone, or as a host hands it out, with its level.
fn receipt(path: &Path) -> anyhow::Result<SignedReceipt> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    if let Ok(handed) = serde_json::from_str::<HandedReceipt>(&text) {
        return Ok(handed.receipt);
    }
    serde_json::from_str(&text).with_context(|| format!("{}: not a signed receipt", path.display()))
}

fn bytes(path: Option<&Path>) -> anyhow::Result<Bytes> {
    let Some(path) = path else { return Ok(Bytes::new()) };
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    text.trim().parse().with_context(|| format!("{}: not 0x and bytes", path.display()))
}

fn say(reached: &Reached, site: &Site, claim: &Claim, steps: Option<Value>) -> anyhow::Result<()> {
    if site.json {
        let mut value = to_json(claim);
        if let Some(steps) = steps {
            value["steps"] = steps;
        }
        return output::json(&value);
    }
    let now = reached.client.time()?;
    let loyal = Asset::read(&reached.client, reached.at.currency)?;
    let mut rows = vec![
        ("claim", claim.id.to_string()),
        ("accuses of", claim.kind.to_owned()),
        ("state", claim.state.to_owned()),
        ("outcome", claim.outcome.to_owned()),
        ("claimant", claim.claimant.to_string()),
        ("accused", claim.accused.to_string()),
        ("model", claim.model.to_string()),
        ("bond", loyal.text(U256::from(claim.bond))),
    ];
    if claim.hosting > 0 {
        rows.push(("hosting", claim.hosting.to_string()));
    }
    if let Some(panel) = claim.panel.as_ref().filter(|_| claim.state == "voting") {
        let members: Vec<_> = panel.members.iter().map(ToString::to_string).collect();
        rows.push(("jury", if members.is_empty() { "not drawn yet".to_owned() } else { members.join("\n") }));
        rows.push(("ballots until", time::text(panel.commit_by, now)));
        rows.push(("shown until", time::text(panel.reveal_by, now)));
    }
    if !["final", "executed"].contains(&claim.state) {
        rows.push(("its time comes", time::text(claim.deadline, now)));
    }
    rows.push(("if nobody acts", claim.if_nobody_acts().to_owned()));
    output::pairs(&rows)
}

fn to_json(claim: &Claim) -> Value {
    let jury = claim.panel.as_ref().map(|panel| {
        let members: Vec<_> = panel.members.iter().map(ToString::to_string).collect();
        json!({ "members": members, "commitBy": panel.commit_by, "revealBy": panel.reveal_by })
    });
    json!({
        "claim": claim.id.to_string(), "kind": claim.kind, "state": claim.state, "outcome": claim.outcome,
        "claimant": claim.claimant.to_string(), "accused": claim.accused.to_string(), "hosting": claim.hosting,
        "model": claim.model, "bond": claim.bond.to_string(), "isPleaded": claim.is_pleaded, "round": claim.round,
        "deadline": claim.deadline, "ifNobodyActs": claim.if_nobody_acts(), "jury": jury,
    })
}
