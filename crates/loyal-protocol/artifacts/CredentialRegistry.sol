// Made by `cargo xtask contracts --write`.
contract CredentialRegistry {
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
    constructor(address registry_);
    function bumpHolder(uint256 modelId, address holder) external;
    function bumpModel(uint256 modelId) external;
    function check(Credential credential, address issuer, bytes signature, uint256 time) external view returns (uint8);
    function holderEndedAt(uint256 modelId, address holder, uint32 generation) external view returns (uint64);
    function holderGeneration(uint256 modelId, address holder) external view returns (uint32);
    function idOf(Credential credential) external view returns (bytes32);
    function issuerOf(uint256 modelId, address issuer) external view returns (uint64 since, uint64 until);
    function modelEndedAt(uint256 modelId, uint32 generation) external view returns (uint64);
    function modelGeneration(uint256 modelId) external view returns (uint32);
    function record(Credential credential, address issuer, bytes signature) external;
    function recordedAt(bytes32 credentialId) external view returns (uint64);
    function registry() external view returns (address);
    function revocationOf(Credential credential) external view returns (uint64 revoked);
    function revoke(uint256 modelId, bytes32 credentialId) external;
    function revokedAt(uint256 modelId, bytes32 credentialId) external view returns (uint64);
    function setIssuer(uint256 modelId, address issuer, bool allowed) external;
    event CredentialRecorded(uint256 indexed modelId, bytes32 indexed credentialId, address issuer);
    event CredentialRevoked(uint256 indexed modelId, bytes32 indexed credentialId);
    event GenerationBumped(uint256 indexed modelId, address indexed holder, uint32 generation);
    event IssuerSet(uint256 indexed modelId, address indexed issuer, bool allowed);
    error Credential_BadSignature();
    error Credential_IssuerFixed(uint256 modelId, address issuer);
    error Credential_NotController(uint256 modelId, address caller);
    error Credential_NotIssuer(uint256 modelId, address caller);
    error Credential_Revoked(bytes32 credentialId);
}
