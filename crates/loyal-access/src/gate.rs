//! The gate in front of a model: who may and pays is let through, and leaves a receipt.
//!
//! It stands before anything reads the prompt. What it is shown it judges by [`crate::admission`], on what
//! [`crate::view`] knows of the chain and [`crate::books`] of earlier invocations.

mod offer;
mod refund;
mod refused;
mod relay;
mod showing;
mod tally;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy_primitives::{Address, B256};
use bytes::Bytes;
use hyper::HeaderMap;
use loyal_protocol::{Key, channel, message};
use loyal_types::Clock;

pub use offer::Price;
pub use refused::Refused;
pub use tally::{Tally, Times};

use crate::admission::{Domains, Hostside, Paying, Refusal, Showing, judge};
use crate::books::{Answer, Books, Caps, Hindrance, Paid, Reservation};
use crate::document::{HandedReceipt, SignedReceipt};
use crate::payment::{self, ChannelState, Requirements, Settlement, SettlementExtra};
use crate::request::{self, Request};
use crate::view::{Unknown, View};
use crate::{Error, Result};
use relay::Relay;
use showing::{Credentials, Means, Shown};

/// How a gate behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What an invocation costs.
    pub price: Price,
    /// The most bytes of a request's body.
    pub body_bytes_max: usize,
    /// The most that may be unredeemed on a channel, in base units.
    pub unredeemed_max: u128,
    /// The least time a payer must leave between asking for its rest and taking it, in seconds.
    pub withdraw_delay: u64,
    /// Where credentials are issued, for those who have none.
    pub issuer_url: Option<String>,
    /// Where the model answers, up to and with `/v1`.
    pub url: String,
}

/// The gate of one hosting.
#[derive(Debug)]
pub struct Gate {
    view: View,
    books: Books,
    signer: Key,
    domains: Domains,
    settings: Settings,
    clock: ClockOf,
    asset: offer::AssetDomain,
    relay: Option<Relay>,
    credentials: Mutex<Credentials>,
    tally: Tally,
}

/// A clock that threads share.
#[derive(Clone)]
struct ClockOf(Arc<dyn Clock + Send + Sync>);

impl std::fmt::Debug for ClockOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

/// What a request came to.
#[derive(Debug)]
pub enum Outcome {
    /// It is to be answered.
    Admitted(Admitted),
    /// It was answered already: the same reply, byte for byte, and the same receipt.
    Again {
        /// The reply, as it was kept.
        reply: Bytes,
        /// Its receipt.
        receipt: HandedReceipt,
    },
    /// It is not to be answered.
    Refused(Box<Refused>),
}

impl Gate {
    /// Opens a gate. `signer` signs receipts and must be the hosting's; `host` sends transactions, deposits among them:
    /// without it callers must have deposited before.
    ///
    /// # Errors
    /// The signer is another one; prices that the model or the hosting does not allow; the chain's.
    pub fn open(
        view: View,
        books: Books,
        (signer, host): (Key, Option<Key>),
        settings: Settings,
        clock: Arc<dyn Clock + Send + Sync>,
    ) -> Result<Self> {
        let hosting = view.hosting();
        if hosting.signer != signer.address() {
            let (wanted, found) = (hosting.signer, signer.address());
            return Err(Error::Refused(format!("{wanted} signs for hosting {}, not {found}", hosting.id)));
        }
        settings.price.check(&hosting)?;
        let domains = Domains {
            loyal: message::domain(view.client().chain_id(), view.at().registry),
            channel: channel::domain(view.client().chain_id(), view.at().channel),
        };
        let asset = offer::AssetDomain::read(view.client(), hosting.asset)?;
        let relay = host.map(|key| Relay::new(Arc::clone(view.client()), *view.at(), key));
        let credentials = Mutex::new(Credentials::default());
        let (clock, tally) = (ClockOf(clock), Tally::default());
        Ok(Self { view, books, signer, domains, settings, clock, asset, relay, credentials, tally })
    }

    /// What the gate knows of the chain.
    #[must_use]
    pub const fn view(&self) -> &View {
        &self.view
    }

    /// The books.
    #[must_use]
    pub const fn books(&self) -> &Books {
        &self.books
    }

    /// Who signs receipts.
    #[must_use]
    pub const fn signer(&self) -> &Key {
        &self.signer
    }

    /// The domains of messages.
    #[must_use]
    pub const fn domains(&self) -> &Domains {
        &self.domains
    }

    /// How it behaves.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Counts of what it did.
    #[must_use]
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Unix seconds, as the chain has them.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.view.time(&*self.clock.0)
    }

    /// Looks what is new on the chain.
    ///
    /// # Errors
    /// The chain's.
    pub fn follow(&self) -> Result<crate::view::Changes> {
        self.view.follow(&*self.clock.0)
    }

    /// Judges a request: its headers and its body.
    pub async fn admit(self: &Arc<Self>, headers: &HeaderMap, body: &[u8]) -> Outcome {
        let began = self.clock.0.elapsed();
        let outcome = match self.judge(headers, body).await {
            Ok(outcome) => outcome,
            Err(refused) => Outcome::Refused(refused),
        };
        self.tally.count(&outcome, self.clock.0.elapsed().saturating_sub(began));
        outcome
    }

    async fn judge(
        self: &Arc<Self>,
        headers: &HeaderMap,
        body: &[u8],
    ) -> std::result::Result<Outcome, Box<Refused>> {
        if body.len() > self.settings.body_bytes_max {
            let most = self.settings.body_bytes_max;
            return Err(Refused::because(
                Refusal::TooLarge,
                format!("more than {most} bytes; send less at a time"),
            ));
        }
        if !headers.contains_key(payment::PAYMENT_SIGNATURE) {
            return Err(self.unpaid(headers).await);
        }
        let shown = self.shown(headers, body)?;
        if let Some(again) = self.again(&shown)? {
            return Ok(again);
        }
        let clock = &*self.clock.0;
        if !self.view.is_fresh(clock) {
            return Err(Refused::chain_unavailable());
        }
        let signer = self.view.hosting().signer;
        if signer != self.signer.address() {
            let fact = format!("{signer} signs for it now, and this host holds another key");
            return Err(Refused::because(Refusal::HostingInactive, fact));
        }
        self.weigh(&shown).await?;
        self.bring(&shown).await?;
        let reservation = shown.reservation(self.settings.price.ceiling);
        if let Err(hindrance) = self.books.reserve(&reservation, &self.caps(&shown)) {
            return Err(self.hindered(&shown, hindrance));
        }
        Ok(Outcome::Admitted(Admitted { gate: Arc::clone(self), shown, reservation, is_settled: false }))
    }

    /// Judges what is shown: with what is known here at once, else on a thread that may ask the chain.
    async fn weigh(self: &Arc<Self>, shown: &Shown) -> std::result::Result<(), Box<Refused>> {
        let found = match self.verdict(shown, false) {
            Err(Unknown::Unasked) => {
                let (gate, shown) = (Arc::clone(self), shown.clone());
                // Once more with all that was asked: what the chain wrote down may have moved the time.
                let asked = move || gate.verdict(&shown, true).and_then(|_| gate.verdict(&shown, true));
                tokio::task::spawn_blocking(asked).await.unwrap_or(Err(Unknown::Unasked))
            }
            found => found,
        };
        match found {
            Ok(None) => {
                self.credentials().note_good(&shown.credential_key);
                Ok(())
            }
            Ok(Some(refusal)) => Err(self.refused(shown, refusal)),
            Err(_) => Err(Refused::chain_unavailable()),
        }
    }

    fn verdict(&self, shown: &Shown, may_wait: bool) -> std::result::Result<Option<Refusal>, Unknown> {
        let known = showing::Remembering {
            known: self.view.known(may_wait),
            is_good: self.credentials().is_good(&shown.credential_key).then_some(shown.credential_id),
        };
        let host = Own { gate: self, shown };
        let paying = match &*shown.means {
            Means::Channel(batch) => Paying::Channel {
                config: &batch.channel_config,
                ceiling: batch.voucher.max_claimable_amount,
                signature: &batch.voucher.signature,
                deposit: batch.deposit.as_ref().map_or(0, |deposit| deposit.amount),
            },
            Means::Transfer(exact) => self.transfer(exact, may_wait)?,
        };
        let showing = Showing {
            credential: &shown.credential,
            invocation: &shown.invocation,
            request_hash: shown.request_hash,
            builder: shown.builder,
            payment: paying,
        };
        judge(&showing, (&known, &host), &self.domains, self.now())
    }

    /// Brings a deposit or a transfer to the chain.
    async fn bring(self: &Arc<Self>, shown: &Shown) -> std::result::Result<(), Box<Refused>> {
        let needs = match &*shown.means {
            // A deposit that the channel does not need stays with its payer: it may have arrived before a crash.
            Means::Channel(batch) => {
                let held = self.view.escrow(batch.voucher.channel_id).map_or(0, |escrow| escrow.balance);
                batch.deposit.is_some() && batch.voucher.max_claimable_amount > held
            }
            Means::Transfer(_) => true,
        };
        if !needs {
            return Ok(());
        }
        let (gate, means) = (Arc::clone(self), shown.clone());
        let brought = tokio::task::spawn_blocking(move || gate.relay_of(&means)).await;
        match brought {
            Ok(Ok(transaction)) => {
                *shown.transaction.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = transaction;
                Ok(())
            }
            Ok(Err(error)) => Err(self.refused_with(shown, Refusal::ChannelUnfunded, error.to_string())),
            Err(_) => Err(Refused::chain_unavailable()),
        }
    }

    fn relay_of(&self, shown: &Shown) -> Result<Option<B256>> {
        let relay = self.relay.as_ref().ok_or_else(|| {
            Error::Refused("this host brings no deposits to the chain; deposit first, then ask".to_owned())
        })?;
        match &*shown.means {
            Means::Channel(batch) => {
                let deposit =
                    batch.deposit.as_ref().ok_or_else(|| Error::Refused("no deposit".to_owned()))?;
                let sent = relay.deposit(&batch.channel_config, deposit);
                let escrow = self.view.read_escrow(batch.voucher.channel_id)?;
                match sent {
                    Ok(transaction) if escrow.balance >= batch.voucher.max_claimable_amount => {
                        Ok(Some(transaction))
                    }
                    // It had been sent before, and is there now.
                    Err(_) if escrow.balance >= batch.voucher.max_claimable_amount => Ok(None),
                    Ok(_) => Err(Error::Refused("the deposit does not carry the voucher".to_owned())),
                    Err(error) => Err(error),
                }
            }
            Means::Transfer(exact) if self.is_used(exact)? && self.was_brought(exact)? => Ok(None),
            Means::Transfer(exact) => match relay.transfer(self.view.hosting().asset, exact) {
                Err(_) if self.was_brought(exact)? => Ok(None),
                sent => sent.map(Some),
            },
        }
    }

    fn caps(&self, shown: &Shown) -> Caps {
        let credential = &shown.credential.credential;
        let caps = Caps::of(credential, self.view.epoch(self.now()));
        let (claimed, unredeemed_max) = match &*shown.means {
            Means::Channel(batch) => {
                let escrow = self.view.escrow(batch.voucher.channel_id).unwrap_or_default();
                (escrow.claimed, self.settings.unredeemed_max)
            }
            Means::Transfer(_) => (0, u128::MAX),
        };
        Caps { claimed, unredeemed_max, epoch_max: self.view.hosting().fee_max, ..caps }
    }

    /// Where a channel stands, as x402 tells it.
    fn channel_state(&self, id: B256, charged: u128) -> ChannelState {
        let escrow = self.view.escrow(id).unwrap_or_default();
        ChannelState {
            channel_id: id,
            balance: escrow.balance,
            total_claimed: escrow.claimed,
            withdraw_requested_at: escrow.withdraw_at,
            refund_nonce: escrow.refund_nonce,
            charged_cumulative_amount: charged,
        }
    }

    /// What was charged on a channel. Books that know nothing of it begin where the chain stands.
    fn charged(&self, id: B256) -> u128 {
        let claimed = self.view.escrow(id).map_or(0, |escrow| escrow.claimed);
        self.books.account(id).map_or(claimed, |account| account.charged.max(claimed))
    }

    /// A receipt as it is handed out.
    #[must_use]
    pub fn handed(&self, receipt: SignedReceipt) -> HandedReceipt {
        HandedReceipt { level: self.view.hosting().level.to_owned(), receipt }
    }

    fn credentials(&self) -> std::sync::MutexGuard<'_, Credentials> {
        self.credentials.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What this host alone can judge of a request.
struct Own<'a> {
    gate: &'a Gate,
    shown: &'a Shown,
}

impl Own<'_> {
    fn hindrance(&self, only: Hindrance) -> bool {
        let reservation = self.shown.reservation(self.gate.settings.price.ceiling);
        let caps = self.gate.caps(self.shown);
        self.gate.books.hindrance(&reservation, &caps) == Some(only)
    }
}

impl Hostside for Own<'_> {
    fn is_nonce_used(&self, _: &message::Invocation) -> bool {
        self.hindrance(Hindrance::Nonce)
    }

    fn is_exhausted(&self, _: B256, _: &message::Credential, _: u128) -> bool {
        self.hindrance(Hindrance::Spend)
    }

    fn is_policy_refused(&self, credential: &message::Credential) -> bool {
        credential.policyHash != B256::ZERO && credential.policyHash != self.gate.view.hosting().policy
    }

    fn is_payment_wrong(&self, _: &Showing<'_>) -> bool {
        self.gate.mispaid(self.shown).is_some()
    }

    fn is_exposed(&self, _: &Showing<'_>) -> bool {
        let withdraws = match &*self.shown.means {
            Means::Channel(batch) => {
                self.gate.view.escrow(batch.voucher.channel_id).is_some_and(|escrow| escrow.withdraw_at != 0)
            }
            Means::Transfer(_) => false,
        };
        withdraws || self.hindrance(Hindrance::Exposure)
    }
}

/// A request that is to be answered. Dropped without being settled, it was never there: nothing is charged.
#[derive(Debug)]
pub struct Admitted {
    gate: Arc<Gate>,
    shown: Shown,
    reservation: Reservation,
    is_settled: bool,
}

/// What came of an invocation.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// Its text.
    pub text: &'a str,
    /// Tokens of the prompt.
    pub tokens_in: u32,
    /// Tokens of the text.
    pub tokens_out: u32,
}

/// A receipt, and what became of the payment.
#[derive(Debug, Clone)]
pub struct Settled {
    /// The receipt.
    pub receipt: HandedReceipt,
    /// The payment.
    pub payment: Settlement,
}

impl Admitted {
    /// The request.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.shown.request
    }

    /// The invocation's id.
    #[must_use]
    pub const fn invocation(&self) -> B256 {
        self.shown.invocation_id
    }

    /// Whose it is: who holds the credential.
    #[must_use]
    pub fn holder(&self) -> Address {
        self.shown.credential.credential.holder
    }

    /// Charges for a reply and writes its receipt down; answers when both are durable, so that the last byte of the reply
    /// may leave.
    ///
    /// # Errors
    /// [`Error::File`] where it could not be written: then the reply may not leave.
    pub async fn settle(mut self, reply: Reply<'_>) -> Result<Settled> {
        let gate = Arc::clone(&self.gate);
        let shown = &self.shown;
        let (amount, paid) = match &*shown.means {
            Means::Channel(batch) => {
                let amount = gate.settings.price.of(reply.tokens_in, reply.tokens_out);
                let terms = payment::ChannelTerms(batch.channel_config.clone());
                let (builder, voucher) = (shown.builder, batch.voucher.clone());
                (amount, Paid::Voucher { terms, builder, voucher })
            }
            Means::Transfer(exact) => {
                let transaction = shown.transaction();
                let paid = Paid::Transfer(transaction.unwrap_or_default(), shown.builder);
                (exact.authorization.value, paid)
            }
        };
        let now = gate.now();
        let answer = Answer {
            reservation: self.reservation,
            credential: Arc::clone(&shown.credential),
            invocation: Arc::clone(&shown.invocation),
            salt: shown.salt,
            asked: (shown.request.prompt().to_owned(), shown.request.params_hash()),
            paid,
            response_hash: request::response_hash(shown.salt, reply.text),
            tokens_in: reply.tokens_in,
            tokens_out: reply.tokens_out,
            amount,
            now,
            epoch: gate.view.epoch(now),
        };
        self.is_settled = true;
        let pending = gate.books.settle(&answer, &gate.signer, &gate.domains.loyal);
        let receipt = match pending {
            Ok(pending) => pending.durable().await?,
            Err(error) => {
                gate.books.release(&self.reservation);
                return Err(error);
            }
        };
        gate.tally.charge(&receipt.receipt);
        let payment = gate.settlement(shown, amount, receipt.receipt.cumulative);
        Ok(Settled { receipt: gate.handed(receipt), payment })
    }

    /// Keeps the reply for a caller that lost it on the way. Whoever asks again before it is kept, or until this is dropped, is
    /// told to wait.
    pub fn keeper(&self) -> ReplyKeeper {
        let invocation = self.shown.invocation_id;
        self.gate.books.note_keeping(invocation, true);
        ReplyKeeper { gate: Arc::clone(&self.gate), invocation }
    }
}

/// Keeps a reply, once it is whole.
#[derive(Debug)]
pub struct ReplyKeeper {
    gate: Arc<Gate>,
    invocation: B256,
}

impl ReplyKeeper {
    /// Keeps it.
    pub fn keep(&self, reply: Bytes) {
        self.gate.books.keep_reply(self.invocation, reply);
    }
}

impl Drop for ReplyKeeper {
    fn drop(&mut self) {
        self.gate.books.note_keeping(self.invocation, false);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if !self.is_settled {
            self.gate.books.release(&self.reservation);
        }
    }
}

impl Gate {
    fn settlement(&self, shown: &Shown, amount: u128, cumulative: u128) -> Settlement {
        let network = Requirements::network_of(self.view.client().chain_id());
        let transaction = shown.transaction().map_or_else(String::new, |hash| hash.to_string());
        match &*shown.means {
            Means::Channel(batch) => Settlement {
                success: true,
                error_reason: None,
                transaction,
                network,
                payer: Some(batch.channel_config.payer),
                amount: batch.deposit.as_ref().map_or_else(String::new, |deposit| deposit.amount.to_string()),
                extra: Some(SettlementExtra {
                    charged_amount: Some(amount),
                    channel_state: self.channel_state(batch.voucher.channel_id, cumulative),
                }),
            },
            Means::Transfer(exact) => Settlement {
                success: true,
                error_reason: None,
                transaction,
                network,
                payer: Some(exact.authorization.from),
                amount: exact.authorization.value.to_string(),
                extra: None,
            },
        }
    }

    /// A stored answer to the same invocation, where there is one.
    fn again(&self, shown: &Shown) -> std::result::Result<Option<Outcome>, Box<Refused>> {
        let found = self.books.answered(&shown.invocation.invocation, shown.invocation_id);
        let Some((epoch, seq)) = found.map_err(|_| Refused::broken())? else { return Ok(None) };
        if shown.invocation.invocation.requestHash != shown.request_hash {
            return Err(Refused::of(Refusal::RequestMismatch));
        }
        let kept = self.books.kept(epoch, seq).ok().flatten().ok_or_else(Refused::broken)?;
        if kept.invocation.signature != shown.invocation.signature {
            return Err(Refused::of(Refusal::InvocationSignature));
        }
        let receipt = self.handed(kept.receipt);
        // Asked before the reply is looked for: it may come in between.
        let is_coming = self.books.is_keeping(shown.invocation_id);
        match self.books.reply(shown.invocation_id) {
            Some(reply) => Ok(Some(Outcome::Again { reply, receipt })),
            None if is_coming => Err(Refused::channel_busy(Some(shown.invocation_id))),
            None => Err(Refused::reply_gone(receipt)),
        }
    }

    /// How long a caller waits before it tries again what is only full.
    pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(2);
}
