//! What a wallet knows, and how each entry of its journal changes that: no files, no clock, no keys.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, U256};
use serde::{Deserialize, Serialize};

use crate::document::{SignedInvocation, decimal};
use crate::payment::{ChannelTerms, Deposit, PaymentPayload};
use crate::wallet::Transfer;

/// Seconds in the windows that caps speak of.
const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;
/// Spendings of so many seconds are remembered as one.
const GRAIN: u64 = 60;

/// Which chain and contracts a wallet pays through; the first use fixes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// Who pays.
    pub payer: Address,
    /// The chain.
    pub chain_id: u64,
    /// Messages are signed for this contract,
    pub registry: Address,
    /// payments are escrowed here,
    pub channel: Address,
    /// deposits are collected here,
    pub authorization_collector: Address,
    /// hostings are here,
    pub gate: Address,
    /// and tills are named here.
    pub router: Address,
}

/// The most that is spent of one asset, in base units; no bound where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caps {
    /// For one invocation.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "maybe")]
    pub request: Option<u128>,
    /// In any 60 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "maybe")]
    pub hour: Option<u128>,
    /// In any 24 hours.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "maybe")]
    pub day: Option<u128>,
}

/// A cap would be passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capped {
    /// Which cap: "a request", "an hour", "a day".
    pub of: &'static str,
    /// The cap.
    pub cap: u128,
    /// What is spent or promised already.
    pub spent: u128,
    /// What one more invocation may cost.
    pub wanted: u128,
}

/// An invocation that was signed and has not ended: all that sending it again needs, except the body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    /// Its id.
    pub id: B256,
    /// The invocation.
    pub invocation: SignedInvocation,
    /// The salt of its request's hash.
    pub salt: B256,
    /// Its payment.
    pub payment: PaymentPayload,
    /// The voucher's ceiling.
    #[serde(with = "decimal")]
    pub ceiling: u128,
    /// The most that it costs.
    #[serde(with = "decimal")]
    pub amount: u128,
}

/// One channel, as its payer sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The channel's terms.
    pub terms: ChannelTerms,
    /// The hosting it pays.
    #[serde(with = "decimal")]
    pub hosting: U256,
    /// Who brings the invocations; zero for nobody.
    pub builder: Address,
    /// Which of several channels of the same ends.
    pub index: u32,
    /// What was charged.
    #[serde(with = "decimal")]
    pub charged: u128,
    /// The highest ceiling that was ever signed.
    #[serde(with = "decimal")]
    pub ceiling: u128,
    /// What an honest host may have charged: more than `charged` where an invocation ended without a word of its host.
    #[serde(with = "decimal")]
    pub charged_max: u128,
    /// What is in it, as the chain said last.
    #[serde(with = "decimal")]
    pub balance: u128,
    /// What was redeemed, as the chain said last.
    #[serde(with = "decimal")]
    pub claimed: u128,
    /// The nonce of the newest invocation; they begin at 1.
    pub nonce: u64,
    /// Invocations that were charged and left no receipt.
    pub without_receipt: u32,
    /// The invocation that has not ended.
    pub pending: Option<Pending>,
    /// The newest invocation that ended without a word of its host: where it is charged after all, its receipt is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Box<Pending>>,
    /// A deposit that was signed, and is not known to be in the channel.
    pub deposit: Option<Deposit>,
    /// When the rest may be taken out; zero where it was not asked for.
    pub withdraw_at: u64,
}

/// What was spent in a short time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Spending {
    at: u64,
    #[serde(with = "decimal")]
    amount: u128,
}

/// All that was ever spent of one asset.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spent {
    /// Invocations.
    pub invocations: u64,
    /// The sum of what they cost.
    #[serde(with = "decimal")]
    pub amount: u128,
    recent: Vec<Spending>,
}

/// What a wallet knows.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Book {
    /// Where it pays.
    pub site: Option<Site>,
    /// Its caps, by asset.
    pub caps: BTreeMap<Address, Caps>,
    /// What was spent, by asset.
    pub spent: BTreeMap<Address, Spent>,
    /// Its channels, by id.
    pub channels: BTreeMap<B256, Account>,
    /// Transfers that may still be made, by nonce.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub transfers: BTreeMap<B256, Transfer>,
    /// Hostings that are not paid any more, and why.
    pub faults: BTreeMap<String, String>,
}

/// A line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Entry {
    /// Everything up to here.
    Book(Box<Book>),
    /// Where the wallet pays.
    Site(Site),
    /// Other caps.
    Caps {
        /// Of this asset.
        asset: Address,
        /// The caps.
        caps: Caps,
    },
    /// A new channel.
    Channel {
        /// Its id.
        channel: B256,
        /// Its terms.
        terms: ChannelTerms,
        /// Whom it pays.
        #[serde(with = "decimal")]
        hosting: U256,
        /// Through whom.
        builder: Address,
        /// Which of several.
        index: u32,
    },
    /// An invocation and its voucher were signed; written before they leave.
    Signed {
        /// The channel.
        channel: B256,
        /// The invocation.
        pending: Box<Pending>,
    },
    /// The invocation left a receipt.
    Settled {
        /// The channel.
        channel: B256,
        /// What it cost.
        #[serde(with = "decimal")]
        amount: u128,
        /// When.
        at: u64,
    },
    /// The invocation was refused: it costs nothing. Or its host does not know of it: it may still come there.
    Dropped {
        /// The channel.
        channel: B256,
        /// Whether the host refused it.
        is_refused: bool,
    },
    /// The host's number was taken, on the payer's own signature.
    Adopted {
        /// The channel.
        channel: B256,
        /// What was charged.
        #[serde(with = "decimal")]
        charged: u128,
        /// The highest ceiling that the host showed.
        #[serde(with = "decimal")]
        ceiling: u128,
        /// When.
        at: u64,
    },
    /// The receipt of an invocation that had ended without a word of its host.
    Found {
        /// The channel.
        channel: B256,
        /// What it cost.
        #[serde(with = "decimal")]
        amount: u128,
        /// When.
        at: u64,
    },
    /// A transfer was signed; written before it leaves.
    Promised {
        /// The transfer.
        transfer: Box<Transfer>,
    },
    /// A transfer was made.
    Paid {
        /// Its nonce.
        transfer: B256,
        /// When.
        at: u64,
    },
    /// A transfer was not made, and cannot be any more.
    Void {
        /// Its nonce.
        transfer: B256,
    },
    /// What the chain says.
    Funded {
        /// The channel.
        channel: B256,
        /// What is in it.
        #[serde(with = "decimal")]
        balance: u128,
        /// What was redeemed.
        #[serde(with = "decimal")]
        claimed: u128,
        /// When the rest may be taken out; zero where it was not asked for.
        withdraw_at: u64,
        /// Whether the signed deposit is in it, or can no longer get there.
        is_deposit_over: bool,
    },
    /// A hosting is not paid any more.
    Faulted {
        /// The hosting.
        hosting: String,
        /// Why.
        why: String,
    },
    /// A hosting is paid again.
    Forgiven {
        /// The hosting.
        hosting: String,
    },
}

impl Account {
    /// What is paid with.
    #[must_use]
    pub const fn asset(&self) -> Address {
        self.terms.0.token
    }

    /// What of the balance is not charged.
    #[must_use]
    pub const fn rest(&self) -> u128 {
        self.balance.saturating_sub(self.charged)
    }
}

impl Spent {
    fn add(&mut self, at: u64, amount: u128) {
        self.invocations += 1;
        self.amount = self.amount.saturating_add(amount);
        let at = at.next_multiple_of(GRAIN);
        match self.recent.last_mut() {
            // A clock that was set back makes spendings newer than they are, never older.
            Some(last) if last.at >= at => last.amount = last.amount.saturating_add(amount),
            _ => self.recent.push(Spending { at, amount }),
        }
        let newest = self.recent.last().map_or(0, |last| last.at);
        self.recent.retain(|spending| spending.at + DAY + GRAIN > newest);
    }

    /// What was spent in the last `seconds`.
    fn since(&self, now: u64, seconds: u64) -> u128 {
        let recent = self.recent.iter().filter(|spending| spending.at + seconds > now);
        recent.fold(0, |sum, spending| sum.saturating_add(spending.amount))
    }

    /// What was spent in the last hour and in the last day.
    #[must_use]
    pub fn lately(&self, now: u64) -> (u128, u128) {
        (self.since(now, HOUR), self.since(now, DAY))
    }
}

impl Book {
    /// Whether an invocation that costs `wanted` at most stays within the caps. What is promised and has not ended counts
    /// whole.
    ///
    /// # Errors
    /// [`Capped`] names the cap.
    pub fn check_caps(&self, asset: Address, wanted: u128, now: u64) -> Result<(), Capped> {
        let caps = self.caps.get(&asset).copied().unwrap_or_default();
        let promised = self.channels.values().filter(|account| account.asset() == asset);
        let promised = promised.filter_map(|account| account.pending.as_ref());
        let promised = promised.fold(0_u128, |sum, pending| sum.saturating_add(pending.amount));
        let transfers = self.transfers.values().filter(|transfer| transfer.asset() == asset);
        let promised = transfers.fold(promised, |sum, transfer| sum.saturating_add(transfer.amount()));
        let (hour, day) = self.spent.get(&asset).map_or((0, 0), |spent| spent.lately(now));
        for (of, cap, spent) in [
            ("a request", caps.request, 0),
            ("an hour", caps.hour, hour.saturating_add(promised)),
            ("a day", caps.day, day.saturating_add(promised)),
        ] {
            match cap {
                Some(cap) if spent.saturating_add(wanted) > cap => {
                    return Err(Capped { of, cap, spent, wanted });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes an entry.
    ///
    /// # Errors
    /// What is wrong with it; the book is then as before.
    pub(crate) fn take(&mut self, entry: Entry) -> Result<(), String> {
        match entry {
            Entry::Book(book) => *self = *book,
            Entry::Site(site) => match self.site {
                Some(known) if known != site => return Err("the wallet pays elsewhere already".to_owned()),
                _ => self.site = Some(site),
            },
            Entry::Caps { asset, caps } => drop(self.caps.insert(asset, caps)),
            Entry::Channel { channel, terms, hosting, builder, index } => {
                if self.channels.contains_key(&channel) {
                    return Err(format!("channel {channel} is there already"));
                }
                self.channels.insert(channel, Account::new(terms, hosting, builder, index));
            }
            Entry::Signed { channel, pending } => self.account(channel)?.sign(*pending)?,
            Entry::Settled { channel, amount, at } => {
                let asset = self.account(channel)?.settle(amount)?;
                self.spent.entry(asset).or_default().add(at, amount);
            }
            Entry::Dropped { channel, is_refused } => self.account(channel)?.drop_pending(is_refused),
            Entry::Adopted { channel, charged, ceiling, at } => {
                let account = self.account(channel)?;
                let more = charged.saturating_sub(account.charged);
                let was_pending = account.adopt(charged, ceiling);
                let asset = account.asset();
                if was_pending && more > 0 {
                    self.spent.entry(asset).or_default().add(at, more);
                }
            }
            Entry::Found { channel, amount, at } => {
                let asset = self.account(channel)?.find(amount)?;
                self.spent.entry(asset).or_default().add(at, amount);
            }
            Entry::Promised { transfer } => {
                let nonce = transfer.nonce();
                if nonce.is_zero() || self.transfers.contains_key(&nonce) {
                    return Err(format!("transfer {nonce} is there already, or none"));
                }
                self.transfers.insert(nonce, *transfer);
            }
            Entry::Paid { transfer, at } => {
                let paid = self.transfer(transfer)?;
                self.spent.entry(paid.asset()).or_default().add(at, paid.amount());
            }
            Entry::Void { transfer } => drop(self.transfer(transfer)?),
            Entry::Funded { channel, balance, claimed, withdraw_at, is_deposit_over } => {
                let account = self.account(channel)?;
                (account.balance, account.claimed, account.withdraw_at) = (balance, claimed, withdraw_at);
                if is_deposit_over {
                    account.deposit = None;
                }
            }
            Entry::Faulted { hosting, why } => drop(self.faults.insert(hosting, why)),
            Entry::Forgiven { hosting } => drop(self.faults.remove(&hosting)),
        }
        Ok(())
    }

    fn transfer(&mut self, nonce: B256) -> Result<Transfer, String> {
        self.transfers.remove(&nonce).ok_or_else(|| format!("transfer {nonce} is not in the wallet"))
    }

    fn account(&mut self, channel: B256) -> Result<&mut Account, String> {
        self.channels.get_mut(&channel).ok_or_else(|| format!("channel {channel} is not in the wallet"))
    }
}

impl Account {
    const fn new(terms: ChannelTerms, hosting: U256, builder: Address, index: u32) -> Self {
        Self {
            terms,
            hosting,
            builder,
            index,
            charged: 0,
            ceiling: 0,
            charged_max: 0,
            balance: 0,
            claimed: 0,
            nonce: 0,
            without_receipt: 0,
            pending: None,
            lost: None,
            deposit: None,
            withdraw_at: 0,
        }
    }

    fn sign(&mut self, pending: Pending) -> Result<(), String> {
        if self.pending.is_some() {
            return Err("an invocation of the channel has not ended".to_owned());
        }
        let nonce = pending.invocation.invocation.nonce;
        if nonce <= self.nonce {
            return Err(format!("nonce {nonce} is not above {}", self.nonce));
        }
        if pending.ceiling != self.charged.saturating_add(pending.amount) {
            return Err(format!("a ceiling of {} does not continue {}", pending.ceiling, self.charged));
        }
        if let crate::payment::Payment::Batch(batch) = &pending.payment.payload
            && let Some(deposit) = &batch.deposit
        {
            self.deposit = Some(deposit.clone());
        }
        self.nonce = nonce;
        self.ceiling = self.ceiling.max(pending.ceiling);
        self.pending = Some(pending);
        Ok(())
    }

    fn settle(&mut self, amount: u128) -> Result<Address, String> {
        let Some(pending) = &self.pending else {
            return Err("no invocation of the channel is under way".to_owned());
        };
        if amount > pending.amount {
            return Err(format!("{amount} is more than the {} that were allowed", pending.amount));
        }
        self.charged += amount;
        self.charged_max = self.charged;
        // A later one was answered: what was lost before it can be charged no more.
        (self.pending, self.lost) = (None, None);
        Ok(self.asset())
    }

    fn drop_pending(&mut self, is_refused: bool) {
        if let Some(pending) = self.pending.take().filter(|_| !is_refused) {
            self.charged_max = self.charged_max.max(pending.ceiling);
            self.lost = Some(Box::new(pending));
        }
    }

    /// The receipt of what was lost: it was charged, and whatever is under way now was signed on another sum.
    fn find(&mut self, amount: u128) -> Result<Address, String> {
        let Some(lost) = self.lost.take() else {
            return Err("no invocation of the channel was lost".to_owned());
        };
        if amount > lost.amount {
            return Err(format!("{amount} is more than the {} that were allowed", lost.amount));
        }
        self.pending = None;
        self.charged += amount;
        self.charged_max = self.charged_max.max(self.charged);
        Ok(self.asset())
    }

    fn adopt(&mut self, charged: u128, ceiling: u128) -> bool {
        let pending = self.pending.take();
        if pending.is_some() && charged > self.charged {
            self.without_receipt += 1;
        }
        (self.charged, self.charged_max) = (charged, charged);
        self.ceiling = self.ceiling.max(ceiling);
        pending.is_some()
    }
}

mod maybe {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::document::decimal;

    #[derive(Deserialize)]
    struct Number(#[serde(with = "decimal")] u128);

    pub(super) fn serialize<S: Serializer>(value: &Option<u128>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => decimal::serialize(value, to),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u128>, D::Error> {
        Ok(Option::<Number>::deserialize(from)?.map(|number| number.0))
    }
}
