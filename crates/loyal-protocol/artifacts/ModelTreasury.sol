// Made by `cargo xtask contracts --write`.
contract ModelTreasury {
    constructor(address registry_, address factory_);
    function factory() external view returns (address);
    function initialize(uint256 modelId_) external;
    function modelId() external view returns (uint256);
    function pay(address asset, address to, uint256 amount) external;
    function registry() external view returns (address);
    event Initialized(uint64 version);
    event Paid(address indexed asset, address indexed to, uint256 amount);
    error InvalidInitialization();
    error NotInitializing();
    error SafeERC20FailedOperation(address token);
    error Treasury_NotController(address caller);
    error Treasury_NotFactory(address caller);
}
