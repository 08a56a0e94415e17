//! What can go wrong between this crate and a chain, one variant per thing a caller might do differently.

use alloy_primitives::{Address, B256, Bytes};

/// The result of calls and transactions.
pub type Outcome<T> = std::result::Result<T, Failure>;

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Nobody answered, or the answer broke off. The same request may be made again.
    #[error("{endpoint} does not answer: {why}")]
    Silent {
        /// The endpoint.
        endpoint: String,
        /// What was seen.
        why: String,
    },
    /// An endpoint answered with something that is no answer.
    #[error("{endpoint} answered {method} with something else: {why}")]
    Nonsense {
        /// The endpoint.
        endpoint: String,
        /// The method asked.
        method: String,
        /// What was seen.
        why: String,
    },
    /// Endpoints do not say the same; none is believed.
    #[error("the endpoints do not agree about {method}: {first} said one thing, {second} another")]
    Disagreement {
        /// The method asked.
        method: String,
        /// One endpoint.
        first: String,
        /// Another.
        second: String,
    },
    /// A contract refused.
    #[error("the contract refused: {reason}")]
    Reverted {
        /// The typed error with its facts, or the text of the revert.
        reason: String,
        /// The revert data.
        data: Bytes,
    },
    /// The endpoint refused: a fee too low, an account without means, a method it does not know.
    #[error("{endpoint} refused {method}: {message} (code {code})")]
    Refused {
        /// The endpoint.
        endpoint: String,
        /// The method asked.
        method: String,
        /// The code of JSON-RPC.
        code: i64,
        /// The endpoint's words.
        message: String,
    },
    /// The endpoint serves another chain.
    #[error("this is chain {found}, not chain {wanted}: give the URL of the other one")]
    OtherChain {
        /// The chain found.
        found: u64,
        /// The chain wanted.
        wanted: u64,
    },
    /// The account cannot pay for the transaction.
    #[error("{account} has {balance} wei and needs {needed}: send it some first")]
    Unfunded {
        /// The account.
        account: Address,
        /// What it has.
        balance: String,
        /// What it needs.
        needed: String,
    },
    /// Another transaction of the account took the place of this one.
    #[error(
        "transaction {hash} was replaced: another one of {account} has its nonce {nonce}; nothing was done by this one"
    )]
    Replaced {
        /// The transaction that will never run.
        hash: B256,
        /// The account.
        account: Address,
        /// Its nonce.
        nonce: u64,
    },
    /// The transaction is not in a block yet. It may still be: wait for it, do not send another.
    #[error(
        "transaction {hash} is not in a block yet; it may still get there: ask for it again before sending another"
    )]
    Pending {
        /// The transaction.
        hash: B256,
    },
    /// Earlier transactions of the account are not in a block yet.
    #[error("earlier transactions of {account} are still under way: wait for them, then try again")]
    Waiting {
        /// The account.
        account: Address,
    },
    /// The account has too little of an asset.
    #[error("{account} has {balance} and needs {needed}")]
    Short {
        /// The account.
        account: Address,
        /// What it has.
        balance: String,
        /// What it needs.
        needed: String,
    },
    /// Something that is no amount of its asset.
    #[error("{text}: {why}")]
    Amount {
        /// What was given.
        text: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// There is no code, or other code, where a contract should be.
    #[error("{name} is not at {address}: {why}")]
    NoContract {
        /// The contract.
        name: &'static str,
        /// Where it should be.
        address: Address,
        /// What is there.
        why: String,
    },
    /// A reader's cursor that cannot be read, written or followed.
    #[error("{path}: {why}")]
    Cursor {
        /// The file.
        path: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// A key file that does not open.
    #[error("{path}: {why}")]
    Key {
        /// The file.
        path: String,
        /// What is wrong and what would be right.
        why: String,
    },
}
