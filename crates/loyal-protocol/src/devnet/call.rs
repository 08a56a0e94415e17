//! Asking "what if": calls, gas estimates, access lists.

use alloy_consensus::Header;
use alloy_eips::{
    BlockId, BlockNumberOrTag,
    eip2930::{AccessList, AccessListItem},
};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy_rpc_types_eth::{TransactionRequest, state::StateOverride};
use alloy_sol_types::decode_revert_reason;
use revm::{
    context::{TxEnv, either::Either},
    state::EvmState,
};

use super::{
    chain::Chain,
    diff::Info,
    env::{Env, ExecutionResult, execute},
    state::State,
};
use crate::{Error, Result};

/// Gas after which a call is stopped, whatever it asks for.
const CALL_GAS_MAX: u64 = 50_000_000;
/// Gas a message to an account without code costs.
const TRANSFER_GAS: u64 = 21_000;

/// A request with the state and environment it runs in.
#[derive(Debug)]
struct Question {
    state: State,
    env: Env,
    transaction: TxEnv,
}

impl Chain {
    /// `eth_call`: what the call returns.
    pub(crate) fn call(
        &self,
        request: TransactionRequest,
        id: BlockId,
        overrides: Option<StateOverride>,
    ) -> Result<Bytes> {
        let mut question = self.question(request, id, overrides)?;
        let ran = execute(&mut question.state, &question.env, question.transaction)?;
        output(ran.result)
    }

    /// `eth_estimateGas`: the least gas limit the transaction succeeds with, within 1.5 percent.
    pub(crate) fn estimate_gas(
        &self,
        request: TransactionRequest,
        id: BlockId,
        overrides: Option<StateOverride>,
    ) -> Result<u64> {
        let asked = request.gas;
        let mut question = self.question(request, id, overrides)?;
        let most = question.affordable(asked)?;
        if question.is_transfer()? && most >= TRANSFER_GAS && question.try_with(TRANSFER_GAS)?.is_some() {
            return Ok(TRANSFER_GAS);
        }
        question.transaction.gas_limit = most;
        let ran = execute(&mut question.state, &question.env, question.transaction.clone())?.result;
        let gas = *ran.gas();
        output(ran)?;
        let (mut low, mut high) = (gas.tx_gas_used().saturating_sub(1), most);
        // Most transactions need what they spent and what must be held back for inner calls.
        let guess = (gas.total_gas_spent() + 2_300) * 64 / 63;
        if guess < high {
            match question.try_with(guess)? {
                Some(_) => high = guess,
                None => low = guess,
            }
        }
        while low + 1 < high && (high - low) * 1_000 > high * 15 {
            let middle = (low + (high - low) / 2).min(low.saturating_mul(2).max(low + 1));
            match question.try_with(middle)? {
                Some(_) => high = middle,
                None => low = middle,
            }
        }
        Ok(high)
    }

    /// `eth_createAccessList`: what the transaction touches, the gas with that list, and its error if it fails.
    pub(crate) fn access_list(
        &self,
        request: TransactionRequest,
        id: BlockId,
    ) -> Result<(AccessList, u64, Option<Error>)> {
        let mut question = self.question(request, id, None)?;
        let mut list = question.transaction.access_list.clone();
        loop {
            question.transaction.access_list = list.clone();
            if question.transaction.tx_type == 0 {
                question.transaction.tx_type = 1;
            }
            let ran = execute(&mut question.state, &question.env, question.transaction.clone())?;
            let grown = touched(&ran.state, &question, &list);
            if grown == list {
                let gas = ran.result.tx_gas_used();
                return Ok((list, gas, output(ran.result).err()));
            }
            list = grown;
        }
    }

    fn question(
        &self,
        request: TransactionRequest,
        id: BlockId,
        overrides: Option<StateOverride>,
    ) -> Result<Question> {
        let at = self.at(id)?;
        let header = match id {
            BlockId::Number(BlockNumberOrTag::Pending) => self.pending_header(&self.head()),
            _ => at.block.header.clone(),
        };
        let mut state = at.state()?;
        for (address, account) in overrides.unwrap_or_default() {
            override_account(&mut state, address, account)?;
        }
        let env = Env::inside(&header, self.genesis().chain_id, true);
        let transaction = transaction(request, &header, self.genesis().chain_id)?;
        Ok(Question { state, env, transaction })
    }
}

impl Question {
    /// Runs with a gas limit; none where that was too little or the call failed.
    fn try_with(&mut self, gas_limit: u64) -> Result<Option<ExecutionResult>> {
        let transaction = TxEnv { gas_limit, ..self.transaction.clone() };
        match execute(&mut self.state, &self.env, transaction) {
            Ok(ran) if ran.result.is_success() => Ok(Some(ran.result)),
            Ok(_) | Err(Error::Rejected { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn is_transfer(&mut self) -> Result<bool> {
        let TxKind::Call(to) = self.transaction.kind else { return Ok(false) };
        let plain = self.transaction.data.is_empty() && self.transaction.access_list.is_empty();
        let plain = plain && self.transaction.authorization_list.is_empty();
        Ok(plain && !is_precompile(to) && self.state.code(to)?.is_empty())
    }

    /// The most gas the sender can pay for, at most what was asked and what the block has.
    fn affordable(&mut self, asked: Option<u64>) -> Result<u64> {
        let most = asked.unwrap_or(self.env.block.gas_limit).min(self.env.block.gas_limit).min(CALL_GAS_MAX);
        if self.transaction.gas_price == 0 {
            return Ok(most);
        }
        let balance = self.state.account(self.transaction.caller)?.unwrap_or_default().balance;
        let left = balance.checked_sub(self.transaction.value);
        let left =
            left.ok_or_else(|| Error::Rejected { why: "insufficient funds for gas * price + value".into() })?;
        let gas = left / U256::from(self.transaction.gas_price);
        Ok(most.min(gas.saturating_to()))
    }
}

fn transaction(request: TransactionRequest, header: &Header, chain_id: u64) -> Result<TxEnv> {
    let wrong = |what: &str| Err(Error::Request { what: what.into() });
    if request.gas_price.is_some()
        && (request.max_fee_per_gas.is_some() || request.max_priority_fee_per_gas.is_some())
    {
        return wrong("both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified");
    }
    if request.sidecar.is_some() || request.blob_versioned_hashes.is_some() {
        return wrong("blob transactions are not supported by this chain");
    }
    if request.chain_id.is_some_and(|id| id != chain_id) {
        return wrong("chainId does not match this chain's");
    }
    if let (Some(input), Some(data)) = (&request.input.input, &request.input.data)
        && input != data
    {
        return wrong("both input and data are given, and differ");
    }
    let authorizations = request.authorization_list.unwrap_or_default();
    let tx_type = match (&request.access_list, request.max_fee_per_gas.or(request.max_priority_fee_per_gas)) {
        _ if !authorizations.is_empty() => 4,
        (_, Some(_)) => 2,
        (Some(_), None) => 1,
        (None, None) => 0,
    };
    let base_fee = u128::from(header.base_fee_per_gas.unwrap_or_default());
    let named = request.gas_price.or(request.max_fee_per_gas);
    let price = named.or(request.max_priority_fee_per_gas.map(|tip| tip.saturating_add(base_fee)));
    Ok(TxEnv {
        tx_type,
        caller: request.from.unwrap_or_default(),
        gas_limit: request.gas.unwrap_or(header.gas_limit).min(header.gas_limit).min(CALL_GAS_MAX),
        gas_price: price.unwrap_or_default(),
        gas_priority_fee: if tx_type >= 2 {
            Some(request.max_priority_fee_per_gas.unwrap_or(0))
        } else {
            None
        },
        kind: request.to.unwrap_or(TxKind::Create),
        value: request.value.unwrap_or_default(),
        data: request.input.into_input().unwrap_or_default(),
        nonce: request.nonce.unwrap_or_default(),
        chain_id: Some(chain_id),
        access_list: request.access_list.unwrap_or_default(),
        authorization_list: authorizations.into_iter().map(Either::Left).collect(),
        ..Default::default()
    })
}

fn override_account(
    state: &mut State,
    address: Address,
    account: alloy_rpc_types_eth::state::AccountOverride,
) -> Result<()> {
    let mut info = state.account(address)?.unwrap_or_default();
    info.balance = account.balance.unwrap_or(info.balance);
    info.nonce = account.nonce.unwrap_or(info.nonce);
    if let Some(code) = account.code {
        info.code_hash = if code.is_empty() { Info::default().code_hash } else { keccak256(&code) };
        state.add_code(info.code_hash, code);
    }
    state.set_account(address, Some(info));
    if account.state.is_some() || account.move_precompile_to.is_some() {
        let what = "overrides of a whole storage or of a precompile are not supported; use stateDiff";
        return Err(Error::Request { what: what.into() });
    }
    for (slot, value) in account.state_diff.unwrap_or_default() {
        state.set_slot(address, slot.into(), value.into());
    }
    Ok(())
}

/// A result as clients want it: the output, or an error with the revert data.
pub(crate) fn output(result: ExecutionResult) -> Result<Bytes> {
    match result {
        ExecutionResult::Success { output, .. } => Ok(output.into_data()),
        ExecutionResult::Revert { output, .. } => {
            let reason = (output.len() >= 4).then(|| decode_revert_reason(&output)).flatten();
            // The decoder also takes plain text for a reason; only the two standard errors are one.
            let standard = output.starts_with(&[0x08, 0xc3, 0x79, 0xa0])
                || output.starts_with(&[0x4e, 0x48, 0x7b, 0x71]);
            let reason = reason
                .filter(|_| standard)
                .map(|text| text.strip_prefix("revert: ").map(ToOwned::to_owned).unwrap_or(text));
            Err(Error::Reverted { reason, data: output })
        }
        ExecutionResult::Halt { reason, .. } => {
            let why = match reason {
                revm::context::result::HaltReason::OutOfGas(_) => "out of gas".to_owned(),
                other => format!("EVM halted: {other:?}"),
            };
            Err(Error::Halted { why })
        }
    }
}

fn is_precompile(address: Address) -> bool {
    let value = U256::from_be_slice(address.as_slice());
    !value.is_zero() && value <= U256::from(0x11)
}

/// The access list that covers `state`: not the sender, the target without slots, the beneficiary or precompiles.
fn touched(state: &EvmState, question: &Question, given: &AccessList) -> AccessList {
    let transaction = &question.transaction;
    let target = match transaction.kind {
        TxKind::Call(to) => to,
        TxKind::Create => transaction.caller.create(transaction.nonce),
    };
    let free = [transaction.caller, target, question.env.block.beneficiary];
    let mut items: Vec<AccessListItem> = Vec::new();
    for (address, account) in state {
        let storage_keys: std::collections::BTreeSet<_> =
            account.storage.keys().map(|slot| B256::from(*slot)).collect();
        let listed = given.iter().any(|item| item.address == *address);
        let unlisted = free.contains(address) || is_precompile(*address);
        if listed || !storage_keys.is_empty() || !unlisted {
            items
                .push(AccessListItem { address: *address, storage_keys: storage_keys.into_iter().collect() });
        }
    }
    items.sort_by_key(|item| item.address);
    AccessList(items)
}
