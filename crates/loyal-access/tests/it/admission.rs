//! The host and the contract ask the same questions in the same order and come to the same code.

use alloy_primitives::{Address, B256, Bytes, U256, Uint};
use loyal_access::admission::{Domains, Hostside, Paying, Refusal, Showing, judge};
use loyal_access::view::View;
use loyal_protocol::contracts::{Admission, CredentialRegistry, Gate};
use loyal_protocol::{channel, message};
use std::time::Duration;

use crate::kit::{Attempt, DAY, PRICE, Town};

/// A host that has nothing against anybody: what is left is what the chain can judge.
struct Easy;

impl Hostside for Easy {
    fn is_nonce_used(&self, _: &message::Invocation) -> bool {
        false
    }

    fn is_exhausted(&self, _: B256, _: &message::Credential, _: u128) -> bool {
        false
    }

    fn is_policy_refused(&self, _: &message::Credential) -> bool {
        false
    }

    fn is_payment_wrong(&self, _: &Showing<'_>) -> bool {
        false
    }

    fn is_exposed(&self, _: &Showing<'_>) -> bool {
        false
    }
}

/// The codes of the host and of the contract; zero for "admitted".
fn codes(town: &Town, attempt: &Attempt) -> (u8, u8) {
    let view = View::open(town.client.clone(), town.at, town.hosting, (Duration::MAX, &*town.clock)).unwrap();
    let (credential, invocation, voucher, request_hash) = attempt.signed(town);
    let domains =
        Domains { loyal: town.domain(), channel: channel::domain(town.client.chain_id(), town.at.channel) };
    let builder = attempt.builder.unwrap_or(credential.credential.builder);
    let showing = Showing {
        credential: &credential,
        invocation: &invocation,
        request_hash,
        builder,
        payment: Paying::Channel {
            config: &attempt.config,
            ceiling: attempt.ceiling,
            signature: &voucher.signature,
            deposit: 0,
        },
    };
    let now = town.client.time().unwrap();
    let ours = judge(&showing, (&view.known(true), &Easy), &domains, now).unwrap();
    let (c, i, k) = (&credential.credential, &invocation.invocation, &attempt.config);
    let asked = Admission::Showing {
        credential: Admission::Credential {
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
        },
        issuer: credential.issuer,
        credentialSignature: credential.signature.clone(),
        invocation: Admission::Invocation {
            credentialId: i.credentialId,
            hostingId: i.hostingId,
            version: i.version,
            channelId: i.channelId,
            nonce: i.nonce,
            requestHash: i.requestHash,
            amountMax: i.amountMax,
            deadline: i.deadline,
        },
        invocationSignature: invocation.signature.clone(),
        requestHash: request_hash,
        builder,
        channel: Admission::ChannelConfig {
            payer: k.payer,
            payerAuthorizer: k.payerAuthorizer,
            receiver: k.receiver,
            receiverAuthorizer: k.receiverAuthorizer,
            token: k.token,
            withdrawDelay: k.withdrawDelay,
            salt: k.salt,
        },
        maxClaimableAmount: attempt.ceiling,
        voucherSignature: Bytes::from(voucher.signature.to_vec()),
    };
    let theirs = town.client.call(town.at.admission, &Admission::admitCall { showing: asked }).unwrap();
    (ours.map_or(0, |refusal| refusal as u8), theirs)
}

/// One thing that is wrong, and the code that says so.
type Bend = (fn(&mut Attempt, &Town), Refusal);

const BENDS: &[Bend] = &[
    (|a, _| a.issuer = "stranger", Refusal::CredentialSignature),
    // Whoever issues for this model issues for no other.
    (|a, _| a.credential.modelId += U256::from(1), Refusal::CredentialSignature),
    (|a, _| a.credential.scopes = 2, Refusal::CredentialModel),
    (|a, _| a.credential.version = 7, Refusal::CredentialModel),
    (|a, _| a.credential.hostingId = U256::from(9), Refusal::CredentialHosting),
    (|a, _| a.credential.builder = Address::with_last_byte(3), Refusal::VoucherInvalid),
    (
        |a, t| {
            a.credential.builder = t.address("builder");
            a.builder = Some(t.address("host"));
        },
        Refusal::CredentialHosting,
    ),
    (|a, _| a.credential.asset = Address::with_last_byte(3), Refusal::CredentialHosting),
    (|a, _| a.credential.holder = Address::ZERO, Refusal::CredentialHolder),
    (|a, _| a.binds = false, Refusal::CredentialHolder),
    (|a, t| a.credential.expiresAt = t.now() - 1, Refusal::CredentialTime),
    (|a, t| a.credential.notBefore = t.now() + 100, Refusal::CredentialTime),
    (|a, _| a.credential.modelGeneration = 1, Refusal::CredentialRevoked),
    (|a, _| a.credential.holderGeneration = 1, Refusal::CredentialRevoked),
    (|a, _| a.credential.requestHash = B256::with_last_byte(1), Refusal::RequestMismatch),
    (|a, _| a.invocation.version = 2, Refusal::VersionInactive),
    (|a, _| a.holder = "stranger", Refusal::InvocationSignature),
    (|a, t| a.invocation.deadline = t.now() - 10, Refusal::Deadline),
    (|a, _| a.payer = "stranger", Refusal::VoucherInvalid),
    (|a, _| a.config.salt = B256::with_last_byte(77), Refusal::VoucherInvalid),
    (|a, _| a.config.withdrawDelay = Uint::from(901), Refusal::VoucherInvalid),
    (|a, _| a.invocation.channelId = B256::ZERO, Refusal::VoucherInvalid),
    (|a, _| a.ceiling = 1_000 * PRICE, Refusal::ChannelUnfunded),
];

#[test]
fn each_wrong_thing_has_the_same_code_on_both_sides() {
    let town = Town::open();
    let channel = town.channel(0);
    town.fund(&channel, 10 * PRICE);
    assert_eq!(codes(&town, &Attempt::new(&town, &channel, (1, 0))), (0, 0));
    for (number, (bend, refusal)) in BENDS.iter().enumerate() {
        let mut attempt = Attempt::new(&town, &channel, (1, 0));
        bend(&mut attempt, &town);
        let (ours, theirs) = codes(&town, &attempt);
        assert_eq!((ours, theirs), (*refusal as u8, *refusal as u8), "bend {number}, {}", refusal.code());
    }
    // Two at once: the earlier question decides.
    for (first, (one, a)) in BENDS.iter().enumerate() {
        for (second, (other, b)) in BENDS.iter().enumerate().skip(first + 1) {
            let mut attempt = Attempt::new(&town, &channel, (1, 0));
            one(&mut attempt, &town);
            other(&mut attempt, &town);
            let (ours, theirs) = codes(&town, &attempt);
            assert_eq!(ours, theirs, "bends {first} and {second}: {} and {}", a.code(), b.code());
            assert_ne!(ours, 0);
        }
    }
}

#[test]
fn what_happens_on_the_chain_changes_both_answers() {
    let town = Town::open();
    let channel = town.channel(0);
    town.fund(&channel, 10 * PRICE);
    let attempt = Attempt::new(&town, &channel, (1, 0));
    let is = |refusal: Refusal| {
        assert_eq!(codes(&town, &attempt), (refusal as u8, refusal as u8), "{}", refusal.code());
    };
    let hosting = U256::from(town.hosting);
    town.send("host", town.at.gate, &Gate::pauseCall { hostingId: hosting });
    is(Refusal::HostingInactive);
    town.send("host", town.at.gate, &Gate::resumeCall { hostingId: hosting });
    assert_eq!(codes(&town, &attempt), (0, 0));
    let (credential, ..) = attempt.signed(&town);
    let id = credential.id(&town.domain());
    town.send(
        "owner",
        town.at.credentials,
        &CredentialRegistry::revokeCall { modelId: town.model, credentialId: id },
    );
    is(Refusal::CredentialRevoked);
    let issuer = town.address("owner");
    let call = CredentialRegistry::setIssuerCall { modelId: town.model, issuer, allowed: false };
    town.send("owner", town.at.credentials, &call);
    is(Refusal::CredentialSignature);
    town.pass(2 * DAY);
    is(Refusal::CredentialSignature);
}
