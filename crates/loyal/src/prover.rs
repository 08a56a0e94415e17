//! `loyal prover …`: ask hosts as any user does, keep what they say, and accuse those whose answers are in no report.

mod audit;
mod run;
mod show;
mod watch;

use clap::Subcommand;

/// What a prover can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Probe the hostings that the draw gives to this prover, day after day, until it is told to end.
    Run(run::RunArgs),
    /// Do what is due now, once: ask today's slots without delay, look for yesterday's receipts, go on with claims.
    Probe(run::ProbeArgs),
    /// Look for receipts in the reports of their hostings; with --claim, accuse a host that left one out.
    Audit(audit::Args),
    /// Say what a prover's folder holds: each slot, what was asked, and what became of it.
    Show(show::Args),
    /// Ask endpoints that nobody registered, a little at a time, and write a dossier where marks are found.
    Watch(Box<watch::Args>),
}

/// Does it.
pub(crate) fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Run(args) => run::run(&args),
        Verb::Probe(args) => run::probe(&args),
        Verb::Audit(args) => audit::run(&args),
        Verb::Show(args) => show::run(&args),
        Verb::Watch(args) => watch::run(&args),
    }
}
