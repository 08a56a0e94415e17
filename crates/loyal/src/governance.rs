//! `loyal governance …`: proposals of the protocol's DAO and of each model's.

use std::path::PathBuf;

use alloy_primitives::{Address, Bytes, U256};
use anyhow::{Context as _, bail, ensure};
use clap::{Subcommand, ValueEnum};
use loyal_protocol::Asset;
use loyal_protocol::contracts::Registry;
use loyal_roles::governance::{self, Body, Call, PARAMETERS, Proposal, Unit, Vote, short};
use loyal_roles::owner::{Registration, register};
use serde_json::{Value, json};

use crate::site::{self, Actor, Reached, Site};
use crate::{output, time};

/// What can be done in governance.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Say where proposals stand: all of them, or one.
    Status(StatusArgs),
    /// Let an account vote with what you hold; you yourself, unless another is named.
    Delegate(DelegateArgs),
    /// Propose: set a value of the protocol, submit a model's new version, pay from its reserve, or call any contract.
    Propose(ProposeArgs),
    /// Vote on a proposal.
    Vote(VoteArgs),
    /// Queue a proposal that has won.
    Queue(CarryArgs),
    /// Execute a proposal whose time in the timelock is over.
    Execute(CarryArgs),
    /// Hand a model that you control to those who hold its shares.
    Found(FoundArgs),
}

/// Whose governance.
#[derive(Debug, clap::Args)]
struct Whose {
    /// The DAO of this model; that of the protocol unless given.
    #[arg(long, value_name = "ID")]
    model: Option<u64>,
}

/// Arguments of `loyal governance status`.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    whose: Whose,
    /// The proposal's number, or the digits it begins with.
    proposal: Option<String>,
}

/// Arguments of `loyal governance delegate`.
#[derive(Debug, clap::Args)]
pub(crate) struct DelegateArgs {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    #[command(flatten)]
    whose: Whose,
    /// Who votes; you yourself unless given.
    account: Option<Address>,
}

/// Arguments of `loyal governance propose`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every option is a call; a proposal makes them all or none. Votes begin a day later.

Examples:
  loyal governance propose \"Report within eight hours\" --set report-due=8h --key 0
  loyal governance propose \"David's fine-tune\" --model 1 --version david.json --pay 0xDd…=50000 --key 0")]
pub(crate) struct ProposeArgs {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    #[command(flatten)]
    whose: Whose,
    /// What it is for, in a sentence.
    description: String,
    /// A value of the protocol: report-due=8h, protocol-fee=3%, prover-seat=2500, jury-seats=7.
    #[arg(long = "set", value_name = "PARAMETER=VALUE")]
    set: Vec<String>,
    /// The registration of a new version of the model, whose fingerprints are committed to (`loyal owner version`).
    #[arg(long = "version", value_name = "REGISTRATION", requires = "model")]
    version: Option<PathBuf>,
    /// Shares out of the model's reserve for an account.
    #[arg(long = "pay", value_name = "ACCOUNT=SHARES", requires = "model")]
    pay: Vec<String>,
    /// Any call: a contract and the bytes it is called with.
    #[arg(long = "call", value_name = "CONTRACT=0x…")]
    calls: Vec<String>,
}

/// Arguments of `loyal governance vote`.
#[derive(Debug, clap::Args)]
pub(crate) struct VoteArgs {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    #[command(flatten)]
    whose: Whose,
    /// The proposal's number, or the digits it begins with.
    proposal: String,
    /// How.
    #[arg(value_enum)]
    vote: Ballot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ballot {
    Against,
    For,
    Abstain,
}

/// Arguments of `loyal governance queue` and `execute`.
#[derive(Debug, clap::Args)]
pub(crate) struct CarryArgs {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    #[command(flatten)]
    whose: Whose,
    /// The proposal's number, or the digits it begins with.
    proposal: String,
}

/// Arguments of `loyal governance found`.
#[derive(Debug, clap::Args)]
#[command(after_help = "There is no way back without their votes: look with --dry-run first.")]
pub(crate) struct FoundArgs {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    /// The model.
    model: u64,
}

/// Does it.
pub(crate) fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Status(args) => status(&args),
        Verb::Delegate(args) => {
            let reached = args.site.reach()?;
            let body = Body::of(&reached.client, &reached.at, args.whose.model)?;
            let key = args.site.actor(&args.actor)?;
            let to = args.account.unwrap_or(key.address());
            act(&reached, &args.site, &args.actor, |walk| Ok(governance::delegate(walk, &body, to)?))?;
            let votes = body.votes_of(&reached.client, to)?;
            if args.site.json {
                return Ok(());
            }
            output::line(&format!("{to} votes with {}", plain(votes)))
        }
        Verb::Propose(args) => propose(&args),
        Verb::Vote(args) => {
            let reached = args.site.reach()?;
            let body = Body::of(&reached.client, &reached.at, args.whose.model)?;
            let proposal = body.proposal(&reached.client, &args.proposal)?;
            let vote = match args.vote {
                Ballot::Against => Vote::Against,
                Ballot::For => Vote::For,
                Ballot::Abstain => Vote::Abstain,
            };
            act(&reached, &args.site, &args.actor, |walk| {
                Ok(governance::vote(walk, &body, &proposal, vote)?)
            })?;
            after(&reached, &args.site, &body, &args.proposal)
        }
        Verb::Queue(args) => carry_out(&args, true),
        Verb::Execute(args) => carry_out(&args, false),
        Verb::Found(args) => {
            let reached = args.site.reach()?;
            act(&reached, &args.site, &args.actor, |walk| {
                Ok(governance::found(walk, &reached.at, args.model)?)
            })
        }
    }
}

fn status(args: &StatusArgs) -> anyhow::Result<()> {
    let reached = args.site.reach()?;
    let body = Body::of(&reached.client, &reached.at, args.whose.model)?;
    if let Some(number) = &args.proposal {
        let proposal = body.proposal(&reached.client, number)?;
        return if args.site.json {
            output::json(&to_json(&proposal))
        } else {
            output::pairs(&rows(&proposal, reached.client.time()?))
        };
    }
    let all = body.proposals(&reached.client)?;
    if args.site.json {
        return output::json(&all.iter().map(to_json).collect());
    }
    if all.is_empty() {
        return output::line("no proposals yet");
    }
    for proposal in all {
        output::line(&format!(
            "{}  {:<9}  {}",
            short(proposal.id),
            proposal.state,
            clean(&proposal.description)
        ))?;
    }
    Ok(())
}

fn propose(args: &ProposeArgs) -> anyhow::Result<()> {
    let reached = args.site.reach()?;
    let body = Body::of(&reached.client, &reached.at, args.whose.model)?;
    let mut calls = Vec::new();
    for text in &args.set {
        calls.push(setting(&reached, text)?);
    }
    if let (Some(path), Some(model)) = (&args.version, args.whose.model) {
        let registration = Registration::read(path)?;
        let of = (model, body.timelock);
        calls.push(register::proposal(&reached.client, &reached.at, of, (&registration, path))?);
    }
    for text in &args.pay {
        let (account, amount) = pair(text, "--pay")?;
        let to: Address = account.parse().with_context(|| {
            format!("--pay {text}: {account:?} is no account, which is 0x and 40 hexadecimal digits")
        })?;
        let shares = Asset::read(&reached.client, body.votes)?;
        let amount = U256::from(shares.parse(amount).with_context(|| format!("--pay {text}"))?);
        let model = args.whose.model.unwrap_or_default();
        let treasury = reached
            .client
            .call(reached.at.registry, &Registry::modelOfCall { modelId: U256::from(model) })?
            .treasury;
        calls.push(governance::pay_from_reserve(treasury, body.votes, to, amount));
    }
    for text in &args.calls {
        let (to, data) = pair(text, "--call")?;
        let to: Address =
            to.parse().with_context(|| format!("--call {text}: {to} is no contract's address"))?;
        let data: Bytes = data.parse().with_context(|| format!("--call {text}: the call is 0x and bytes"))?;
        calls.push(Call { to, data });
    }
    ensure!(!calls.is_empty(), "a proposal does something: give --set, --version, --pay or --call");
    let key = args.site.actor(&args.actor)?;
    let mode = (args.actor.dry_run, args.site.json);
    let (id, taken) = site::walk(&reached.client, &key, mode, |walk| {
        Ok(governance::propose(walk, &body, &calls, &args.description)?)
    })?;
    if args.site.json {
        return output::json(&json!({ "proposal": id.to_string(), "steps": site::steps_json(&taken) }));
    }
    if !args.actor.dry_run {
        let proposal = body.proposal(&reached.client, &id.to_string())?;
        output::pairs(&rows(&proposal, reached.client.time()?))?;
    }
    Ok(())
}

/// `report-due=8h` as a call that sets it.
fn setting(reached: &Reached, text: &str) -> anyhow::Result<Call> {
    let (name, value) = pair(text, "--set")?;
    let place = PARAMETERS.iter().position(|(known, _)| *known == name);
    let Some(place) = place else {
        let all: Vec<_> = PARAMETERS.iter().map(|(name, _)| *name).collect();
        bail!("--set {text}: there is no parameter {name}; they are {}", all.join(", "));
    };
    let value = match PARAMETERS[place].1 {
        Unit::Seconds => U256::from(time::parse_span(value).map_err(anyhow::Error::msg)?),
        Unit::Bps => {
            let percent: f64 =
                value.trim_end_matches('%').parse().with_context(|| format!("--set {text}: write 2.5%"))?;
            ensure!((0.0..=100.0).contains(&percent), "--set {text}: between 0 and 100 %");
            U256::from((percent * 100.0).round() as u64)
        }
        Unit::Loyal => {
            let loyal = Asset::read(&reached.client, reached.at.currency)?;
            U256::from(loyal.parse(value).with_context(|| format!("--set {text}"))?)
        }
        Unit::Count => value.parse().with_context(|| format!("--set {text}: write a number"))?,
    };
    Ok(governance::set_parameter(&reached.at, u8::try_from(place)?, value))
}

fn carry_out(args: &CarryArgs, queue: bool) -> anyhow::Result<()> {
    let reached = args.site.reach()?;
    let body = Body::of(&reached.client, &reached.at, args.whose.model)?;
    let proposal = body.proposal(&reached.client, &args.proposal)?;
    act(&reached, &args.site, &args.actor, |walk| Ok(governance::carry_out(walk, &body, &proposal, queue)?))?;
    after(&reached, &args.site, &body, &args.proposal)
}

fn act(
    reached: &Reached,
    site: &Site,
    actor: &Actor,
    steps: impl FnOnce(&mut loyal_protocol::Walk<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let key = site.actor(actor)?;
    let ((), taken) = site::walk(&reached.client, &key, (actor.dry_run, site.json), steps)?;
    if site.json { output::json(&json!({ "steps": site::steps_json(&taken) })) } else { Ok(()) }
}

/// A proposal as it stands after a step.
fn after(reached: &Reached, site: &Site, body: &Body, number: &str) -> anyhow::Result<()> {
    if site.json {
        return Ok(());
    }
    output::pairs(&rows(&body.proposal(&reached.client, number)?, reached.client.time()?))
}

fn pair<'a>(text: &'a str, option: &str) -> anyhow::Result<(&'a str, &'a str)> {
    text.split_once('=').with_context(|| format!("{option} {text}: an equals sign is missing"))
}

/// Votes without the 18 digits that nobody votes with.
fn plain(votes: U256) -> String {
    let asset = Asset { address: Address::ZERO, symbol: "votes".to_owned(), decimals: 18 };
    asset.text(votes)
}

/// Text that anybody may have written, without what could move a terminal's cursor.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

fn rows(proposal: &Proposal, now: u64) -> Vec<(&'static str, String)> {
    let calls: Vec<_> =
        proposal.calls.iter().map(|call| format!("{} with {} bytes", call.to, call.data.len())).collect();
    let mut rows = vec![
        ("proposal", proposal.id.to_string()),
        ("says", clean(&proposal.description)),
        ("state", proposal.state.to_owned()),
        ("calls", calls.join("\n")),
        ("for", plain(proposal.votes_for)),
        ("against", plain(proposal.against)),
        ("abstained", plain(proposal.abstained)),
    ];
    if proposal.quorum > U256::ZERO {
        rows.push(("quorum", plain(proposal.quorum)));
    }
    match proposal.state {
        "pending" => rows.push(("vote begins", time::text(proposal.begins, now))),
        "active" => rows.push(("vote ends", time::text(proposal.ends, now))),
        "succeeded" => rows.push(("next", "`loyal governance queue`; anybody may".to_owned())),
        "queued" => rows.push(("can be executed", time::text(proposal.ripe, now))),
        _ => {}
    }
    rows
}

fn to_json(proposal: &Proposal) -> Value {
    let calls: Vec<_> = proposal
        .calls
        .iter()
        .map(|call| json!({ "to": call.to.to_string(), "data": call.data.to_string() }))
        .collect();
    json!({
        "proposal": proposal.id.to_string(), "description": proposal.description, "state": proposal.state,
        "proposer": proposal.proposer.to_string(), "calls": calls, "for": proposal.votes_for.to_string(),
        "against": proposal.against.to_string(), "abstained": proposal.abstained.to_string(),
        "quorum": proposal.quorum.to_string(), "begins": proposal.begins, "ends": proposal.ends,
        "ripe": proposal.ripe,
    })
}
