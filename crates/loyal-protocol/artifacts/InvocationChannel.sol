// Made by `cargo xtask contracts --write`.
contract InvocationChannel {
    struct ChannelConfig {
        address payer;
        address payerAuthorizer;
        address receiver;
        address receiverAuthorizer;
        address token;
        uint40 withdrawDelay;
        bytes32 salt;
    }
    struct Voucher {
        ChannelConfig channel;
        uint128 maxClaimableAmount;
    }
    struct VoucherClaim {
        Voucher voucher;
        bytes signature;
        uint128 totalClaimed;
    }
    constructor();
    function CHANNEL_CONFIG_TYPEHASH() external view returns (bytes32);
    function CLAIM_BATCH_TYPEHASH() external view returns (bytes32);
    function CLAIM_ENTRY_TYPEHASH() external view returns (bytes32);
    function MAX_WITHDRAW_DELAY() external view returns (uint40);
    function MIN_WITHDRAW_DELAY() external view returns (uint40);
    function REFUND_TYPEHASH() external view returns (bytes32);
    function VOUCHER_TYPEHASH() external view returns (bytes32);
    function channels(bytes32 channelId) external view returns (uint128 balance, uint128 totalClaimed);
    function claim(VoucherClaim[] voucherClaims) external;
    function claimWithSignature(VoucherClaim[] voucherClaims, bytes authorizerSignature) external;
    function deposit(ChannelConfig config, uint128 amount, address collector, bytes collectorData) external;
    function eip712Domain() external view returns (bytes1 fields, string name, string version, uint256 chainId, address verifyingContract, bytes32 salt, uint256[] extensions);
    function finalizeWithdraw(ChannelConfig config) external;
    function getChannelId(ChannelConfig config) external view returns (bytes32);
    function getClaimBatchDigest(VoucherClaim[] voucherClaims) external view returns (bytes32);
    function getRefundDigest(bytes32 channelId, uint256 nonce, uint128 amount) external view returns (bytes32);
    function getVoucherDigest(bytes32 channelId, uint128 maxClaimableAmount) external view returns (bytes32);
    function initiateWithdraw(ChannelConfig config, uint128 amount) external;
    function multicall(bytes[] data) external returns (bytes[] results);
    function pendingWithdrawals(bytes32 channelId) external view returns (uint128 amount, uint40 initiatedAt);
    function receivers(address receiver, address token) external view returns (uint128 totalClaimed, uint128 totalSettled);
    function refund(ChannelConfig config, uint128 amount) external;
    function refundNonce(bytes32 channelId) external view returns (uint256);
    function refundWithSignature(ChannelConfig config, uint128 amount, uint256 nonce, bytes receiverAuthorizerSignature) external;
    function settle(address receiver, address token) external;
    event ChannelClosed(bytes32 indexed channelId, ChannelConfig config);
    event ChannelCreated(bytes32 indexed channelId, ChannelConfig config);
    event Claimed(bytes32 indexed channelId, address indexed sender, uint128 claimAmount, uint128 newTotalClaimed);
    event Deposited(bytes32 indexed channelId, address indexed sender, uint128 amount, uint128 newBalance);
    event EIP712DomainChanged();
    event Refunded(bytes32 indexed channelId, address indexed sender, uint128 amount);
    event Settled(address indexed receiver, address indexed token, address indexed sender, uint128 amount);
    event WithdrawFinalized(bytes32 indexed channelId, address indexed sender, uint128 amount);
    event WithdrawInitiated(bytes32 indexed channelId, uint128 amount, uint40 finalizeAfter);
    error AddressEmptyCode(address target);
    error ClaimExceedsBalance();
    error ClaimExceedsCeiling();
    error DepositCollectionFailed();
    error DepositOverflow();
    error ECDSAInvalidSignature();
    error ECDSAInvalidSignatureLength(uint256 length);
    error ECDSAInvalidSignatureS(bytes32 s);
    error EmptyBatch();
    error FailedCall();
    error InvalidChannel();
    error InvalidCollector();
    error InvalidRefundNonce();
    error InvalidShortString();
    error InvalidSignature();
    error NotAuthorizedToClaim();
    error NotAuthorizedToFinalizeWithdraw();
    error NotAuthorizedToRefund();
    error NotReceiverAuthorizer();
    error NothingToWithdraw();
    error ReentrancyGuardReentrantCall();
    error SafeERC20FailedOperation(address token);
    error StringTooLong(string str);
    error WithdrawAmountExceedsAvailable();
    error WithdrawDelayNotElapsed();
    error WithdrawDelayOutOfRange();
    error WithdrawalAlreadyPending();
    error WithdrawalNotPending();
    error ZeroDeposit();
    error ZeroRefund();
}
