//! What a host brings to the chain for its callers: deposits and transfers that they signed.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U64, U256};
use alloy_sol_types::{SolEvent as _, SolValue as _, sol};
use loyal_protocol::chain::Event;
use loyal_protocol::channel::{self, ChannelConfig};
use loyal_protocol::contracts::InvocationChannel;
use loyal_protocol::{Addresses, Client, Key, Outcome, message};
use serde_json::json;

use super::Gate;
use crate::Result;
use crate::admission::{Chainside as _, Paying};
use crate::payment::{self, Deposit, ExactPayment};
use crate::view::Unknown;

/// A signed transfer must be good for at least this long: a transaction takes its time.
const VALID_FOR_SECONDS: u64 = 6;
/// A transfer that was made and has no answer yet is looked for so far back; beyond that the books may have forgotten whether
/// it had one.
const REMEMBERED_BLOCKS: u64 = 2_000;
const REMEMBERED_SECONDS: u64 = 3_600;

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
        event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);
        event Transfer(address indexed from, address indexed to, uint256 value);
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

    /// Several calls of the escrow in one transaction: all of them, or none.
    pub(super) fn together(&self, calls: Vec<Bytes>) -> Result<B256> {
        let call = InvocationChannel::multicallCall { data: calls };
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
        let is_used = self.is_used(exact).map_err(Unknown::Silent)?;
        // A host that was cut short between a transfer and its answer finds the transfer again.
        let was_brought = is_used && self.was_brought(exact).map_err(Unknown::Silent)?;
        let held = Authorized::balanceOfCall { account: signed.from };
        let held = client.call(asset, &held).map_err(Unknown::Silent)?;
        let held = if was_brought { U256::from(signed.value) } else { held };
        let now = self.now();
        let in_time = signed.valid_after < now && now.saturating_add(VALID_FOR_SECONDS) < signed.valid_before;
        Ok(Paying::Transfer {
            nonce: signed.nonce,
            to: signed.to,
            value: signed.value,
            is_good: is_signed && (!is_used || was_brought) && in_time,
            balance: held.saturating_to(),
        })
    }

    /// Whether a transfer's nonce is used, by this transfer or by something else that its payer signed.
    pub(super) fn is_used(&self, exact: &ExactPayment) -> Outcome<bool> {
        let signed = &exact.authorization;
        let state = Authorized::authorizationStateCall { authorizer: signed.from, nonce: signed.nonce };
        self.view.client().call(self.view.hosting().asset, &state)
    }

    /// Whether a signed transfer was made, and has paid for no answer yet. The event of its authorization stands right before
    /// that of the transfer: the same nonce may have been signed, and used, for something else.
    pub(super) fn was_brought(&self, exact: &ExactPayment) -> Outcome<bool> {
        let signed = &exact.authorization;
        let is_old = signed.valid_before > self.now().saturating_add(REMEMBERED_SECONDS);
        if is_old || self.books.has_paid(signed.nonce) {
            return Ok(false);
        }
        let (client, asset) = (self.view.client(), self.view.hosting().asset);
        let head: U64 = client.ask("eth_blockNumber", json!([]))?;
        let topics = [Authorized::AuthorizationUsed::SIGNATURE_HASH, signed.from.into_word(), signed.nonce];
        let from = U64::from(head.to::<u64>().saturating_sub(REMEMBERED_BLOCKS));
        let range = json!({ "address": asset, "topics": topics, "fromBlock": from, "toBlock": head });
        let used: Vec<Event> = client.ask("eth_getLogs", json!([range]))?;
        let Some(used) = used.first() else { return Ok(false) };
        let all = client.events(&[asset], used.block_number.to(), used.block_number.to())?;
        let next = all.iter().find(|event| event.log_index == used.log_index + U64::from(1));
        let made = next.and_then(Event::decode::<Authorized::Transfer>);
        Ok(made.is_some_and(|made| {
            (made.from, made.to, made.value) == (signed.from, signed.to, U256::from(signed.value))
        }))
    }
}
