// Made by `cargo xtask contracts --write`.
contract ModelFactory {
    struct Agreement {
        bytes32 subject;
        Grant[] grants;
        uint16 reserveBps;
        uint64 expiresAt;
    }
    struct Creation {
        string name;
        string symbol;
        bool openHosting;
        VersionTerms version;
        Agreement agreement;
        bytes[] signatures;
    }
    struct FactoryParties {
        address registry;
        address router;
        address vault;
        address parameters;
        address currency;
        address court;
        address sharesCode;
        address treasuryCode;
    }
    struct Grant {
        address account;
        uint16 bps;
    }
    struct VersionTerms {
        bytes32 manifestRoot;
        bytes32 weightsRoot;
        address committer;
        bytes32 leafRoot;
        uint256 parentModel;
        uint32 parentVersion;
        bytes32 trainingRoot;
        bytes32 evaluationRoot;
        bytes32 termsHash;
        bytes32 policyHash;
        string uri;
    }
    constructor(FactoryParties parties);
    function bondOf(uint256 modelId) external view returns (bytes32);
    function court() external view returns (address);
    function create(Creation creation) external returns (uint256 modelId);
    function currency() external view returns (address);
    function parameters() external view returns (address);
    function registry() external view returns (address);
    function releaseBond(uint256 modelId) external;
    function router() external view returns (address);
    function sharesCode() external view returns (address);
    function subjectOf(bytes32 manifestRoot, bytes32 fingerprintRoot) external pure returns (bytes32);
    function treasuryCode() external view returns (address);
    function vault() external view returns (address);
    event BondReleased(uint256 indexed modelId, uint128 amount);
    event ModelCreated(uint256 indexed modelId, address indexed owner, address shares, address treasury, bytes32 agreementId);
    error Factory_BondHeld(uint256 modelId);
    error Factory_Expired(uint64 expiresAt);
    error Factory_OtherSubject(bytes32 expected, bytes32 found);
    error Factory_SplitSum(uint256 sum);
    error Factory_UnsignedGrant(address account);
    error FailedDeployment();
    error InsufficientBalance(uint256 balance, uint256 needed);
    error SafeERC20FailedOperation(address token);
}
