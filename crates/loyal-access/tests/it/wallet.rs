//! Wallets that are killed at any step: no invocation is paid twice, none is lost, and they go on.

use std::path::Path;

use alloy_primitives::U256;
use bytes::Bytes;
use loyal_access::caller::{Caller, Piece};
use loyal_access::document::CredentialFile;
use loyal_access::{Error, Wallet};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::caller::{PRICE, Scene, key, records, settings};
use crate::double::{self, Fault};

/// One life of a process: what it asks, what goes wrong on the way, and where in its files the end finds it.
#[derive(Debug, Clone)]
struct Life {
    /// Which of the two wallets.
    wallet: usize,
    /// Whether it asks what the life before asked.
    asks_again: bool,
    faults: Vec<Fault>,
    /// Where the journal ends, of the bytes that may be missing, in thousandths.
    cut: usize,
    receipts_cut: usize,
}

fn life() -> impl Strategy<Value = Life> {
    let faults = prop_oneof![
        4 => Just(vec![]),
        2 => Just(vec![Fault::Mute; 4]),
        2 => Just(vec![Fault::Deaf; 4]),
        1 => Just(vec![Fault::Deaf, Fault::Mute, Fault::Busy, Fault::Mute]),
        1 => Just(vec![Fault::Busy; 4]),
        1 => Just(vec![Fault::Full]),
    ];
    (0..2_usize, any::<bool>(), faults, 0..=1_000_usize, 0..=1_000_usize).prop_map(
        |(wallet, asks_again, faults, cut, receipts_cut)| Life {
            wallet,
            asks_again,
            faults,
            cut,
            receipts_cut,
        },
    )
}

/// A payer with its wallet.
struct Payer {
    key: usize,
    folder: TempDir,
    file: CredentialFile,
    last: String,
}

fn journal(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join("wallet.log")).unwrap_or_default()
}

fn receipts(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join("receipts.log")).unwrap_or_default()
}

async fn ask(caller: &Caller, prompt: &str) -> Result<String, Error> {
    let body = json!({ "messages": [{ "role": "user", "content": prompt }] }).to_string();
    let mut reply = caller.invoke("/chat/completions", Bytes::from(body)).await?;
    let Some(Piece::Whole(body)) = reply.next().await? else { panic!("a whole body") };
    let value: Value = serde_json::from_slice(&body).unwrap();
    Ok(value["choices"][0]["message"]["content"].as_str().unwrap().to_owned())
}

impl Payer {
    fn open(&self, scene: &Scene, seed: u8) -> Caller {
        let wallet = Wallet::open(self.folder.path()).unwrap();
        Caller::new(self.file.clone(), key(self.key), wallet, scene.seams(seed), settings()).unwrap()
    }

    async fn live(&mut self, scene: &Scene, life: &Life, number: u8) {
        let answered = scene.double.answered();
        if !life.asks_again || self.last.is_empty() {
            self.last = format!("question {number}");
        }
        let caller = self.open(scene, number);
        let (before, receipts_before) = (journal(self.folder.path()), receipts(self.folder.path()));
        scene.double.will(life.faults.iter().copied());
        let answer = ask(&caller, &self.last).await;
        scene.double.will_nothing();
        drop(caller);
        match answer {
            Ok(answer) => assert_eq!(answer, format!("You said: {}", self.last)),
            Err(Error::Connection { .. } | Error::Denied { status: 429, .. }) => {}
            Err(error) => panic!("{life:?}: {error}"),
        }
        // What was signed and left is on the disk; of what came later any part may be missing.
        let after = journal(self.folder.path());
        assert!(after.starts_with(&before));
        // A refused or unheard signature may be forgotten; one that was answered is on the disk before it left.
        let has_left = scene.double.answered() > answered;
        let lines = after[before.len()..].split_inclusive(|byte| *byte == b'\n');
        let ends = lines.scan(before.len(), |end, line| {
            *end += line.len();
            Some((*end, line.windows(10).any(|window| window == b"{\"signed\":")))
        });
        let signed = ends.filter(|(_, is_signed)| *is_signed).map(|(end, _)| end).last();
        let kept = if has_left { signed.unwrap_or(before.len()) } else { before.len() };
        let cut = kept + (after.len() - kept) * life.cut / 1_000;
        std::fs::write(self.folder.path().join("wallet.log"), &after[..cut]).unwrap();
        // A receipt is on the disk before the journal goes by it.
        let is_settled = |line: &&[u8]| line.windows(11).any(|window| window == b"{\"settled\":");
        let settled =
            after[before.len()..cut].split_inclusive(|byte| *byte == b'\n').filter(is_settled).count();
        let receipts_after = receipts(self.folder.path());
        let new = receipts_after[receipts_before.len()..].split_inclusive(|byte| *byte == b'\n');
        let floor = receipts_before.len() + new.take(settled).map(<[u8]>::len).sum::<usize>();
        let cut = floor + (receipts_after.len() - floor) * life.receipts_cut / 1_000;
        std::fs::write(self.folder.path().join("receipts.log"), &receipts_after[..cut]).unwrap();
    }
}

async fn lives(lives: Vec<Life>) {
    let scene = Scene::open().await;
    let payer = |index: usize| Payer {
        key: index,
        folder: tempfile::tempdir().unwrap(),
        file: double::credential(&scene.double, key(index).address(), &key(0)),
        last: String::new(),
    };
    let mut payers = [payer(6), payer(4)];
    let before = [6, 4].map(|index| scene.market.balance(key(index).address()).unwrap());
    for (number, life) in lives.iter().enumerate() {
        payers[life.wallet].live(&scene, life, u8::try_from(number).unwrap()).await;
    }
    for (index, payer) in payers.iter_mut().enumerate() {
        // Each goes on, and everything that was charged has its receipt.
        let caller = payer.open(&scene, 200);
        assert_eq!(ask(&caller, "the last").await.unwrap(), "You said: the last");
        drop(caller);
        let book = Wallet::peek(payer.folder.path()).unwrap();
        let mine = book.channels.values().map(|account| account.charged).sum::<u128>();
        let records = records(payer.folder.path());
        let mut ids: Vec<_> =
            records.iter().map(|record| record.receipt.receipt.receipt.invocationId).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(mine, ids.len() as u128 * (PRICE / 2), "every charge has a receipt");
        assert_eq!(mine, scene.double.charged_to(key(payer.key).address()));
        assert!(book.faults.is_empty() && book.channels.values().all(|account| account.without_receipt == 0));
        // One deposit for ten invocations, and the next where it is used up: none is made twice.
        let spent = before[index] - scene.market.balance(key(payer.key).address()).unwrap();
        let deposits = spent / U256::from(10 * PRICE);
        let needed = (mine + PRICE).div_ceil(10 * PRICE) + 1;
        assert!(deposits <= U256::from(needed), "{deposits} deposits for {mine}");
        for (channel, account) in &book.channels {
            assert!(
                scene.double.ceiling(*channel) <= account.ceiling,
                "a voucher is out that the wallet forgot"
            );
        }
    }
}

#[test]
fn wallets_killed_at_any_step_pay_once_and_go_on() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = Config { cases: 8, failure_persistence: None, ..Config::default() };
    let strategy = prop::collection::vec(life(), 6..24);
    TestRunner::new(config)
        .run(&strategy, |sequence| {
            runtime.block_on(lives(sequence));
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_long_journal_is_written_short() {
    let folder = tempfile::tempdir().unwrap();
    let mut wallet = Wallet::open(folder.path()).unwrap();
    let asset = key(1).address();
    for day in 0..200 {
        let caps = loyal_access::wallet::Caps { day: Some(day), ..Default::default() };
        wallet.write(loyal_access::wallet::Entry::Caps { asset, caps }).unwrap();
    }
    let (before, book) = (journal(folder.path()).len(), wallet.book().clone());
    wallet.shorten().unwrap();
    assert!(journal(folder.path()).len() < before / 10);
    drop(wallet);
    assert_eq!(*Wallet::open(folder.path()).unwrap().book(), book);
}
