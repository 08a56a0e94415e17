// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Outcome} from "../interfaces/IDisputeCourt.sol";
import {IExaminer} from "../interfaces/IExaminer.sol";

/// @title What all examiners share: only the court calls them, and most kinds of claim know neither answer nor jury
abstract contract Examiner is IExaminer {
    /// @notice The only caller.
    address public immutable court;

    /// @dev Only the court asks.
    error Examiner_NotCourt(address caller);
    /// @dev Claims of this kind are decided by their evidence; there is nothing to answer.
    error Examiner_NoAnswer();
    /// @dev No jury hears claims of this kind.
    error Examiner_NoJury();
    /// @dev What was shown is no evidence for this kind of claim; `fact` says where it fails.
    error Examiner_BadEvidence(bytes32 fact);
    /// @dev What was shown does not answer the claim; `fact` says where it fails.
    error Examiner_BadAnswer(bytes32 fact);
    /// @dev It cannot be told before then.
    error Examiner_TooEarly(uint256 from);

    modifier onlyCourt() {
        require(msg.sender == court, Examiner_NotCourt(msg.sender));
        _;
    }

    constructor(address court_) {
        court = court_;
    }

    /// @inheritdoc IExaminer
    function answer(bytes32, bytes calldata) external virtual onlyCourt returns (bool) {
        revert Examiner_NoAnswer();
    }

    /// @inheritdoc IExaminer
    function plead(bytes32, bytes calldata) external virtual onlyCourt {
        revert Examiner_NoJury();
    }

    /// @inheritdoc IExaminer
    function stands(bytes32) external view virtual returns (bool) {
        return true;
    }

    /// @inheritdoc IExaminer
    function weigh(bytes32, Outcome outcome, uint16, uint16) external view virtual returns (Outcome) {
        return outcome;
    }

    /// @inheritdoc IExaminer
    function close(bytes32, Outcome) external virtual onlyCourt {}
}
