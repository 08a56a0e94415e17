//! `loyal model …`.

use clap::Subcommand;

mod pretrain;
mod train;

/// What can be done with a model.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Train a tokenizer and a new model from text files.
    Pretrain(pretrain::Args),
    /// Train a model further on text, or on prompts with responses.
    Train(train::Args),
}

/// Does it.
pub(crate) fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Pretrain(args) => pretrain::run(&args),
        Verb::Train(args) => train::run(&args),
    }
}
