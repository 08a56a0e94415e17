//! The environment of execution: one function for calls, estimates and blocks.

use alloy_consensus::{Header, Transaction as _};
use alloy_eips::{Encodable2718 as _, Typed2718 as _};
use alloy_primitives::{Address, B256, Bytes, U256};
use revm::{
    Context, ExecuteEvm as _, MainBuilder as _, MainContext as _,
    context::{BlockEnv, CfgEnv, TxEnv, either::Either, result::EVMError},
    context_interface::block::BlobExcessGasAndPrice,
    primitives::hardfork::SpecId,
};

use super::{record::Transaction, state::State};
use crate::{Error, Result};

pub(crate) use revm::context::result::{ExecutionResult, ResultAndState};

/// The largest transaction taken, as geth's pool has it.
const RAW_BYTES_MAX: usize = 128 * 1024;
/// The price of blob gas where no blob was ever sent.
const BLOB_FEE_UPDATE_FRACTION: u64 = 5_007_716;

/// Where and how code runs.
#[derive(Debug, Clone)]
pub(crate) struct Env {
    pub(crate) block: BlockEnv,
    pub(crate) chain_id: u64,
    /// A call asks "what if": no nonce, no code check on the sender, no base fee where no price is named.
    pub(crate) call: bool,
}

impl Env {
    /// The environment inside the block that `header` describes.
    pub(crate) fn inside(header: &Header, chain_id: u64, call: bool) -> Self {
        let block = BlockEnv {
            number: U256::from(header.number),
            beneficiary: header.beneficiary,
            timestamp: U256::from(header.timestamp),
            gas_limit: header.gas_limit,
            basefee: header.base_fee_per_gas.unwrap_or_default(),
            difficulty: U256::ZERO,
            prevrandao: Some(header.mix_hash),
            blob_excess_gas_and_price: Some(BlobExcessGasAndPrice::new(0, BLOB_FEE_UPDATE_FRACTION)),
            ..Default::default()
        };
        Self { block, chain_id, call }
    }

    fn config(&self) -> CfgEnv {
        let mut config = CfgEnv::new_with_spec(SpecId::PRAGUE);
        config.chain_id = self.chain_id;
        config.disable_nonce_check = self.call;
        config.disable_eip3607 = self.call;
        config.disable_base_fee = self.call;
        config
    }
}

/// Runs one transaction on `state` without changing it.
///
/// # Errors
/// [`Error::Rejected`] where it cannot run at all, and the store's errors.
pub(crate) fn execute(state: &mut State, env: &Env, transaction: TxEnv) -> Result<ResultAndState> {
    let context = Context::mainnet().with_db(state).with_cfg(env.config()).with_block(env.block.clone());
    context.build_mainnet().transact(transaction).map_err(refusal)
}

/// The machine's refusal, in the words that clients look for.
fn refusal(error: EVMError<Error>) -> Error {
    use revm::context::result::InvalidTransaction as Invalid;
    let invalid = match error {
        EVMError::Database(error) => return error,
        EVMError::Transaction(invalid) => invalid,
        other => return Error::Rejected { why: other.to_string() },
    };
    let why = match &invalid {
        Invalid::NonceTooLow { tx, state } => {
            format!("nonce too low: next nonce {state}, tx nonce {tx}")
        }
        Invalid::NonceTooHigh { tx, state } => {
            format!("nonce too high: next nonce {state}, tx nonce {tx}")
        }
        Invalid::LackOfFundForMaxFee { fee, balance } => {
            format!("insufficient funds for gas * price + value: have {balance} want {fee}")
        }
        Invalid::GasPriceLessThanBasefee => "max fee per gas less than block base fee".into(),
        Invalid::PriorityFeeGreaterThanMaxFee => {
            "max priority fee per gas higher than max fee per gas".into()
        }
        Invalid::CallerGasLimitMoreThanBlock => "exceeds block gas limit".into(),
        Invalid::CallGasCostMoreThanGasLimit { initial_gas, gas_limit } => {
            format!("intrinsic gas too low: have {gas_limit}, want {initial_gas}")
        }
        Invalid::GasFloorMoreThanGasLimit { gas_floor, gas_limit } => {
            format!("intrinsic gas too low: have {gas_limit}, want {gas_floor} (calldata floor)")
        }
        Invalid::CreateInitCodeSizeLimit => "max initcode size exceeded".into(),
        Invalid::RejectCallerWithCode => "sender not an eoa".into(),
        Invalid::InvalidChainId => "invalid chain id for signer".into(),
        other => other.to_string(),
    };
    Error::Rejected { why }
}

/// A transaction that was read, and whose sender signed it.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    pub(crate) transaction: Transaction,
    pub(crate) raw: Bytes,
    pub(crate) hash: B256,
    pub(crate) from: Address,
}

impl Signed {
    /// Reads a raw transaction and recovers its sender.
    ///
    /// # Errors
    /// [`Error::Rejected`] naming what is wrong with it.
    pub(crate) fn read(raw: Bytes) -> Result<Self> {
        use alloy_eips::Decodable2718 as _;
        let refuse = |why: String| Error::Rejected { why };
        if raw.len() > RAW_BYTES_MAX {
            return Err(refuse(format!(
                "oversized data: transaction size {}, limit {RAW_BYTES_MAX}",
                raw.len()
            )));
        }
        if raw.first() == Some(&3) {
            return Err(refuse("blob transactions (type 3) are not supported by this chain".into()));
        }
        let transaction = Transaction::decode_2718_exact(&raw)
            .map_err(|error| refuse(format!("transaction does not decode: {error}")))?;
        let from = recover(&transaction)?;
        let hash = *transaction.tx_hash();
        // The bytes are kept as this chain would write them, so that equal transactions are equal bytes.
        let raw =
            if transaction.encode_2718_len() == raw.len() { raw } else { transaction.encoded_2718().into() };
        Ok(Self { transaction, raw, hash, from })
    }

    pub(crate) fn transaction_chain_id(&self) -> Option<u64> {
        self.transaction.chain_id()
    }

    pub(crate) fn env(&self) -> TxEnv {
        let tx = &self.transaction;
        let authorizations = tx.authorization_list().unwrap_or_default();
        TxEnv {
            tx_type: tx.ty(),
            caller: self.from,
            gas_limit: tx.gas_limit(),
            gas_price: tx.max_fee_per_gas(),
            kind: tx.kind(),
            value: tx.value(),
            data: tx.input().clone(),
            nonce: tx.nonce(),
            chain_id: tx.chain_id(),
            access_list: tx.access_list().cloned().unwrap_or_default(),
            gas_priority_fee: tx.max_priority_fee_per_gas(),
            authorization_list: authorizations.iter().cloned().map(Either::Left).collect(),
            ..Default::default()
        }
    }
}

/// The account that signed; low s only (EIP-2).
fn recover(transaction: &Transaction) -> Result<Address> {
    let refuse = |why: &str| Error::Rejected { why: format!("invalid signature: {why}") };
    let signature = transaction.signature();
    if signature.normalize_s().is_some() {
        return Err(refuse("s is in the upper half of the curve's order"));
    }
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&signature.r().to_be_bytes::<32>());
    bytes[32..].copy_from_slice(&signature.s().to_be_bytes::<32>());
    let digest = match transaction {
        Transaction::Legacy(tx) => tx.signature_hash(),
        Transaction::Eip2930(tx) => tx.signature_hash(),
        Transaction::Eip1559(tx) => tx.signature_hash(),
        Transaction::Eip4844(tx) => tx.signature_hash(),
        Transaction::Eip7702(tx) => tx.signature_hash(),
    };
    let recovered = revm::precompile::crypto().secp256k1_ecrecover(&bytes, signature.v().into(), &digest.0);
    let word = recovered.map_err(|_| refuse("no account has it"))?;
    Ok(Address::from_slice(&word[12..]))
}
