//! The one way out: a small proxy in our process that Chromium must take, with an allow-list, and addresses checked and pinned.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use loyal_types::Origin;
use loyal_types::origin::is_public;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::{Error, Result};

const HEAD_BYTES_MAX: usize = 64 << 10;
const CONNECT_TIME: Duration = Duration::from_secs(15);

/// Which machines a browser may reach.
#[derive(Debug, Clone)]
pub struct Reach {
    /// These domains and those below them; all, where empty.
    pub domains: Vec<String>,
    /// Machines of this one and of private networks too.
    pub local: bool,
    /// Bytes that may come in.
    pub bytes_max: u64,
}

impl Default for Reach {
    fn default() -> Self {
        Self { domains: Vec::new(), local: false, bytes_max: 4 << 30 }
    }
}

impl Reach {
    /// These domains only, and those below them.
    #[must_use]
    pub fn only(mut self, domains: &[&str]) -> Self {
        self.domains = domains.iter().map(|domain| domain.to_ascii_lowercase()).collect();
        self
    }

    /// Private machines too: for tests, and for a network the operator owns.
    #[must_use]
    pub const fn with_local(mut self) -> Self {
        self.local = true;
        self
    }

    /// Why a domain may not be asked.
    pub(crate) fn fault(&self, domain: &str) -> Option<String> {
        let below = |allowed: &String| {
            domain == allowed || domain.strip_suffix(allowed.as_str()).is_some_and(|rest| rest.ends_with('.'))
        };
        let listed = self.domains.is_empty() || self.domains.iter().any(below);
        (!listed).then(|| format!("{domain} is not among the allowed domains ({})", self.domains.join(", ")))
    }
}

/// A proxy that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Egress {
    pub(crate) port: u16,
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    reach: Reach,
    bytes: AtomicU64,
    counts: Mutex<BTreeMap<String, Count>>,
}

/// How a domain was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Connections made.
    pub allowed: u64,
    /// Connections refused: none of them left this machine.
    pub denied: u64,
}

/// The most domains that are counted.
const DOMAIN_COUNT_MAX: usize = 10_000;

impl Egress {
    pub(crate) async fn start(reach: Reach) -> Result<Self> {
        let failed = |error: std::io::Error| Error::Launch { why: format!("its proxy: {error}") };
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let state = Arc::new(State { reach, bytes: AtomicU64::new(0), counts: Mutex::default() });
        let task = tokio::spawn(accept(listener, state.clone()));
        Ok(Self { port, state, task })
    }

    /// How often each domain was reached and refused.
    pub(crate) fn domains(&self) -> Domains {
        Domains(self.state.clone())
    }
}

/// How often each domain was asked for, to be read while a browser works and after it has ended.
#[derive(Debug, Clone)]
pub struct Domains(Arc<State>);

impl Domains {
    /// The counts so far.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, Count> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Egress {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = state.clone();
        connections.spawn(async move {
            // A connection that breaks is the page's affair; Chromium tells it.
            drop(serve(stream, &state).await);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(mut client: TcpStream, state: &State) -> std::io::Result<()> {
    let Some((head, rest)) = read_head(&mut client).await? else { return Ok(()) };
    let mut words = head.split("\r\n").next().unwrap_or_default().split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let address = if method == "CONNECT" { format!("https://{target}") } else { target.to_owned() };
    let Ok(origin) = address.parse::<Origin>() else {
        return refuse(&mut client, "400 Bad Request", "no address of the web").await;
    };
    let mut server = match state.connect(&origin).await {
        Ok(server) => server,
        Err((status, why)) => return refuse(&mut client, status, &why).await,
    };
    if method == "CONNECT" {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
        server.write_all(&rest).await?;
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        tokio::try_join!(copy(from_client, to_server, None), copy(from_server, to_client, Some(state)),)?;
        return Ok(());
    }
    exchange(&mut client, &mut server, (&head, &rest), state).await
}

/// One plain request and its answer; then both connections end, so that the next request is checked anew.
async fn exchange(
    client: &mut TcpStream,
    server: &mut TcpStream,
    (head, rest): (&str, &[u8]),
    state: &State,
) -> std::io::Result<()> {
    server.write_all(single_request(head).as_bytes()).await?;
    let chunked = header(head, "transfer-encoding").is_some();
    let length: u64 = header(head, "content-length").and_then(|digits| digits.parse().ok()).unwrap_or(0);
    let length = if chunked { u64::MAX } else { length };
    let (mut from_client, to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let body = async {
        let first = rest.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        to_server.write_all(&rest[..first]).await?;
        pump((&mut from_client).take(length - first as u64), &mut to_server, None).await?;
        // Nothing more may come: the end, when the page lost interest, or a request that was not checked.
        from_client.read(&mut [0]).await.map(|_| ())
    };
    let answer = async {
        let mut to_client = to_client;
        loop {
            let Some((head, rest)) = read_head(&mut from_server).await? else { return Ok(()) };
            let interim = head.split(' ').nth(1).is_some_and(|status| status.starts_with('1'));
            if interim {
                // What follows an interim answer belongs to the final one.
                to_client.write_all(head.as_bytes()).await?;
                if rest.is_empty() {
                    continue;
                }
            }
            let head = if interim { String::new() } else { single_answer(&head) };
            to_client.write_all(head.as_bytes()).await?;
            to_client.write_all(&rest).await?;
            return copy(&mut from_server, &mut to_client, Some(state)).await;
        }
    };
    tokio::select! {
        done = answer => done,
        ended = body => ended,
    }
}

/// Copies to the end, and passes the end on.
async fn copy(
    from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    counted: Option<&State>,
) -> std::io::Result<()> {
    pump(from, &mut to, counted).await?;
    to.shutdown().await
}

/// Copies to the end; what comes in counts against the bound.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    counted: Option<&State>,
) -> std::io::Result<()> {
    let mut chunk = vec![0; 32 << 10];
    loop {
        let count = from.read(&mut chunk).await?;
        if count == 0 {
            return Ok(());
        }
        if let Some(state) = counted {
            let before = state.bytes.fetch_add(count as u64, Ordering::Relaxed);
            if before + count as u64 > state.reach.bytes_max {
                return Err(std::io::Error::other("more bytes than this run may load"));
            }
        }
        to.write_all(&chunk[..count]).await?;
    }
}

/// A message's head, with its empty line, and the bytes read beyond it; none where nothing came.
async fn read_head(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let count = from.read(&mut chunk).await?;
        if count == 0 {
            return Ok(None);
        }
        let from = bytes.len().saturating_sub(3);
        bytes.extend_from_slice(&chunk[..count]);
        if let Some(end) = bytes[from..].windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(from + end + 4);
            // Bytes of Latin-1 stay what they are only within ASCII; heads of browsers and servers are.
            return Ok(Some((String::from_utf8_lossy(&bytes).into_owned(), rest)));
        }
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(std::io::Error::other("a head larger than 64 KiB"));
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n").skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The request as a server of its own wants it: a path instead of an address, and no second one after it.
fn single_request(head: &str) -> String {
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let mut words = first.splitn(3, ' ');
    let (method, address) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = address.splitn(4, '/').nth(3).unwrap_or_default();
    let first = format!("{method} /{path} {}", words.next().unwrap_or("HTTP/1.1"));
    with_close(&first, lines)
}

fn single_answer(head: &str) -> String {
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default().to_owned();
    with_close(&first, lines)
}

fn with_close<'a>(first: &str, lines: impl Iterator<Item = &'a str>) -> String {
    let of_connection = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        !["connection", "proxy-connection", "keep-alive"].contains(&name.as_str()) && !line.is_empty()
    };
    let kept: Vec<&str> = lines.filter(of_connection).collect();
    let separator = if kept.is_empty() { "" } else { "\r\n" };
    format!("{first}\r\n{}{separator}Connection: close\r\n\r\n", kept.join("\r\n"))
}

async fn refuse(client: &mut TcpStream, status: &str, why: &str) -> std::io::Result<()> {
    let length = why.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    client.write_all(head.as_bytes()).await?;
    client.write_all(why.as_bytes()).await?;
    client.shutdown().await
}

impl State {
    async fn connect(&self, origin: &Origin) -> Result<TcpStream, (&'static str, String)> {
        let refused = |why: String| {
            self.count(origin, |count| count.denied += 1);
            Err(("403 Forbidden", why))
        };
        if let Some(why) = self.reach.fault(&origin.domain) {
            return refused(why);
        }
        let unreachable = |why: String| ("502 Bad Gateway", why);
        let found = tokio::net::lookup_host((origin.domain.as_str(), origin.port));
        let found = tokio::time::timeout(CONNECT_TIME, found).await;
        let found = found.map_err(|_| unreachable(format!("{}: no answer from DNS", origin.domain)))?;
        let found: Vec<SocketAddr> =
            found.map_err(|error| unreachable(format!("{}: {error}", origin.domain)))?.collect();
        let allowed: Vec<_> =
            found.into_iter().filter(|address| self.reach.local || is_public(address.ip())).collect();
        if allowed.is_empty() {
            return refused(format!("{} is not on the public internet", origin.domain));
        }
        self.count(origin, |count| count.allowed += 1);
        let stream = tokio::time::timeout(CONNECT_TIME, TcpStream::connect(&allowed[..])).await;
        let stream = stream.map_err(|_| unreachable(format!("{origin}: no connection in time")))?;
        let stream = stream.map_err(|error| unreachable(format!("{origin}: {error}")))?;
        drop(stream.set_nodelay(true));
        Ok(stream)
    }

    fn count(&self, origin: &Origin, add: impl FnOnce(&mut Count)) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() < DOMAIN_COUNT_MAX || counts.contains_key(&origin.domain) {
            add(counts.entry(origin.domain.clone()).or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_rewritten_for_one_exchange() {
        let request = "GET http://a.example:81/x/y?z HTTP/1.1\r\nHost: a.example:81\r\nProxy-Connection: keep-alive\r\n\r\n";
        let expected = "GET /x/y?z HTTP/1.1\r\nHost: a.example:81\r\nConnection: close\r\n\r\n";
        assert_eq!(single_request(request), expected);
        let bare = "GET http://a.example HTTP/1.1\r\n\r\n";
        assert_eq!(single_request(bare), "GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
        let answer = "HTTP/1.1 200 OK\r\nconnection: keep-alive\r\nKeep-Alive: timeout=5\r\nX: y\r\n\r\n";
        assert_eq!(single_answer(answer), "HTTP/1.1 200 OK\r\nX: y\r\nConnection: close\r\n\r\n");
    }

    #[test]
    fn domains_allow_those_below_them() {
        let reach = Reach::default().only(&["Example.com"]);
        for (domain, allowed) in [
            ("example.com", true),
            ("www.example.com", true),
            ("badexample.com", false),
            ("example.com.evil.org", false),
        ] {
            assert_eq!(reach.fault(domain).is_none(), allowed, "{domain}");
        }
        assert!(Reach::default().fault("any.example").is_none());
    }
}
