// Made by `cargo xtask contracts --write`.
contract Beacon {
    struct Draw {
        bytes32 mix;
        bytes32 seed;
        uint32 commits;
        uint32 reveals;
        bool weak;
    }
    constructor(address parameters_, address vault_, address court_, address currency_);
    function REVEAL_SECONDS() external view returns (uint64);
    function close(uint32 epoch) external returns (bytes32);
    function commit(uint32 epoch, bytes32 commitment) external;
    function commitOf(uint32 epoch, address validator) external view returns (bytes32);
    function court() external view returns (address);
    function currency() external view returns (address);
    function drawOf(uint32 epoch) external view returns (Draw);
    function parameters() external view returns (address);
    function reveal(uint32 epoch, bytes32 secret) external;
    function seed(uint32 epoch) external view returns (bytes32 value);
    function vault() external view returns (address);
    event Committed(uint32 indexed epoch, address indexed validator);
    event Revealed(uint32 indexed epoch, address indexed validator, bytes32 secret);
    event Seeded(uint32 indexed epoch, bytes32 seed, bool weak);
    error Beacon_BadReveal(uint32 epoch);
    error Beacon_NotReady(uint32 epoch);
    error Beacon_NotValidator(address account);
    error Beacon_Repeated(uint32 epoch);
}
