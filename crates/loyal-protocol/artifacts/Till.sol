// Made by `cargo xtask contracts --write`.
contract Till {
    constructor(address router_);
    function router() external view returns (address);
    function sweep(address asset) external returns (uint256 amount);
    error SafeERC20FailedOperation(address token);
    error Till_NotRouter(address caller);
}
