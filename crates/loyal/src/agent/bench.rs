//! `loyal agent bench`: how fast an agent streams, how soon it begins, and what idle streams cost it.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use loyal_agent::session::Request;
use loyal_agent::ulid::Ulids;
use loyal_agent::{Query, Session};
use loyal_types::{Clock as _, Origin};
use rand::SeedableRng as _;
use rand_chacha::ChaCha12Rng;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::{clock::SystemClock, output};

/// Arguments of `loyal agent bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The agent must count on request, as `loyal agent serve --echo` does: asked \"count 1000\" it emits a thousand chunks, asked \
\"wait\" it emits one event and then nothing.

Examples:
  loyal agent bench http://127.0.0.1:8000 --connections 100 --events 10000
  loyal agent bench http://127.0.0.1:8000 --connections 10000 --idle --pid 4711")]
pub(crate) struct Args {
    /// The agent's address; plain HTTP.
    url: String,
    /// Streams at the same time.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    connections: usize,
    /// Chunks on each.
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    events: u64,
    /// Measure the memory of streams that say nothing, instead of speed.
    #[arg(long, requires = "pid")]
    idle: bool,
    /// The process that serves, to read its memory (Linux).
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
}

/// What one stream saw.
struct Seen {
    events: u64,
    first: Duration,
}

/// Measures.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(args.connections > 0, "at least one connection is wanted");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async { if args.idle { idle(args).await } else { speed(args).await } })
}

/// Where to ask, and the bytes to ask with.
fn question(args: &Args, prompt: &str) -> anyhow::Result<(String, Vec<u8>)> {
    let origin: Origin = args.url.parse()?;
    ensure!(!origin.is_secure(), "{}: the bench speaks plain HTTP", args.url);
    let address = format!("{}:{}", origin.domain, origin.port);
    let mut ids = Ulids::new(Arc::new(SystemClock), ChaCha12Rng::from_seed(rand::random()));
    let session = Session::new("bench", ids.draw(), ids.draw(), Vec::new());
    let query = Query { id: ids.draw(), prompt: prompt.to_owned() };
    let body = serde_json::to_string(&Request { query, session: Some(session) })?;
    let head = format!(
        "POST /assist HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    Ok((address, (head + &body).into_bytes()))
}

async fn speed(args: &Args) -> anyhow::Result<()> {
    let (address, question) = question(args, &format!("count {}", args.events))?;
    let question = Arc::new(question);
    let ready = Arc::new(Barrier::new(args.connections + 1));
    let mut streams = JoinSet::new();
    for _ in 0..args.connections {
        let (address, question, ready) = (address.clone(), question.clone(), ready.clone());
        streams.spawn(async move {
            let connected = TcpStream::connect(&address).await;
            ready.wait().await;
            read(connected?, &question).await
        });
    }
    ready.wait().await;
    let began = SystemClock.elapsed();
    let mut seen = Vec::new();
    while let Some(stream) = streams.join_next().await {
        seen.push(stream?.context("a stream failed")?);
    }
    let took = SystemClock.elapsed() - began;
    let events: u64 = seen.iter().map(|seen| seen.events).sum();
    // Each stream also closes its text, and says done.
    let wanted = (args.events + 2) * args.connections as u64;
    ensure!(events == wanted, "{events} events came, not {wanted}: does the agent count?");
    let mut firsts: Vec<_> = seen.iter().map(|seen| seen.first).collect();
    firsts.sort_unstable();
    let at = |share: f64| firsts[((firsts.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let rate = events as f64 / took.as_secs_f64();
    if args.json {
        return output::json(&json!({
            "events": events, "seconds": took.as_secs_f64(), "events_per_second": rate,
            "first_event_ms": { "p50": at(0.5), "p99": at(0.99) }, "rss_bytes": rss(args.pid).ok(),
        }));
    }
    let mut rows = vec![
        ("events", output::grouped(usize::try_from(events)?)),
        ("seconds", format!("{:.2}", took.as_secs_f64())),
        ("events a second", output::grouped(rate as usize)),
        ("first event, median", format!("{:.1} ms", at(0.5))),
        ("first event, 99 of 100", format!("{:.1} ms", at(0.99))),
    ];
    if args.pid.is_some() {
        rows.push(("memory of the server", output::size(rss(args.pid)?)));
    }
    output::pairs(&rows)
}

/// Asks, and counts the events of the answer without reading what they say.
async fn read(mut stream: TcpStream, question: &[u8]) -> anyhow::Result<Seen> {
    const MARK: &[u8] = b"\ndata: ";
    stream.set_nodelay(true)?;
    let began = SystemClock.elapsed();
    stream.write_all(question).await?;
    let mut buffer = vec![0; 64 << 10];
    let (mut held, mut seen) = (0, Seen { events: 0, first: Duration::ZERO });
    loop {
        let length = stream.read(&mut buffer[held..]).await?;
        if length == 0 {
            return Ok(seen);
        }
        let end = held + length;
        let found = buffer[..end].windows(MARK.len()).filter(|window| *window == MARK).count() as u64;
        if seen.events == 0 && found > 0 {
            seen.first = SystemClock.elapsed() - began;
        }
        seen.events += found;
        // A mark may be cut in two.
        held = end.min(MARK.len() - 1);
        buffer.copy_within(end - held..end, 0);
    }
}

async fn idle(args: &Args) -> anyhow::Result<()> {
    let (address, question) = question(args, "wait")?;
    let before = rss(args.pid)?;
    let mut streams = Vec::with_capacity(args.connections);
    for index in 0..args.connections {
        let opened = async {
            let mut stream = TcpStream::connect(&address).await?;
            stream.write_all(&question).await?;
            let mut buffer = [0; 4096];
            let mut seen = Vec::new();
            while !seen.windows(6).any(|window| window == b"data: ") {
                let length = stream.read(&mut buffer).await?;
                if length == 0 {
                    bail!("the agent closed the stream");
                }
                seen.extend_from_slice(&buffer[..length]);
            }
            Ok(stream)
        };
        let stream = opened.await.with_context(|| {
            format!(
                "stream {index} of {}: raise the bound on open files of both processes (ulimit -n)",
                args.connections
            )
        })?;
        streams.push(stream);
    }
    let after = rss(args.pid)?;
    let each = after.saturating_sub(before) / args.connections as u64;
    if args.json {
        return output::json(&json!({
            "streams": streams.len(), "rss_before_bytes": before, "rss_after_bytes": after, "bytes_per_stream": each,
        }));
    }
    output::pairs(&[
        ("idle streams", output::grouped(streams.len())),
        ("memory before", output::size(before)),
        ("memory with them", output::size(after)),
        ("for each stream", output::size(each)),
    ])
}

/// What a process holds in memory.
fn rss(pid: Option<u32>) -> anyhow::Result<u64> {
    let pid = pid.context("whose memory? say --pid")?;
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).with_context(|| path.clone())?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().context(path)?;
    Ok(kilobytes * 1024)
}
