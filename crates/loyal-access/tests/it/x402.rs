//! The packages of x402 from npm pay the gate, by vouchers and by one transaction for each invocation.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, OnceLock};

use alloy_primitives::U256;
use loyal_access::document::{self, SignedCredential};
use loyal_protocol::contracts::{LoyalCurrency, RevenueRouter};
use serde_json::{Value, json};

use crate::bridge::host;
use crate::interop::{npm_installed, ran};
use crate::kit::{LOYAL, PRICE, Town};

const NPM: &str = r#"{ "private": true, "type": "module", "dependencies": { "@x402/core": "2.27.0", "@x402/evm": "2.27.0", "viem": "2.57.20" } }"#;
static FOLDER: OnceLock<PathBuf> = OnceLock::new();
/// What the host behind the gate asks for its answer.
const COST: u128 = PRICE / 2 + PRICE / 1_000 + PRICE / 50;

/// The answers of the client to three questions.
async fn answers(
    town: &Arc<Town>,
    scheme: &str,
    refund: &[&str],
) -> (Vec<Value>, Arc<loyal_access::Gate>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (opened, path) = (town.clone(), folder.path().to_owned());
    let gate = tokio::task::spawn_blocking(move || opened.gate(&path)).await.unwrap();
    let credential = SignedCredential::sign(town.credential(), town.key("owner"), &town.domain());
    let said = json!({
        "url": format!("{}/chat/completions", host(gate.clone()).await), "secret": Town::secret("user"), "now": town.now(),
        "scheme": scheme, "count": 3, "refund": refund, "credential": document::header(&credential),
        "credentialId": credential.id(&town.domain()), "registry": town.at.registry, "chainId": town.client.chain_id(),
    });
    let installed = || FOLDER.get_or_init(|| npm_installed("x402-npm", NPM));
    let folder_of_npm = tokio::task::spawn_blocking(installed).await.unwrap();
    let script = folder_of_npm.join(format!("{scheme}-{}.mjs", refund.len()));
    std::fs::write(&script, include_str!("x402.mjs")).unwrap();
    let mut command = Command::new("node");
    command.arg(script).arg(said.to_string());
    let answers = ran(command).await;
    (answers.as_array().unwrap().clone(), gate, folder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_the_standard_pays_by_vouchers() {
    let town = Arc::new(tokio::task::spawn_blocking(Town::standard).await.unwrap());
    let (answers, gate, _folder) = answers(&town, "batch-settlement", &[]).await;
    for (number, answer) in answers.iter().enumerate() {
        let kind = if number == 0 { "deposit" } else { "voucher" };
        let wanted = json!({
            "unpaid": 402, "status": 200, "type": kind, "said": "Hello.", "success": true, "amount": COST.to_string(),
        });
        assert_eq!(answer, &wanted);
    }
    let accounts = gate.books().accounts();
    assert_eq!((accounts.len(), accounts[0].1.charged), (1, 3 * COST));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_the_standard_pays_each_invocation_by_itself() {
    let town = Arc::new(tokio::task::spawn_blocking(Town::open).await.unwrap());
    let (answers, gate, _folder) = answers(&town, "exact", &[]).await;
    for answer in &answers {
        let wanted = json!({
            "unpaid": 402, "status": 200, "type": "exact", "said": "Hello.", "success": true, "amount": PRICE.to_string(),
        });
        assert_eq!(answer, &wanted);
    }
    // The transfers went to the till, the report counts them, and the router divides them.
    let held = tokio::task::spawn_blocking(move || {
        let hosting = U256::from(town.hosting);
        let call = RevenueRouter::tillOfCall { hostingId: hosting, builder: alloy_primitives::Address::ZERO };
        let till = town.client.call(town.at.router, &call).unwrap();
        let held =
            town.client.call(town.at.currency, &LoyalCurrency::balanceOfCall { account: till }).unwrap();
        let epoch = gate.view().epoch(gate.now());
        let report = gate.books().report(epoch, false);
        assert_eq!((report.count, report.amount), (3, 3 * PRICE));
        held
    });
    assert_eq!(held.await.unwrap(), U256::from(3 * PRICE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_the_standard_gets_the_rest_of_its_channel_back() {
    let town = Arc::new(tokio::task::spawn_blocking(Town::standard).await.unwrap());
    let part = (2 * PRICE).to_string();
    let (answers, gate, _folder) = answers(&town, "batch-settlement", &[&part, ""]).await;
    let (channel, account) = gate.books().accounts().remove(0);
    assert_eq!(account.charged, 3 * COST);
    let deposited =
        answers[3]["extra"]["channelState"]["balance"].as_str().unwrap().parse::<u128>().unwrap() + 2 * PRICE;
    let rest = deposited - 2 * PRICE - 3 * COST;
    for (answer, amount) in answers[3..].iter().zip([2 * PRICE, rest]) {
        assert_eq!((&answer["success"], &answer["amount"]), (&json!(true), &json!(amount.to_string())));
    }
    tokio::task::spawn_blocking(move || {
        // The host redeemed what it was owed before it gave the rest back.
        let escrow = gate.view().read_escrow(channel).unwrap();
        assert_eq!((escrow.balance, escrow.claimed), (3 * COST, 3 * COST));
        let call = LoyalCurrency::balanceOfCall { account: town.address("user") };
        let left = town.client.call(town.at.currency, &call).unwrap();
        assert_eq!(left, U256::from(10_000 * LOYAL - 3 * COST));
    })
    .await
    .unwrap();
}
