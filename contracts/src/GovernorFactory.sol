// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {IVotes} from "@openzeppelin/contracts/governance/utils/IVotes.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {ModelGovernor} from "./ModelGovernor.sol";
import {ModelTimelock} from "./ModelTimelock.sol";

/// @title Gives a model its governor and timelock
/// @notice Anybody may found them, at places that follow from the model's number alone; they rule nothing until the model's
/// controller hands the model to the timelock.
contract GovernorFactory {
    /// @notice The delay of a model's timelock.
    uint256 public constant DELAY_SECONDS = 1 days;

    IRegistry public immutable registry;
    /// @notice The code of all models' governors.
    address public immutable governorCode;
    /// @notice The code of all models' timelocks.
    address public immutable timelockCode;

    /// @notice A model has a governor and a timelock.
    event Founded(uint256 indexed modelId, address governor, address timelock);

    /// @dev There is no such model.
    error Factory_Unknown(uint256 modelId);

    constructor(IRegistry registry_, address governorCode_, address timelockCode_) {
        registry = registry_;
        governorCode = governorCode_;
        timelockCode = timelockCode_;
    }

    /// @notice Founds a model's governor and timelock; once.
    function found(uint256 modelId) external returns (address governor, address timelock) {
        address shares = registry.modelOf(modelId).shares;
        require(shares != address(0), Factory_Unknown(modelId));
        governor = Clones.cloneDeterministic(governorCode, bytes32(modelId));
        timelock = Clones.cloneDeterministic(timelockCode, bytes32(modelId));
        emit Founded(modelId, governor, timelock);
        address[] memory proposers = new address[](1);
        proposers[0] = governor;
        ModelTimelock(payable(timelock)).initialize(DELAY_SECONDS, proposers, new address[](1), address(0));
        ModelGovernor(payable(governor)).initialize(modelId, IVotes(shares), ModelTimelock(payable(timelock)));
    }

    /// @notice Where a model's governor is, or will be.
    function governorOf(uint256 modelId) external view returns (address) {
        return Clones.predictDeterministicAddress(governorCode, bytes32(modelId));
    }

    /// @notice Where a model's timelock is, or will be: whom a controller hands the model to.
    function timelockOf(uint256 modelId) external view returns (address) {
        return Clones.predictDeterministicAddress(timelockCode, bytes32(modelId));
    }
}
