//! Foreign programs the tests compare with, installed by npm into the target folder on first use.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use alloy_primitives::{Bytes, hex};

const PACKAGES: &str = r#"{ "private": true, "dependencies": {
  "@foundry-rs/anvil": "1.7.1", "@foundry-rs/cast": "1.7.1", "solc": "0.8.37",
  "@openzeppelin/contracts": "5.7.0", "viem": "2.57.20", "ethers": "6.17.0" } }"#;

/// The folder with the packages; installs them where they are missing.
pub(crate) fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("npm");
        std::fs::create_dir_all(&folder).unwrap();
        let wanted = folder.join("package.json");
        let done = folder.join("installed.json");
        if std::fs::read_to_string(&done).is_ok_and(|text| text == PACKAGES) {
            return folder;
        }
        std::fs::write(&wanted, PACKAGES).unwrap();
        let install = Command::new("npm")
            .args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"])
            .current_dir(&folder)
            .status();
        let installed = install.is_ok_and(|status| status.success());
        assert!(
            installed,
            "npm install failed: these tests need Node.js 20 (Debian: apt install nodejs npm)"
        );
        std::fs::write(&done, PACKAGES).unwrap();
        folder
    })
}

/// The program `name` of Foundry, without its wrapper.
pub(crate) fn foundry(name: &str) -> PathBuf {
    let (system, machine) = match (std::env::consts::OS, std::env::consts::ARCH) {
        (system, "x86_64") => (system, "amd64"),
        (system, _) => (system, "arm64"),
    };
    let system = if system == "macos" { "darwin" } else { system };
    folder().join(format!("node_modules/@foundry-rs/{name}-{system}-{machine}/bin/{name}"))
}

/// Runs a script of this folder with Node.js; its packages are those of [`folder`].
pub(crate) fn node(name: &str, script: &str, args: &[&str]) -> String {
    let path = folder().join(name);
    std::fs::write(&path, script).unwrap();
    let output = Command::new("node").arg(&path).args(args).output().expect("Node.js starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}: {out}\n{err}");
    out.into_owned()
}

/// Deployment code of a contract of `Conformance.sol`.
pub(crate) fn bytecode(contract: &str) -> Bytes {
    static COMPILED: OnceLock<serde_json::Value> = OnceLock::new();
    let compiled = COMPILED
        .get_or_init(|| compiled(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/contracts/Conformance.sol")));
    hex::decode(compiled[contract].as_str().unwrap()).unwrap().into()
}

/// Deployment code of every contract in a file, by name.
pub(crate) fn compiled(source: &str) -> serde_json::Value {
    serde_json::from_str(&node("compile.mjs", include_str!("compile.mjs"), &[source])).unwrap()
}

/// An anvil on a port of its own, ended with the value.
#[derive(Debug)]
pub(crate) struct Anvil {
    child: Child,
    pub(crate) address: String,
}

impl Anvil {
    pub(crate) fn start(timestamp: u64) -> Self {
        let mut child = Command::new(foundry("anvil"))
            .args(["--hardfork", "prague", "--port", "0", "--timestamp", &timestamp.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("anvil starts");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .find_map(|line| line.unwrap().strip_prefix("Listening on ").map(ToOwned::to_owned))
            .expect("anvil says where it listens");
        // Anvil ends where nobody reads what it says.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
