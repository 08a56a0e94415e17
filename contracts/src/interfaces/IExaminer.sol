// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Outcome} from "./IDisputeCourt.sol";
import {Destination} from "./IStakeVault.sol";

/// @notice What an examiner found in the evidence of a claim.
/// @dev `beneficiary` is the model that claims ownership; `subject` is what cannot be claimed twice; `epoch` is that of the receipt; `proven` convicts at once; `jury` says
/// that facts are left which no contract can see.
struct Accusation {
    uint256 hostingId;
    uint256 modelId;
    uint256 beneficiary;
    uint32 version;
    uint32 epoch;
    address accused;
    bytes32 subject;
    bool proven;
    bool jury;
}

/// @notice What an upheld claim costs a hosting: the greater of `loss` and `bps` of its bond.
/// @dev `parts` divide the claimants' half by weight; without any the claimant has it.
struct Penalty {
    uint128 loss;
    uint16 bps;
    bool closes;
    Destination[] parts;
}

/// @title Judges the evidence of one kind of claim
/// @notice Only the court calls what changes anything.
interface IExaminer {
    /// @notice Looks at the evidence of a new claim; reverts where it is none.
    function open(bytes32 claimId, address claimant, bytes calldata evidence) external returns (Accusation memory);

    /// @notice Looks at an answer; true where it ends the claim.
    function answer(bytes32 claimId, bytes calldata data) external returns (bool dismissed);

    /// @notice Takes down what the accused says to the jury; reverts where no jury hears this kind.
    function plead(bytes32 claimId, bytes calldata data) external;

    /// @notice Whether the claim holds if nothing more is said.
    function stands(bytes32 claimId) external view returns (bool);

    /// @notice What a ballot with these counts says.
    function weigh(bytes32 claimId, Outcome outcome, uint16 hits, uint16 trials) external view returns (Outcome);

    /// @notice What an upheld claim costs.
    function penalty(bytes32 claimId) external view returns (Penalty memory);

    /// @notice Ends what the examiner holds for a claim.
    function close(bytes32 claimId, Outcome outcome) external;
}
