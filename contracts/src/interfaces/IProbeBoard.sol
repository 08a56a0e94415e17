// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Destination} from "./IStakeVault.sol";

/// @notice Where a probe stands. `Refused`: the owner gave no ticket; `Unopened`: it did not open the answer; `Void`: the leaf was
/// burnt before; `Shown`: the host showed a receipt; `Struck`: a jury called it forged.
enum ProbeState {
    None,
    Committed,
    Refused,
    Requested,
    Opened,
    Unopened,
    Void,
    Shown,
    Struck
}

/// @notice A slot's probe. `floor` is what the model asked for a call when the result was committed.
struct Probe {
    address prover;
    ProbeState state;
    uint8 mode;
    uint32 k;
    uint16 hits;
    uint16 coins;
    uint32 generation;
    uint32 index;
    uint64 requestedAt;
    uint64 expiresAt;
    uint128 floor;
    bytes32 resultId;
    bytes32 ticketId;
    bytes32 observedCommit;
    bytes32 queryHash;
}

/// @notice Names a slot of a hosting.
struct Slot {
    uint256 hostingId;
    uint32 epoch;
    uint16 number;
}

/// @notice What the probes of a window show.
struct Summary {
    int64 bits;
    uint32 provers;
    uint32 attested;
    uint32 generation;
}

/// @title Probes, as examiners see them
interface IProbeBoard {
    /// @notice A slot's probe.
    function probeOf(Slot calldata slot) external view returns (Probe memory);

    /// @notice The window of an epoch, counted from the hosting's first probed day.
    function windowOf(uint256 hostingId, uint32 epoch) external view returns (uint32);

    /// @notice What the probes of a window show now.
    function summaryOf(uint256 hostingId, uint32 window) external view returns (Summary memory);

    /// @notice The provers whose coins speak in a window, with how many each has.
    function partsOf(uint256 hostingId, uint32 window) external view returns (Destination[] memory);

    /// @notice Holds a window's count for a claim; only the examiner may.
    function hold(uint256 hostingId, uint32 window) external;

    /// @notice Takes a probe out of its window's count; only the examiner may.
    /// @param forged Whether its prover loses a quarter of its seat.
    function strike(Slot calldata slot, bool forged) external;

    /// @notice Ends the hold; an upheld claim has used up the count.
    function settle(uint256 hostingId, uint32 window, bool used) external;
}
