//! `cargo xtask browser`: a Chromium for the tests of `loyal-browser`, from the packages of this system.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::step::Outcome;
use crate::workspace::Workspace;

/// What it may be called; `loyal-browser` looks for the same names.
const NAMES: [&str; 6] = [
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
    "chrome",
    "chrome-headless-shell",
];

/// How package managers install it, each with what has to be done before.
const INSTALLERS: [(&str, &[&[&str]]); 5] = [
    ("apt-get", &[&["update"], &["install", "-y", "--no-install-recommends", "chromium"]]),
    ("dnf", &[&["install", "-y", "chromium"]]),
    ("zypper", &[&["--non-interactive", "install", "chromium"]]),
    ("pacman", &[&["-Sy", "--noconfirm", "chromium"]]),
    ("apk", &[&["add", "chromium"]]),
];

/// The chore.
///
/// # Errors
/// When there is no Chromium, and none could be installed.
pub fn run(workspace: &Workspace, _: &[String]) -> Result<()> {
    match step(workspace)? {
        Outcome::Passed => Ok(()),
        Outcome::Missing { what, install } => bail!("{what} is missing; install it with: {install}"),
    }
}

/// The step of `cargo xtask test`: before the tests that need it.
///
/// # Errors
/// Never: what cannot be installed is missing.
pub fn step(_: &Workspace) -> Result<Outcome> {
    if let Some(name) = found() {
        eprintln!("{name} is there");
        return Ok(Outcome::Passed);
    }
    let install = "apt install chromium (or your system's package of Chromium or Google Chrome)".to_owned();
    let missing = Outcome::Missing { what: "Chromium".to_owned(), install };
    let Some((installer, steps)) = INSTALLERS.iter().find(|(name, _)| answers(name)) else {
        return Ok(missing);
    };
    for arguments in *steps {
        eprintln!("installing Chromium: {installer} {}", arguments.join(" "));
        if !as_root(installer, arguments) {
            return Ok(missing);
        }
    }
    Ok(if found().is_some() { Outcome::Passed } else { missing })
}

fn found() -> Option<&'static str> {
    NAMES.into_iter().find(|name| answers(name))
}

fn answers(program: &str) -> bool {
    let status = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Runs an installer, by `sudo` where that asks for no password and we are not root.
fn as_root(program: &str, arguments: &[&str]) -> bool {
    let id = Command::new("id").arg("-u").output().map(|output| output.stdout).unwrap_or_default();
    let mut command = if id.trim_ascii() == b"0" {
        Command::new(program)
    } else {
        let mut command = Command::new("sudo");
        command.args(["-n", program]);
        command
    };
    // What it says is talk, not data.
    let status =
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
