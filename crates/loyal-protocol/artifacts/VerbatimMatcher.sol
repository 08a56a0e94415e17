// Made by `cargo xtask contracts --write`.
contract VerbatimMatcher {
    function WIDTH_MAX() external view returns (uint256);
    function WIDTH_MIN() external view returns (uint256);
    function count(bytes32 secret, bytes parameters, bytes[] replies) external pure returns (uint32 k, uint16 hits, uint16 coins);
    error Matcher_BadWidth(uint256 width);
}
