//! What an agent is given to work with, as flags of the command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use loyal_agent::client::Reach;
use loyal_agent::mcp::{Connection, Pins};
use loyal_agent::python::Program;
use loyal_agent::secret::Secrets;
use loyal_agent::tool::{
    Folder, Grant, Known, Searx, Toolbox, Web, calculate, call_agent, python, read_page, search,
};
use loyal_types::Origin;
use serde_json::json;

use crate::{clock::SystemClock, env, output};

/// Tools. Nothing is given that is not asked for, but for a calculator.
#[derive(Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Tools")]
pub(crate) struct Toolset {
    /// Let it read pages of the web.
    #[arg(long)]
    web: bool,
    /// Let it search the web with the SearXNG at this address, whose JSON format must be switched on.
    #[arg(long, value_name = "URL")]
    search: Option<String>,
    /// Let it use the files of this folder.
    #[arg(long, value_name = "FOLDER")]
    files: Option<PathBuf>,
    /// Let it run Python, in a process without files and network.
    #[arg(long)]
    python: bool,
    /// Let it ask another agent, by this name. May be repeated.
    #[arg(long, value_name = "NAME=URL")]
    agent: Vec<String>,
    /// Let it use the tools of an MCP server: a command to start, or an address. May be repeated.
    #[arg(long, value_name = "NAME=COMMAND|URL")]
    mcp: Vec<String>,
    /// A tool of an MCP server that changes nothing, such as notes__list; the others count as changing something. May be
    /// repeated.
    #[arg(long, value_name = "TOOL")]
    mcp_reads: Vec<String>,
    /// Keep the approved descriptions of MCP tools in this file: one that changes later is refused.
    #[arg(long, value_name = "FILE")]
    mcp_pins: Option<PathBuf>,
    /// Approve anew what the server of this name says of its tools. May be repeated.
    #[arg(long, value_name = "NAME", requires = "mcp_pins")]
    mcp_approve: Vec<String>,
    /// Let it send a request of HTTP, with a method, headers and a body, to this domain and those below it. May be
    /// repeated.
    #[arg(long, value_name = "DOMAIN")]
    http: Vec<String>,
    /// A secret, read from a file, that --http may send to this origin alone; the model sees {{secret:NAME}}. May be
    /// repeated.
    #[arg(long, value_name = "NAME=ORIGIN=FILE")]
    secret: Vec<String>,
    /// Allow calls of a tool that changes something, without further questions. May be repeated.
    #[arg(long, value_name = "TOOL")]
    grant: Vec<String>,
}

impl Toolset {
    /// Whether nothing was asked for.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Makes the tools, and starts the servers that some of them need.
    pub(crate) async fn open(&self) -> anyhow::Result<Toolbox> {
        let secrets = secrets(&self.secret)?;
        let mut tools = Toolbox::new().with_all([calculate()]).with_secrets(secrets.clone());
        if self.web {
            tools = tools.with_all([read_page(&Web::public())]);
        }
        if let Some(url) = &self.search {
            tools = tools.with_all([search(Arc::new(Searx::new(url)?))]);
        }
        if !self.http.is_empty() {
            let domains: Vec<&str> = self.http.iter().map(String::as_str).collect();
            tools = tools.with_all([Web::public().only(&domains).with_secrets(secrets).request()]);
        }
        if let Some(folder) = &self.files {
            tools = tools.with_all(Folder::open(folder)?.tools());
        }
        if self.python {
            tools = tools.with_all([python(interpreter()?, Arc::new(SystemClock))]);
        }
        if !self.agent.is_empty() {
            let known = self.agent.iter().map(|pair| {
                let (name, url) = named(pair, "--agent")?;
                Ok(Known { name: name.to_owned(), url: url.to_owned() })
            });
            let known = known.collect::<anyhow::Result<Vec<_>>>()?;
            let (clock, seed) = (Arc::new(SystemClock), rand::random());
            tools = tools.with_all([call_agent(known, Reach::Local, clock, seed)]);
        }
        tools = self.servers(tools).await?;
        for tool in &self.grant {
            ensure!(
                tools.cards().any(|card| card.name == *tool),
                "--grant {tool}: there is no such tool; there are: {}",
                tools.cards().map(|card| card.name.as_str()).collect::<Vec<_>>().join(", ")
            );
            let grant = Grant { tool: tool.clone(), arguments: json!({}), call_count_max: u32::MAX };
            tools = tools.with_grant(grant);
        }
        Ok(tools)
    }

    async fn servers(&self, mut tools: Toolbox) -> anyhow::Result<Toolbox> {
        let mut pins = match &self.mcp_pins {
            Some(path) if path.exists() => {
                let text = fs::read(path).with_context(|| path.display().to_string())?;
                serde_json::from_slice(&text).with_context(|| path.display().to_string())?
            }
            _ => Pins::default(),
        };
        self.mcp_approve.iter().for_each(|name| pins.forget(name));
        for server in &self.mcp {
            let (name, place) = named(server, "--mcp")?;
            let connection = if place.starts_with("http://") || place.starts_with("https://") {
                Connection::connect(name, place, Reach::Local, None).await?
            } else {
                Connection::start(name, command(place)?).await?
            };
            let reads: Vec<&str> = self
                .mcp_reads
                .iter()
                .filter_map(|tool| tool.strip_prefix(name)?.strip_prefix("__"))
                .collect();
            let listed = connection.tools(&mut pins, &reads).await?;
            for refused in &listed.refused {
                output::say(&format!("{name}: the tool {:?} is left out: {}", refused.name, refused.why));
            }
            tools = tools.with_all(listed.tools);
        }
        if let Some(path) = &self.mcp_pins {
            write(path, &serde_json::to_vec_pretty(&pins)?)?;
        }
        Ok(tools)
    }
}

/// The interpreter of Python: this very program, called another way.
pub(crate) fn interpreter() -> anyhow::Result<Program> {
    let path = env::program().context("this program cannot find itself, and so cannot run Python")?;
    Ok(Program::new(path, &["python-worker"]))
}

fn named<'a>(pair: &'a str, flag: &str) -> anyhow::Result<(&'a str, &'a str)> {
    let pair = pair.split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty());
    pair.with_context(|| format!("{flag} takes a name, = and what it stands for"))
}

/// The command of a server: words between spaces. It gets the environment a program needs, and none of our secrets.
fn command(line: &str) -> anyhow::Result<Command> {
    let mut words = line.split_whitespace();
    let Some(program) = words.next() else { bail!("--mcp: the command is empty") };
    let mut command = Command::new(program);
    command.args(words).env_clear().envs(env::basic());
    Ok(command)
}

/// Secrets from files.
pub(crate) fn secrets(all: &[String]) -> anyhow::Result<Secrets> {
    let mut secrets = Secrets::default();
    for given in all {
        let (name, rest) = named(given, "--secret")?;
        let (origin, path) = named(rest, "--secret NAME")?;
        let origin: Origin = origin.parse()?;
        let value = fs::read_to_string(path).with_context(|| path.to_owned())?;
        secrets = secrets.with(name, value.trim(), origin)?;
    }
    Ok(secrets)
}

/// Writes a file whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(|| folder.display().to_string())?;
    std::io::Write::write_all(&mut file, bytes)?;
    file.persist(path).with_context(|| path.display().to_string())?;
    Ok(())
}
