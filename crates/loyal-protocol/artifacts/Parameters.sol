// Made by `cargo xtask contracts --write`.
contract Parameters {
    constructor(address timelock_, uint64 genesisTime_);
    function bounds(uint8 parameter) external view returns (uint256 min, uint256 max);
    function epochAt(uint256 time) external view returns (uint32);
    function epochStart(uint32 epoch) external view returns (uint64);
    function genesisTime() external view returns (uint64);
    function get(uint8 parameter) external view returns (uint256);
    function set(uint8 parameter, uint256 value) external;
    function timelock() external view returns (address);
    event ParameterSet(uint8 indexed parameter, uint256 before, uint256 value);
    error Parameters_BeforeGenesis(uint256 time);
    error Parameters_NotTimelock(address caller);
    error Parameters_OutOfBounds(uint8 parameter, uint256 value, uint256 min, uint256 max);
}
