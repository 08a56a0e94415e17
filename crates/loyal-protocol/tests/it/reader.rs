//! The reader of events: in order, each once, across a restart and a reorganisation.

use alloy_primitives::U256;
use loyal_protocol::{
    Client, Failure,
    contracts::*,
    deploy,
    reader::{Cursor, Step},
};
use serde_json::{Value, json};

use crate::client::{client, key, on_both, plan};

fn pay(client: &Client, places: &loyal_protocol::Addresses, value: u64) {
    let call = LoyalCurrency::transferCall { to: key(5).address(), value: U256::from(value) };
    client.send(&key(0), places.currency, &call).unwrap();
}

/// The values of the transfers to account 5 in a step, or the block from which all is undone.
fn values(step: Step) -> Result<Vec<u64>, u64> {
    match step {
        Step::Undone { from } => Err(from),
        Step::Quiet => Ok(Vec::new()),
        Step::Events { events, .. } => Ok(events
            .iter()
            .filter_map(|event| event.decode::<LoyalCurrency::Transfer>())
            .filter(|transfer| transfer.to == key(5).address())
            .map(|transfer| transfer.value.to())
            .collect()),
    }
}

#[test]
fn events_come_once_and_a_reorganisation_is_told() {
    on_both(|chain| {
        let client = client(chain.clone());
        let places = deploy(&client, &key(0), &plan()).unwrap();
        client.send(&key(0), places.vesting, &GenesisVesting::releaseCall { index: U256::from(2) }).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cursor.json");
        assert_eq!(Cursor::load(&file).unwrap(), None);
        let mut cursor = Cursor::new(31337, 0);
        let read = |cursor: &mut Cursor| values(cursor.advance(&client, &[places.currency]).unwrap());
        pay(&client, &places, 1);
        assert_eq!(read(&mut cursor), Ok(vec![1]));
        assert_eq!(read(&mut cursor), Ok(vec![]));
        cursor.save(&file).unwrap();
        let snapshot: Value = client.ask("evm_snapshot", json!([])).unwrap();
        let fork: Value = client.ask("eth_blockNumber", json!([])).unwrap();
        let mut cursor = Cursor::load(&file).unwrap().unwrap();
        pay(&client, &places, 2);
        pay(&client, &places, 3);
        assert_eq!(read(&mut cursor), Ok(vec![2, 3]));
        assert_eq!(client.ask::<Value>("evm_revert", json!([snapshot])).unwrap(), json!(true));
        let after = u64::from_str_radix(fork.as_str().unwrap().trim_start_matches("0x"), 16).unwrap() + 1;
        // The client counts on: a fresh one asks the chain which nonce is next.
        let fresh = crate::client::client(chain.clone());
        pay(&fresh, &places, 4);
        assert_eq!(read(&mut cursor), Err(after));
        assert_eq!(read(&mut cursor), Ok(vec![4]));
        std::fs::write(&file, "{}").unwrap();
        assert!(matches!(Cursor::load(&file), Err(Failure::Cursor { .. })));
        let mut other = Cursor::new(1, 0);
        assert!(matches!(other.advance(&client, &[]), Err(Failure::OtherChain { .. })));
    });
}
