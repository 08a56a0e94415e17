// Made by `cargo xtask contracts --write`.
contract GenesisVesting {
    struct Allocation {
        address beneficiary;
        uint16 bps;
        uint16 freeBps;
        uint64 cliff;
        uint64 duration;
        uint256 released;
    }
    constructor(address currency_, uint256 supply_, uint64 start_, address[5] beneficiaries);
    function COUNT() external view returns (uint256);
    function allocationOf(uint256 index) external view returns (Allocation);
    function currency() external view returns (address);
    function release(uint256 index) external returns (uint256 amount);
    function setBeneficiary(uint256 index, address beneficiary) external;
    function start() external view returns (uint64);
    function supply() external view returns (uint256);
    function vested(uint256 index, uint256 time) external view returns (uint256);
    event BeneficiaryChanged(uint256 indexed index, address indexed beneficiary);
    event Released(uint256 indexed index, address indexed beneficiary, uint256 amount);
    error SafeERC20FailedOperation(address token);
    error Vesting_NotBeneficiary(address caller);
}
