//! How a prover reaches hosts: as any user, with a key, a credential and a channel that nobody can tell from others.
//!
//! Each hosting and epoch has a key of its own, made from one secret, so that a killed prover finds it again. What these keys
//! pay with comes from one account, which is the trail that remains (`SECURITY.md`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alloy_primitives::{Address, B256, U256, keccak256};
use bytes::Bytes;
use hyper::Method;
use loyal_access::Wallet;
use loyal_access::caller::{Caller, Piece, Seams, Settings};
use loyal_access::document::{self, CredentialFile, SignedReceipt};
use loyal_access::issuer::Wish;
use loyal_access::outbound::{Outbound, Reach};
use loyal_access::request::reply_text;
use loyal_protocol::contracts::LoyalCurrency;
use loyal_protocol::{Client, Key, Step, Walk};
use loyal_types::Clock;
use serde_json::Value;

use super::audit;
use crate::error::{Error, Result};
use crate::hosting::Hosting;

const TRANSFER_GAS: u64 = 60_000;

/// Where a prover's money and credentials come from.
#[derive(Debug, Clone)]
pub struct Means {
    /// Pays the keys that ask.
    pub funder: Key,
    /// From which these keys follow; secret.
    pub root: B256,
    /// Who gives credentials (without `/v1`).
    pub issuer_url: String,
    /// Where hostings answer, up to and with `/v1`: each is known by the hash that its host put on the chain.
    pub endpoints: Vec<String>,
    /// Which machines may be reached.
    pub reach: Reach,
}

/// Keys, wallets and callers.
pub struct Purse {
    folder: PathBuf,
    means: Means,
    client: Arc<Client>,
    clock: Arc<dyn Clock + Send + Sync>,
    outbound: Outbound,
    callers: HashMap<(u64, u32), Way>,
}

impl std::fmt::Debug for Purse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Purse").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// How one hosting is asked in one epoch.
enum Way {
    /// As it says itself: with a credential, for money.
    Paying(Box<Caller>),
    /// It answers whoever asks, by the name of this model where it has one.
    Free(Option<String>),
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The text.
    pub text: String,
    /// The receipt; a host without a gate gives none.
    pub receipt: Option<SignedReceipt>,
}

impl Purse {
    /// A purse in a folder of the prover's.
    #[must_use]
    pub fn new(
        folder: &Path,
        means: Means,
        client: Arc<Client>,
        clock: Arc<dyn Clock + Send + Sync>,
    ) -> Self {
        let outbound = Outbound::new(means.reach);
        Self { folder: folder.to_owned(), means, client, clock, outbound, callers: HashMap::new() }
    }

    /// Where a hosting answers, where anybody said.
    #[must_use]
    pub fn endpoint(&self, endpoint_hash: B256) -> Option<&str> {
        let known = |url: &&String| keccak256(url.as_bytes()) == endpoint_hash;
        self.means.endpoints.iter().find(known).map(String::as_str)
    }

    /// The key that asks a hosting in an epoch.
    ///
    /// # Panics
    /// Never in practice: a hash that is no key of the curve has not been found by anybody.
    #[must_use]
    pub fn key(&self, hosting: u64, epoch: u32) -> Key {
        let bytes = [&self.means.root[..], &hosting.to_be_bytes(), &epoch.to_be_bytes()].concat();
        Key::of(keccak256(bytes)).expect("a hash that is no key has not been found")
    }

    /// Asks a hosting. `count` is how many invocations the epoch will need: so many a deposit is for.
    ///
    /// # Errors
    /// It does not answer, or does not keep to its terms; the chain's; too little LOYAL.
    pub async fn ask(
        &mut self,
        (hosting, epoch): (&Hosting, u32),
        url: &str,
        body: &Value,
        count: u32,
    ) -> Result<Answer> {
        let place = (hosting.id, epoch);
        if !self.callers.contains_key(&place) {
            let way = self.way(hosting, epoch, url, count).await?;
            self.callers.retain(|&(_, other), _| other + 1 >= epoch);
            self.callers.insert(place, way);
        }
        match &self.callers[&place] {
            Way::Free(model) => {
                let mut body = body.clone();
                if let Some(model) = model {
                    body["model"] = model.as_str().into();
                }
                self.plain(url, body.to_string().into()).await
            }
            Way::Paying(caller) => {
                // A hosting serves one model: it need not be named.
                let mut reply = caller.invoke("/completions", body.to_string().into()).await?;
                let mut text = String::new();
                while let Some(piece) = reply.next().await? {
                    if let Piece::Whole(body) = piece {
                        text = reply_text(&serde_json::from_slice(&body).unwrap_or_default()).into_owned();
                    }
                }
                let receipt = reply.record().map(|record| record.receipt.receipt.clone());
                Ok(Answer { text, receipt })
            }
        }
    }

    async fn way(&self, hosting: &Hosting, epoch: u32, url: &str, count: u32) -> Result<Way> {
        // What a host asks for it says to everybody. One that says nothing has no gate.
        let (status, _) = self.get(&format!("{url}/loyal")).await?;
        if status == 404 || status == 405 {
            return Ok(Way::Free(self.first_model(url).await));
        }
        let key = self.key(hosting.id, epoch);
        let folder = self.folder.join(format!("caller-{}-{epoch}", hosting.id));
        let file = self.credential(&folder, key.address()).await?;
        self.fund(hosting, key.address(), &folder, count)?;
        let seed =
            keccak256([&self.means.root[..], b"salts", &self.clock.unix_millis().to_be_bytes()].concat());
        let seams = Seams { client: Arc::clone(&self.client), clock: Arc::clone(&self.clock), seed: seed.0 };
        let settings = Settings {
            host: Some(url.to_owned()),
            channel_count_max: 1,
            deposit_factor: count,
            // A host that withholds receipts is what a prover looks for.
            takes_without_receipt: true,
            reach: self.means.reach,
            ..Settings::default()
        };
        Ok(Way::Paying(Box::new(Caller::new(file, key, Wallet::open(&folder)?, seams, settings)?)))
    }

    /// The first model that a server lists: most want to hear its name.
    async fn first_model(&self, url: &str) -> Option<String> {
        let (_, body) = self.get(&format!("{url}/models")).await.ok()?;
        let value: Value = serde_json::from_slice(&body).ok()?;
        Some(value["data"][0]["id"].as_str()?.to_owned())
    }

    /// The credential of a key: the one it has, or a new one.
    async fn credential(&self, folder: &Path, holder: Address) -> Result<CredentialFile> {
        std::fs::create_dir_all(folder).map_err(|error| Error::file(folder, error))?;
        let path = folder.join("credential.json");
        if let Ok(bytes) = std::fs::read(&path) {
            return document::read("the credential", &bytes).map_err(|error| Error::file(&path, error));
        }
        let wish = Wish { holder, calls_max: None, spend_max: None };
        let file = wish.send(&self.means.issuer_url, self.means.reach).await?;
        let text = serde_json::to_vec_pretty(&file).map_err(|error| Error::file(&path, error))?;
        let written = tempfile::NamedTempFile::new_in(folder).and_then(|mut new| {
            std::io::Write::write_all(&mut new, &text)?;
            new.as_file().sync_all()?;
            new.persist(&path).map_err(|error| error.error)
        });
        written.map_err(|error| Error::file(&path, error))?;
        Ok(file)
    }

    /// Gives a key what it still lacks for so many invocations.
    fn fund(&self, hosting: &Hosting, holder: Address, folder: &Path, count: u32) -> Result<()> {
        let book = Wallet::peek(folder).unwrap_or_default();
        let left = book.channels.values().map(|account| account.balance.saturating_sub(account.charged));
        let left = U256::from(left.sum::<u128>());
        let wanted = (U256::from(hosting.price) * U256::from(count)).saturating_sub(left);
        let found = hosting.asset.balance(&self.client, holder)?;
        if found >= wanted {
            return Ok(());
        }
        let mut quiet = |_: &_| ();
        let mut walk = Walk::begin(&self.client, &self.means.funder, false, &mut quiet)?;
        let call = LoyalCurrency::transferCall { to: holder, value: wanted - found };
        walk.take(Step::new("pay a key that asks", hosting.asset.address, &call, TRANSFER_GAS))?;
        Ok(())
    }

    /// Asks as one asks a server without a gate.
    async fn plain(&self, url: &str, body: Bytes) -> Result<Answer> {
        let (status, body) = self.post(&format!("{url}/completions"), body).await?;
        if !(200..300).contains(&status) {
            return Err(Error::refused(format!("{url} answered with status {status}")));
        }
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        Ok(Answer { text: reply_text(&value).into_owned(), receipt: None })
    }

    /// The connections.
    #[must_use]
    pub const fn outbound(&self) -> &Outbound {
        &self.outbound
    }

    async fn get(&self, url: &str) -> Result<(u16, Bytes)> {
        audit::send(&self.outbound, Method::GET, url, Bytes::new()).await
    }

    /// Sends JSON to an address and reads what comes back.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn post(&self, url: &str, body: Bytes) -> Result<(u16, Bytes)> {
        audit::send(&self.outbound, Method::POST, url, body).await
    }
}
