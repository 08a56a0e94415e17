//! `loyal model …`.

use clap::Subcommand;

mod evaluate;
mod generate;
mod info;
mod opened;
mod pretrain;
mod prompt;
mod sampling;
mod train;

/// What can be done with a model.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Say what kind of model lies in a folder, and check that its parts fit.
    Info(info::Args),
    /// Write on from a prompt.
    Generate(generate::Args),
    /// Measure how well a model predicts a text.
    Evaluate(evaluate::Args),
    /// Train a tokenizer and a new model from text files.
    Pretrain(pretrain::Args),
    /// Train a model further on text, or on prompts with responses.
    Train(train::Args),
}

/// Does it.
pub(crate) fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Info(args) => info::run(&args),
        Verb::Generate(args) => generate::run(&args),
        Verb::Evaluate(args) => evaluate::run(&args),
        Verb::Pretrain(args) => pretrain::run(&args),
        Verb::Train(args) => train::run(&args),
    }
}
