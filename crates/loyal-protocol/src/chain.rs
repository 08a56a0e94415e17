//! A chain as a client sees it: calls that answer with types, transactions that are never sent twice.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy_eips::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, LogData, TxKind, U64, U256};
use alloy_sol_types::{SolCall, SolEvent};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{Failure, Key, Outcome, rpc::Rpc};

/// Gas is estimated on the state of now; what runs later may need a little more.
const GAS_MARGIN_PERCENT: u64 = 20;

/// Blocks whose events are asked for at once, where a contract and its topics are named.
const FIND_BLOCKS_MAX: u64 = 10_000;

/// How often, and how long apart at least, a receipt is looked for once the nonce is used, before another transaction is
/// believed to have used it.
const REPLACED_LOOKS: u32 = 20;
const REPLACED_PAUSE: Duration = Duration::from_millis(50);

/// How often, and how long apart, a receipt is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Questions at most.
    pub attempts_max: u32,
    /// Time between two questions.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { attempts_max: 120, pause: Duration::from_millis(500) }
    }
}

/// What a transaction did.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mined {
    /// The transaction.
    pub transaction_hash: B256,
    /// Its block.
    pub block_number: U64,
    /// Gas it used.
    pub gas_used: U64,
    /// What each of it cost, in wei.
    pub effective_gas_price: U256,
    /// One where it succeeded.
    pub status: U64,
    /// Its events.
    pub logs: Vec<Event>,
}

/// An event on the chain.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// The contract.
    pub address: Address,
    /// Its topics.
    pub topics: Vec<B256>,
    /// Its data.
    pub data: Bytes,
    /// The block it is in.
    pub block_number: U64,
    /// The hash of that block.
    pub block_hash: B256,
    /// Its place in the block.
    pub log_index: U64,
}

impl Event {
    /// The event as one of a type, where it is one.
    #[must_use]
    pub fn decode<E: SolEvent>(&self) -> Option<E> {
        E::decode_raw_log(&self.topics, &self.data).ok()
    }

    /// The event's name with its facts, where it is one of ours.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        crate::contracts::event_of(&LogData::new_unchecked(self.topics.clone(), self.data.clone()))
    }
}

impl Mined {
    /// The first event of a type.
    #[must_use]
    pub fn event<E: SolEvent>(&self) -> Option<E> {
        self.logs.iter().find_map(Event::decode)
    }

    /// Gas it used.
    #[must_use]
    pub fn gas(&self) -> u64 {
        self.gas_used.to()
    }
}

/// What a transaction would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Gas, with a margin.
    pub gas: u64,
    /// The most it costs, in wei.
    pub wei_max: U256,
}

/// A client of one chain. Threads share it: each transaction of an account gets a nonce of its own.
#[derive(Debug)]
pub struct Client {
    rpc: Arc<dyn Rpc>,
    chain_id: u64,
    patience: Patience,
    nonces: Mutex<HashMap<Address, u64>>,
    waiting: Mutex<HashMap<Address, Vec<Waiting>>>,
}

/// A transaction that was signed, and of which patience ended before it was in a block.
#[derive(Debug, Clone)]
struct Waiting {
    nonce: u64,
    raw: Bytes,
}

impl Client {
    /// Connects, and checks that it is the chain wanted, where one is.
    ///
    /// # Errors
    /// The endpoint's, and [`Failure::OtherChain`].
    pub fn connect(rpc: Arc<dyn Rpc>, wanted: Option<u64>, patience: Patience) -> Outcome<Self> {
        let found: U64 = ask(&*rpc, "eth_chainId", json!([]))?;
        let chain_id = found.to();
        match wanted {
            Some(wanted) if wanted != chain_id => Err(Failure::OtherChain { found: chain_id, wanted }),
            _ => Ok(Self { rpc, chain_id, patience, nonces: Mutex::default(), waiting: Mutex::default() }),
        }
    }

    /// The chain's id.
    #[must_use]
    pub const fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Asks anything of the endpoint.
    ///
    /// # Errors
    /// The endpoint's.
    pub fn ask<T: DeserializeOwned>(&self, method: &str, params: Value) -> Outcome<T> {
        ask(&*self.rpc, method, params)
    }

    /// The time of the newest block, which is the one contracts go by.
    ///
    /// # Errors
    /// The endpoint's.
    pub fn time(&self) -> Outcome<u64> {
        let block: Value = self.ask("eth_getBlockByNumber", json!(["latest", false]))?;
        let time: Option<U64> = serde_json::from_value(block["timestamp"].clone()).ok();
        time.map(|time| time.to()).ok_or_else(|| Failure::Nonsense {
            endpoint: self.rpc.name(),
            method: "eth_getBlockByNumber".to_owned(),
            why: "a block without a timestamp".to_owned(),
        })
    }

    /// The code at an address.
    ///
    /// # Errors
    /// The endpoint's.
    pub fn code(&self, address: Address) -> Outcome<Bytes> {
        self.ask("eth_getCode", json!([address, "latest"]))
    }

    /// Calls a function and answers what it returns; nothing on the chain changes.
    ///
    /// # Errors
    /// [`Failure::Reverted`] with the contract's reason, [`Failure::Nonsense`] where the answer has another shape.
    pub fn call<C: SolCall>(&self, to: Address, call: &C) -> Outcome<C::Return> {
        let question = json!([{ "to": to, "data": Bytes::from(call.abi_encode()) }, "latest"]);
        let answer: Bytes = self.ask("eth_call", question)?;
        C::abi_decode_returns(&answer).map_err(|error| Failure::Nonsense {
            endpoint: self.rpc.name(),
            method: C::SIGNATURE.to_owned(),
            why: format!("{error}; is there another contract at {to}?"),
        })
    }

    /// What a transaction would cost. A transaction that would revert fails here, with the contract's reason.
    ///
    /// # Errors
    /// [`Failure::Reverted`], [`Failure::Unfunded`].
    pub fn cost(&self, from: Address, to: TxKind, data: &Bytes) -> Outcome<Cost> {
        let mut question = json!({ "from": from, "data": data });
        if let TxKind::Call(to) = to {
            question["to"] = json!(to);
        }
        let gas: U64 = self.ask("eth_estimateGas", json!([question]))?;
        let gas = gas.to::<u64>().saturating_mul(100 + GAS_MARGIN_PERCENT) / 100;
        let price = self.fee_max()?;
        let wei_max = U256::from(gas) * U256::from(price);
        let balance: U256 = self.ask("eth_getBalance", json!([from, "latest"]))?;
        if balance < wei_max {
            let (balance, needed) = (balance.to_string(), wei_max.to_string());
            return Err(Failure::Unfunded { account: from, balance, needed });
        }
        Ok(Cost { gas, wei_max })
    }

    /// Calls a function in a transaction, and waits until it is in a block.
    ///
    /// # Errors
    /// As [`Client::send_data`].
    pub fn send<C: SolCall>(&self, key: &Key, to: Address, call: &C) -> Outcome<Mined> {
        self.send_data(key, TxKind::Call(to), call.abi_encode().into())
    }

    /// Sends a transaction and waits until it is in a block. It is signed once, and only these bytes are ever sent:
    /// sending them again cannot do its work twice.
    ///
    /// # Errors
    /// [`Failure::Reverted`] before it is sent or in its block, [`Failure::Unfunded`], [`Failure::Replaced`],
    /// [`Failure::Pending`] where patience ended first.
    pub fn send_data(&self, key: &Key, to: TxKind, data: Bytes) -> Outcome<Mined> {
        let from = key.address();
        self.bring_again(from)?;
        let cost = self.cost(from, to, &data)?;
        let fee = self.fee_max()?;
        let tip = self.priority_fee()?.min(fee);
        // Nothing is asked between taking a nonce and using it: one that is taken and not used holds up all that follow.
        let nonce = self.take_nonce(from)?;
        let transaction = TxEip1559 {
            chain_id: self.chain_id,
            nonce,
            gas_limit: cost.gas,
            max_fee_per_gas: fee,
            max_priority_fee_per_gas: tip,
            to,
            input: data,
            ..Default::default()
        };
        let signature = key.sign(transaction.signature_hash());
        let signed = TxEnvelope::from(transaction.into_signed(signature));
        let (hash, raw) = (*signed.tx_hash(), Bytes::from(signed.encoded_2718()));
        let sent = self.bring(hash, from, nonce, &raw);
        match &sent {
            Ok(_) => {}
            // It keeps its nonce. Where it never arrived, all that follow would wait for it: its bytes go out again first.
            Err(Failure::Pending { .. }) => {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                waiting.entry(from).or_default().push(Waiting { nonce, raw });
            }
            // It will not run: the chain says which nonce is next.
            Err(_) => self.forget_nonce(from),
        }
        sent
    }

    /// Sends what waits once more, byte for byte: a chain that was away may never have heard of it.
    fn bring_again(&self, account: Address) -> Outcome<()> {
        let known = |waiting: &HashMap<Address, Vec<Waiting>>| waiting.get(&account).cloned();
        let Some(all) = known(&self.waiting.lock().unwrap_or_else(PoisonError::into_inner)) else {
            return Ok(());
        };
        let next: U64 = self.ask("eth_getTransactionCount", json!([account, "latest"]))?;
        for one in all.iter().filter(|one| one.nonce >= next.to::<u64>()) {
            // One that is there already is refused, and that is as good.
            let _ = self.rpc.request("eth_sendRawTransaction", json!([one.raw]));
        }
        let next: U64 = self.ask("eth_getTransactionCount", json!([account, "latest"]))?;
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = waiting.get_mut(&account) {
            left.retain(|one| one.nonce >= next.to::<u64>());
        }
        waiting.retain(|_, left| !left.is_empty());
        Ok(())
    }

    /// Waits until no transaction of an account is under way.
    ///
    /// # Errors
    /// The endpoint's, and [`Failure::Waiting`] where patience ended first.
    pub fn settle(&self, account: Address) -> Outcome<()> {
        self.bring_again(account)?;
        for attempt in 0..self.patience.attempts_max {
            if attempt > 0 {
                std::thread::sleep(self.patience.pause);
            }
            let count = |tag: &str| self.ask::<U64>("eth_getTransactionCount", json!([account, tag]));
            if count("pending")? == count("latest")? {
                return Ok(());
            }
        }
        Err(Failure::Waiting { account })
    }

    /// The events of a contract in a range of blocks.
    ///
    /// # Errors
    /// The endpoint's.
    pub fn events(&self, addresses: &[Address], from_block: u64, to_block: u64) -> Outcome<Vec<Event>> {
        let range = json!({
            "address": addresses, "fromBlock": U64::from(from_block), "toBlock": U64::from(to_block),
        });
        self.ask("eth_getLogs", json!([range]))
    }

    /// All events of a contract with these topics; `None` stands for any. Asked for in ranges that public endpoints serve.
    ///
    /// # Errors
    /// The endpoint's.
    pub fn find(&self, address: Address, topics: &[Option<B256>]) -> Outcome<Vec<Event>> {
        let head: U64 = self.ask("eth_blockNumber", json!([]))?;
        let (head, mut from, mut found) = (head.to::<u64>(), 0, Vec::new());
        while from <= head {
            let until = head.min(from.saturating_add(FIND_BLOCKS_MAX - 1));
            let range = json!({
                "address": address, "topics": topics, "fromBlock": U64::from(from), "toBlock": U64::from(until),
            });
            found.append(&mut self.ask::<Vec<Event>>("eth_getLogs", json!([range]))?);
            from = until + 1;
        }
        Ok(found)
    }

    fn bring(&self, hash: B256, from: Address, nonce: u64, raw: &Bytes) -> Outcome<Mined> {
        let mut last = None;
        for attempt in 0..self.patience.attempts_max {
            if attempt > 0 {
                std::thread::sleep(self.patience.pause);
            }
            if let Err(failure) = self.rpc.request("eth_sendRawTransaction", json!([raw])) {
                last = Some(failure);
            }
            let receipt: Outcome<Option<Mined>> = self.ask("eth_getTransactionReceipt", json!([hash]));
            match receipt {
                Ok(Some(mined)) => return self.succeeded(mined),
                Ok(None) => self.check_place(hash, from, nonce, last.as_ref())?,
                Err(failure) => last = Some(failure),
            }
        }
        Err(match last {
            Some(failure @ Failure::Refused { .. }) if !is_known(&failure) => failure,
            _ => Failure::Pending { hash },
        })
    }

    /// Fails where another transaction took the nonce, or where the endpoint says that it will never run.
    fn check_place(&self, hash: B256, account: Address, nonce: u64, last: Option<&Failure>) -> Outcome<()> {
        let next: U64 = self.ask("eth_getTransactionCount", json!([account, "latest"]))?;
        if next.to::<u64>() > nonce {
            // Nodes know the new nonce some time before they show the receipt, and behind one address there may be several.
            for _ in 0..REPLACED_LOOKS {
                let mined: Option<Mined> = self.ask("eth_getTransactionReceipt", json!([hash]))?;
                if mined.is_some() {
                    return Ok(());
                }
                std::thread::sleep(self.patience.pause.max(REPLACED_PAUSE));
            }
            return Err(Failure::Replaced { hash, account, nonce });
        }
        match last {
            Some(failure @ Failure::Refused { .. }) if !is_known(failure) => Err(failure.clone()),
            _ => Ok(()),
        }
    }

    /// A transaction that reverted in its block is asked again for its reason.
    fn succeeded(&self, mined: Mined) -> Outcome<Mined> {
        if mined.status == U64::from(1) {
            return Ok(mined);
        }
        let transaction: Value = self.ask("eth_getTransactionByHash", json!([mined.transaction_hash]))?;
        let question = json!({
            "from": transaction["from"], "to": transaction["to"], "data": transaction["input"],
        });
        let again: Outcome<Bytes> = self.ask("eth_call", json!([question, mined.block_number]));
        Err(again.err().unwrap_or_else(|| Failure::Reverted {
            reason: format!("transaction {} failed in its block, and would not now", mined.transaction_hash),
            data: Bytes::new(),
        }))
    }

    fn take_nonce(&self, account: Address) -> Outcome<u64> {
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        let nonce = if let Some(next) = nonces.get(&account) {
            *next
        } else {
            self.ask::<U64>("eth_getTransactionCount", json!([account, "pending"]))?.to()
        };
        nonces.insert(account, nonce + 1);
        Ok(nonce)
    }

    fn forget_nonce(&self, account: Address) {
        self.nonces.lock().unwrap_or_else(PoisonError::into_inner).remove(&account);
    }

    fn fee_max(&self) -> Outcome<u128> {
        // Base fees rise by an eighth a block at most: twice the price lasts for six full blocks.
        Ok(self.ask::<U256>("eth_gasPrice", json!([]))?.saturating_to::<u128>().saturating_mul(2))
    }

    fn priority_fee(&self) -> Outcome<u128> {
        Ok(self.ask::<U256>("eth_maxPriorityFeePerGas", json!([]))?.saturating_to())
    }
}

/// Whether an endpoint says that it has these bytes already (geth: "already known"; reth, anvil: "transaction already imported"), which is as good as having taken them now.
fn is_known(failure: &Failure) -> bool {
    matches!(failure, Failure::Refused { message, .. } if message.contains("known") || message.contains("already imported"))
}

fn ask<T: DeserializeOwned>(rpc: &dyn Rpc, method: &str, params: Value) -> Outcome<T> {
    let answer = rpc.request(method, params)?;
    serde_json::from_value(answer).map_err(|error| Failure::Nonsense {
        endpoint: rpc.name(),
        method: method.to_owned(),
        why: error.to_string(),
    })
}
