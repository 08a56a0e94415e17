// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Outcome} from "./IDisputeCourt.sol";

/// @notice What a jury came to. It sat if more than half of it revealed.
struct Tally {
    bool sat;
    Outcome outcome;
    uint16 hits;
    uint16 trials;
}

/// @title Juries of validators, drawn by the Beacon
interface IJury {
    /// @notice Calls a jury of `size` for a round, drawn by the next epoch's seed; only the court may.
    /// @return revealBy When all ballots must be open.
    function convene(bytes32 claimId, uint8 round, uint8 size, address[] calldata barred)
        external
        returns (uint64 revealBy);

    /// @notice What the ballots of a round come to.
    function tally(bytes32 claimId, uint8 round) external view returns (Tally memory);

    /// @notice Who of a round voted for an outcome.
    function votersFor(bytes32 claimId, uint8 round, Outcome outcome) external view returns (address[] memory);
}
