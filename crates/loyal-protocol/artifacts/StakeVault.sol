// Made by `cargo xtask contracts --write`.
contract StakeVault {
    struct Destination {
        address account;
        uint128 amount;
    }
    struct Position {
        Terms terms;
        uint128 bound;
        uint128 thawing;
        uint64 thawsAt;
        uint32 freezes;
    }
    struct SeatDraw {
        bytes32 roll;
        bytes32 seed;
        uint48 cutoff;
        uint256 count;
        address[] barred;
    }
    struct Terms {
        address arbiter;
        address keeper;
        address owner;
        address asset;
        bytes32 subject;
    }
    constructor(address parameters_, address currency_, address treasury_);
    function bind(Terms terms, uint128 amount) external returns (bytes32 id);
    function boundOf(Terms terms) external view returns (uint128);
    function currency() external view returns (address);
    function distribute(address account, address asset) external returns (uint256 amount);
    function drawSeats(SeatDraw draw) external view returns (address[] accounts);
    function freeze(bytes32 id) external;
    function idOf(Terms terms) external pure returns (bytes32);
    function isSeated(bytes32 roll, address account) external view returns (bool);
    function parameters() external view returns (address);
    function positionOf(bytes32 id) external view returns (Position);
    function rewards(address account, address asset) external view returns (uint256);
    function rollOf(address arbiter, bytes32 subject) external view returns (bytes32);
    function slash(bytes32 id, Destination[] destinations) external returns (uint128 amount);
    function thaw(bytes32 id, uint128 amount) external;
    function treasury() external view returns (address);
    function unfreeze(bytes32 id) external;
    function withdraw(bytes32 id) external returns (uint128 amount);
    event Bound(bytes32 indexed id, address indexed owner, address indexed arbiter, uint128 amount, uint128 bound);
    event Frozen(bytes32 indexed id, uint32 freezes);
    event RewardPaid(address indexed account, address indexed asset, uint256 amount);
    event Rewarded(bytes32 indexed id, address indexed account, uint128 amount);
    event SeatSet(bytes32 indexed roll, address indexed account, bool seated);
    event Slashed(bytes32 indexed id, address indexed owner, uint128 amount);
    event ThawStarted(bytes32 indexed id, uint128 amount, uint64 thawsAt);
    event Withdrawn(bytes32 indexed id, address indexed owner, uint128 amount);
    error CheckpointUnorderedInsertion();
    error ReentrancyGuardReentrantCall();
    error SafeERC20FailedOperation(address token);
    error Stake_AmountChanged(address asset, uint256 expected, uint256 received);
    error Stake_Empty();
    error Stake_Frozen(bytes32 id);
    error Stake_NotArbiter(bytes32 id, address caller);
    error Stake_NotKeeper(bytes32 id, address caller);
    error Stake_Thawing(bytes32 id, uint64 thawsAt);
    error Stake_TooMuch(bytes32 id, uint256 asked, uint256 available);
}
