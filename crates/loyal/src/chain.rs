//! `loyal chain …`: the embedded chain.

use std::{
    fs::File,
    io::{BufReader, BufWriter},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use clap::Subcommand;
use loyal_protocol::devnet::{Accounts, Chain, Genesis, Limits, Store, serve_here};
use loyal_types::Clock as _;
use serde_json::json;

use crate::{clock::SystemClock, output};

/// What an account of a new development chain has: 10,000 ether.
const BALANCE: &str = "10000000000000000000000";

/// What can be done with the embedded chain.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run the chain of a folder, and answer wallets and libraries over HTTP and WebSocket.
    Run(RunArgs),
    /// Say where the chain stands.
    Status(StatusArgs),
    /// List the accounts made for the chain, with their balances.
    Accounts(AccountsArgs),
    /// Set an account's balance (development chains only, while the chain is not running).
    Fund(FundArgs),
    /// Write the whole chain to a file, one block a line.
    Export(FileArgs),
    /// Continue the chain with the blocks of a file; each is run again, and must have its hash.
    Import(FileArgs),
}

/// The chain's folder.
#[derive(Debug, clap::Args)]
pub(crate) struct Folder {
    /// The folder that holds the chain.
    #[arg(long, value_name = "FOLDER", default_value = "loyal-chain")]
    folder: PathBuf,
}

/// What `loyal chain run` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    folder: Folder,
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8545")]
    listen: SocketAddr,
    /// What a new chain starts from, as JSON; a development chain unless given.
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// How many accounts to make for a new development chain.
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    accounts: usize,
    /// Take the ten accounts whose keys everybody knows instead.
    #[arg(long)]
    well_known: bool,
    /// Let other machines reach a development chain.
    #[arg(long)]
    beyond_loopback: bool,
}

/// What `loyal chain status` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    folder: Folder,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// What `loyal chain accounts` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct AccountsArgs {
    #[command(flatten)]
    folder: Folder,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// What `loyal chain fund` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct FundArgs {
    #[command(flatten)]
    folder: Folder,
    /// The account.
    account: String,
    /// Its new balance, in wei.
    balance: String,
}

/// What `loyal chain export` and `import` are told.
#[derive(Debug, clap::Args)]
pub(crate) struct FileArgs {
    #[command(flatten)]
    folder: Folder,
    /// The file.
    file: PathBuf,
}

/// Does it.
pub(crate) fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Run(args) => serve(&args),
        Verb::Status(args) => status(&args),
        Verb::Accounts(args) => accounts(&args),
        Verb::Fund(args) => fund(&args),
        Verb::Export(args) => export(&args),
        Verb::Import(args) => import(&args),
    }
}

fn serve(args: &RunArgs) -> anyhow::Result<()> {
    let store = Store::open(&args.folder.folder)?;
    let genesis = match (Chain::genesis_of(&store)?, &args.genesis) {
        (_, Some(path)) => {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            Genesis::parse(&text).with_context(|| path.display().to_string())?
        }
        (Some(genesis), None) => genesis,
        (None, None) => development(args)?,
    };
    let chain = Arc::new(Chain::open(store, genesis, Arc::new(SystemClock))?);
    let listener = TcpListener::bind(args.listen).with_context(|| args.listen.to_string())?;
    output::line(&format!("http://{}", listener.local_addr()?))?;
    let status = chain.status();
    output::say(&format!("chain {} at block {}; Ctrl-C ends it", status.chain_id, status.block));
    let limits = Limits { beyond_loopback: args.beyond_loopback, ..Limits::default() };
    Ok(serve_here(listener, chain, &limits)?)
}

/// A new development chain with accounts of its own, their keys beside the store.
fn development(args: &RunArgs) -> anyhow::Result<Genesis> {
    let accounts = if args.well_known {
        Accounts::well_known()
    } else {
        Accounts::derive(&rand::random(), args.accounts)
    };
    accounts.save(&args.folder.folder)?;
    Ok(Genesis::development(&accounts.addresses(), BALANCE.parse()?, SystemClock.unix_seconds()))
}

/// The chain of a folder that has one.
fn open(folder: &Path) -> anyhow::Result<Chain> {
    let store = Store::open(folder)?;
    let genesis = Chain::genesis_of(&store)?;
    let genesis = genesis.with_context(|| {
        format!("{}: there is no chain here; `loyal chain run` starts one", folder.display())
    })?;
    Ok(Chain::open(store, genesis, Arc::new(SystemClock))?)
}

fn status(args: &StatusArgs) -> anyhow::Result<()> {
    let status = open(&args.folder.folder)?.status();
    if args.json {
        return output::json(&serde_json::to_value(&status)?);
    }
    output::pairs(&[
        ("chain id", status.chain_id.to_string()),
        ("for development", if status.development { "yes" } else { "no" }.to_owned()),
        ("block", status.block.to_string()),
        ("hash", status.hash.to_string()),
        ("timestamp", status.timestamp.to_string()),
        ("base fee in wei", status.base_fee.to_string()),
        ("oldest block kept whole", status.oldest_block.to_string()),
    ])
}

fn accounts(args: &AccountsArgs) -> anyhow::Result<()> {
    let folder = &args.folder.folder;
    let made = Accounts::load(folder)?;
    let made = made.with_context(|| format!("{}: no accounts were made here", folder.display()))?;
    let chain = open(folder)?;
    let mut rows = Vec::new();
    for address in made.addresses() {
        let balance = chain.request("eth_getBalance", json!([address, "latest"]))?;
        rows.push((address.to_string(), balance));
    }
    if args.json {
        let each = rows.iter().map(|(address, balance)| json!({ "address": address, "balance": balance }));
        return output::json(&each.collect());
    }
    for (address, balance) in rows {
        output::line(&format!("{address}  {}", balance.as_str().unwrap_or_default()))?;
    }
    output::say(&format!("their keys are in {}", folder.join("accounts.json").display()));
    Ok(())
}

fn fund(args: &FundArgs) -> anyhow::Result<()> {
    let account = args.account.parse().with_context(|| format!("{}: not an account", args.account))?;
    let balance = args.balance.parse().with_context(|| format!("{}: not a number of wei", args.balance))?;
    Ok(open(&args.folder.folder)?.fund(account, balance)?)
}

fn export(args: &FileArgs) -> anyhow::Result<()> {
    let chain = open(&args.folder.folder)?;
    let file = File::create(&args.file).with_context(|| args.file.display().to_string())?;
    let last = chain.export(&mut BufWriter::new(&file))?;
    file.sync_all().with_context(|| args.file.display().to_string())?;
    output::say(&format!("wrote the chain up to block {last}"));
    Ok(())
}

fn import(args: &FileArgs) -> anyhow::Result<()> {
    let read = || -> anyhow::Result<_> {
        Ok(BufReader::new(File::open(&args.file).with_context(|| args.file.display().to_string())?))
    };
    let genesis = Chain::genesis_of_export(&mut read()?)?;
    let chain = Chain::open(Store::open(&args.folder.folder)?, genesis, Arc::new(SystemClock))?;
    let last = chain.import(&mut read()?)?;
    output::say(&format!("the chain is at block {last}"));
    Ok(())
}
