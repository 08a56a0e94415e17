// Made by `cargo xtask contracts --write`.
contract GovernorFactory {
    constructor(address registry_, address governorCode_, address timelockCode_);
    function DELAY_SECONDS() external view returns (uint256);
    function found(uint256 modelId) external returns (address governor, address timelock);
    function governorCode() external view returns (address);
    function governorOf(uint256 modelId) external view returns (address);
    function registry() external view returns (address);
    function timelockCode() external view returns (address);
    function timelockOf(uint256 modelId) external view returns (address);
    event Founded(uint256 indexed modelId, address governor, address timelock);
    error Factory_Unknown(uint256 modelId);
    error FailedDeployment();
    error InsufficientBalance(uint256 balance, uint256 needed);
}
