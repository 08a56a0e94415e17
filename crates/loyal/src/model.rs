//! `loyal model …`.

use clap::Subcommand;

mod chat;
mod evaluate;
mod export;
pub(crate) mod fetch;
mod generate;
mod info;
pub(crate) mod opened;
mod pretrain;
mod prompt;
mod pull;
mod sampling;
mod show;
mod train;

/// What can be done with a model.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Say what kind of model lies in a folder, and check that its parts fit.
    Info(info::Args),
    /// Say what the chain knows about a registered model: versions, makers, hosts, revenue.
    Show(show::Args),
    /// Download a model from the Hugging Face hub, checked and resumable.
    Pull(pull::Args),
    /// Bring published weights out of a store, checked by their root.
    Fetch(Box<fetch::Args>),
    /// Go on writing where a prompt ends.
    Generate(generate::Args),
    /// Talk to a model.
    Chat(chat::Args),
    /// Measure how well a model predicts a text.
    Evaluate(evaluate::Args),
    /// Write a model in another program's format.
    Export(export::Args),
    /// Train a tokenizer and a new model from text files.
    Pretrain(pretrain::Args),
    /// Train a model further on text, or on prompts with responses.
    Train(train::Args),
}

/// Does it.
pub(crate) fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Info(args) => info::run(&args),
        Verb::Show(args) => show::run(&args),
        Verb::Pull(args) => pull::run(&args),
        Verb::Fetch(args) => fetch::run(&args),
        Verb::Generate(args) => generate::run(&args),
        Verb::Chat(args) => chat::run(&args),
        Verb::Evaluate(args) => evaluate::run(&args),
        Verb::Export(args) => export::run(&args),
        Verb::Pretrain(args) => pretrain::run(&args),
        Verb::Train(args) => train::run(&args),
    }
}
