//! A host that answers, charges and gives no receipts: it is not paid any more, and has taken one invocation's price at most.

use alloy_primitives::U256;
use bytes::Bytes;
use loyal_access::caller::{Caller, Piece};
use loyal_access::{Error, Wallet};
use loyal_protocol::contracts::InvocationChannel;
use loyal_protocol::{Failure, channel};
use serde_json::json;

use crate::caller::{PRICE, Scene, key};

async fn ask(caller: &Caller, prompt: &str) -> Result<(), Error> {
    let body = json!({ "messages": [{ "role": "user", "content": prompt }] }).to_string();
    let mut reply = caller.invoke("/chat/completions", Bytes::from(body)).await?;
    assert!(matches!(reply.next().await?, Some(Piece::Whole(_))));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_withholds_receipts_takes_one_price_at_most() {
    let scene = Scene::open().await;
    let before = scene.market.balance(key(6).address()).unwrap();
    let caller = scene.caller();
    ask(&caller, "honest").await.unwrap();
    scene.double.withhold();
    let error = ask(&caller, "no receipt").await.unwrap_err();
    assert!(error.to_string().contains("gave no receipt"), "{error}");
    // The next voucher would have to pay for it, and there is no receipt to be had: that is the end.
    let error = ask(&caller, "the next").await.unwrap_err();
    assert!(error.to_string().contains("has no receipt of it"), "{error}");
    let error = ask(&caller, "and the next").await.unwrap_err();
    assert!(matches!(error, Error::Faulted { .. }), "{error}");
    assert_eq!(scene.double.answered(), 2);
    drop(caller);
    let book = Wallet::peek(scene.folder.path()).unwrap();
    let (&id, account) = book.channels.first_key_value().unwrap();
    let (charged, ceiling, terms) = (account.charged, account.ceiling, account.terms.clone());
    assert_eq!((charged, ceiling), (PRICE / 2, PRICE / 2 + PRICE), "no voucher is out beyond one more price");
    // It takes all that it can, and not a unit more.
    let voucher = scene.double.voucher(id).unwrap();
    let client = scene.client.clone();
    tokio::task::spawn_blocking(move || {
        let claim = |total: u128| InvocationChannel::claimCall {
            voucherClaims: vec![InvocationChannel::VoucherClaim {
                voucher: InvocationChannel::Voucher {
                    channel: channel::terms(&terms.0),
                    maxClaimableAmount: voucher.signed_max_claimable,
                },
                signature: voucher.signature.clone(),
                totalClaimed: total,
            }],
        };
        let beyond = client.send(&key(5), scene.market.at.channel, &claim(ceiling + 1)).unwrap_err();
        assert!(matches!(beyond, Failure::Reverted { .. }), "{beyond}");
        client.send(&key(5), scene.market.at.channel, &claim(ceiling)).unwrap();
        let state = client.call(scene.market.at.channel, &InvocationChannel::channelsCall { channelId: id });
        let state = state.unwrap();
        let left =
            U256::from(state.balance - state.totalClaimed) + scene.market.balance(key(6).address()).unwrap();
        assert_eq!(before - left, U256::from(charged + PRICE), "what has a receipt, and one price");
    })
    .await
    .unwrap();
}
