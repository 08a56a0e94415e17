//! `loyal chain …`: the embedded chain.

use std::{
    fs::File,
    io::{BufReader, BufWriter},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
};

use anyhow::Context as _;
use clap::Subcommand;
use loyal_protocol::asset;
use loyal_protocol::devnet::{Accounts, Chain, Status, Store, U256};
use serde_json::json;

use crate::{clock::SystemClock, output};

mod deploy;
mod reach;
mod send;
mod serve;

pub(crate) use reach::{Reach, announce};
use reach::{is_locked, open};

/// What can be done with the embedded chain.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run the chain of a folder, and answer wallets and libraries over HTTP and WebSocket.
    Run(RunArgs),
    /// Say where the chain stands.
    Status(StatusArgs),
    /// List the accounts made for the chain, with their balances.
    Accounts(AccountsArgs),
    /// Set an account's balance (development chains only).
    Fund(FundArgs),
    /// Put the protocol's contracts on a chain, this one or any EVM chain.
    Deploy(deploy::DeployArgs),
    /// Send an amount of an asset to an account.
    Send(send::Args),
    /// Let time pass at once (development chains only).
    Pass(deploy::PassArgs),
    /// Write the whole chain to a file, one block a line.
    Export(FileArgs),
    /// Continue the chain with the blocks of a file; each is run again, and must have its hash.
    Import(FileArgs),
}

/// The chain's folder.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Folder {
    /// The folder that holds the chain.
    #[arg(long, value_name = "FOLDER", default_value = "loyal-chain")]
    folder: PathBuf,
}

impl Folder {
    /// Where it is.
    pub(crate) fn path(&self) -> &std::path::Path {
        &self.folder
    }
}

impl Source {
    /// The chain of a folder.
    pub(crate) const fn of_folder(folder: Folder) -> Self {
        Self { folder, chain: None }
    }
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
    /// Keep transactions, receipts and logs of the newest COUNT blocks alone; all of them unless given.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    keep_blocks: Option<u64>,
    /// Let at least so much time pass between two blocks; transactions that come meanwhile share one.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=60_000))]
    interval: u64,
    /// Say in JSON, on one line, where the chain listens.
    #[arg(long)]
    json: bool,
}

/// The chain asked: one that runs, or the one of a folder.
#[derive(Debug, clap::Args)]
pub(crate) struct Source {
    #[command(flatten)]
    folder: Folder,
    /// Ask the running chain at this address; found by itself where `loyal chain run` serves the folder.
    #[arg(long, value_name = "URL")]
    chain: Option<String>,
}

/// What `loyal chain status` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    source: Source,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// What `loyal chain accounts` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct AccountsArgs {
    #[command(flatten)]
    source: Source,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// What `loyal chain fund` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct FundArgs {
    #[command(flatten)]
    source: Source,
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
        Verb::Run(args) => serve::run(&args),
        Verb::Status(args) => status(&args),
        Verb::Accounts(args) => accounts(&args),
        Verb::Fund(args) => fund(&args),
        Verb::Deploy(args) => deploy::deploy(&args),
        Verb::Send(args) => send::run(&args),
        Verb::Pass(args) => deploy::pass(&args),
        Verb::Export(args) => export(&args),
        Verb::Import(args) => import(&args),
    }
}

fn status(args: &StatusArgs) -> anyhow::Result<()> {
    let said = Reach::find(&args.source)?.request("loyal_status", json!([]))?;
    if args.json {
        return output::json(&said);
    }
    let status: Status = serde_json::from_value(said)?;
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
    let folder = &args.source.folder.folder;
    let made = Accounts::load(folder)?;
    let made = made.with_context(|| format!("{}: no accounts were made here", folder.display()))?;
    let chain = Reach::find(&args.source)?;
    let mut rows = Vec::new();
    for address in made.addresses() {
        let balance = chain.request("eth_getBalance", json!([address, "latest"]))?;
        rows.push((address.to_string(), balance));
    }
    if args.json {
        let each = rows.iter().map(|(address, balance)| json!({ "address": address, "balance": balance }));
        return output::json(&each.collect());
    }
    for (number, (address, balance)) in rows.into_iter().enumerate() {
        let wei: U256 = serde_json::from_value(balance)?;
        output::line(&format!("{number:>3}  {address}  {}", asset::ether(wei)))?;
    }
    output::say(&format!("their keys are in {}", folder.join("accounts.json").display()));
    Ok(())
}

fn fund(args: &FundArgs) -> anyhow::Result<()> {
    let account = args.account.parse().with_context(|| format!("{}: not an account", args.account))?;
    let balance = args.balance.parse().with_context(|| format!("{}: not a number of wei", args.balance))?;
    Reach::find(&args.source)?.fund(account, balance)
}

fn export(args: &FileArgs) -> anyhow::Result<()> {
    let chain = open(&args.folder.folder).map_err(stopped_first)?;
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
    let store = Store::open(&args.folder.folder).map_err(|error| stopped_first(error.into()))?;
    let chain = Chain::open(store, genesis, Arc::new(SystemClock))?;
    let last = chain.import(&mut read()?)?;
    output::say(&format!("the chain is at block {last}"));
    Ok(())
}

/// Export and import need the chain's file for themselves.
fn stopped_first(error: anyhow::Error) -> anyhow::Error {
    if is_locked(&error) { error.context("end `loyal chain run` first") } else { error }
}
