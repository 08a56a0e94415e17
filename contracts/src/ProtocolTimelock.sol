// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";

/// @title The timelock behind which the protocol's policy stands; also its treasury
/// @notice Starts with founding proposers, who hand the role to the governor and give up theirs. Anybody executes what is
/// due. It administers its own roles, so that no account can shorten the delay alone.
contract ProtocolTimelock is TimelockController {
    /// @dev A delay of zero would take a queued operation for done on a chain whose clock starts at one.
    error Timelock_NoDelay();

    constructor(uint256 minDelay, address[] memory proposers)
        TimelockController(minDelay, proposers, new address[](1), address(0))
    {
        require(minDelay > 0, Timelock_NoDelay());
    }

    /// @notice The delay of operations: what was set last, and never nothing.
    function getMinDelay() public view override returns (uint256) {
        uint256 delay = super.getMinDelay();
        return delay == 0 ? 1 : delay;
    }
}
