//! The process that serves: a gated host and the same engine ungated, on two ports.

use std::io::{BufRead as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use loyal_access::redemption::Cycle;
use loyal_protocol::devnet::Store;
use loyal_roles::host::gateway::{self, Source};
use loyal_roles::host::keeper::{self, Keeper};
use loyal_roles::host::limits::Limits;
use loyal_roles::host::{self, Drain, Settings};
use serde_json::{Value, json};

use super::engine::{self, Held};
use super::measure::Watch;
use super::options::Options;
use super::town::{Town, key};
use super::volley::Site;

/// Serves until its standard input ends; answers a line of JSON to each line that comes in.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let callers = options.number("callers", 64)?;
    let folder = tempfile::tempdir()?;
    let clock = Watch::new();
    // On the disk, so that the memory of this process is the host's.
    let store = Store::open(&folder.path().join("chain"))?;
    let town = Town::open(store, callers, Arc::new(clock))?;
    for number in 0..callers {
        town.fund(number)?;
    }
    let (gated, open) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    let site = site(&town, gated.local_addr()?.port(), open.local_addr()?.port())?;
    let gate = town.gate(folder.path(), &format!("http://127.0.0.1:{}/v1", site.gated))?;
    let (drain, held) = (Drain::default(), Arc::new(Held::default()));
    let cycle = Cycle { every: Duration::from_secs(3_600), amount: u128::MAX };
    let keeper = Keeper::new(Arc::clone(&gate), key("host"), cycle);
    let watch = drain.clone();
    let keeping = std::thread::spawn(move || {
        keeper::run(keeper, &clock, &watch, &mut |turn| {
            for failed in &turn.failed {
                let _ = writeln!(std::io::stderr(), "keeper: {failed}");
            }
        });
    });
    let (routes, watch, told) = (engine::routes(&held), drain.clone(), Arc::clone(&gate));
    let gated = std::thread::spawn(move || {
        // No limit of a client: all of them are one address here.
        let settings = Settings { limits: Limits::NONE, ..Settings::default() };
        gateway::run(gated, (told, Source::Routes(routes)), settings, Arc::new(clock), &watch)
    });
    let (routes, watch) = (engine::routes(&held), Drain::default());
    let opened = watch.clone();
    let open = std::thread::spawn(move || host::run_routes(open, routes, &Settings::default(), &opened));
    println!("{}", serde_json::to_string(&site)?);
    for line in std::io::stdin().lock().lines() {
        let answer = match line?.as_str() {
            "held" => json!(held.count()),
            "release" => {
                held.release();
                json!(true)
            }
            "tally" => {
                let admission = gate.tally().admission();
                json!({ "counts": gate.tally().counts(), "buckets": admission.buckets, "seconds": admission.seconds })
            }
            _ => Value::Null,
        };
        println!("{answer}");
    }
    drain.begin();
    watch.begin();
    let _ = keeping.join();
    gated.join().ok().context("the gated host panicked")??;
    open.join().ok().context("the open host panicked")??;
    Ok(())
}

pub(crate) fn site(town: &Town, gated: u16, open: u16) -> anyhow::Result<Site> {
    let channel = town.channel(super::town::caller(0).address())?;
    Ok(Site {
        chain_id: town.client.chain_id(),
        registry: town.at.registry,
        channel: town.at.channel,
        asset: town.at.currency,
        till: channel.till(),
        signer: key("signer").address(),
        model: town.model,
        hosting: town.hosting,
        now: town.client.time()?,
        gated,
        open,
        process: std::process::id(),
    })
}

/// A process of this program that answers lines by lines.
pub(crate) struct Process {
    child: Child,
    ask: Option<ChildStdin>,
    answers: std::io::Lines<std::io::BufReader<std::process::ChildStdout>>,
}

impl Process {
    /// Starts this program again, with these arguments.
    pub(crate) fn start(arguments: &[String]) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let ask = child.stdin.take();
        let answers = child.stdout.take().context("no output")?;
        Ok(Self { child, ask, answers: std::io::BufReader::new(answers).lines() })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it says.
    pub(crate) fn hear(&mut self) -> anyhow::Result<String> {
        Ok(self.answers.next().context("it ended; see above")??)
    }

    /// Says a line and hears one.
    pub(crate) fn ask(&mut self, line: &str) -> anyhow::Result<String> {
        self.say(line)?;
        self.hear()
    }

    pub(crate) fn say(&mut self, line: &str) -> anyhow::Result<()> {
        writeln!(self.ask.as_mut().context("it is ending")?, "{line}")?;
        Ok(())
    }
}

/// It ends when its input does.
impl Drop for Process {
    fn drop(&mut self) {
        drop(self.ask.take());
        let _ = self.child.wait();
    }
}

/// A host in a process of its own.
pub(crate) fn start(callers: usize) -> anyhow::Result<(Process, Site)> {
    let mut process = Process::start(&["serve", "--callers", &callers.to_string()].map(str::to_owned))?;
    let site = serde_json::from_str(&process.hear()?)?;
    Ok((process, site))
}
