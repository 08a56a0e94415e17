// Made by `cargo xtask contracts --write`.
contract ColourMatcher {
    function POSITIONS_MAX() external view returns (uint16);
    function count(bytes32 secret, bytes parameters, bytes[] replies) external pure returns (uint32 k, uint16 hits, uint16 coins);
    error Matcher_BadPositions(uint16 positions);
}
