//! The checkout being worked on: its files, and cargo run inside it.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Set by an outer `cargo run`; a build script that watches them would rebuild its crate in every child.
const LEAKED: [&str; 5] =
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_NAME", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE"];

/// A checkout, where its children build, and how strict to be.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// The folder with the workspace's `Cargo.toml`.
    pub root: PathBuf,
    /// Where every child process puts what it builds.
    pub target: PathBuf,
    /// Whether a missing tool is a failure (`CI=true`).
    pub strict: bool,
}

impl Workspace {
    /// The checkout this program was built from, with its settings from the environment.
    ///
    /// # Errors
    /// When neither `CARGO_TARGET_DIR` nor `HOME` says where to build.
    pub fn here() -> Result<Self> {
        // What cargo says now: a build folder shared by two clones may hold a program compiled in the other.
        let own = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&own).parent().context("xtask lies inside the workspace")?.to_owned();
        let target = match env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty()) {
            Some(dir) => root.join(dir),
            None => {
                let home =
                    env::var_os("HOME").context("set CARGO_TARGET_DIR or HOME: where should builds go?")?;
                PathBuf::from(home).join(".cache/loyal/target")
            }
        };
        Ok(Self { root, target, strict: env::var_os("CI").is_some_and(|ci| ci == "true") })
    }

    /// Paths of the files git tracks, relative to the root, with `/` between folders, in order.
    ///
    /// # Errors
    /// When git is missing or this is no checkout.
    pub fn tracked(&self) -> Result<Vec<String>> {
        let output = Command::new("git")
            .args(["ls-files", "-z"])
            .current_dir(&self.root)
            .output()
            .context("git could not be started: the tidy rules look at the files git tracks")?;
        if !output.status.success() {
            bail!("git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let list = String::from_utf8(output.stdout).context("git ls-files: a path is not UTF-8")?;
        let paths: BTreeSet<_> = list.split('\0').filter(|path| !path.is_empty()).collect();
        // A tracked file somebody is deleting is gone for these rules.
        Ok(paths.into_iter().filter(|path| self.root.join(path).is_file()).map(str::to_owned).collect())
    }

    /// A file's text, or `None` for one that is not UTF-8.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn text(&self, path: &str) -> Result<Option<String>> {
        let bytes = std::fs::read(self.root.join(path)).with_context(|| format!("{path}: reading failed"))?;
        Ok(String::from_utf8(bytes).ok())
    }

    /// Runs cargo, its output going to the terminal.
    ///
    /// # Errors
    /// When it cannot be started or does not succeed.
    pub fn cargo(&self, arguments: &[&str]) -> Result<()> {
        self.cargo_with(arguments, &[])
    }

    /// Runs cargo with additional environment variables, its output going to the terminal.
    ///
    /// # Errors
    /// When it cannot be started or does not succeed.
    pub fn cargo_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Result<()> {
        let status = self
            .cargo_command(arguments)
            .envs(variables.iter().copied())
            .status()
            .context("cargo could not be started")?;
        if !status.success() {
            bail!("`cargo {}` ended with {status}", arguments.join(" "));
        }
        Ok(())
    }

    /// What cargo writes to its standard output.
    ///
    /// # Errors
    /// When it cannot be started or does not succeed; the error holds what it wrote to standard error.
    pub fn cargo_output(&self, arguments: &[&str]) -> Result<Vec<u8>> {
        let output = self
            .cargo_command(arguments)
            .stderr(Stdio::piped())
            .output()
            .context("cargo could not be started")?;
        if !output.status.success() {
            bail!("`cargo {}`: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(output.stdout)
    }

    /// Builds the binaries of the workspace as its tests build them, and gives the path of the one called `name`.
    ///
    /// Cargo unites the features of whatever is built together: another selection of packages would build most
    /// dependencies a second time.
    ///
    /// # Errors
    /// When the build fails.
    pub fn built(&self, name: &str) -> Result<PathBuf> {
        let selection =
            ["build", "--quiet", "--workspace", "--exclude", "xtask", "--locked", "--bins", "--tests"];
        self.cargo(&selection)?;
        Ok(self.target.join("debug").join(format!("{name}{}", env::consts::EXE_SUFFIX)))
    }

    /// Whether `cargo <name>` exists here.
    pub fn has_cargo(&self, name: &str) -> bool {
        self.cargo_command(&[name, "--version"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    fn cargo_command(&self, arguments: &[&str]) -> Command {
        let program = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut command = Command::new(program);
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(|name| LEAKED.iter().any(|leaked| name.starts_with(leaked))) {
                command.env_remove(name);
            }
        }
        command.args(arguments).current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        command
    }
}
