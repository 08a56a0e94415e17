//! Starts a Chromium of its own for one run: its profile, its pipes, its way to the network; and ends it.

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde::Deserialize;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::unix::pipe;

use crate::cdp::Cdp;
use crate::{Error, Result};

pub(crate) mod egress;

pub use egress::{Count, Domains, Reach};

/// Where Chromium may be called.
const NAMES: [&str; 7] = [
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
    "chrome",
    "chrome-headless-shell",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

const FLAGS: [&str; 21] = [
    "--remote-debugging-pipe=cbor",
    "--no-first-run",
    "--no-default-browser-check",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-extensions",
    "--disable-search-engine-choice-screen",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--password-store=basic",
    "--use-mock-keychain",
    "--force-color-profile=srgb",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--disable-features=Translate,OptimizationHints,MediaRouter,HttpsUpgrades,AutofillServerCommunication",
];

/// How Chromium is started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Its program; looked for where none is named.
    pub program: Option<PathBuf>,
    /// Without a window.
    pub headless: bool,
    /// Chromium's own sandbox. Root and many containers cannot have it.
    pub sandbox: bool,
    /// Width and height of a page, in CSS pixels.
    pub window: (u32, u32),
    /// Which machines it may reach.
    pub reach: Reach,
    /// How long the start may take.
    pub time: Duration,
}

impl Default for Launch {
    fn default() -> Self {
        Self {
            program: None,
            headless: true,
            sandbox: true,
            window: (1280, 720),
            reach: Reach::default(),
            time: Duration::from_secs(30),
        }
    }
}

impl Launch {
    /// With Chromium's sandbox where it can be had: not as root.
    #[must_use]
    pub fn with_sandbox_unless_root(mut self) -> Self {
        self.sandbox = !rustix::process::geteuid().is_root();
        self
    }
}

/// The Chromium on this machine: the program of a path, or the first of the usual names that is there.
///
/// # Errors
/// [`Error::NoBrowser`], which says how to install one.
pub fn find(program: Option<&Path>) -> Result<PathBuf> {
    let names: Vec<String> =
        program.map_or_else(|| NAMES.map(str::to_owned).to_vec(), |path| vec![path.display().to_string()]);
    let search = "for name do command -v \"$name\" && exit; done; exit 1";
    let found = Command::new("sh").args(["-c", search, "sh"]).args(&names).stderr(Stdio::null()).output();
    match found {
        Ok(output) if output.status.success() => {
            Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end()))
        }
        _ => Err(Error::NoBrowser { tried: names.join(", ") }),
    }
}

/// A Chromium that runs; dropping it ends it and everything it started.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pub(crate) version: String,
    /// Its last words on standard error.
    words: Arc<Mutex<Vec<u8>>>,
    /// Removed with it.
    _profile: TempDir,
}

#[derive(Deserialize)]
struct Version {
    product: String,
}

/// Starts one, which goes to the network through the proxy at this port only.
pub(crate) async fn start(launch: &Launch, proxy: u16) -> Result<(Process, Cdp)> {
    let program = find(launch.program.as_deref())?;
    let failed = |why: String| Error::Launch { why };
    let profile = tempfile::Builder::new().prefix("loyal-browser-").tempdir();
    let profile = profile.map_err(|error| failed(format!("no folder for its profile: {error}")))?;
    let mut command = Command::new("sh");
    // Chromium reads commands from descriptor 3 and answers on 4: our ends are its standard ones until here.
    command.args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null"]).arg(&program).args(FLAGS);
    command.arg(format!("--user-data-dir={}", profile.path().display()));
    command.arg(format!("--window-size={},{}", launch.window.0, launch.window.1));
    command.arg(format!("--proxy-server=http://127.0.0.1:{proxy}")).arg("--proxy-bypass-list=<-loopback>");
    if launch.headless {
        command.arg("--headless=new");
    }
    if !launch.sandbox {
        command.arg("--no-sandbox");
    }
    command.arg("about:blank").process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failed(format!("{}: {error}", program.display())))?;
    let words = listen(&mut child);
    let pipes = child.stdin.take().zip(child.stdout.take());
    let (input, output) = pipes.expect("both were asked for");
    let mut process = Process { child, version: String::new(), words, _profile: profile };
    let output = pipe::Receiver::from_owned_fd(OwnedFd::from(output));
    let input = pipe::Sender::from_owned_fd(OwnedFd::from(input));
    let broken = |error: std::io::Error| failed(format!("its pipes: {error}"));
    let cdp = Cdp::new(output.map_err(broken)?, input.map_err(broken)?);
    let version = cdp.call_within::<Version>(None, "Browser.getVersion", json!({}), launch.time).await;
    match version {
        Ok(version) => process.version = version.product,
        Err(error) => return Err(failed(process.last_words(&error))),
    }
    Ok((process, cdp))
}

/// Keeps the last words; a thread, because Chromium would stop at a full pipe.
fn listen(child: &mut Child) -> Arc<Mutex<Vec<u8>>> {
    const BYTES_MAX: usize = 8 << 10;
    let words = Arc::new(Mutex::new(Vec::new()));
    let kept = words.clone();
    if let Some(mut stderr) = child.stderr.take() {
        std::thread::spawn(move || {
            let mut chunk = [0; 1024];
            while let Ok(count @ 1..) = stderr.read(&mut chunk) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&chunk[..count]);
                let surplus = kept.len().saturating_sub(BYTES_MAX);
                kept.drain(..surplus);
            }
        });
    }
    words
}

impl Process {
    /// Why it does not answer, in words of its own where it left any.
    fn last_words(&mut self, error: &Error) -> String {
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        let words = String::from_utf8_lossy(&words).into_owned();
        if words.contains("without --no-sandbox is not supported") || words.contains("No usable sandbox") {
            return "its sandbox cannot be had here (root, or a container); set sandbox = false if you \
                    trust the pages, or run it as another user"
                .to_owned();
        }
        let noise = |line: &&str| !line.trim().is_empty() && !line.contains("dbus");
        let last: Vec<&str> = words.lines().filter(noise).rev().take(3).collect();
        if last.is_empty() {
            error.to_string()
        } else {
            last.into_iter().rev().collect::<Vec<_>>().join(" | ")
        }
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The shell replaced itself, so the group is Chromium and all its own processes.
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // What has ended already needs no signal.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        drop(self.child.wait());
    }
}
