//! What a payer signs: channels, deposits, vouchers, invocations.

use alloy_primitives::{Address, B256, U256, Uint, keccak256};
use alloy_sol_types::{SolValue as _, sol};
use loyal_protocol::channel::{self, ChannelConfig, Voucher};
use loyal_protocol::{Client, Key, message, signature};

use crate::admission::Domains;
use crate::document::{CredentialFile, SignedInvocation};
use crate::payment::{
    BatchKind, BatchPayment, Deposit, DepositAuthorization, Erc3009, ExactPayment, Payment, PaymentPayload,
    Requirements, SignedVoucher, TransferAuthorization, VERSION, VoucherState,
};
use crate::terms::Terms;
use crate::wallet::{Account, Invoked, Pending, Transfer};
use crate::{Error, Result};

sol! {
    struct ReceiveWithAuthorization {
        address from; address to; uint256 value; uint256 validAfter; uint256 validBefore; bytes32 nonce;
    }

    struct TransferWithAuthorization {
        address from; address to; uint256 value; uint256 validAfter; uint256 validBefore; bytes32 nonce;
    }

    interface Authorizations {
        function authorizationState(address authorizer, bytes32 nonce) external view returns (bool);
    }
}

/// How long an open deposit must still be good to be sent again, in seconds.
const DEPOSIT_REST: u64 = 30;
/// A transfer is good from so many seconds ago on.
const CLOCKS_DIFFER: u64 = 600;
/// The least time an authorization of a deposit is good for, in seconds.
const DEPOSIT_TIME_MIN: u64 = 300;

/// Who signs, and for which contracts.
#[derive(Debug)]
pub(crate) struct Payer {
    key: Key,
    pub(crate) domains: Domains,
    collector: Address,
}

/// What an invocation is signed for, besides its channel.
pub(crate) struct Order<'a> {
    pub(crate) terms: &'a Terms,
    pub(crate) credential: B256,
    pub(crate) request: B256,
    pub(crate) salt: B256,
    pub(crate) deposit: Option<Deposit>,
    pub(crate) now_millis: u64,
}

impl Payer {
    pub(crate) fn new(key: Key, file: &CredentialFile) -> Self {
        let domains = Domains {
            loyal: message::domain(file.chain_id, file.registry),
            channel: channel::domain(file.chain_id, file.channel),
        };
        Self { key, domains, collector: file.authorization_collector }
    }

    pub(crate) const fn address(&self) -> Address {
        self.key.address()
    }

    /// The channel under these terms, of several: a channel's number is its salt, so that a payer who lost its wallet finds
    /// it again.
    pub(crate) fn channel(&self, requirements: &Requirements, index: u32) -> (B256, ChannelConfig) {
        let config = ChannelConfig {
            payer: self.address(),
            payerAuthorizer: self.address(),
            receiver: requirements.pay_to,
            receiverAuthorizer: requirements.extra.receiver_authorizer.unwrap_or_default(),
            token: requirements.asset,
            withdrawDelay: Uint::from(requirements.extra.withdraw_delay.unwrap_or_default()),
            salt: B256::from(U256::from(index)),
        };
        (message::digest(&config, &self.domains.channel), config)
    }

    /// The nonce of a deposit, as its collector computes it.
    pub(crate) fn deposit_nonce(channel: B256, salt: B256) -> B256 {
        keccak256((channel, salt).abi_encode())
    }

    /// Leave for the collector to put an amount into a channel.
    pub(crate) fn deposit(
        &self,
        requirements: &Requirements,
        (channel, salt): (B256, B256),
        amount: u128,
        now: u64,
    ) -> Deposit {
        let valid_before = now + requirements.max_timeout_seconds.max(DEPOSIT_TIME_MIN);
        let signed = ReceiveWithAuthorization {
            from: self.address(),
            to: self.collector,
            value: U256::from(amount),
            validAfter: U256::ZERO,
            validBefore: U256::from(valid_before),
            nonce: Self::deposit_nonce(channel, salt),
        };
        let signature = self.key.sign_message(&signed, &requirements.asset_domain());
        let erc3009_authorization = Erc3009 { valid_after: 0, valid_before, salt, signature };
        Deposit { amount, authorization: DepositAuthorization { erc3009_authorization } }
    }

    /// Signs an invocation and the voucher that pays for it.
    pub(crate) fn sign(&self, order: Order<'_>, account: &Account) -> Pending {
        let requirements = &order.terms.requirements;
        let config = account.terms.0.clone();
        let channel = message::digest(&config, &self.domains.channel);
        let invocation = message::Invocation {
            credentialId: order.credential,
            hostingId: order.terms.info.hosting_id,
            version: order.terms.info.version,
            channelId: channel,
            // Of the clock, so that a payer who lost its wallet does not begin below nonces it used.
            nonce: (account.nonce + 1).max(order.now_millis),
            requestHash: order.request,
            amountMax: requirements.amount,
            deadline: order.now_millis / 1_000 + requirements.max_timeout_seconds,
        };
        let invocation = SignedInvocation::sign(invocation, &self.key, &self.domains.loyal);
        let ceiling = account.charged.saturating_add(requirements.amount);
        let voucher = Voucher { channelId: channel, maxClaimableAmount: ceiling };
        let signature = self.key.sign_message(&voucher, &self.domains.channel);
        let kind = if order.deposit.is_some() { BatchKind::Deposit } else { BatchKind::Voucher };
        let payment = BatchPayment {
            kind,
            channel_config: config,
            voucher: SignedVoucher { channel_id: channel, max_claimable_amount: ceiling, signature },
            deposit: order.deposit,
            amount: None,
        };
        Pending {
            id: invocation.id(&self.domains.loyal),
            invocation,
            salt: order.salt,
            payment: PaymentPayload {
                x402_version: VERSION,
                accepted: requirements.clone(),
                payload: Payment::Batch(payment),
            },
            ceiling,
            amount: requirements.amount,
        }
    }

    /// Signs a voucher.
    pub(crate) fn sign_voucher(&self, voucher: &Voucher) -> alloy_primitives::Bytes {
        self.key.sign_message(voucher, &self.domains.channel)
    }

    /// Signs an invocation and the transfer that pays for it; `nonce` names the transfer.
    pub(crate) fn promise(&self, order: &Order<'_>, lane: u32, nonce: B256) -> Transfer {
        let requirements = &order.terms.requirements;
        let now = order.now_millis / 1_000;
        let invocation = message::Invocation {
            credentialId: order.credential,
            hostingId: order.terms.info.hosting_id,
            version: order.terms.info.version,
            channelId: nonce,
            nonce: order.now_millis.max(1),
            requestHash: order.request,
            amountMax: requirements.amount,
            deadline: now + requirements.max_timeout_seconds,
        };
        let invocation = SignedInvocation::sign(invocation, &self.key, &self.domains.loyal);
        let invoked = Invoked { id: invocation.id(&self.domains.loyal), invocation, salt: order.salt };
        Transfer {
            payee: payee_of(order.terms),
            lane,
            request: B256::ZERO,
            payment: exact(&self.key, requirements, nonce, now),
            header: None,
            invocation: Some(invoked),
        }
    }

    /// Whether a voucher that a host shows was signed by this payer.
    pub(crate) fn has_signed(&self, channel: B256, state: &VoucherState) -> bool {
        let voucher = Voucher { channelId: channel, maxClaimableAmount: state.signed_max_claimable };
        let digest = message::digest(&voucher, &self.domains.channel);
        signature::signer_of(digest, &state.signature) == Some(self.address())
    }
}

/// What transfers to a hosting are filed under.
pub(crate) fn payee_of(terms: &Terms) -> String {
    format!("hosting {}", terms.info.hosting_id)
}

/// Signs a transfer as somebody asks for it.
pub(crate) fn exact(key: &Key, requirements: &Requirements, nonce: B256, now: u64) -> PaymentPayload {
    let authorization = TransferAuthorization {
        from: key.address(),
        to: requirements.pay_to,
        value: requirements.amount,
        // What the standard's own clients sign: clocks differ.
        valid_after: now.saturating_sub(CLOCKS_DIFFER),
        valid_before: now + requirements.max_timeout_seconds,
        nonce,
    };
    let typed = TransferWithAuthorization {
        from: authorization.from,
        to: authorization.to,
        value: U256::from(authorization.value),
        validAfter: U256::from(authorization.valid_after),
        validBefore: U256::from(authorization.valid_before),
        nonce,
    };
    let signature = key.sign_message(&typed, &requirements.asset_domain());
    PaymentPayload {
        x402_version: VERSION,
        accepted: requirements.clone(),
        payload: Payment::Exact(ExactPayment { signature, authorization }),
    }
}

/// Whether a transfer that was signed was made.
pub(crate) fn is_made(client: &Client, transfer: &Transfer) -> Result<bool> {
    let Some(exact) = transfer.exact() else { return Ok(false) };
    let call = Authorizations::authorizationStateCall {
        authorizer: exact.authorization.from,
        nonce: exact.authorization.nonce,
    };
    Ok(client.call(transfer.asset(), &call)?)
}

/// Whether a deposit that was signed can still be put into its channel, and for long enough to be sent again.
pub(crate) fn is_deposit_fresh(deposit: &Deposit, now: u64) -> bool {
    deposit.authorization.erc3009_authorization.valid_before > now + DEPOSIT_REST
}

/// Whether a deposit that was signed is in its channel already, or can no longer get there.
pub(crate) fn is_deposit_over(client: &Client, account: &Account, channel: B256, now: u64) -> Result<bool> {
    let Some(deposit) = &account.deposit else { return Ok(true) };
    let authorization = &deposit.authorization.erc3009_authorization;
    let (authorizer, nonce) = (account.terms.0.payer, Payer::deposit_nonce(channel, authorization.salt));
    let used = client.call(account.asset(), &Authorizations::authorizationStateCall { authorizer, nonce })?;
    Ok(used || now >= authorization.valid_before)
}

/// What a payer has of an asset, at least `needed`.
pub(crate) fn balance(client: &Client, asset: Address, payer: Address, needed: u128) -> Result<u128> {
    let read = loyal_protocol::Asset::read(client, asset)?;
    let balance = read.balance(client, payer)?;
    if balance < U256::from(needed) {
        let (balance, needed) = (read.text(balance), read.text(U256::from(needed)));
        return Err(Error::Chain(loyal_protocol::Failure::Short { account: payer, balance, needed }));
    }
    Ok(balance.saturating_to())
}
