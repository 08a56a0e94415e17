//! The caller and the gate: both halves of the bridge, each as it is.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, U256};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use loyal_access::caller::{Caller, Piece, Seams, Settings};
use loyal_access::document::{self, CredentialFile, SignedCredential};
use loyal_access::gate::{Gate, Outcome, Refused, Reply};
use loyal_access::payment::{PAYMENT_REQUIRED, PAYMENT_RESPONSE};
use loyal_access::{Error, Wallet};
use loyal_protocol::contracts::CredentialRegistry;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::caller::records;
use crate::kit::{LOYAL, PRICE, Town};

/// The real gate behind the least HTTP.
async fn answer(gate: Arc<Gate>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let whole = |status: u16, value: &Value| {
        Response::builder().status(status).body(Full::new(Bytes::from(value.to_string()))).unwrap()
    };
    if head.uri.path() == "/v1/loyal" {
        return whole(200, &gate.terms(&head.headers).await.unwrap());
    }
    if head.uri.path().starts_with("/v1/receipts/") {
        return whole(404, &json!({ "error": { "code": "no_receipt" } }));
    }
    if head.method == hyper::Method::GET {
        return match gate.refund(&head.headers).await {
            Ok(payment) => {
                let mut response = whole(200, &json!({ "message": "refunded" }));
                let payment = document::header(&payment).parse().unwrap();
                response.headers_mut().insert(PAYMENT_RESPONSE, payment);
                response
            }
            Err(refused) => told(&refused),
        };
    }
    match gate.admit(&head.headers, &body).await {
        Outcome::Admitted(admitted) => {
            let keeper = admitted.keeper();
            let settled =
                admitted.settle(Reply { text: "Hello.", tokens_in: 10, tokens_out: 20 }).await.unwrap();
            let value = json!({ "choices": [{ "message": { "content": "Hello." } }] });
            keeper.keep(Bytes::from(value.to_string()));
            let mut response = whole(200, &value);
            let payment = document::header(&settled.payment).parse().unwrap();
            response.headers_mut().insert(PAYMENT_RESPONSE, payment);
            response
                .headers_mut()
                .insert("loyal-receipt", document::header(&settled.receipt).parse().unwrap());
            response
        }
        Outcome::Again { reply, receipt } => {
            let mut response = Response::new(Full::new(reply));
            response.headers_mut().insert("loyal-receipt", document::header(&receipt).parse().unwrap());
            response
        }
        Outcome::Refused(refused) => told(&refused),
    }
}

fn told(refused: &Refused) -> Response<Full<Bytes>> {
    let body = Full::new(Bytes::from(refused.json().to_string()));
    let mut response = Response::builder().status(refused.status).body(body).unwrap();
    if let Some(payment) = &refused.payment {
        response.headers_mut().insert(PAYMENT_REQUIRED, document::header(payment).parse().unwrap());
    }
    response
}

pub(crate) async fn host(gate: Arc<Gate>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let gate = gate.clone();
            tokio::spawn(async move {
                let service = hyper::service::service_fn(move |request| {
                    let gate = gate.clone();
                    async move { Ok::<_, Infallible>(answer(gate, request).await) }
                });
                let server = hyper::server::conn::http1::Builder::new();
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    url
}

fn credential(town: &Town, url: &str, builder: Address) -> CredentialFile {
    let credential = loyal_protocol::message::Credential { builder, ..town.credential() };
    CredentialFile {
        format: "loyal-credential".to_owned(),
        version: 1,
        chain_id: town.client.chain_id(),
        chain_urls: vec![],
        registry: town.at.registry,
        channel: town.at.channel,
        authorization_collector: town.at.authorization_collector,
        router: town.at.router,
        gate: town.at.gate,
        hosts: vec![url.to_owned()],
        signed: SignedCredential::sign(credential, town.key("owner"), &town.domain()),
    }
}

fn caller(town: &Town, file: &CredentialFile, wallet: Wallet, seed: u8) -> Caller {
    let seams = Seams { client: town.client.clone(), clock: town.clock.clone(), seed: [seed; 32] };
    let settings = Settings { pause: Duration::from_millis(1), ..Settings::default() };
    Caller::new(file.clone(), town.key("user").clone(), wallet, seams, settings).unwrap()
}

async fn ask(caller: &Caller, prompt: &str) -> Result<(), Error> {
    let body = json!({ "messages": [{ "role": "user", "content": prompt }] }).to_string();
    let mut reply = caller.invoke("/chat/completions", Bytes::from(body)).await?;
    assert!(matches!(reply.next().await?, Some(Piece::Whole(_))));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_caller_pays_the_gate_and_both_books_agree() {
    let town = Arc::new(tokio::task::spawn_blocking(Town::open).await.unwrap());
    let (folder, wallet) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let opened = (town.clone(), folder.path().to_owned());
    let gate = tokio::task::spawn_blocking(move || opened.0.gate(&opened.1)).await.unwrap();
    let url = host(gate.clone()).await;
    for (seed, builder) in [(1, Address::ZERO), (2, town.address("builder"))] {
        let file = credential(&town, &url, builder);
        let caller = caller(&town, &file, Wallet::open(wallet.path()).unwrap(), seed);
        // Beyond one deposit, so that the channel is topped up.
        for n in 0..25 {
            ask(&caller, &format!("question {n}")).await.unwrap();
        }
    }
    let cost = gate.settings().price.of(10, 20);
    let records_kept = records(wallet.path());
    assert_eq!(records_kept.len(), 50);
    assert!(records_kept.iter().all(|record| record.is_answer_seen && record.fault.is_none()));
    let book = Wallet::peek(wallet.path()).unwrap();
    assert_eq!(book.channels.len(), 2, "each builder has a till of its own");
    for (channel, account) in &book.channels {
        assert_eq!(account.charged, 25 * cost);
        assert_eq!(gate.books().account(*channel).unwrap().charged, account.charged);
        assert_eq!(account.balance % PRICE, 0);
        assert!(account.balance >= account.charged && account.balance <= 25 * cost + 11 * PRICE);
    }
    // What the chain moved is what the wallet knows.
    let moved: u128 = book.channels.values().map(|account| account.balance).sum();
    let user = town.address("user");
    let call = loyal_protocol::contracts::LoyalCurrency::balanceOfCall { account: user };
    let client = town.client.clone();
    let currency = town.at.currency;
    let left = tokio::task::spawn_blocking(move || client.call(currency, &call).unwrap()).await.unwrap();
    assert_eq!(left, U256::from(10_000 * LOYAL - moved));
    // A wallet that is gone finds its channel again.
    let (other, file) = (tempfile::tempdir().unwrap(), credential(&town, &url, Address::ZERO));
    let (passing, following) = (town.clone(), gate.clone());
    tokio::task::spawn_blocking(move || {
        passing.pass(60);
        following.follow().unwrap();
    })
    .await
    .unwrap();
    let caller = caller(&town, &file, Wallet::open(other.path()).unwrap(), 3);
    ask(&caller, "after the loss").await.unwrap();
    drop(caller);
    let found = Wallet::peek(other.path()).unwrap();
    assert_eq!(found.channels.values().next().unwrap().charged, 26 * cost);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_credential_is_refused_and_costs_nothing() {
    let town = Arc::new(tokio::task::spawn_blocking(Town::open).await.unwrap());
    let (folder, wallet) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let opened = (town.clone(), folder.path().to_owned());
    let gate = tokio::task::spawn_blocking(move || opened.0.gate(&opened.1)).await.unwrap();
    let file = credential(&town, &host(gate.clone()).await, Address::ZERO);
    let caller = caller(&town, &file, Wallet::open(wallet.path()).unwrap(), 1);
    ask(&caller, "x").await.unwrap();
    let (id, revoking, following) = (file.signed.id(&town.domain()), town.clone(), gate.clone());
    tokio::task::spawn_blocking(move || {
        let call = CredentialRegistry::revokeCall { modelId: revoking.model, credentialId: id };
        revoking.send("owner", revoking.at.credentials, &call);
        revoking.pass(120);
        following.follow().unwrap();
    })
    .await
    .unwrap();
    let error = ask(&caller, "y").await.unwrap_err();
    assert!(
        matches!(&error, Error::Denied { status: 403, code, .. } if code == "credential_revoked"),
        "{error}"
    );
    drop(caller);
    let book = Wallet::peek(wallet.path()).unwrap();
    let account = book.channels.values().next().unwrap();
    assert!(account.pending.is_none() && account.charged == gate.settings().price.of(10, 20));
}
