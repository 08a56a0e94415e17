// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Gate} from "../Gate.sol";
import {CredentialState, ICredentialRegistry} from "../interfaces/ICredentialRegistry.sol";
import {IExaminer, Accusation} from "../interfaces/IExaminer.sol";
import {HostingParties} from "../interfaces/IGate.sol";
import {Credential, Invocation, Messages, Receipt} from "../libraries/Messages.sol";
import {ReceiptExaminer} from "./ReceiptExaminer.sol";

/// @title E1_UNAUTHORISED: a host answered whom it should have refused
/// @notice A credential that is shown to have ended before the receipt convicts at once; else the host shows a good one.
contract AuthorisationExaminer is ReceiptExaminer {
    using Messages for Credential;
    using Messages for Invocation;

    /// @notice What an answer is held against.
    struct Use {
        bytes32 invocationId;
        uint256 hostingId;
        uint64 issuedAt;
    }

    /// @notice A revocation binds hosts this long after its block.
    uint64 public constant REVOCATION_SECONDS = 60;

    ICredentialRegistry public immutable credentials;

    mapping(bytes32 claimId => Use) private _uses;

    constructor(address court_, Gate gate_, ICredentialRegistry credentials_) ReceiptExaminer(court_, gate_) {
        credentials = credentials_;
    }

    /// @inheritdoc IExaminer
    /// @param evidence `abi.encode(Receipt, bytes signature, bytes shown)`; `shown` is empty, or `abi.encode(Invocation,
    /// Credential)` where the credential had ended.
    function open(bytes32 claimId, address, bytes calldata evidence) external onlyCourt returns (Accusation memory) {
        (Receipt memory receipt, bytes memory signature, bytes memory shown) =
            abi.decode(evidence, (Receipt, bytes, bytes));
        bytes32 digest = _verify(receipt, signature);
        _uses[claimId] = Use(receipt.invocationId, receipt.hostingId, receipt.issuedAt);
        bool proven = shown.length != 0;
        if (proven) {
            (Invocation memory invocation, Credential memory credential) = abi.decode(shown, (Invocation, Credential));
            bool named = _names(_uses[claimId], invocation, credential);
            require(named, Examiner_BadEvidence("invocation"));
            bool ended = !_inDate(credential, receipt.issuedAt) || _isRevoked(credential, receipt.issuedAt);
            require(ended, Examiner_BadEvidence("credential was good"));
        }
        return _accuse(receipt, keccak256(abi.encode("unauthorised", digest)), proven);
    }

    /// @inheritdoc IExaminer
    /// @param data `abi.encode(Invocation, Credential, address issuer, bytes signature)`.
    function answer(bytes32 claimId, bytes calldata data) external view override onlyCourt returns (bool) {
        (Invocation memory invocation, Credential memory credential, address issuer, bytes memory signature) =
            abi.decode(data, (Invocation, Credential, address, bytes));
        Use memory use = _uses[claimId];
        require(_names(use, invocation, credential), Examiner_BadAnswer("invocation"));
        require(_fits(use, credential), Examiner_BadAnswer("credential is for another use"));
        bool good = _inDate(credential, use.issuedAt) && !_isRevoked(credential, use.issuedAt);
        require(good, Examiner_BadAnswer("credential had ended"));
        bool signed = credentials.recordedAt(registry.digest(credential.hash())) != 0
            || credentials.check(credential, issuer, signature, use.issuedAt) != CredentialState.BadSignature;
        require(signed, Examiner_BadAnswer("issuer signature"));
        return true;
    }

    function _names(Use memory use, Invocation memory invocation, Credential memory credential)
        private
        view
        returns (bool)
    {
        return use.invocationId == registry.digest(invocation.hash())
            && invocation.credentialId == registry.digest(credential.hash());
    }

    function _fits(Use memory use, Credential memory credential) private view returns (bool) {
        HostingParties memory parties = gate.partiesOf(use.hostingId);
        return credential.modelId == parties.modelId
            && (credential.version == 0 || credential.version == parties.version)
            && (credential.hostingId == 0 || credential.hostingId == use.hostingId);
    }

    function _inDate(Credential memory credential, uint64 time) private pure returns (bool) {
        return time >= credential.notBefore && time < credential.expiresAt;
    }

    function _isRevoked(Credential memory credential, uint64 time) private view returns (bool) {
        uint64 revoked = credentials.revocationOf(credential);
        return revoked != 0 && time > revoked + REVOCATION_SECONDS;
    }

    function _bps() internal pure override returns (uint16) {
        return 500;
    }
}
