//! The books in memory: what every record adds up to.

use std::collections::btree_map::Entry as Place;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};

use alloy_primitives::{Address, B256, U256};
use bytes::Bytes;
use loyal_protocol::message::{Credential, Invocation};
use loyal_types::Proof;
use loyal_types::tree::{Entry, Node};
use serde::{Deserialize, Serialize};

use super::record::{Answered, Record};
use super::rows::{Row, Rows};
use super::{hash_of, journal};
use crate::document::decimal;
use crate::payment::{ChannelTerms, SignedVoucher};
use crate::{Error, Result};

/// Memory for replies that are kept for those who ask again.
const REPLY_BYTES_MAX: usize = 64 << 20;
/// What a reply takes beside its bytes: twice its name, its place in a map that is half full at least, an allocation.
const REPLY_ROOM: usize = 192;
/// A credential's spending is remembered this long after its end: clocks differ.
const EXPIRED_FOR: u64 = 86_400;

/// What an invocation needs of the books until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    /// Its credential.
    pub credential: B256,
    /// Its channel, or the nonce of its transfer.
    pub channel: B256,
    /// Its nonce.
    pub nonce: u64,
    /// The most that it costs, in base units.
    pub amount_max: u128,
    /// What its voucher takes for charged on the channel so far; none where it pays by a transfer.
    pub charged: Option<u128>,
}

impl Reservation {
    /// What an invocation needs.
    #[must_use]
    pub const fn of(invocation: &Invocation, amount_max: u128, charged: Option<u128>) -> Self {
        Self {
            credential: invocation.credentialId,
            channel: invocation.channelId,
            nonce: invocation.nonce,
            amount_max,
            charged,
        }
    }
}

/// Bounds of what is reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Invocations that the credential allows.
    pub calls_max: u32,
    /// Spending that the credential allows, in base units.
    pub spend_max: u128,
    /// What was redeemed of the channel, in base units.
    pub claimed: u128,
    /// The most that may be unredeemed on a channel, in base units.
    pub unredeemed_max: u128,
    /// The epoch of now.
    pub epoch: u32,
    /// The most that may be charged in an epoch, in base units.
    pub epoch_max: u128,
}

impl Caps {
    /// Those of a credential; the others are without bound.
    #[must_use]
    pub const fn of(credential: &Credential, epoch: u32) -> Self {
        Self {
            calls_max: credential.callsMax,
            spend_max: credential.spendMax,
            claimed: 0,
            unredeemed_max: u128::MAX,
            epoch,
            epoch_max: u128::MAX,
        }
    }
}

/// Why nothing can be reserved, in the order of admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hindrance {
    /// The nonce is not above the last one.
    Nonce,
    /// The credential allows no more.
    Spend,
    /// Too much is unredeemed or unreported.
    Exposure,
    /// The voucher does not continue where the channel stands.
    Stale,
    /// Another invocation of the channel is under way.
    Busy,
}

/// Where a channel stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Its terms.
    pub terms: ChannelTerms,
    /// Who brought it; zero for nobody.
    pub builder: Address,
    /// What was charged.
    #[serde(with = "decimal")]
    pub charged: u128,
    /// The newest voucher.
    pub voucher: SignedVoucher,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spending {
    calls: u32,
    #[serde(with = "decimal")]
    amount: u128,
    /// When the credential ends, in unix seconds.
    ends: u64,
}

#[derive(Debug)]
struct Epoch {
    /// Its receipts: their leaves, and where each begins in the log.
    rows: Rows,
    /// Receipts that are numbered; the newest may not be among the rows yet.
    count: u32,
    amount: u128,
    /// Where each credential begins in the log.
    credentials: HashMap<B256, u64>,
    channels: HashSet<B256>,
}

impl Epoch {
    fn begin(folder: &Path, epoch: u32) -> Result<Self> {
        let rows = Rows::begin(&journal::log_path(folder, epoch))?;
        Ok(Self { rows, count: 0, amount: 0, credentials: HashMap::new(), channels: HashSet::new() })
    }
}

/// What reaches beyond epochs.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Snapshot {
    format: String,
    version: u32,
    hosting: String,
    last_at: u64,
    accounts: Vec<(B256, Account)>,
    nonces: Vec<(B256, B256, u64)>,
    spendings: Vec<(B256, Spending)>,
    /// Those who brought invocations that transfers paid.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    builders: BTreeSet<Address>,
}

const FORMAT: &str = "loyal-books";
const VERSION: u32 = 1;

#[derive(Debug)]
pub(super) struct Sums {
    folder: PathBuf,
    hosting: U256,
    accounts: HashMap<B256, Account>,
    nonces: HashMap<(B256, B256), u64>,
    spendings: HashMap<B256, Spending>,
    builders: BTreeSet<Address>,
    /// Transfers that paid, by nonce; after a restart channels too, which are nobody's transfers.
    paid: HashSet<B256>,
    epochs: BTreeMap<u32, Epoch>,
    last_at: u64,
    closed_below: u32,
    busy: HashSet<B256>,
    under_way: HashMap<B256, (u32, u128)>,
    under_way_all: u128,
    /// Sorted, since a table of hashes doubles after as many removals as it has places.
    replies: BTreeMap<B256, Bytes>,
    reply_order: VecDeque<B256>,
    reply_bytes: usize,
}

impl Sums {
    /// Reads what the folder holds: the newest snapshot and the logs from there on for what reaches beyond epochs, all
    /// logs for their trees.
    pub(super) fn read(folder: &Path, hosting: U256) -> Result<Self> {
        let mut books = Self {
            folder: folder.to_owned(),
            hosting,
            accounts: HashMap::new(),
            nonces: HashMap::new(),
            spendings: HashMap::new(),
            builders: BTreeSet::new(),
            paid: HashSet::new(),
            epochs: BTreeMap::new(),
            last_at: 0,
            closed_below: 0,
            busy: HashSet::new(),
            under_way: HashMap::new(),
            under_way_all: 0,
            replies: BTreeMap::new(),
            reply_order: VecDeque::new(),
            reply_bytes: 0,
        };
        let epochs = journal::epochs(folder)?;
        let newest = epochs.iter().rev().find_map(|&epoch| journal::read_snapshot(folder, epoch).transpose());
        let from = match newest.transpose()? {
            Some((epoch, snapshot)) => {
                books.restore(snapshot, &journal::snapshot_path(folder, epoch))?;
                epoch
            }
            None => 0,
        };
        for epoch in epochs {
            journal::read(folder, epoch, &mut |record, offset| {
                books.replay(epoch, &record, (offset, epoch >= from))
            })?;
        }
        Ok(books)
    }

    fn restore(&mut self, snapshot: Snapshot, path: &Path) -> Result<()> {
        let is_ours = snapshot.format == FORMAT && snapshot.version == VERSION;
        if !is_ours || snapshot.hosting != self.hosting.to_string() {
            let found = format!("{:?} {} of hosting {}", snapshot.format, snapshot.version, snapshot.hosting);
            let wanted = format!("{FORMAT:?} {VERSION} of hosting {}", self.hosting);
            return Err(Error::file(path, format!("{found}, not {wanted}: name another folder")));
        }
        self.last_at = snapshot.last_at;
        self.accounts = snapshot.accounts.into_iter().collect();
        self.nonces = snapshot
            .nonces
            .into_iter()
            .map(|(credential, channel, nonce)| ((credential, channel), nonce))
            .collect();
        self.spendings = snapshot.spendings.into_iter().collect();
        self.builders = snapshot.builders;
        self.paid = self.nonces.keys().map(|(_, channel)| *channel).collect();
        Ok(())
    }

    pub(super) fn snapshot(&self, now: u64) -> Snapshot {
        let alive = |spending: &Spending| spending.ends.saturating_add(EXPIRED_FOR) > now;
        let is_alive = |credential: &B256| self.spendings.get(credential).is_none_or(alive);
        Snapshot {
            format: FORMAT.to_owned(),
            version: VERSION,
            hosting: self.hosting.to_string(),
            last_at: self.last_at,
            accounts: self.accounts(),
            nonces: self
                .nonces
                .iter()
                .filter(|((credential, _), _)| is_alive(credential))
                .map(|(&(credential, channel), &nonce)| (credential, channel, nonce))
                .collect(),
            spendings: self
                .spendings
                .iter()
                .filter(|(_, spending)| alive(spending))
                .map(|(&id, &s)| (id, s))
                .collect(),
            builders: self.builders.clone(),
        }
    }

    fn replay(&mut self, epoch: u32, record: &Record, (offset, is_newer): (u64, bool)) -> Result<()> {
        if let Record::Answered(answered) = record {
            self.count(answered)?;
            if is_newer {
                self.add(answered);
            }
        }
        self.placed(epoch, record, offset)
    }

    /// Takes an answered invocation, and answers the records to be written.
    pub(super) fn take(&mut self, answered: Answered) -> Result<Vec<Record>> {
        self.count(&answered)?;
        self.add(&answered);
        let epoch = self.epoch(answered.receipt.receipt.epoch)?;
        let invocation = &answered.invocation.invocation;
        let mut records = Vec::with_capacity(3);
        let is_new = !epoch.credentials.contains_key(&invocation.credentialId);
        if let Some(credential) = answered.credential.clone().filter(|_| is_new) {
            records.push(Record::Credential(invocation.credentialId, credential));
        }
        let is_new = !epoch.channels.contains(&invocation.channelId);
        if let Some((builder, terms)) = answered.terms.clone().filter(|_| is_new) {
            records.push(Record::Channel(invocation.channelId, builder, terms));
        }
        records.push(Record::Answered(Box::new(answered)));
        Ok(records)
    }

    /// Notes where in its log a record begins.
    pub(super) fn placed(&mut self, epoch: u32, record: &Record, offset: u64) -> Result<()> {
        let epoch = self.epoch(epoch)?;
        match record {
            Record::Credential(id, _) => drop(epoch.credentials.insert(*id, offset)),
            Record::Channel(id, ..) => drop(epoch.channels.insert(*id)),
            Record::Answered(answered) => {
                let receipt = &answered.receipt.receipt;
                let tokens = u128::from(receipt.tokensIn) + u128::from(receipt.tokensOut);
                let entry = Entry { digest: hash_of(answered.id), amount: receipt.amount, tokens };
                epoch.rows.push(Row { invocation: receipt.invocationId, offset }, &entry)?;
            }
        }
        Ok(())
    }

    fn epoch(&mut self, epoch: u32) -> Result<&mut Epoch> {
        match self.epochs.entry(epoch) {
            Place::Occupied(known) => Ok(known.into_mut()),
            Place::Vacant(place) => Ok(place.insert(Epoch::begin(&self.folder, epoch)?)),
        }
    }

    /// Where in the log of its epoch a receipt begins.
    pub(super) fn offset_of(&self, epoch: u32, seq: u32) -> Result<Option<u64>> {
        let Some(epoch) = self.epochs.get(&epoch) else { return Ok(None) };
        Ok(epoch.rows.get(seq)?.map(|row| row.offset))
    }

    /// Where in the log of an epoch a credential begins.
    pub(super) fn credential_offset(&self, epoch: u32, id: B256) -> Option<u64> {
        self.epochs.get(&epoch)?.credentials.get(&id).copied()
    }

    /// Adds a receipt to its epoch's tree.
    fn count(&mut self, answered: &Answered) -> Result<()> {
        let receipt = &answered.receipt.receipt;
        if receipt.hostingId != self.hosting {
            let found = receipt.hostingId;
            return Err(Error::Refused(format!(
                "these are the books of hosting {found}, not {}",
                self.hosting
            )));
        }
        let epoch = self.epoch(receipt.epoch)?;
        if receipt.seq != epoch.count {
            let wanted = epoch.count;
            let what = format!("epoch {}: receipt {} where {wanted} follows", receipt.epoch, receipt.seq);
            return Err(Error::Refused(what));
        }
        epoch.count += 1;
        epoch.amount = epoch.amount.saturating_add(receipt.amount);
        self.last_at = self.last_at.max(receipt.issuedAt);
        Ok(())
    }

    /// Adds a receipt to what reaches beyond epochs.
    fn add(&mut self, answered: &Answered) {
        let receipt = &answered.receipt.receipt;
        let invocation = &answered.invocation.invocation;
        let nonce = self.nonces.entry((invocation.credentialId, invocation.channelId)).or_default();
        *nonce = invocation.nonce.max(*nonce);
        let spending = self.spendings.entry(invocation.credentialId).or_default();
        spending.calls = spending.calls.saturating_add(1);
        spending.amount = spending.amount.saturating_add(receipt.amount);
        spending.ends =
            answered.credential.as_ref().map_or(spending.ends, |signed| signed.credential.expiresAt);
        self.builders.extend(answered.builder);
        if answered.transfer.is_some() {
            self.paid.insert(invocation.channelId);
        }
        let Some(voucher) = answered.voucher.clone() else { return };
        match self.accounts.get_mut(&invocation.channelId) {
            Some(account) => {
                account.charged = receipt.cumulative;
                if voucher.max_claimable_amount >= account.voucher.max_claimable_amount {
                    account.voucher = voucher;
                }
            }
            None => {
                if let Some((builder, terms)) = answered.terms.clone() {
                    let account = Account { terms, builder, charged: receipt.cumulative, voucher };
                    self.accounts.insert(invocation.channelId, account);
                }
            }
        }
    }

    pub(super) fn hindrance(&self, wanted: &Reservation, caps: &Caps) -> Option<Hindrance> {
        if self.nonces.get(&(wanted.credential, wanted.channel)).is_some_and(|&last| wanted.nonce <= last) {
            return Some(Hindrance::Nonce);
        }
        if wanted.charged.is_none() && self.has_paid(wanted.channel) {
            return Some(Hindrance::Nonce);
        }
        let spent = self.spendings.get(&wanted.credential).copied().unwrap_or_default();
        let (calls, amount) = self.under_way.get(&wanted.credential).copied().unwrap_or_default();
        let calls = spent.calls.saturating_add(calls);
        let amount = spent.amount.saturating_add(amount).saturating_add(wanted.amount_max);
        if calls >= caps.calls_max || amount > caps.spend_max {
            return Some(Hindrance::Spend);
        }
        let charged = self.accounts.get(&wanted.channel).map_or(0, |account| account.charged);
        let unredeemed = charged.saturating_sub(caps.claimed).saturating_add(wanted.amount_max);
        let epoch = self.epochs.get(&caps.epoch).map_or(0, |epoch| epoch.amount);
        let epoch = epoch.saturating_add(self.under_way_all).saturating_add(wanted.amount_max);
        if unredeemed > caps.unredeemed_max || epoch > caps.epoch_max {
            return Some(Hindrance::Exposure);
        }
        // An invocation that was judged while an earlier one was under way may be behind by now.
        let account = self.accounts.get(&wanted.channel);
        if wanted.charged.zip(account).is_some_and(|(charged, account)| charged < account.charged) {
            return Some(Hindrance::Stale);
        }
        self.busy.contains(&wanted.channel).then_some(Hindrance::Busy)
    }

    pub(super) fn reserve(
        &mut self,
        wanted: &Reservation,
        caps: &Caps,
    ) -> std::result::Result<(), Hindrance> {
        if let Some(hindrance) = self.hindrance(wanted, caps) {
            return Err(hindrance);
        }
        self.busy.insert(wanted.channel);
        let (calls, amount) = self.under_way.entry(wanted.credential).or_default();
        *calls += 1;
        *amount = amount.saturating_add(wanted.amount_max);
        self.under_way_all = self.under_way_all.saturating_add(wanted.amount_max);
        Ok(())
    }

    pub(super) fn hold(&mut self, channel: B256) -> bool {
        self.busy.insert(channel)
    }

    pub(super) fn let_go(&mut self, channel: B256) {
        self.busy.remove(&channel);
    }

    pub(super) fn release(&mut self, reservation: &Reservation) {
        if !self.busy.remove(&reservation.channel) {
            return;
        }
        self.under_way_all = self.under_way_all.saturating_sub(reservation.amount_max);
        if let Some((calls, amount)) = self.under_way.get_mut(&reservation.credential) {
            *calls = calls.saturating_sub(1);
            *amount = amount.saturating_sub(reservation.amount_max);
            if *calls == 0 {
                self.under_way.remove(&reservation.credential);
            }
        }
    }

    /// What was charged on a channel before an answer. Books that were lost know less than its voucher, which continues
    /// where the chain stands; a transfer stands alone.
    pub(super) fn charged(&self, reservation: &Reservation) -> u128 {
        let known = self.accounts.get(&reservation.channel).map_or(0, |account| account.charged);
        reservation.charged.map_or(0, |charged| charged.max(known))
    }

    pub(super) fn account(&self, channel: B256) -> Option<Account> {
        self.accounts.get(&channel).cloned()
    }

    pub(super) fn accounts(&self) -> Vec<(B256, Account)> {
        let mut all: Vec<_> = self.accounts.iter().map(|(&id, account)| (id, account.clone())).collect();
        all.sort_by_key(|(id, _)| *id);
        all
    }

    pub(super) fn builders(&self) -> Vec<Address> {
        let of_channels = self.accounts.values().map(|account| account.builder);
        let all: BTreeSet<Address> =
            of_channels.chain(self.builders.iter().copied()).chain([Address::ZERO]).collect();
        all.into_iter().collect()
    }

    /// Whether a transfer, by its nonce, paid for an answer already.
    pub(super) fn has_paid(&self, transfer: B256) -> bool {
        self.paid.contains(&transfer)
    }

    pub(super) fn next_seq(&self, epoch: u32) -> u32 {
        self.epochs.get(&epoch).map_or(0, |epoch| epoch.count)
    }

    /// Leaves of an epoch's tree, and its top.
    pub(super) fn top(&self, epoch: u32) -> (u32, Node) {
        let tree = self.epochs.get(&epoch).map(|epoch| epoch.rows.tree());
        tree.map_or_else(Default::default, |tree| (tree.count(), tree.top()))
    }

    pub(super) fn proof(&self, epoch: u32, seq: u32) -> Result<Option<Proof>> {
        self.epochs.get(&epoch).map_or(Ok(None), |epoch| epoch.rows.proof(seq))
    }

    pub(super) fn turnover(&self, epoch: u32) -> (u128, u32) {
        (self.epochs.get(&epoch).map_or(0, |epoch| epoch.amount), self.next_seq(epoch))
    }

    pub(super) fn epochs(&self) -> Vec<u32> {
        self.epochs.keys().copied().collect()
    }

    pub(super) const fn last_at(&self) -> u64 {
        self.last_at
    }

    pub(super) fn last_epoch(&self) -> u32 {
        self.epochs.last_key_value().map_or(0, |(&epoch, _)| epoch)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.epochs.is_empty()
    }

    pub(super) const fn is_closed(&self, epoch: u32) -> bool {
        epoch < self.closed_below
    }

    pub(super) fn close(&mut self, epoch: u32) {
        self.closed_below = self.closed_below.max(epoch.saturating_add(1));
    }

    /// The epoch and the number of an invocation's receipt, the newest epochs first.
    pub(super) fn place_of(&self, invocation: B256) -> Result<Option<(u32, u32)>> {
        for (&epoch, kept) in self.epochs.iter().rev() {
            if let Some(seq) = kept.rows.find(invocation)? {
                return Ok(Some((epoch, seq)));
            }
        }
        Ok(None)
    }

    /// Whether an invocation's nonce is above the last one: then it was not answered, and need not be looked for.
    pub(super) fn is_new(&self, invocation: &Invocation) -> bool {
        let last = self.nonces.get(&(invocation.credentialId, invocation.channelId));
        last.is_none_or(|&last| invocation.nonce > last)
    }

    pub(super) fn forget(&mut self, oldest: u32) {
        let kept = self.epochs.split_off(&oldest);
        self.epochs = kept;
    }

    pub(super) fn keep_reply(&mut self, invocation: B256, reply: Bytes) {
        self.reply_bytes += REPLY_ROOM + reply.len();
        if let Some(before) = self.replies.insert(invocation, reply) {
            self.reply_bytes -= REPLY_ROOM + before.len();
        } else {
            self.reply_order.push_back(invocation);
        }
        while self.reply_bytes > REPLY_BYTES_MAX {
            let Some(oldest) = self.reply_order.pop_front() else { break };
            let bytes = self.replies.remove(&oldest).map_or(0, |reply| REPLY_ROOM + reply.len());
            self.reply_bytes -= bytes;
        }
    }

    pub(super) fn reply(&self, invocation: B256) -> Option<Bytes> {
        self.replies.get(&invocation).cloned()
    }
}

/// The payer of an account.
impl Account {
    /// Who pays.
    #[must_use]
    pub const fn payer(&self) -> Address {
        self.terms.0.payer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_replies_are_bounded_by_what_they_take() {
        let folder = tempfile::tempdir().unwrap();
        let mut sums = Sums::read(folder.path(), U256::from(1)).unwrap();
        let name = |number: usize| B256::from(U256::from(number));
        let count = REPLY_BYTES_MAX / REPLY_ROOM;
        for number in 0..count + 1_000 {
            sums.keep_reply(name(number), Bytes::from_static(b"x"));
            // Kept again, it is one reply.
            sums.keep_reply(name(number), Bytes::from_static(b"y"));
        }
        assert!(sums.reply_bytes <= REPLY_BYTES_MAX && sums.replies.len() < count);
        assert_eq!(sums.replies.len(), sums.reply_order.len());
        assert_eq!(sums.reply(name(0)), None);
        assert_eq!(sums.reply(name(count + 999)).as_deref(), Some(b"y".as_slice()));
        sums.keep_reply(name(0), Bytes::from(vec![0; REPLY_BYTES_MAX]));
        assert_eq!((sums.replies.len(), sums.reply_bytes), (0, 0));
    }
}
