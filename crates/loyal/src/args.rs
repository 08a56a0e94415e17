//! The command line: `loyal <noun> <verb>`.

use clap::{Parser, Subcommand};

use crate::model;

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
}

/// Reads the command line and does what it says.
pub(crate) fn run() -> anyhow::Result<()> {
    match Args::parse().noun {
        Noun::Model(verb) => model::run(verb),
    }
}
