//! What the tests share: a clock in hand, signers, chains in memory, transactions.

use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use loyal_protocol::devnet::{Chain, Fault, Genesis, Limits, Server, Store, serve};
use loyal_types::Clock;
use serde_json::{Value, json};

pub(crate) const START: u64 = 1_700_000_000;

/// A clock that stands where the test puts it.
#[derive(Debug, Default)]
pub(crate) struct HandClock {
    pub(crate) seconds: AtomicU64,
    pub(crate) elapsed_ms: AtomicU64,
}

impl HandClock {
    pub(crate) fn at(seconds: u64) -> Arc<Self> {
        Arc::new(Self { seconds: seconds.into(), elapsed_ms: 0.into() })
    }
}

impl Clock for HandClock {
    fn unix_seconds(&self) -> u64 {
        self.seconds.load(Ordering::SeqCst)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.elapsed_ms.load(Ordering::SeqCst))
    }
}

/// The signer with number `index`, the same in every run.
pub(crate) fn signer(index: u64) -> PrivateKeySigner {
    let secret = B256::from(U256::from(index) + U256::from(0x10_0001));
    PrivateKeySigner::from_bytes(&secret).unwrap()
}

pub(crate) fn ether(count: u64) -> U256 {
    U256::from(count) * U256::from(10).pow(U256::from(18))
}

pub(crate) fn genesis() -> Genesis {
    let accounts: Vec<_> = (0..10).map(|index| signer(index).address()).collect();
    Genesis::development(&accounts, ether(10_000), START)
}

/// A fresh chain in memory.
pub(crate) fn chain() -> (Chain, Arc<HandClock>) {
    let clock = HandClock::at(START + 1_000);
    (Chain::open(Store::in_memory().unwrap(), genesis(), clock.clone()).unwrap(), clock)
}

/// A transaction's fields that tests vary.
pub(crate) fn tx(nonce: u64, to: impl Into<TxKind>, input: impl Into<Bytes>) -> TxEip1559 {
    TxEip1559 {
        chain_id: 31337,
        nonce,
        gas_limit: 1_000_000,
        max_fee_per_gas: 3_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        to: to.into(),
        input: input.into(),
        ..Default::default()
    }
}

pub(crate) fn transfer(nonce: u64, to: Address, value: U256) -> TxEip1559 {
    TxEip1559 { value, gas_limit: 21_000, ..tx(nonce, to, Bytes::new()) }
}

pub(crate) fn sign<T: SignableTransaction<Signature>>(signer: &PrivateKeySigner, tx: T) -> Bytes
where
    TxEnvelope: From<alloy_consensus::Signed<T>>,
{
    let signature = signer.sign_hash_sync(&tx.signature_hash()).unwrap();
    TxEnvelope::from(tx.into_signed(signature)).encoded_2718().into()
}

pub(crate) fn ask(chain: &Chain, method: &str, params: Value) -> Value {
    chain.request(method, params).unwrap()
}

pub(crate) fn refused(chain: &Chain, method: &str, params: Value) -> Fault {
    chain.request(method, params).unwrap_err()
}

/// Sends a transaction and returns its receipt.
pub(crate) fn receipt(chain: &Chain, raw: Bytes) -> Value {
    let hash = ask(chain, "eth_sendRawTransaction", json!([raw]));
    ask(chain, "eth_getTransactionReceipt", json!([hash]))
}

/// A quantity of an answer.
pub(crate) fn number(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

/// Deployment code for a contract whose run-time code is `code`.
pub(crate) fn deployment(code: &[u8]) -> Bytes {
    let length = u8::try_from(code.len()).unwrap();
    let mut init = vec![0x60, length, 0x60, 11, 0x5f, 0x39, 0x60, length, 0x5f, 0xf3, 0x00];
    init.extend(code);
    init.into()
}

/// Numbers that look random and are the same in every run (splitmix64).
#[derive(Debug)]
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
}

/// A chain in memory behind a server on a port of its own.
pub(crate) struct Served {
    pub(crate) chain: Arc<Chain>,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) address: String,
    _runtime: tokio::runtime::Runtime,
    _server: Server,
}

impl Served {
    pub(crate) fn new(limits: &Limits) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (chain, clock) = chain();
        let chain = Arc::new(chain);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = runtime.block_on(async { serve(listener, chain.clone(), limits).unwrap() });
        Self { chain, clock, address, _runtime: runtime, _server: server }
    }
}
