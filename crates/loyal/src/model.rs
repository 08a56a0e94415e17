//! `loyal model …`.

use clap::Subcommand;

mod pretrain;

/// What can be done with a model.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Train a tokenizer and a new model from text files.
    Pretrain(pretrain::Args),
}

/// Does it.
pub(crate) fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Pretrain(args) => pretrain::run(&args),
    }
}
