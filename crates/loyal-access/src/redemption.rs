//! What a host is owed and when it goes to the chain for it.

use std::collections::BTreeSet;
use std::time::Duration;

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::sol;
use loyal_protocol::contracts::{InvocationChannel, RevenueRouter};
use loyal_protocol::{Asset, Step, Walk, channel, message};

use crate::Result;
use crate::books::Account;
use crate::gate::Gate;

/// Vouchers in one transaction.
const BATCH_MAX: usize = 20;
/// Gas of a voucher in a batch, of a settlement and of a collection as a rule (`contracts/snapshots/GasTest.json`).
const VOUCHER_GAS: u64 = 60_000;
const SETTLE_GAS: u64 = 68_000;
const COLLECT_GAS: u64 = 463_000;

sol! {
    struct ClaimEntry { bytes32 channelId; uint128 maxClaimableAmount; uint128 totalClaimed; }
    struct ClaimBatch { ClaimEntry[] claims; }
}

/// When vouchers are redeemed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cycle {
    /// At the latest after this time.
    pub every: Duration,
    /// When a channel owes this much, in base units.
    pub amount: u128,
}

/// A channel that owes something.
#[derive(Debug, Clone)]
pub struct Owed {
    /// The channel.
    pub channel: B256,
    /// Where it stands.
    pub account: Account,
    /// What is redeemed now, in base units.
    pub amount: u128,
    /// What will have been redeemed then, in base units.
    pub total: u128,
}

/// Channels that owe something, and can pay it.
///
/// # Errors
/// The chain's.
pub fn owed(gate: &Gate) -> Result<Vec<Owed>> {
    let mut found = Vec::new();
    for (channel, account) in gate.books().accounts() {
        let escrow = match gate.view().escrow(channel) {
            Some(escrow) => escrow,
            None => gate.view().read_escrow(channel)?,
        };
        let total = account.charged.min(escrow.balance);
        let amount = total.saturating_sub(escrow.claimed);
        if amount > 0 {
            found.push(Owed { channel, account, amount, total });
        }
    }
    Ok(found)
}

/// Redeems what channels owe, moves it into the tills and divides it among those who earn it.
///
/// Anybody may send these transactions: the vouchers are signed by their payers, the batch by the hosting's signer.
///
/// # Errors
/// The chain's.
pub fn redeem(walk: &mut Walk<'_>, gate: &Gate, owed: &[Owed]) -> Result<()> {
    let at = gate.view().at();
    for batch in owed.chunks(BATCH_MAX) {
        let total = batch.iter().fold(0_u128, |sum, owed| sum.saturating_add(owed.amount));
        let call = claim(gate, batch);
        let says = format!("redeem {total} base units from {} channels", batch.len());
        walk.take(Step::new(says, at.channel, &call, VOUCHER_GAS * batch.len() as u64))?;
        for owed in batch {
            gate.view().read_escrow(owed.channel)?;
        }
    }
    let ends = |owed: &Owed| (owed.account.builder, owed.account.terms.0.receiver);
    for (builder, till) in owed.iter().map(ends).collect::<BTreeSet<_>>() {
        collect(walk, gate, builder, till)?;
    }
    Ok(())
}

/// Tills of this hosting in which something waits, and whose builder's each is: what was paid by transfers, and what was
/// redeemed before the host was cut short. Less than an invocation's price is left there: anybody may send a till a unit, and
/// each collection costs the host a transaction.
///
/// # Errors
/// The chain's.
pub fn uncollected(gate: &Gate) -> Result<Vec<(Address, Address)>> {
    let (client, at, hosting) = (gate.view().client(), gate.view().at(), gate.view().hosting());
    let least = U256::from(gate.settings().price.ceiling);
    let mut found = Vec::new();
    for builder in gate.books().builders() {
        let call = RevenueRouter::tillOfCall { hostingId: U256::from(hosting.id), builder };
        let till = client.call(at.router, &call)?;
        let call = InvocationChannel::receiversCall { receiver: till, token: hosting.asset };
        let receiver = client.call(at.channel, &call)?;
        let held = Asset::read(client, hosting.asset)?.balance(client, till)?;
        if receiver.totalClaimed > receiver.totalSettled || held >= least {
            found.push((builder, till));
        }
    }
    Ok(found)
}

/// Moves what was redeemed into a till, and divides it.
///
/// # Errors
/// The chain's.
pub fn collect(walk: &mut Walk<'_>, gate: &Gate, builder: Address, till: Address) -> Result<()> {
    let (at, hosting) = (gate.view().at(), gate.view().hosting());
    let call = InvocationChannel::settleCall { receiver: till, token: hosting.asset };
    walk.take(Step::new("settle into the till", at.channel, &call, SETTLE_GAS))?;
    let call =
        RevenueRouter::collectCall { hostingId: U256::from(hosting.id), builder, asset: hosting.asset };
    walk.take(Step::new("collect from the till, and divide", at.router, &call, COLLECT_GAS))?;
    Ok(())
}

/// The call that redeems some channels, under the hosting's signature.
pub(crate) fn claim(gate: &Gate, batch: &[Owed]) -> InvocationChannel::claimWithSignatureCall {
    let entry = |owed: &Owed| ClaimEntry {
        channelId: owed.channel,
        maxClaimableAmount: owed.account.voucher.max_claimable_amount,
        totalClaimed: owed.total,
    };
    let message = ClaimBatch { claims: batch.iter().map(entry).collect() };
    let signature = gate.signer().sign_bytes(message::digest(&message, &gate.domains().channel));
    let claims = batch.iter().map(|owed| InvocationChannel::VoucherClaim {
        voucher: InvocationChannel::Voucher {
            channel: channel::terms(&owed.account.terms.0),
            maxClaimableAmount: owed.account.voucher.max_claimable_amount,
        },
        signature: owed.account.voucher.signature.clone(),
        totalClaimed: owed.total,
    });
    InvocationChannel::claimWithSignatureCall {
        voucherClaims: claims.collect(),
        authorizerSignature: signature,
    }
}
