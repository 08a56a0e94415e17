// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {
    TimelockControllerUpgradeable
} from "@openzeppelin/contracts-upgradeable/governance/TimelockControllerUpgradeable.sol";

/// @title The timelock that controls a model once its holders govern it
/// @notice A clone for each model. Only the model's governor proposes, anybody executes what is due, and no vote makes the delay
/// shorter than a day.
contract ModelTimelock is TimelockControllerUpgradeable {
    uint256 public constant DELAY_SECONDS_MIN = 1 days;

    constructor() {
        _disableInitializers();
    }

    /// @notice The delay of operations.
    function getMinDelay() public view override returns (uint256) {
        uint256 delay = super.getMinDelay();
        return delay < DELAY_SECONDS_MIN ? DELAY_SECONDS_MIN : delay;
    }
}
