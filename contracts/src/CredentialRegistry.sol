// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {CredentialState, ICredentialRegistry} from "./interfaces/ICredentialRegistry.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {Credential, Messages} from "./libraries/Messages.sol";

/// @title Who may issue credentials of a model, and which are revoked since when
/// @notice A credential ends by its id, with its holder's generation or with its model's. Revocation is final and keeps its
/// time, because a receipt is judged by what held when it was issued.
contract CredentialRegistry is ICredentialRegistry {
    using Messages for Credential;

    /// @notice Since when an issuer may sign, and until when it might; zero for "still may".
    struct Issuer {
        uint64 since;
        uint64 until;
    }

    /// @notice Models and the domain of messages.
    IRegistry public immutable registry;

    /// @notice The issuers of a model.
    mapping(uint256 modelId => mapping(address issuer => Issuer)) public issuerOf;
    /// @notice When a credential was revoked by its id.
    mapping(uint256 modelId => mapping(bytes32 credentialId => uint64)) public revokedAt;
    /// @notice The generation of a model's credentials.
    mapping(uint256 modelId => uint32) public modelGeneration;
    /// @notice The generation of a holder's credentials of a model.
    mapping(uint256 modelId => mapping(address holder => uint32)) public holderGeneration;
    /// @notice When a generation of a model ended.
    mapping(uint256 modelId => mapping(uint32 generation => uint64)) public modelEndedAt;
    /// @notice When a generation of a holder ended.
    mapping(uint256 modelId => mapping(address holder => mapping(uint32 generation => uint64))) public holderEndedAt;
    /// @inheritdoc ICredentialRegistry
    mapping(bytes32 credentialId => uint64) public recordedAt;

    /// @notice An account may sign credentials of a model, or no longer.
    event IssuerSet(uint256 indexed modelId, address indexed issuer, bool allowed);
    /// @notice A credential is revoked.
    event CredentialRevoked(uint256 indexed modelId, bytes32 indexed credentialId);
    /// @notice All earlier credentials of a model, or of one holder of it, are revoked.
    event GenerationBumped(uint256 indexed modelId, address indexed holder, uint32 generation);
    /// @notice A contract's signature was good.
    event CredentialRecorded(uint256 indexed modelId, bytes32 indexed credentialId, address issuer);

    /// @dev The caller neither controls the model nor issues for it.
    error Credential_NotIssuer(uint256 modelId, address caller);
    /// @dev The caller does not control the model.
    error Credential_NotController(uint256 modelId, address caller);
    /// @dev The account issues already, or was removed: a removed issuer comes back under another key.
    error Credential_IssuerFixed(uint256 modelId, address issuer);
    /// @dev The credential is revoked already.
    error Credential_Revoked(bytes32 credentialId);
    /// @dev The signature is not the issuer's.
    error Credential_BadSignature();

    constructor(IRegistry registry_) {
        registry = registry_;
    }

    /// @notice Names an issuer of a model, or removes one for good.
    function setIssuer(uint256 modelId, address issuer, bool allowed) external {
        require(registry.controllerOf(modelId) == msg.sender, Credential_NotController(modelId, msg.sender));
        Issuer storage entry = issuerOf[modelId][issuer];
        bool fresh = allowed ? entry.since == 0 : entry.since != 0 && entry.until == 0;
        require(fresh && issuer != address(0), Credential_IssuerFixed(modelId, issuer));
        if (allowed) entry.since = uint64(block.timestamp);
        else entry.until = uint64(block.timestamp);
        emit IssuerSet(modelId, issuer, allowed);
    }

    /// @notice Revokes a credential by its id.
    function revoke(uint256 modelId, bytes32 credentialId) external {
        _checkIssuer(modelId);
        require(revokedAt[modelId][credentialId] == 0, Credential_Revoked(credentialId));
        revokedAt[modelId][credentialId] = uint64(block.timestamp);
        emit CredentialRevoked(modelId, credentialId);
    }

    /// @notice Revokes all credentials of a model issued so far; only its controller may.
    function bumpModel(uint256 modelId) external {
        require(registry.controllerOf(modelId) == msg.sender, Credential_NotController(modelId, msg.sender));
        modelEndedAt[modelId][modelGeneration[modelId]] = uint64(block.timestamp);
        emit GenerationBumped(modelId, address(0), ++modelGeneration[modelId]);
    }

    /// @notice Revokes all credentials of a holder of a model issued so far; the holder itself may too.
    function bumpHolder(uint256 modelId, address holder) external {
        if (msg.sender != holder) _checkIssuer(modelId);
        holderEndedAt[modelId][holder][holderGeneration[modelId][holder]] = uint64(block.timestamp);
        emit GenerationBumped(modelId, holder, ++holderGeneration[modelId][holder]);
    }

    /// @notice Keeps on chain that a contract's signature is good now: a contract could deny it later.
    function record(Credential calldata credential, address issuer, bytes calldata signature) external {
        require(_signed(credential, issuer, signature, block.timestamp), Credential_BadSignature());
        bytes32 id = idOf(credential);
        if (recordedAt[id] == 0) recordedAt[id] = uint64(block.timestamp);
        emit CredentialRecorded(credential.modelId, id, issuer);
    }

    /// @inheritdoc ICredentialRegistry
    function check(Credential calldata credential, address issuer, bytes calldata signature, uint256 time)
        external
        view
        returns (CredentialState)
    {
        if (!_signed(credential, issuer, signature, time)) return CredentialState.BadSignature;
        if (time < credential.notBefore || time >= credential.expiresAt) return CredentialState.OutOfDate;
        uint64 revoked = revocationOf(credential);
        if (revoked != 0 && revoked <= time) return CredentialState.Revoked;
        return CredentialState.Good;
    }

    /// @inheritdoc ICredentialRegistry
    /// @dev A generation that has not begun is revoked since ever: nobody may sign for the future.
    function revocationOf(Credential calldata credential) public view returns (uint64 revoked) {
        (uint256 modelId, address holder) = (credential.modelId, credential.holder);
        bool future = credential.modelGeneration > modelGeneration[modelId]
            || credential.holderGeneration > holderGeneration[modelId][holder];
        if (future) return 1;
        revoked = revokedAt[modelId][idOf(credential)];
        revoked = _earlier(revoked, modelEndedAt[modelId][credential.modelGeneration]);
        revoked = _earlier(revoked, holderEndedAt[modelId][holder][credential.holderGeneration]);
    }

    /// @notice The id of a credential: its digest.
    function idOf(Credential calldata credential) public view returns (bytes32) {
        return registry.digest(credential.hash());
    }

    function _signed(Credential calldata credential, address issuer, bytes calldata signature, uint256 time)
        private
        view
        returns (bool)
    {
        Issuer memory entry = issuerOf[credential.modelId][issuer];
        bool allowed = entry.since != 0 && entry.since <= time && (entry.until == 0 || time < entry.until);
        return allowed && SignatureChecker.isValidSignatureNowCalldata(issuer, idOf(credential), signature);
    }

    function _checkIssuer(uint256 modelId) private view {
        Issuer memory entry = issuerOf[modelId][msg.sender];
        bool issues = entry.since != 0 && entry.until == 0;
        require(issues || registry.controllerOf(modelId) == msg.sender, Credential_NotIssuer(modelId, msg.sender));
    }

    function _earlier(uint64 a, uint64 b) private pure returns (uint64) {
        if (a == 0 || b == 0) return a + b;
        return a < b ? a : b;
    }
}
