//! The command line: `loyal <noun> <verb>`.

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::{
    access, agent, chain, completions, court, demo, env, fingerprint, governance, host, key, manual, model,
    owner, prover, stake, up, validator, verify,
};

/// Mark a model's weights, prove who serves them.
#[derive(Debug, Parser)]
#[command(
    name = "loyal",
    version,
    arg_required_else_help = true,
    after_help = "\
Commands that need a model and are not given one use the one that comes with Loyal (or the one in the folder \
that LOYAL_MODEL names), so that everything can be tried without a network. Every command tells more about \
itself with --help; those with a result print it as JSON with --json.

Examples:
  loyal demo
  loyal up
  loyal model generate \"Once upon a time\"
  loyal model chat ./SmolLM2-135M-Instruct"
)]
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
    /// Use a hosted model: get a credential, ask, pay, keep the receipts.
    #[command(subcommand)]
    Access(access::Verb),
    /// Verify any document offline: a credential, a receipt, a report, the proof that a report counts a receipt.
    Verify(verify::Args),
    /// Serve agents, and ask them.
    #[command(subcommand)]
    Agent(agent::Verb),
    /// Register models, agree on who earns what, withdraw it.
    #[command(subcommand)]
    Owner(owner::Verb),
    /// Serve a model to whoever speaks the OpenAI API, and keep the hosting it is paid by.
    #[command(subcommand)]
    Host(host::Verb),
    /// Ask hosts as users do, look for the receipts in their reports, and accuse those who hide.
    #[command(subcommand)]
    Prover(prover::Verb),
    /// Feed the Beacon, and sit on juries.
    #[command(subcommand)]
    Validator(validator::Verb),
    /// Put LOYAL at risk for a seat among validators or provers, and take it back.
    #[command(subcommand)]
    Stake(stake::Verb),
    /// Propose, vote, and carry out what was decided: for the protocol and for models.
    #[command(subcommand)]
    Governance(governance::Verb),
    /// Accuse, answer, judge: claims against hosts and owners.
    #[command(subcommand)]
    Court(court::Verb),
    /// Keep keys in encrypted files.
    #[command(subcommand)]
    Key(key::Verb),
    /// Run a chain of your own: an EVM chain inside this program, for wallets, libraries and tests.
    #[command(subcommand)]
    Chain(chain::Verb),
    /// Start all of it on this machine: a chain, a registered model, its host, its issuer, a status page.
    Up(Box<up::Args>),
    /// See it work: a model is marked, registered, hosted, paid for; a cheat is convicted, and its holders vote (about three minutes).
    Demo(demo::Args),
    /// Print the script that lets a shell complete this command line.
    Completions(completions::Args),
    /// Run Python for an agent: what the interpreter's own process is.
    #[command(hide = true)]
    PythonWorker,
    /// Print this command line's manual as Markdown.
    #[command(hide = true)]
    Manual,
}

/// Reads the command line and does what it says.
pub(crate) fn run() -> anyhow::Result<()> {
    let noun = Args::parse().noun;
    if matches!(noun, Noun::Fingerprint(_) | Noun::Demo(_)) {
        env::keep_tensors_to_one_thread();
    }
    match noun {
        Noun::Model(verb) => model::run(verb),
        Noun::Fingerprint(verb) => fingerprint::run(verb),
        Noun::Access(verb) => access::run(verb),
        Noun::Verify(args) => verify::run(&args),
        Noun::Agent(verb) => agent::run(verb),
        Noun::Owner(verb) => owner::run(verb),
        Noun::Host(verb) => host::run(verb),
        Noun::Prover(verb) => prover::run(verb),
        Noun::Validator(verb) => validator::run(verb),
        Noun::Stake(verb) => stake::run(verb),
        Noun::Governance(verb) => governance::run(verb),
        Noun::Court(verb) => court::run(verb),
        Noun::Key(verb) => key::run(verb),
        Noun::Chain(verb) => chain::run(verb),
        Noun::Up(args) => up::run(&args),
        Noun::Demo(args) => demo::run(&args),
        Noun::Completions(args) => completions::run(&args, Args::command()),
        Noun::PythonWorker => {
            Ok(loyal_agent::python::serve(std::io::stdin().lock(), std::io::stdout().lock())?)
        }
        Noun::Manual => manual::run(Args::command()),
    }
}
