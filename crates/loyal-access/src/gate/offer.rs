//! What a host asks for: its prices, and the answer to those who have not paid.

use std::sync::Arc;

use alloy_primitives::Address;
use alloy_sol_types::sol;
use hyper::HeaderMap;
use loyal_protocol::{Client, Failure};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::showing::{Means, Shown};
use super::{Gate, Refused};
use crate::admission::{Chainside as _, Refusal};
use crate::books::Hindrance;
use crate::document::decimal;
use crate::payment::{self, Extra, PaymentRequired, Requirements, Resource, VoucherState};
use crate::view::Hosting;
use crate::{Error, Result};

/// How long an answer may take, as callers are told.
const TIMEOUT_SECONDS: u64 = 600;

sol! {
    interface Named {
        function name() external view returns (string);
        function version() external view returns (string);
        function eip712Domain() external view returns (
            bytes1 fields, string name, string version, uint256 chainId, address verifyingContract, bytes32 salt,
            uint256[] extensions
        );
    }
}

/// What an invocation costs, in base units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Price {
    /// The most that an invocation costs: what callers are asked to allow.
    #[serde(with = "decimal")]
    pub ceiling: u128,
    /// For each invocation.
    #[serde(with = "decimal")]
    pub per_call: u128,
    /// For a thousand tokens of the prompt.
    #[serde(with = "decimal")]
    pub per_thousand_in: u128,
    /// For a thousand tokens of the answer.
    #[serde(with = "decimal")]
    pub per_thousand_out: u128,
}

impl Price {
    /// The same for every invocation.
    #[must_use]
    pub const fn flat(price: u128) -> Self {
        Self { ceiling: price, per_call: price, per_thousand_in: 0, per_thousand_out: 0 }
    }

    /// What an invocation costs: rounded up to a base unit, never above the ceiling.
    #[must_use]
    pub fn of(&self, tokens_in: u32, tokens_out: u32) -> u128 {
        let part = |rate: u128, tokens: u32| rate.saturating_mul(tokens.into()).div_ceil(1_000);
        let tokens =
            part(self.per_thousand_in, tokens_in).saturating_add(part(self.per_thousand_out, tokens_out));
        self.per_call.saturating_add(tokens).min(self.ceiling)
    }

    /// Whether the model and the hosting allow it: a report below the model's floor is refused by the contract, and a
    /// price above the hosting's is one that its bond does not carry.
    pub(super) fn check(&self, hosting: &Hosting) -> Result<()> {
        let (call, thousand) = hosting.floor;
        let wrong = |why: String| Err(Error::Refused(format!("the price of hosting {}: {why}", hosting.id)));
        if self.ceiling == 0 || self.ceiling > hosting.price {
            let most = hosting.price;
            return wrong(format!(
                "{} base units at most are asked for; the hosting was opened for {most}",
                self.ceiling
            ));
        }
        if self.per_call > self.ceiling || self.per_call < call {
            return wrong(format!(
                "{} for a call; it must be from {call} to {}",
                self.per_call, self.ceiling
            ));
        }
        // Where a call costs the ceiling, tokens add nothing.
        let is_flat = self.per_call == self.ceiling;
        if !is_flat && self.per_thousand_in.min(self.per_thousand_out) < thousand {
            return wrong(format!("the model asks for at least {thousand} a thousand tokens"));
        }
        Ok(())
    }
}

/// How an asset names itself in signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AssetDomain {
    pub(super) name: String,
    pub(super) version: String,
}

impl AssetDomain {
    /// By ERC-5267, else by what `name` and `version` say.
    pub(super) fn read(client: &Arc<Client>, asset: Address) -> Result<Self> {
        match client.call(asset, &Named::eip712DomainCall {}) {
            Ok(domain) => Ok(Self { name: domain.name, version: domain.version }),
            Err(Failure::Reverted { .. } | Failure::Nonsense { .. }) => {
                let name = client.call(asset, &Named::nameCall {})?;
                let version = client.call(asset, &Named::versionCall {}).unwrap_or_else(|_| "1".to_owned());
                Ok(Self { name, version })
            }
            Err(failure) => Err(failure.into()),
        }
    }
}

impl Gate {
    /// What the host says of itself.
    #[must_use]
    pub fn info(&self) -> Value {
        let hosting = self.view.hosting();
        let at = self.view.at();
        let price = serde_json::to_value(self.settings.price).unwrap_or_default();
        json!({
            "modelId": hosting.model.to_string(), "version": hosting.version, "hostingId": hosting.id.to_string(),
            "signer": hosting.signer, "issuerUrl": self.settings.issuer_url, "policyHash": hosting.policy,
            "level": hosting.level, "registry": at.registry, "channel": at.channel,
            "authorizationCollector": at.authorization_collector, "router": at.router, "gate": at.gate,
            "chainId": self.view.client().chain_id(), "price": price,
        })
    }

    /// What the host says of itself, and the ways to pay: at the till of the builder that `LOYAL-BUILDER` names, or at
    /// nobody's.
    ///
    /// # Errors
    /// A refusal where the header names no account, or the chain does not answer.
    pub async fn terms(self: &Arc<Self>, headers: &HeaderMap) -> std::result::Result<Value, Box<Refused>> {
        let builder = super::showing::builder(headers)?.unwrap_or_default();
        let gate = Arc::clone(self);
        match tokio::task::spawn_blocking(move || gate.required(builder, None)).await {
            Ok(Ok(required)) => {
                let mut info = self.info();
                info["accepts"] = serde_json::to_value(required.accepts).unwrap_or_default();
                Ok(info)
            }
            _ => Err(Refused::chain_unavailable()),
        }
    }

    /// The ways to pay, for invocations that a builder brings.
    pub(super) fn required(&self, builder: Address, error: Option<String>) -> Result<PaymentRequired> {
        let hosting = self.view.hosting();
        let till = self.view.known(true).till(builder).map_err(|unknown| match unknown {
            crate::view::Unknown::Silent(failure) => Error::Chain(failure),
            crate::view::Unknown::Unasked => Error::Refused("the till is not known".to_owned()),
        })?;
        let requirements = |scheme: &str, extra: Extra| Requirements {
            scheme: scheme.to_owned(),
            network: Requirements::network_of(self.view.client().chain_id()),
            amount: self.settings.price.ceiling,
            asset: hosting.asset,
            pay_to: till,
            max_timeout_seconds: TIMEOUT_SECONDS,
            extra,
        };
        let domain =
            Extra { name: self.asset.name.clone(), version: self.asset.version.clone(), ..Extra::default() };
        let batch = Extra {
            receiver_authorizer: Some(self.signer.address()),
            withdraw_delay: Some(self.settings.withdraw_delay),
            ..domain.clone()
        };
        let mut accepts = vec![requirements(payment::BATCH, batch)];
        if self.relay.is_some() {
            accepts.push(requirements(payment::EXACT, domain));
        }
        let mut extensions = Map::new();
        extensions.insert("loyal".to_owned(), json!({ "info": self.info(), "schema": schema() }));
        Ok(PaymentRequired {
            x402_version: payment::VERSION,
            error,
            resource: Resource {
                url: self.settings.url.clone(),
                description: Some(format!(
                    "an invocation of model {}, version {}",
                    hosting.model, hosting.version
                )),
                mime_type: Some("application/json".to_owned()),
            },
            accepts,
            extensions,
        })
    }

    /// The answer to a request without payment.
    pub(super) async fn unpaid(self: &Arc<Self>, headers: &HeaderMap) -> Box<Refused> {
        let builder = match super::showing::builder(headers) {
            Ok(builder) => builder.unwrap_or_default(),
            Err(refused) => return refused,
        };
        let gate = Arc::clone(self);
        match tokio::task::spawn_blocking(move || gate.required(builder, None)).await {
            Ok(Ok(required)) => Refused::unpaid(required),
            _ => Refused::chain_unavailable(),
        }
    }

    pub(super) fn refused(&self, shown: &Shown, refusal: Refusal) -> Box<Refused> {
        let fact = match refusal {
            Refusal::VoucherInvalid => self.mispaid(shown).unwrap_or_default(),
            Refusal::Exposure => return self.exposed(),
            _ => String::new(),
        };
        self.refused_with(shown, refusal, fact)
    }

    /// Too much is owed: of a channel until the host redeems, or of all callers together until the day is over.
    fn exposed(&self) -> Box<Refused> {
        let (now, most) = (self.now(), self.view.hosting().fee_max);
        let epoch = self.view.epoch(now);
        let (charged, _) = self.books.turnover(epoch);
        let is_day_over = charged.saturating_add(self.settings.price.ceiling) > most;
        if !is_day_over {
            return Refused::of(Refusal::Exposure);
        }
        let until = self.view.epoch_end(epoch).saturating_sub(now);
        let fact = format!("the hosting's bond carries {most} base units a day, and {charged} are charged");
        let mut refused = Refused::because(Refusal::Exposure, fact);
        refused.retry_after = Some(until);
        refused
    }

    /// A refusal; one about the payment says how to pay, and where the channel stands.
    pub(super) fn refused_with(&self, shown: &Shown, refusal: Refusal, fact: String) -> Box<Refused> {
        let mut refused = Refused::because(refusal, fact);
        if refused.status != 402 {
            return refused;
        }
        let corrective = match &*shown.means {
            Means::Channel(batch) => {
                self.corrective(batch.voucher.channel_id, batch.voucher.max_claimable_amount)
            }
            Means::Transfer(_) => None,
        };
        let error = match (&corrective, refusal) {
            (Some(_), _) => payment::code::CUMULATIVE_MISMATCH,
            (None, Refusal::ChannelUnfunded) => payment::code::EXCEEDS_BALANCE,
            (None, _) => refusal.code(),
        };
        if let Ok(mut required) = self.required(shown.builder, Some(error.to_owned())) {
            if let Some((state, voucher)) = corrective {
                required.accepts[0].extra.channel_state = Some(state);
                required.accepts[0].extra.voucher_state = voucher;
            }
            refused.payment = Some(required);
        }
        refused
    }

    /// Where a channel stands, if a voucher does not continue there.
    fn corrective(
        &self,
        id: alloy_primitives::B256,
        ceiling: u128,
    ) -> Option<(payment::ChannelState, Option<VoucherState>)> {
        let charged = self.charged(id);
        if ceiling == charged.saturating_add(self.settings.price.ceiling) {
            return None;
        }
        let voucher = self.books.account(id).map(|account| VoucherState {
            signed_max_claimable: account.voucher.max_claimable_amount,
            signature: account.voucher.signature,
        });
        Some((self.channel_state(id, charged), voucher))
    }

    pub(super) fn hindered(&self, shown: &Shown, hindrance: Hindrance) -> Box<Refused> {
        match hindrance {
            Hindrance::Nonce => self.refused(shown, Refusal::NonceUsed),
            Hindrance::Spend => self.refused(shown, Refusal::SpendExhausted),
            Hindrance::Exposure => self.refused(shown, Refusal::Exposure),
            Hindrance::Stale => self.refused(shown, Refusal::VoucherInvalid),
            Hindrance::Busy => Refused::channel_busy(Some(shown.invocation_id)),
        }
    }

    /// What is wrong with a payment, besides what the chain knows.
    pub(super) fn mispaid(&self, shown: &Shown) -> Option<String> {
        let ceiling = self.settings.price.ceiling;
        let amount_max = shown.invocation.invocation.amountMax;
        if amount_max < ceiling {
            return Some(format!("amountMax is {amount_max}; {ceiling} are asked for"));
        }
        match &*shown.means {
            Means::Channel(batch) => {
                let config = &batch.channel_config;
                let delay = config.withdrawDelay.to::<u64>();
                if config.receiverAuthorizer != self.signer.address() {
                    return Some(format!("receiverAuthorizer must be {}", self.signer.address()));
                }
                if delay < self.settings.withdraw_delay {
                    let least = self.settings.withdraw_delay;
                    return Some(format!("withdrawDelay is {delay} s; at least {least}"));
                }
                if batch.voucher.channel_id != shown.invocation.invocation.channelId {
                    return Some("the voucher is another channel's".to_owned());
                }
                let charged = self.charged(batch.voucher.channel_id);
                let (found, wanted) = (batch.voucher.max_claimable_amount, charged.saturating_add(ceiling));
                (found != wanted).then(|| {
                    format!("the voucher allows {found} in all; {charged} were charged so far, so that {wanted} is asked for")
                })
            }
            Means::Transfer(exact) => {
                let value = exact.authorization.value;
                (value != ceiling).then(|| format!("{value} are transferred; {ceiling} are asked for"))
            }
        }
    }
}

fn schema() -> Value {
    let text = json!({ "type": "string" });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
        "properties": {
            "modelId": text, "version": { "type": "integer" }, "hostingId": text, "signer": text,
            "issuerUrl": { "type": ["string", "null"] }, "policyHash": text,
            "level": { "enum": ["open", "gated", "enclaved"] }, "price": { "type": "object" },
        },
        "required": ["modelId", "version", "hostingId", "signer", "level"],
    })
}
