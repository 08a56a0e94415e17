//! Evidence in Solidity and in Rust: random histories, equal to the bit. `LOYAL_COINS=1000000` is the long mode.

use alloy_primitives::{Bytes, TxKind, hex};
use alloy_sol_types::sol;
use loyal_protocol::{Client, Failure};
use loyal_types::{Chance, evidence::Evidence};

use crate::{
    client::{chain, client, key},
    kit::Rng,
    npm,
};

sol! {
    interface EvidenceHarness {
        function walk(uint32 k, bytes history) external pure returns (int64);
        function bits(uint32 k, uint32 hits, uint32 coins) external pure returns (int64);
    }
}

/// The library with a contract around it that anybody can call.
const HARNESS: &str = "
contract EvidenceHarness {
    function walk(uint32 k, bytes calldata history) external pure returns (int64) {
        Coins memory coins = Evidence.none(k);
        for (uint256 i = 0; i < history.length; ++i) Evidence.add(coins, history[i] != 0);
        return coins.bits;
    }
    function bits(uint32 k, uint32 hits, uint32 coins) external pure returns (int64) {
        return Evidence.bitsOf(k, hits, coins);
    }
}
";

/// Coins of one history at most: what a call's gas is good for.
const HISTORY_COINS_MAX: u64 = 600;
/// Coins of the default run.
const COINS: u64 = 20_000;

fn harness(client: &Client) -> alloy_primitives::Address {
    let library = include_str!("../../../../contracts/src/libraries/Evidence.sol");
    let path = npm::folder().join("EvidenceHarness.sol");
    std::fs::write(&path, format!("{library}{HARNESS}")).unwrap();
    let compiled = npm::compiled(path.to_str().unwrap());
    let code: Bytes = hex::decode(compiled["EvidenceHarness"].as_str().unwrap()).unwrap().into();
    client.send_data(&key(0), TxKind::Create, code).unwrap();
    key(0).address().create(0)
}

#[test]
fn evidence_on_chain_is_evidence_in_rust_to_the_bit() {
    #[allow(clippy::disallowed_methods, reason = "the long mode is asked for from outside")]
    let wanted = std::env::var("LOYAL_COINS").ok().and_then(|text| text.parse().ok()).unwrap_or(COINS);
    let client = client(chain());
    let at = harness(&client);
    let mut rng = Rng(7);
    let mut coins = 0;
    while coins < wanted {
        // Halves most often; every other chance a contract takes now and then, the ends among them.
        let k = match rng.below(4) {
            0 | 1 => 2,
            2 => [3, 256, 65_536][usize::try_from(rng.below(3)).unwrap()],
            _ => u32::try_from(2 + rng.below(65_535)).unwrap(),
        };
        let length = rng.below(HISTORY_COINS_MAX);
        let bias = 1 + rng.below(99);
        let history: Vec<u8> = (0..length).map(|_| u8::from(rng.below(100) < bias)).collect();
        let hits = u32::try_from(history.iter().filter(|coin| **coin == 1).count()).unwrap();
        let length = u32::try_from(length).unwrap();
        let chance = Chance::one_in(k).unwrap();
        let mut walked = Evidence::new(chance);
        for coin in &history {
            walked = walked.with(*coin == 1);
        }
        let counted = Evidence::of(chance, hits, length - hits);
        assert_eq!(walked.bits(), counted.bits(), "one in {k}: {hits} of {length}");
        let call = EvidenceHarness::walkCall { k, history: history.into() };
        assert_eq!(client.call(at, &call).unwrap(), walked.bits().steps(), "one in {k}: {hits} of {length}");
        let call = EvidenceHarness::bitsCall { k, hits, coins: length };
        assert_eq!(client.call(at, &call).unwrap(), walked.bits().steps(), "one in {k}: {hits} of {length}");
        coins += u64::from(length);
    }
    for (k, hits, coins) in [(0, 0, 0), (1, 1, 1), (65_537, 1, 1), (2, 2, 1)] {
        let failure = client.call(at, &EvidenceHarness::bitsCall { k, hits, coins }).unwrap_err();
        assert!(matches!(failure, Failure::Reverted { .. }), "one in {k}: {failure}");
    }
    println!("{coins} coins, each counted twice on chain");
}
