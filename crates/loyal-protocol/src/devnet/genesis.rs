//! The parameters a chain starts from: id, fee rules, accounts.

use std::collections::BTreeMap;

use alloy_consensus::{Header, constants::EMPTY_WITHDRAWALS};
use alloy_eips::{eip1559::BaseFeeParams, eip7685::EMPTY_REQUESTS_HASH};
use alloy_primitives::{Address, B256, Bytes, U256, address, hex, keccak256};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The id of development chains, known to every wallet and refused to a production chain.
pub const DEVELOPMENT_CHAIN_ID: u64 = 31337;
/// The usual place of the deterministic deployment contract, on this chain as on public ones.
pub const CREATE2_FACTORY: Address = address!("4e59b44847b379578588920cA78FbF26c0B4956C");

const CREATE2_FACTORY_CODE: [u8; 69] = hex!(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd5b8082525050506014600cf3"
);
const CODE_BYTES_MAX: usize = 24_576;

/// What a chain starts from. Two chains are the same when their genesis is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Genesis {
    /// The chain id, in every signature.
    pub chain_id: u64,
    /// Whether methods that bend time and balances are answered.
    pub development: bool,
    /// Timestamp of block 0, unix seconds.
    pub timestamp: u64,
    /// Gas limit of every block.
    pub gas_limit: u64,
    /// Fee rules.
    pub fee: FeeRules,
    /// Who receives priority fees.
    pub beneficiary: Address,
    /// What `stateRoot` means on this chain.
    pub state_root: StateRoot,
    /// Accounts of block 0.
    pub accounts: BTreeMap<Address, Allocation>,
}

/// How the base fee moves (EIP-1559).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FeeRules {
    /// Base fee of block 0, in wei per gas.
    pub base_fee: u64,
    /// Gas limit over gas target.
    pub elasticity: u32,
    /// Reciprocal of the largest change of the base fee between blocks.
    pub change_denominator: u32,
    /// The priority fee that `eth_maxPriorityFeePerGas` suggests, in wei per gas.
    pub priority_fee: u64,
}

/// The meaning of a header's `stateRoot`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateRoot {
    /// A hash chain: keccak of the previous root and the block's sorted changes. No trie, so no `eth_getProof`.
    DiffChain,
}

/// One account of block 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Allocation {
    /// In wei.
    pub balance: U256,
    /// The account's nonce.
    pub nonce: u64,
    /// Run-time code.
    pub code: Bytes,
    /// Storage slots.
    pub storage: BTreeMap<U256, U256>,
}

impl Genesis {
    /// A development chain: id 31337, the fee rules and gas limit of anvil, `balance` wei for each of `accounts`.
    #[must_use]
    pub fn development(accounts: &[Address], balance: U256, timestamp: u64) -> Self {
        let mut genesis = Self {
            chain_id: DEVELOPMENT_CHAIN_ID,
            development: true,
            timestamp,
            gas_limit: 30_000_000,
            fee: FeeRules {
                base_fee: 1_000_000_000,
                elasticity: 2,
                change_denominator: 8,
                priority_fee: 1_000_000_000,
            },
            beneficiary: Address::ZERO,
            state_root: StateRoot::DiffChain,
            accounts: BTreeMap::new(),
        };
        let factory =
            Allocation { code: Bytes::from_static(&CREATE2_FACTORY_CODE), nonce: 1, ..Default::default() };
        genesis.accounts.insert(CREATE2_FACTORY, factory);
        for account in accounts {
            genesis.accounts.insert(*account, Allocation { balance, ..Default::default() });
        }
        genesis
    }

    /// Reads a genesis from JSON and checks it.
    ///
    /// # Errors
    /// [`Error::Genesis`] naming the field and what would be right.
    pub fn parse(text: &str) -> Result<Self> {
        let genesis: Self =
            serde_json::from_str(text).map_err(|error| Error::Genesis { why: error.to_string() })?;
        genesis.check()?;
        Ok(genesis)
    }

    /// The genesis as JSON, the form that [`Genesis::parse`] reads.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a genesis has only string keys")
    }

    /// Whether a chain can start from this.
    ///
    /// # Errors
    /// [`Error::Genesis`] naming the field and what would be right.
    pub fn check(&self) -> Result<()> {
        let refuse = |why: String| Err(Error::Genesis { why });
        if self.chain_id == 0 || self.chain_id > u64::MAX / 2 - 36 {
            return refuse(format!("chainId {} is not between 1 and 2^63 - 37", self.chain_id));
        }
        if !self.development && self.chain_id == DEVELOPMENT_CHAIN_ID {
            return refuse(format!("chainId {DEVELOPMENT_CHAIN_ID} is for development; choose your own"));
        }
        if !(21_000..=10_000_000_000).contains(&self.gas_limit) {
            return refuse(format!("gasLimit {} is not between 21000 and 10^10", self.gas_limit));
        }
        if self.fee.elasticity == 0 || self.fee.change_denominator == 0 {
            return refuse("fee.elasticity and fee.changeDenominator must not be 0".into());
        }
        if u64::from(self.fee.elasticity) > self.gas_limit {
            return refuse("fee.elasticity is larger than gasLimit".into());
        }
        let mut supply = U256::ZERO;
        for (address, account) in &self.accounts {
            if account.code.len() > CODE_BYTES_MAX {
                return refuse(format!(
                    "{address}: code of {} bytes, at most {CODE_BYTES_MAX}",
                    account.code.len()
                ));
            }
            supply = match supply.checked_add(account.balance) {
                Some(supply) => supply,
                None => return refuse("the balances add up to more than 2^256".into()),
            };
        }
        Ok(())
    }

    /// The chain of state roots starts here: the rules, without the accounts.
    pub(crate) fn rules_root(&self) -> B256 {
        let rules = Self { accounts: BTreeMap::new(), ..self.clone() };
        keccak256(format!("loyal genesis 1 {}", rules.to_json()))
    }

    pub(crate) fn base_fee_params(&self) -> BaseFeeParams {
        BaseFeeParams::new(self.fee.change_denominator.into(), self.fee.elasticity.into())
    }

    pub(crate) fn header(&self, state_root: B256) -> Header {
        Header {
            state_root,
            timestamp: self.timestamp,
            gas_limit: self.gas_limit,
            beneficiary: self.beneficiary,
            base_fee_per_gas: Some(self.fee.base_fee),
            ..prague_header()
        }
    }
}

/// A header with every field a Prague block has, none of them set.
pub(crate) fn prague_header() -> Header {
    Header {
        withdrawals_root: Some(EMPTY_WITHDRAWALS),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        requests_hash: Some(EMPTY_REQUESTS_HASH),
        ..Default::default()
    }
}
