// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

/// @title Places drawn by a seed, without replacement
library Draw {
    /// @notice The first `count` places of a permutation of 0 to `size` - 1 that `seed` fixes; all of them where there
    /// are fewer.
    /// @dev A shuffle of which only the moved places are kept: `moved[i]` went to `from[i]`. The latest entry counts.
    function places(bytes32 seed, uint256 size, uint256 count) internal pure returns (uint256[] memory drawn) {
        if (count > size) count = size;
        drawn = new uint256[](count);
        uint256[] memory from = new uint256[](count);
        uint256[] memory moved = new uint256[](count);
        for (uint256 i = 0; i < count; ++i) {
            uint256 place = i + uint256(keccak256(abi.encode(seed, i))) % (size - i);
            drawn[i] = _at(from, moved, i, place);
            moved[i] = _at(from, moved, i, i);
            from[i] = place;
        }
    }

    function _at(uint256[] memory from, uint256[] memory moved, uint256 length, uint256 place)
        private
        pure
        returns (uint256)
    {
        for (uint256 i = length; i > 0; --i) {
            if (from[i - 1] == place) return moved[i - 1];
        }
        return place;
    }
}
