//! Payment on the wire: the HTTP transport of x402 v2, with its schemes `batch-settlement` and `exact` on EVM chains.

use alloy_primitives::{Address, B256, Bytes, Uint};
use alloy_sol_types::{Eip712Domain, eip712_domain};
use loyal_protocol::channel::ChannelConfig;
use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::document::decimal;

/// The version of the protocol.
pub const VERSION: u32 = 2;
/// Many invocations paid by one voucher that grows.
pub const BATCH: &str = "batch-settlement";
/// One transaction for each invocation (ERC-3009).
pub const EXACT: &str = "exact";
/// A way to pay that a caller may wish for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// [`BATCH`].
    Batch,
    /// [`EXACT`].
    Exact,
}

impl Scheme {
    /// Its name in the standard.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Batch => BATCH,
            Self::Exact => EXACT,
        }
    }
}

/// Headers of x402's HTTP transport, and ours.
pub const PAYMENT_REQUIRED: &str = "payment-required";
/// What a caller pays with.
pub const PAYMENT_SIGNATURE: &str = "payment-signature";
/// What became of a payment.
pub const PAYMENT_RESPONSE: &str = "payment-response";

/// Codes of the standard that clients act upon.
pub mod code {
    /// The voucher does not continue where the host stands: the corrective answer says where that is.
    pub const CUMULATIVE_MISMATCH: &str = "invalid_batch_settlement_evm_cumulative_amount_mismatch";
    /// Another invocation of the channel is under way.
    pub const CHANNEL_BUSY: &str = "invalid_batch_settlement_evm_channel_busy";
    /// No deposit is in the channel.
    pub const CHANNEL_NOT_FOUND: &str = "invalid_batch_settlement_evm_channel_not_found";
    /// Nothing is left to be given back.
    pub const REFUND_NO_BALANCE: &str = "invalid_batch_settlement_evm_refund_no_balance";
    /// The part that is asked for back is none, or too small.
    pub const REFUND_AMOUNT_INVALID: &str = "invalid_batch_settlement_evm_refund_amount_invalid";
    /// The voucher goes beyond the deposit.
    pub const EXCEEDS_BALANCE: &str = "invalid_batch_settlement_evm_cumulative_exceeds_balance";
}

/// What a host asks for, before it answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentRequired {
    /// 2.
    pub x402_version: u32,
    /// Why, where an attempt was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What is to be paid for.
    pub resource: Resource,
    /// Ways to pay, the host's favourite first.
    pub accepts: Vec<Requirements>,
    /// Facts beyond the standard.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extensions: Map<String, Value>,
}

/// What is paid for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// Its address.
    pub url: String,
    /// In words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What the answer is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
}

/// One way to pay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requirements {
    /// [`BATCH`] or [`EXACT`].
    pub scheme: String,
    /// `eip155:` and the chain's id.
    pub network: String,
    /// The most that the invocation costs, in base units.
    #[serde(with = "decimal")]
    pub amount: u128,
    /// In what.
    pub asset: Address,
    /// Who is paid: the till of the hosting and the builder.
    pub pay_to: Address,
    /// How long an answer may take.
    pub max_timeout_seconds: u64,
    /// What the scheme needs besides.
    pub extra: Extra,
}

/// What a scheme needs besides.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Extra {
    /// Who may redeem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiver_authorizer: Option<Address>,
    /// How long a payer waits for what is left, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdraw_delay: Option<u64>,
    /// Name of the asset in its EIP-712 domain.
    #[serde(default)]
    pub name: String,
    /// Version of the asset in its EIP-712 domain.
    #[serde(default)]
    pub version: String,
    /// Where the host stands, in a corrective answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_state: Option<ChannelState>,
    /// The newest voucher the host holds, in a corrective answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voucher_state: Option<VoucherState>,
}

/// A channel, as its host sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelState {
    /// The channel.
    pub channel_id: B256,
    /// What was put into it and not taken out.
    #[serde(with = "decimal")]
    pub balance: u128,
    /// What was redeemed.
    #[serde(with = "decimal")]
    pub total_claimed: u128,
    /// When its payer asked for the rest; zero where it did not.
    #[serde(default)]
    pub withdraw_requested_at: u64,
    /// How many refunds were signed.
    #[serde(default, with = "decimal")]
    pub refund_nonce: u64,
    /// What was charged.
    #[serde(with = "decimal")]
    pub charged_cumulative_amount: u128,
}

/// The newest voucher a host holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VoucherState {
    /// Its ceiling.
    #[serde(with = "decimal")]
    pub signed_max_claimable: u128,
    /// Its payer's signature.
    pub signature: Bytes,
}

/// What a caller pays with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentPayload {
    /// 2.
    pub x402_version: u32,
    /// Which way of paying it takes.
    pub accepted: Requirements,
    /// The payment.
    pub payload: Payment,
}

/// A payment.
#[allow(clippy::large_enum_variant, reason = "made once for a request and moved once")]
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Payment {
    /// By a voucher of a channel, with a deposit or without.
    Batch(BatchPayment),
    /// By a transfer that the host brings to the chain.
    Exact(ExactPayment),
}

/// By its shape: a payment of `batch-settlement` says its `type`, one of `exact` has none.
impl<'de> Deserialize<'de> for Payment {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Kind {
            #[serde(rename = "type")]
            kind: Option<IgnoredAny>,
        }
        let text = Box::<RawValue>::deserialize(from)?;
        let kind: Kind = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        if kind.kind.is_some() {
            serde_json::from_str(text.get()).map(Self::Batch).map_err(D::Error::custom)
        } else {
            serde_json::from_str(text.get()).map(Self::Exact).map_err(D::Error::custom)
        }
    }
}

/// A payment by a voucher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchPayment {
    /// What is done besides.
    #[serde(rename = "type")]
    pub kind: BatchKind,
    /// The channel.
    #[serde(with = "ChannelFields")]
    pub channel_config: ChannelConfig,
    /// The voucher.
    pub voucher: SignedVoucher,
    /// What is put into the channel first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deposit: Option<Deposit>,
    /// How much of the rest is wanted back; all of it where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "maybe_decimal")]
    pub amount: Option<u128>,
}

/// What a voucher comes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BatchKind {
    /// Nothing.
    Voucher,
    /// A deposit.
    Deposit,
    /// The wish to get the rest back.
    Refund,
}

/// A voucher with its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignedVoucher {
    /// The channel.
    pub channel_id: B256,
    /// All that may be redeemed so far.
    #[serde(with = "decimal")]
    pub max_claimable_amount: u128,
    /// The payer's signature.
    pub signature: Bytes,
}

/// A deposit under a signature of the payer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deposit {
    /// How much.
    #[serde(with = "decimal")]
    pub amount: u128,
    /// Leave to take it.
    pub authorization: DepositAuthorization,
}

/// Leave to take a deposit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DepositAuthorization {
    /// By `receiveWithAuthorization` (ERC-3009).
    pub erc3009_authorization: Erc3009,
}

/// A signed `receiveWithAuthorization`; its nonce is `keccak256(abi.encode(channelId, salt))`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Erc3009 {
    /// Not before, in unix seconds.
    #[serde(with = "decimal")]
    pub valid_after: u64,
    /// Not at or after, in unix seconds.
    #[serde(with = "decimal")]
    pub valid_before: u64,
    /// Tells deposits into one channel apart.
    pub salt: B256,
    /// The payer's signature.
    pub signature: Bytes,
}

/// A payment of scheme `exact`: a signed `transferWithAuthorization` (ERC-3009).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExactPayment {
    /// The payer's signature.
    pub signature: Bytes,
    /// What it allows.
    pub authorization: TransferAuthorization,
}

/// What a signed transfer allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransferAuthorization {
    /// Who pays.
    pub from: Address,
    /// Whom.
    pub to: Address,
    /// How much.
    #[serde(with = "decimal")]
    pub value: u128,
    /// Not before, in unix seconds.
    #[serde(with = "decimal")]
    pub valid_after: u64,
    /// Not at or after, in unix seconds.
    #[serde(with = "decimal")]
    pub valid_before: u64,
    /// Used once.
    pub nonce: B256,
}

/// What became of a payment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settlement {
    /// Whether it was taken.
    pub success: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_reason: Option<String>,
    /// The transaction; empty where there was none.
    pub transaction: String,
    /// `eip155:` and the chain's id.
    pub network: String,
    /// Who paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<Address>,
    /// What moved on the chain, in base units; empty where nothing did.
    #[serde(default)]
    pub amount: String,
    /// What was charged, and where the channel stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<SettlementExtra>,
}

/// What was charged, and where the channel stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SettlementExtra {
    /// What the invocation cost.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "maybe_decimal")]
    pub charged_amount: Option<u128>,
    /// The channel.
    pub channel_state: ChannelState,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ChannelConfig")]
#[allow(non_snake_case, reason = "the standard's own names")]
struct ChannelFields {
    payer: Address,
    payerAuthorizer: Address,
    receiver: Address,
    receiverAuthorizer: Address,
    token: Address,
    #[serde(with = "delay")]
    withdrawDelay: Uint<40, 1>,
    salt: B256,
}

/// A channel's terms, alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChannelTerms(#[serde(with = "ChannelFields")] pub ChannelConfig);

impl Requirements {
    /// The name of a chain, as x402 writes it (CAIP-2).
    #[must_use]
    pub fn network_of(chain_id: u64) -> String {
        format!("eip155:{chain_id}")
    }

    /// The domain in which the asset's authorizations are signed.
    pub(crate) fn asset_domain(&self) -> Eip712Domain {
        let chain_id = self.chain_id().unwrap_or_default();
        asset_domain(&self.extra.name, &self.extra.version, chain_id, self.asset)
    }

    /// The chain that is named.
    #[must_use]
    pub fn chain_id(&self) -> Option<u64> {
        self.network.strip_prefix("eip155:")?.parse().ok()
    }
}

/// The domain in which an asset's authorizations are signed (ERC-3009).
pub(crate) fn asset_domain(name: &str, version: &str, chain_id: u64, asset: Address) -> Eip712Domain {
    eip712_domain! {
        name: name.to_owned(), version: version.to_owned(), chain_id: chain_id, verifying_contract: asset,
    }
}

mod delay {
    use alloy_primitives::Uint;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(value: &Uint<40, 1>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(value.to())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Uint<40, 1>, D::Error> {
        let seconds = u64::deserialize(from)?;
        Uint::try_from(seconds).map_err(|_| D::Error::custom("withdrawDelay: more than 40 bits"))
    }
}

pub(crate) mod maybe_decimal {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::decimal;

    #[derive(Deserialize)]
    struct Number(#[serde(with = "decimal")] u128);

    pub(crate) fn serialize<S: Serializer>(value: &Option<u128>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => decimal::serialize(value, to),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u128>, D::Error> {
        Ok(Option::<Number>::deserialize(from)?.map(|number| number.0))
    }
}
