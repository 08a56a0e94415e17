// Made by `cargo xtask contracts --write`.
contract AuthorizationCollector {
    constructor(address channel_);
    function channel() external view returns (address);
    function collect(address payer, address token, uint256 amount, bytes32 channelId, bytes collectorData) external;
    error Collector_NotChannel(address caller);
    error SafeERC20FailedOperation(address token);
}
