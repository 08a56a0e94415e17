//! Blocks, receipts and state after transactions.

use std::{
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use alloy_consensus::Header;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use loyal_protocol::devnet::{Chain, Store};
use loyal_types::Clock;
use serde_json::json;

use crate::kit::{
    START, ask, chain, deployment, ether, genesis, number, receipt, refused, sign, signer, transfer, tx,
};

fn balance(chain: &Chain, address: Address, block: &str) -> U256 {
    ask(chain, "eth_getBalance", json!([address, block])).as_str().unwrap().parse().unwrap()
}

#[test]
fn a_transfer_moves_the_amount_and_the_fee() {
    let (chain, _) = chain();
    let (from, to) = (signer(0), signer(50).address());
    let receipt = receipt(&chain, sign(&from, transfer(0, to, ether(1))));
    assert_eq!(number(&receipt["status"]), 1);
    assert_eq!(number(&receipt["gasUsed"]), 21_000);
    assert_eq!(number(&receipt["blockNumber"]), 1);
    assert_eq!(balance(&chain, to, "latest"), ether(1));
    let fee = U256::from(21_000 * number(&receipt["effectiveGasPrice"]));
    assert_eq!(balance(&chain, from.address(), "latest"), ether(9_999) - fee);
    assert_eq!(balance(&chain, from.address(), "0x0"), ether(10_000));
    assert_eq!(balance(&chain, to, "earliest"), U256::ZERO);
    assert_eq!(ask(&chain, "eth_getTransactionCount", json!([from.address(), "latest"])), "0x1");
}

#[test]
fn a_header_hashes_to_its_hash_and_names_its_parent() {
    let (chain, _) = chain();
    for nonce in 0..3 {
        receipt(&chain, sign(&signer(0), transfer(nonce, Address::with_last_byte(9), ether(1))));
    }
    let mut parent = B256::ZERO;
    for block in 0..=3 {
        let block = ask(&chain, "eth_getBlockByNumber", json!([format!("{block:#x}"), true]));
        let header: Header = serde_json::from_value(block.clone()).unwrap();
        assert_eq!(json!(header.hash_slow()), block["hash"]);
        assert_eq!(header.parent_hash, parent);
        parent = header.hash_slow();
    }
}

#[test]
fn a_contract_keeps_slots_and_tells_logs() {
    let (chain, _) = chain();
    // slot 0 += 1; log1(slot 0, topic 7)
    let code = [0x5f, 0x54, 0x60, 1, 0x01, 0x80, 0x5f, 0x55, 0x5f, 0x52, 0x60, 7, 0x60, 32, 0x5f, 0xa1];
    let deployed = receipt(&chain, sign(&signer(1), tx(0, TxKind::Create, deployment(&code))));
    let contract: Address = deployed["contractAddress"].as_str().unwrap().parse().unwrap();
    assert_eq!(contract, signer(1).address().create(0));
    assert_eq!(ask(&chain, "eth_getCode", json!([contract, "latest"])), json!(Bytes::copy_from_slice(&code)));
    for nonce in 1..4 {
        let receipt = receipt(&chain, sign(&signer(1), tx(nonce, contract, Bytes::new())));
        assert_eq!(receipt["logs"][0]["data"], json!(B256::from(U256::from(nonce))));
    }
    for (block, value) in [("0x1", 0), ("0x2", 1), ("0x3", 2), ("latest", 3)] {
        let slot = ask(&chain, "eth_getStorageAt", json!([contract, "0x0", block]));
        assert_eq!(slot, json!(B256::from(U256::from(value))), "block {block}");
    }
    let topic = B256::from(U256::from(7));
    let logs =
        ask(&chain, "eth_getLogs", json!([{"fromBlock": "0x0", "address": contract, "topics": [topic]}]));
    assert_eq!(logs.as_array().unwrap().len(), 3);
    let none = ask(&chain, "eth_getLogs", json!([{"fromBlock": "0x0", "topics": [keccak256("x")]}]));
    assert_eq!(none, json!([]));
}

#[test]
fn a_revert_answers_code_three_with_its_data() {
    let (chain, _) = chain();
    // mstore(0, "Error(string)" selector …) is long: revert with four bytes of a typed error instead.
    let code = [0x63, 0xde, 0xad, 0xbe, 0xef, 0x5f, 0x52, 0x60, 4, 0x60, 28, 0xfd];
    let deployed = receipt(&chain, sign(&signer(1), tx(0, TxKind::Create, deployment(&code))));
    let contract = deployed["contractAddress"].clone();
    for method in ["eth_call", "eth_estimateGas"] {
        let fault = refused(&chain, method, json!([{"to": contract}]));
        let wanted = json!({"code": 3, "message": "execution reverted", "data": "0xdeadbeef"});
        assert_eq!(serde_json::to_value(fault).unwrap(), wanted);
    }
    let to: Address = contract.as_str().unwrap().parse().unwrap();
    let receipt = receipt(&chain, sign(&signer(1), tx(1, to, Bytes::new())));
    assert_eq!(number(&receipt["status"]), 0);
}

#[test]
fn time_is_the_clocks_and_never_goes_back() {
    let (chain, clock) = chain();
    let stamp =
        |chain: &Chain| number(&ask(chain, "eth_getBlockByNumber", json!(["latest", false]))["timestamp"]);
    ask(&chain, "evm_mine", json!([]));
    let first = stamp(&chain);
    assert_eq!(first, crate::kit::START + 1_000);
    clock.seconds.store(5, std::sync::atomic::Ordering::SeqCst);
    ask(&chain, "evm_mine", json!([]));
    assert_eq!(stamp(&chain), first + 1);
    clock.seconds.store(first + 100, std::sync::atomic::Ordering::SeqCst);
    ask(&chain, "evm_increaseTime", json!([3_600]));
    ask(&chain, "evm_mine", json!([]));
    assert_eq!(stamp(&chain), first + 3_700);
    ask(&chain, "evm_setNextBlockTimestamp", json!([first + 10_000]));
    ask(&chain, "evm_mine", json!([]));
    assert_eq!(stamp(&chain), first + 10_000);
    clock.seconds.fetch_add(7, std::sync::atomic::Ordering::SeqCst);
    ask(&chain, "evm_mine", json!([]));
    assert_eq!(stamp(&chain), first + 10_007);
}

#[test]
fn a_snapshot_brings_back_state_blocks_and_time() {
    let (chain, _) = chain();
    let (from, to) = (signer(0), Address::with_last_byte(0x77));
    ask(&chain, "anvil_setBalance", json!([to, "0x5"]));
    let snapshot = ask(&chain, "evm_snapshot", json!([]));
    let before = ask(&chain, "eth_getBlockByNumber", json!(["latest", false]));
    let hash = ask(&chain, "eth_sendRawTransaction", json!([sign(&from, transfer(0, to, ether(1)))]));
    ask(&chain, "anvil_setBalance", json!([to, "0x9"]));
    ask(&chain, "evm_mine", json!([]));
    assert_eq!(ask(&chain, "eth_blockNumber", json!([])), "0x2");
    assert_eq!(ask(&chain, "evm_revert", json!([snapshot])), true);
    assert_eq!(ask(&chain, "eth_getBlockByNumber", json!(["latest", false])), before);
    assert_eq!(ask(&chain, "eth_getTransactionReceipt", json!([hash])), json!(null));
    assert_eq!(balance(&chain, to, "latest"), U256::from(5));
    assert_eq!(ask(&chain, "evm_revert", json!([snapshot])), false);
    // The same transaction runs again, in the same block with the same hash.
    receipt(&chain, sign(&from, transfer(0, to, ether(1))));
    assert_eq!(balance(&chain, to, "latest"), ether(1) + U256::from(5));
}

#[test]
fn many_threads_share_blocks() {
    let (chain, _) = chain();
    std::thread::scope(|scope| {
        for sender in 0..8 {
            let chain = &chain;
            scope.spawn(move || {
                for nonce in 0..25 {
                    let to = Address::with_last_byte(0xaa);
                    chain.send(sign(&signer(sender), transfer(nonce, to, ether(1)))).unwrap();
                }
            });
        }
    });
    assert_eq!(balance(&chain, Address::with_last_byte(0xaa), "latest"), ether(200));
}

#[test]
fn a_thousand_transactions_make_one_block() {
    let (chain, _) = chain();
    let raws = (0..1_000).map(|nonce| sign(&signer(0), transfer(nonce, signer(1).address(), U256::from(1))));
    for sent in chain.send_all(raws.collect()) {
        sent.unwrap();
    }
    let block = ask(&chain, "eth_getBlockByNumber", json!(["latest", false]));
    assert_eq!(block["transactions"].as_array().unwrap().len(), 1_000);
    assert_eq!(number(&block["number"]), 1);
}

#[test]
fn a_transaction_waits_for_the_nonce_before_it() {
    let (chain, _) = chain();
    let (from, to) = (signer(2), Address::with_last_byte(0x31));
    let second = ask(&chain, "eth_sendRawTransaction", json!([sign(&from, transfer(1, to, ether(2)))]));
    assert_eq!(ask(&chain, "eth_getTransactionReceipt", json!([second])), json!(null));
    assert_eq!(ask(&chain, "eth_getTransactionByHash", json!([second]))["blockNumber"], json!(null));
    receipt(&chain, sign(&from, transfer(0, to, ether(1))));
    assert_eq!(number(&ask(&chain, "eth_getTransactionReceipt", json!([second]))["status"]), 1);
    assert_eq!(balance(&chain, to, "latest"), ether(3));
}

#[test]
fn what_cannot_run_is_refused_in_the_words_clients_know() {
    let (chain, _) = chain();
    let to = Address::with_last_byte(1);
    let check = |raw: Bytes, words: &str| {
        let fault = refused(&chain, "eth_sendRawTransaction", json!([raw]));
        assert!(fault.message.contains(words), "{fault} lacks {words:?}");
    };
    let poor = signer(60);
    check(sign(&poor, transfer(0, to, ether(1))), "insufficient funds");
    receipt(&chain, sign(&signer(0), transfer(0, to, ether(1))));
    check(sign(&signer(0), transfer(0, to, ether(2))), "nonce too low");
    check(sign(&signer(0), transfer(0, to, ether(1))), "already known");
    let mut low = transfer(1, to, ether(1));
    (low.max_fee_per_gas, low.max_priority_fee_per_gas) = (1, 1);
    check(sign(&signer(0), low), "max fee per gas less than block base fee");
    let mut thin = transfer(1, to, ether(1));
    thin.gas_limit = 20_000;
    check(sign(&signer(0), thin), "intrinsic gas too low");
    let mut thick = transfer(1, to, ether(1));
    thick.gas_limit = 40_000_000;
    check(sign(&signer(0), thick), "exceeds block gas limit");
    let mut foreign = transfer(1, to, ether(1));
    foreign.chain_id = 1;
    check(sign(&signer(0), foreign), "invalid chain id");
    check(Bytes::from_static(b"\x02nonsense"), "does not decode");
    check(Bytes::from_static(b"\x03"), "not supported");
}

#[test]
fn an_absent_account_that_delegates_gets_no_refund() {
    use alloy_eips::eip7702::Authorization;
    use alloy_signer::SignerSync as _;
    let used = |funded: bool| {
        let (chain, _) = chain();
        let authority = signer(40);
        if funded {
            chain.fund(authority.address(), ether(1)).unwrap();
        }
        let authorization =
            Authorization { chain_id: U256::from(31337), address: Address::with_last_byte(0x99), nonce: 0 };
        let signature = authority.sign_hash_sync(&authorization.signature_hash()).unwrap();
        let transaction = alloy_consensus::TxEip7702 {
            chain_id: 31337,
            gas_limit: 500_000,
            max_fee_per_gas: 3_000_000_000,
            to: Address::with_last_byte(0x98),
            authorization_list: vec![authorization.into_signed(signature)],
            ..Default::default()
        };
        let receipt = receipt(&chain, sign(&signer(0), transaction));
        let code = ask(&chain, "eth_getCode", json!([authority.address(), "latest"]));
        assert_eq!(code, json!(format!("0xef0100{:0>40}", "99")));
        number(&receipt["gasUsed"])
    };
    // EIP-7702: 21,000 and 25,000 an authorization; a present account gives back 12,500, at most a fifth.
    assert_eq!(used(false), 46_000);
    assert_eq!(used(true), 46_000 - 46_000 / 5);
}

#[test]
fn what_waited_for_a_nonce_is_sealed_though_one_block_cannot_hold_it() {
    let (chain, _) = chain();
    let to = Address::with_last_byte(0x32);
    // Each allows itself a million gas, so thirty fill a block.
    for nonce in 1..=40 {
        chain.send(sign(&signer(3), tx(nonce, to, Bytes::new()))).unwrap();
    }
    assert_eq!(chain.status().waiting, (0, 40));
    chain.send(sign(&signer(3), tx(0, to, Bytes::new()))).unwrap();
    assert_eq!((chain.status().waiting, chain.status().block), ((0, 0), 2));
    ask(&chain, "evm_setAutomine", json!([false]));
    for nonce in 41..=80 {
        chain.send(sign(&signer(3), tx(nonce, to, Bytes::new()))).unwrap();
    }
    assert_eq!((chain.status().waiting, chain.status().block), ((40, 0), 2));
    ask(&chain, "evm_setAutomine", json!([true]));
    assert_eq!((chain.status().waiting, chain.status().block), ((0, 0), 4));
}

/// A clock that, once armed, answers when four transactions wait.
#[derive(Default)]
struct Patient {
    armed: AtomicBool,
    chain: OnceLock<Weak<Chain>>,
}

impl Clock for Patient {
    fn unix_seconds(&self) -> u64 {
        START
    }

    fn elapsed(&self) -> Duration {
        if self.armed.swap(false, Ordering::SeqCst) {
            let chain = self.chain.get().and_then(Weak::upgrade).unwrap();
            while chain.status().waiting.0 < 4 {
                std::thread::yield_now();
            }
        }
        Duration::ZERO
    }
}

#[test]
fn transactions_that_come_within_the_interval_share_a_block() {
    let clock = Arc::new(Patient::default());
    let chain = Chain::open(Store::in_memory().unwrap(), genesis(), clock.clone()).unwrap();
    let chain = Arc::new(chain.sealing_every(Duration::from_millis(1)));
    clock.chain.set(Arc::downgrade(&chain)).unwrap();
    let send =
        |sender, nonce| chain.send(sign(&signer(sender), transfer(nonce, Address::ZERO, U256::from(1))));
    send(0, 0).unwrap();
    clock.armed.store(true, Ordering::SeqCst);
    std::thread::scope(|scope| {
        for sender in 1..=4 {
            scope.spawn(move || send(sender, 0).unwrap());
        }
    });
    assert_eq!(chain.status().block, 2);
}

#[test]
fn thousands_of_chains_stand_side_by_side() {
    let to = Address::with_last_byte(0xf9);
    let raw = sign(&signer(0), transfer(0, to, ether(1)));
    let chains: Vec<Chain> = (0..2_000)
        .map(|count| {
            let (chain, _) = chain();
            // Every second one moves: none of them hears of another.
            if count % 2 == 0 {
                assert_eq!(number(&receipt(&chain, raw.clone())["status"]), 1);
            }
            chain
        })
        .collect();
    for (count, chain) in chains.iter().enumerate() {
        let expected = if count % 2 == 0 { ether(1) } else { U256::ZERO };
        assert_eq!(balance(chain, to, "latest"), expected);
    }
}
