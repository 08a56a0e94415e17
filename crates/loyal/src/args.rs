//! The command line: `loyal <noun> <verb>`.

use clap::{Parser, Subcommand};

use crate::{demo, fingerprint, model};

/// Mark a model's weights, prove who serves them.
#[derive(Debug, Parser)]
#[command(name = "loyal", version, arg_required_else_help = true)]
struct Args {
    #[command(subcommand)]
    noun: Noun,
}

#[derive(Debug, Subcommand)]
enum Noun {
    /// Read, make, train and run language models.
    #[command(subcommand)]
    Model(model::Verb),
    /// Mark weights with secret fingerprints, and find them again.
    #[command(subcommand)]
    Fingerprint(fingerprint::Verb),
    /// See it work: mark the model that comes with Loyal, attack it, and prove whose it is (about two minutes).
    Demo(demo::Args),
}

/// Reads the command line and does what it says.
pub(crate) fn run() -> anyhow::Result<()> {
    match Args::parse().noun {
        Noun::Model(verb) => model::run(verb),
        Noun::Fingerprint(verb) => fingerprint::run(verb),
        Noun::Demo(args) => demo::run(&args),
    }
}
