//! The `openai` packages of Python and of JavaScript, pointed at a sidecar: they pay, and know nothing of it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use loyal_access::sidecar::Limits;
use serde_json::{Value, json};

use crate::caller::{Scene, settings};
use crate::double::Fault;
use crate::sidecar::Up;

const PYTHON: &str = "openai==2.8.1";
const NPM: &str = r#"{ "private": true, "type": "module", "dependencies": { "openai": "7.57.0" } }"#;

/// Installs where something is missing: `install` is told the folder.
fn installed(name: &str, wanted: &str, install: impl FnOnce(&Path) -> bool) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let done = folder.join("installed.txt");
    if std::fs::read_to_string(&done).is_ok_and(|text| text == wanted) {
        return folder;
    }
    // Past the test runner's capture: this takes a while and uses the network.
    std::io::stderr().write_all(format!("installing into {}\n", folder.display()).as_bytes()).unwrap();
    assert!(
        install(&folder),
        "{wanted} could not be installed: this test needs a network, Python 3.10 and Node.js 20"
    );
    std::fs::write(&done, wanted).unwrap();
    folder
}

fn python() -> &'static Path {
    static INTERPRETER: OnceLock<PathBuf> = OnceLock::new();
    INTERPRETER.get_or_init(|| {
        let good = |command: &mut Command| command.status().is_ok_and(|status| status.success());
        let interpreter =
            |folder: &Path| folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
        let folder = installed("openai-python", PYTHON, |folder| {
            good(Command::new("python3").args(["-m", "venv"]).arg(folder))
                && good(Command::new(interpreter(folder)).args(["-m", "pip", "install", "--quiet", PYTHON]))
        });
        interpreter(&folder)
    })
}

fn npm() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| npm_installed("openai-npm", NPM))
}

/// Packages of npm in a folder of their own; `wanted` is its `package.json`.
pub(crate) fn npm_installed(name: &str, wanted: &str) -> PathBuf {
    installed(name, wanted, |folder| {
        std::fs::write(folder.join("package.json"), wanted).unwrap();
        let flags = ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
        Command::new("npm").args(flags).current_dir(folder).status().is_ok_and(|status| status.success())
    })
}

pub(crate) async fn ran(mut command: Command) -> Value {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}\n{err}"))
}

/// What both clients say of the same four requests.
fn expected() -> Value {
    json!({
        "whole": "You said: hello", "tokens": 3, "stream": "You said: a stream", "models": ["default"],
        "embedding": [1.5, 2.5], "code": "malformed", "status": 400,
    })
}

/// The second answer breaks off once: the sidecar gets it again.
async fn check(command: impl FnOnce(&str) -> Command) {
    let scene = Scene::open().await;
    let up = Up::start(scene.caller_with(1, settings()), Limits::default(), None).await;
    scene.double.will([Fault::None, Fault::Mute, Fault::None]);
    assert_eq!(ran(command(&format!("{}/v1", up.url))).await, expected());
    assert_eq!((scene.double.answered(), scene.records().len()), (3, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_client_pays_without_knowing() {
    check(|url| {
        let mut command = Command::new(python());
        command.args(["-c", include_str!("openai.py"), url]);
        command
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_javascript_client_pays_without_knowing() {
    check(|url| {
        let script = npm().join("openai.mjs");
        std::fs::write(&script, include_str!("openai.mjs")).unwrap();
        let mut command = Command::new("node");
        command.arg(script).arg(url);
        command
    })
    .await;
}
