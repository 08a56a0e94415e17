//! A connection to a foreign server of tools: over the pipes of a process, or over HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rmcp::model::{ClientCapabilities, ClientConfig, Implementation, PaginatedRequestParams};
use rmcp::service::{NotificationContext, Peer, RunningService};
use rmcp::transport::IntoTransport;
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::streamable_http_client::{
    StreamableHttpClientTransport, StreamableHttpClientTransportConfig,
};
use rmcp::{ClientHandler, RoleClient, ServiceExt as _};
use rustix::process::{Pid, Signal};
use tokio::net::unix::pipe;

use super::http::Http;
use super::pins::{self, Pins, Standing};
use super::remote::{self, Remote};
use crate::client::Reach;
use crate::tool::Tool;
use crate::{Error, Result};

/// How long a handshake or a page of the list may take.
const TIME: Duration = Duration::from_secs(30);
/// Bytes of one message.
pub(super) const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Tools of one server, and pages of its list.
const TOOL_COUNT_MAX: usize = 256;
const PAGE_COUNT_MAX: usize = 64;

/// A foreign server of tools. Its tools keep it open; a process ends with the last of them.
#[derive(Debug, Clone)]
pub struct Connection(Arc<Shared>);

/// What a connection and its tools share.
pub(super) struct Shared {
    pub(super) name: String,
    peer: Peer<RoleClient>,
    /// Set when the server says that its list changed.
    changed: Arc<AtomicBool>,
    /// The hash of each tool as it was last listed, by the server's name for it.
    listed: Mutex<BTreeMap<String, String>>,
    /// Ends the conversation, then the process.
    _running: RunningService<RoleClient, Client>,
    _process: Option<Process>,
}

/// What a server offers.
#[derive(Default)]
pub struct Listed {
    /// Tools that may be called.
    pub tools: Vec<Arc<dyn Tool>>,
    /// Tools that may not, and why.
    pub refused: Vec<Refused>,
}

/// A tool that is not offered to a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The server's name for it; its first 80 characters.
    pub name: String,
    /// Why.
    pub why: String,
}

impl Connection {
    /// Starts a server and talks to it over its pipes. The command's environment is the caller's affair: what a server
    /// does not need, it should not get. `name` is `[a-z][a-z0-9_]*`.
    ///
    /// # Errors
    /// [`Error::Server`] where it does not start, or does not speak the protocol.
    pub async fn start(name: &str, mut command: Command) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let failed = |why: String| Error::Server { what: "MCP server", why: format!("{program}: {why}") };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (input, output) = pipes.expect("both were asked for");
        let process = Process(child);
        let input =
            pipe::Sender::from_owned_fd(OwnedFd::from(input)).map_err(|error| failed(error.to_string()))?;
        let output = pipe::Receiver::from_owned_fd(OwnedFd::from(output))
            .map_err(|error| failed(error.to_string()))?;
        let transport = AsyncRwTransport::new(output, input).with_max_line_length(MESSAGE_BYTES_MAX);
        Self::open(name, transport, Some(process)).await.map_err(failed)
    }

    /// Talks to a server over HTTP (the transport "streamable HTTP"). Redirects are not followed; `key` goes along as a
    /// bearer's.
    ///
    /// # Errors
    /// [`Error::BadAddress`], or [`Error::Server`] where nobody speaks the protocol there.
    pub async fn connect(name: &str, url: &str, reach: Reach, key: Option<&str>) -> Result<Self> {
        let failed = |why: String| Error::Server { what: "MCP server", why: format!("{url}: {why}") };
        crate::outbound::split(url)?;
        let mut config = StreamableHttpClientTransportConfig::with_uri(url);
        if let Some(key) = key {
            config = config.auth_header(key.trim());
        }
        let transport = StreamableHttpClientTransport::with_client(Http(reach), config);
        Self::open(name, transport, None).await.map_err(failed)
    }

    async fn open<T, E, A>(name: &str, transport: T, process: Option<Process>) -> Result<Self, String>
    where
        T: IntoTransport<RoleClient, E, A>,
        E: std::error::Error + Send + Sync + 'static,
    {
        if !crate::tool::is_name(name) {
            return Err(format!("{name:?} is no name of a server: [a-z][a-z0-9_]*"));
        }
        let changed = Arc::new(AtomicBool::new(false));
        let running = tokio::time::timeout(TIME, Client(changed.clone()).serve(transport)).await;
        let running = running.map_err(|_| "no handshake in time".to_owned())?;
        let running = running.map_err(|error| clipped(&error.to_string()))?;
        let shared = Shared {
            name: name.to_owned(),
            peer: running.peer().clone(),
            changed,
            listed: Mutex::default(),
            _running: running,
            _process: process,
        };
        Ok(Self(Arc::new(shared)))
    }

    /// The server's tools, each as `name__tool`. A new one is approved by being asked for here, and pinned; one whose
    /// description is another than the pinned one is refused until [`Pins::forget`]. What a server says of the effect of
    /// a tool is not believed: each of them writes, but for those in `reading`, named as the server names them.
    ///
    /// # Errors
    /// [`Error::Server`] where the server does not list them.
    pub async fn tools(&self, pins: &mut Pins, reading: &[&str]) -> Result<Listed> {
        let mut listed = Listed::default();
        let mut names = BTreeSet::new();
        for tool in self.0.list().await? {
            let refuse =
                |why: &str| Refused { name: tool.name.chars().take(80).collect(), why: why.to_owned() };
            let card = match remote::card(&self.0.name, &tool, reading.contains(&&*tool.name)) {
                Ok(card) => card,
                Err(why) => {
                    listed.refused.push(refuse(&why));
                    continue;
                }
            };
            if !names.insert(card.name.clone()) {
                listed.refused.push(refuse("another tool of this server has the same name here"));
                continue;
            }
            let hash = pins::hash(&tool);
            match pins.standing(&card.name, &hash) {
                Standing::Same => {}
                Standing::New => pins.approve(&card.name, &hash),
                Standing::Changed => {
                    listed.refused.push(refuse("its description is not the one that was approved"));
                    continue;
                }
            }
            let (shared, output) = (self.0.clone(), tool.output_schema.as_deref().cloned());
            listed.tools.push(Arc::new(Remote { card, name: tool.name.into_owned(), hash, output, shared }));
        }
        Ok(listed)
    }
}

impl Shared {
    pub(super) const fn peer(&self) -> &Peer<RoleClient> {
        &self.peer
    }

    /// All tools, as the server tells them now.
    async fn list(&self) -> Result<Vec<rmcp::model::Tool>> {
        let failed = |why: String| Error::Server {
            what: "MCP server",
            why: format!("{}: its tools: {why}", self.name),
        };
        // Whatever changes from here on is not in this list.
        self.changed.store(false, Ordering::SeqCst);
        let (mut tools, mut cursor) = (Vec::new(), None);
        for _ in 0..PAGE_COUNT_MAX {
            let mut asked = PaginatedRequestParams::default();
            asked.cursor = cursor;
            let page = tokio::time::timeout(TIME, self.peer.list_tools(Some(asked))).await;
            let page = page.map_err(|_| failed("no answer in time".to_owned()))?;
            let page = page.map_err(|error| failed(clipped(&error.to_string())))?;
            tools.extend(page.tools);
            if tools.len() > TOOL_COUNT_MAX {
                return Err(failed(format!("more than {TOOL_COUNT_MAX}")));
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                let hashes = tools.iter().map(|tool| (tool.name.to_string(), pins::hash(tool))).collect();
                *self.listed.lock().unwrap_or_else(PoisonError::into_inner) = hashes;
                return Ok(tools);
            }
        }
        Err(failed(format!("more than {PAGE_COUNT_MAX} pages")))
    }

    /// Whether a tool is still described as it was when a model read of it.
    pub(super) async fn is_same(&self, name: &str, hash: &str) -> Result<bool> {
        if self.changed.load(Ordering::SeqCst) {
            self.list().await?;
        }
        Ok(self
            .listed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .is_some_and(|now| now == hash))
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("name", &self.name).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Listed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.tools.iter().map(|tool| &tool.card().name).collect();
        f.debug_struct("Listed").field("tools", &names).field("refused", &self.refused).finish()
    }
}

/// What a server says of its failure, in a line.
pub(super) fn clipped(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(400).collect()
}

/// Our side: it offers servers nothing, neither our model nor our user nor our folders.
pub(super) struct Client(Arc<AtomicBool>);

impl ClientHandler for Client {
    fn get_info(&self) -> ClientConfig {
        let us = Implementation::new("loyal", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(ClientCapabilities::default(), us)
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A server's process, ended with the value, and all it started with it.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            // What has ended already needs no signal.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        drop(self.0.wait());
    }
}
