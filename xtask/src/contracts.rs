//! `cargo xtask contracts`: the Solidity of the protocol: compile it, hold the committed artifacts to it, run its tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::step::Outcome;
use crate::workspace::Workspace;

mod interface;

/// The contracts whose interface and code Rust embeds.
const EMBEDDED: [&str; 36] = [
    "Admission",
    "ApprovalCollector",
    "AuthorizationCollector",
    "Beacon",
    "CredentialRegistry",
    "Launcher",
    "Gate",
    "GenesisVesting",
    "InvocationChannel",
    "LoyalCurrency",
    "ModelFactory",
    "ModelShares",
    "ModelTreasury",
    "Parameters",
    "ProtocolTimelock",
    "Registry",
    "RevenueRouter",
    "StakeVault",
    "Till",
    "ColourMatcher",
    "VerbatimMatcher",
    "ProbeReader",
    "ProbeBoard",
    "DisputeCourt",
    "Jury",
    "OmissionExaminer",
    "OverchargeExaminer",
    "EquivocationExaminer",
    "AuthorisationExaminer",
    "UsageExaminer",
    "LeakExaminer",
    "OwnershipExaminer",
    "LoyalGovernor",
    "ModelGovernor",
    "ModelTimelock",
    "GovernorFactory",
];

/// Where the artifacts are, relative to the root.
const ARTIFACTS: &str = "crates/loyal-protocol/artifacts";

/// The most bytes of code a contract may have (EIP-170).
const CODE_BYTES_MAX: usize = 24_576;

/// The chore: without arguments as the step does it; `--write` writes the artifacts and the gas snapshot anew;
/// `--long` runs the long profile of the tests; `--build` runs none.
///
/// # Errors
/// When something does not compile, differs or fails, or npm is missing.
pub fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    if let Some(other) =
        arguments.iter().find(|argument| !["--write", "--long", "--build"].contains(&argument.as_str()))
    {
        bail!("contracts takes --write, --long and --build, not {other}");
    }
    match all(workspace, has("--write"), has("--long"), !has("--build"))? {
        Outcome::Passed => Ok(()),
        Outcome::Missing { what, install } => bail!("{what} is missing; install it with: {install}"),
    }
}

/// The step of `cargo xtask test`.
///
/// # Errors
/// When something does not compile, differs or fails.
pub fn step(workspace: &Workspace) -> Result<Outcome> {
    all(workspace, false, false, true)
}

fn all(workspace: &Workspace, write: bool, long: bool, test: bool) -> Result<Outcome> {
    let folder = workspace.root.join("contracts");
    if !answers("npm") || !answers("node") {
        let install = "apt install nodejs npm (Node.js 20 or newer)".to_owned();
        return Ok(Outcome::Missing { what: "npm".to_owned(), install });
    }
    install(&folder)?;
    let forge = Forge { program: forge(&folder)?, folder: folder.clone(), long, write };
    forge.run(&["fmt", "--check"])?;
    forge.run(&["build", "--quiet"])?;
    artifacts(workspace, &folder, write)?;
    if test {
        forge.run(&["test"])?;
    }
    Ok(Outcome::Passed)
}

fn answers(program: &str) -> bool {
    let status = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Installs what the lock file names, unless that is there already: then no network is needed.
fn install(folder: &Path) -> Result<()> {
    let lock = fs::read_to_string(folder.join("package-lock.json")).context("contracts/package-lock.json")?;
    let stamp = folder.join("node_modules/.installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    let status = Command::new("npm").args(["ci", "--loglevel=error"]).current_dir(folder).status();
    if !status.context("npm could not be started")?.success() {
        bail!("`npm ci` failed in contracts/: it needs a package registry once");
    }
    fs::write(stamp, lock).context("contracts/node_modules/.installed")
}

/// The program of this platform, without its wrapper.
fn forge(folder: &Path) -> Result<PathBuf> {
    let system = if cfg!(target_os = "macos") { "darwin" } else { "linux" };
    let machine = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let program = folder.join(format!("node_modules/@foundry-rs/forge-{system}-{machine}/bin/forge"));
    if !program.is_file() {
        bail!("no forge for {system} on {machine} in contracts/node_modules");
    }
    Ok(program)
}

struct Forge {
    program: PathBuf,
    folder: PathBuf,
    long: bool,
    write: bool,
}

impl Forge {
    fn run(&self, arguments: &[&str]) -> Result<()> {
        let status = Command::new(&self.program)
            .args(arguments)
            .current_dir(&self.folder)
            .env("FOUNDRY_PROFILE", if self.long { "long" } else { "default" })
            .env("FORGE_SNAPSHOT_CHECK", if self.write { "false" } else { "true" })
            .status()
            .context("forge could not be started")?;
        if !status.success() {
            bail!("`forge {}` ended with {status}", arguments.join(" "));
        }
        Ok(())
    }
}

/// Compares the committed artifacts with what was compiled, byte for byte, or writes them.
fn artifacts(workspace: &Workspace, folder: &Path, write: bool) -> Result<()> {
    let mut different = Vec::new();
    for name in EMBEDDED {
        let (whole, interface) = artifact(folder, name).with_context(|| format!("the compiled {name}"))?;
        for (ending, made) in [("json", whole), ("sol", interface)] {
            let path = workspace.root.join(ARTIFACTS).join(format!("{name}.{ending}"));
            if write {
                fs::write(&path, made).with_context(|| format!("{}: writing failed", path.display()))?;
            } else if fs::read_to_string(&path).ok().as_ref() != Some(&made) {
                different.push(format!("{name}.{ending}"));
            }
        }
    }
    if !different.is_empty() {
        bail!(
            "{ARTIFACTS}: not what contracts/ compiles to: {}; run `cargo xtask contracts --write`",
            different.join(", ")
        );
    }
    Ok(())
}

/// ABI and deployment code as JSON, and the ABI as Solidity.
fn artifact(folder: &Path, name: &str) -> Result<(String, String)> {
    let text = fs::read_to_string(folder.join(format!("out/{name}.sol/{name}.json")))?;
    let compiled: Value = serde_json::from_str(&text)?;
    let code = |field: &str| {
        compiled[field]["object"].as_str().with_context(|| format!("no {field} in the compiler's output"))
    };
    let bytes = (code("deployedBytecode")?.len() - 2) / 2;
    if bytes > CODE_BYTES_MAX {
        bail!("{bytes} bytes of code, of at most {CODE_BYTES_MAX} (EIP-170)");
    }
    let made = json!({ "abi": compiled["abi"], "bytecode": code("bytecode")? });
    Ok((format!("{made}\n"), interface::text(name, &compiled["abi"])?))
}
