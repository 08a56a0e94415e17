// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {BitMaps} from "@openzeppelin/contracts/utils/structs/BitMaps.sol";
import {IBeacon} from "./interfaces/IBeacon.sol";
import {IParameters, Parameter} from "./interfaces/IParameters.sol";
import {
    Commitment,
    Floor,
    IRegistry,
    Model,
    ModelState,
    Version,
    VersionState,
    VersionTerms
} from "./interfaces/IRegistry.sol";

/// @title Models as ERC-721, their versions, lineage and burnt leaves
/// @notice Holds what is known about a model and when it became so; who earns and who serves stands elsewhere.
contract Registry is IRegistry, ERC721, EIP712 {
    using BitMaps for BitMaps.BitMap;

    /// @notice How many assets a model may accept at most; shares keep one account of revenue for each.
    uint256 public constant ASSETS_MAX = 4;

    /// @notice The only contract that registers models.
    address public immutable factory;
    /// @notice The only contract that opens claims, revokes versions and burns leaves.
    address public immutable court;
    /// @notice Where answers get their randomness from, after leaves are committed.
    IBeacon public immutable beacon;
    /// @notice Governed values.
    IParameters public immutable parameters;

    /// @notice How many models there are; ids count from one.
    uint256 public modelCount;

    /// @notice How many sets of leaves an account ever committed to: the more, the more evidence its claims need.
    mapping(address committer => uint32) public commitmentCount;

    mapping(uint256 modelId => Model) private _models;
    mapping(uint256 modelId => mapping(uint32 version => Version)) private _versions;
    mapping(bytes32 commitment => Commitment) private _commitments;
    mapping(bytes32 commitment => BitMaps.BitMap) private _burnt;
    mapping(uint256 modelId => address[]) private _assets;
    mapping(uint256 modelId => mapping(address asset => Floor)) private _floors;

    /// @notice Somebody committed to leaves; answers will depend on the seed of `beaconEpoch`.
    event LeavesCommitted(address indexed committer, bytes32 indexed leafRoot, uint32 leafCount, uint32 beaconEpoch);
    /// @notice A committer named the leaves that were embedded, and who may submit the version.
    event FingerprintsCommitted(
        address indexed committer, bytes32 indexed leafRoot, bytes32 fingerprintRoot, address submitter, bytes32 seed
    );
    /// @notice A model is registered.
    event ModelRegistered(uint256 indexed modelId, address indexed owner, address shares, address treasury);
    /// @notice A model takes no more versions and no more hosts.
    event ModelRetired(uint256 indexed modelId);
    /// @notice Anybody with a bond may host, or only whom the controller prepares a copy for.
    event OpenHostingSet(uint256 indexed modelId, bool open);
    /// @notice A model accepts an asset, and asks at least this.
    event FloorSet(uint256 indexed modelId, address indexed asset, uint128 perCall, uint128 perThousand);
    /// @notice A version's window of claims is open.
    event VersionSubmitted(
        uint256 indexed modelId,
        uint32 indexed version,
        bytes32 indexed weightsRoot,
        uint256 parentModel,
        uint64 windowEnds
    );
    /// @notice A version is the model's active one; `superseded` was before, zero for none.
    event VersionActivated(uint256 indexed modelId, uint32 indexed version, uint32 superseded);
    /// @notice A version is gone for ever; its locked revenue goes to `beneficiary`.
    event VersionRevoked(uint256 indexed modelId, uint32 indexed version, uint256 indexed beneficiary);
    /// @notice How many claims against a version are open.
    event ClaimsOpen(uint256 indexed modelId, uint32 indexed version, uint32 count);
    /// @notice A leaf was opened; it proves nothing again.
    event LeafBurnt(bytes32 indexed commitment, uint32 index);

    /// @dev The caller does not control the model.
    error Registry_NotController(uint256 modelId, address caller);
    /// @dev Only the factory registers.
    error Registry_NotFactory(address caller);
    /// @dev Only the court does this.
    error Registry_NotCourt(address caller);
    /// @dev The committer committed to this root before, or a version already stands on it.
    error Registry_RootUsed(bytes32 root);
    /// @dev A step came before the one it follows.
    error Registry_OrderBroken();
    /// @dev The window is still open, a claim is, or another version waits.
    error Registry_WindowOpen(uint64 until);
    /// @dev The window is over.
    error Registry_WindowClosed(uint64 ended);
    /// @dev The thing is not in a state that allows this.
    error Registry_BadState();
    /// @dev There is no such model or version.
    error Registry_Unknown(uint256 modelId, uint32 version);
    /// @dev The parent is not serveable, is the model itself, or is not the model's first parent.
    error Registry_BadParent(uint256 parentModel, uint32 parentVersion);
    /// @dev The model accepts as many assets as it may.
    error Registry_AssetLimit();
    /// @dev The leaf is burnt, or there is none with this index.
    error Registry_LeafSpent(uint32 index);
    /// @dev A count or a root is zero.
    error Registry_Empty();

    modifier onlyController(uint256 modelId) {
        require(ownerOf(modelId) == msg.sender, Registry_NotController(modelId, msg.sender));
        _;
    }

    modifier onlyCourt() {
        require(msg.sender == court, Registry_NotCourt(msg.sender));
        _;
    }

    constructor(address factory_, address court_, IBeacon beacon_, IParameters parameters_)
        ERC721("Loyal Model", "LOYALMODEL")
        EIP712("Loyal", "1")
    {
        factory = factory_;
        court = court_;
        beacon = beacon_;
        parameters = parameters_;
    }

    // --- fingerprints, in the order that makes them evidence

    /// @notice Commits to the leaves of fingerprints, before training. Answers depend on a seed drawn after this.
    function commitLeaves(bytes32 leafRoot, uint32 leafCount) external {
        require(leafRoot != 0 && leafCount != 0, Registry_Empty());
        Commitment storage commitment = _commitments[commitmentId(msg.sender, leafRoot)];
        require(commitment.committer == address(0), Registry_RootUsed(leafRoot));
        commitment.committer = msg.sender;
        commitment.leafCount = leafCount;
        commitment.beaconEpoch = parameters.epochAt(block.timestamp) + 1;
        commitment.committedAt = uint64(block.timestamp);
        ++commitmentCount[msg.sender];
        emit LeavesCommitted(msg.sender, leafRoot, leafCount, commitment.beaconEpoch);
    }

    /// @notice Names the leaves that were embedded, and who may submit a version on them; possible once the seed exists, and
    /// before any copy leaves.
    function commitFingerprints(bytes32 leafRoot, bytes32 fingerprintRoot, address submitter) external {
        require(fingerprintRoot != 0 && submitter != address(0), Registry_Empty());
        Commitment storage commitment = _commitments[commitmentId(msg.sender, leafRoot)];
        require(commitment.committer != address(0), Registry_OrderBroken());
        require(commitment.fingerprintRoot == 0, Registry_RootUsed(fingerprintRoot));
        bytes32 seed = beacon.seed(commitment.beaconEpoch);
        commitment.fingerprintRoot = fingerprintRoot;
        commitment.submitter = submitter;
        emit FingerprintsCommitted(msg.sender, leafRoot, fingerprintRoot, submitter, seed);
    }

    // --- models and versions

    /// @inheritdoc IRegistry
    function register(address owner, address shares, address treasury, bool openHosting, VersionTerms calldata terms)
        external
        returns (uint256 modelId)
    {
        require(msg.sender == factory, Registry_NotFactory(msg.sender));
        modelId = ++modelCount;
        Model storage model = _models[modelId];
        model.state = ModelState.Contestable;
        model.openHosting = openHosting;
        model.shares = shares;
        model.treasury = treasury;
        _mint(owner, modelId);
        emit ModelRegistered(modelId, owner, shares, treasury);
        _submit(modelId, owner, terms);
    }

    /// @notice Submits a new version of an active model and opens its window of claims.
    function submitVersion(uint256 modelId, VersionTerms calldata terms)
        external
        onlyController(modelId)
        returns (uint32)
    {
        require(_models[modelId].state == ModelState.Active, Registry_BadState());
        uint256 first = _versions[modelId][1].terms.parentModel;
        require(first == 0 || first == terms.parentModel, Registry_BadParent(terms.parentModel, terms.parentVersion));
        return _submit(modelId, msg.sender, terms);
    }

    /// @notice Activates a version whose window has passed without an open claim; anybody may.
    function activate(uint256 modelId, uint32 version) external {
        Version storage entry = _known(modelId, version);
        require(entry.state == VersionState.Contestable, Registry_BadState());
        bool open = block.timestamp < entry.windowEnds || entry.openClaims != 0;
        require(!open, Registry_WindowOpen(entry.windowEnds));
        Model storage model = _models[modelId];
        bool alive = model.state == ModelState.Contestable || model.state == ModelState.Active;
        require(alive, Registry_BadState());
        uint32 before = model.activeVersion;
        if (before != 0) {
            Version storage old = _versions[modelId][before];
            old.state = VersionState.Superseded;
            old.graceEnds = uint64(block.timestamp + parameters.get(Parameter.SupersededGrace));
        }
        entry.state = VersionState.Active;
        model.activeVersion = version;
        model.pendingVersion = 0;
        model.state = ModelState.Active;
        emit VersionActivated(modelId, version, before);
    }

    /// @notice Revokes a version for ever; with the first version goes the model. Only the court may.
    /// @param beneficiary The model that receives the version's locked revenue; zero for the treasury of the protocol.
    function revoke(uint256 modelId, uint32 version, uint256 beneficiary) external onlyCourt {
        Version storage entry = _known(modelId, version);
        bool active = entry.state == VersionState.Active;
        require(active || entry.state == VersionState.Contestable, Registry_BadState());
        require(beneficiary == 0 || _models[beneficiary].state != ModelState.None, Registry_Unknown(beneficiary, 0));
        entry.state = VersionState.Revoked;
        entry.beneficiary = beneficiary;
        Model storage model = _models[modelId];
        if (active) model.activeVersion = 0;
        else model.pendingVersion = 0;
        if (version == 1) model.state = ModelState.Revoked;
        emit VersionRevoked(modelId, version, beneficiary);
    }

    /// @notice Counts a claim of ownership against a version, inside its window; only the court may.
    function openClaim(uint256 modelId, uint32 version) external onlyCourt {
        Version storage entry = _known(modelId, version);
        require(entry.state == VersionState.Contestable, Registry_BadState());
        require(block.timestamp < entry.windowEnds, Registry_WindowClosed(entry.windowEnds));
        emit ClaimsOpen(modelId, version, ++entry.openClaims);
    }

    /// @notice Ends a claim that `openClaim` counted; only the court may.
    function closeClaim(uint256 modelId, uint32 version) external onlyCourt {
        Version storage entry = _known(modelId, version);
        emit ClaimsOpen(modelId, version, --entry.openClaims);
    }

    /// @notice Burns a leaf that was opened as evidence; only the court may.
    function burnLeaf(bytes32 commitment, uint32 index) external onlyCourt {
        bool fresh = index < _commitments[commitment].leafCount && !_burnt[commitment].get(index);
        require(fresh, Registry_LeafSpent(index));
        _burnt[commitment].set(index);
        emit LeafBurnt(commitment, index);
    }

    // --- what a controller sets

    /// @notice Hands the model to another controller.
    function setController(uint256 modelId, address controller) external onlyController(modelId) {
        _transfer(msg.sender, controller, modelId);
    }

    /// @notice Opens the model to any host with a bond, or closes it.
    function setOpenHosting(uint256 modelId, bool open) external onlyController(modelId) {
        _models[modelId].openHosting = open;
        emit OpenHostingSet(modelId, open);
    }

    /// @notice Accepts an asset, or changes what the model asks in it. What was accepted once stays accepted.
    function setFloor(uint256 modelId, address asset, uint128 perCall, uint128 perThousand)
        external
        onlyController(modelId)
    {
        Floor storage floor = _floors[modelId][asset];
        if (!floor.accepted) {
            require(_assets[modelId].length < ASSETS_MAX && asset != address(0), Registry_AssetLimit());
            _assets[modelId].push(asset);
        }
        _floors[modelId][asset] = Floor(true, perCall, perThousand);
        emit FloorSet(modelId, asset, perCall, perThousand);
    }

    /// @notice Retires an active model: no more versions, no more hosts.
    function retire(uint256 modelId) external onlyController(modelId) {
        Model storage model = _models[modelId];
        require(model.state == ModelState.Active && model.pendingVersion == 0, Registry_BadState());
        model.state = ModelState.Retired;
        emit ModelRetired(modelId);
    }

    // --- views

    /// @inheritdoc IRegistry
    function domainSeparator() external view returns (bytes32) {
        return _domainSeparatorV4();
    }

    /// @inheritdoc IRegistry
    function digest(bytes32 structHash) external view returns (bytes32) {
        return _hashTypedDataV4(structHash);
    }

    /// @inheritdoc IRegistry
    function controllerOf(uint256 modelId) external view returns (address) {
        return ownerOf(modelId);
    }

    /// @inheritdoc IRegistry
    function modelOf(uint256 modelId) external view returns (Model memory) {
        return _models[modelId];
    }

    /// @inheritdoc IRegistry
    function versionOf(uint256 modelId, uint32 version) external view returns (Version memory entry) {
        entry = _known(modelId, version);
        entry.state = stateOf(modelId, version);
    }

    /// @inheritdoc IRegistry
    function parentOf(uint256 modelId, uint32 version) external view returns (uint256, uint32) {
        VersionTerms storage terms = _versions[modelId][version].terms;
        return (terms.parentModel, terms.parentVersion);
    }

    /// @inheritdoc IRegistry
    function isServeable(uint256 modelId, uint32 version) external view returns (bool) {
        ModelState model = _models[modelId].state;
        return (model == ModelState.Contestable || model == ModelState.Active) && _serves(stateOf(modelId, version));
    }

    /// @inheritdoc IRegistry
    function floorOf(uint256 modelId, address asset) external view returns (Floor memory) {
        return _floors[modelId][asset];
    }

    /// @notice The assets a model accepts.
    function assetsOf(uint256 modelId) external view returns (address[] memory) {
        return _assets[modelId];
    }

    /// @notice A commitment to leaves.
    function commitmentOf(bytes32 commitment) external view returns (Commitment memory) {
        return _commitments[commitment];
    }

    /// @inheritdoc IRegistry
    function fingerprintRootOf(address committer, bytes32 leafRoot) external view returns (bytes32) {
        return _commitments[commitmentId(committer, leafRoot)].fingerprintRoot;
    }

    /// @notice Whether a leaf was opened as evidence.
    function isBurnt(bytes32 commitment, uint32 index) external view returns (bool) {
        return _burnt[commitment].get(index);
    }

    /// @inheritdoc IRegistry
    function stateOf(uint256 modelId, uint32 version) public view returns (VersionState) {
        Version storage entry = _versions[modelId][version];
        bool over = entry.state == VersionState.Superseded && block.timestamp >= entry.graceEnds;
        return over ? VersionState.Retired : entry.state;
    }

    /// @notice The id of a commitment to leaves. The committer is part of it: nobody else can take the root first.
    function commitmentId(address committer, bytes32 leafRoot) public pure returns (bytes32) {
        return keccak256(abi.encode(committer, leafRoot));
    }

    // --- the straight parts

    function _submit(uint256 modelId, address owner, VersionTerms calldata terms) private returns (uint32 version) {
        Model storage model = _models[modelId];
        uint32 pending = model.pendingVersion;
        require(pending == 0, Registry_WindowOpen(_versions[modelId][pending].windowEnds));
        _checkParent(modelId, terms);
        bytes32 id = commitmentId(terms.committer, terms.leafRoot);
        Commitment storage commitment = _commitments[id];
        bool ready = commitment.fingerprintRoot != 0 && commitment.submitter == owner;
        require(ready, Registry_OrderBroken());
        require(!commitment.used, Registry_RootUsed(terms.leafRoot));
        commitment.used = true;
        version = ++model.versionCount;
        model.pendingVersion = version;
        Version storage entry = _versions[modelId][version];
        entry.terms = terms;
        entry.commitment = id;
        entry.fingerprintRoot = commitment.fingerprintRoot;
        entry.committedAt = uint64(block.timestamp);
        entry.windowEnds = uint64(block.timestamp + parameters.get(Parameter.OwnershipWindow));
        entry.state = VersionState.Contestable;
        emit VersionSubmitted(modelId, version, terms.weightsRoot, terms.parentModel, entry.windowEnds);
    }

    function _checkParent(uint256 modelId, VersionTerms calldata terms) private view {
        (uint256 parent, uint32 version) = (terms.parentModel, terms.parentVersion);
        VersionState state = stateOf(parent, version);
        bool known = state == VersionState.Active || state == VersionState.Superseded || state == VersionState.Retired;
        bool right = parent == 0 ? version == 0 : parent != modelId && known;
        require(right, Registry_BadParent(parent, version));
    }

    function _known(uint256 modelId, uint32 version) private view returns (Version storage entry) {
        entry = _versions[modelId][version];
        require(entry.state != VersionState.None, Registry_Unknown(modelId, version));
    }

    function _serves(VersionState state) private pure returns (bool) {
        return state == VersionState.Contestable || state == VersionState.Active || state == VersionState.Superseded;
    }
}
