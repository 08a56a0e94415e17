// Made by `cargo xtask contracts --write`.
contract ApprovalCollector {
    struct ChannelConfig {
        address payer;
        address payerAuthorizer;
        address receiver;
        address receiverAuthorizer;
        address token;
        uint40 withdrawDelay;
        bytes32 salt;
    }
    constructor(address channel_);
    function channel() external view returns (address);
    function collect(address payer, address token, uint256 amount, bytes32 channelId, bytes) external;
    function deposit(ChannelConfig config, uint128 amount) external;
    error Collector_NotChannel(address caller);
    error Collector_NotPayer(address payer);
    error SafeERC20FailedOperation(address token);
}
