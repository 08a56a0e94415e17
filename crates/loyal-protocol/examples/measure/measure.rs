//! What the measuring programs share: signers, transfers, and how much memory a process holds.
#![allow(dead_code, reason = "each program takes what it needs")]

use std::time::{Duration, Instant, SystemTime};

use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy_eips::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use loyal_types::Clock;

pub(crate) struct SystemClock(pub(crate) Instant);

impl Clock for SystemClock {
    fn unix_seconds(&self) -> u64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

pub(crate) fn signer(index: u64) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::from(U256::from(index + 77))).unwrap()
}

/// One wei to one of a thousand accounts.
pub(crate) fn transfer(signer: &PrivateKeySigner, nonce: u64) -> Bytes {
    let tx = TxEip1559 {
        chain_id: 31337,
        nonce,
        gas_limit: 21_000,
        // A hundred blocks fuller than half make the base fee a hundred times higher.
        max_fee_per_gas: 1_000_000_000_000_000,
        max_priority_fee_per_gas: 1,
        to: Address::left_padding_from(&(nonce % 1_000 + 1_000).to_be_bytes()).into(),
        value: U256::from(1),
        ..Default::default()
    };
    let signature = signer.sign_hash_sync(&tx.signature_hash()).unwrap();
    TxEnvelope::from(tx.into_signed(signature)).encoded_2718().into()
}

/// Memory a process holds, in MB; zero where the system does not tell.
pub(crate) fn memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1_024 / 1_000_000
}
