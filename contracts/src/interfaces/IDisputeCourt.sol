// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

/// @notice Of what a claim accuses. E1 kinds are decided by signatures and trees alone.
enum ClaimKind {
    None,
    Omitted,
    Overcharge,
    Equivocation,
    Unauthorised,
    Unreported,
    Leak,
    Ownership
}

/// @notice Where a claim stands. `Hung` waits for the governor after two juries that did not sit.
enum ClaimState {
    None,
    Open,
    Voting,
    Ruled,
    Hung,
    Final,
    Executed
}

/// @notice How a claim ends. `Forged` dismisses it and convicts provers of forgery.
enum Outcome {
    None,
    Upheld,
    Dismissed,
    Forged,
    Dropped
}

/// @notice A claim. `beneficiary` is the model that claims ownership; `accused` is the host, or who controlled the model when the claim was opened.
struct Claim {
    ClaimKind kind;
    ClaimState state;
    Outcome outcome;
    uint8 round;
    bool appealed;
    bool claimantAppealed;
    address claimant;
    address accused;
    uint256 hostingId;
    uint256 modelId;
    uint256 beneficiary;
    uint32 version;
    uint32 epoch;
    bytes32 subject;
    bytes32 evidenceRoot;
    uint128 bond;
    uint128 pleaBond;
    uint128 appealBond;
    uint64 openedAt;
    uint64 deadline;
}

/// @title What juries, boards and examiners may ask of the court
interface IDisputeCourt {
    /// @notice A claim.
    function claimOf(bytes32 claimId) external view returns (Claim memory);

    /// @notice Takes hundredths of a percent of a seat from an account's stake and burns it; only the court's own
    /// contracts may.
    function slashSeat(bytes32 subject, address account, uint16 bps) external returns (uint128 amount);

    /// @notice Burns a leaf that was opened; only the court's own contracts may.
    function burnLeaf(bytes32 commitment, uint32 index) external;
}
