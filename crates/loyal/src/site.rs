//! Where the contracts are and who acts: what the commands that reach the chain have in common.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use loyal_protocol::chain::Patience;
use loyal_protocol::devnet::Accounts;
use loyal_protocol::rpc::{Agreeing, Http, Rpc};
use loyal_protocol::walk::Taken;
use loyal_protocol::{Addresses, Asset, Client, Key, Walk, asset, deploy};
use loyal_roles::turn::Turn;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::chain::{Folder, Reach, Source};
use crate::ending::Ending;
use crate::output;

const FORMAT: &str = "loyal-contracts";
const VERSION: u32 = 1;
const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);

/// Which chain, and which contracts on it.
#[derive(Debug, clap::Args)]
pub(crate) struct Site {
    #[command(flatten)]
    folder: Folder,
    /// Use the chain at this address instead; of several, all must say the same.
    #[arg(long = "chain", value_name = "URL")]
    chains: Vec<String>,
    /// The file that `loyal chain deploy` wrote [default: contracts.json in the chain's folder]
    #[arg(long, value_name = "FILE")]
    contracts: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Who acts.
#[derive(Debug, clap::Args)]
pub(crate) struct Actor {
    /// Who acts: a key file (see `loyal key`), or the number of an account of the folder's development chain.
    #[arg(long, value_name = "KEY")]
    key: String,
    /// A file with the key file's password; asked for at the terminal unless given.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Say what would change and what it would cost, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Where the contracts of a deployment are, as a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contracts {
    format: String,
    version: u32,
    /// The chain.
    pub(crate) chain_id: u64,
    /// When epoch 0 began, in unix seconds.
    pub(crate) genesis_time: u64,
    /// Where they are.
    pub(crate) addresses: Addresses,
}

/// A chain with its contracts.
#[derive(Debug)]
pub(crate) struct Reached {
    /// The chain.
    pub(crate) client: Client,
    /// The contracts.
    pub(crate) at: Addresses,
}

impl Contracts {
    pub(crate) fn new(chain_id: u64, genesis_time: u64, addresses: Addresses) -> Self {
        Self { format: FORMAT.to_owned(), version: VERSION, chain_id, genesis_time, addresses }
    }

    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).with_context(|| {
            format!("{shown}: no contracts; `loyal chain deploy` makes them, --contracts names their file")
        })?;
        let found: Self =
            serde_json::from_str(&text).with_context(|| format!("{shown}: not a file of contracts"))?;
        ensure!(
            found.format == FORMAT && found.version == VERSION,
            "{shown}: {:?} of version {}, not {FORMAT:?} of version {VERSION}",
            found.format,
            found.version
        );
        Ok(found)
    }

    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|error| error.error)?;
            Ok(())
        };
        write().with_context(|| format!("{}: writing failed", path.display()))
    }
}

impl Site {
    /// The chain of a folder, or at these addresses, and no contracts named.
    pub(crate) const fn at(folder: Folder, chains: Vec<String>) -> Self {
        Self { folder, chains, contracts: None, json: false }
    }

    /// The chain, whatever is on it.
    pub(crate) fn client(&self, wanted: Option<u64>) -> anyhow::Result<Client> {
        let at = |url: &String| -> anyhow::Result<Arc<dyn Rpc>> {
            ensure!(
                url.starts_with("http://") || url.starts_with("https://"),
                "--chain {url}: an address begins with http:// or https://"
            );
            Ok(Arc::new(Http::new(url, ANSWER_TIME_MAX)))
        };
        let mut endpoints = self.chains.iter().map(at).collect::<anyhow::Result<Vec<_>>>()?;
        let rpc: Arc<dyn Rpc> = match endpoints.len() {
            0 => match Reach::find(&Source::of_folder(self.folder.clone()))? {
                Reach::Here(chain) => Arc::from(chain as Box<dyn Rpc>),
                Reach::There(url) => at(&url)?,
            },
            1 => endpoints.remove(0),
            _ => Arc::new(Agreeing::new(endpoints)),
        };
        Ok(Client::connect(rpc, wanted, Patience::default())?)
    }

    /// The chain: where the command line says, else at the first address that a document names, else the folder's.
    pub(crate) fn client_at(&self, named: &[String], wanted: u64) -> anyhow::Result<Client> {
        match named.first().filter(|_| self.chains.is_empty()) {
            Some(url) => {
                let rpc = Arc::new(Http::new(url, ANSWER_TIME_MAX));
                Ok(Client::connect(rpc, Some(wanted), Patience::default())?)
            }
            None => self.client(Some(wanted)),
        }
    }

    /// The contracts that the command line names, where it does.
    pub(crate) fn named_contracts(&self) -> anyhow::Result<Option<Contracts>> {
        self.contracts.as_deref().map(Contracts::read).transpose()
    }

    /// The chain with its contracts, which must be there.
    pub(crate) fn reach(&self) -> anyhow::Result<Reached> {
        let path = self.contracts_file();
        let contracts = Contracts::read(&path)?;
        let client = self.client(Some(contracts.chain_id)).with_context(|| format!("{}", path.display()))?;
        deploy::check(&client, &contracts.addresses).with_context(|| format!("{}", path.display()))?;
        Ok(Reached { client, at: contracts.addresses })
    }

    /// The file that says where the contracts are.
    pub(crate) fn contracts_file(&self) -> PathBuf {
        self.contracts.clone().unwrap_or_else(|| self.folder.path().join("contracts.json"))
    }

    /// The folder of the chain.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where the chain answers others: as the command line says, or where `loyal chain run` serves the folder.
    pub(crate) fn chain_urls(&self) -> anyhow::Result<Vec<String>> {
        if !self.chains.is_empty() {
            return Ok(self.chains.clone());
        }
        Ok(match Reach::find(&Source::of_folder(self.folder.clone()))? {
            Reach::There(url) => vec![url],
            Reach::Here(_) => Vec::new(),
        })
    }

    /// The key of somebody: a key file, or the number of an account of the folder's chain.
    pub(crate) fn key(&self, named: &str, password_file: Option<&Path>) -> anyhow::Result<Key> {
        let Ok(number) = named.parse::<usize>() else {
            let path = Path::new(named);
            // What is no key file is said before anybody types a password.
            if !path.is_file() {
                bail!("{named}: no key file is there; `loyal key new {named}` makes one");
            }
            return Ok(Key::open(path, &password(path, password_file)?)?);
        };
        let folder = self.folder.path();
        let accounts = Accounts::load(folder)?
            .with_context(|| format!("{}: no accounts were made here; name a key file", folder.display()))?;
        let count = accounts.accounts.len();
        let account = accounts.accounts.get(number).with_context(|| {
            format!("{}: no account {number}; they are 0 to {}", folder.display(), count.saturating_sub(1))
        })?;
        Ok(Key::try_from(account)?)
    }

    /// The key of whom the command line names.
    pub(crate) fn actor(&self, actor: &Actor) -> anyhow::Result<Key> {
        self.key(&actor.key, actor.password_file.as_deref())
    }
}

/// A key file's password: from its file, or from the terminal.
fn password(path: &Path, file: Option<&Path>) -> anyhow::Result<String> {
    if let Some(file) = file {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
    }
    if !std::io::stdin().is_terminal() {
        let what =
            format!("{}: a password is needed, and nobody can type it; give --password-file", path.display());
        return Err(Ending::Usage(what).into());
    }
    Ok(rpassword::prompt_password(format!("password of {}: ", path.display()))?)
}

/// A new password, typed twice, or from its file.
pub(crate) fn new_password(path: &Path, file: Option<&Path>) -> anyhow::Result<String> {
    let first = password(path, file)?;
    ensure!(!first.is_empty(), "{}: an empty password protects nothing", path.display());
    if file.is_none() {
        let second = rpassword::prompt_password("again: ")?;
        ensure!(first == second, "the two passwords are not the same; nothing was written");
    }
    Ok(first)
}

/// Walks with somebody's key, saying each step as it is taken; answers what `steps` found, and the steps.
pub(crate) fn walk<T>(
    reached: &Client,
    key: &Key,
    (dry_run, json): (bool, bool),
    steps: impl FnOnce(&mut Walk<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<(T, Vec<Taken>)> {
    let mut tell = |taken: &Taken| {
        if !json {
            output::say(&sentence(taken, dry_run));
        }
    };
    let mut walk = Walk::begin(reached, key, dry_run, &mut tell)?;
    let found = steps(&mut walk)?;
    let taken = walk.taken().to_vec();
    if dry_run && !json {
        let wei = taken.iter().fold(alloy_primitives::U256::ZERO, |sum, step| sum + step.wei);
        let count = taken.len();
        output::say(&match count {
            0 => "nothing would change".to_owned(),
            _ => format!("{count} transactions, {} at most; nothing was sent", asset::ether(wei)),
        });
    }
    Ok((found, taken))
}

fn sentence(taken: &Taken, dry_run: bool) -> String {
    let gas = output::grouped(usize::try_from(taken.gas).unwrap_or(usize::MAX));
    let fee = asset::ether(taken.wei);
    let says = &taken.says;
    match (dry_run, taken.exact) {
        (false, _) => format!("{says}: done ({gas} gas, {fee})"),
        (true, true) => format!("would {says} ({gas} gas at most, {fee})"),
        (true, false) => format!("would then {says} (about {gas} gas, {fee})"),
    }
}

/// Says what a turn came to: without prompts, without secrets.
pub(crate) fn tell(turn: &Turn, json: bool) {
    for taken in &turn.taken {
        output::say(&if json {
            json!({ "did": taken.says, "gas": taken.gas, "transaction": taken.transaction }).to_string()
        } else {
            format!("{}: done ({} gas)", taken.says, taken.gas)
        });
    }
    for failed in &turn.failed {
        output::say(&if json {
            json!({ "failed": failed }).to_string()
        } else {
            format!("{failed}; tried again soon")
        });
    }
}

/// Steps as JSON.
pub(crate) fn steps_json(taken: &[Taken]) -> Value {
    let step = |step: &Taken| {
        json!({
            "says": step.says, "gas": step.gas, "exact": step.exact, "wei": step.wei.to_string(),
            "transaction": step.transaction.map(|hash| hash.to_string()),
        })
    };
    taken.iter().map(step).collect()
}

/// The asset that a name or an address means: LOYAL, or any ERC-20.
pub(crate) fn asset_of(reached: &Reached, named: &str) -> anyhow::Result<Asset> {
    let address = if named.eq_ignore_ascii_case("LOYAL") {
        reached.at.currency
    } else {
        named.parse().with_context(|| format!("{named}: neither LOYAL nor the address of an asset"))?
    };
    Ok(Asset::read(&reached.client, address)?)
}
