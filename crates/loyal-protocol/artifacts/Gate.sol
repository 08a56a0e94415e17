// Made by `cargo xtask contracts --write`.
contract Gate {
    struct Delivery {
        uint256 hostingId;
        uint32 version;
        bytes32 copyRoot;
        bytes32 subsetRoot;
        bytes32 build;
        uint64 deliveredAt;
    }
    struct Destination {
        address account;
        uint128 amount;
    }
    struct GateParties {
        address registry;
        address router;
        address vault;
        address parameters;
        address court;
    }
    struct Hosting {
        uint256 modelId;
        address host;
        uint32 version;
        uint8 level;
        uint8 state;
        uint16 convictions;
        address asset;
        uint32 nextEpoch;
        uint32 servedUntil;
        uint128 price;
        uint128 bondRequired;
        uint128 reported;
        uint64 exitsAt;
        bytes32 endpointHash;
        bytes32 position;
    }
    struct HostingParties {
        uint256 modelId;
        uint32 version;
        address host;
        address asset;
    }
    struct Opening {
        uint256 modelId;
        uint32 version;
        uint8 level;
        address signer;
        address asset;
        uint128 price;
        bytes32 endpointHash;
        uint128 bond;
    }
    struct Report {
        bytes32 root;
        uint32 count;
        uint64 postedAt;
        uint128 amount;
        uint128 cumulative;
    }
    struct UsageReport {
        uint256 hostingId;
        uint32 epoch;
        uint32 count;
        uint128 amount;
        uint128 tokens;
        bytes32 top;
    }
    constructor(GateParties parties);
    function bondOf(uint256 hostingId) external view returns (uint128);
    function close(uint256 hostingId) external;
    function convict(uint256 hostingId, uint128 amount, Destination[] claimants, bool closes) external;
    function copyOf(uint256 hostingId) external view returns (bytes32 copyRoot, bytes32 subsetRoot);
    function court() external view returns (address);
    function deliver(Delivery delivery, bytes signature) external;
    function exit(uint256 hostingId) external;
    function freeze(uint256 hostingId) external;
    function hostingCount() external view returns (uint256);
    function hostingOf(uint256 hostingId) external view returns (Hosting);
    function imageUntil(uint256 modelId, bytes32 image) external view returns (uint64);
    function lapse(uint256 hostingId) external;
    function open(Opening opening) external returns (uint256 hostingId);
    function parameters() external view returns (address);
    function partiesOf(uint256 hostingId) external view returns (HostingParties);
    function pause(uint256 hostingId) external;
    function post(UsageReport report, bytes signature) external;
    function prepare(uint256 hostingId, bytes32 copyRoot, bytes32 subsetRoot) external;
    function registry() external view returns (address);
    function reportOf(uint256 hostingId, uint32 epoch) external view returns (Report);
    function resume(uint256 hostingId) external;
    function rotateSigner(uint256 hostingId, address signer) external;
    function router() external view returns (address);
    function setEndpoint(uint256 hostingId, bytes32 endpointHash) external;
    function setImage(uint256 modelId, bytes32 image, uint64 until) external;
    function setPrice(uint256 hostingId, uint128 price) external;
    function settleDue(uint256 hostingId, uint32 epoch) external returns (uint128 amount);
    function signerAt(uint256 hostingId, uint48 time) external view returns (address);
    function topUp(uint256 hostingId, uint128 amount) external;
    function unfreeze(uint256 hostingId) external;
    function vault() external view returns (address);
    event BondRaised(uint256 indexed hostingId, address indexed from, uint128 amount);
    event CopyPrepared(uint256 indexed hostingId, bytes32 copyRoot, bytes32 subsetRoot);
    event Delivered(uint256 indexed hostingId, bytes32 indexed deliveryId, bytes32 copyRoot, bytes32 build);
    event DueSettled(uint256 indexed hostingId, uint32 indexed epoch, uint128 amount);
    event EndpointSet(uint256 indexed hostingId, bytes32 endpointHash);
    event HostingClosed(uint256 indexed hostingId);
    event HostingConvicted(uint256 indexed hostingId, uint128 slashed, uint16 convictions);
    event HostingExiting(uint256 indexed hostingId, uint64 exitsAt);
    event HostingOpened(uint256 indexed hostingId, uint256 indexed modelId, address indexed host, uint32 version, address asset, uint128 bond);
    event HostingPaused(uint256 indexed hostingId, uint128 bondRequired);
    event HostingResumed(uint256 indexed hostingId);
    event ImageAllowed(uint256 indexed modelId, bytes32 indexed image, uint64 until);
    event ImageRevoked(uint256 indexed modelId, bytes32 indexed image);
    event PriceSet(uint256 indexed hostingId, uint128 price);
    event ReportLate(uint256 indexed hostingId, uint32 indexed epoch, uint256 hoursLate, uint128 fine);
    event ReportPosted(uint256 indexed hostingId, uint32 indexed epoch, bytes32 root, uint32 count, uint128 amount, uint128 tokens);
    event SignerRotated(uint256 indexed hostingId, address indexed signer);
    error CheckpointUnorderedInsertion();
    error Gate_AssetRefused(uint256 modelId, address asset);
    error Gate_BadEpoch(uint32 epoch);
    error Gate_BadReport();
    error Gate_BadSignature(uint256 hostingId);
    error Gate_BadSigner(address signer);
    error Gate_BelowFloor(uint256 amount, uint256 floor);
    error Gate_BondTooSmall(uint128 bond, uint256 required);
    error Gate_ClaimOpen(uint256 hostingId);
    error Gate_ClaimantsShare(uint128 claimants, uint128 slash);
    error Gate_Exiting(uint64 exitsAt);
    error Gate_NotActive(uint256 hostingId, uint8 state);
    error Gate_NotController(uint256 modelId, address caller);
    error Gate_NotCourt(address caller);
    error Gate_NotHost(uint256 hostingId, address caller);
    error Gate_NotOpen(uint256 modelId);
    error Gate_NothingDue(uint256 hostingId);
    error Gate_OtherCopy(uint256 hostingId);
    error Gate_ReportExists(uint32 epoch);
    error Gate_ReportMissing(uint32 epoch);
    error Gate_VersionInactive(uint256 modelId, uint32 version);
    error ReentrancyGuardReentrantCall();
    error SafeERC20FailedOperation(address token);
}
