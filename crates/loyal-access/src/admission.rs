//! Whether an invocation is to be answered: the questions and their order (`docs/protocol.md`, `Admission.sol`).

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::Eip712Domain;
use loyal_protocol::channel::{ChannelConfig, Voucher};
use loyal_protocol::message;
use serde::Serialize;

use crate::digest::digest;
use crate::document::{SignedCredential, SignedInvocation};

/// The scope of a credential that allows to invoke.
pub const SCOPE_INVOKE: u32 = 1;

/// Why an invocation is refused, in the order in which it is looked at; numbered as `Admission.sol` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Refusal {
    /// The request has too many bytes. The host alone can judge it.
    TooLarge = 1,
    /// The request is not what it should be. The host alone can judge it.
    Malformed,
    /// The credential's signature is not that of one of the model's issuers.
    CredentialSignature,
    /// The credential is for another model or version, or for another use.
    CredentialModel,
    /// The credential is for another hosting, builder or asset.
    CredentialHosting,
    /// The credential is somebody else's, or not the one that the invocation names.
    CredentialHolder,
    /// The credential is not valid yet, or no longer.
    CredentialTime,
    /// The credential is revoked.
    CredentialRevoked,
    /// The invocation is for another request.
    RequestMismatch,
    /// The version is not served now.
    VersionInactive,
    /// The hosting does not serve now.
    HostingInactive,
    /// The invocation's signature is not the holder's.
    InvocationSignature,
    /// The invocation was answered already, or a later one was. The host alone can judge it.
    NonceUsed,
    /// The invocation was to be answered earlier.
    Deadline,
    /// The credential allows no more invocations, or no more spending. The host alone can judge it.
    SpendExhausted,
    /// The credential was issued under another policy than the version's. The host alone can judge it.
    PolicyRefused,
    /// The payment is not what the host asks for.
    VoucherInvalid,
    /// The channel holds less than the voucher allows.
    ChannelUnfunded,
    /// The host would be owed more than it risks. The host alone can judge it.
    Exposure,
}

impl Refusal {
    /// All of them, in order.
    pub const ALL: [Self; 19] = [
        Self::TooLarge,
        Self::Malformed,
        Self::CredentialSignature,
        Self::CredentialModel,
        Self::CredentialHosting,
        Self::CredentialHolder,
        Self::CredentialTime,
        Self::CredentialRevoked,
        Self::RequestMismatch,
        Self::VersionInactive,
        Self::HostingInactive,
        Self::InvocationSignature,
        Self::NonceUsed,
        Self::Deadline,
        Self::SpendExhausted,
        Self::PolicyRefused,
        Self::VoucherInvalid,
        Self::ChannelUnfunded,
        Self::Exposure,
    ];

    /// The stable code, and a sentence for whoever reads it.
    #[must_use]
    pub const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::TooLarge => ("too_large", "the request has too many bytes"),
            Self::Malformed => ("malformed", "the request is not what it should be"),
            Self::CredentialSignature => {
                ("credential_signature", "the credential is not signed by an issuer of this model")
            }
            Self::CredentialModel => {
                ("credential_model", "the credential is for another model, version or use")
            }
            Self::CredentialHosting => {
                ("credential_hosting", "the credential is for another hosting, builder or asset")
            }
            Self::CredentialHolder => {
                ("credential_holder", "the invocation names another credential, or this one has no holder")
            }
            Self::CredentialTime => ("credential_time", "the credential is not valid now"),
            Self::CredentialRevoked => ("credential_revoked", "the credential is revoked; ask for a new one"),
            Self::RequestMismatch => ("request_mismatch", "the invocation is signed for another request"),
            Self::VersionInactive => ("version_inactive", "this version of the model is not served now"),
            Self::HostingInactive => ("hosting_inactive", "this hosting does not serve now"),
            Self::InvocationSignature => {
                ("invocation_signature", "the invocation is not signed by the credential's holder")
            }
            Self::NonceUsed => {
                ("nonce_used", "the invocation's nonce is not above the last one of this channel")
            }
            Self::Deadline => ("deadline", "the invocation's deadline is over"),
            Self::SpendExhausted => {
                ("spend_exhausted", "the credential allows no more invocations or spending")
            }
            Self::PolicyRefused => {
                ("policy_refused", "the credential was issued under another policy than this version's")
            }
            Self::VoucherInvalid => ("voucher_invalid", "the payment is not what is asked for"),
            Self::ChannelUnfunded => ("channel_unfunded", "the channel holds less than the voucher allows"),
            Self::Exposure => {
                ("exposure", "too much is unpaid or unreported: the host redeems or reports first")
            }
        }
    }

    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.words().0
    }

    /// The status of HTTP that says it.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::TooLarge => 413,
            Self::Malformed | Self::RequestMismatch => 400,
            Self::NonceUsed => 409,
            Self::VersionInactive | Self::HostingInactive | Self::Exposure => 503,
            Self::VoucherInvalid | Self::ChannelUnfunded => 402,
            _ => 403,
        }
    }
}

/// All that a caller shows with a request.
#[derive(Debug, Clone, Copy)]
pub struct Showing<'a> {
    /// Its permission.
    pub credential: &'a SignedCredential,
    /// What it asks for.
    pub invocation: &'a SignedInvocation,
    /// The hash of the request that came along.
    pub request_hash: B256,
    /// Who brought the invocation; zero for nobody.
    pub builder: Address,
    /// How it pays.
    pub payment: Paying<'a>,
}

/// How a caller pays.
#[derive(Debug, Clone, Copy)]
pub enum Paying<'a> {
    /// By a voucher of a channel.
    Channel {
        /// The channel.
        config: &'a ChannelConfig,
        /// All that may be redeemed so far.
        ceiling: u128,
        /// The payer's signature.
        signature: &'a [u8],
        /// What a deposit that came along adds to the channel first.
        deposit: u128,
    },
    /// By a transfer of its own, which the invocation names by the transfer's nonce.
    Transfer {
        /// The nonce.
        nonce: B256,
        /// Who is paid.
        to: Address,
        /// How much.
        value: u128,
        /// Whether the transfer's signature is good, and it can be made now.
        is_good: bool,
        /// What the payer has.
        balance: u128,
    },
}

/// A hosting, as far as admission asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The hosting.
    pub hosting: U256,
    /// Its model; zero where there is no such hosting.
    pub model: U256,
    /// Its version.
    pub version: u32,
    /// What it is paid in.
    pub asset: Address,
    /// Whether the version is served now.
    pub is_serveable: bool,
    /// Whether the hosting is active.
    pub is_active: bool,
}

/// Since when an issuer may sign, and until when it might; zero for "still may".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Term {
    /// Zero for never.
    pub since: u64,
    /// Zero for no end.
    pub until: u64,
}

impl Term {
    const fn holds(self, time: u64) -> bool {
        self.since != 0 && self.since <= time && (self.until == 0 || time < self.until)
    }
}

/// What the chain knows. `E` says that it could not be asked.
pub trait Chainside {
    /// The chain could not be asked.
    type Error;

    /// The hosting that an invocation names.
    ///
    /// # Errors
    /// The chain could not be asked; so below.
    fn served(&self) -> Result<Served, Self::Error>;

    /// When an issuer of a model might sign.
    ///
    /// # Errors
    /// The chain could not be asked.
    fn issuer(&self, model: U256, issuer: Address) -> Result<Term, Self::Error>;

    /// Since when a credential is revoked; zero for never.
    ///
    /// # Errors
    /// The chain could not be asked.
    fn revoked_at(&self, id: B256, credential: &message::Credential) -> Result<u64, Self::Error>;

    /// Whether an account signed a digest, as `SignatureChecker` has it: by its key, or by its code (ERC-1271).
    ///
    /// # Errors
    /// The chain could not be asked.
    fn is_signed(&self, account: Address, digest: B256, signature: &[u8]) -> Result<bool, Self::Error>;

    /// The till of this hosting and a builder.
    ///
    /// # Errors
    /// The chain could not be asked.
    fn till(&self, builder: Address) -> Result<Address, Self::Error>;

    /// What a channel holds.
    ///
    /// # Errors
    /// The chain could not be asked.
    fn balance(&self, channel: B256) -> Result<u128, Self::Error>;
}

/// What the host alone can judge.
pub trait Hostside {
    /// Whether the invocation's nonce is used.
    fn is_nonce_used(&self, invocation: &message::Invocation) -> bool;

    /// Whether the credential allows one more invocation.
    fn is_exhausted(&self, id: B256, credential: &message::Credential, amount_max: u128) -> bool;

    /// Whether the credential's policy is the version's.
    fn is_policy_refused(&self, credential: &message::Credential) -> bool;

    /// Whether the payment is what this host asks for, besides what the chain knows.
    fn is_payment_wrong(&self, showing: &Showing<'_>) -> bool;

    /// Whether the host would be owed too much.
    fn is_exposed(&self, showing: &Showing<'_>) -> bool;
}

/// The two domains of messages.
#[derive(Debug, Clone)]
pub struct Domains {
    /// Ours.
    pub loyal: Eip712Domain,
    /// That of x402's channels.
    pub channel: Eip712Domain,
}

/// The first reason to refuse, or `None`.
///
/// # Errors
/// The chain could not be asked.
pub fn judge<C: Chainside>(
    showing: &Showing<'_>,
    (chain, host): (&C, &dyn Hostside),
    domains: &Domains,
    now: u64,
) -> Result<Option<Refusal>, C::Error> {
    let served = chain.served()?;
    let id = showing.credential.id(&domains.loyal);
    if let Some(refusal) = judge_credential(showing, (chain, &served), id, now)? {
        return Ok(Some(refusal));
    }
    if let Some(refusal) = judge_invocation(showing, (chain, host, &served), domains, (id, now))? {
        return Ok(Some(refusal));
    }
    judge_payment(showing, (chain, host, &served), domains)
}

fn judge_credential<C: Chainside>(
    showing: &Showing<'_>,
    (chain, served): (&C, &Served),
    id: B256,
    now: u64,
) -> Result<Option<Refusal>, C::Error> {
    let SignedCredential { credential, issuer, signature } = showing.credential;
    let invocation = &showing.invocation.invocation;
    if !chain.issuer(credential.modelId, *issuer)?.holds(now) || !chain.is_signed(*issuer, id, signature)? {
        return Ok(Some(Refusal::CredentialSignature));
    }
    let is_model = credential.modelId == served.model
        && credential.scopes & SCOPE_INVOKE != 0
        && fits(&credential.version, &invocation.version);
    if !is_model {
        return Ok(Some(Refusal::CredentialModel));
    }
    let is_here = fits(&credential.hostingId, &invocation.hostingId)
        && fits(&credential.builder, &showing.builder)
        && fits(&credential.asset, &served.asset);
    if !is_here {
        return Ok(Some(Refusal::CredentialHosting));
    }
    if credential.holder == Address::ZERO || invocation.credentialId != id {
        return Ok(Some(Refusal::CredentialHolder));
    }
    if now < credential.notBefore || now >= credential.expiresAt {
        return Ok(Some(Refusal::CredentialTime));
    }
    let revoked_at = chain.revoked_at(id, credential)?;
    Ok((revoked_at != 0 && revoked_at <= now).then_some(Refusal::CredentialRevoked))
}

fn judge_invocation<C: Chainside>(
    showing: &Showing<'_>,
    (chain, host, served): (&C, &dyn Hostside, &Served),
    domains: &Domains,
    (id, now): (B256, u64),
) -> Result<Option<Refusal>, C::Error> {
    let SignedInvocation { invocation, signature } = showing.invocation;
    let credential = &showing.credential.credential;
    let same = invocation.requestHash == showing.request_hash;
    if !same || !fits(&credential.requestHash, &showing.request_hash) {
        return Ok(Some(Refusal::RequestMismatch));
    }
    if invocation.version != served.version || !served.is_serveable {
        return Ok(Some(Refusal::VersionInactive));
    }
    if !served.is_active {
        return Ok(Some(Refusal::HostingInactive));
    }
    if !chain.is_signed(credential.holder, showing.invocation.id(&domains.loyal), signature)? {
        return Ok(Some(Refusal::InvocationSignature));
    }
    if host.is_nonce_used(invocation) {
        return Ok(Some(Refusal::NonceUsed));
    }
    if now > invocation.deadline {
        return Ok(Some(Refusal::Deadline));
    }
    if host.is_exhausted(id, credential, invocation.amountMax) {
        return Ok(Some(Refusal::SpendExhausted));
    }
    Ok(host.is_policy_refused(credential).then_some(Refusal::PolicyRefused))
}

fn judge_payment<C: Chainside>(
    showing: &Showing<'_>,
    (chain, host, served): (&C, &dyn Hostside, &Served),
    domains: &Domains,
) -> Result<Option<Refusal>, C::Error> {
    let channel_id = showing.invocation.invocation.channelId;
    let till = chain.till(showing.builder)?;
    let (is_right, wanted, held) = match showing.payment {
        Paying::Channel { config, ceiling, signature, deposit } => {
            let id = digest(config, &domains.channel);
            let is_right = id == channel_id && config.token == served.asset && config.receiver == till;
            let voucher = Voucher { channelId: id, maxClaimableAmount: ceiling };
            let digest = digest(&voucher, &domains.channel);
            let is_right = is_right && is_voucher_signed(chain, config, digest, signature)?;
            let held = if is_right { chain.balance(id)?.saturating_add(deposit) } else { 0 };
            (is_right, ceiling, held)
        }
        Paying::Transfer { nonce, to, value, is_good, balance } => {
            (is_good && nonce == channel_id && to == till, value, balance)
        }
    };
    if !is_right || host.is_payment_wrong(showing) {
        return Ok(Some(Refusal::VoucherInvalid));
    }
    if wanted > held {
        return Ok(Some(Refusal::ChannelUnfunded));
    }
    Ok(host.is_exposed(showing).then_some(Refusal::Exposure))
}

fn is_voucher_signed<C: Chainside>(
    chain: &C,
    config: &ChannelConfig,
    digest: B256,
    signature: &[u8],
) -> Result<bool, C::Error> {
    if config.payerAuthorizer == Address::ZERO {
        return chain.is_signed(config.payer, digest, signature);
    }
    Ok(loyal_protocol::signature::signer_of(digest, signature) == Some(config.payerAuthorizer))
}

/// Zero stands for "any".
fn fits<T: PartialEq + Default>(wanted: &T, found: &T) -> bool {
    *wanted == T::default() || wanted == found
}
