//! `loyal stake …`: seats of validators and provers.

use alloy_primitives::{Address, U256};
use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use loyal_protocol::Asset;
use loyal_roles::stake::{self, Position, Seat};
use serde_json::{Value, json};

use crate::site::{self, Actor, Reached, Site};
use crate::{output, time};

/// What can be done with stake.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Say what an account has at risk, and whether it may be drawn.
    Show(ShowArgs),
    /// Raise a stake to an amount: with enough of it comes a seat.
    Bind(BindArgs),
    /// Lower a stake to an amount; what is over thaws for fourteen days, still at risk.
    Thaw(ThawArgs),
    /// Take what has thawed, and what slashes of others gave.
    Withdraw(WithdrawArgs),
}

/// What a seat is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Sits on juries and feeds the beacon.
    Validator,
    /// Probes hosts when it is drawn.
    Prover,
}

impl From<Role> for Seat {
    fn from(role: Role) -> Self {
        match role {
            Role::Validator => Self::Validator,
            Role::Prover => Self::Prover,
        }
    }
}

/// Arguments of `loyal stake show`.
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    site: Site,
    /// What the seat is for.
    #[arg(value_enum)]
    role: Role,
    /// Whose.
    account: Address,
}

/// Arguments of `loyal stake bind`.
#[derive(Debug, clap::Args)]
pub(crate) struct BindArgs {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    /// What the seat is for.
    #[arg(value_enum)]
    role: Role,
    /// What the stake shall be; what a seat takes unless given.
    #[arg(long, value_name = "AMOUNT")]
    to: Option<String>,
}

/// Arguments of `loyal stake thaw`.
#[derive(Debug, clap::Args)]
pub(crate) struct ThawArgs {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    /// What the seat is for.
    #[arg(value_enum)]
    role: Role,
    /// What the stake shall be; nothing unless given.
    #[arg(long, value_name = "AMOUNT", default_value = "0")]
    to: String,
}

/// Arguments of `loyal stake withdraw`.
#[derive(Debug, clap::Args)]
pub(crate) struct WithdrawArgs {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    /// What the seat is for.
    #[arg(value_enum)]
    role: Role,
}

/// Does it.
pub(crate) fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Show(args) => {
            let reached = args.site.reach()?;
            say(&reached, &args.site, args.account, args.role.into(), None)
        }
        Verb::Bind(args) => {
            let reached = args.site.reach()?;
            let loyal = Asset::read(&reached.client, reached.at.currency)?;
            let to = args.to.as_ref().map(|text| loyal.parse(text)).transpose().context("--to")?;
            act(&reached, &args.site, &args.actor, args.role, |walk, seat| {
                Ok(stake::bind(walk, &reached.at, seat, to)?)
            })
        }
        Verb::Thaw(args) => {
            let reached = args.site.reach()?;
            let loyal = Asset::read(&reached.client, reached.at.currency)?;
            let to = loyal.parse(&args.to).context("--to")?;
            act(&reached, &args.site, &args.actor, args.role, |walk, seat| {
                Ok(stake::thaw(walk, &reached.at, seat, to)?)
            })
        }
        Verb::Withdraw(args) => {
            let reached = args.site.reach()?;
            act(&reached, &args.site, &args.actor, args.role, |walk, seat| {
                Ok(stake::withdraw(walk, &reached.at, seat)?)
            })
        }
    }
}

fn act(
    reached: &Reached,
    site: &Site,
    actor: &Actor,
    role: Role,
    steps: impl FnOnce(&mut loyal_protocol::Walk<'_>, Seat) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let key = site.actor(actor)?;
    let ((), taken) =
        site::walk(&reached.client, &key, (actor.dry_run, site.json), |walk| steps(walk, role.into()))?;
    say(reached, site, key.address(), role.into(), Some(&site::steps_json(&taken)))
}

fn say(
    reached: &Reached,
    site: &Site,
    account: Address,
    seat: Seat,
    steps: Option<&Value>,
) -> anyhow::Result<()> {
    let found = Position::read(&reached.client, &reached.at, account, seat)?;
    if site.json {
        return output::json(&json!({
            "account": account.to_string(), "bound": found.bound.to_string(), "thawing": found.thawing.to_string(),
            "thawsAt": found.thaws_at, "claims": found.freezes, "seat": found.seat.to_string(),
            "isSeated": found.is_seated, "rewards": found.rewards.to_string(), "steps": steps,
        }));
    }
    let loyal = Asset::read(&reached.client, reached.at.currency)?;
    let seated = if found.is_seated { "yes, it may be drawn" } else { "no" };
    let mut rows = vec![
        ("account", account.to_string()),
        ("at risk", loyal.text(U256::from(found.bound))),
        ("a seat takes", loyal.text(found.seat)),
        ("seated", seated.to_owned()),
    ];
    if found.thawing > 0 {
        let free = time::text(found.thaws_at, reached.client.time()?);
        rows.push(("thawing", format!("{}, free {free}", loyal.text(U256::from(found.thawing)))));
    }
    if found.freezes > 0 {
        rows.push(("held by claims", found.freezes.to_string()));
    }
    if found.rewards > U256::ZERO {
        rows.push(("to be taken", loyal.text(found.rewards)));
    }
    output::pairs(&rows)
}
