// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {GovernorUpgradeable} from "@openzeppelin/contracts-upgradeable/governance/GovernorUpgradeable.sol";
import {
    TimelockControllerUpgradeable
} from "@openzeppelin/contracts-upgradeable/governance/TimelockControllerUpgradeable.sol";
import {
    GovernorCountingSimpleUpgradeable
} from "@openzeppelin/contracts-upgradeable/governance/extensions/GovernorCountingSimpleUpgradeable.sol";
import {
    GovernorPreventLateQuorumUpgradeable
} from "@openzeppelin/contracts-upgradeable/governance/extensions/GovernorPreventLateQuorumUpgradeable.sol";
import {
    GovernorTimelockControlUpgradeable
} from "@openzeppelin/contracts-upgradeable/governance/extensions/GovernorTimelockControlUpgradeable.sol";
import {
    GovernorVotesUpgradeable
} from "@openzeppelin/contracts-upgradeable/governance/extensions/GovernorVotesUpgradeable.sol";
import {IVotes} from "@openzeppelin/contracts/governance/utils/IVotes.sol";
import {VersionTerms} from "./interfaces/IRegistry.sol";
import {Registry} from "./Registry.sol";
import {RevenueRouter} from "./RevenueRouter.sol";

/// @title The DAO of one model: holders of its shares vote, the model's timelock carries out
/// @notice A clone for each model. Whatever could change who owns the model, how it is split or under which legal terms it
/// stands needs two thirds; the rest needs half.
contract ModelGovernor is
    GovernorUpgradeable,
    GovernorCountingSimpleUpgradeable,
    GovernorVotesUpgradeable,
    GovernorPreventLateQuorumUpgradeable,
    GovernorTimelockControlUpgradeable
{
    uint256 public constant QUORUM_PERCENT = 10;
    /// @notice The quorum is never less, however few shares there are.
    uint256 public constant QUORUM_MIN = 50_000e18;
    uint256 public constant THRESHOLD_PERCENT = 1;
    uint256 public constant MAJORITY_PERCENT = 50;
    uint256 public constant OWNER_MAJORITY_PERCENT = 66;
    uint48 public constant DELAY_SECONDS = 1 days;
    uint32 public constant VOTE_SECONDS = 3 days;
    uint48 public constant LATE_SECONDS = 1 days;

    Registry public immutable registry;
    RevenueRouter public immutable router;

    /// @notice Whether a proposal needs two thirds.
    mapping(uint256 proposalId => bool) public isForOwners;
    /// @notice The model.
    uint256 public modelId;

    /// @dev The timelock is for ever.
    error Governor_TimelockFixed();

    constructor(Registry registry_, RevenueRouter router_) {
        registry = registry_;
        router = router_;
        _disableInitializers();
    }

    /// @notice Makes a clone the governor of a model.
    function initialize(uint256 modelId_, IVotes shares, TimelockControllerUpgradeable timelock_) external initializer {
        __Governor_init("ModelGovernor");
        __GovernorVotes_init(shares);
        __GovernorPreventLateQuorum_init(LATE_SECONDS);
        __GovernorTimelockControl_init(timelock_);
        modelId = modelId_;
    }

    /// @notice Refuses: a timelock without a delay could take this one's place.
    function updateTimelock(TimelockControllerUpgradeable) public pure override {
        revert Governor_TimelockFixed();
    }

    /// @inheritdoc GovernorUpgradeable
    function votingDelay() public pure override returns (uint256) {
        return DELAY_SECONDS;
    }

    /// @inheritdoc GovernorUpgradeable
    function votingPeriod() public pure override returns (uint256) {
        return VOTE_SECONDS;
    }

    /// @inheritdoc GovernorUpgradeable
    function proposalThreshold() public view override returns (uint256) {
        return (token().getPastTotalSupply(clock() - 1) * THRESHOLD_PERCENT) / 100;
    }

    /// @inheritdoc GovernorUpgradeable
    function quorum(uint256 timepoint) public view override returns (uint256) {
        uint256 part = (token().getPastTotalSupply(timepoint) * QUORUM_PERCENT) / 100;
        return part < QUORUM_MIN ? QUORUM_MIN : part;
    }

    /// @inheritdoc GovernorUpgradeable
    function state(uint256 proposalId)
        public
        view
        override(GovernorUpgradeable, GovernorTimelockControlUpgradeable)
        returns (ProposalState)
    {
        return super.state(proposalId);
    }

    /// @inheritdoc GovernorUpgradeable
    function proposalNeedsQueuing(uint256 proposalId)
        public
        view
        override(GovernorUpgradeable, GovernorTimelockControlUpgradeable)
        returns (bool)
    {
        return super.proposalNeedsQueuing(proposalId);
    }

    /// @inheritdoc GovernorUpgradeable
    function proposalDeadline(uint256 proposalId)
        public
        view
        override(GovernorUpgradeable, GovernorPreventLateQuorumUpgradeable)
        returns (uint256)
    {
        return super.proposalDeadline(proposalId);
    }

    function _propose(
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        string memory description,
        address proposer
    ) internal override returns (uint256 proposalId) {
        proposalId = super._propose(targets, values, calldatas, description, proposer);
        for (uint256 i = 0; i < targets.length; ++i) {
            if (_isOwners(targets[i], calldatas[i])) isForOwners[proposalId] = true;
        }
    }

    function _voteSucceeded(uint256 proposalId)
        internal
        view
        override(GovernorUpgradeable, GovernorCountingSimpleUpgradeable)
        returns (bool)
    {
        (uint256 against, uint256 pro,) = proposalVotes(proposalId);
        uint256 all = against + pro;
        if (isForOwners[proposalId]) return all != 0 && pro * 100 >= all * OWNER_MAJORITY_PERCENT;
        return pro * 100 > all * MAJORITY_PERCENT;
    }

    /// @dev Of what the registry, the router and the DAO's own contracts can do, only what is named here is for half of the votes:
    /// a door that nobody thought of is for two thirds.
    function _isOwners(address target, bytes memory data) private view returns (bool) {
        // forge-lint: disable-next-line(unsafe-typecast) — the selector is the first four bytes.
        bytes4 selector = bytes4(data);
        if (target == address(registry)) {
            if (selector == Registry.submitVersion.selector) return _changesTerms(data);
            return selector != Registry.setFloor.selector && selector != Registry.setOpenHosting.selector;
        }
        if (target == address(router)) return selector != RevenueRouter.contribute.selector;
        return target == address(this) || target == timelock();
    }

    function _changesTerms(bytes memory data) private view returns (bool) {
        bytes memory arguments = new bytes(data.length - 4);
        for (uint256 i = 0; i < arguments.length; ++i) {
            arguments[i] = data[i + 4];
        }
        (, VersionTerms memory terms) = abi.decode(arguments, (uint256, VersionTerms));
        uint32 active = registry.modelOf(modelId).activeVersion;
        return active == 0 || registry.versionOf(modelId, active).terms.termsHash != terms.termsHash;
    }

    function _tallyUpdated(uint256 proposalId)
        internal
        override(GovernorUpgradeable, GovernorPreventLateQuorumUpgradeable)
    {
        super._tallyUpdated(proposalId);
    }

    function _queueOperations(
        uint256 proposalId,
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) internal override(GovernorUpgradeable, GovernorTimelockControlUpgradeable) returns (uint48) {
        return super._queueOperations(proposalId, targets, values, calldatas, descriptionHash);
    }

    function _executeOperations(
        uint256 proposalId,
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) internal override(GovernorUpgradeable, GovernorTimelockControlUpgradeable) {
        super._executeOperations(proposalId, targets, values, calldatas, descriptionHash);
    }

    function _cancel(
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) internal override(GovernorUpgradeable, GovernorTimelockControlUpgradeable) returns (uint256) {
        return super._cancel(targets, values, calldatas, descriptionHash);
    }

    function _executor()
        internal
        view
        override(GovernorUpgradeable, GovernorTimelockControlUpgradeable)
        returns (address)
    {
        return super._executor();
    }
}
