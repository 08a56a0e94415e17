//! `loyal key …`: keys in encrypted files, as wallets keep them.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use alloy_primitives::B256;
use anyhow::Context as _;
use clap::Subcommand;
use loyal_protocol::Key;
use loyal_protocol::keystore::{Salt, address_of};
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use serde_json::json;

use crate::{output, site};

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a new key, and write it to a file that only a password opens.
    New(NewArgs),
    /// Write a key that is there already, read from standard input in hexadecimal, to such a file.
    Import(NewArgs),
    /// Say of which account a key file is; needs no password.
    Show(ShowArgs),
}

/// What `loyal key new` and `import` are told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The file is in the Web3 Secret Storage format, version 3, which every wallet of Ethereum reads. Without its password \
it is worth nothing, to you as well: keep both, apart.")]
pub(crate) struct NewArgs {
    /// The file to write (mode 0600; never overwritten).
    file: PathBuf,
    /// A file with the password; asked for at the terminal unless given.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Print the account as JSON.
    #[arg(long)]
    json: bool,
}

/// What `loyal key show` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// The key file.
    file: PathBuf,
    /// Print the account as JSON.
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(crate) fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::New(args) => save(&args, &fresh()?),
        Verb::Import(args) => save(&args, &given()?),
        Verb::Show(args) => say(&args.file, address_of(&args.file)?, args.json),
    }
}

fn fresh() -> anyhow::Result<Key> {
    loop {
        // Almost every number of 32 bytes is a key of the curve.
        if let Some(key) = Key::of(B256::from(random()?)) {
            return Ok(key);
        }
    }
}

fn given() -> anyhow::Result<Key> {
    let mut text = String::new();
    std::io::stdin().take(1_000).read_to_string(&mut text).context("standard input")?;
    let secret: Option<B256> = text.trim().parse().ok();
    let key = secret.and_then(Key::of);
    key.context("standard input: a key is 0x and 64 hexadecimal digits, and a number of the curve")
}

fn save(args: &NewArgs, key: &Key) -> anyhow::Result<()> {
    anyhow::ensure!(!args.file.exists(), "{} exists; choose another name", args.file.display());
    let password = site::new_password(&args.file, args.password_file.as_deref())?;
    key.save(
        &args.file,
        &password,
        &Salt { password: B256::from(random()?), counter: random()?, id: random()? },
    )?;
    say(&args.file, key.address(), args.json)
}

fn say(file: &Path, account: alloy_primitives::Address, json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(&json!({ "file": file, "account": account.to_string() }));
    }
    output::line(&account.to_string())
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    OsRng.try_fill_bytes(&mut bytes).context("the system's randomness")?;
    Ok(bytes)
}
