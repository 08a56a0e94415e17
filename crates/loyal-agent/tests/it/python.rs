//! The real Python framework and its client, installed by pip into the target folder on first use.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

const PACKAGES: &[&str] = &[
    "sentient-agent-framework==0.3.0",
    "simple-sse-client==0.1.1",
    "fastapi==0.115.12",
    "pydantic==2.14.4",
    "openai==2.8.1",
    "mcp==2.3.0",
];

/// The interpreter of a virtual environment with the packages; installs them where they are missing.
pub(crate) fn interpreter() -> &'static Path {
    static INTERPRETER: OnceLock<PathBuf> = OnceLock::new();
    INTERPRETER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("saf-python");
        let interpreter = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
        let (done, wanted) = (folder.join("installed.txt"), PACKAGES.join("\n"));
        if std::fs::read_to_string(&done).is_ok_and(|text| text == wanted) {
            return interpreter;
        }
        // Past the test runner's capture: this takes a while and uses the network.
        let talk = format!("installing {} into {}\n", PACKAGES.join(", "), folder.display());
        std::io::stderr().write_all(talk.as_bytes()).unwrap();
        let python = ["python3", "python"].into_iter().find(|python| {
            Command::new(python).args(["-m", "venv"]).arg(&folder).status().is_ok_and(|status| status.success())
        });
        assert!(
            python.is_some(),
            "no virtual environment: these tests need Python 3.10 or newer (Debian: apt install python3 python3-venv)"
        );
        let pip = Command::new(&interpreter)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(PACKAGES)
            .status();
        assert!(
            pip.is_ok_and(|status| status.success()),
            "pip could not install {PACKAGES:?}: these tests need a network, or a package index in pip's configuration"
        );
        std::fs::write(&done, wanted).unwrap();
        interpreter
    })
}

/// Runs a script of this folder; gives back what it prints.
pub(crate) async fn script(text: &'static str, args: Vec<String>) -> String {
    let output = tokio::task::spawn_blocking(move || {
        Command::new(interpreter()).args(["-c", text]).args(args).output().expect("Python starts")
    });
    let output = output.await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    out.into_owned()
}

/// The Python framework's server with `golden/agent.py`, ended with the value.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
}

impl Server {
    pub(crate) async fn start() -> Self {
        tokio::task::spawn_blocking(|| {
            let mut child = Command::new(interpreter())
                .args([concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/agent.py"), "0"])
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("Python starts");
            let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
            let running =
                lines.by_ref().map_while(Result::ok).find(|line| line.contains("running on http://"));
            let running = running.expect("the Python server says where it listens");
            let url = running.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
            // The server would wait where nobody reads what it says.
            std::thread::spawn(move || lines.for_each(drop));
            Self { child, url }
        })
        .await
        .unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
