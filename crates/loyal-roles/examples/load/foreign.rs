//! LiteLLM's proxy in front of the same engine: installed by whoever measures, started and stopped here.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::measure::family;

/// The key that it checks.
pub(crate) const KEY: &str = "sk-of-the-measurement";
/// How long it may take to start.
const START_MAX: Duration = Duration::from_secs(180);

/// A proxy that runs.
pub(crate) struct Proxy {
    child: Child,
    pub(crate) port: u16,
    _folder: tempfile::TempDir,
}

impl Proxy {
    /// Starts the program `litellm` in front of the engine at `engine`, with so many workers.
    pub(crate) fn start(program: &Path, engine: u16, workers: usize) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("config.yaml");
        std::fs::write(
            &config,
            format!(
                "model_list:\n  - model_name: \"null\"\n    litellm_params:\n      model: openai/null\n      \
                 api_base: http://127.0.0.1:{engine}/v1\n      api_key: none\nlitellm_settings:\n  \
                 num_retries: 0\n  telemetry: false\ngeneral_settings:\n  master_key: {KEY}\n"
            ),
        )?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let output = std::fs::File::create(folder.path().join("output"))?;
        let mut command = Command::new(program);
        command.arg("--config").arg(&config).args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        command.args(["--num_workers", &workers.to_string()]);
        // Its own advice for production: no debug, no banner.
        command.env("LITELLM_LOG", "ERROR").env("LITELLM_MODE", "PRODUCTION").env("PYTHONUNBUFFERED", "1");
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| program.display().to_string())?;
        let mut proxy = Self { child, port, _folder: folder };
        proxy.wait()?;
        Ok(proxy)
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        let url = format!("http://127.0.0.1:{}/health/liveliness", self.port);
        while ureq::get(&url).call().is_err() {
            let output = || std::fs::read_to_string(self._folder.path().join("output")).unwrap_or_default();
            ensure!(self.child.try_wait()?.is_none(), "LiteLLM ended: {}", output());
            ensure!(start.elapsed() < START_MAX, "LiteLLM does not start: {}", output());
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// Its processes.
    pub(crate) fn processes(&self) -> Vec<u32> {
        family(self.child.id())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let processes = self.processes();
        let _ = Command::new("kill").args(processes.iter().map(u32::to_string)).status();
        let _ = self.child.wait();
    }
}
