//! What a host brings to the chain for its callers: deposits and transfers that they signed.

use std::sync::Arc;

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::{SolValue as _, sol};
use loyal_protocol::channel::{self, ChannelConfig};
use loyal_protocol::contracts::InvocationChannel;
use loyal_protocol::{Addresses, Client, Key, message};

use super::Gate;
use crate::Result;
use crate::admission::{Chainside as _, Paying};
use crate::payment::{self, Deposit, ExactPayment};
use crate::view::Unknown;

/// A signed transfer must be good for at least this long: a transaction takes its time.
const VALID_FOR_SECONDS: u64 = 6;

sol! {
    struct TransferWithAuthorization {
        address from; address to; uint256 value; uint256 validAfter; uint256 validBefore; bytes32 nonce;
    }

    interface Authorized {
        function transferWithAuthorization(
            address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce,
            bytes signature
        ) external;
        function authorizationState(address authorizer, bytes32 nonce) external view returns (bool);
        function balanceOf(address account) external view returns (uint256);
    }
}

/// Sends transactions for callers.
#[derive(Debug)]
pub(super) struct Relay {
    client: Arc<Client>,
    at: Addresses,
    key: Key,
}

impl Relay {
    pub(super) const fn new(client: Arc<Client>, at: Addresses, key: Key) -> Self {
        Self { client, at, key }
    }

    /// Puts a deposit into its channel.
    pub(super) fn deposit(&self, config: &ChannelConfig, deposit: &Deposit) -> Result<B256> {
        let signed = &deposit.authorization.erc3009_authorization;
        let data = (
            U256::from(signed.valid_after),
            U256::from(signed.valid_before),
            U256::from_be_bytes(signed.salt.0),
            signed.signature.clone(),
        );
        let call = InvocationChannel::depositCall {
            config: channel::terms(config),
            amount: deposit.amount,
            collector: self.at.authorization_collector,
            collectorData: data.abi_encode_params().into(),
        };
        Ok(self.client.send(&self.key, self.at.channel, &call)?.transaction_hash)
    }

    /// Makes a signed transfer.
    pub(super) fn transfer(&self, asset: Address, exact: &ExactPayment) -> Result<B256> {
        let signed = &exact.authorization;
        let call = Authorized::transferWithAuthorizationCall {
            from: signed.from,
            to: signed.to,
            value: U256::from(signed.value),
            validAfter: U256::from(signed.valid_after),
            validBefore: U256::from(signed.valid_before),
            nonce: signed.nonce,
            signature: exact.signature.clone(),
        };
        Ok(self.client.send(&self.key, asset, &call)?.transaction_hash)
    }
}

impl Gate {
    /// A signed transfer, as admission asks after it.
    pub(super) fn transfer<'a>(
        &self,
        exact: &ExactPayment,
        may_wait: bool,
    ) -> std::result::Result<Paying<'a>, Unknown> {
        if !may_wait {
            return Err(Unknown::Unasked);
        }
        let signed = &exact.authorization;
        let (client, asset) = (self.view.client(), self.view.hosting().asset);
        let domain = payment::asset_domain(&self.asset.name, &self.asset.version, client.chain_id(), asset);
        let typed = TransferWithAuthorization {
            from: signed.from,
            to: signed.to,
            value: U256::from(signed.value),
            validAfter: U256::from(signed.valid_after),
            validBefore: U256::from(signed.valid_before),
            nonce: signed.nonce,
        };
        let digest = message::digest(&typed, &domain);
        let is_signed = self.view.known(true).is_signed(signed.from, digest, &exact.signature)?;
        let state = Authorized::authorizationStateCall { authorizer: signed.from, nonce: signed.nonce };
        let is_used = client.call(asset, &state).map_err(Unknown::Silent)?;
        let held = Authorized::balanceOfCall { account: signed.from };
        let held = client.call(asset, &held).map_err(Unknown::Silent)?;
        let now = self.now();
        let in_time = signed.valid_after < now && now.saturating_add(VALID_FOR_SECONDS) < signed.valid_before;
        Ok(Paying::Transfer {
            nonce: signed.nonce,
            to: signed.to,
            value: signed.value,
            is_good: is_signed && !is_used && in_time,
            balance: held.saturating_to(),
        })
    }
}
