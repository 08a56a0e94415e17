//! What a caller does with its wallet: opens channels, signs, settles, takes corrections, gets the rest back.

use alloy_primitives::B256;
use loyal_protocol::contracts::InvocationChannel;
use loyal_protocol::{Client, Outcome, Step, Walk, channel};

use super::audit::Audit;
use super::transfers::check_room;
use super::{Ask, Caller, Inner, Known};
use crate::document::{CredentialFile, HandedReceipt};
use crate::payer::{self, Order};
use crate::payment::{BATCH, ChannelTerms, Deposit, Payment, PaymentRequired, Settlement};
use crate::terms::{self, escrow};
use crate::wallet::{Account, Book, Entry, Pending, Record, Site, Wallet};
use crate::{Error, Result};

/// Gas of the steps of a withdrawal as a rule.
const INITIATE_GAS: u64 = 75_000;
const FINALIZE_GAS: u64 = 75_000;

/// Fixes where a wallet pays, at its first use.
pub(super) fn fix_site(
    wallet: &mut Wallet,
    file: &CredentialFile,
    payer: alloy_primitives::Address,
) -> Result<()> {
    let site = Site {
        payer,
        chain_id: file.chain_id,
        registry: file.registry,
        channel: file.channel,
        authorization_collector: file.authorization_collector,
        gate: file.gate,
        router: file.router,
    };
    match wallet.book().site {
        Some(known) if known == site => Ok(()),
        Some(known) if known.payer != payer => {
            Err(Error::Refused(format!("this wallet is {}'s, and the key is {payer}'s: use another folder", known.payer)))
        }
        Some(_) => Err(Error::Refused(
            "the credential names other contracts than this wallet pays through: use another folder, and trust who gave it \
             to you"
                .to_owned(),
        )),
        None => wallet.write(Entry::Site(site)),
    }
}

impl Caller {
    /// The channel of a lane under the host's terms; it is in the wallet when this returns.
    pub(super) async fn channel(&self, ask: &Ask) -> Result<B256> {
        let (terms, index) = (ask.known.terms.clone(), ask.lane.index);
        self.block(move |inner| {
            let (channel, config) = inner.payer.channel(&terms.requirements, index);
            let mut wallet = inner.wallet();
            match wallet.book().channels.get(&channel) {
                Some(account) if account.withdraw_at != 0 => {
                    return Err(Error::Refused(format!(
                        "channel {channel} is being emptied: end that with `loyal access withdraw`, then go on"
                    )));
                }
                Some(_) => return Ok(channel),
                None => {}
            }
            wallet.write(Entry::Channel {
                channel,
                terms: ChannelTerms(config),
                hosting: terms.info.hosting_id,
                builder: inner.builder(),
                index,
            })?;
            Ok(channel)
        })
        .await
    }

    /// Signs a new invocation with its voucher, and a deposit where the channel needs one.
    pub(super) async fn sign(&self, ask: &Ask) -> Result<Pending> {
        let (terms, channel, salt) = (ask.known.terms.clone(), ask.channel, self.inner.draw());
        let (request, lane) = (ask.request.hash(salt), ask.lane.clone());
        self.block(move |inner| {
            // The channel stays ours where nobody waits any more.
            let _lane = lane;
            let amount = terms.requirements.amount;
            let (now, now_millis) = (inner.now(), inner.now_millis());
            let account = inner.wallet().account(channel)?.clone();
            inner.sweep()?;
            check_room(&inner.wallet(), account.asset(), amount, now)?;
            let deposit = inner.deposit(&terms.requirements, channel, account)?;
            inner.wallet().sign(channel, amount, now, |account| {
                let credential = inner.credential;
                let order = Order { terms: &terms, credential, request, salt, deposit, now_millis };
                Ok(inner.payer.sign(order, account))
            })
        })
        .await
    }

    /// Verifies a receipt and keeps it. `text` is the answer, where all of it was seen.
    pub(super) async fn settle(
        &self,
        ask: &Ask,
        pending: &Pending,
        found: (&HandedReceipt, Option<&Settlement>),
        text: Option<&str>,
    ) -> Result<Record> {
        let (pending, text) = (pending.clone(), text.map(str::to_owned));
        let found = (found.0.clone(), found.1.cloned());
        let (known, channel, lane) = (ask.known.clone(), ask.channel, ask.lane.clone());
        self.block(move |inner| {
            let _lane = lane;
            if matches!(pending.payment.payload, Payment::Exact(_)) {
                let record = inner.audited(&known, &pending, (&found.0, found.1.as_ref()), (0, text))?;
                inner.wallet().keep(&record)?;
                let transfer = pending.invocation.invocation.channelId;
                inner.wallet().write(Entry::Paid { transfer, at: record.at })?;
                return Ok(record);
            }
            let account = inner.wallet().account(channel)?.clone();
            let record =
                inner.audited(&known, &pending, (&found.0, found.1.as_ref()), (account.charged, text))?;
            inner.wallet().settle(channel, &record)?;
            if account.deposit.is_some() {
                // What the chain does not say now it says before the next deposit.
                let _ = inner.refresh(channel);
            }
            Ok(record)
        })
        .await
    }

    /// Finds out what became of an invocation whose answer did not come.
    pub(super) async fn resolve(&self, ask: &Ask, pending: &Pending) -> Result<()> {
        match self.receipt_at_host(&ask.known, pending).await? {
            Some(handed) => self.settle(ask, pending, (&handed, None), None).await.map(drop),
            None => self.drop_pending(ask, false).await,
        }
    }

    async fn receipt_at_host(&self, known: &Known, pending: &Pending) -> Result<Option<HandedReceipt>> {
        let path = format!("/receipts/{}", pending.id);
        match self.get(&known.base, &path).await {
            Ok(mut answer) => serde_json::from_value(answer["receipt"].take()).map(Some).map_err(|error| {
                Error::Misbehaved {
                    why: format!("the host answers with something that is no receipt: {error}"),
                }
            }),
            Err(Error::Denied { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A corrective answer: the host stands elsewhere. Its number is taken only with the payer's own signature on it, and only
    /// where something is open that explains it.
    pub(super) async fn correct(
        &self,
        (known, channel): (&Known, B256),
        required: &PaymentRequired,
    ) -> Result<()> {
        let Some(requirements) = required.accepts.iter().find(|accepted| accepted.scheme == BATCH) else {
            return Err(Error::Misbehaved { why: "the host corrects a payment it does not take".to_owned() });
        };
        let extra = requirements.extra.clone();
        let charged = extra.channel_state.map_or(0, |state| state.charged_cumulative_amount);
        self.find_lost((known, channel), charged).await?;
        let hosting = known.terms.info.hosting_id.to_string();
        self.block(move |inner| {
            let account = inner.wallet().account(channel)?.clone();
            let at = inner.now();
            let (Some(state), Some(voucher)) = (extra.channel_state, extra.voucher_state) else {
                // The host holds no voucher: then the contract is what both can go by.
                let (_, claimed, _) = escrow(&inner.seams.client, inner.file.channel, channel)?;
                let ceiling = account.ceiling;
                return inner.wallet().write(Entry::Adopted { channel, charged: claimed, ceiling, at });
            };
            let (charged, signed) = (state.charged_cumulative_amount, voucher.signed_max_claimable);
            let is_newer = signed > account.ceiling;
            for (what, is_so) in [
                ("of another channel", state.channel_id == channel),
                ("on a voucher that was never signed", inner.payer.has_signed(channel, &voucher)),
                ("beyond the voucher it shows", charged <= signed),
                ("below what it charged", is_newer || charged >= account.charged),
                ("beyond what it was asked for", is_newer || charged <= account.charged_max),
            ] {
                if !is_so {
                    return Err(inner.fault(&hosting, format!("the host claims a sum {what}"))?);
                }
            }
            inner.wallet().write(Entry::Adopted { channel, charged, ceiling: signed, at })
        })
        .await
    }

    /// A host charged more than the wallet knows. Where an invocation had ended without a word, the host has a receipt of it,
    /// or charged it and says nothing: then it is not paid any more.
    async fn find_lost(&self, (known, channel): (&Known, B256), charged: u128) -> Result<()> {
        let known = known.clone();
        let account = self.block(move |inner| Ok(inner.wallet().account(channel)?.clone())).await?;
        let Some(lost) = account.lost.filter(|_| charged > account.charged) else { return Ok(()) };
        let handed = self.receipt_at_host(&known, &lost).await?;
        self.block(move |inner| {
            let Some(handed) = handed else {
                let why = format!("the host charged invocation {} and has no receipt of it", lost.id);
                return Err(inner.fault(&known.terms.info.hosting_id.to_string(), why)?);
            };
            let record = inner.audited(&known, &lost, (&handed, None), (account.charged, None))?;
            let (amount, at) = (record.receipt.receipt.receipt.amount, record.at);
            inner.wallet().keep(&record)?;
            inner.wallet().write(Entry::Found { channel, amount, at })
        })
        .await
    }

    /// Asks the chain what is in a channel.
    pub(super) async fn refresh(&self, channel: B256) -> Result<()> {
        self.block(move |inner| inner.refresh(channel).map(drop)).await
    }
}

impl Inner {
    /// Writes down that a hosting is not paid any more.
    #[allow(clippy::needless_pass_by_value, reason = "callers are done with what they found")]
    pub(super) fn fault(&self, hosting: &str, why: String) -> Result<Error> {
        self.wallet().write(Entry::Faulted { hosting: hosting.to_owned(), why: why.clone() })?;
        Ok(Error::Misbehaved { why: format!("{why}; hosting {hosting} is not paid any more") })
    }

    /// A receipt that holds, as it is kept; one that does not is kept too, and its hosting is not paid any more.
    fn audited(
        &self,
        known: &Known,
        pending: &Pending,
        (handed, settlement): (&HandedReceipt, Option<&Settlement>),
        (charged, text): (u128, Option<String>),
    ) -> Result<Record> {
        let signer = self.signer_of(known, handed)?;
        let info = &known.terms.info;
        let text = text.as_deref();
        let audit = Audit { pending, charged, level: &info.level, signer, text };
        let fault = audit.fault_of(handed, settlement, &self.payer.domains);
        let record = Record {
            at: self.now(),
            host: known.base.to_string(),
            asset: pending.payment.accepted.asset,
            invocation: pending.invocation.clone(),
            salt: pending.salt,
            receipt: handed.clone(),
            is_answer_seen: text.is_some(),
            fault: fault.clone(),
        };
        match fault {
            Some(why) => {
                self.wallet().keep(&record)?;
                Err(self.fault(&info.hosting_id.to_string(), why)?)
            }
            None => Ok(record),
        }
    }

    /// What the chain says of a channel, written down.
    pub(super) fn refresh(&self, channel: B256) -> Result<Account> {
        let account = self.wallet().account(channel)?.clone();
        let (balance, claimed, withdraw_at) =
            chain_state(&self.seams.client, self.file.channel, channel, &account)?;
        let is_deposit_over = payer::is_deposit_over(&self.seams.client, &account, channel, self.now())?;
        let is_same =
            (account.balance, account.claimed, account.withdraw_at) == (balance, claimed, withdraw_at);
        let mut wallet = self.wallet();
        if !is_same || (is_deposit_over && account.deposit.is_some()) {
            wallet.write(Entry::Funded { channel, balance, claimed, withdraw_at, is_deposit_over })?;
        }
        wallet.account(channel).cloned()
    }

    /// The deposit that the next voucher needs, if it needs one: an open one again, or a new one.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "what was known of the account is out of date after this"
    )]
    fn deposit(
        &self,
        requirements: &crate::payment::Requirements,
        channel: B256,
        account: Account,
    ) -> Result<Option<Deposit>> {
        let needed = |account: &Account| account.charged.saturating_add(requirements.amount);
        if needed(&account) <= account.balance {
            return Ok(None);
        }
        let account = self.refresh(channel)?;
        let missing = needed(&account).saturating_sub(account.balance);
        if missing == 0 {
            return Ok(None);
        }
        let now = self.seams.client.time()?.max(self.now());
        if let Some(open) = account.deposit.filter(|open| open.amount >= missing) {
            if payer::is_deposit_fresh(&open, now) {
                return Ok(Some(open));
            }
            return Err(Error::Refused(format!(
                "an earlier deposit into channel {channel} may still arrive; try again in a few minutes"
            )));
        }
        let wanted =
            requirements.amount.saturating_mul(self.settings.deposit_factor.max(1).into()).max(missing);
        let has = payer::balance(&self.seams.client, requirements.asset, self.payer.address(), missing)?;
        let place = (channel, self.draw());
        Ok(Some(self.payer.deposit(requirements, place, wanted.min(has), now)))
    }

    /// Who signs for a hosting: the one known, or whom the chain names for the receipt's time.
    fn signer_of(&self, known: &Known, handed: &HandedReceipt) -> Result<alloy_primitives::Address> {
        let info = &known.terms.info;
        if handed.receipt.signer(&self.payer.domains.loyal) == Some(info.signer) {
            return Ok(info.signer);
        }
        let at = handed.receipt.receipt.issuedAt;
        terms::signer_at(&self.seams.client, self.file.gate, info.hosting_id, at)
    }
}

fn chain_state(
    client: &Client,
    contract: alloy_primitives::Address,
    channel: B256,
    account: &Account,
) -> Result<(u128, u128, u64)> {
    let (balance, claimed, asked_at) = escrow(client, contract, channel)?;
    let delay: u64 = account.terms.0.withdrawDelay.to();
    Ok((balance, claimed, if asked_at == 0 { 0 } else { asked_at + delay }))
}

/// What became of one channel's rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withdrawal {
    /// Nothing is left in it.
    Empty,
    /// The rest was asked for, and can be taken out at this time, in unix seconds.
    Asked {
        /// How much.
        amount: u128,
        /// When.
        ready_at: u64,
    },
    /// The rest was taken out.
    Done {
        /// How much, at most: what the host redeemed meanwhile is gone.
        amount: u128,
    },
    /// A rehearsal ends here.
    Rehearsed,
}

impl Wallet {
    /// Takes the next step to get the rest of a channel back: asks for it, or takes it out once the wait is over.
    ///
    /// # Errors
    /// The chain's; [`Error::Wallet`].
    pub fn withdraw(&mut self, walk: &mut Walk<'_>, channel: B256) -> Result<Withdrawal> {
        let site =
            self.book().site.ok_or_else(|| Error::Wallet { why: "nothing was paid yet".to_owned() })?;
        let account = self.account(channel)?.clone();
        let (balance, claimed, ready_at) = chain_state(walk.client, site.channel, channel, &account)?;
        let rest = balance.saturating_sub(claimed.max(account.charged));
        let config = channel::terms(&account.terms.0);
        if ready_at != 0 && walk.client.time()? < ready_at {
            self.note(walk.client, &site, channel)?;
            return Ok(Withdrawal::Asked { amount: rest, ready_at });
        }
        let step = if ready_at != 0 {
            let call = InvocationChannel::finalizeWithdrawCall { config };
            Step::new(format!("take the rest out of channel {channel}"), site.channel, &call, FINALIZE_GAS)
        } else if rest > 0 {
            let call = InvocationChannel::initiateWithdrawCall { config, amount: rest };
            Step::new(format!("ask for the rest of channel {channel}"), site.channel, &call, INITIATE_GAS)
        } else {
            return Ok(Withdrawal::Empty);
        };
        let taken: Outcome<_> = walk.take(step);
        if taken?.is_none() {
            return Ok(Withdrawal::Rehearsed);
        }
        let after = self.note(walk.client, &site, channel)?;
        if ready_at != 0 {
            return Ok(Withdrawal::Done { amount: balance.saturating_sub(after.balance) });
        }
        Ok(Withdrawal::Asked { amount: rest, ready_at: after.withdraw_at })
    }

    /// Channels that may hold something.
    #[must_use]
    pub fn channels_of(book: &Book) -> Vec<B256> {
        book.channels.keys().copied().collect()
    }

    fn note(&mut self, client: &Client, site: &Site, channel: B256) -> Result<Account> {
        let account = self.account(channel)?.clone();
        let (balance, claimed, withdraw_at) = chain_state(client, site.channel, channel, &account)?;
        let is_deposit_over = payer::is_deposit_over(client, &account, channel, client.time()?)?;
        self.write(Entry::Funded { channel, balance, claimed, withdraw_at, is_deposit_over })?;
        Ok(self.account(channel)?.clone())
    }
}
