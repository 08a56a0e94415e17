//! `loyal access …`: a caller's side of a hosted model.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alloy_primitives::{Address, U256};
use anyhow::{Context as _, ensure};
use clap::Subcommand;
use loyal_access::caller::{Caller, Seams, Settings};
use loyal_access::document::{self, CredentialFile};
use loyal_access::payment::Scheme;
use loyal_access::wallet::Wallet;
use loyal_protocol::{Asset, Client, Key};

use crate::clock::SystemClock;
use crate::site::Site;

mod ask;
mod cap;
mod fetch;
mod proxy;
mod request;
mod show;
mod withdraw;

/// In a wallet's folder: the credential.
pub(crate) const CREDENTIAL_FILE: &str = "credential.json";

/// What can be done with access.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Get a credential from an issuer or a file, and keep it in the wallet.
    Request(request::Args),
    /// Say what the wallet holds: the credential, channels, what was spent, receipts.
    Show(show::Args),
    /// Ask a hosted model one question, and pay for the answer.
    Ask(ask::Args),
    /// Run a server on this machine that pays for whatever program of OpenAI's API is pointed at it.
    Proxy(proxy::Args),
    /// Pay any server of x402 for one answer: without a credential, within a cap, and without a receipt.
    Fetch(fetch::Args),
    /// Bound what is spent: for a request, in an hour, in a day.
    Cap(cap::Args),
    /// Get back what is in the wallet's channels and was not spent.
    Withdraw(withdraw::Args),
    /// Pay a hosting again that broke the rules.
    Forgive(cap::ForgiveArgs),
}

/// The wallet.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct WalletFolder {
    /// The folder of the wallet.
    #[arg(id = "wallet", long, value_name = "FOLDER", default_value = "loyal-wallet")]
    path: PathBuf,
}

/// Who holds the credential, and pays.
#[derive(Debug, clap::Args)]
pub(crate) struct Holder {
    /// Who holds the credential and pays: a key file (see `loyal key`), or the number of an account of the folder's
    /// development chain.
    #[arg(long, value_name = "KEY")]
    key: String,
    /// A file with the key file's password; asked for at the terminal unless given.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// All that a caller is opened with.
#[derive(Debug, clap::Args)]
pub(crate) struct Opening {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    wallet: WalletFolder,
    #[command(flatten)]
    holder: Holder,
    /// Where the host answers, up to and with /v1; the credential's hosts in their order unless given.
    #[arg(long, value_name = "URL")]
    host: Option<String>,
    /// How to pay: batch-settlement, many answers by one channel, or exact, a transaction for each [default: the host's favourite]
    #[arg(long, value_name = "SCHEME", value_parser = scheme)]
    scheme: Option<Scheme>,
}

fn scheme(name: &str) -> Result<Scheme, String> {
    let known = [Scheme::Batch, Scheme::Exact];
    let found = known.into_iter().find(|scheme| scheme.name() == name);
    found.ok_or_else(|| format!("{name:?} is neither {:?} nor {:?}", known[0].name(), known[1].name()))
}

/// Does it.
pub(crate) fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Request(args) => request::run(&args),
        Verb::Show(args) => show::run(&args),
        Verb::Ask(args) => ask::run(&args),
        Verb::Proxy(args) => proxy::run(&args),
        Verb::Fetch(args) => fetch::run(&args),
        Verb::Cap(args) => cap::run(&args),
        Verb::Withdraw(args) => withdraw::run(&args),
        Verb::Forgive(args) => cap::forgive(&args),
    }
}

impl Holder {
    fn key(&self, site: &Site) -> anyhow::Result<Key> {
        site.key(&self.key, self.password_file.as_deref())
    }
}

impl WalletFolder {
    /// The wallet in a folder.
    pub(crate) fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    fn credential_path(&self) -> PathBuf {
        self.path.join(CREDENTIAL_FILE)
    }

    /// The credential of the wallet.
    fn credential(&self) -> anyhow::Result<CredentialFile> {
        read_credential(&self.credential_path())
    }

    /// Keeps a credential, whole or not at all.
    fn keep(&self, file: &CredentialFile) -> anyhow::Result<()> {
        let path = self.credential_path();
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(&self.path)?;
            let mut temporary = tempfile::NamedTempFile::new_in(&self.path)?;
            temporary.write_all(serde_json::to_string_pretty(file)?.as_bytes())?;
            temporary.as_file().sync_all()?;
            temporary.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        write().with_context(|| format!("{}: writing failed", path.display()))
    }

    fn open(&self) -> anyhow::Result<Wallet> {
        Ok(Wallet::open(&self.path)?)
    }
}

impl Opening {
    /// The caller, and the chain it pays on.
    fn caller(&self, more: impl FnOnce(&mut Settings)) -> anyhow::Result<(Caller, Arc<Client>)> {
        let mut settings = Settings { host: self.host.clone(), scheme: self.scheme, ..Settings::default() };
        more(&mut settings);
        let key = (self.holder.key.as_str(), self.holder.password_file.as_deref());
        caller(&self.site, &self.wallet, key, settings)
    }
}

/// Whoever pays with a wallet: `key` as the command line names it, and the file with its password. And the chain it pays on.
pub(crate) fn caller(
    site: &Site,
    wallet: &WalletFolder,
    (key, password_file): (&str, Option<&Path>),
    settings: Settings,
) -> anyhow::Result<(Caller, Arc<Client>)> {
    let file = wallet.credential()?;
    check_contracts(site, &file)?;
    let client = Arc::new(site.client_at(&file.chain_urls, file.chain_id)?);
    let key = site.key(key, password_file)?;
    let seams = Seams { client: client.clone(), clock: Arc::new(SystemClock), seed: rand::random() };
    Ok((Caller::new(file, key, wallet.open()?, seams, settings)?, client))
}

/// The credential in a file.
pub(crate) fn read_credential(path: &Path) -> anyhow::Result<CredentialFile> {
    let shown = path.display();
    let bytes = std::fs::read(path)
        .with_context(|| format!("{shown}: no credential is here; `loyal access request` gets one"))?;
    document::read("the credential", &bytes).with_context(|| format!("{shown}"))
}

/// A credential names the contracts that take the money: where the command line names some, they must be the same.
fn check_contracts(site: &Site, file: &CredentialFile) -> anyhow::Result<()> {
    let Some(known) = site.named_contracts()? else { return Ok(()) };
    let at = &known.addresses;
    let is_same = known.chain_id == file.chain_id
        && (at.registry, at.channel, at.gate, at.router)
            == (file.registry, file.channel, file.gate, file.router)
        && at.authorization_collector == file.authorization_collector;
    ensure!(is_same, "the credential names other contracts than --contracts does: do not pay through it");
    Ok(())
}

/// An amount for people, where the chain says what asset it is; in base units where it cannot be asked.
fn amount(asset: Option<&Asset>, units: u128) -> String {
    asset.map_or_else(|| format!("{units} base units"), |asset| asset.text(U256::from(units)))
}

fn asset_of(client: &Client, address: Address) -> anyhow::Result<Asset> {
    Ok(Asset::read(client, address)?)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
