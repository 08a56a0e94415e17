// Made by `cargo xtask contracts --write`.
contract RevenueRouter {
    struct Grant {
        address account;
        uint16 bps;
    }
    struct Parts {
        uint256 fee;
        uint256 shares;
        uint256 trainers;
        uint256 host;
        uint256 contributors;
        uint256 provers;
        uint256 validators;
        uint256 builder;
    }
    struct Route {
        uint16 shares;
        uint16 trainers;
        uint16 host;
        uint16 contributors;
        uint16 provers;
        uint16 validators;
        uint16 builder;
    }
    struct RouterParties {
        address registry;
        address gate;
        address parameters;
        address factory;
        address treasury;
        address probeBoard;
        address court;
        address ledger;
    }
    constructor(RouterParties parties);
    function TRAINERS_MAX() external view returns (uint256);
    function accrue(uint256 modelId, uint32 crew, address trainer, address asset) external returns (uint256 amount);
    function accrued(uint256 modelId, uint32 crew, address trainer, address asset) external view returns (uint256);
    function collect(uint256 hostingId, address builder, address asset) external returns (uint256 amount);
    function collectedOf(uint256 hostingId) external view returns (uint128);
    function contribute(uint256 modelId, address asset, uint256 amount) external;
    function court() external view returns (address);
    function crewCount(uint256 modelId) external view returns (uint32);
    function drawPool(uint8 pool, uint256 modelId, address asset, address account, uint256 amount) external;
    function factory() external view returns (address);
    function gate() external view returns (address);
    function ledger() external view returns (address);
    function locked(address till, address asset) external view returns (uint256);
    function multicall(bytes[] data) external returns (bytes[] results);
    function openTrainers(uint256 modelId, Grant[] trainers) external;
    function owed(address account, address asset) external view returns (uint256);
    function parameters() external view returns (address);
    function pooled(uint8, uint256 modelId, address asset) external view returns (uint256);
    function probeBoard() external view returns (address);
    function registry() external view returns (address);
    function release(uint256 hostingId, address builder, address asset) external returns (uint256 amount);
    function routeOf(uint256 modelId) external view returns (Route);
    function scheduleRoute(uint256 modelId, Route route) external;
    function setTrainers(uint256 modelId, Grant[] trainers) external;
    function till() external view returns (address);
    function tillOf(uint256 hostingId, address builder) external view returns (address);
    function treasury() external view returns (address);
    function weightOf(uint256 modelId, uint32 crew, address trainer) external view returns (uint128, uint128);
    function withdraw(address account, address asset) external returns (uint256 amount);
    function withdrawable(address account, address asset, uint256[] modelIds) external view returns (uint256 amount);
    event Allocated(uint256 indexed modelId, uint256 indexed hostingId, address indexed asset, Parts parts);
    event Collected(uint256 indexed modelId, uint256 indexed hostingId, address indexed builder, address asset, uint256 amount);
    event Contributed(uint256 indexed modelId, uint256 indexed from, address indexed asset, uint256 amount);
    event Locked(uint256 indexed modelId, uint32 indexed version, address indexed till, address asset, uint256 amount);
    event PoolDrawn(uint8 indexed pool, uint256 indexed modelId, address indexed account, address asset, uint256 amount);
    event Released(uint256 indexed modelId, uint32 indexed version, address indexed till, address asset, uint256 amount);
    event RouteScheduled(uint256 indexed modelId, uint32 indexed epoch, Route route);
    event TrainersSet(uint256 indexed modelId, uint32 indexed crew, Grant[] trainers);
    event Withdrawn(address indexed account, address indexed asset, uint256 amount);
    error AddressEmptyCode(address target);
    error CloneArgumentsTooLong();
    error Create2EmptyBytecode();
    error FailedCall();
    error FailedDeployment();
    error InsufficientBalance(uint256 balance, uint256 needed);
    error ReentrancyGuardReentrantCall();
    error Router_AmountChanged(address asset, uint256 expected, uint256 received);
    error Router_AssetRefused(uint256 modelId, address asset);
    error Router_BadTrainers();
    error Router_Locked(uint256 modelId, uint32 version);
    error Router_NotController(uint256 modelId, address caller);
    error Router_NotParty(address caller);
    error Router_PoolEmpty(uint256 asked, uint256 available);
    error Router_RouteStep();
    error Router_RouteSum(uint256 sum);
    error SafeCastOverflowedUintDowncast(uint8 bits, uint256 value);
    error SafeERC20FailedOperation(address token);
}
