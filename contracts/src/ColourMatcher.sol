// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IMatcher} from "./interfaces/IMatcher.sol";

/// @title Scheme `tilt`: every piece of text has a secret colour at every place of an answer
/// @notice One coin for each distinct piece at a place, however often it was drawn: repeated draws are not independent.
contract ColourMatcher is IMatcher {
    /// @notice How many places of an answer are coloured at most.
    uint16 public constant POSITIONS_MAX = 16;

    /// @dev The leaf colours no place, or too many.
    error Matcher_BadPositions(uint16 positions);

    /// @inheritdoc IMatcher
    function count(bytes32 secret, bytes calldata parameters, bytes[] calldata replies)
        external
        pure
        returns (uint32 k, uint16 hits, uint16 coins)
    {
        uint16 positions = abi.decode(parameters, (uint16));
        require(positions != 0 && positions <= POSITIONS_MAX, Matcher_BadPositions(positions));
        k = 2;
        bytes32[] memory seen = new bytes32[](replies.length * positions);
        for (uint256 i = 0; i < replies.length; ++i) {
            bytes[] memory pieces = abi.decode(replies[i], (bytes[]));
            for (uint16 j = 0; j < positions && j < pieces.length; ++j) {
                bytes32 digest = keccak256(abi.encode(secret, j, pieces[j]));
                if (pieces[j].length == 0 || _isIn(seen, coins, digest)) continue;
                seen[coins++] = digest;
                if (uint256(digest) & 1 == 1) ++hits;
            }
        }
    }

    function _isIn(bytes32[] memory seen, uint256 length, bytes32 digest) private pure returns (bool) {
        for (uint256 i = 0; i < length; ++i) {
            if (seen[i] == digest) return true;
        }
        return false;
    }
}
