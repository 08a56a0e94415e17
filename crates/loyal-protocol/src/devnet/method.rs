//! The JSON-RPC methods, by name.

use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{Address, B256, Bytes, U64, U256, keccak256};
use alloy_rpc_types_eth::{Filter, TransactionRequest, state::StateOverride};
use serde::Serialize;
use serde_json::{Value, json};

use super::{args::Args, chain::Chain, fault::Fault, filter::Watched, reply};
use crate::{Error, Result};

/// What answers a method.
pub(crate) type Answer = fn(&Chain, &Args) -> Result<Value>;

/// One method.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Method {
    pub(crate) name: &'static str,
    pub(crate) answer: Answer,
}

const fn method(name: &'static str, answer: Answer) -> Method {
    Method { name, answer }
}

/// Methods of every chain.
pub(crate) const METHODS: &[Method] = &[
    method("web3_clientVersion", |_, _| Ok(json!(concat!("loyal/", env!("CARGO_PKG_VERSION"))))),
    method("web3_sha3", |_, args| Ok(json!(keccak256(args.required::<Bytes>(0, "data")?)))),
    method("net_version", |chain, _| Ok(json!(chain.genesis().chain_id.to_string()))),
    method("net_listening", |_, _| Ok(json!(true))),
    method("eth_chainId", |chain, _| Ok(quantity(chain.genesis().chain_id))),
    method("eth_syncing", |_, _| Ok(json!(false))),
    method("eth_accounts", |_, _| Ok(json!([]))),
    method("eth_blockNumber", |chain, _| Ok(quantity(chain.head().tip.block))),
    method("eth_getBlockByNumber", |chain, args| {
        block(chain, BlockId::Number(args.required(0, "block")?), args)
    }),
    method("eth_getBlockByHash", |chain, args| block(chain, args.required::<B256>(0, "hash")?.into(), args)),
    method("eth_getBlockReceipts", block_receipts),
    method("eth_getTransactionByHash", transaction),
    method("eth_getTransactionReceipt", receipt),
    method("eth_getTransactionCount", transaction_count),
    method("eth_getBalance", |chain, args| {
        let address = args.required(0, "address")?;
        to_value(chain.at(id(args, 1)?)?.state()?.account(address)?.unwrap_or_default().balance)
    }),
    method("eth_getCode", |chain, args| {
        let address = args.required(0, "address")?;
        to_value(chain.at(id(args, 1)?)?.state()?.code(address)?)
    }),
    method("eth_getStorageAt", |chain, args| {
        let (address, slot) = (args.required(0, "address")?, args.required::<U256>(1, "slot")?);
        to_value(B256::from(chain.at(id(args, 2)?)?.state()?.slot(address, slot)?))
    }),
    method("eth_getProof", |_, _| {
        Err(Error::Unsupported {
            what: "unsupported: this chain's stateRoot is a hash chain, not a trie".into(),
        })
    }),
    method("eth_call", |chain, args| {
        args.at_most(3)?;
        to_value(chain.call(request(args)?, id(args, 1)?, overrides(args)?)?)
    }),
    method("eth_estimateGas", |chain, args| {
        args.at_most(3)?;
        let id = args.optional(1, "block")?.unwrap_or(BlockId::Number(BlockNumberOrTag::Pending));
        Ok(quantity(chain.estimate_gas(request(args)?, id, overrides(args)?)?))
    }),
    method("eth_createAccessList", access_list),
    method("eth_gasPrice", |chain, _| to_value(U256::from(chain.gas_price()))),
    method("eth_maxPriorityFeePerGas", |chain, _| Ok(quantity(chain.genesis().fee.priority_fee))),
    method("eth_feeHistory", fee_history),
    method("eth_sendRawTransaction", |chain, args| to_value(chain.send(args.required(0, "transaction")?)?)),
    method("eth_getLogs", |chain, args| to_value(chain.logs(&args.required::<Filter>(0, "filter")?)?)),
    method("eth_newFilter", |chain, args| {
        to_value(chain.new_filter(Watched::Logs(Box::new(args.required(0, "filter")?)))?)
    }),
    method("eth_newBlockFilter", |chain, _| to_value(chain.new_filter(Watched::Blocks)?)),
    method("eth_getFilterChanges", |chain, args| chain.filter_changes(args.required(0, "filter id")?)),
    method("eth_getFilterLogs", |chain, args| to_value(chain.filter_logs(args.required(0, "filter id")?)?)),
    method("eth_uninstallFilter", |chain, args| {
        Ok(json!(chain.uninstall_filter(args.required(0, "filter id")?)))
    }),
    method("loyal_status", |chain, _| to_value(chain.status())),
];

/// Methods that a development chain alone answers.
pub(crate) const DEVELOPMENT_METHODS: &[Method] = &[
    method("evm_increaseTime", |chain, args| Ok(json!(chain.increase_time(number(args, 0, "seconds")?)?))),
    method("evm_setNextBlockTimestamp", |chain, args| {
        chain.set_next_timestamp(number(args, 0, "timestamp")?)?;
        Ok(Value::Null)
    }),
    method("evm_mine", mine),
    method("evm_setAutomine", |chain, args| {
        chain.set_sealing(args.required(0, "enabled")?)?;
        Ok(Value::Null)
    }),
    method("evm_snapshot", |chain, _| Ok(quantity(chain.snapshot()? as u64))),
    method("evm_revert", |chain, args| {
        let snapshot = number(args, 0, "snapshot")?;
        Ok(json!(chain.revert(usize::try_from(snapshot).unwrap_or(usize::MAX))?))
    }),
    method("anvil_setBalance", |chain, args| {
        chain.fund(args.required::<Address>(0, "address")?, args.required(1, "balance")?)?;
        Ok(Value::Null)
    }),
];

impl Chain {
    /// Answers a JSON-RPC request in this process, without a socket.
    ///
    /// # Errors
    /// The error object a client over a socket would get.
    pub fn request(&self, method: &str, params: Value) -> Result<Value, Fault> {
        let answer = self.answer(method);
        let answer = answer.ok_or_else(|| Fault {
            code: -32601,
            message: format!("the method {method} does not exist or is not available on this chain"),
            data: None,
        })?;
        Ok(Args::read(params).and_then(|args| answer(self, &args))?)
    }

    fn answer(&self, name: &str) -> Option<Answer> {
        self.methods().find(|method| method.name == name).map(|method| method.answer)
    }

    /// The methods this chain answers.
    pub(crate) fn methods(&self) -> impl Iterator<Item = &'static Method> {
        let development = if self.genesis().development { DEVELOPMENT_METHODS } else { &[] };
        METHODS.iter().chain(development)
    }
}

fn quantity(number: u64) -> Value {
    json!(U64::from(number))
}

fn to_value(value: impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| Error::Damaged { what: format!("an answer: {error}") })
}

/// A number given as a number, in hexadecimal or in decimal.
fn number(args: &Args, index: usize, name: &str) -> Result<u64> {
    let value: U256 = args.required(index, name)?;
    u64::try_from(value)
        .map_err(|_| Error::Request { what: format!("argument {index} ({name}) is too large") })
}

/// The block a state is asked of; the newest where none is named.
fn id(args: &Args, index: usize) -> Result<BlockId> {
    Ok(args.optional(index, "block")?.unwrap_or_default())
}

fn request(args: &Args) -> Result<TransactionRequest> {
    args.required(0, "transaction")
}

fn overrides(args: &Args) -> Result<Option<StateOverride>> {
    args.optional(2, "state overrides")
}

/// Null where there is no such block.
fn or_null(found: Result<Value>) -> Result<Value> {
    match found {
        Err(Error::Unknown { .. }) => Ok(Value::Null),
        other => other,
    }
}

fn block(chain: &Chain, id: BlockId, args: &Args) -> Result<Value> {
    let whole = args.optional(1, "whole transactions")?.unwrap_or(false);
    if id == BlockId::Number(BlockNumberOrTag::Pending) {
        let head = chain.head();
        let header = chain.pending_header(&head);
        let hash = header.hash_slow();
        let pending = super::record::Block { header, hash, step: 0, transaction_count: 0, bytes: 0 };
        return to_value(reply::block(&head.view, &pending, whole)?);
    }
    or_null(chain.at(id).and_then(|at| to_value(reply::block(&at.view, &at.block, whole)?)))
}

fn block_receipts(chain: &Chain, args: &Args) -> Result<Value> {
    let id = args.required(0, "block")?;
    or_null(chain.at(id).and_then(|at| {
        let included = reply::transactions(&at.view, &at.block)?;
        let each = (0..).zip(&included).map(|(index, included)| reply::receipt(&at.block, index, included));
        to_value(each.collect::<Result<Vec<_>>>()?)
    }))
}

fn transaction(chain: &Chain, args: &Args) -> Result<Value> {
    let hash = args.required(0, "hash")?;
    if let Some((block, place, included)) = reply::find(&chain.head().view, hash)? {
        return to_value(reply::transaction(&block, place.index.into(), &included)?);
    }
    let waiting = chain.pool().get(hash).cloned();
    to_value(waiting.map(|signed| reply::waiting(&signed)))
}

fn receipt(chain: &Chain, args: &Args) -> Result<Value> {
    let found = reply::find(&chain.head().view, args.required(0, "hash")?)?;
    let Some((block, place, included)) = found else { return Ok(Value::Null) };
    to_value(reply::receipt(&block, place.index.into(), &included)?)
}

fn transaction_count(chain: &Chain, args: &Args) -> Result<Value> {
    let (address, id) = (args.required(0, "address")?, id(args, 1)?);
    let nonce = chain.at(id)?.state()?.account(address)?.unwrap_or_default().nonce;
    let pending = id == BlockId::Number(BlockNumberOrTag::Pending);
    Ok(quantity(if pending { chain.pool().next_nonce(address, nonce) } else { nonce }))
}

fn access_list(chain: &Chain, args: &Args) -> Result<Value> {
    args.at_most(2)?;
    let (list, gas, error) = chain.access_list(request(args)?, id(args, 1)?)?;
    let mut answer = json!({ "accessList": list, "gasUsed": U64::from(gas) });
    if let Some(error) = error {
        answer["error"] = json!(error.to_string());
    }
    Ok(answer)
}

fn fee_history(chain: &Chain, args: &Args) -> Result<Value> {
    let count = number(args, 0, "block count")?;
    let newest = args.optional(1, "newest block")?.unwrap_or_default();
    let percentiles: Option<Vec<f64>> = args.optional(2, "reward percentiles")?;
    let at = chain.at(BlockId::Number(newest))?;
    to_value(chain.fee_history(count, &at, percentiles.as_deref())?)
}

/// `evm_mine`, with a timestamp or without.
fn mine(chain: &Chain, args: &Args) -> Result<Value> {
    if let Some(timestamp) = args.optional::<U256>(0, "timestamp")? {
        chain.set_next_timestamp(timestamp.saturating_to())?;
    }
    chain.mine()?;
    Ok(json!("0x0"))
}
