//! A host for tests: it judges as real ones do, takes deposits to the chain, and breaks the rules when told to.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolValue as _;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use loyal_access::admission::{self, Chainside, Domains, Hostside, Paying, Refusal, Served, Showing, Term};
use loyal_access::document::{
    self, CredentialFile, HandedReceipt, SignedCredential, SignedInvocation, SignedReceipt,
};
use loyal_access::payment::*;
use loyal_access::request::{Request as Asked, reply_text, response_hash};
use loyal_protocol::channel::{self, ChannelConfig};
use loyal_protocol::contracts::*;
use loyal_protocol::{Addresses, Client, Failure, Key, message, signature};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What a host may do wrong, or what may happen to it; each once, in order, at paid requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Answers as it should.
    None,
    /// The connection ends before the request is looked at.
    Deaf,
    /// Answers, charges, and the connection ends before anybody hears of it.
    Mute,
    /// A stream ends in its middle.
    Torn,
    /// Busy with another invocation of the channel.
    Busy,
    /// Refuses with 429.
    Full,
    /// Charges more than it says.
    Overcharge,
    /// The receipt speaks of another answer.
    OtherAnswer,
    /// No receipt with the answer.
    NoReceipt,
    /// Somebody else signs the receipt.
    OtherSigner,
    /// Says that its answer is gone.
    Gone,
    /// Asks for another price than it said.
    Price(u128),
}

#[derive(Debug, Default)]
struct State {
    charged: BTreeMap<B256, u128>,
    vouchers: BTreeMap<B256, VoucherState>,
    nonces: BTreeMap<B256, u64>,
    payers: BTreeMap<B256, Address>,
    answers: BTreeMap<B256, (String, HandedReceipt, Settlement)>,
    faults: VecDeque<Fault>,
    answered: u32,
    seq: u32,
    price: u128,
    withholds: bool,
}

/// A host for tests.
pub(crate) struct Double {
    pub(crate) url: String,
    pub(crate) client: Arc<Client>,
    pub(crate) at: Addresses,
    signer: Key,
    hosting: U256,
    state: Mutex<State>,
}

type Body = BoxBody<Bytes, std::io::Error>;

impl Double {
    pub(crate) async fn start(
        client: Arc<Client>,
        at: Addresses,
        signer: Key,
        hosting: U256,
        price: u128,
    ) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let state = Mutex::new(State { price, ..State::default() });
        let double = Arc::new(Self { url, client, at, signer, hosting, state });
        let serving = double.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let double = serving.clone();
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(|request| double.clone().answer(request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        double
    }

    /// What goes wrong at the next paid requests.
    pub(crate) fn will(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().unwrap().faults.extend(faults);
    }

    /// How many invocations were answered, none counted twice.
    pub(crate) fn answered(&self) -> u32 {
        self.state.lock().unwrap().answered
    }

    /// What was charged on all channels.
    pub(crate) fn charged(&self) -> u128 {
        self.state.lock().unwrap().charged.values().sum()
    }

    /// Nothing goes wrong from now on.
    pub(crate) fn will_nothing(&self) {
        self.state.lock().unwrap().faults.clear();
    }

    /// What was charged to one payer.
    pub(crate) fn charged_to(&self, payer: Address) -> u128 {
        let state = self.state.lock().unwrap();
        let charged = |id: &B256| state.charged.get(id).copied().unwrap_or_default();
        state.payers.iter().filter(|(_, of)| **of == payer).map(|(id, _)| charged(id)).sum()
    }

    /// The newest voucher of a channel.
    pub(crate) fn ceiling(&self, channel: B256) -> u128 {
        let state = self.state.lock().unwrap();
        state.vouchers.get(&channel).map_or(0, |voucher| voucher.signed_max_claimable)
    }

    /// How many channels pay.
    pub(crate) fn channel_count(&self) -> usize {
        self.state.lock().unwrap().charged.len()
    }

    /// From now on nobody is given a receipt, and none is there to be asked for.
    pub(crate) fn withhold(&self) {
        self.state.lock().unwrap().withholds = true;
    }

    /// The newest voucher of a channel, with its signature.
    pub(crate) fn voucher(&self, channel: B256) -> Option<VoucherState> {
        self.state.lock().unwrap().vouchers.get(&channel).cloned()
    }

    /// A host that lost its memory.
    pub(crate) fn forget(&self) {
        let mut state = self.state.lock().unwrap();
        (state.charged, state.vouchers, state.answers) = Default::default();
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, std::io::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        tokio::task::spawn_blocking(move || self.answer_now(&head, &body))
            .await
            .map_err(std::io::Error::other)?
    }

    #[allow(clippy::panic_in_result_fn, reason = "a test that cannot go on has failed")]
    fn answer_now(
        &self,
        head: &hyper::http::request::Parts,
        body: &Bytes,
    ) -> Result<Response<Body>, std::io::Error> {
        let path = head.uri.path();
        let header = |name: &str| head.headers.get(name).map(|value| value.as_bytes().to_vec());
        let builder = header("loyal-builder")
            .map_or(Address::ZERO, |value| String::from_utf8(value).unwrap().parse().unwrap());
        if path == "/v1/loyal" {
            let required = self.required(builder, None);
            let mut info = required.extensions["loyal"]["info"].clone();
            info["accepts"] = json!(required.accepts);
            return Ok(whole(200, &info));
        }
        if path == "/v1/models" {
            return Ok(whole(
                200,
                &json!({ "object": "list", "data": [{ "id": "default", "object": "model" }] }),
            ));
        }
        if let Some(id) = path.strip_prefix("/v1/receipts/") {
            return Ok(self.receipt(id.parse().unwrap()));
        }
        let Some(payment) = header(PAYMENT_SIGNATURE) else {
            return Ok(self.payment_required(builder, None, "payment_required"));
        };
        let fault = self.state.lock().unwrap().faults.pop_front().unwrap_or(Fault::None);
        match fault {
            Fault::Deaf => return Err(std::io::Error::other("deaf")),
            Fault::Busy => return Ok(whole(409, &error("channel_busy", "busy"))),
            Fault::Full => {
                let mut full = whole(429, &error("too_many_requests", "later"));
                full.headers_mut().insert("retry-after", "7".parse().unwrap());
                return Ok(full);
            }
            Fault::Price(price) => self.state.lock().unwrap().price = price,
            _ => {}
        }
        let payment: PaymentPayload = document::read_header("payment", &payment).unwrap();
        let credential: SignedCredential =
            document::read_header("credential", &header("loyal-credential").unwrap()).unwrap();
        let invocation: SignedInvocation =
            document::read_header("invocation", &header("loyal-invocation").unwrap()).unwrap();
        let salt: B256 = String::from_utf8(header("loyal-salt").unwrap()).unwrap().parse().unwrap();
        let Payment::Batch(batch) = &payment.payload else { panic!("only vouchers here") };
        let asked = Asked::read(body).unwrap();
        let id = message::digest(&invocation.invocation, &self.domains().loyal);
        let known = self.state.lock().unwrap().answers.get(&id).cloned();
        let (text, receipt, settlement) = match known {
            Some(answer) => answer,
            None => {
                match self.admit((&payment, batch), (&credential, &invocation), (&asked, salt), builder) {
                    Ok(()) => self.work(batch, &invocation, (&asked, salt), fault),
                    Err(response) => return Ok(*response),
                }
            }
        };
        match fault {
            Fault::Mute => return Err(std::io::Error::other("mute")),
            Fault::Gone => {
                let mut gone = whole(409, &error("reply_gone", "gone"));
                let receipt = document::header(&receipt).parse().unwrap();
                gone.headers_mut().insert("loyal-receipt", receipt);
                return Ok(gone);
            }
            _ => {}
        }
        let torn = fault == Fault::Torn;
        let is_given = fault != Fault::NoReceipt && !self.state.lock().unwrap().withholds;
        let receipt = is_given.then_some(receipt);
        Ok(reply(path, &text, receipt.as_ref(), &settlement, asked.is_stream().then_some(torn)))
    }

    fn receipt(&self, id: B256) -> Response<Body> {
        let state = self.state.lock().unwrap();
        match state.answers.get(&id).filter(|_| !state.withholds) {
            Some((_, receipt, _)) => whole(200, &json!({ "receipt": receipt, "inclusion": null })),
            None => whole(404, &error("no_receipt", "there is none")),
        }
    }

    fn domains(&self) -> Domains {
        Domains {
            loyal: message::domain(self.client.chain_id(), self.at.registry),
            channel: channel::domain(self.client.chain_id(), self.at.channel),
        }
    }

    fn required(&self, builder: Address, error: Option<&str>) -> PaymentRequired {
        let hosting =
            self.client.call(self.at.gate, &Gate::hostingOfCall { hostingId: self.hosting }).unwrap();
        let call = RevenueRouter::tillOfCall { hostingId: self.hosting, builder };
        let price = self.state.lock().unwrap().price;
        let info = json!({
            "modelId": hosting.modelId.to_string(), "version": hosting.version,
            "hostingId": self.hosting.to_string(), "signer": self.signer.address(), "issuerUrl": null,
            "policyHash": B256::ZERO, "level": "gated", "registry": self.at.registry, "channel": self.at.channel,
            "authorizationCollector": self.at.authorization_collector,
            "price": { "perCall": price.to_string(), "perThousandIn": "0", "perThousandOut": "0" },
        });
        PaymentRequired {
            x402_version: 2,
            error: error.map(str::to_owned),
            resource: Resource { url: self.url.clone(), description: None, mime_type: None },
            accepts: vec![Requirements {
                scheme: BATCH.to_owned(),
                network: Requirements::network_of(self.client.chain_id()),
                amount: price,
                asset: hosting.asset,
                pay_to: self.client.call(self.at.router, &call).unwrap(),
                max_timeout_seconds: 120,
                extra: Extra {
                    receiver_authorizer: Some(self.signer.address()),
                    withdraw_delay: Some(86_400),
                    name: "Loyal".to_owned(),
                    version: "1".to_owned(),
                    ..Extra::default()
                },
            }],
            extensions: [("loyal".to_owned(), json!({ "info": info }))].into_iter().collect(),
        }
    }

    fn payment_required(&self, builder: Address, corrected: Option<Extra>, code: &str) -> Response<Body> {
        let mut required = self.required(builder, Some(code));
        if let Some(extra) = corrected {
            let own = &mut required.accepts[0].extra;
            (own.channel_state, own.voucher_state) = (extra.channel_state, extra.voucher_state);
        }
        let mut response = whole(402, &error(code, "pay first"));
        response.headers_mut().insert(PAYMENT_REQUIRED, document::header(&required).parse().unwrap());
        response
    }

    /// Judges, puts a deposit into its channel, and holds the voucher against what was charged.
    fn admit(
        &self,
        (payment, batch): (&PaymentPayload, &BatchPayment),
        (credential, invocation): (&SignedCredential, &SignedInvocation),
        (asked, salt): (&Asked, B256),
        builder: Address,
    ) -> Result<(), Box<Response<Body>>> {
        let showing = Showing {
            credential,
            invocation,
            request_hash: asked.hash(salt),
            builder,
            payment: Paying::Channel {
                config: &batch.channel_config,
                ceiling: batch.voucher.max_claimable_amount,
                signature: &batch.voucher.signature,
                deposit: batch.deposit.as_ref().map_or(0, |deposit| deposit.amount),
            },
        };
        let now = self.client.time().unwrap();
        let judged = admission::judge(&showing, (self, self), &self.domains(), now).unwrap();
        if let Some(refusal) = judged {
            let code =
                if refusal == Refusal::ChannelUnfunded { code::EXCEEDS_BALANCE } else { refusal.code() };
            return Err(Box::new(match refusal.status() {
                402 => self.payment_required(builder, None, code),
                status => whole(status, &error(refusal.code(), refusal.words().1)),
            }));
        }
        let price = self.state.lock().unwrap().price;
        if payment.accepted.amount != price {
            return Err(Box::new(self.payment_required(builder, None, "voucher_invalid")));
        }
        let channel = invocation.invocation.channelId;
        if let Some(deposit) = &batch.deposit {
            self.take_deposit(&batch.channel_config, deposit);
        }
        let mut state = self.state.lock().unwrap();
        let charged = *state.charged.entry(channel).or_default();
        if batch.voucher.max_claimable_amount != charged + price {
            let extra = Extra {
                channel_state: Some(ChannelState {
                    channel_id: channel,
                    balance: 0,
                    total_claimed: 0,
                    withdraw_requested_at: 0,
                    refund_nonce: 0,
                    charged_cumulative_amount: charged,
                }),
                voucher_state: state.vouchers.get(&channel).cloned(),
                ..Extra::default()
            };
            drop(state);
            return Err(Box::new(self.payment_required(builder, Some(extra), code::CUMULATIVE_MISMATCH)));
        }
        let voucher = VoucherState {
            signed_max_claimable: batch.voucher.max_claimable_amount,
            signature: batch.voucher.signature.clone(),
        };
        state.vouchers.insert(channel, voucher);
        state.payers.insert(channel, batch.channel_config.payer);
        state.nonces.insert(channel, invocation.invocation.nonce);
        Ok(())
    }

    fn take_deposit(&self, config: &ChannelConfig, deposit: &Deposit) {
        let authorization = &deposit.authorization.erc3009_authorization;
        let data = (
            U256::from(authorization.valid_after),
            U256::from(authorization.valid_before),
            authorization.salt,
            authorization.signature.clone(),
        );
        let call = InvocationChannel::depositCall {
            config: InvocationChannel::ChannelConfig {
                payer: config.payer,
                payerAuthorizer: config.payerAuthorizer,
                receiver: config.receiver,
                receiverAuthorizer: config.receiverAuthorizer,
                token: config.token,
                withdrawDelay: config.withdrawDelay,
                salt: config.salt,
            },
            amount: deposit.amount,
            collector: self.at.authorization_collector,
            collectorData: data.abi_encode_params().into(),
        };
        self.client.send(&self.signer, self.at.channel, &call).unwrap();
    }

    /// Answers, and charges half of the price.
    fn work(
        &self,
        batch: &BatchPayment,
        invocation: &SignedInvocation,
        (asked, salt): (&Asked, B256),
        fault: Fault,
    ) -> (String, HandedReceipt, Settlement) {
        let mut state = self.state.lock().unwrap();
        let channel = invocation.invocation.channelId;
        let text = format!("You said: {}", said(asked.body()));
        let seen = match asked.body().get("input") {
            Some(_) => reply_text(&json!({ "data": [{ "embedding": [1.5, 2.5] }] })).into_owned(),
            None => text.clone(),
        };
        let amount =
            if fault == Fault::Overcharge { batch.voucher.max_claimable_amount + 1 } else { state.price / 2 };
        let cumulative = state.charged[&channel] + amount;
        state.charged.insert(channel, cumulative);
        state.answered += 1;
        let other = if fault == Fault::OtherAnswer { "x" } else { "" };
        let receipt = message::Receipt {
            invocationId: message::digest(&invocation.invocation, &self.domains().loyal),
            hostingId: self.hosting,
            epoch: 0,
            seq: state.seq,
            requestHash: asked.hash(salt),
            responseHash: response_hash(salt, &format!("{seen}{other}")),
            traceRoot: B256::ZERO,
            tokensIn: 1,
            tokensOut: 2,
            amount,
            cumulative,
            issuedAt: self.client.time().unwrap(),
        };
        state.seq += 1;
        let id = receipt.invocationId;
        let other = Key::of(B256::with_last_byte(9)).unwrap();
        let signer = if fault == Fault::OtherSigner { &other } else { &self.signer };
        let receipt = SignedReceipt::sign(receipt, signer, &self.domains().loyal);
        let handed = HandedReceipt { level: "gated".to_owned(), receipt };
        let settlement = Settlement {
            success: true,
            error_reason: None,
            transaction: String::new(),
            network: Requirements::network_of(self.client.chain_id()),
            payer: Some(batch.channel_config.payer),
            amount: String::new(),
            extra: Some(SettlementExtra {
                charged_amount: Some(amount),
                channel_state: ChannelState {
                    channel_id: channel,
                    balance: 0,
                    total_claimed: 0,
                    withdraw_requested_at: 0,
                    refund_nonce: 0,
                    charged_cumulative_amount: cumulative,
                },
            }),
        };
        state.answers.insert(id, (text.clone(), handed.clone(), settlement.clone()));
        (text, handed, settlement)
    }
}

fn said(body: &Value) -> String {
    let messages = body["messages"].as_array();
    let last = messages.and_then(|messages| messages.last()).map(|last| last["content"].clone());
    last.unwrap_or_else(|| body["prompt"].clone()).as_str().unwrap_or_default().to_owned()
}

impl Chainside for Double {
    type Error = Failure;

    fn served(&self) -> Result<Served, Failure> {
        let found = self.client.call(self.at.gate, &Gate::hostingOfCall { hostingId: self.hosting })?;
        Ok(Served {
            hosting: self.hosting,
            model: found.modelId,
            version: found.version,
            asset: found.asset,
            is_serveable: true,
            is_active: found.state == 4,
        })
    }

    fn issuer(&self, _: U256, issuer: Address) -> Result<Term, Failure> {
        let owner = Key::try_from(&loyal_protocol::devnet::Accounts::derive(&[7; 32], 1).accounts[0])?;
        Ok(if issuer == owner.address() { Term { since: 1, until: 0 } } else { Term::default() })
    }

    fn revoked_at(&self, _: B256, _: &message::Credential) -> Result<u64, Failure> {
        Ok(0)
    }

    fn is_signed(&self, account: Address, digest: B256, bytes: &[u8]) -> Result<bool, Failure> {
        Ok(signature::signer_of(digest, bytes) == Some(account))
    }

    fn till(&self, builder: Address) -> Result<Address, Failure> {
        self.client.call(self.at.router, &RevenueRouter::tillOfCall { hostingId: self.hosting, builder })
    }

    fn balance(&self, channel: B256) -> Result<u128, Failure> {
        let call = InvocationChannel::channelsCall { channelId: channel };
        Ok(self.client.call(self.at.channel, &call)?.balance)
    }
}

impl Hostside for Double {
    fn is_nonce_used(&self, invocation: &message::Invocation) -> bool {
        let state = self.state.lock().unwrap();
        state.nonces.get(&invocation.channelId).is_some_and(|last| *last >= invocation.nonce)
    }

    fn is_exhausted(&self, _: B256, credential: &message::Credential, _: u128) -> bool {
        credential.callsMax != 0 && self.answered() >= credential.callsMax
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

fn error(code: &str, message: &str) -> Value {
    json!({ "error": { "message": message, "type": "invalid_request_error", "param": null, "code": code } })
}

fn whole(status: u16, value: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(value.to_string())).map_err(|never: Infallible| match never {}).boxed();
    Response::builder().status(status).header("content-type", "application/json").body(body).unwrap()
}

/// `stream` says whether it breaks off in its middle, where it is one.
fn reply(
    path: &str,
    text: &str,
    receipt: Option<&HandedReceipt>,
    settlement: &Settlement,
    stream: Option<bool>,
) -> Response<Body> {
    let Some(is_torn) = stream else {
        let value = match path {
            "/v1/embeddings" => json!({ "object": "list", "data": [{ "embedding": [1.5, 2.5] }] }),
            "/v1/completions" => json!({ "object": "text_completion", "choices": [{ "text": text }] }),
            _ => json!({
                "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "default",
                "choices": [{ "index": 0, "message": { "role": "assistant", "content": text }, "finish_reason": "stop" }],
                "usage": { "prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3 },
            }),
        };
        let mut response = whole(200, &value);
        response.headers_mut().insert(PAYMENT_RESPONSE, document::header(settlement).parse().unwrap());
        if let Some(receipt) = receipt {
            response.headers_mut().insert("loyal-receipt", document::header(receipt).parse().unwrap());
        }
        return response;
    };
    let chunk = |delta: Value, finish: Option<&str>| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
        let value = json!({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "default",
            "choices": [choice],
        });
        format!("data: {value}\n\n")
    };
    let mut events = vec![chunk(json!({ "role": "assistant", "content": "" }), None)];
    events.extend(text.split_inclusive(' ').map(|word| chunk(json!({ "content": word }), None)));
    events.push(chunk(json!({}), Some("stop")));
    if let Some(receipt) = receipt {
        let value = json!({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "default",
            "choices": [], "usage": { "prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3 },
            "loyal": { "payment_response": settlement, "receipt": receipt },
        });
        events.push(format!("data: {value}\n\n"));
    }
    events.push("data: [DONE]\n\n".to_owned());
    let mut frames: Vec<Result<Frame<Bytes>, std::io::Error>> =
        events.into_iter().map(|event| Ok(Frame::data(Bytes::from(event)))).collect();
    if is_torn {
        frames.truncate(3);
        frames.push(Err(std::io::Error::other("torn")));
    }
    let body = StreamBody::new(stream::iter(frames)).boxed();
    Response::builder().status(200).header("content-type", "text/event-stream").body(body).unwrap()
}

/// A credential of the market's owner for its user.
pub(crate) fn credential(double: &Double, holder: Address, owner: &Key) -> CredentialFile {
    let at = &double.at;
    let hosting = double.client.call(at.gate, &Gate::hostingOfCall { hostingId: double.hosting }).unwrap();
    let credential = message::Credential {
        modelId: hosting.modelId,
        version: 0,
        hostingId: U256::ZERO,
        holder,
        builder: Address::ZERO,
        asset: Address::ZERO,
        requestHash: B256::ZERO,
        policyHash: B256::ZERO,
        scopes: 1,
        callsMax: 0,
        spendMax: 0,
        notBefore: 0,
        expiresAt: u64::MAX,
        modelGeneration: 0,
        holderGeneration: 0,
        salt: B256::ZERO,
    };
    CredentialFile {
        format: "loyal-credential".to_owned(),
        version: 1,
        chain_id: double.client.chain_id(),
        chain_urls: Vec::new(),
        registry: at.registry,
        channel: at.channel,
        authorization_collector: at.authorization_collector,
        router: at.router,
        gate: at.gate,
        hosts: vec![double.url.clone()],
        signed: SignedCredential::sign(credential, owner, &double.domains().loyal),
    }
}
