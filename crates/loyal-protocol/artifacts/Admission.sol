// Made by `cargo xtask contracts --write`.
contract Admission {
    struct ChannelConfig {
        address payer;
        address payerAuthorizer;
        address receiver;
        address receiverAuthorizer;
        address token;
        uint40 withdrawDelay;
        bytes32 salt;
    }
    struct Credential {
        uint256 modelId;
        uint32 version;
        uint256 hostingId;
        address holder;
        address builder;
        address asset;
        bytes32 requestHash;
        bytes32 policyHash;
        uint32 scopes;
        uint32 callsMax;
        uint128 spendMax;
        uint64 notBefore;
        uint64 expiresAt;
        uint32 modelGeneration;
        uint32 holderGeneration;
        bytes32 salt;
    }
    struct Invocation {
        bytes32 credentialId;
        uint256 hostingId;
        uint32 version;
        bytes32 channelId;
        uint64 nonce;
        bytes32 requestHash;
        uint128 amountMax;
        uint64 deadline;
    }
    struct Showing {
        Credential credential;
        address issuer;
        bytes credentialSignature;
        Invocation invocation;
        bytes invocationSignature;
        bytes32 requestHash;
        address builder;
        ChannelConfig channel;
        uint128 maxClaimableAmount;
        bytes voucherSignature;
    }
    constructor(address registry_, address gate_, address credentials_, address channel_, address router_);
    function SCOPE_INVOKE() external view returns (uint32);
    function admit(Showing showing) external view returns (uint8);
    function channel() external view returns (address);
    function credentials() external view returns (address);
    function gate() external view returns (address);
    function registry() external view returns (address);
    function router() external view returns (address);
}
