//! Accounts of a development chain: keys made for it alone, unless the well-known ones are asked for.

use std::{fmt, io::Write as _, path::Path};

use alloy_primitives::{Address, B256, b256, keccak256};
use secp256k1::SecretKey;
use serde::{Deserialize, Serialize};

use crate::{Error, Result, signature};

const FILE: &str = "accounts.json";
const COUNT_MAX: usize = 1_000;

/// The keys that every development tool knows, from the phrase "test test … junk".
const WELL_KNOWN: [B256; 10] = [
    b256!("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"),
    b256!("59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"),
    b256!("5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a"),
    b256!("7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6"),
    b256!("47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a"),
    b256!("8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba"),
    b256!("92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e"),
    b256!("4bbbf85ce3377467afe5d46f804f221813b2bb87f24d81f60f1fcdbf7cbf4356"),
    b256!("dbda1821b80551c9d65939329250298aa3472ba22feea921c0cf5d620ea67b97"),
    b256!("2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6"),
];

/// An account with its key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The account.
    pub address: Address,
    /// Its secret key.
    pub secret: B256,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Account {
    fn of(secret: B256) -> Option<Self> {
        let key = SecretKey::from_byte_array(secret.0).ok()?;
        Some(Self { address: signature::address_of(&key.public_key(signature::curve())), secret })
    }
}

/// The accounts of one development chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accounts {
    /// In order of derivation.
    pub accounts: Vec<Account>,
}

impl Accounts {
    /// `count` accounts from a random `seed`; at most 1,000.
    #[must_use]
    pub fn derive(seed: &[u8; 32], count: usize) -> Self {
        let secret = |index: usize| keccak256([seed.as_slice(), &(index as u64).to_be_bytes()].concat());
        let accounts = (0..).map(secret).filter_map(Account::of).take(count.min(COUNT_MAX));
        Self { accounts: accounts.collect() }
    }

    /// The ten accounts whose keys everybody knows.
    #[must_use]
    pub fn well_known() -> Self {
        Self { accounts: WELL_KNOWN.into_iter().filter_map(Account::of).collect() }
    }

    /// The addresses.
    #[must_use]
    pub fn addresses(&self) -> Vec<Address> {
        self.accounts.iter().map(|account| account.address).collect()
    }

    /// Writes the accounts beside the store in `folder`, readable by the owner alone.
    ///
    /// # Errors
    /// [`Error::Store`] where the file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let bad = |error: std::io::Error| Error::Store { why: format!("{FILE}: {error}") };
        std::fs::create_dir_all(folder).map_err(bad)?;
        let text = serde_json::to_string_pretty(self).map_err(|error| bad(error.into()))?;
        // A temporary file is made for the owner alone, and keeps that when it gets its name.
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(bad)?;
        file.write_all(text.as_bytes()).map_err(bad)?;
        file.as_file().sync_all().map_err(bad)?;
        file.persist(folder.join(FILE)).map_err(|error| bad(error.error))?;
        Ok(())
    }

    /// Reads the accounts beside the store in `folder`; none where there is no such file.
    ///
    /// # Errors
    /// [`Error::Damaged`] where the file does not hold accounts with their keys.
    pub fn load(folder: &Path) -> Result<Option<Self>> {
        let text = match std::fs::read_to_string(folder.join(FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::Store { why: format!("{FILE}: {error}") }),
        };
        let bad = |what: String| Error::Damaged { what: format!("{FILE}: {what}") };
        let accounts: Self = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
        for account in &accounts.accounts {
            if Account::of(account.secret).as_ref() != Some(account) {
                return Err(bad(format!("{} does not have that key", account.address)));
            }
        }
        Ok(Some(accounts))
    }
}
