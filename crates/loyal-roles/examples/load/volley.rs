//! Requests that are signed before anything is measured.

use alloy_primitives::{Address, B256, U256, Uint, keccak256};
use loyal_access::document::{self, SignedCredential, SignedInvocation};
use loyal_access::payment::{
    BATCH, BatchKind, BatchPayment, Extra, PAYMENT_SIGNATURE, Payment, PaymentPayload, Requirements,
    SignedVoucher,
};
use loyal_access::request::Request;
use loyal_protocol::channel::{self, ChannelConfig, Voucher};
use loyal_protocol::message::{self, Credential, Invocation};
use serde::{Deserialize, Serialize};

use super::town::{self, PRICE};

/// Where the hosting is: what a caller has to know, and where the three ways of asking answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Site {
    pub(crate) chain_id: u64,
    pub(crate) registry: Address,
    pub(crate) channel: Address,
    pub(crate) asset: Address,
    pub(crate) till: Address,
    pub(crate) signer: Address,
    pub(crate) model: U256,
    pub(crate) hosting: u64,
    /// The chain's time: it ran ahead while the town was founded.
    pub(crate) now: u64,
    pub(crate) gated: u16,
    pub(crate) open: u16,
    pub(crate) process: u32,
}

/// How streams are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Whole,
    Stream,
    /// A stream that stands still after its first piece.
    Waiting,
}

impl Wish {
    pub(crate) const fn body(self) -> &'static str {
        match self {
            Self::Whole => {
                r#"{"model":"null","messages":[{"role":"user","content":"What is a fingerprint?"}],"max_tokens":8}"#
            }
            Self::Stream => {
                r#"{"model":"null","stream":true,"messages":[{"role":"user","content":"What is a fingerprint?"}],"max_tokens":8}"#
            }
            Self::Waiting => {
                r#"{"model":"null","stream":true,"messages":[{"role":"user","content":"wait"}],"max_tokens":8}"#
            }
        }
    }
}

/// A caller, and how far it has come.
pub(crate) struct Caller {
    site: Site,
    key: loyal_protocol::Key,
    config: ChannelConfig,
    channel: B256,
    credential: String,
    credential_id: B256,
    wish: Wish,
    made: u64,
}

impl Caller {
    /// A caller whose first `made` invocations were answered before.
    pub(crate) fn new(site: &Site, number: usize, (wish, made): (Wish, u64)) -> Self {
        let key = town::caller(number);
        let config = ChannelConfig {
            payer: key.address(),
            payerAuthorizer: Address::ZERO,
            receiver: site.till,
            receiverAuthorizer: site.signer,
            token: site.asset,
            withdrawDelay: Uint::from(86_400),
            salt: B256::ZERO,
        };
        let channel = message::digest(&config, &channel::domain(site.chain_id, site.channel));
        let credential = Credential {
            modelId: site.model,
            version: 0,
            hostingId: U256::ZERO,
            holder: key.address(),
            builder: Address::ZERO,
            asset: Address::ZERO,
            requestHash: B256::ZERO,
            policyHash: B256::ZERO,
            scopes: 1,
            callsMax: u32::MAX,
            spendMax: u128::MAX,
            notBefore: 0,
            expiresAt: site.now + 30 * 86_400,
            modelGeneration: 0,
            holderGeneration: 0,
            salt: B256::ZERO,
        };
        let domain = message::domain(site.chain_id, site.registry);
        let signed = SignedCredential::sign(credential, &town::key("owner"), &domain);
        let (credential, credential_id) = (document::header(&signed), signed.id(&domain));
        Self { site: site.clone(), key, config, channel, credential, credential_id, wish, made }
    }

    /// The headers of the next invocation.
    pub(crate) fn next(&mut self) -> [(&'static str, String); 4] {
        self.made += 1;
        let site = &self.site;
        let salt = keccak256([self.channel.as_slice(), &self.made.to_be_bytes()].concat());
        let request = Request::read(self.wish.body().as_bytes()).expect("the body is ours");
        let invocation = Invocation {
            credentialId: self.credential_id,
            hostingId: U256::from(site.hosting),
            version: 1,
            channelId: self.channel,
            nonce: self.made,
            requestHash: request.hash(salt),
            amountMax: PRICE,
            deadline: site.now + 30 * 86_400,
        };
        let domain = message::domain(site.chain_id, site.registry);
        let invocation = SignedInvocation::sign(invocation, &self.key, &domain);
        let ceiling = PRICE * u128::from(self.made);
        let voucher = Voucher { channelId: self.channel, maxClaimableAmount: ceiling };
        let domain = channel::domain(site.chain_id, site.channel);
        let signature = self.key.sign_message(&voucher, &domain);
        let voucher = SignedVoucher { channel_id: self.channel, max_claimable_amount: ceiling, signature };
        [
            (PAYMENT_SIGNATURE, document::header(&self.payment(voucher))),
            (document::CREDENTIAL, self.credential.clone()),
            (document::INVOCATION, document::header(&invocation)),
            (document::SALT, salt.to_string()),
        ]
    }

    fn payment(&self, voucher: SignedVoucher) -> PaymentPayload {
        let accepted = Requirements {
            scheme: BATCH.to_owned(),
            network: Requirements::network_of(self.site.chain_id),
            amount: PRICE,
            asset: self.site.asset,
            pay_to: self.site.till,
            max_timeout_seconds: 600,
            extra: Extra {
                receiver_authorizer: Some(self.site.signer),
                withdraw_delay: Some(86_400),
                ..Extra::default()
            },
        };
        let payload = Payment::Batch(BatchPayment {
            kind: BatchKind::Voucher,
            channel_config: self.config.clone(),
            voucher,
            deposit: None,
            amount: None,
        });
        PaymentPayload { x402_version: 2, accepted, payload }
    }

    /// The next invocation, as it goes over the wire.
    pub(crate) fn wire(&mut self) -> Vec<u8> {
        let headers = self.next();
        wire(self.wish, &headers.map(|(name, value)| (name.to_owned(), value)))
    }
}

/// A request, as it goes over the wire.
pub(crate) fn wire(wish: Wish, headers: &[(String, String)]) -> Vec<u8> {
    let body = wish.body();
    let mut text = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        text.extend([name.as_str(), ": ", value, "\r\n"]);
    }
    text.extend(["\r\n", body]);
    text.into_bytes()
}
