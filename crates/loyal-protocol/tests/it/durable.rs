//! What survives: kill -9, power cuts, faults of the disk, foreign and damaged files, two processes.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use alloy_primitives::{Address, B256, U256};
use loyal_protocol::{
    Error,
    devnet::{Chain, Retention, Store},
};
use redb::{StorageBackend, backends::InMemoryBackend};
use serde_json::json;

use crate::kit::{HandClock, Rng, START, ask, ether, genesis, number, sign, signer, transfer};

const CHILD: &str = "LOYAL_TEST_KILLED_CHILD";
const SENDERS: u64 = 4;

fn open(folder: &Path) -> Result<Chain, Error> {
    Chain::open(Store::open(folder)?, genesis(), HandClock::at(START + 1_000))
}

fn nonce(chain: &Chain, sender: u64) -> u64 {
    number(&ask(chain, "eth_getTransactionCount", json!([signer(sender).address(), "latest"])))
}

fn send_one(chain: &Chain, sender: u64, nonce: u64) -> Result<(), Error> {
    chain.send(sign(&signer(sender), transfer(nonce, Address::with_last_byte(0xcc), U256::from(1)))).map(drop)
}

/// Checks the blocks after `from`: whole, linked, with all their receipts; returns the newest number.
fn check_blocks(chain: &Chain, from: u64) -> u64 {
    let newest = number(&ask(chain, "eth_blockNumber", json!([])));
    for number in from + 1..=newest {
        let block = ask(chain, "eth_getBlockByNumber", json!([format!("{number:#x}"), false]));
        let parent = ask(chain, "eth_getBlockByNumber", json!([format!("{:#x}", number - 1), false]));
        assert_eq!(block["parentHash"], parent["hash"]);
        let header: alloy_consensus::Header = serde_json::from_value(block.clone()).unwrap();
        assert_eq!(json!(header.hash_slow()), block["hash"]);
        let receipts = ask(chain, "eth_getBlockReceipts", json!([block["hash"]]));
        let hashes: Vec<_> =
            receipts.as_array().unwrap().iter().map(|r| r["transactionHash"].clone()).collect();
        assert_eq!(json!(hashes), block["transactions"]);
    }
    // Every transfer moved one wei: state and blocks are of the same moment.
    let sent: u64 = (0..SENDERS).map(|sender| nonce(chain, sender)).sum();
    let balance = ask(chain, "eth_getBalance", json!([Address::with_last_byte(0xcc), "latest"]));
    assert_eq!(balance, format!("{sent:#x}"));
    newest
}

/// The child's half of the next test: sends from four threads until it is killed, and says what was acknowledged.
#[test]
#[allow(clippy::disallowed_methods, reason = "the parent tells its child so")]
fn the_child_that_is_killed() {
    let Ok(folder) = std::env::var(CHILD) else { return };
    let chain = open(Path::new(&folder)).unwrap();
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let chain = &chain;
            scope.spawn(move || {
                for next in nonce(chain, sender).. {
                    send_one(chain, sender, next).unwrap();
                    let line = format!("acknowledged {sender} {next}\n");
                    std::io::stderr().write_all(line.as_bytes()).unwrap();
                }
            });
        }
    });
}

/// Runs a child for `life`, kills it, and returns the nonce after the last acknowledged one of each sender.
fn acknowledged(folder: &Path, life: Duration) -> HashMap<u64, u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "durable::the_child_that_is_killed", "--nocapture"])
        .env(CHILD, folder)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let reader = std::thread::spawn(move || {
        let mut next = HashMap::new();
        for line in lines.map_while(Result::ok) {
            let words: Vec<_> = line.split(' ').collect();
            let ["acknowledged", sender, nonce] = words[..] else { panic!("the child says: {line}") };
            next.insert(sender.parse().unwrap(), nonce.parse::<u64>().unwrap() + 1);
        }
        next
    });
    std::thread::sleep(life);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the long mode is asked for by LOYAL_KILL_COUNT=1000")]
fn a_killed_chain_keeps_every_acknowledged_block() {
    let count = std::env::var("LOYAL_KILL_COUNT").map_or(100, |count| count.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut rng = Rng(7);
    let (mut checked, mut total) = (0, 0);
    for _ in 0..count {
        let acknowledged = acknowledged(folder.path(), Duration::from_millis(rng.below(120)));
        let chain = open(folder.path()).unwrap();
        for (sender, next) in &acknowledged {
            assert!(nonce(&chain, *sender) >= *next, "sender {sender} lost nonce {}", next - 1);
        }
        checked = check_blocks(&chain, checked);
        total += acknowledged.len();
    }
    assert!(total > 0 && checked > 20, "the children did no work: {checked} blocks");
    let chain = open(folder.path()).unwrap();
    let mut exported = Vec::new();
    chain.export(&mut exported).unwrap();
    let again = Chain::open(Store::in_memory().unwrap(), genesis(), HandClock::at(START)).unwrap();
    assert_eq!(again.import(&mut exported.as_slice()).unwrap(), checked);
    assert_eq!(again.status().hash, chain.status().hash);
    eprintln!("{count} kills, {checked} blocks kept, and made again with equal hashes");
}

/// A disk that forgets what was not synced, in part, when the power is cut; or fails on demand.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<Platters>>);

#[derive(Debug, Default)]
struct Platters {
    synced: Vec<u8>,
    now: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
    bytes_max: Option<u64>,
    writes_until_fault: Option<u64>,
    fail_sync: bool,
}

impl Disk {
    fn lock(&self) -> std::sync::MutexGuard<'_, Platters> {
        self.0.lock().unwrap()
    }

    /// What is on the disk after a power cut: the synced part, and a random part of the rest, some of it torn.
    fn after_power_cut(&self, rng: &mut Rng) -> Self {
        let platters = self.lock();
        let mut image = platters.synced.clone();
        for (at, bytes) in &platters.unsynced {
            let kept = match rng.below(3) {
                0 => 0,
                1 => bytes.len(),
                _ => rng.below(bytes.len() as u64 + 1) as usize,
            };
            if image.len() < at + kept {
                image.resize(at + kept, 0);
            }
            image[*at..at + kept].copy_from_slice(&bytes[..kept]);
        }
        // The file's length is known to the file system before its content.
        let length = image.len().max(platters.now.len());
        image.resize(length, 0);
        Self(Arc::new(Mutex::new(Platters { synced: image.clone(), now: image, ..Default::default() })))
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, std::io::Error> {
        Ok(self.lock().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        let platters = self.lock();
        let at = offset as usize;
        let bytes = platters.now.get(at..at + out.len());
        out.copy_from_slice(bytes.ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        let mut platters = self.lock();
        if platters.bytes_max.is_some_and(|most| len > most) {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        platters.now.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), std::io::Error> {
        let mut platters = self.lock();
        if platters.fail_sync {
            return Err(std::io::Error::other("the sync failed"));
        }
        platters.synced = platters.now.clone();
        platters.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        let mut platters = self.lock();
        match &mut platters.writes_until_fault {
            Some(0) => return Err(std::io::Error::other("the disk is gone")),
            Some(left) => *left -= 1,
            None => {}
        }
        let at = offset as usize;
        platters.now[at..at + data.len()].copy_from_slice(data);
        platters.unsynced.push((at, data.to_vec()));
        Ok(())
    }
}

fn on(disk: &Disk) -> Result<Chain, Error> {
    Chain::open(Store::with_backend(disk.clone())?, genesis(), HandClock::at(START + 1_000))
}

#[test]
fn a_power_cut_loses_no_acknowledged_block() {
    let mut rng = Rng(11);
    let mut disk = Disk::default();
    let (mut next, mut checked) = (0, 0);
    for _ in 0..60 {
        let chain = on(&disk).unwrap();
        assert!(nonce(&chain, 0) >= next, "a power cut lost nonce {}", next - 1);
        checked = check_blocks(&chain, checked);
        next = nonce(&chain, 0);
        for _ in 0..rng.below(6) {
            send_one(&chain, 0, next).unwrap();
            next += 1;
        }
        // The cut comes in the middle of the next block: its writes are there in part.
        disk.lock().writes_until_fault = Some(rng.below(12));
        let _ = send_one(&chain, 0, next);
        disk = disk.after_power_cut(&mut rng);
    }
    assert!(checked > 60);
}

#[test]
fn a_full_disk_or_a_failed_sync_is_said_and_loses_nothing() {
    let full = |platters: &mut Platters| platters.bytes_max = Some(platters.now.len() as u64);
    let unsynced = |platters: &mut Platters| platters.fail_sync = true;
    let faults: [&dyn Fn(&mut Platters); 2] = [&full, &unsynced];
    for fault in faults {
        let disk = Disk::default();
        let chain = on(&disk).unwrap();
        send_one(&chain, 0, 0).unwrap();
        fault(&mut disk.lock());
        let refused = (1..20_000).find_map(|next| Some((next, send_one(&chain, 0, next).err()?)));
        let (next, error) = refused.expect("the fault shows");
        assert!(matches!(error, Error::Store { .. }), "{error}");
        assert!(send_one(&chain, 0, next).is_err(), "a store that failed takes nothing more");
        drop(chain);
        let mut platters = std::mem::take(&mut *disk.lock());
        (platters.bytes_max, platters.fail_sync) = (None, false);
        let repaired = Disk(Arc::new(Mutex::new(platters)));
        let chain = on(&repaired).unwrap();
        assert!(nonce(&chain, 0) >= next);
        check_blocks(&chain, 0);
        send_one(&chain, 0, nonce(&chain, 0)).unwrap();
    }
}

#[test]
fn one_store_has_one_owner() {
    let folder = tempfile::tempdir().unwrap();
    let chain = open(folder.path()).unwrap();
    let error = open(folder.path()).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    drop(chain);
    open(folder.path()).unwrap();
}

#[test]
fn a_foreign_file_or_chain_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chain.redb");
    std::fs::write(&path, "a diary, not a chain\n".repeat(1_000)).unwrap();
    let error = open(folder.path()).unwrap_err();
    assert!(matches!(error, Error::Foreign { .. }), "{error}");
    std::fs::remove_file(&path).unwrap();
    drop(open(folder.path()).unwrap());
    let mut other = genesis();
    other.accounts.remove(&signer(3).address());
    let store = Store::open(folder.path()).unwrap();
    let error = Chain::open(store, other, HandClock::at(START)).unwrap_err();
    assert!(matches!(error, Error::OtherGenesis { .. }), "{error}");
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(Chain::genesis_of(&store).unwrap().unwrap(), genesis());
}

#[test]
fn an_older_format_is_named() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    let database = redb::Database::create(folder.path().join("chain.redb")).unwrap();
    let write = database.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, &[u8]>::new("meta");
    write.open_table(meta).unwrap().insert("format", 0_u64.to_be_bytes().as_slice()).unwrap();
    write.commit().unwrap();
    drop(database);
    let error = open(folder.path()).unwrap_err();
    assert!(matches!(error, Error::Format { found: 0, wanted: 1 }), "{error}");
}

#[test]
fn a_damaged_file_is_an_error_or_an_intact_chain() {
    let folder = tempfile::tempdir().unwrap();
    let chain = open(folder.path()).unwrap();
    for next in 0..30 {
        send_one(&chain, 0, next).unwrap();
    }
    drop(chain);
    let path = folder.path().join("chain.redb");
    let whole = std::fs::read(&path).unwrap();
    let mut rng = Rng(3);
    let mut found = 0;
    for _ in 0..60 {
        let mut bytes = whole.clone();
        if rng.below(4) == 0 {
            bytes.truncate(rng.below(bytes.len() as u64) as usize);
        } else {
            let at = rng.below(bytes.len() as u64) as usize;
            let end = (at + 64).min(bytes.len());
            bytes[at..end].iter_mut().for_each(|byte| *byte ^= 0x5a);
        }
        std::fs::write(&path, &bytes).unwrap();
        match Store::open(folder.path()).and_then(|mut store| store.check().map(|_| store)) {
            Err(_) => found += 1,
            Ok(store) => {
                let chain = Chain::open(store, genesis(), HandClock::at(START + 1_000)).unwrap();
                check_blocks(&chain, 0);
            }
        }
    }
    assert!(found > 10, "only {found} of 60 damages were found");
}

#[test]
fn a_store_keeps_what_its_retention_says() {
    let store = Store::with_backend(InMemoryBackend::new()).unwrap();
    let store = store.keeping(Retention { state_count_max: 10, block_count_max: 20 });
    let chain = Chain::open(store, genesis(), HandClock::at(START)).unwrap();
    for next in 0..50 {
        send_one(&chain, 0, next).unwrap();
    }
    let state = |block: u64| chain.request("eth_getBalance", json!([Address::ZERO, format!("{block:#x}")]));
    assert!(state(42).is_ok() && state(39).unwrap_err().message.contains("no longer kept"));
    let body = |block: u64| chain.request("eth_getBlockByNumber", json!([format!("{block:#x}"), true]));
    assert!(body(35).is_ok() && body(30).unwrap_err().message.contains("no longer kept"));
    let logs = chain.request("eth_getLogs", json!([{"fromBlock": "0x1"}]));
    assert!(logs.unwrap_err().message.contains("no longer kept"));
    assert_eq!(nonce(&chain, 0), 50);
    assert_eq!(ask(&chain, "eth_getBalance", json!([Address::with_last_byte(0xcc), "latest"])), "0x32");
    assert!(chain.export(&mut Vec::new()).is_err());
    assert_eq!(ether(1), U256::from(10).pow(U256::from(18)));
}

#[test]
fn a_store_with_retention_is_bounded_and_still_reverts() {
    let store = Store::with_backend(InMemoryBackend::new()).unwrap();
    let store = store.keeping(Retention { state_count_max: 5, block_count_max: 3 });
    let chain = Chain::open(store, genesis(), HandClock::at(START)).unwrap();
    chain.fund(Address::with_last_byte(0xdd), ether(1)).unwrap();
    for next in 0..400 {
        send_one(&chain, 0, next).unwrap();
    }
    let header = |block: u64| chain.request("eth_getBlockByNumber", json!([format!("{block:#x}"), false]));
    // The newest block reaches 256 hashes back, and so do those that can be gone back to.
    assert!(header(100).unwrap_err().message.contains("no longer kept"), "the header is gone");
    assert_eq!(header(0).unwrap()["number"], "0x0", "block 0 stays");
    assert_eq!(header(500).unwrap(), json!(null));
    assert!(chain.request("eth_feeHistory", json!(["0x400", "latest", []])).unwrap_err().code != -32603);
    assert!(chain.export(&mut Vec::new()).unwrap_err().to_string().contains("no longer kept"));
    let hash = block_hash(&chain, 400 - 255);
    assert_ne!(hash, B256::ZERO, "BLOCKHASH reaches 256 blocks back");
    let snapshot = ask(&chain, "evm_snapshot", json!([]));
    for next in 400..403 {
        send_one(&chain, 0, next).unwrap();
    }
    assert_eq!(ask(&chain, "evm_revert", json!([snapshot])), true);
    assert_eq!(chain.status().block, 400);
    assert_eq!(block_hash(&chain, 400 - 255), hash);
    send_one(&chain, 0, 400).unwrap();
}

/// What BLOCKHASH says in a call inside the pending block.
fn block_hash(chain: &Chain, number: u64) -> B256 {
    // PUSH2 number, BLOCKHASH, PUSH0, MSTORE, PUSH1 32, PUSH0, RETURN
    let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
    let code =
        alloy_primitives::hex::encode_prefixed([0x61, high, low, 0x40, 0x5f, 0x52, 0x60, 32, 0x5f, 0xf3]);
    let at = Address::with_last_byte(0xee);
    let said = ask(chain, "eth_call", json!([{"to": at}, "latest", {at.to_string(): {"code": code}}]));
    serde_json::from_value(said).unwrap()
}
