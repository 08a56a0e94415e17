// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

/// @notice Where a model stands. Milestone 1 uses Contestable, Active, Retired and Revoked.
enum ModelState {
    None,
    Draft,
    Queued,
    Voting,
    Contestable,
    Active,
    Suspended,
    Retired,
    Withdrawn,
    Rejected,
    Revoked
}

/// @notice Where a version stands. Superseded turns to Retired by time alone.
enum VersionState {
    None,
    Proposed,
    Contestable,
    Active,
    Superseded,
    Retired,
    Revoked
}

/// @notice A model on chain. Its controller is the owner of the ERC-721 with its id.
struct Model {
    uint8 kind;
    ModelState state;
    bool openHosting;
    uint32 activeVersion;
    uint32 pendingVersion;
    uint32 versionCount;
    address shares;
    address treasury;
}

/// @notice What an owner says about a version.
/// @dev `committer` is who committed to the fingerprints, and named the submitter.
struct VersionTerms {
    bytes32 manifestRoot;
    bytes32 weightsRoot;
    address committer;
    bytes32 leafRoot;
    uint256 parentModel;
    uint32 parentVersion;
    bytes32 trainingRoot;
    bytes32 evaluationRoot;
    bytes32 termsHash;
    bytes32 policyHash;
    string uri;
}

/// @notice A version on chain.
struct Version {
    VersionTerms terms;
    bytes32 commitment;
    bytes32 fingerprintRoot;
    uint64 committedAt;
    uint64 windowEnds;
    uint64 graceEnds;
    uint32 openClaims;
    uint256 beneficiary;
    VersionState state;
}

/// @notice Leaves somebody committed to before training, the fingerprints then embedded, and who may submit their version.
struct Commitment {
    address committer;
    uint32 leafCount;
    uint32 beaconEpoch;
    uint64 committedAt;
    bool used;
    bytes32 fingerprintRoot;
    address submitter;
}

/// @notice What a model asks at least in an asset, per call and per 1,000 tokens.
struct Floor {
    bool accepted;
    uint128 perCall;
    uint128 perThousand;
}

/// @title Models, their versions, and the domain of all signed messages
interface IRegistry {
    /// @notice The EIP-712 domain of all our messages.
    function domainSeparator() external view returns (bytes32);

    /// @notice The digest of a message, from its struct hash.
    function digest(bytes32 structHash) external view returns (bytes32);

    /// @notice Registers a model with its first version; only the factory may.
    function register(address owner, address shares, address treasury, bool openHosting, VersionTerms calldata terms)
        external
        returns (uint256 modelId);

    /// @notice Who controls a model.
    function controllerOf(uint256 modelId) external view returns (address);

    /// @notice A model.
    function modelOf(uint256 modelId) external view returns (Model memory);

    /// @notice A version, with its state as of now.
    function versionOf(uint256 modelId, uint32 version) external view returns (Version memory);

    /// @notice The state of a version as of now.
    function stateOf(uint256 modelId, uint32 version) external view returns (VersionState);

    /// @notice The parent of a version, (0, 0) where there is none.
    function parentOf(uint256 modelId, uint32 version) external view returns (uint256, uint32);

    /// @notice Whether hosts may serve a version now.
    function isServeable(uint256 modelId, uint32 version) external view returns (bool);

    /// @notice What a model asks at least in an asset.
    function floorOf(uint256 modelId, address asset) external view returns (Floor memory);

    /// @notice The fingerprint root a committer bound to its leaves, zero where it has not.
    function fingerprintRootOf(address committer, bytes32 leafRoot) external view returns (bytes32);
}
