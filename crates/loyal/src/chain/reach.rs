//! A chain to ask: that of a folder, opened here, or one that runs elsewhere, over JSON-RPC.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use loyal_protocol::{
    Error,
    devnet::{Address, Chain, Store, U256},
};
use serde_json::{Value, json};
use ureq::Agent;

use super::Source;
use crate::clock::SystemClock;

/// Beside a chain that runs: where it listens.
const URL_FILE: &str = "url.txt";
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// A chain to ask.
pub(crate) enum Reach {
    /// Opened in this process.
    Here(Box<Chain>),
    /// Run by another process, at a URL.
    There(String),
}

impl Reach {
    /// The chain at the URL given, or that of the folder, whether it runs or not.
    pub(crate) fn find(source: &Source) -> anyhow::Result<Self> {
        if let Some(url) = &source.chain {
            return Ok(Self::There(url.clone()));
        }
        let folder = &source.folder.folder;
        match open(folder) {
            Ok(chain) => Ok(Self::Here(Box::new(chain))),
            Err(error) if is_locked(&error) => match std::fs::read_to_string(url_file(folder)) {
                Ok(url) => Ok(Self::There(url.trim().to_owned())),
                Err(_) => Err(error.context("name the address it listens on with --chain")),
            },
            Err(error) => Err(error),
        }
    }

    pub(super) fn request(&self, method: &str, params: Value) -> anyhow::Result<Value> {
        match self {
            Self::Here(chain) => Ok(chain.request(method, params)?),
            Self::There(url) => {
                let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
                let mut answer = post(url, &body.to_string())
                    .with_context(|| format!("{url}: no chain answers there; is it running?"))?;
                if let Some(message) = answer["error"]["message"].as_str() {
                    bail!("{url}: {message}");
                }
                Ok(answer["result"].take())
            }
        }
    }

    pub(super) fn fund(&self, account: Address, balance: U256) -> anyhow::Result<()> {
        match self {
            Self::Here(chain) => chain.fund(account, balance)?,
            Self::There(_) => drop(self.request("anvil_setBalance", json!([account, balance]))?),
        }
        Ok(())
    }
}

fn post(url: &str, body: &str) -> anyhow::Result<Value> {
    let agent: Agent = Agent::config_builder().timeout_global(Some(ANSWER_TIME_MAX)).build().into();
    let mut answer = agent.post(url).content_type("application/json").send(body)?;
    Ok(serde_json::from_str(&answer.body_mut().read_to_string()?)?)
}

/// Where a chain that runs says where it listens.
fn url_file(folder: &Path) -> PathBuf {
    folder.join(URL_FILE)
}

/// Lets commands that name the folder of a running chain find where it listens.
pub(crate) fn announce(folder: &Path, url: &str) -> anyhow::Result<()> {
    std::fs::write(url_file(folder), format!("{url}\n")).with_context(|| folder.display().to_string())
}

/// The chain of a folder that has one.
pub(super) fn open(folder: &Path) -> anyhow::Result<Chain> {
    let none = || format!("{}: there is no chain here; `loyal chain run` starts one", folder.display());
    if !Store::is_in(folder) {
        bail!(none());
    }
    let store = Store::open(folder)?;
    let genesis = Chain::genesis_of(&store)?.with_context(none)?;
    Ok(Chain::open(store, genesis, Arc::new(SystemClock))?)
}

/// Whether another process has the chain open.
pub(super) fn is_locked(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::Locked { .. }))
}
