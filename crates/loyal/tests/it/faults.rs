//! Processes that are killed at any time: the chain, the host, both; a caller goes on, and the accounts agree.

use serde_json::Value;

use crate::gateway::{LOOKS_MAX, host, hosted};

#[test]
fn a_chain_and_a_host_that_are_killed_at_any_time_lose_nothing() {
    let it = hosted();
    // Whatever is owed is redeemed at once: the chain dies in the middle of that.
    let owing = ["--owed-max", "0.0025"];
    let mut running = host(&it, &owing);
    it.json(&["owner", "issue", "1", "--holder", &it.accounts[4], "--out", "w.json", "--key", "0"]);
    it.json(&["access", "request", "w.json", "--key", "4", "--wallet", "w"]);
    let mut answered = 0;
    for round in 0..6 {
        let prompt = format!("Who was there in round {round}?");
        let address = running.address().to_owned();
        let ask = ["access", "ask", &prompt, "--key", "4", "--wallet", "w", "--host", &address];
        it.json(&ask);
        it.kill_chain();
        if round % 3 == 2 {
            running.child.kill().unwrap();
            running.child.wait().unwrap();
        }
        it.chain_again();
        if round % 3 == 2 {
            running = host(&it, &owing);
        }
        // The host sees the chain again within a look or two; the same question is asked until it is answered.
        let prompt = format!("And after round {round}?");
        let address = running.address().to_owned();
        let ask =
            ["access", "ask", &prompt, "--key", "4", "--wallet", "w", "--host", &address, "--folder", "c"];
        assert!((0..LOOKS_MAX / 100).any(|_| it.place.run(&ask).code == Some(0)), "round {round}");
        answered += 2;
    }
    running.end();
    let collected = it.json(&["model", "show", "1"])["hostings"][0]["collected"].clone();
    assert_eq!(collected, (answered * 2_000_000_000_000_000_u64).to_string());
    let shown = it.json(&["access", "show", "--wallet", "w"]);
    assert_eq!((&shown["spent"][0]["amount"], &shown["receipts"]), (&collected, &Value::from(answered)));
}
