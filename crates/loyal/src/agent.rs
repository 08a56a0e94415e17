//! `loyal agent …`: serve an agent, ask one.

use anyhow::bail;
use clap::Subcommand;
use loyal_agent::agent::Outcome;

use crate::output;

mod ask;
mod bench;
mod browse;
mod mcp;
mod mind;
mod person;
mod serve;
mod toolset;

/// What can be done with agents.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Serve an agent to any chat that speaks the wire format of the Sentient Agent Framework.
    Serve(Box<serve::Args>),
    /// Ask an agent, of others or of this very program, and print its answer as it comes.
    Ask(Box<ask::Args>),
    /// Reach a goal in a real browser.
    Browse(Box<browse::Args>),
    /// Serve tools to programs that speak the Model Context Protocol.
    Mcp(Box<mcp::Args>),
    /// Measure an agent: events a second, time to the first, memory of idle streams.
    Bench(bench::Args),
}

/// Does it.
pub(crate) fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Serve(args) => serve::run(&args),
        Verb::Ask(args) => ask::run(&args),
        Verb::Browse(args) => browse::run(&args),
        Verb::Mcp(args) => mcp::run(&args),
        Verb::Bench(args) => bench::run(&args),
    }
}

/// Says what came of a run: the answer, and what it lacks. Without one it is an error.
fn tell(outcome: &Outcome, json: bool) -> anyhow::Result<()> {
    if json {
        return output::line(&serde_json::to_string(outcome)?);
    }
    if outcome.answer.is_empty() {
        bail!("no answer: {}", outcome.ending);
    }
    output::line(&outcome.answer)?;
    if !outcome.complete {
        output::say(&format!("incomplete: {}", outcome.missing.join("; ")));
    }
    Ok(())
}
