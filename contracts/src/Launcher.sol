// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Create3} from "@openzeppelin/contracts/utils/Create3.sol";

/// @title Deploys contracts to addresses that follow from the deploying account and a name alone
/// @notice An address does not depend on the code, so that contracts can hold each other as immutables, and the place of a
/// contract that comes later (a court, a governor) is known from the start. The account is part of the salt: nobody
/// else can put anything at its addresses.
contract Launcher {
    /// @notice `account` put a contract called `name` at `at`.
    event Deployed(address indexed account, bytes32 indexed name, address at);

    /// @notice Deploys `initCode` under the caller's `name`. Reverts where the name is taken.
    function deploy(bytes32 name, bytes calldata initCode) external returns (address at) {
        at = Create3.deploy(0, _salt(msg.sender, name), initCode);
        emit Deployed(msg.sender, name, at);
    }

    /// @notice Where the contract called `name` of `account` is, or will be.
    function addressOf(address account, bytes32 name) external view returns (address) {
        return Create3.computeAddress(_salt(account, name));
    }

    function _salt(address account, bytes32 name) private pure returns (bytes32) {
        return keccak256(abi.encode(account, name));
    }
}
