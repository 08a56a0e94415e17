// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Governor} from "@openzeppelin/contracts/governance/Governor.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {GovernorCountingSimple} from "@openzeppelin/contracts/governance/extensions/GovernorCountingSimple.sol";
import {GovernorPreventLateQuorum} from "@openzeppelin/contracts/governance/extensions/GovernorPreventLateQuorum.sol";
import {GovernorProposalGuardian} from "@openzeppelin/contracts/governance/extensions/GovernorProposalGuardian.sol";
import {GovernorTimelockControl} from "@openzeppelin/contracts/governance/extensions/GovernorTimelockControl.sol";
import {GovernorVotes} from "@openzeppelin/contracts/governance/extensions/GovernorVotes.sol";
import {IVotes} from "@openzeppelin/contracts/governance/utils/IVotes.sol";

/// @title The DAO of the protocol: holders of LOYAL vote, the timelock carries out
/// @notice Its own rules are constants: a vote changes parameters of the protocol, not how votes are counted. Votes are those of
/// a moment after the proposal, so that what is borrowed for a block has none.
contract LoyalGovernor is
    Governor,
    GovernorCountingSimple,
    GovernorVotes,
    GovernorPreventLateQuorum,
    GovernorProposalGuardian,
    GovernorTimelockControl
{
    uint256 public constant QUORUM_PERCENT = 4;
    uint48 public constant DELAY_SECONDS = 1 days;
    uint32 public constant VOTE_SECONDS = 5 days;
    /// @notice A quorum that is reached late leaves at least so long to answer it.
    uint48 public constant LATE_SECONDS = 1 days;
    /// @notice The votes that a proposal needs behind it.
    uint256 public constant THRESHOLD = 1_000_000e18;

    /// @dev The timelock is for ever.
    error Governor_TimelockFixed();

    constructor(IVotes currency, TimelockController timelock_)
        Governor("LoyalGovernor")
        GovernorVotes(currency)
        GovernorPreventLateQuorum(LATE_SECONDS)
        GovernorTimelockControl(timelock_)
    {}

    /// @notice Refuses: a timelock without a delay could take this one's place.
    function updateTimelock(TimelockController) public pure override {
        revert Governor_TimelockFixed();
    }

    /// @inheritdoc Governor
    function votingDelay() public pure override returns (uint256) {
        return DELAY_SECONDS;
    }

    /// @inheritdoc Governor
    function votingPeriod() public pure override returns (uint256) {
        return VOTE_SECONDS;
    }

    /// @inheritdoc Governor
    function proposalThreshold() public pure override returns (uint256) {
        return THRESHOLD;
    }

    /// @inheritdoc Governor
    function quorum(uint256 timepoint) public view override returns (uint256) {
        return (token().getPastTotalSupply(timepoint) * QUORUM_PERCENT) / 100;
    }

    /// @inheritdoc Governor
    function state(uint256 proposalId) public view override(Governor, GovernorTimelockControl) returns (ProposalState) {
        return super.state(proposalId);
    }

    /// @inheritdoc Governor
    function proposalNeedsQueuing(uint256 proposalId)
        public
        view
        override(Governor, GovernorTimelockControl)
        returns (bool)
    {
        return super.proposalNeedsQueuing(proposalId);
    }

    /// @inheritdoc Governor
    function proposalDeadline(uint256 proposalId)
        public
        view
        override(Governor, GovernorPreventLateQuorum)
        returns (uint256)
    {
        return super.proposalDeadline(proposalId);
    }

    function _tallyUpdated(uint256 proposalId) internal override(Governor, GovernorPreventLateQuorum) {
        super._tallyUpdated(proposalId);
    }

    function _validateCancel(uint256 proposalId, address caller)
        internal
        view
        override(Governor, GovernorProposalGuardian)
        returns (bool)
    {
        return super._validateCancel(proposalId, caller);
    }

    function _queueOperations(
        uint256 proposalId,
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) internal override(Governor, GovernorTimelockControl) returns (uint48) {
        return super._queueOperations(proposalId, targets, values, calldatas, descriptionHash);
    }

    function _executeOperations(
        uint256 proposalId,
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) internal override(Governor, GovernorTimelockControl) {
        super._executeOperations(proposalId, targets, values, calldatas, descriptionHash);
    }

    function _cancel(
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) internal override(Governor, GovernorTimelockControl) returns (uint256) {
        return super._cancel(targets, values, calldatas, descriptionHash);
    }

    function _executor() internal view override(Governor, GovernorTimelockControl) returns (address) {
        return super._executor();
    }
}
