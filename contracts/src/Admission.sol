// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {CredentialState, ICredentialRegistry} from "./interfaces/ICredentialRegistry.sol";
import {Hosting, HostingState, IGate} from "./interfaces/IGate.sol";
import {ChannelConfig, IInvocationChannel} from "./interfaces/IInvocationChannel.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {IRevenueRouter} from "./interfaces/IRevenueRouter.sol";
import {Credential, Invocation, Messages} from "./libraries/Messages.sol";

/// @notice Why an invocation is refused, in the order in which it is looked at. A host alone can judge the codes marked *.
enum Refusal {
    Admitted,
    TooLarge, // *
    Malformed, // *
    CredentialSignature,
    CredentialModel,
    CredentialHosting,
    CredentialHolder,
    CredentialTime,
    CredentialRevoked,
    RequestMismatch,
    VersionInactive,
    HostingInactive,
    InvocationSignature,
    NonceUsed, // *
    Deadline,
    SpendExhausted, // *
    PolicyRefused, // *
    VoucherInvalid,
    ChannelUnfunded,
    Exposure // *
}

/// @notice All that a caller shows with a request.
struct Showing {
    Credential credential;
    address issuer;
    bytes credentialSignature;
    Invocation invocation;
    bytes invocationSignature;
    bytes32 requestHash;
    address builder;
    ChannelConfig channel;
    uint128 maxClaimableAmount;
    bytes voucherSignature;
}

/// @title Whether an invocation is to be answered, as far as a contract can know
/// @notice The host asks the same questions in the same order, and some more; it must come to the same code.
contract Admission {
    using Messages for Credential;
    using Messages for Invocation;

    /// @notice The scope of a credential that permits to invoke.
    uint32 public constant SCOPE_INVOKE = 1;

    /// @notice Models and the domain of messages.
    IRegistry public immutable registry;
    /// @notice Hostings.
    IGate public immutable gate;
    /// @notice Issuers and revocations.
    ICredentialRegistry public immutable credentials;
    /// @notice Escrow of invocations.
    IInvocationChannel public immutable channel;
    /// @notice Where revenue goes.
    IRevenueRouter public immutable router;

    constructor(
        IRegistry registry_,
        IGate gate_,
        ICredentialRegistry credentials_,
        IInvocationChannel channel_,
        IRevenueRouter router_
    ) {
        registry = registry_;
        gate = gate_;
        credentials = credentials_;
        channel = channel_;
        router = router_;
    }

    /// @notice The first reason to refuse, or `Admitted`.
    function admit(Showing calldata showing) external view returns (Refusal) {
        Hosting memory hosting = gate.hostingOf(showing.invocation.hostingId);
        Refusal refusal = _judgeCredential(showing, hosting);
        if (refusal == Refusal.Admitted) refusal = _judgeInvocation(showing, hosting);
        if (refusal == Refusal.Admitted) refusal = _judgePayment(showing, hosting);
        return refusal;
    }

    function _judgeCredential(Showing calldata showing, Hosting memory hosting) private view returns (Refusal) {
        Credential calldata credential = showing.credential;
        CredentialState state =
            credentials.check(credential, showing.issuer, showing.credentialSignature, block.timestamp);
        if (state == CredentialState.BadSignature) return Refusal.CredentialSignature;
        bool model = credential.modelId == hosting.modelId && credential.scopes & SCOPE_INVOKE != 0
            && _fits(credential.version, showing.invocation.version);
        if (!model) return Refusal.CredentialModel;
        bool place = _fits(credential.hostingId, showing.invocation.hostingId)
            && _fits(uint160(credential.builder), uint160(showing.builder))
            && _fits(uint160(credential.asset), uint160(hosting.asset));
        if (!place) return Refusal.CredentialHosting;
        bool same =
            credential.holder != address(0) && showing.invocation.credentialId == registry.digest(credential.hash());
        if (!same) return Refusal.CredentialHolder;
        if (state == CredentialState.OutOfDate) return Refusal.CredentialTime;
        if (state == CredentialState.Revoked) return Refusal.CredentialRevoked;
        return Refusal.Admitted;
    }

    function _judgeInvocation(Showing calldata showing, Hosting memory hosting) private view returns (Refusal) {
        Invocation calldata invocation = showing.invocation;
        bool request = invocation.requestHash == showing.requestHash
            && _fits(uint256(showing.credential.requestHash), uint256(showing.requestHash));
        if (!request) return Refusal.RequestMismatch;
        bool version = invocation.version == hosting.version && registry.isServeable(hosting.modelId, hosting.version);
        if (!version) return Refusal.VersionInactive;
        if (hosting.state != HostingState.Active) return Refusal.HostingInactive;
        bool signed = SignatureChecker.isValidSignatureNowCalldata(
            showing.credential.holder, registry.digest(invocation.hash()), showing.invocationSignature
        );
        if (!signed) return Refusal.InvocationSignature;
        if (block.timestamp > invocation.deadline) return Refusal.Deadline;
        return Refusal.Admitted;
    }

    function _judgePayment(Showing calldata showing, Hosting memory hosting) private view returns (Refusal) {
        ChannelConfig calldata config = showing.channel;
        bytes32 channelId = channel.getChannelId(config);
        bool right = channelId == showing.invocation.channelId && config.token == hosting.asset
            && config.receiver == router.tillOf(showing.invocation.hostingId, showing.builder);
        if (!right || !_isVoucherSigned(showing, channelId)) return Refusal.VoucherInvalid;
        (uint128 balance,) = channel.channels(channelId);
        if (showing.maxClaimableAmount > balance) return Refusal.ChannelUnfunded;
        return Refusal.Admitted;
    }

    function _isVoucherSigned(Showing calldata showing, bytes32 channelId) private view returns (bool) {
        bytes32 digest = channel.getVoucherDigest(channelId, showing.maxClaimableAmount);
        address authorizer = showing.channel.payerAuthorizer;
        if (authorizer == address(0)) {
            return SignatureChecker.isValidSignatureNowCalldata(showing.channel.payer, digest, showing.voucherSignature);
        }
        (address signer, ECDSA.RecoverError failure,) = ECDSA.tryRecoverCalldata(digest, showing.voucherSignature);
        return failure == ECDSA.RecoverError.NoError && signer == authorizer;
    }

    /// @dev Zero stands for "any".
    function _fits(uint256 wanted, uint256 found) private pure returns (bool) {
        return wanted == 0 || wanted == found;
    }
}
