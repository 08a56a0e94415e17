//! `loyal host run`: a hosting that answers whoever shows a credential and pays.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::U256;
use anyhow::{Context as _, ensure};
use loyal_access::Gate;
use loyal_access::books::Books;
use loyal_access::gate::{Price, Settings};
use loyal_access::redemption::Cycle;
use loyal_access::view::View;
use loyal_protocol::Asset;
use loyal_roles::host::gateway::{self, Source, Upstream};
use loyal_roles::host::keeper::{self, Keeper};
use loyal_roles::host::limits::{Limits, Rate};
use loyal_roles::host::log::Log;
use loyal_roles::hosting::copy_of;
use loyal_types::Hash;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use serde_json::json;

use crate::clock::SystemClock;
use crate::model::fetch;
use crate::model::opened::Kept;
use crate::output;
use crate::site::{self, Actor, Site};
use crate::store::Store;

/// A chain that has been silent for longer admits nobody: what was taken back meanwhile would be answered.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// Arguments of `loyal host run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Answers GET /v1/models, POST /v1/chat/completions, /v1/completions and /v1/embeddings as the OpenAI API has them, for \
whoever shows a credential and pays by x402; GET /v1/loyal says what is asked for, /v1/receipts/ID hands out receipts \
and proofs, /health and /metrics are for whoever watches; who comes too often is told when to try again (429, Retry-After). Without a folder and without --upstream the model that comes \
with Loyal answers. The books (receipts, vouchers) are money: keep the folder. Run again after a crash it goes on where it was.

Examples:
  loyal host run 1 --key host.json --issuer http://127.0.0.1:8070
  loyal host run 1 --upstream http://127.0.0.1:8000/v1 --key host.json --per-call 0.0005 --per-thousand-out 0.001")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    #[command(flatten)]
    signer: super::hosting::Signer,
    /// The hosting (`loyal host open`).
    hosting: u64,
    /// Folder of the model, or the address of a store (`loyal owner publish`): what is stored there must have the root that
    /// the chain knows for this hosting [default: the model that comes with Loyal]
    #[arg(value_name = "FOLDER|STORE")]
    model: Option<PathBuf>,
    /// An engine that answers instead: vLLM, SGLang, llama.cpp, Ollama, anything that speaks the OpenAI API; up to and with /v1.
    #[arg(long, value_name = "URL", conflicts_with_all = ["model", "batch", "waiting"])]
    upstream: Option<String>,
    /// A file with the key of an account at the engine.
    #[arg(long, value_name = "FILE", requires = "upstream")]
    upstream_key_file: Option<PathBuf>,
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where callers reach it, up to and with /v1 [default: where it listens]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Let other machines reach it. It has no TLS: put a proxy in front of it.
    #[arg(long)]
    beyond_loopback: bool,
    /// Folder of the books [default: hosting-ID in the chain's folder]
    #[arg(long, value_name = "FOLDER")]
    books: Option<PathBuf>,
    /// Where credentials are given, for callers who have none.
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// What an invocation costs; the hosting's price unless given.
    #[arg(long, value_name = "AMOUNT")]
    per_call: Option<String>,
    /// What 1,000 tokens of the prompt cost besides.
    #[arg(long, value_name = "AMOUNT", requires = "per_call")]
    per_thousand_in: Option<String>,
    /// What 1,000 tokens of the answer cost besides.
    #[arg(long, value_name = "AMOUNT", requires = "per_call")]
    per_thousand_out: Option<String>,
    /// Minutes after which vouchers are redeemed at the latest.
    #[arg(long, value_name = "MINUTES", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=1_440))]
    redeem_every: u64,
    /// The most that a channel may owe; at four fifths of it vouchers are redeemed.
    #[arg(long, value_name = "AMOUNT", default_value = "5")]
    owed_max: String,
    /// What clients call the model [default: its folder's name]; with --upstream, what the engine calls it
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// How weights are kept in memory.
    #[arg(long, value_enum, default_value_t = Kept::F32)]
    precision: Kept,
    /// Answers made side by side.
    #[arg(long, value_name = "N", default_value_t = loyal_roles::host::Settings::default().batch_count_max)]
    batch: usize,
    /// Answers that may wait for a place.
    #[arg(long, value_name = "N", default_value_t = loyal_roles::host::Settings::default().waiting_count_max)]
    waiting: usize,
    /// Invocations of one caller in a minute, a sixth of them at once; 0 for no bound.
    #[arg(long, value_name = "N", default_value_t = Limits::default().caller.per_minute)]
    rate: u32,
    /// Refusals to one address in a minute, before it is turned away unread; 0 for no bound. Behind a proxy, bound addresses there.
    #[arg(long, value_name = "N", default_value_t = Limits::default().address.per_minute)]
    rate_refused: u32,
    /// A file to add a line of JSON to for each request, without prompts, answers or secrets; - for standard error.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

/// Serves.
pub(crate) fn run(args: &RunArgs) -> anyhow::Result<()> {
    ensure!(
        args.beyond_loopback || args.listen.ip().is_loopback(),
        "{} can be reached from other machines; if that is meant, add --beyond-loopback",
        args.listen
    );
    ensure!(!args.actor.dry_run, "--dry-run: serving cannot be rehearsed");
    let reached = args.site.reach()?;
    let host = args.site.actor(&args.actor)?;
    let signer = super::hosting::signer(&args.site, &args.signer, &host)?;
    let (client, clock) = (Arc::new(reached.client), Arc::new(SystemClock));
    let view = View::open(client, reached.at, args.hosting, (SILENCE_MAX, &*clock))?;
    let asset = Asset::read(view.client(), view.hosting().asset)?;
    let owed_max = asset.parse(&args.owed_max).context("--owed-max")?;
    let source = source(args, &view)?;
    let listener = TcpListener::bind(args.listen).with_context(|| format!("listening on {}", args.listen))?;
    let address = format!("http://{}/v1", listener.local_addr()?);
    let settings = Settings {
        price: price(args, &asset, view.hosting().price)?,
        body_bytes_max: 1 << 20,
        unredeemed_max: owed_max,
        withdraw_delay: 86_400,
        issuer_url: args.issuer.clone(),
        url: args.url.clone().unwrap_or_else(|| address.clone()),
    };
    let folder =
        args.books.clone().unwrap_or_else(|| args.site.folder().join(format!("hosting-{}", args.hosting)));
    let books = Books::open(&folder, args.hosting)?;
    let level = view.hosting().level;
    let gate = Arc::new(Gate::open(view, books, (signer, Some(host.clone())), settings, clock.clone())?);
    let drain = super::drained();
    let cycle = Cycle { every: Duration::from_secs(args.redeem_every * 60), amount: owed_max / 5 * 4 };
    let keeper = Keeper::new(Arc::clone(&gate), host, cycle);
    let (watch, json) = (drain.clone(), args.site.json);
    let keeping = std::thread::Builder::new()
        .name("keeper".to_owned())
        .spawn(move || keeper::run(keeper, &SystemClock, &watch, &mut |turn| site::tell(turn, json)))?;
    if json {
        output::json(&json!({ "address": address, "hosting": args.hosting, "level": level }))?;
    } else {
        output::line(&address)?;
        let price = asset.text(U256::from(gate.settings().price.ceiling));
        output::say(&format!(
            "hosting {} ({level}), {price} an invocation at most; Ctrl-C ends",
            args.hosting
        ));
    }
    let settings = loyal_roles::host::Settings {
        batch_count_max: args.batch,
        waiting_count_max: args.waiting,
        seed: OsRng.try_next_u64()?,
        limits: Limits { caller: Rate::per_minute(args.rate), address: Rate::per_minute(args.rate_refused) },
        log: args.log.as_deref().map(log).transpose()?,
        ..loyal_roles::host::Settings::default()
    };
    let served = gateway::run(listener, (gate, source), settings, clock, &drain);
    // Whatever ended the serving, what is owed is redeemed.
    drain.begin();
    let _ = keeping.join();
    Ok(served?)
}

/// Lines are added to a file that only its owner may read: it says who came.
fn log(path: &Path) -> anyhow::Result<Log> {
    if path == Path::new("-") {
        return Ok(Log::new(Box::new(std::io::stderr()))?);
    }
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let file = options.open(path).with_context(|| format!("--log {}", path.display()))?;
    Ok(Log::new(Box::new(file))?)
}

fn source(args: &RunArgs, view: &View) -> anyhow::Result<Source> {
    let Some(url) = &args.upstream else {
        let stored =
            args.model.as_ref().and_then(|model| model.to_str()).filter(|text| Store::is_address(text));
        let fetched = stored
            .map(|address| {
                let copy = copy_of(view.client(), view.at(), args.hosting)?;
                fetch::cached(address, Hash(copy.root.0))
            })
            .transpose()?;
        let folder = fetched.as_deref().or(args.model.as_deref());
        let model = super::model(folder, args.name.as_deref(), args.precision)?;
        return Ok(Source::Model(Box::new(model)));
    };
    let key = args
        .upstream_key_file
        .as_ref()
        .map(|path| std::fs::read_to_string(path).with_context(|| path.display().to_string()));
    Ok(Source::Upstream(Upstream::new(url, key.transpose()?.as_deref())?.with_model(args.name.clone())))
}

fn price(args: &RunArgs, asset: &Asset, ceiling: u128) -> anyhow::Result<Price> {
    let parse = |text: &Option<String>, what: &'static str| {
        text.as_ref().map_or(Ok(0), |text| asset.parse(text).context(what))
    };
    Ok(match &args.per_call {
        None => Price::flat(ceiling),
        Some(text) => Price {
            ceiling,
            per_call: asset.parse(text).context("--per-call")?,
            per_thousand_in: parse(&args.per_thousand_in, "--per-thousand-in")?,
            per_thousand_out: parse(&args.per_thousand_out, "--per-thousand-out")?,
        },
    })
}
