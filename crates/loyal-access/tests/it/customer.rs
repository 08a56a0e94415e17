//! Our customer pays a server that is not ours: express with the middleware of x402, and the standard's own facilitator.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use alloy_primitives::U256;
use hyper::Method;
use loyal_access::Error;
use loyal_access::caller::Seams;
use loyal_access::customer::{Customer, Order, Settings};
use loyal_access::outbound::Reach;
use loyal_access::wallet::{Caps, Entry, Wallet};
use loyal_protocol::contracts::LoyalCurrency;
use loyal_protocol::devnet::{Limits, serve};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::interop::npm_installed;
use crate::kit::{LOYAL, PRICE, Town};

const NPM: &str = r#"{ "private": true, "type": "module", "dependencies": { "@x402/core": "2.27.0", "@x402/evm": "2.27.0", "@x402/express": "2.27.0", "express": "5.3.0", "viem": "2.57.20" } }"#;

/// A shop that runs until this is dropped.
struct Shop {
    child: Child,
    url: String,
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Shop {
    fn open(said: &Value) -> Self {
        let folder = npm_installed("x402-express", NPM);
        let script = folder.join("shop.mjs");
        std::fs::write(&script, include_str!("shop.mjs")).unwrap();
        let mut command = Command::new("node");
        command.arg(script).arg(said.to_string()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Self { child, url: said["url"].as_str().unwrap().to_owned() }
    }
}

struct Scene {
    town: Arc<Town>,
    shop: Shop,
    wallet: TempDir,
    _server: loyal_protocol::devnet::Server,
}

impl Scene {
    async fn open() -> Self {
        let town = Arc::new(tokio::task::spawn_blocking(Town::open).await.unwrap());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let chain = format!("http://{}", listener.local_addr().unwrap());
        let server = serve(listener, town.devnet.clone(), &Limits::default()).unwrap();
        let said = json!({
            "chain": chain, "chainId": town.client.chain_id(), "now": town.now(), "asset": town.at.currency,
            "amount": PRICE.to_string(), "payTo": town.address("builder"), "secret": Town::secret("host"),
        });
        let shop = tokio::task::spawn_blocking(move || Shop::open(&said)).await.unwrap();
        Self { town, shop, wallet: tempfile::tempdir().unwrap(), _server: server }
    }

    fn customer(&self, seed: u8, amount_max: Option<u128>) -> Customer {
        let seams =
            Seams { client: self.town.client.clone(), clock: self.town.clock.clone(), seed: [seed; 32] };
        let wallet = Wallet::open(self.wallet.path()).unwrap();
        let settings = Settings { amount_max, reach: Reach::Local, ..Settings::default() };
        Customer::new(self.town.key("user").clone(), wallet, seams, settings)
    }

    fn order(&self, path: &str) -> Order {
        Order { method: Method::GET, url: format!("{}{path}", self.shop.url), body: None }
    }

    async fn balance(&self, name: &'static str) -> U256 {
        let town = self.town.clone();
        let read = move || {
            let call = LoyalCurrency::balanceOfCall { account: town.address(name) };
            town.client.call(town.at.currency, &call).unwrap()
        };
        tokio::task::spawn_blocking(read).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_pays_a_server_of_the_standard_within_its_caps() {
    let scene = Scene::open().await;
    let asset = scene.town.at.currency;
    // What costs nothing needs no cap; what costs something needs one, and keeps to it.
    let free = scene.customer(1, None).fetch(&scene.order("/free")).await.unwrap();
    assert_eq!((free.status, &free.body[..], free.purchase), (200, &b"free"[..], None));
    let error = scene.customer(1, None).fetch(&scene.order("/paid")).await.unwrap_err();
    assert!(matches!(&error, Error::Refused(why) if why.contains("set one")), "{error}");
    let error = scene.customer(1, Some(PRICE - 1)).fetch(&scene.order("/paid")).await.unwrap_err();
    assert!(matches!(&error, Error::Refused(why) if why.contains("are allowed")), "{error}");
    let customer = scene.customer(2, Some(PRICE));
    for n in 1..=2 {
        let paid = customer.fetch(&scene.order("/paid")).await.unwrap();
        let body: Value = serde_json::from_slice(&paid.body).unwrap();
        assert_eq!((paid.status, &body["said"]), (200, &json!("paid for")));
        let purchase = paid.purchase.unwrap();
        assert!(purchase.is_made && purchase.response.as_ref().unwrap().success, "{purchase:?}");
        assert_eq!((purchase.amount, purchase.asset), (PRICE, asset));
        assert_eq!(scene.balance("builder").await, U256::from(n * PRICE));
    }
    assert_eq!(scene.balance("user").await, U256::from(10_000 * LOYAL - 2 * PRICE));
    // A shop that fails to deliver has not taken the payment: the same one is shown again, and made once.
    let failed = customer.fetch(&scene.order("/later")).await.unwrap();
    assert_eq!((failed.status, failed.purchase.unwrap().is_made), (503, false));
    drop(customer);
    assert_eq!(Wallet::peek(scene.wallet.path()).unwrap().transfers.len(), 1);
    let paid = scene.customer(3, Some(PRICE)).fetch(&scene.order("/later")).await.unwrap();
    assert_eq!((paid.status, paid.purchase.unwrap().is_made), (200, true));
    assert_eq!(scene.balance("builder").await, U256::from(3 * PRICE));
    // Caps of the wallet hold too; what was spent is known, and what the server said of it.
    let mut wallet = Wallet::open(scene.wallet.path()).unwrap();
    let caps = Caps { request: Some(PRICE), hour: Some(3 * PRICE), day: None };
    wallet.write(Entry::Caps { asset, caps }).unwrap();
    drop(wallet);
    let error = scene.customer(4, None).fetch(&scene.order("/paid")).await.unwrap_err();
    assert!(matches!(error, Error::Capped { .. }), "{error}");
    let book = Wallet::peek(scene.wallet.path()).unwrap();
    assert_eq!((book.spent[&asset].amount, book.transfers.len()), (3 * PRICE, 0));
    let mut kept = Vec::new();
    Wallet::purchases(scene.wallet.path(), |purchase| {
        kept.push(purchase.is_made);
        Ok(())
    })
    .unwrap();
    assert_eq!(kept, [true, true, false, true]);
}
