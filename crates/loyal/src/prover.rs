//! `loyal prover …`.

use clap::Subcommand;

mod watch;

/// What a prover does.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Ask endpoints that nobody registered, a little at a time, and write a dossier where marks are found.
    Watch(Box<watch::Args>),
}

/// Does it.
pub(crate) fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Watch(args) => watch::run(&args),
    }
}
