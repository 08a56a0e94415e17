// Made by `cargo xtask contracts --write`.
contract Launcher {
    function addressOf(address account, bytes32 name) external view returns (address);
    function deploy(bytes32 name, bytes initCode) external returns (address at);
    event Deployed(address indexed account, bytes32 indexed name, address at);
    error Create2EmptyBytecode();
    error Create3EmptyBytecode();
    error FailedDeployment();
    error InsufficientBalance(uint256 balance, uint256 needed);
}
