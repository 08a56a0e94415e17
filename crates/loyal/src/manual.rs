//! The whole command line as Markdown: `docs/cli.md`.

use std::fmt::Write as _;

use clap::{Arg, Command};

use crate::output;

/// Prints the manual.
pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    output::write(&text(command))
}

fn text(mut command: Command) -> String {
    command.build();
    let mut page = String::from(
        "# The command line\n\n\
         Written by the program itself; `cargo xtask generate` writes it anew.\n\n\
         Data goes to standard output, everything else to standard error. Exit codes: 0 done, 1 failed, 2 the command \
         line makes no sense, 130 interrupted by Ctrl-C.\n",
    );
    for command in commands(&command) {
        section(&mut page, &command);
    }
    page.trim_end().to_owned() + "\n"
}

/// A command and all below it, in order, as they are seen.
fn commands(command: &Command) -> Vec<Command> {
    let below = command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help");
    std::iter::once(command.clone()).chain(below.flat_map(commands)).collect()
}

fn section(page: &mut String, command: &Command) {
    let name = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let _ = write!(page, "\n## `{name}`\n");
    if let Some(about) = command.get_about() {
        let _ = write!(page, "\n{about}.\n");
    }
    let _ = write!(page, "\n```text\n{usage}\n```\n");
    let seen = || command.get_arguments().filter(|arg| !arg.is_hide_set() && arg.get_id() != "help");
    let subcommands: Vec<_> =
        command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help").collect();
    if !subcommands.is_empty() {
        page.push_str("\n| command | |\n|---|---|\n");
        for below in subcommands {
            let about = below.get_about().map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(page, "| `{name} {}` | {} |", below.get_name(), cell(&about));
        }
    }
    if seen().next().is_some() {
        page.push_str("\n| argument | | default |\n|---|---|---|\n");
        for arg in seen() {
            row(page, arg);
        }
    }
    if let Some(after) = command.get_after_help() {
        let _ = write!(page, "\n```text\n{}\n```\n", after.to_string().trim_end());
    }
}

fn row(page: &mut String, arg: &Arg) {
    let takes = arg.get_action().takes_values();
    let values: Vec<String> =
        arg.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect();
    let values = if values.is_empty() { vec![arg.get_id().as_str().to_uppercase()] } else { values };
    let name = match (arg.get_long(), takes) {
        (Some(long), true) => format!("--{long} <{}>", values.join("> <")),
        (Some(long), false) => format!("--{long}"),
        (None, _) => format!("<{}>", values.join("> <")),
    };
    let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let possible: Vec<String> = if takes && !arg.is_hide_possible_values_set() {
        arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect()
    } else {
        Vec::new()
    };
    if !possible.is_empty() {
        let _ = write!(help, " One of {}.", possible.join(", "));
    }
    let default: Vec<String> =
        arg.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
    let default = if takes { default.join(" ") } else { String::new() };
    let _ = writeln!(page, "| `{name}` | {} | {default} |", cell(&help));
}

/// Text as a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace('\n', " ")
}
