// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IMatcher} from "./interfaces/IMatcher.sol";

/// @title Scheme `verbatim`: the answer is one of k candidates, and only the Beacon says which
/// @notice One coin for each fingerprint: the first answer that begins with a candidate. Answers to one query are not
/// independent of each other, so the others add nothing.
contract VerbatimMatcher is IMatcher {
    /// @notice The fewest and the most candidates of a fingerprint.
    uint256 public constant WIDTH_MIN = 2;
    uint256 public constant WIDTH_MAX = 256;

    /// @dev The leaf names too few candidates, or too many.
    error Matcher_BadWidth(uint256 width);

    /// @inheritdoc IMatcher
    function count(bytes32 secret, bytes calldata parameters, bytes[] calldata replies)
        external
        pure
        returns (uint32 k, uint16 hits, uint16 coins)
    {
        bytes[] memory candidates = abi.decode(parameters, (bytes[]));
        uint256 width = candidates.length;
        require(width >= WIDTH_MIN && width <= WIDTH_MAX, Matcher_BadWidth(width));
        k = uint32(width);
        uint256 chosen = uint256(keccak256(abi.encode(secret))) % width;
        for (uint256 i = 0; i < replies.length; ++i) {
            uint256 found = _candidate(candidates, abi.decode(replies[i], (bytes[])));
            if (found == width) continue;
            return (k, found == chosen ? 1 : 0, 1);
        }
    }

    /// @dev The first candidate that is the answer's first pieces, whole pieces only; `candidates.length` for none.
    function _candidate(bytes[] memory candidates, bytes[] memory pieces) private pure returns (uint256) {
        for (uint256 i = 0; i < candidates.length; ++i) {
            if (_begins(candidates[i], pieces)) return i;
        }
        return candidates.length;
    }

    function _begins(bytes memory candidate, bytes[] memory pieces) private pure returns (bool) {
        uint256 done = 0;
        for (uint256 i = 0; i < pieces.length; ++i) {
            bytes memory piece = pieces[i];
            if (piece.length == 0 || done + piece.length > candidate.length) return false;
            for (uint256 j = 0; j < piece.length; ++j) {
                if (candidate[done + j] != piece[j]) return false;
            }
            done += piece.length;
            if (done == candidate.length) return true;
        }
        return false;
    }
}
