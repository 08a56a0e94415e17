// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

/// @notice A part of the shares: `bps` of the whole to `account`.
struct Grant {
    address account;
    uint16 bps;
}

/// @notice Who gets which part of a model's shares; signed by every named account.
struct Agreement {
    bytes32 subject;
    Grant[] grants;
    uint16 reserveBps;
    uint64 expiresAt;
}

/// @notice A host acknowledges the copy it received; signed by the hosting's signer.
struct Delivery {
    uint256 hostingId;
    uint32 version;
    bytes32 copyRoot;
    bytes32 subsetRoot;
    bytes32 build;
    uint64 deliveredAt;
}

/// @notice Permission to invoke a model; signed by one of the model's issuers. Zero means "any" for version, hosting,
/// builder and asset; a request hash makes it good for that one request.
struct Credential {
    uint256 modelId;
    uint32 version;
    uint256 hostingId;
    address holder;
    address builder;
    address asset;
    bytes32 requestHash;
    bytes32 policyHash;
    uint32 scopes;
    uint32 callsMax;
    uint128 spendMax;
    uint64 notBefore;
    uint64 expiresAt;
    uint32 modelGeneration;
    uint32 holderGeneration;
    bytes32 salt;
}

/// @notice One paid use of a model; signed by the credential's holder.
struct Invocation {
    bytes32 credentialId;
    uint256 hostingId;
    uint32 version;
    bytes32 channelId;
    uint64 nonce;
    bytes32 requestHash;
    uint128 amountMax;
    uint64 deadline;
}

/// @notice What an invocation leaves behind; signed by the hosting's signer.
struct Receipt {
    bytes32 invocationId;
    uint256 hostingId;
    uint32 epoch;
    uint32 seq;
    bytes32 requestHash;
    bytes32 responseHash;
    bytes32 traceRoot;
    uint32 tokensIn;
    uint32 tokensOut;
    uint128 amount;
    uint128 cumulative;
    uint64 issuedAt;
}

/// @notice All receipts of an epoch in one tree; signed by the hosting's signer.
struct UsageReport {
    uint256 hostingId;
    uint32 epoch;
    uint32 count;
    uint128 amount;
    uint128 tokens;
    bytes32 top;
}

/// @notice The right of a drawn prover to ask one fingerprint; signed by the owner's ticket signer.
struct ProbeTicket {
    uint256 modelId;
    uint32 version;
    uint256 hostingId;
    bytes32 endpointHash;
    uint32 epoch;
    uint16 slot;
    address prover;
    uint32 index;
    bytes32 queryHash;
    uint64 expiresAt;
}

/// @notice What a prover saw; signed by the prover.
struct ProbeResult {
    bytes32 ticketId;
    uint8 mode;
    bytes32 observedCommit;
    bytes32 transcriptHash;
    uint64 observedAt;
}

/// @notice A validator's vote on a claim; signed by the validator.
struct Ballot {
    bytes32 claimId;
    uint8 round;
    uint8 outcome;
    uint16 hits;
    uint16 trials;
    bytes32 reasonHash;
    bytes32 salt;
}

/// @notice What was decided about a claim; emitted by the court.
struct Verdict {
    bytes32 claimId;
    uint8 kind;
    uint8 outcome;
    uint16 hits;
    uint16 trials;
    uint128 slashed;
    bytes32 evidenceRoot;
    uint64 ruledAt;
}

/// @title The signed messages of the protocol: EIP-712 types and struct hashes
/// @notice The digest of a message is its struct hash under `Registry.domainSeparator()`, and is its id.
library Messages {
    bytes32 internal constant GRANT = keccak256("Grant(address account,uint16 bps)");
    bytes32 internal constant AGREEMENT = keccak256(
        "Agreement(bytes32 subject,Grant[] grants,uint16 reserveBps,uint64 expiresAt)Grant(address account,uint16 bps)"
    );
    bytes32 internal constant DELIVERY = keccak256(
        "Delivery(uint256 hostingId,uint32 version,bytes32 copyRoot,bytes32 subsetRoot,bytes32 build,uint64 deliveredAt)"
    );
    bytes32 internal constant CREDENTIAL = keccak256(
        "Credential(uint256 modelId,uint32 version,uint256 hostingId,address holder,address builder,address asset,bytes32 requestHash,bytes32 policyHash,uint32 scopes,uint32 callsMax,uint128 spendMax,uint64 notBefore,uint64 expiresAt,uint32 modelGeneration,uint32 holderGeneration,bytes32 salt)"
    );
    bytes32 internal constant INVOCATION = keccak256(
        "Invocation(bytes32 credentialId,uint256 hostingId,uint32 version,bytes32 channelId,uint64 nonce,bytes32 requestHash,uint128 amountMax,uint64 deadline)"
    );
    bytes32 internal constant RECEIPT = keccak256(
        "Receipt(bytes32 invocationId,uint256 hostingId,uint32 epoch,uint32 seq,bytes32 requestHash,bytes32 responseHash,bytes32 traceRoot,uint32 tokensIn,uint32 tokensOut,uint128 amount,uint128 cumulative,uint64 issuedAt)"
    );
    bytes32 internal constant USAGE_REPORT =
        keccak256("UsageReport(uint256 hostingId,uint32 epoch,uint32 count,uint128 amount,uint128 tokens,bytes32 top)");
    bytes32 internal constant PROBE_TICKET = keccak256(
        "ProbeTicket(uint256 modelId,uint32 version,uint256 hostingId,bytes32 endpointHash,uint32 epoch,uint16 slot,address prover,uint32 index,bytes32 queryHash,uint64 expiresAt)"
    );
    bytes32 internal constant PROBE_RESULT = keccak256(
        "ProbeResult(bytes32 ticketId,uint8 mode,bytes32 observedCommit,bytes32 transcriptHash,uint64 observedAt)"
    );
    bytes32 internal constant BALLOT = keccak256(
        "Ballot(bytes32 claimId,uint8 round,uint8 outcome,uint16 hits,uint16 trials,bytes32 reasonHash,bytes32 salt)"
    );
    bytes32 internal constant VERDICT = keccak256(
        "Verdict(bytes32 claimId,uint8 kind,uint8 outcome,uint16 hits,uint16 trials,uint128 slashed,bytes32 evidenceRoot,uint64 ruledAt)"
    );

    /// @notice The struct hash of an agreement.
    function hash(Agreement memory m) internal pure returns (bytes32) {
        bytes32[] memory grants = new bytes32[](m.grants.length);
        for (uint256 i = 0; i < grants.length; ++i) {
            grants[i] = keccak256(abi.encode(GRANT, m.grants[i]));
        }
        bytes32 list = keccak256(abi.encodePacked(grants));
        return keccak256(abi.encode(AGREEMENT, m.subject, list, m.reserveBps, m.expiresAt));
    }

    /// @notice The struct hash of a delivery.
    function hash(Delivery memory m) internal pure returns (bytes32) {
        return keccak256(abi.encode(DELIVERY, m));
    }

    /// @notice The struct hash of a credential.
    function hash(Credential memory m) internal pure returns (bytes32) {
        return keccak256(abi.encode(CREDENTIAL, m));
    }

    /// @notice The struct hash of an invocation.
    function hash(Invocation memory m) internal pure returns (bytes32) {
        return keccak256(abi.encode(INVOCATION, m));
    }

    /// @notice The struct hash of a receipt.
    function hash(Receipt memory m) internal pure returns (bytes32) {
        return keccak256(abi.encode(RECEIPT, m));
    }

    /// @notice The struct hash of a usage report.
    function hash(UsageReport memory m) internal pure returns (bytes32) {
        return keccak256(abi.encode(USAGE_REPORT, m));
    }

    /// @notice The struct hash of a probe ticket.
    function hash(ProbeTicket memory m) internal pure returns (bytes32) {
        return keccak256(abi.encode(PROBE_TICKET, m));
    }

    /// @notice The struct hash of a probe result.
    function hash(ProbeResult memory m) internal pure returns (bytes32) {
        return keccak256(abi.encode(PROBE_RESULT, m));
    }

    /// @notice The struct hash of a ballot.
    function hash(Ballot memory m) internal pure returns (bytes32) {
        return keccak256(abi.encode(BALLOT, m));
    }

    /// @notice The struct hash of a verdict.
    function hash(Verdict memory m) internal pure returns (bytes32) {
        return keccak256(abi.encode(VERDICT, m));
    }
}
