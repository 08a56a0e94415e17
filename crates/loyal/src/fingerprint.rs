//! `loyal fingerprint …`.

use clap::Subcommand;

mod attack;
mod bind;
pub(crate) mod check;
mod commit;
pub(crate) mod embed;
mod innocence;
mod new;
pub(crate) mod page;
mod show;
mod trace;
mod verify;

/// What can be done with fingerprints.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Write new secret fingerprints for a model.
    New(new::Args),
    /// Fix the responses by a public random number drawn after the commitment.
    Bind(bind::Args),
    /// Train the fingerprints into the weights.
    Embed(embed::Args),
    /// Write what of a secret file may be published.
    Commit(commit::Args),
    /// Ask a model or an endpoint the fingerprints, and weigh the answers.
    Check(check::Args),
    /// Say which host's copy a leaked model was made from.
    Trace(trace::Args),
    /// Attack the marks as hosts would, and weigh what is left against what it costs.
    Attack(attack::Args),
    /// Judge models that never saw the marks under thousands of secrets: for sceptics.
    Innocence(innocence::Args),
    /// Compute the evidence of somebody's check again, without their secrets.
    VerifyEvidence(verify::Args),
    /// Say what a file of fingerprints holds.
    Show(show::Args),
}

/// Does it.
pub(crate) fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::New(args) => new::run(&args),
        Verb::Bind(args) => bind::run(&args),
        Verb::Embed(args) => embed::run(&args),
        Verb::Commit(args) => commit::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Trace(args) => trace::run(&args),
        Verb::Attack(args) => attack::run(&args),
        Verb::Innocence(args) => innocence::run(&args),
        Verb::VerifyEvidence(args) => verify::run(&args),
        Verb::Show(args) => show::run(&args),
    }
}
