//! The signed messages of the protocol: EIP-712 types, their domain, their digests.
//!
//! The Solidity twin is `contracts/src/libraries/Messages.sol`; both read `contracts/test/vectors/messages.json`.

use alloy_primitives::{Address, B256};
use alloy_sol_types::{Eip712Domain, SolStruct, eip712_domain, sol};

sol! {
    /// A part of the shares: `bps` of the whole to `account`.
    #[derive(Debug, PartialEq, Eq)]
    struct Grant { address account; uint16 bps; }

    /// Who gets which part of a model's shares; signed by every named account.
    #[derive(Debug, PartialEq, Eq)]
    struct Agreement { bytes32 subject; Grant[] grants; uint16 reserveBps; uint64 expiresAt; }

    /// A host acknowledges the copy it received; signed by the hosting's signer.
    #[derive(Debug, PartialEq, Eq)]
    struct Delivery { uint256 hostingId; uint32 version; bytes32 copyRoot; bytes32 subsetRoot; bytes32 build; uint64 deliveredAt; }

    /// Permission to invoke a model; signed by one of the model's issuers.
    #[derive(Debug, PartialEq, Eq)]
    struct Credential {
        uint256 modelId; uint32 version; uint256 hostingId; address holder; address builder; address asset;
        bytes32 requestHash; bytes32 policyHash; uint32 scopes; uint32 callsMax; uint128 spendMax; uint64 notBefore;
        uint64 expiresAt; uint32 modelGeneration; uint32 holderGeneration; bytes32 salt;
    }

    /// One paid use of a model; signed by the credential's holder.
    #[derive(Debug, PartialEq, Eq)]
    struct Invocation {
        bytes32 credentialId; uint256 hostingId; uint32 version; bytes32 channelId; uint64 nonce; bytes32 requestHash;
        uint128 amountMax; uint64 deadline;
    }

    /// What an invocation leaves behind; signed by the hosting's signer.
    #[derive(Debug, PartialEq, Eq)]
    struct Receipt {
        bytes32 invocationId; uint256 hostingId; uint32 epoch; uint32 seq; bytes32 requestHash; bytes32 responseHash;
        bytes32 traceRoot; uint32 tokensIn; uint32 tokensOut; uint128 amount; uint128 cumulative; uint64 issuedAt;
    }

    /// All receipts of an epoch in one tree; signed by the hosting's signer.
    #[derive(Debug, PartialEq, Eq)]
    struct UsageReport { uint256 hostingId; uint32 epoch; uint32 count; uint128 amount; uint128 tokens; bytes32 top; }

    /// The right of a drawn prover to ask one fingerprint; signed by the owner's ticket signer.
    #[derive(Debug, PartialEq, Eq)]
    struct ProbeTicket {
        uint256 modelId; uint32 version; uint256 hostingId; bytes32 endpointHash; uint32 epoch; uint16 slot;
        address prover; uint32 index; bytes32 queryHash; uint64 expiresAt;
    }

    /// What a prover saw; signed by the prover.
    #[derive(Debug, PartialEq, Eq)]
    struct ProbeResult { bytes32 ticketId; uint8 mode; bytes32 observedCommit; bytes32 transcriptHash; uint64 observedAt; }

    /// A validator's vote on a claim; signed by the validator.
    #[derive(Debug, PartialEq, Eq)]
    struct Ballot { bytes32 claimId; uint8 round; uint8 outcome; uint16 hits; uint16 trials; bytes32 reasonHash; bytes32 salt; }

    /// What was decided about a claim; emitted by the court.
    #[derive(Debug, PartialEq, Eq)]
    struct Verdict {
        bytes32 claimId; uint8 kind; uint8 outcome; uint16 hits; uint16 trials; uint128 slashed; bytes32 evidenceRoot;
        uint64 ruledAt;
    }
}

/// The domain of a set of contracts: its chain and its Registry.
#[must_use]
pub fn domain(chain_id: u64, registry: Address) -> Eip712Domain {
    eip712_domain! { name: "Loyal", version: "1", chain_id: chain_id, verifying_contract: registry, }
}

/// The digest of a message, which is what is signed and is the message's id.
pub fn digest<M: SolStruct>(message: &M, domain: &Eip712Domain) -> B256 {
    message.eip712_signing_hash(domain)
}
