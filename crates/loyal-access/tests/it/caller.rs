//! A caller against a host that judges: what is paid, what is kept, and what happens when something breaks.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::U256;
use bytes::Bytes;
use loyal_access::caller::{Caller, Piece, Seams, Settings, Withdrawal};
use loyal_access::wallet::{Caps, Entry, Record, Wallet};
use loyal_access::{Error, document::CredentialFile};
use loyal_protocol::chain::Patience;
use loyal_protocol::devnet::{Accounts, Chain, Genesis, Store};
use loyal_protocol::{Client, Key, Walk};
use loyal_types::Clock;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::double::{self, Double, Fault};
use crate::market::{LOYAL, Market, START};

pub(crate) const PRICE: u128 = LOYAL / 500;
const DAY: u64 = 86_400;

#[derive(Debug)]
pub(crate) struct Noon;

impl Clock for Noon {
    fn unix_seconds(&self) -> u64 {
        START
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

/// A chain with a hosting, a host for it, and a user.
pub(crate) struct Scene {
    pub(crate) double: Arc<Double>,
    pub(crate) file: CredentialFile,
    pub(crate) folder: TempDir,
    pub(crate) client: Arc<Client>,
    pub(crate) market: Market,
}

/// One of the market's people: owner 0, signer 5, user 6.
pub(crate) fn key(index: usize) -> Key {
    Key::try_from(&Accounts::derive(&[7; 32], 8).accounts[index]).unwrap()
}

impl Scene {
    pub(crate) async fn open() -> Self {
        let (market, client, hosting) = tokio::task::spawn_blocking(|| {
            let genesis = Genesis::development(&[], U256::ZERO, START - 10 * DAY);
            let chain = Arc::new(Chain::open(Store::in_memory().unwrap(), genesis, Arc::new(Noon)).unwrap());
            let mut market = Market::on(chain.clone()).unwrap();
            let model = market.model("model", (0, 0)).unwrap();
            let hosting = market.host(model, PRICE).unwrap();
            let patience = Patience { attempts_max: 6_000, pause: Duration::from_millis(1) };
            (market, Arc::new(Client::connect(chain, None, patience).unwrap()), hosting)
        })
        .await
        .unwrap();
        let double = Double::start(client.clone(), market.at, key(5), hosting, PRICE).await;
        let file = double::credential(&double, key(6).address(), &key(0));
        Self { double, file, folder: tempfile::tempdir().unwrap(), client, market }
    }

    pub(crate) fn wallet(&self) -> Wallet {
        Wallet::open(self.folder.path()).unwrap()
    }

    pub(crate) fn seams(&self, seed: u8) -> Seams {
        Seams { client: self.client.clone(), clock: Arc::new(Noon), seed: [seed; 32] }
    }

    pub(crate) fn caller_with(&self, seed: u8, settings: Settings) -> Caller {
        Caller::new(self.file.clone(), key(6), self.wallet(), self.seams(seed), settings).unwrap()
    }

    pub(crate) fn caller(&self) -> Caller {
        self.caller_with(1, settings())
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        records(self.folder.path())
    }
}

pub(crate) fn settings() -> Settings {
    Settings { pause: Duration::from_millis(1), attempts_max: 4, ..Settings::default() }
}

pub(crate) fn records(folder: &Path) -> Vec<Record> {
    let mut records = Vec::new();
    Wallet::receipts(folder, |record| {
        records.push(record);
        Ok(())
    })
    .unwrap();
    records
}

fn chat(prompt: &str) -> Bytes {
    json!({ "model": "m", "messages": [{ "role": "user", "content": prompt }] }).to_string().into()
}

async fn whole(caller: &Caller, prompt: &str) -> Result<String, Error> {
    let mut reply = caller.invoke("/chat/completions", chat(prompt)).await?;
    assert!(!reply.is_stream() && reply.record().is_some());
    let Some(Piece::Whole(body)) = reply.next().await? else { panic!("a whole body") };
    let value: Value = serde_json::from_slice(&body).unwrap();
    Ok(value["choices"][0]["message"]["content"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_lines_from_a_credential_to_a_streamed_answer() {
    let scene = Scene::open().await;
    let caller = scene.caller();
    let mut answer = caller.ask("good morning, host").await.unwrap();
    let mut pieces = Vec::new();
    while let Some(text) = answer.next().await.unwrap() {
        pieces.push(text);
    }
    assert_eq!(pieces, ["You ", "said: ", "good ", "morning, ", "host"]);
    let record = answer.record().unwrap();
    assert_eq!(record.receipt.receipt.receipt.amount, PRICE / 2);
    assert!(record.is_answer_seen && record.fault.is_none());
    drop(answer);
    // One deposit for ten invocations; then the channel pays by vouchers alone.
    for n in 1..=12 {
        assert_eq!(whole(&caller, &n.to_string()).await.unwrap(), format!("You said: {n}"));
    }
    assert_eq!((scene.double.answered(), scene.double.channel_count()), (13, 1));
    assert_eq!(scene.double.charged(), 13 * (PRICE / 2));
    drop(caller);
    let book = Wallet::peek(scene.folder.path()).unwrap();
    let account = book.channels.values().next().unwrap();
    assert_eq!((account.charged, account.pending.is_none()), (13 * (PRICE / 2), true));
    assert_eq!(account.balance, 10 * PRICE);
    let records = scene.records();
    assert_eq!(records.len(), 13);
    let nonces: Vec<_> = records.iter().map(|record| record.invocation.invocation.nonce).collect();
    assert!(nonces.is_sorted_by(|a, b| a < b), "{nonces:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_requests_pay_on_channels_of_their_own() {
    let scene = Scene::open().await;
    let caller = scene.caller_with(1, Settings { channel_count_max: 4, ..settings() });
    let ask = |n: usize| {
        let caller = caller.clone();
        tokio::spawn(async move { whole(&caller, &n.to_string()).await.unwrap() })
    };
    let asked: Vec<_> = (0..12).map(ask).collect();
    for (n, answer) in asked.into_iter().enumerate() {
        assert_eq!(answer.await.unwrap(), format!("You said: {n}"));
    }
    assert_eq!(scene.double.answered(), 12);
    assert!((2..=4).contains(&scene.double.channel_count()), "{}", scene.double.channel_count());
}

/// Whatever breaks, each invocation is answered once, paid once, and its receipt kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_off_is_sent_again_and_paid_once() {
    let scene = Scene::open().await;
    let caller = scene.caller();
    for (faults, n) in [
        (vec![Fault::Deaf], 1),
        (vec![Fault::Mute], 2),
        (vec![Fault::Busy, Fault::Busy], 3),
        (vec![Fault::Mute, Fault::Deaf, Fault::Busy], 4),
    ] {
        scene.double.will(faults);
        assert_eq!(whole(&caller, "again").await.unwrap(), "You said: again");
        assert_eq!(scene.double.answered(), n);
    }
    scene.double.will([Fault::Torn, Fault::Deaf]);
    let (text, record) = caller.ask("a stream of words that tears").await.unwrap().text().await.unwrap();
    assert_eq!(text, "You said: a stream of words that tears");
    assert!(record.unwrap().is_answer_seen);
    assert_eq!((scene.double.answered(), scene.double.charged()), (5, 5 * (PRICE / 2)));
    assert_eq!(scene.records().len(), 5);
}

/// Nobody answers at all; then the process is another one, and the same request gets the answer that was paid for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash_the_same_request_gets_the_paid_answer() {
    let scene = Scene::open().await;
    let caller = scene.caller();
    scene.double.will([Fault::Mute, Fault::Mute, Fault::Mute, Fault::Mute]);
    let error = whole(&caller, "hello").await.unwrap_err();
    assert!(matches!(error, Error::Connection { .. }), "{error}");
    assert_eq!(scene.double.answered(), 1);
    drop(caller);
    let caller = scene.caller_with(2, settings());
    assert_eq!(whole(&caller, "hello").await.unwrap(), "You said: hello");
    assert_eq!(scene.double.answered(), 1, "one invocation, one payment");
    // Another request first asks what became of the one before.
    scene.double.will([Fault::Mute, Fault::Mute, Fault::Mute, Fault::Mute]);
    whole(&caller, "lost").await.unwrap_err();
    drop(caller);
    let caller = scene.caller_with(3, settings());
    assert_eq!(whole(&caller, "next").await.unwrap(), "You said: next");
    let records = scene.records();
    assert_eq!((scene.double.answered(), records.len()), (3, 3));
    let seen: Vec<_> = records.iter().map(|record| record.is_answer_seen).collect();
    assert_eq!(seen, [true, false, true]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_wallet_finds_its_channel_by_the_payers_own_signature() {
    let scene = Scene::open().await;
    let caller = scene.caller();
    for _ in 0..3 {
        whole(&caller, "x").await.unwrap();
    }
    drop(caller);
    let other = tempfile::tempdir().unwrap();
    let wallet = Wallet::open(other.path()).unwrap();
    let clockwork = Seams { clock: Arc::new(Later), ..scene.seams(2) };
    let caller = Caller::new(scene.file.clone(), key(6), wallet, clockwork, settings()).unwrap();
    assert_eq!(whole(&caller, "y").await.unwrap(), "You said: y");
    assert_eq!((scene.double.answered(), scene.double.charged()), (4, 4 * (PRICE / 2)));
    drop(caller);
    let book = Wallet::peek(other.path()).unwrap();
    assert_eq!(book.channels.values().next().unwrap().charged, 4 * (PRICE / 2));
}

/// A minute later than [`Noon`].
struct Later;

impl Clock for Later {
    fn unix_seconds(&self) -> u64 {
        START + 60
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

/// A host that claims a sum nobody signed for is not believed, and one without memory starts where the chain stands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_without_memory_starts_where_the_chain_stands() {
    let scene = Scene::open().await;
    let caller = scene.caller();
    whole(&caller, "x").await.unwrap();
    scene.double.forget();
    assert_eq!(whole(&caller, "y").await.unwrap(), "You said: y");
    assert_eq!(scene.double.charged(), PRICE / 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_breaks_the_rules_is_not_paid_any_more() {
    for (fault, words) in [
        (Fault::Overcharge, "charges more than was allowed"),
        (Fault::OtherAnswer, "speaks of another answer"),
        (Fault::OtherSigner, "not signed by the hosting's signer"),
    ] {
        let scene = Scene::open().await;
        let caller = scene.caller();
        whole(&caller, "x").await.unwrap();
        scene.double.will([fault]);
        let error = whole(&caller, "y").await.unwrap_err();
        assert!(matches!(&error, Error::Misbehaved { why } if why.contains(words)), "{fault:?}: {error}");
        let error = whole(&caller, "z").await.unwrap_err();
        assert!(matches!(&error, Error::Faulted { why, .. } if why.contains(words)), "{fault:?}: {error}");
        drop(caller);
        // It stays so, and the evidence is kept.
        let error = whole(&scene.caller_with(2, settings()), "z").await.unwrap_err();
        assert!(matches!(error, Error::Faulted { .. }), "{error}");
        assert_eq!(scene.double.answered(), 2);
        assert!(scene.records()[1].fault.as_ref().unwrap().contains(words));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_a_receipt_is_settled_by_asking_for_it() {
    let scene = Scene::open().await;
    let caller = scene.caller();
    scene.double.will([Fault::NoReceipt]);
    let error = whole(&caller, "x").await.unwrap_err();
    assert!(matches!(error, Error::Misbehaved { .. }), "{error}");
    assert_eq!(whole(&caller, "y").await.unwrap(), "You said: y");
    assert_eq!((scene.double.answered(), scene.records().len()), (2, 2));
    scene.double.will([Fault::Gone]);
    let error = whole(&caller, "z").await.unwrap_err();
    assert!(matches!(error, Error::AnswerGone), "{error}");
    assert_eq!(scene.records().len(), 3, "the receipt of the answer that is gone is kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caps_refuse_before_anything_is_signed() {
    let scene = Scene::open().await;
    let asset = scene.market.asset();
    let mut wallet = scene.wallet();
    let caps = |request: Option<u128>, hour: Option<u128>, day: Option<u128>| Caps { request, hour, day };
    for (caps, paid, words) in [
        (caps(Some(PRICE - 1), None, None), 0, "a request"),
        // Half of the price is charged, all of it is promised.
        (caps(Some(PRICE), Some(2 * PRICE), None), 3, "an hour"),
        (caps(None, None, Some(3 * PRICE)), 2, "a day"),
    ] {
        wallet.write(Entry::Caps { asset, caps }).unwrap();
        let caller = Caller::new(scene.file.clone(), key(6), wallet, scene.seams(paid), settings()).unwrap();
        for _ in 0..paid {
            whole(&caller, "x").await.unwrap();
        }
        let error = whole(&caller, "x").await.unwrap_err();
        assert!(error.to_string().contains(&format!("the cap for {words} is")), "{error}");
        assert!(matches!(error, Error::Capped { .. }));
        drop(caller);
        wallet = scene.wallet();
        assert!(wallet.book().channels.values().all(|account| account.pending.is_none()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_costs_nothing_and_other_terms_are_taken() {
    let scene = Scene::open().await;
    let caller = scene.caller();
    scene.double.will([Fault::Full]);
    let error = whole(&caller, "x").await.unwrap_err();
    let Error::Denied { status: 429, retry_after: Some(7), .. } = error else { panic!("{error}") };
    assert_eq!(whole(&caller, "x").await.unwrap(), "You said: x");
    // A price below that of the hosting is taken; one above is not what the chain says.
    scene.double.will([Fault::Price(PRICE / 2)]);
    assert_eq!(whole(&caller, "y").await.unwrap(), "You said: y");
    scene.double.will([Fault::Price(2 * PRICE)]);
    let error = whole(&caller, "z").await.unwrap_err();
    assert!(error.to_string().contains("keep to the price of its hosting"), "{error}");
    assert_eq!(scene.double.charged(), PRICE / 2 + PRICE / 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wallet_is_one_processs_one_payers_and_one_sites() {
    let scene = Scene::open().await;
    let wallet = scene.wallet();
    assert!(matches!(Wallet::open(scene.folder.path()), Err(Error::Locked { .. })));
    let caller = Caller::new(scene.file.clone(), key(6), wallet, scene.seams(1), settings()).unwrap();
    drop(caller);
    let moved = CredentialFile { channel: key(1).address(), ..scene.file.clone() };
    let error = Caller::new(moved, key(6), scene.wallet(), scene.seams(1), settings()).unwrap_err();
    assert!(error.to_string().contains("other contracts"), "{error}");
    let error =
        Caller::new(scene.file.clone(), key(3), scene.wallet(), scene.seams(1), settings()).unwrap_err();
    assert!(error.to_string().contains("the credential is"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rest_comes_back() {
    let scene = Scene::open().await;
    let caller = scene.caller();
    whole(&caller, "x").await.unwrap();
    drop(caller);
    let user = key(6).address();
    let (mut wallet, client) = (scene.wallet(), scene.client.clone());
    tokio::task::spawn_blocking(move || {
        let channel = Wallet::channels_of(wallet.book())[0];
        let before = scene.market.balance(user).unwrap();
        let (key, mut tell) = (key(6), |_: &_| ());
        let mut step = |wallet: &mut Wallet| {
            let mut walk = Walk::begin(&client, &key, false, &mut tell).unwrap();
            wallet.withdraw(&mut walk, channel).unwrap()
        };
        let rest = 10 * PRICE - PRICE / 2;
        let Withdrawal::Asked { amount, ready_at } = step(&mut wallet) else { panic!("asked for") };
        assert_eq!(amount, rest);
        assert!(matches!(step(&mut wallet), Withdrawal::Asked { .. }), "asking again changes nothing");
        client.ask::<Value>("evm_setNextBlockTimestamp", json!([ready_at])).unwrap();
        client.ask::<Value>("evm_mine", json!([])).unwrap();
        assert_eq!(step(&mut wallet), Withdrawal::Done { amount: rest });
        assert_eq!(scene.market.balance(user).unwrap() - before, U256::from(rest));
        assert_eq!(step(&mut wallet), Withdrawal::Empty);
    })
    .await
    .unwrap();
}
