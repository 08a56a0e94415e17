//! A hosted model, invoked and paid for by a short program.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use loyal_access::caller::{Caller, Seams, Settings};
use loyal_access::document::{self, CredentialFile};
use loyal_access::{Error, Result, Wallet};
use loyal_protocol::chain::Patience;
use loyal_protocol::rpc::Http;
use loyal_protocol::{Client, Key};

use crate::clock::SystemClock;

/// How long the chain may take to answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);

/// Asks one question of the model that a wallet's credential is for, pays, keeps the receipt in the wallet, and answers.
/// `wallet` is the folder that `loyal access request` made; `key` is the holder's.
///
/// # Errors
/// As [`caller()`] and [`Caller::ask`].
pub async fn invoke(wallet: impl AsRef<Path>, key: Key, prompt: &str) -> Result<String> {
    Ok(caller(wallet, key).await?.ask(prompt).await?.text().await?.0)
}

/// Whoever asks more than one question, or wants the answer as it comes: `caller(…).await?.ask("…").await?.next().await?`.
///
/// # Errors
/// [`Error::File`] where the wallet has no credential; [`Error::Locked`]; the chain's.
pub async fn caller(wallet: impl AsRef<Path>, key: Key) -> Result<Caller> {
    let folder = wallet.as_ref().to_owned();
    let opened = tokio::task::spawn_blocking(move || {
        let path = folder.join("credential.json");
        let bytes = std::fs::read(&path).map_err(|error| Error::File { path, why: error.to_string() })?;
        let file: CredentialFile = document::read("the credential", &bytes)?;
        let url = file.chain_urls.first();
        let url = url.ok_or_else(|| Error::Refused("the credential names no chain".to_owned()))?;
        let rpc = Arc::new(Http::new(url, ANSWER_TIME_MAX));
        let client = Arc::new(Client::connect(rpc, Some(file.chain_id), Patience::default())?);
        let seams = Seams { client, clock: Arc::new(SystemClock), seed: rand::random() };
        Caller::new(file, key, Wallet::open(&folder)?, seams, Settings::default())
    });
    opened.await.unwrap_or_else(|error| Err(Error::Refused(error.to_string())))
}
