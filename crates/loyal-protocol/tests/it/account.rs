//! Development accounts, export and import.

use alloy_primitives::{Address, U256, address};
use loyal_protocol::{
    Error,
    devnet::{Accounts, Chain, Genesis, Store},
};
use serde_json::json;

use crate::kit::{HandClock, START, ask, chain, ether, genesis, receipt, sign, signer, transfer};

#[test]
fn accounts_are_a_chains_own_unless_asked() {
    let accounts = Accounts::derive(&[7; 32], 5);
    assert_eq!(accounts.accounts.len(), 5);
    assert_ne!(accounts.addresses(), Accounts::derive(&[8; 32], 5).addresses());
    for account in &accounts.accounts {
        let signer = alloy_signer_local::PrivateKeySigner::from_bytes(&account.secret).unwrap();
        assert_eq!(signer.address(), account.address);
        assert!(!format!("{account:?}").contains("secret"));
    }
    let known = Accounts::well_known().addresses();
    assert_eq!(known[0], address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266"));
    assert_eq!(known[9], address!("a0Ee7A142d267C1f36714E4a8F75612F20a79720"));
}

#[test]
fn accounts_are_saved_for_their_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Accounts::load(folder.path()).unwrap(), None);
    let accounts = Accounts::derive(&[7; 32], 3);
    accounts.save(folder.path()).unwrap();
    assert_eq!(Accounts::load(folder.path()).unwrap(), Some(accounts));
    let path = folder.path().join("accounts.json");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0);
    }
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"secret\": \"0x", "\"secret\": \"0x00", 1)).unwrap();
    assert!(matches!(Accounts::load(folder.path()), Err(Error::Damaged { .. })));
}

#[test]
fn an_exported_chain_comes_out_the_same() {
    let (chain, clock) = chain();
    let to = Address::with_last_byte(0x44);
    for nonce in 0..5 {
        receipt(&chain, sign(&signer(0), transfer(nonce, to, ether(1))));
        chain.fund(to, U256::from(nonce)).unwrap();
        chain.fund(Address::with_last_byte(0x45), U256::from(nonce)).unwrap();
    }
    ask(&chain, "evm_increaseTime", json!([1_000_000]));
    ask(&chain, "evm_mine", json!([]));
    chain.fund(to, ether(5)).unwrap();
    let mut exported = Vec::new();
    assert_eq!(chain.export(&mut exported).unwrap(), 6);
    let again = || Chain::open(Store::in_memory().unwrap(), genesis(), clock.clone()).unwrap();
    let other = again();
    assert_eq!(other.import(&mut exported.as_slice()).unwrap(), 6);
    assert_eq!(other.import(&mut exported.as_slice()).unwrap(), 6, "an import can be repeated");
    assert_eq!(other.status().hash, chain.status().hash);
    assert_eq!(ask(&other, "eth_getBalance", json!([to, "latest"])), json!(ether(5)));
    let mut twice = Vec::new();
    other.export(&mut twice).unwrap();
    assert_eq!(exported, twice);
    // Every part that was changed or cut off is noticed, by its line.
    let text = String::from_utf8(exported).unwrap();
    let wrong = [
        text.replace("\"number\":3", "\"number\":4"),
        text.replacen("\"balance\":\"0x1\"", "\"balance\":\"0x2\"", 1),
        text.replacen("\"timestamp\":17", "\"timestamp\":18", 1),
        text[..text.len() - 10].into(),
        text.replacen("\"chainId\":31337", "\"chainId\":31338", 1),
        text.replacen("{", "{\"more\":1,", 3),
        String::new(),
    ];
    for text in wrong {
        let error = again().import(&mut text.as_bytes()).unwrap_err();
        assert!(matches!(error, Error::Import { .. }), "{error}");
    }
}

#[test]
fn a_production_genesis_refuses_what_is_for_development() {
    let mut production = genesis();
    production.development = false;
    assert!(matches!(production.check(), Err(Error::Genesis { .. })), "id 31337");
    production.chain_id = 4_242;
    let text = production.to_json();
    assert_eq!(Genesis::parse(&text).unwrap(), production);
    let chain = Chain::open(Store::in_memory().unwrap(), production, HandClock::at(START)).unwrap();
    for method in ["evm_mine", "evm_snapshot", "evm_revert", "evm_increaseTime", "anvil_setBalance"] {
        assert_eq!(chain.request(method, json!(["0x1", "0x1"])).unwrap_err().code, -32601);
    }
    assert!(chain.fund(Address::ZERO, ether(1)).is_err());
}

#[test]
fn a_wrong_genesis_says_what_would_be_right() {
    let check = |from: &str, to: &str, words: &str| {
        let text = genesis().to_json().replacen(from, to, 1);
        let error = Genesis::parse(&text).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    check("\"chainId\":31337", "\"chainId\":0", "chainId");
    check("\"gasLimit\":30000000", "\"gasLimit\":1", "gasLimit");
    check("\"elasticity\":2", "\"elasticity\":0", "elasticity");
    check("\"chainId\":31337", "\"chainId\":31337,\"more\":1", "unknown field");
    check("\"chainId\":31337", "\"chainId\":31337,\"chainId\":1", "duplicate field");
    check("diff-chain", "trie", "unknown variant");
}
