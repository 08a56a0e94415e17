//! Payment channels: the x402 scheme `batch-settlement`, from the payer's first deposit to the voucher that is redeemed.
//!
//! A voucher names a ceiling that only grows, so the newest one pays for everything before it: a host keeps one.

use alloy_primitives::{Address, B256, U256, Uint};
use alloy_sol_types::{Eip712Domain, eip712_domain, sol};

use crate::{Addresses, Asset, Client, Key, Outcome, Step, contracts::*, message};

sol! {
    /// What a payer signs: the channel, and all that may be redeemed from it so far.
    #[derive(Debug, PartialEq, Eq)]
    struct Voucher { bytes32 channelId; uint128 maxClaimableAmount; }

    /// Who pays whom in what; its digest is the channel's id.
    #[derive(Debug, PartialEq, Eq)]
    struct ChannelConfig {
        address payer; address payerAuthorizer; address receiver; address receiverAuthorizer; address token;
        uint40 withdrawDelay; bytes32 salt;
    }
}

/// Gas of a deposit and of a redemption as a rule (`contracts/snapshots/GasTest.json`).
const DEPOSIT_GAS: u64 = 102_000;
const REDEEM_GAS: u64 = 60_000;

/// A channel of one payer to one hosting, through one builder or none.
#[derive(Debug, Clone)]
pub struct Channel {
    config: ChannelConfig,
    domain: Eip712Domain,
    contract: Address,
    collector: Address,
}

/// The two ends of a channel.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    /// Who pays.
    pub payer: Address,
    /// What for.
    pub hosting: U256,
    /// Who brought the invocations; zero for nobody.
    pub builder: Address,
    /// Who may redeem without a second signature: the hosting's signer.
    pub redeemer: Address,
    /// In what.
    pub asset: Address,
    /// How long the payer waits for what is left, in seconds: 15 minutes to 30 days.
    pub withdraw_delay: u64,
    /// Tells channels of the same ends apart.
    pub salt: B256,
}

impl Channel {
    /// The channel between two ends. Its receiver is the till of the hosting and the builder.
    ///
    /// # Errors
    /// The endpoint's.
    pub fn between(client: &Client, at: &Addresses, ends: &Ends) -> Outcome<Self> {
        let call = RevenueRouter::tillOfCall { hostingId: ends.hosting, builder: ends.builder };
        let config = ChannelConfig {
            payer: ends.payer,
            payerAuthorizer: Address::ZERO,
            receiver: client.call(at.router, &call)?,
            receiverAuthorizer: ends.redeemer,
            token: ends.asset,
            withdrawDelay: Uint::from(ends.withdraw_delay),
            salt: ends.salt,
        };
        Ok(Self {
            config,
            domain: domain(client.chain_id(), at.channel),
            contract: at.channel,
            collector: at.approval_collector,
        })
    }

    /// The channel's id.
    #[must_use]
    pub fn id(&self) -> B256 {
        message::digest(&self.config, &self.domain)
    }

    /// The till that is paid.
    #[must_use]
    pub const fn till(&self) -> Address {
        self.config.receiver
    }

    /// The terms, as the contract takes them.
    #[must_use]
    pub fn terms(&self) -> InvocationChannel::ChannelConfig {
        terms(&self.config)
    }

    /// Put an amount into the channel; an approval first, where there is none.
    ///
    /// # Errors
    /// The endpoint's, and [`crate::Failure::Short`] where the payer has less.
    pub fn deposit(&self, client: &Client, asset: &Asset, amount: u128) -> Outcome<(Option<Step>, Step)> {
        let spender = (self.collector, "escrow");
        let approval = Step::approval(client, asset, self.config.payer, spender, U256::from(amount))?;
        let c = self.terms();
        let config = ApprovalCollector::ChannelConfig {
            payer: c.payer,
            payerAuthorizer: c.payerAuthorizer,
            receiver: c.receiver,
            receiverAuthorizer: c.receiverAuthorizer,
            token: c.token,
            withdrawDelay: c.withdrawDelay,
            salt: c.salt,
        };
        let says = format!("put {} into channel {}", asset.text(U256::from(amount)), self.id());
        let call = ApprovalCollector::depositCall { config, amount };
        Ok((approval, Step::new(says, self.collector, &call, DEPOSIT_GAS)))
    }

    /// A voucher over everything up to `ceiling`, signed by the payer, of which `total` is to be redeemed.
    #[must_use]
    pub fn voucher(&self, payer: &Key, ceiling: u128, total: u128) -> InvocationChannel::VoucherClaim {
        let signed = Voucher { channelId: self.id(), maxClaimableAmount: ceiling };
        InvocationChannel::VoucherClaim {
            voucher: InvocationChannel::Voucher { channel: self.terms(), maxClaimableAmount: ceiling },
            signature: payer.sign_message(&signed, &self.domain),
            totalClaimed: total,
        }
    }

    /// Redeem the newest voucher.
    #[must_use]
    pub fn redeem(&self, newest: InvocationChannel::VoucherClaim) -> Step {
        let call = InvocationChannel::claimCall { voucherClaims: vec![newest] };
        Step::new("redeem the newest voucher", self.contract, &call, REDEEM_GAS)
    }

    /// Move what was redeemed into the till; anybody may.
    #[must_use]
    pub fn settle(&self) -> Step {
        let call = InvocationChannel::settleCall { receiver: self.till(), token: self.config.token };
        Step::new("settle into the till", self.contract, &call, 68_000)
    }
}

/// The standard's domain.
#[must_use]
pub fn domain(chain_id: u64, contract: Address) -> Eip712Domain {
    eip712_domain! {
        name: "x402 Batch Settlement", version: "1", chain_id: chain_id, verifying_contract: contract,
    }
}

/// A channel's terms, as the contract takes them.
#[must_use]
pub fn terms(config: &ChannelConfig) -> InvocationChannel::ChannelConfig {
    InvocationChannel::ChannelConfig {
        payer: config.payer,
        payerAuthorizer: config.payerAuthorizer,
        receiver: config.receiver,
        receiverAuthorizer: config.receiverAuthorizer,
        token: config.token,
        withdrawDelay: config.withdrawDelay,
        salt: config.salt,
    }
}
