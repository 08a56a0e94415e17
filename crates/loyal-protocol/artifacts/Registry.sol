// Made by `cargo xtask contracts --write`.
contract Registry {
    struct Commitment {
        address committer;
        uint32 leafCount;
        uint32 beaconEpoch;
        uint64 committedAt;
        bool used;
        bytes32 fingerprintRoot;
        address submitter;
    }
    struct Floor {
        bool accepted;
        uint128 perCall;
        uint128 perThousand;
    }
    struct Model {
        uint8 kind;
        uint8 state;
        bool openHosting;
        uint32 activeVersion;
        uint32 pendingVersion;
        uint32 versionCount;
        address shares;
        address treasury;
    }
    struct Version {
        VersionTerms terms;
        bytes32 commitment;
        bytes32 fingerprintRoot;
        uint64 committedAt;
        uint64 windowEnds;
        uint64 graceEnds;
        uint32 openClaims;
        uint256 beneficiary;
        uint8 state;
    }
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
    constructor(address factory_, address court_, address beacon_, address parameters_);
    function ASSETS_MAX() external view returns (uint256);
    function activate(uint256 modelId, uint32 version) external;
    function approve(address to, uint256 tokenId) external;
    function assetsOf(uint256 modelId) external view returns (address[]);
    function balanceOf(address owner) external view returns (uint256);
    function beacon() external view returns (address);
    function burnLeaf(bytes32 commitment, uint32 index) external;
    function closeClaim(uint256 modelId, uint32 version) external;
    function commitFingerprints(bytes32 leafRoot, bytes32 fingerprintRoot, address submitter) external;
    function commitLeaves(bytes32 leafRoot, uint32 leafCount) external;
    function commitmentCount(address committer) external view returns (uint32);
    function commitmentId(address committer, bytes32 leafRoot) external pure returns (bytes32);
    function commitmentOf(bytes32 commitment) external view returns (Commitment);
    function controllerOf(uint256 modelId) external view returns (address);
    function court() external view returns (address);
    function digest(bytes32 structHash) external view returns (bytes32);
    function domainSeparator() external view returns (bytes32);
    function eip712Domain() external view returns (bytes1 fields, string name, string version, uint256 chainId, address verifyingContract, bytes32 salt, uint256[] extensions);
    function factory() external view returns (address);
    function fingerprintRootOf(address committer, bytes32 leafRoot) external view returns (bytes32);
    function floorOf(uint256 modelId, address asset) external view returns (Floor);
    function getApproved(uint256 tokenId) external view returns (address);
    function isApprovedForAll(address owner, address operator) external view returns (bool);
    function isBurnt(bytes32 commitment, uint32 index) external view returns (bool);
    function isServeable(uint256 modelId, uint32 version) external view returns (bool);
    function modelCount() external view returns (uint256);
    function modelOf(uint256 modelId) external view returns (Model);
    function name() external view returns (string);
    function openClaim(uint256 modelId, uint32 version) external;
    function ownerOf(uint256 tokenId) external view returns (address);
    function parameters() external view returns (address);
    function parentOf(uint256 modelId, uint32 version) external view returns (uint256, uint32);
    function register(address owner, address shares, address treasury, bool openHosting, VersionTerms terms) external returns (uint256 modelId);
    function retire(uint256 modelId) external;
    function revoke(uint256 modelId, uint32 version, uint256 beneficiary) external;
    function safeTransferFrom(address from, address to, uint256 tokenId) external;
    function safeTransferFrom(address from, address to, uint256 tokenId, bytes data) external;
    function setApprovalForAll(address operator, bool approved) external;
    function setController(uint256 modelId, address controller) external;
    function setFloor(uint256 modelId, address asset, uint128 perCall, uint128 perThousand) external;
    function setOpenHosting(uint256 modelId, bool open) external;
    function stateOf(uint256 modelId, uint32 version) external view returns (uint8);
    function submitVersion(uint256 modelId, VersionTerms terms) external returns (uint32);
    function supportsInterface(bytes4 interfaceId) external view returns (bool);
    function symbol() external view returns (string);
    function tokenURI(uint256 tokenId) external view returns (string);
    function transferFrom(address from, address to, uint256 tokenId) external;
    function versionOf(uint256 modelId, uint32 version) external view returns (Version entry);
    event Approval(address indexed owner, address indexed approved, uint256 indexed tokenId);
    event ApprovalForAll(address indexed owner, address indexed operator, bool approved);
    event ClaimsOpen(uint256 indexed modelId, uint32 indexed version, uint32 count);
    event EIP712DomainChanged();
    event FingerprintsCommitted(address indexed committer, bytes32 indexed leafRoot, bytes32 fingerprintRoot, address submitter, bytes32 seed);
    event FloorSet(uint256 indexed modelId, address indexed asset, uint128 perCall, uint128 perThousand);
    event LeafBurnt(bytes32 indexed commitment, uint32 index);
    event LeavesCommitted(address indexed committer, bytes32 indexed leafRoot, uint32 leafCount, uint32 beaconEpoch);
    event ModelRegistered(uint256 indexed modelId, address indexed owner, address shares, address treasury);
    event ModelRetired(uint256 indexed modelId);
    event OpenHostingSet(uint256 indexed modelId, bool open);
    event Transfer(address indexed from, address indexed to, uint256 indexed tokenId);
    event VersionActivated(uint256 indexed modelId, uint32 indexed version, uint32 superseded);
    event VersionRevoked(uint256 indexed modelId, uint32 indexed version, uint256 indexed beneficiary);
    event VersionSubmitted(uint256 indexed modelId, uint32 indexed version, bytes32 indexed weightsRoot, uint256 parentModel, uint64 windowEnds);
    error ERC721IncorrectOwner(address sender, uint256 tokenId, address owner);
    error ERC721InsufficientApproval(address operator, uint256 tokenId);
    error ERC721InvalidApprover(address approver);
    error ERC721InvalidOperator(address operator);
    error ERC721InvalidOwner(address owner);
    error ERC721InvalidReceiver(address receiver);
    error ERC721InvalidSender(address sender);
    error ERC721NonexistentToken(uint256 tokenId);
    error InvalidShortString();
    error Registry_AssetLimit();
    error Registry_BadParent(uint256 parentModel, uint32 parentVersion);
    error Registry_BadState();
    error Registry_Empty();
    error Registry_LeafSpent(uint32 index);
    error Registry_NotController(uint256 modelId, address caller);
    error Registry_NotCourt(address caller);
    error Registry_NotFactory(address caller);
    error Registry_OrderBroken();
    error Registry_RootUsed(bytes32 root);
    error Registry_Unknown(uint256 modelId, uint32 version);
    error Registry_WindowClosed(uint64 ended);
    error Registry_WindowOpen(uint64 until);
    error StringTooLong(string str);
}
