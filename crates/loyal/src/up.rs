//! `loyal up`: a chain, a registered model, its host, its issuer and a status page, with one command.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use alloy_primitives::B256;
use anyhow::{Context as _, ensure};
use loyal_protocol::Addresses;
use loyal_roles::owner::{Page, manifest};
use serde_json::json;

use crate::model::opened::{Kept, check_is_folder};
use crate::{output, shipped};

mod ground;
mod hints;
mod house;
mod past;
mod record;
mod setup;

use ground::Ground;
use record::Record;
use setup::Wanted;

/// Who is who among the accounts.
const OWNER: usize = 0;
const HOST: usize = 1;
const USER: usize = 2;

/// What `loyal up` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The first start makes everything in the folder: a development chain with accounts of its own (their keys in accounts.json, \
readable by you alone), the contracts, a model registered as it is (no marks are embedded: `loyal fingerprint embed` does \
that), a bond and an issuer. Later starts go on where it was, after a crash too. Ctrl-C redeems what is owed and ends.

Account 0 owns, 1 hosts, 2 uses. With --chain the accounts are made in the folder as well; on a chain that is not for \
development they must be given something to pay gas with, and the days of a registration pass as they do: the command says \
what is missing, and goes on when it is run again.

Examples:
  loyal up
  loyal up --upstream http://127.0.0.1:11434/v1 --name llama3.2
  loyal up ./SmolLM2-135M-Instruct --folder smol --price 0.01")]
pub(crate) struct Args {
    /// Folder of the model [default: the model that comes with Loyal]
    model: Option<PathBuf>,
    /// The folder in which everything is kept.
    #[arg(long, value_name = "FOLDER", default_value = "loyal-chain")]
    folder: PathBuf,
    /// A chain at this address instead of one of its own.
    #[arg(long, value_name = "URL")]
    chain: Option<String>,
    /// Contracts that are on that chain already (`loyal chain deploy`) [default: contracts.json in the folder]
    #[arg(long, value_name = "FILE", requires = "chain")]
    contracts: Option<PathBuf>,
    /// An engine that answers instead of the model: vLLM, SGLang, llama.cpp, Ollama, up to and with /v1.
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// A file with the key of an account at the engine.
    #[arg(long, value_name = "FILE", requires = "upstream")]
    upstream_key_file: Option<PathBuf>,
    /// What the model is called [default: its folder's name]; with --upstream, what the engine calls it
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The most that an invocation costs, in LOYAL; used when the hosting is opened.
    #[arg(long, value_name = "AMOUNT", default_value = "0.002")]
    price: String,
    /// Invocations at that price that the bond carries in a day; used when the hosting is opened.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    a_day: u64,
    /// Where the host listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where the issuer of credentials listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8070")]
    issuer: SocketAddr,
    /// Where the status page is.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8060")]
    status: SocketAddr,
    /// Where the chain listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8545", conflicts_with = "chain")]
    rpc: SocketAddr,
    /// Minutes after which vouchers are redeemed at the latest.
    #[arg(long, value_name = "MINUTES", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_440))]
    redeem_every: u64,
    /// How weights are kept in memory.
    #[arg(long, value_enum, default_value_t = Kept::F32)]
    precision: Kept,
    /// Say in JSON, on one line, where everything is.
    #[arg(long)]
    json: bool,
}

/// Where everything listens.
struct Doors {
    rpc: Option<TcpListener>,
    host: TcpListener,
    issuer: TcpListener,
    status: TcpListener,
}

/// Builds what is not there yet, and serves until Ctrl-C.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let doors = Doors::open(args)?;
    let (name, weights) = subject(args)?;
    std::fs::create_dir_all(&args.folder).with_context(|| args.folder.display().to_string())?;
    let ground = match &args.chain {
        Some(url) => Ground::elsewhere(url, &args.folder)?,
        None => Ground::embedded(&args.folder)?,
    };
    for index in [OWNER, HOST, USER] {
        ground.fuel(ground.keys[index].address())?;
    }
    let wanted = Wanted {
        folder: &args.folder,
        contracts: args.contracts.as_deref(),
        name,
        weights,
        price: &args.price,
        daily: args.a_day,
        endpoint: format!("http://{}/v1", doors.host.local_addr()?),
    };
    let before = Record::read(&args.folder)?;
    if before.is_none() {
        output::say("making everything: a minute at most");
    }
    let at = setup::contracts(&ground, &wanted)?.addresses;
    let record = match before {
        Some(record) => {
            record.check(&ground, &at, args.model.as_deref())?;
            record
        }
        None => setup::build(&ground, &at, &wanted)?,
    };
    ground.catch_up()?;
    house::run(args, doors, (&ground, &at), &record)
}

/// What the model is called, and the folder whose root is registered.
fn subject(args: &Args) -> anyhow::Result<(String, PathBuf)> {
    let folder = match (&args.upstream, &args.model) {
        (Some(url), None) => {
            // The engine's weights are not at hand: what is registered says whose they are.
            let folder = args.folder.join("engine");
            std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
            let about = json!({ "engine": url, "model": args.name });
            std::fs::write(folder.join("engine.json"), serde_json::to_vec_pretty(&about)?)
                .with_context(|| folder.display().to_string())?;
            folder
        }
        (_, given) => {
            let folder = shipped::folder(given.as_deref())?;
            check_is_folder(&folder)?;
            folder
        }
    };
    let whole = std::fs::canonicalize(&folder).with_context(|| folder.display().to_string())?;
    let own =
        whole.file_name().map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned());
    Ok((args.name.clone().unwrap_or(own), whole))
}

impl Doors {
    /// Listens everywhere before anything is made: an address that is taken is said at once.
    fn open(args: &Args) -> anyhow::Result<Self> {
        let bind = |address: SocketAddr, option: &str| -> anyhow::Result<TcpListener> {
            ensure!(
                address.ip().is_loopback(),
                "{option} {address}: this is for one machine; a host for others is `loyal host run`"
            );
            TcpListener::bind(address)
                .with_context(|| format!("{address} is taken; {option} names another address"))
        };
        Ok(Self {
            rpc: args.chain.is_none().then(|| bind(args.rpc, "--rpc")).transpose()?,
            host: bind(args.listen, "--listen")?,
            issuer: bind(args.issuer, "--issuer")?,
            status: bind(args.status, "--status")?,
        })
    }
}

impl Record {
    /// Whether what was made is still what is there.
    fn check(&self, ground: &Ground, at: &Addresses, model: Option<&Path>) -> anyhow::Result<()> {
        let (chain, registry) = (ground.client.chain_id(), at.registry);
        ensure!(
            (self.chain_id, self.registry) == (chain, registry),
            "up.json: made on chain {} with registry {}, and this is chain {chain} with {registry}; name another --folder",
            self.chain_id,
            self.registry
        );
        let page = Page::read(&ground.client, at, self.model)?;
        let folder = model.unwrap_or(&self.weights);
        let root = B256::from(manifest::weights_root(folder)?.0);
        ensure!(
            page.versions.iter().any(|version| version.weights_root == root),
            "{}: its root is {root}, which is none of model {}; name another --folder for another model",
            folder.display(),
            self.model
        );
        Ok(())
    }
}
