//! `loyal completions`: lets a shell complete our command line.

use clap::Command;
use clap_complete::Shell;

use crate::output;

/// Arguments of `loyal completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  loyal completions bash > ~/.local/share/bash-completion/completions/loyal
  loyal completions zsh > ~/.zfunc/_loyal
  loyal completions fish > ~/.config/fish/completions/loyal.fish
  loyal completions powershell >> $PROFILE")]
pub(crate) struct Args {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
    /// Print one JSON object that holds the script.
    #[arg(long)]
    json: bool,
}

/// Prints the script.
pub(crate) fn run(args: &Args, mut command: Command) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "loyal", &mut script);
    let script = String::from_utf8_lossy(&script);
    if args.json {
        output::json(&serde_json::json!({"shell": args.shell.to_string(), "script": script}))
    } else {
        output::write(&script)
    }
}
