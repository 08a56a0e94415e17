//! What a host asks for, and whether the chain says so too.

use alloy_primitives::{Address, B256, U256};
use loyal_protocol::Client;
use loyal_protocol::contracts::{AuthorizationCollector, Gate, InvocationChannel, RevenueRouter};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::document::{CredentialFile, decimal};
use crate::payment::{BATCH, EXACT, PaymentRequired, Requirements, Scheme};
use crate::{Error, Result};

/// States of a hosting and its levels, as the contracts number them.
const ACTIVE: u8 = 4;
const LEVELS: [&str; 3] = ["open", "gated", "enclaved"];
/// How long a payer waits for its rest at most: beyond that it is as good as lost to it.
const WITHDRAW_DELAY_MAX: u64 = 7 * 86_400;

/// What a host says of itself (`extensions.loyal.info`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    /// The model.
    #[serde(with = "decimal")]
    pub model_id: U256,
    /// Its version.
    pub version: u32,
    /// The hosting.
    #[serde(with = "decimal")]
    pub hosting_id: U256,
    /// Who signs receipts.
    pub signer: Address,
    /// Who issues credentials, where somebody does.
    #[serde(default)]
    pub issuer_url: Option<String>,
    /// Under which policy.
    pub policy_hash: B256,
    /// What refuses an unnoticed use.
    pub level: String,
    /// Messages are signed for this contract,
    pub registry: Address,
    /// payments are escrowed here,
    pub channel: Address,
    /// and deposits collected here.
    pub authorization_collector: Address,
    /// What an invocation is charged.
    pub price: Price,
}

/// What an invocation is charged, in base units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Price {
    /// For each.
    #[serde(with = "decimal")]
    pub per_call: u128,
    /// For a thousand tokens of the question.
    #[serde(with = "decimal")]
    pub per_thousand_in: u128,
    /// For a thousand tokens of the answer.
    #[serde(with = "decimal")]
    pub per_thousand_out: u128,
}

/// A host's terms.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// What it says of itself.
    pub info: Info,
    /// How it is paid: by vouchers where it takes them, else by a transfer for each invocation.
    pub requirements: Requirements,
    /// Other ways in which it is paid.
    pub others: Vec<Requirements>,
}

impl Terms {
    /// From the answer of `/v1/loyal`.
    ///
    /// # Errors
    /// [`Error::Misbehaved`] where the answer is something else.
    pub fn read(mut answer: Value) -> Result<Self> {
        let accepts = answer["accepts"].take();
        let info = if answer.get("info").is_some() { answer["info"].take() } else { answer };
        let accepts: Vec<Requirements> =
            serde_json::from_value(accepts).map_err(|error| wrong("accepts", &error))?;
        Self::of(serde_json::from_value(info).map_err(|error| wrong("the terms", &error))?, accepts)
    }

    /// From what came with a status of 402.
    ///
    /// # Errors
    /// As [`Terms::read`].
    pub fn of_required(required: &PaymentRequired) -> Result<Self> {
        let info = required.extensions.get("loyal").map(|loyal| loyal["info"].clone()).unwrap_or_default();
        let info = serde_json::from_value(info).map_err(|error| wrong("extensions.loyal.info", &error))?;
        Self::of(info, required.accepts.clone())
    }

    fn of(info: Info, accepts: Vec<Requirements>) -> Result<Self> {
        let known = |scheme: &str| [BATCH, EXACT].contains(&scheme);
        let mut accepts: Vec<_> = accepts.into_iter().filter(|one| known(&one.scheme)).collect();
        accepts.sort_by_key(|one| one.scheme != BATCH);
        for one in &mut accepts {
            // Where one channel stands is no part of the terms.
            (one.extra.channel_state, one.extra.voucher_state) = (None, None);
        }
        if accepts.is_empty() {
            return Err(misbehaved("takes no payment by vouchers or by transfers"));
        }
        Ok(Self { info, requirements: accepts.remove(0), others: accepts })
    }

    /// Takes another way to pay.
    ///
    /// # Errors
    /// [`Error::Refused`] where the host does not take it.
    pub fn prefer(&mut self, scheme: Scheme) -> Result<()> {
        if self.requirements.scheme == scheme.name() {
            return Ok(());
        }
        let other = self.others.iter_mut().find(|other| other.scheme == scheme.name());
        let other = other.ok_or_else(|| {
            Error::Refused(format!(
                "the host is not paid by scheme {:?}: leave the choice to it",
                scheme.name()
            ))
        })?;
        std::mem::swap(&mut self.requirements, other);
        Ok(())
    }

    /// Whether an invocation that was signed for these terms fits the others.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.info == other.info && self.requirements == other.requirements
    }

    /// Whether each invocation is paid by a transfer of its own.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.requirements.scheme == EXACT
    }

    /// Holds what a host says against the credential and the chain, before anything is signed for it. A host that does not
    /// know yet who brings the invocations names nobody's till; the builder's takes its place.
    ///
    /// # Errors
    /// [`Error::Misbehaved`] names what differs; the chain's.
    pub fn check(&mut self, client: &Client, file: &CredentialFile, builder: Address) -> Result<()> {
        self.check_credential(file)?;
        let info = &self.info;
        let hosting = client.call(file.gate, &Gate::hostingOfCall { hostingId: info.hosting_id })?;
        let state: u8 = hosting.state;
        let level: u8 = hosting.level;
        let signer = signer_at(client, file.gate, info.hosting_id, client.time()?)?;
        let till = till(client, file, info.hosting_id, builder)?;
        if builder != Address::ZERO
            && self.requirements.pay_to == self::till(client, file, info.hosting_id, Address::ZERO)?
        {
            self.requirements.pay_to = till;
        }
        let router_gate = client.call(file.router, &RevenueRouter::gateCall {})?;
        let collector = client.call(file.authorization_collector, &AuthorizationCollector::channelCall {})?;
        for (what, is_so) in [
            ("serve: its hosting is not active on the chain", state == ACTIVE),
            ("host this model: its hosting is another model's", hosting.modelId == info.model_id),
            ("host this version: its hosting is another version's", hosting.version == info.version),
            ("name its signer as the chain does", signer == info.signer),
            (
                "name its level as the chain does",
                LEVELS.get(usize::from(level)) == Some(&info.level.as_str()),
            ),
            ("ask for the asset of its hosting", hosting.asset == self.requirements.asset),
            ("keep to the price of its hosting", self.requirements.amount <= hosting.price),
            ("have itself paid at its till", till == self.requirements.pay_to),
            ("belong to these contracts: the router knows another gate", router_gate == file.gate),
            ("belong to these contracts: the collector knows another escrow", collector == file.channel),
        ] {
            if !is_so {
                return Err(misbehaved(format!("does not {what}")));
            }
        }
        Ok(())
    }

    fn check_credential(&self, file: &CredentialFile) -> Result<()> {
        let (info, credential) = (&self.info, &file.signed.credential);
        let any = |wanted: U256, found: U256| wanted == U256::ZERO || wanted == found;
        let delay = self.requirements.extra.withdraw_delay.unwrap_or(0);
        let authorizer = self.requirements.extra.receiver_authorizer.unwrap_or_default();
        for (what, is_so) in [
            ("host the credential's model", info.model_id == credential.modelId),
            ("host the credential's version", any(U256::from(credential.version), U256::from(info.version))),
            ("host under the credential's hosting", any(credential.hostingId, info.hosting_id)),
            (
                "take the credential's asset",
                credential.asset == Address::ZERO || credential.asset == self.requirements.asset,
            ),
            ("work on the credential's chain", self.requirements.chain_id() == Some(file.chain_id)),
            ("use the credential's registry", info.registry == file.registry),
            ("use the credential's escrow", info.channel == file.channel),
            (
                "use the credential's collector of deposits",
                info.authorization_collector == file.authorization_collector,
            ),
            ("say who redeems", self.is_exact() || authorizer != Address::ZERO),
            ("let a payer have its rest within 7 days", delay <= WITHDRAW_DELAY_MAX),
        ] {
            if !is_so {
                return Err(misbehaved(format!("does not {what}")));
            }
        }
        Ok(())
    }
}

fn till(client: &Client, file: &CredentialFile, hosting: U256, builder: Address) -> Result<Address> {
    Ok(client.call(file.router, &RevenueRouter::tillOfCall { hostingId: hosting, builder })?)
}

/// Who signed for a hosting at a time, as the chain knows.
pub(crate) fn signer_at(client: &Client, gate: Address, hosting: U256, at: u64) -> Result<Address> {
    let time = alloy_primitives::aliases::U48::from(at.min((1 << 48) - 1));
    Ok(client.call(gate, &Gate::signerAtCall { hostingId: hosting, time })?)
}

/// What is in a channel, what was redeemed, and when the rest was asked for.
pub(crate) fn escrow(client: &Client, contract: Address, channel: B256) -> Result<(u128, u128, u64)> {
    let state = client.call(contract, &InvocationChannel::channelsCall { channelId: channel })?;
    let pending = client.call(contract, &InvocationChannel::pendingWithdrawalsCall { channelId: channel })?;
    Ok((state.balance, state.totalClaimed, pending.initiatedAt.to()))
}

fn wrong(what: &str, error: &serde_json::Error) -> Error {
    misbehaved(format!("answers with something that is no {what}: {error}"))
}

fn misbehaved(why: impl Into<String>) -> Error {
    Error::Misbehaved { why: format!("the host {}", why.into()) }
}
