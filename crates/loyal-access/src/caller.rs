//! A caller: from a credential, a key and a wallet to answers that are paid for.
//!
//! [`Caller::invoke`] is the whole of it: what a host asks for is checked once against the chain, each invocation is written
//! down before it leaves, each receipt is verified before the answer is believed. A host that breaks the rules is not paid any
//! more.

mod answer;
mod audit;
mod lane;
mod purse;
mod refunds;
mod reply;
mod transfers;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alloy_primitives::{Address, B256, keccak256};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use hyper::{Method, Response};
use loyal_protocol::{Client, Key};
use loyal_types::Clock;
use serde_json::Value;

pub use answer::Answer;
use lane::{Lane, Lanes};
pub use purse::Withdrawal;
pub use reply::{Piece, Reply};
pub(crate) use transfers::{check_room, ended, is_fresh};

use crate::document::{self, BUILDER, CREDENTIAL, CredentialFile, HandedReceipt, INVOCATION, RECEIPT, SALT};
use crate::outbound::{self, Outbound, Reach};
use crate::payer::Payer;
use crate::payment::{PAYMENT_REQUIRED, PAYMENT_SIGNATURE, PaymentRequired, Scheme, code};
use crate::request::Request;
use crate::terms::Terms;
use crate::wallet::{Entry, Pending, Wallet};
use crate::{Error, Result};

/// The most bytes of an answer that comes whole.
const ANSWER_BYTES_MAX: usize = 32 << 20;
/// How often an invocation is signed anew because a host corrects the payer.
const ROUNDS_MAX: u32 = 5;
/// The longest time between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// A host that has to redeem first is waited for so many seconds; one that is full for the day is not.
const SOON_MAX: u64 = 30;
/// What a host may take on top of the time it asks for.
const HEAD_SLACK: Duration = Duration::from_secs(30);

/// How a caller behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the host answers (up to and with `/v1`); the credential's hosts, in their order, where none is named.
    pub host: Option<String>,
    /// Who brings the invocations; the credential's builder where none is named.
    pub builder: Address,
    /// Channels that are open at a time: so many invocations run in parallel.
    pub channel_count_max: u32,
    /// How to pay; the host's favourite that is known here, unless said.
    pub scheme: Option<Scheme>,
    /// How many invocations a deposit is for.
    pub deposit_factor: u32,
    /// Whether an answer without a receipt is handed over all the same, where it comes whole: a prover wants to know what was
    /// said. What was signed for it stays promised.
    pub takes_without_receipt: bool,
    /// Which machines may be reached.
    pub reach: Reach,
    /// How often the same invocation is sent where nobody answers.
    pub attempts_max: u32,
    /// The time between the first two attempts; twice as long each time.
    pub pause: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host: None,
            builder: Address::ZERO,
            channel_count_max: 8,
            scheme: None,
            deposit_factor: 10,
            takes_without_receipt: false,
            reach: Reach::Local,
            attempts_max: 6,
            pause: Duration::from_millis(100),
        }
    }
}

/// What a caller takes from outside: the chain, the time, and 32 random bytes from which its salts follow.
#[derive(Clone)]
pub struct Seams {
    /// The chain.
    pub client: Arc<Client>,
    /// The time.
    pub clock: Arc<dyn Clock + Send + Sync>,
    /// Never used twice.
    pub seed: [u8; 32],
}

impl std::fmt::Debug for Seams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seams").field("client", &self.client).finish_non_exhaustive()
    }
}

/// Whoever shows a credential and pays. Clones share one wallet.
#[derive(Debug, Clone)]
pub struct Caller {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: CredentialFile,
    credential: B256,
    credential_header: String,
    payer: Payer,
    wallet: Mutex<Wallet>,
    seams: Seams,
    settings: Settings,
    outbound: Outbound,
    lanes: Lanes,
    known: tokio::sync::Mutex<Option<Known>>,
    /// How far the chain's time is ahead of ours.
    ahead: AtomicU64,
    drawn: AtomicU64,
}

/// A host whose terms were checked.
#[derive(Debug, Clone)]
struct Known {
    base: Arc<str>,
    terms: Arc<Terms>,
}

/// One invocation, from the body to the reply.
struct Ask {
    path: String,
    body: Bytes,
    request: Request,
    known: Known,
    lane: Arc<Lane>,
    channel: B256,
}

/// What came of sending it once.
enum Attempt {
    Sent(Sent),
    /// Nobody answered, or nothing that can be understood.
    Failed(Error),
    /// The same invocation is to be sent a little later.
    Busy,
}

/// What came of sending an invocation.
#[allow(clippy::large_enum_variant, reason = "made once for a request and moved once")]
enum Sent {
    Answered(Response<outbound::Reply>),
    /// The host's terms or the channel's numbers are others now.
    Again,
}

impl Caller {
    /// A caller with this credential. The wallet pays through the credential's contracts from now on, and no others.
    ///
    /// # Errors
    /// [`Error::Refused`] where the key is not the holder's; [`Error::Wallet`] where the wallet pays elsewhere.
    pub fn new(
        file: CredentialFile,
        key: Key,
        mut wallet: Wallet,
        seams: Seams,
        settings: Settings,
    ) -> Result<Self> {
        let payer = Payer::new(key, &file);
        let holder = file.signed.credential.holder;
        if holder != payer.address() {
            let why = format!("the credential is {holder}'s, and the key is {}'s", payer.address());
            return Err(Error::Refused(why));
        }
        purse::fix_site(&mut wallet, &file, payer.address())?;
        let inner = Inner {
            credential: file.signed.id(&payer.domains.loyal),
            credential_header: document::header(&file.signed),
            outbound: Outbound::new(settings.reach),
            lanes: Lanes::new(settings.channel_count_max.max(1)),
            wallet: Mutex::new(wallet),
            known: tokio::sync::Mutex::default(),
            ahead: AtomicU64::new(0),
            drawn: AtomicU64::new(0),
            file,
            payer,
            seams,
            settings,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The credential.
    #[must_use]
    pub fn file(&self) -> &CredentialFile {
        &self.inner.file
    }

    /// What the host asks for, held against the chain; nothing is paid.
    ///
    /// # Errors
    /// [`Error::Connection`]; [`Error::Misbehaved`] where the chain says something else.
    pub async fn terms(&self) -> Result<Terms> {
        Ok((*self.known().await?.terms).clone())
    }

    /// Sends one request (`path` begins behind `/v1`) and pays for it. A reply that comes whole was verified when this
    /// returns; one that comes piece by piece is verified at its end.
    ///
    /// # Errors
    /// [`Error::Denied`] where the host refuses; [`Error::Capped`]; [`Error::Connection`] where nobody answered, after which
    /// the same request may be made again and is paid once; [`Error::Misbehaved`].
    pub async fn invoke(&self, path: &str, body: Bytes) -> Result<Reply> {
        self.invoke_within(path, body, u128::MAX).await
    }

    /// [`Caller::invoke`], where the host asks for `amount_max` at most.
    ///
    /// # Errors
    /// As [`Caller::invoke`]; [`Error::TooDear`], and nothing was signed.
    pub async fn invoke_within(&self, path: &str, body: Bytes, amount_max: u128) -> Result<Reply> {
        let request = Request::read(&body)?;
        let lane = Arc::new(self.inner.lanes.take().await);
        let known = self.known().await?;
        let mut ask = Ask { path: path.to_owned(), body, request, known, lane, channel: B256::ZERO };
        for _ in 0..ROUNDS_MAX {
            ask.known = self.known().await?;
            let amount = ask.known.terms.requirements.amount;
            if amount > amount_max {
                return Err(Error::TooDear { amount, amount_max });
            }
            let found = if ask.known.terms.is_exact() {
                self.next_transfer(&mut ask).await?
            } else {
                ask.channel = self.channel(&ask).await?;
                self.next(&ask).await?
            };
            let Some(pending) = found else { continue };
            match self.send(&ask, &pending).await? {
                Sent::Answered(response) => return Reply::begin(self.clone(), ask, pending, response).await,
                Sent::Again => {}
            }
        }
        Err(Error::Misbehaved { why: "the host corrects the payment again and again".to_owned() })
    }

    /// The invocation to send: one of this request that has not ended, or a new one. `None` where another one had to be
    /// ended first.
    async fn next(&self, ask: &Ask) -> Result<Option<Pending>> {
        let (channel, credential) = (ask.channel, self.inner.credential);
        let found = self.block(move |inner| Ok(inner.wallet().account(channel)?.pending.clone())).await?;
        match found {
            Some(pending) if is_for(&pending, ask, credential, self.inner.now()) => Ok(Some(pending)),
            Some(pending) => self.resolve(ask, &pending).await.map(|()| None),
            None => self.sign(ask).await.map(Some),
        }
    }

    /// Sends an invocation until somebody answers. It is the same each time, and paid once.
    async fn send(&self, ask: &Ask, pending: &Pending) -> Result<Sent> {
        let (pause, attempts_max) = (self.inner.settings.pause, self.inner.settings.attempts_max.max(1));
        let patience = Duration::from_secs(ask.known.terms.requirements.max_timeout_seconds);
        let (mut attempt, mut waited) = (0, Duration::ZERO);
        let mut error = self.broken(ask, "it is busy with an earlier invocation");
        while attempt < attempts_max && waited < patience {
            match self.attempt(ask, pending).await? {
                Attempt::Sent(sent) => return Ok(sent),
                Attempt::Failed(found) => {
                    error = found;
                    attempt += 1;
                }
                Attempt::Busy => {}
            }
            let wait = pause.saturating_mul(1 << attempt.min(6)).max(pause).min(PAUSE_MAX);
            tokio::time::sleep(wait).await;
            waited += wait;
        }
        Err(error)
    }

    async fn attempt(&self, ask: &Ask, pending: &Pending) -> Result<Attempt> {
        let response = match self.post(ask, pending).await {
            Ok(response) => response,
            Err(error @ Error::Connection { .. }) => return Ok(Attempt::Failed(error)),
            Err(error) => return Err(error),
        };
        match response.status().as_u16() {
            200..=299 => Ok(Attempt::Sent(Sent::Answered(response))),
            402 => self.corrected(ask, response).await.map(Attempt::Sent),
            _ => self.refused(ask, pending, response).await,
        }
    }

    async fn post(&self, ask: &Ask, pending: &Pending) -> Result<Response<outbound::Reply>> {
        let inner = &self.inner;
        let (origin, path) = outbound::split(&format!("{}{}", ask.known.base, ask.path))?;
        let request = hyper::Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(CONTENT_TYPE, "application/json")
            .header(CREDENTIAL, &inner.credential_header)
            .header(INVOCATION, document::header(&pending.invocation))
            .header(SALT, pending.salt.to_string())
            .header(BUILDER, inner.builder().to_string())
            .header(PAYMENT_SIGNATURE, document::header(&pending.payment))
            .body(Full::new(ask.body.clone()))
            .map_err(|error| Error::BadAddress { why: error.to_string() })?;
        let patience = Duration::from_secs(ask.known.terms.requirements.max_timeout_seconds) + HEAD_SLACK;
        match tokio::time::timeout(patience, inner.outbound.send(&origin, request)).await {
            Ok(sent) => sent,
            Err(_) => {
                let why = format!("no answer within {} s", patience.as_secs());
                Err(Error::Connection { origin, why })
            }
        }
    }

    /// A refusal other than one of payment.
    async fn refused(
        &self,
        ask: &Ask,
        pending: &Pending,
        response: Response<outbound::Reply>,
    ) -> Result<Attempt> {
        let (head, body) = response.into_parts();
        let body = read_body(body).await.unwrap_or_default();
        let error = denial(head.status.as_u16(), &head.headers, &body);
        let Error::Denied { status, code, retry_after, .. } = &error else { return Err(error) };
        let is_soon = retry_after.is_none_or(|seconds| seconds <= SOON_MAX);
        match (*status, code.as_str()) {
            // The host is at an earlier invocation of this channel, or has to redeem first.
            (409, "channel_busy") => Ok(Attempt::Busy),
            (503, "exposure") if is_soon => Ok(Attempt::Busy),
            (500 | 502 | 504, _) => Ok(Attempt::Failed(self.broken(ask, error.to_string()))),
            (409, "reply_gone") => {
                if let Some(handed) = receipt_of(&head.headers) {
                    self.settle(ask, pending, (&handed, None), None).await?;
                }
                Err(Error::AnswerGone)
            }
            // It is known already, or a later one is: what became of it has to be found out.
            (409, "nonce_used") => self.resolve(ask, pending).await.map(|()| Attempt::Sent(Sent::Again)),
            _ => {
                self.drop_pending(ask, true).await?;
                Err(error)
            }
        }
    }

    /// An invocation of a channel ended without an answer. A transfer that was signed stays promised: it may still be made.
    async fn drop_pending(&self, ask: &Ask, is_refused: bool) -> Result<()> {
        if ask.known.terms.is_exact() {
            return Ok(());
        }
        let channel = ask.channel;
        self.block(move |inner| inner.wallet().write(Entry::Dropped { channel, is_refused })).await
    }

    /// A status of 402: other terms, another number, or a payment that is no good.
    async fn corrected(&self, ask: &Ask, response: Response<outbound::Reply>) -> Result<Sent> {
        let (head, body) = response.into_parts();
        let body = read_body(body).await.unwrap_or_default();
        let Some(header) = head.headers.get(PAYMENT_REQUIRED) else {
            self.drop_pending(ask, true).await?;
            return Err(denial(402, &head.headers, &body));
        };
        let required: PaymentRequired = document::read_header(PAYMENT_REQUIRED, header.as_bytes())?;
        let terms = self.preferred(Terms::of_required(&required)?)?;
        let is_new = !terms.is_same(&ask.known.terms);
        if is_new {
            self.adopt_terms(&ask.known, terms).await?;
        }
        let error = required.error.as_deref().unwrap_or_default();
        if error == code::CUMULATIVE_MISMATCH && !ask.known.terms.is_exact() {
            self.correct((&ask.known, ask.channel), &required).await?;
            return Ok(Sent::Again);
        }
        self.drop_pending(ask, true).await?;
        let is_short =
            !ask.known.terms.is_exact() && [code::CHANNEL_NOT_FOUND, code::EXCEEDS_BALANCE].contains(&error);
        if is_short {
            // The chain says what is in the channel; a deposit that did not arrive is sent again, or made.
            self.refresh(ask.channel).await?;
        }
        if is_new || is_short { Ok(Sent::Again) } else { Err(denial(402, &head.headers, &body)) }
    }

    /// The host, whose terms were checked.
    async fn known(&self) -> Result<Known> {
        let mut known = self.inner.known.lock().await;
        if let Some(known) = &*known {
            self.check_fault(&known.terms)?;
            return Ok(known.clone());
        }
        let hosts =
            self.inner.settings.host.as_ref().map_or(&self.inner.file.hosts[..], std::slice::from_ref);
        let mut last = Error::Refused("the credential names no host; name one".to_owned());
        for host in hosts {
            match self.look(host.trim_end_matches('/')).await {
                Ok(found) => {
                    self.check_fault(&found.terms)?;
                    *known = Some(found.clone());
                    return Ok(found);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn look(&self, base: &str) -> Result<Known> {
        let answer = self.get(base, "/loyal").await?;
        let terms = self.check_terms(self.preferred(Terms::read(answer)?)?).await?;
        Ok(Known { base: base.into(), terms: Arc::new(terms) })
    }

    fn preferred(&self, mut terms: Terms) -> Result<Terms> {
        if let Some(scheme) = self.inner.settings.scheme {
            terms.prefer(scheme)?;
        }
        Ok(terms)
    }

    async fn adopt_terms(&self, before: &Known, terms: Terms) -> Result<()> {
        let terms = self.check_terms(terms).await?;
        let mut known = self.inner.known.lock().await;
        *known = Some(Known { base: before.base.clone(), terms: Arc::new(terms) });
        Ok(())
    }

    async fn check_terms(&self, mut terms: Terms) -> Result<Terms> {
        self.block(move |inner| {
            let client = &inner.seams.client;
            let ahead = client.time()?.saturating_sub(inner.seams.clock.unix_seconds());
            inner.ahead.store(ahead, Ordering::Relaxed);
            terms.check(client, &inner.file, inner.builder())?;
            Ok(terms)
        })
        .await
    }

    fn check_fault(&self, terms: &Terms) -> Result<()> {
        let hosting = terms.info.hosting_id.to_string();
        match self.inner.wallet().book().faults.get(&hosting) {
            Some(why) => Err(Error::Faulted { hosting, why: why.clone() }),
            None => Ok(()),
        }
    }

    /// Asks something of the host that costs nothing.
    async fn get(&self, base: &str, path: &str) -> Result<Value> {
        let (head, body) = self.fetch(base, path).await?;
        if head.status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| Error::Misbehaved {
                why: format!("{base}{path}: the host answers with no JSON: {error}"),
            });
        }
        Err(denial(head.status.as_u16(), &head.headers, &body))
    }

    async fn fetch(&self, base: &str, path: &str) -> Result<(hyper::http::response::Parts, Bytes)> {
        let (origin, path) = outbound::split(&format!("{base}{path}"))?;
        let request = hyper::Request::builder()
            .uri(path)
            .header(BUILDER, self.inner.builder().to_string())
            .body(Full::default())
            .map_err(|error| Error::BadAddress { why: error.to_string() })?;
        let late = |_| Error::Connection { origin: origin.clone(), why: "no answer within 30 s".to_owned() };
        let answer = async {
            let (head, body) = self.inner.outbound.send(&origin, request).await?.into_parts();
            let body =
                read_body(body).await.map_err(|why| Error::Connection { origin: origin.clone(), why })?;
            Ok((head, body))
        };
        tokio::time::timeout(HEAD_SLACK, answer).await.map_err(late)?
    }

    /// What the host answers at another path, without payment: its status, its type and its bytes.
    ///
    /// # Errors
    /// [`Error::Connection`], and where no host is known.
    pub async fn look_up(&self, path: &str) -> Result<(u16, Bytes)> {
        let known = self.known().await?;
        let (head, body) = self.fetch(&known.base, path).await?;
        Ok((head.status.as_u16(), body))
    }

    fn broken(&self, ask: &Ask, why: impl Into<String>) -> Error {
        match outbound::split(&ask.known.base) {
            Ok((origin, _)) => Error::Connection { origin, why: why.into() },
            Err(error) => error,
        }
    }

    /// Runs what waits for the disk or the chain.
    async fn block<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = self.inner.clone();
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.unwrap_or_else(|error| Err(Error::Wallet { why: format!("the work broke off: {error}") }))
    }
}

impl Inner {
    fn wallet(&self) -> MutexGuard<'_, Wallet> {
        self.wallet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn builder(&self) -> Address {
        let own = self.settings.builder;
        if own == Address::ZERO { self.file.signed.credential.builder } else { own }
    }

    /// Our time, or the chain's where that is ahead (as on a development chain on which days were passed at once).
    fn now(&self) -> u64 {
        self.seams.clock.unix_seconds() + self.ahead.load(Ordering::Relaxed)
    }

    fn now_millis(&self) -> u64 {
        self.seams.clock.unix_millis() + self.ahead.load(Ordering::Relaxed) * 1_000
    }

    /// Thirty-two bytes that nobody can guess and that do not come again.
    fn draw(&self) -> B256 {
        let number = self.drawn.fetch_add(1, Ordering::Relaxed);
        keccak256([&self.seams.seed[..], &number.to_be_bytes()].concat())
    }
}

/// Whether an invocation that has not ended is one of this very request, and may still be sent.
fn is_for(pending: &Pending, ask: &Ask, credential: B256, now: u64) -> bool {
    let invocation = &pending.invocation.invocation;
    invocation.credentialId == credential
        && invocation.requestHash == ask.request.hash(pending.salt)
        && invocation.deadline >= now
        && pending.payment.accepted.pay_to == ask.known.terms.requirements.pay_to
        && pending.payment.accepted.amount <= ask.known.terms.requirements.amount
}

async fn read_body(body: outbound::Reply) -> Result<Bytes, String> {
    let read = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    read.map(http_body_util::Collected::to_bytes).map_err(|error| error.to_string())
}

fn receipt_of(headers: &HeaderMap) -> Option<HandedReceipt> {
    document::read_header(RECEIPT, headers.get(RECEIPT)?.as_bytes()).ok()
}

/// A refusal in OpenAI's shape, or what can be said of one in another.
fn denial(status: u16, headers: &HeaderMap, body: &[u8]) -> Error {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| value["error"][name].as_str().map(str::to_owned);
    let retry_after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Error::Denied {
        status,
        code: text("code").or_else(|| text("type")).unwrap_or_else(|| format!("status_{status}")),
        message: text("message").unwrap_or_else(|| "it does not say why".to_owned()),
        retry_after,
    }
}
