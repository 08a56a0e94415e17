// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

/// @notice What governance may set, each within bounds that it may not.
enum Parameter {
    OwnershipWindow,
    SupersededGrace,
    ReportDue,
    LateBpsPerHour,
    LateHoursMax,
    BondFactor,
    DuesAfter,
    Thaw,
    ProtocolFeeBps,
    RoyaltyBps,
    OnboardingBond,
    VersionMintBps,
    ValidatorSeat,
    ProverSeat,
    ReceiptClaimBond,
    UseClaimBond,
    OwnershipClaimBond,
    ReceiptAnswer,
    UseAnswer,
    BallotCommit,
    BallotReveal,
    AppealWindow,
    JurySeats,
    AppealSeats
}

/// @title Governed values, and the protocol's count of days
interface IParameters {
    /// @notice The value of a parameter.
    function get(Parameter parameter) external view returns (uint256);

    /// @notice When epoch 0 began, in unix seconds.
    function genesisTime() external view returns (uint64);

    /// @notice The epoch of a time. Reverts before genesis.
    function epochAt(uint256 time) external view returns (uint32);

    /// @notice When an epoch begins, in unix seconds.
    function epochStart(uint32 epoch) external view returns (uint64);
}
