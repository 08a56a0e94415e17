//! A customer: pays any server of x402 by a transfer for each answer (scheme `exact`), and holds nothing against it.
//!
//! Such a server knows no credential and signs no receipt: what it said of the payment is kept, the chain is asked whether the
//! payment was made, and that is all there is. A caller of a hosting ([`crate::Caller`]) is better off.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alloy_primitives::{Address, B256, keccak256};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
pub use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use loyal_protocol::{Client, Key};
use serde_json::{Value, json};

use crate::caller::{Seams, check_room, ended, is_fresh};
use crate::document;
use crate::outbound::{self, Outbound, Reach};
use crate::payer;
use crate::payment::{
    EXACT, PAYMENT_REQUIRED, PAYMENT_RESPONSE, PAYMENT_SIGNATURE, Requirements, Settlement, VERSION,
};
use crate::wallet::{Entry, Purchase, Transfer, Wallet};
use crate::{Error, Result};

/// The most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 32 << 20;
/// How a server may have a transfer made that is signed for by ERC-3009, where it says how.
const ERC3009: &str = "eip3009";
/// A transfer is good for so many seconds at most, whatever the server would like.
const TIMEOUT_MAX: u64 = 3_600;

/// How a customer behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The most that one answer may cost, in base units of whatever it is paid in. Without it the wallet must have a cap for a
    /// request in that asset: nobody is paid what they like.
    pub amount_max: Option<u128>,
    /// What may be paid with; anything unless named.
    pub asset: Option<Address>,
    /// Which machines may be reached.
    pub reach: Reach,
    /// How long an answer may take.
    pub patience: Duration,
    /// How often the same payment is sent where nobody answers.
    pub attempts_max: u32,
    /// The time between two attempts.
    pub pause: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            amount_max: None,
            asset: None,
            reach: Reach::Public,
            patience: Duration::from_secs(120),
            attempts_max: 3,
            pause: Duration::from_millis(500),
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Order {
    /// How.
    pub method: Method,
    /// Where.
    pub url: String,
    /// What is sent along: its type, and its bytes.
    pub body: Option<(String, Bytes)>,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The status.
    pub status: u16,
    /// The type of the body, where it is named.
    pub kind: Option<String>,
    /// The body.
    pub body: Bytes,
    /// What was paid, where something was.
    pub purchase: Option<Purchase>,
}

/// Whoever pays servers that know nothing of hostings. Its caps and what it promised are in a wallet.
#[derive(Debug)]
pub struct Customer {
    key: Key,
    wallet: Arc<Mutex<Wallet>>,
    seams: Seams,
    settings: Settings,
    outbound: Outbound,
}

impl Customer {
    /// A customer with this wallet.
    #[must_use]
    pub fn new(key: Key, wallet: Wallet, seams: Seams, settings: Settings) -> Self {
        let outbound = Outbound::new(settings.reach);
        Self { key, wallet: Arc::new(Mutex::new(wallet)), seams, settings, outbound }
    }

    /// Asks for something, and pays for it where the server wants that. A payment that was signed for the same thing before, and
    /// may not have arrived, is sent again: nothing is paid twice.
    ///
    /// # Errors
    /// [`Error::Capped`] and [`Error::Refused`] before anything is signed; [`Error::Denied`] where the server does not take the
    /// payment, which then may still be made until its time is over; [`Error::Connection`].
    pub async fn fetch(&self, order: &Order) -> Result<Delivery> {
        let request = request_of(order);
        let transfer = match self.open(request).await? {
            Some(transfer) => transfer,
            None => {
                let (head, body) = self.send(order, None).await?;
                if head.status.as_u16() != 402 {
                    return Ok(delivery(&head, body, None));
                }
                self.promise(order, request, required(&head.headers)?).await?
            }
        };
        let (head, body) = self.send(order, Some(&transfer)).await?;
        let response = head
            .headers
            .get(PAYMENT_RESPONSE)
            .map(|value| document::read_header::<Settlement>(PAYMENT_RESPONSE, value.as_bytes()));
        let purchase = self.close(order, &transfer, (&head, &body), response.transpose()?).await?;
        if head.status.as_u16() == 402 {
            let why = required(&head.headers).ok().and_then(|required| required.error);
            let said = purchase.response.as_ref().and_then(|response| response.error_reason.clone());
            return Err(Error::Denied {
                status: 402,
                code: why.or(said).unwrap_or_else(|| "payment_refused".to_owned()),
                message: "the server does not take the payment".to_owned(),
                retry_after: None,
            });
        }
        Ok(delivery(&head, body, Some(purchase)))
    }

    /// A payment for the same thing that was signed before and can still be made. What can no longer is written off first.
    async fn open(&self, request: B256) -> Result<Option<Transfer>> {
        let now = self.seams.clock.unix_seconds();
        self.block(move |held, client| {
            let now = now.max(client.time()?);
            let all: Vec<Transfer> = held.wallet().book().transfers.values().cloned().collect();
            for entry in ended(client, &all, now)? {
                held.wallet().write(entry)?;
            }
            let is_same = |one: &&Transfer| one.request == request && is_fresh(one, now);
            let found = held.wallet().book().transfers.values().find(is_same).cloned();
            Ok(found)
        })
        .await
    }

    /// Signs a payment, within the caps; it is in the wallet when this returns.
    async fn promise(&self, order: &Order, request: B256, required: Required) -> Result<Transfer> {
        let (key, seed, now) = (self.key.clone(), self.seams.seed, self.seams.clock.unix_seconds());
        let (url, amount_max, wanted) = (order.url.clone(), self.settings.amount_max, self.settings.asset);
        self.block(move |held, client| {
            let now = now.max(client.time()?);
            let (words, requirements) = required.choice(client.chain_id(), wanted)?;
            let (asset, amount) = (requirements.asset, requirements.amount);
            let cap = held.wallet().book().caps.get(&asset).and_then(|caps| caps.request);
            let Some(most) = amount_max.or(cap) else {
                return Err(Error::Refused(format!(
                    "the server asks for {amount} base units of {asset}, and no cap says whether that is too much: set one"
                )));
            };
            if amount > most {
                return Err(Error::Refused(format!(
                    "the server asks for {amount} base units of {asset}; {most} are allowed"
                )));
            }
            check_room(&held.wallet(), asset, amount, now)?;
            payer::balance(client, asset, key.address(), amount)?;
            let count = held.wallet().book().spent.values().map(|spent| spent.invocations).sum::<u64>();
            let drawn = [&seed[..], request.as_slice(), &count.to_be_bytes(), &now.to_be_bytes()].concat();
            let payment = payer::exact(&key, &requirements, keccak256(drawn), now);
            // The server finds its offer by its own words.
            let mut said = json!({
                "x402Version": VERSION, "accepted": words, "payload": payment.payload,
            });
            for (name, value) in [("resource", required.resource), ("extensions", required.extensions)] {
                if !value.is_null() {
                    said[name] = value;
                }
            }
            let header = Some(document::header(&said));
            let transfer =
                Transfer { payee: url, lane: 0, request, payment, header, invocation: None };
            held.wallet().promise(transfer, now)
        })
        .await
    }

    /// Writes down what came of a payment: the chain says whether it was made.
    async fn close(
        &self,
        order: &Order,
        transfer: &Transfer,
        (head, body): (&hyper::http::response::Parts, &Bytes),
        response: Option<Settlement>,
    ) -> Result<Purchase> {
        let (transfer, now) = (transfer.clone(), self.seams.clock.unix_seconds());
        let (url, status, body_hash) = (order.url.clone(), head.status.as_u16(), keccak256(body));
        self.block(move |held, client| {
            let is_made = payer::is_made(client, &transfer)?;
            let purchase = Purchase {
                at: now,
                url,
                pay_to: transfer.payment.accepted.pay_to,
                asset: transfer.asset(),
                amount: transfer.amount(),
                transfer: transfer.nonce(),
                is_made,
                status,
                body_hash,
                response,
            };
            held.wallet().keep_purchase(&purchase)?;
            if is_made {
                held.wallet().write(Entry::Paid { transfer: transfer.nonce(), at: now })?;
            }
            Ok(purchase)
        })
        .await
    }

    async fn send(
        &self,
        order: &Order,
        payment: Option<&Transfer>,
    ) -> Result<(hyper::http::response::Parts, Bytes)> {
        let attempts = if payment.is_some() { self.settings.attempts_max.max(1) } else { 1 };
        let mut last = None;
        for attempt in 0..attempts {
            if attempt > 0 {
                tokio::time::sleep(self.settings.pause).await;
            }
            match self.send_once(order, payment).await {
                Err(error @ Error::Connection { .. }) => last = Some(error),
                done => return done,
            }
        }
        Err(last.unwrap_or_else(|| Error::Refused("nothing was sent".to_owned())))
    }

    async fn send_once(
        &self,
        order: &Order,
        payment: Option<&Transfer>,
    ) -> Result<(hyper::http::response::Parts, Bytes)> {
        let (origin, path) = outbound::split(&order.url)?;
        let mut request = hyper::Request::builder().method(order.method.clone()).uri(path);
        if let Some((kind, _)) = &order.body {
            request = request.header(CONTENT_TYPE, kind);
        }
        if let Some(header) = payment.and_then(|transfer| transfer.header.as_deref()) {
            request = request.header(PAYMENT_SIGNATURE, header);
        }
        let body = order.body.as_ref().map(|(_, bytes)| bytes.clone()).unwrap_or_default();
        let request =
            request.body(Full::new(body)).map_err(|error| Error::BadAddress { why: error.to_string() })?;
        let broken = |why: String| Error::Connection { origin: origin.clone(), why };
        let answer = async {
            let (head, body) = self.outbound.send(&origin, request).await?.into_parts();
            let read = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let read = read.map_err(|error| broken(error.to_string()))?;
            Ok((head, read.to_bytes()))
        };
        match tokio::time::timeout(self.settings.patience, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(broken(format!("no answer within {} s", self.settings.patience.as_secs()))),
        }
    }

    /// Runs what waits for the disk or the chain.
    async fn block<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Held, &Client) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (held, client) = (Held(self.wallet.clone()), self.seams.client.clone());
        let done = tokio::task::spawn_blocking(move || work(&held, &client)).await;
        done.unwrap_or_else(|error| Err(Error::Wallet { why: format!("the work broke off: {error}") }))
    }
}

/// The wallet, for one step at a time.
struct Held(Arc<Mutex<Wallet>>);

impl Held {
    fn wallet(&self) -> MutexGuard<'_, Wallet> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a server asks for, in its own words.
struct Required {
    accepts: Vec<Value>,
    resource: Value,
    extensions: Value,
    error: Option<String>,
}

impl Required {
    /// The first offer that can be taken here, in the server's words and in ours.
    fn choice(&self, chain_id: u64, wanted: Option<Address>) -> Result<(Value, Requirements)> {
        let network = Requirements::network_of(chain_id);
        for words in &self.accepts {
            let method = words["extra"]["assetTransferMethod"].as_str().unwrap_or(ERC3009);
            let is_known =
                words["scheme"] == EXACT && words["network"] == network.as_str() && method == ERC3009;
            if !is_known {
                continue;
            }
            let read = serde_json::from_value::<Requirements>(words.clone());
            let mut requirements = read.map_err(|error| Error::Misbehaved {
                why: format!("the server's offer is none of x402: {error}"),
            })?;
            if wanted.is_some_and(|asset| asset != requirements.asset) {
                continue;
            }
            requirements.max_timeout_seconds = requirements.max_timeout_seconds.min(TIMEOUT_MAX);
            return Ok((words.clone(), requirements));
        }
        let offers = self.accepts.iter().map(|one| format!("{} on {}", one["scheme"], one["network"]));
        let offers = offers.collect::<Vec<_>>().join(", ");
        Err(Error::Refused(format!(
            "the server takes {offers}, perhaps in another asset; here \"exact\" on \"{network}\" is paid, by a transfer of ERC-3009"
        )))
    }
}

fn required(headers: &HeaderMap) -> Result<Required> {
    let header = headers.get(PAYMENT_REQUIRED).ok_or_else(|| Error::Misbehaved {
        why: "the server wants to be paid and does not say how (no header PAYMENT-REQUIRED)".to_owned(),
    })?;
    let mut value: Value = document::read_header(PAYMENT_REQUIRED, header.as_bytes())?;
    let accepts = match value["accepts"].take() {
        Value::Array(accepts) => accepts,
        _ => Vec::new(),
    };
    let error = value["error"].as_str().map(str::to_owned);
    Ok(Required {
        accepts,
        resource: value["resource"].take(),
        extensions: value["extensions"].take(),
        error,
    })
}

/// What tells one thing that is asked for from another.
fn request_of(order: &Order) -> B256 {
    let body = order.body.as_ref().map_or(&[][..], |(_, bytes)| bytes);
    keccak256([order.method.as_str().as_bytes(), b" ", order.url.as_bytes(), b"\n", body].concat())
}

fn delivery(head: &hyper::http::response::Parts, body: Bytes, purchase: Option<Purchase>) -> Delivery {
    let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    Delivery { status: head.status.as_u16(), kind: kind.map(str::to_owned), body, purchase }
}
