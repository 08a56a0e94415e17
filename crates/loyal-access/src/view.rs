//! What a host knows of the chain: read once, kept while no event says otherwise.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U64, U256, keccak256};
use alloy_sol_types::{SolEvent as _, sol};
use loyal_protocol::contracts::{
    CredentialRegistry, Gate, InvocationChannel, Parameters, Registry, RevenueRouter,
};
use loyal_protocol::{Addresses, Client, Failure, message, signature};
use loyal_types::Clock;
use serde_json::json;

use crate::admission::{Chainside, Served, Term};
use crate::{Error, Result, terms};

/// Facts of each kind that are kept; when there are more, all are read anew.
const FACTS_MAX: usize = 200_000;
/// Blocks whose events are looked at in one go; after a longer absence everything is read anew.
const BLOCKS_MAX: u64 = 2_000;
/// Blocks looked at again each time: a chain may still exchange its newest ones.
const BLOCKS_AGAIN: u64 = 8;
/// States of a hosting and parameters, as the contracts number them.
const ACTIVE: u8 = 4;
const BOND_FACTOR: u8 = 5;

sol! {
    interface Account1271 {
        function isValidSignature(bytes32 hash, bytes signature) external view returns (bytes4);
    }
}

/// A hosting, as its host knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosting {
    /// Its id.
    pub id: u64,
    /// Its model.
    pub model: U256,
    /// Its version.
    pub version: u32,
    /// Whose it is.
    pub host: Address,
    /// Who signs for it.
    pub signer: Address,
    /// What it is paid in.
    pub asset: Address,
    /// The most it asks for an invocation, in base units.
    pub price: u128,
    /// What refuses an unnoticed use.
    pub level: &'static str,
    /// Whether it serves.
    pub is_active: bool,
    /// Whether its version is served.
    pub is_serveable: bool,
    /// The version's policy.
    pub policy: B256,
    /// The least that the model asks for a call and for a thousand tokens, in base units.
    pub floor: (u128, u128),
    /// The most that an epoch may be reported at: its bond divided by the bond factor.
    pub fee_max: u128,
}

/// What a channel holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Escrow {
    /// What was put in and not taken out.
    pub balance: u128,
    /// What was redeemed.
    pub claimed: u128,
    /// When its payer asked for the rest; zero where it did not.
    pub withdraw_at: u64,
    /// Refunds that were signed.
    pub refund_nonce: u64,
}

/// The chain could not be asked: a fact that is not known here was needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unknown {
    /// It was not asked, because the caller may not wait.
    Unasked,
    /// It was asked and did not answer.
    Silent(Failure),
}

/// What is known of one hosting's chain.
#[derive(Debug)]
pub struct View {
    client: Arc<Client>,
    at: Addresses,
    hosting: u64,
    genesis: u64,
    silence_max: Duration,
    /// The latest time that a contract has written down: the chain is not before it.
    written: AtomicU64,
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    served: Hosting,
    issuers: HashMap<(U256, Address), Term>,
    revoked: HashMap<B256, u64>,
    tills: HashMap<Address, Address>,
    channels: HashMap<B256, Escrow>,
    has_code: HashMap<Address, bool>,
    signed: HashMap<B256, bool>,
    head: u64,
    head_time: u64,
    heard_at: Duration,
    head_at: Duration,
}

/// What changed on the chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Channels whose payer asks for the rest: redeem now.
    pub withdrawals: Vec<B256>,
}

impl View {
    /// Reads a hosting. The chain may stay silent for `silence_max` before nobody is admitted any more.
    ///
    /// # Errors
    /// The chain's; there is no such hosting.
    pub fn open(
        client: Arc<Client>,
        at: Addresses,
        hosting: u64,
        (silence_max, clock): (Duration, &dyn Clock),
    ) -> Result<Self> {
        let genesis = client.call(at.parameters, &Parameters::genesisTimeCall {})?;
        let (head, head_time) = head(&client)?;
        let now = clock.elapsed();
        let state = State {
            served: read_hosting(&client, &at, hosting)?,
            issuers: HashMap::new(),
            revoked: HashMap::new(),
            tills: HashMap::new(),
            channels: HashMap::new(),
            has_code: HashMap::new(),
            signed: HashMap::new(),
            head,
            head_time,
            heard_at: now,
            head_at: now,
        };
        Ok(Self {
            client,
            at,
            hosting,
            genesis,
            silence_max,
            written: AtomicU64::new(0),
            state: RwLock::new(state),
        })
    }

    /// The chain.
    #[must_use]
    pub const fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// The contracts.
    #[must_use]
    pub const fn at(&self) -> &Addresses {
        &self.at
    }

    /// The hosting, as it was read last.
    #[must_use]
    pub fn hosting(&self) -> Hosting {
        self.read().served.clone()
    }

    /// Unix seconds, as contracts would have it: the system's, unless the chain is ahead.
    #[must_use]
    pub fn time(&self, clock: &dyn Clock) -> u64 {
        let state = self.read();
        let since = clock.elapsed().saturating_sub(state.head_at).as_secs();
        clock
            .unix_seconds()
            .max(state.head_time.saturating_add(since))
            .max(self.written.load(Ordering::Relaxed))
    }

    /// The epoch of a time.
    #[must_use]
    pub const fn epoch(&self, time: u64) -> u32 {
        (time.saturating_sub(self.genesis) / 86_400) as u32
    }

    /// When an epoch is over, in unix seconds.
    #[must_use]
    pub const fn epoch_end(&self, epoch: u32) -> u64 {
        self.genesis.saturating_add((epoch as u64 + 1) * 86_400)
    }

    /// Whether the chain was heard of lately enough to admit anybody.
    #[must_use]
    pub fn is_fresh(&self, clock: &dyn Clock) -> bool {
        clock.elapsed().saturating_sub(self.read().heard_at) <= self.silence_max
    }

    /// Looks what is new on the chain, and forgets what may have changed.
    ///
    /// # Errors
    /// The chain's; what was known stays known.
    pub fn follow(&self, clock: &dyn Clock) -> Result<Changes> {
        let asked_at = clock.elapsed();
        let (head, head_time) = head(&self.client)?;
        let seen = self.read().head;
        if head == seen {
            let mut state = self.write();
            (state.heard_at, state.head_time, state.head_at) = (asked_at, head_time, asked_at);
            return Ok(Changes::default());
        }
        let is_long = head < seen || head - seen > BLOCKS_MAX;
        let from = seen.saturating_sub(BLOCKS_AGAIN).saturating_add(1);
        let addresses = [self.at.gate, self.at.registry, self.at.credentials, self.at.channel, self.at.vault];
        let events = if is_long { Vec::new() } else { self.client.events(&addresses, from, head)? };
        let is_about = |address: Address| events.iter().any(|event| event.address == address);
        let hosting_changed =
            is_long || [self.at.gate, self.at.registry, self.at.vault].into_iter().any(is_about);
        let served =
            if hosting_changed { Some(read_hosting(&self.client, &self.at, self.hosting)?) } else { None };
        let mut state = self.write();
        let mut changes = Changes::default();
        if is_long {
            changes.withdrawals = state.channels.keys().copied().collect();
            state.channels.clear();
        }
        if is_long || is_about(self.at.credentials) {
            state.issuers.clear();
            state.revoked.clear();
        }
        state.signed.clear();
        for event in events.iter().filter(|event| event.address == self.at.channel) {
            let Some(id) = event.topics.get(1) else { continue };
            state.channels.remove(id);
            if event.topics[0] == InvocationChannel::WithdrawInitiated::SIGNATURE_HASH {
                changes.withdrawals.push(*id);
            }
        }
        if let Some(served) = served {
            state.served = served;
        }
        (state.head, state.head_time, state.heard_at, state.head_at) = (head, head_time, asked_at, asked_at);
        Ok(changes)
    }

    /// What a channel holds, if it is known.
    #[must_use]
    pub fn escrow(&self, channel: B256) -> Option<Escrow> {
        self.read().channels.get(&channel).copied()
    }

    /// Reads anew what a channel holds.
    ///
    /// # Errors
    /// The chain's.
    pub fn read_escrow(&self, channel: B256) -> Result<Escrow> {
        let (balance, claimed, withdraw_at) = terms::escrow(&self.client, self.at.channel, channel)?;
        let call = InvocationChannel::refundNonceCall { channelId: channel };
        let refund_nonce = self.client.call(self.at.channel, &call)?.saturating_to();
        let escrow = Escrow { balance, claimed, withdraw_at, refund_nonce };
        keep(&mut self.write().channels, channel, escrow);
        Ok(escrow)
    }

    /// What is known here, for admission: `may_wait` asks the chain for what is not.
    #[must_use]
    pub const fn known(&self, may_wait: bool) -> Known<'_> {
        Known { view: self, may_wait }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The view, as admission asks it.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    view: &'a View,
    may_wait: bool,
}

impl Known<'_> {
    fn fact<K: Eq + Hash, V: Copy>(
        &self,
        key: K,
        of: impl Fn(&mut State) -> &mut HashMap<K, V>,
        find: impl Fn(&State) -> Option<V>,
        ask: impl FnOnce() -> loyal_protocol::Outcome<V>,
    ) -> std::result::Result<V, Unknown> {
        if let Some(known) = find(&self.view.read()) {
            return Ok(known);
        }
        if !self.may_wait {
            return Err(Unknown::Unasked);
        }
        let value = ask().map_err(Unknown::Silent)?;
        keep(of(&mut self.view.write()), key, value);
        Ok(value)
    }
}

impl Chainside for Known<'_> {
    type Error = Unknown;

    fn served(&self) -> std::result::Result<Served, Unknown> {
        let state = self.view.read();
        let hosting = &state.served;
        Ok(Served {
            hosting: U256::from(hosting.id),
            model: hosting.model,
            version: hosting.version,
            asset: hosting.asset,
            is_serveable: hosting.is_serveable,
            is_active: hosting.is_active,
        })
    }

    fn issuer(&self, model: U256, issuer: Address) -> std::result::Result<Term, Unknown> {
        let ask = || {
            let call = CredentialRegistry::issuerOfCall { modelId: model, issuer };
            let term = self.view.client.call(self.view.at.credentials, &call)?;
            self.view.written.fetch_max(term.since.max(term.until), Ordering::Relaxed);
            Ok(Term { since: term.since, until: term.until })
        };
        let key = (model, issuer);
        self.fact(key, |state| &mut state.issuers, |state| state.issuers.get(&key).copied(), ask)
    }

    fn revoked_at(&self, id: B256, credential: &message::Credential) -> std::result::Result<u64, Unknown> {
        let ask = || {
            let credential = contract_credential(credential);
            let call = CredentialRegistry::revocationOfCall { credential };
            self.view.client.call(self.view.at.credentials, &call)
        };
        self.fact(id, |state| &mut state.revoked, |state| state.revoked.get(&id).copied(), ask)
    }

    fn is_signed(
        &self,
        account: Address,
        digest: B256,
        signature: &[u8],
    ) -> std::result::Result<bool, Unknown> {
        let client = &self.view.client;
        let ask = || Ok(!client.code(account)?.is_empty());
        let has_code = |state: &State| state.has_code.get(&account).copied();
        let has_code = self.fact(account, |state| &mut state.has_code, has_code, ask)?;
        if !has_code {
            return Ok(signature::signer_of(digest, signature) == Some(account));
        }
        let call =
            Account1271::isValidSignatureCall { hash: digest, signature: Bytes::copy_from_slice(signature) };
        let ask = || match client.call(account, &call) {
            Ok(magic) => Ok(magic.0 == [0x16, 0x26, 0xba, 0x7e]),
            Err(Failure::Reverted { .. } | Failure::Nonsense { .. }) => Ok(false),
            Err(failure) => Err(failure),
        };
        let key = keccak256([account.as_slice(), digest.as_slice(), signature].concat());
        self.fact(key, |state| &mut state.signed, |state| state.signed.get(&key).copied(), ask)
    }

    fn till(&self, builder: Address) -> std::result::Result<Address, Unknown> {
        let ask = || {
            let call = RevenueRouter::tillOfCall { hostingId: U256::from(self.view.hosting), builder };
            self.view.client.call(self.view.at.router, &call)
        };
        self.fact(builder, |state| &mut state.tills, |state| state.tills.get(&builder).copied(), ask)
    }

    fn balance(&self, channel: B256) -> std::result::Result<u128, Unknown> {
        if let Some(escrow) = self.view.escrow(channel) {
            return Ok(escrow.balance);
        }
        if !self.may_wait {
            return Err(Unknown::Unasked);
        }
        match self.view.read_escrow(channel) {
            Ok(escrow) => Ok(escrow.balance),
            Err(Error::Chain(failure)) => Err(Unknown::Silent(failure)),
            Err(_) => Ok(0),
        }
    }
}

fn keep<K: Eq + Hash, V>(facts: &mut HashMap<K, V>, key: K, value: V) {
    if facts.len() >= FACTS_MAX {
        facts.clear();
    }
    facts.insert(key, value);
}

/// The number of the newest block, and the time that the next one would have.
fn head(client: &Client) -> Result<(u64, u64)> {
    let block = |tag: &str| client.ask::<serde_json::Value>("eth_getBlockByNumber", json!([tag, false]));
    let number = |block: &serde_json::Value, name: &str| {
        serde_json::from_value::<U64>(block[name].clone()).ok().map(|number| number.to::<u64>())
    };
    let latest = block("latest")?;
    // Chains without a pending block say nothing of it, or the newest.
    let next = block("pending").ok().and_then(|block| number(&block, "timestamp"));
    match (number(&latest, "number"), number(&latest, "timestamp")) {
        (Some(number), Some(time)) => Ok((number, time.max(next.unwrap_or(0)))),
        _ => Err(Error::Refused("the chain's newest block has no number or no time".to_owned())),
    }
}

fn read_hosting(client: &Client, at: &Addresses, id: u64) -> Result<Hosting> {
    let hosting_id = U256::from(id);
    let found = client.call(at.gate, &Gate::hostingOfCall { hostingId: hosting_id })?;
    if found.host == Address::ZERO {
        let count = client.call(at.gate, &Gate::hostingCountCall {})?;
        return Err(Error::Refused(format!("there is no hosting {id}: the chain has {count}")));
    }
    let (model, version) = (found.modelId, found.version);
    let floor = client.call(at.registry, &Registry::floorOfCall { modelId: model, asset: found.asset })?;
    let bond = client.call(at.gate, &Gate::bondOfCall { hostingId: hosting_id })?;
    let factor = client.call(at.parameters, &Parameters::getCall { parameter: BOND_FACTOR })?;
    Ok(Hosting {
        id,
        model,
        version,
        host: found.host,
        signer: terms::signer_at(client, at.gate, hosting_id, client.time()?)?,
        asset: found.asset,
        price: found.price,
        level: ["open", "gated", "enclaved"].get(usize::from(found.level)).copied().unwrap_or("open"),
        is_active: found.state == ACTIVE,
        is_serveable: client.call(at.registry, &Registry::isServeableCall { modelId: model, version })?,
        policy: client
            .call(at.registry, &Registry::versionOfCall { modelId: model, version })?
            .terms
            .policyHash,
        floor: (floor.perCall, floor.perThousand),
        fee_max: bond / factor.saturating_to::<u128>().max(1),
    })
}

/// A credential, as the contract's interface has it.
pub(crate) fn contract_credential(credential: &message::Credential) -> CredentialRegistry::Credential {
    let c = credential;
    CredentialRegistry::Credential {
        modelId: c.modelId,
        version: c.version,
        hostingId: c.hostingId,
        holder: c.holder,
        builder: c.builder,
        asset: c.asset,
        requestHash: c.requestHash,
        policyHash: c.policyHash,
        scopes: c.scopes,
        callsMax: c.callsMax,
        spendMax: c.spendMax,
        notBefore: c.notBefore,
        expiresAt: c.expiresAt,
        modelGeneration: c.modelGeneration,
        holderGeneration: c.holderGeneration,
        salt: c.salt,
    }
}
