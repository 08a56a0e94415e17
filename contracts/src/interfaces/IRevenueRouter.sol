// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Grant} from "../libraries/Messages.sol";

/// @title Where revenue arrives and is divided
interface IRevenueRouter {
    /// @notice The payee of invocations of a hosting that a builder brought.
    function tillOf(uint256 hostingId, address builder) external view returns (address);

    /// @notice Empties a till and divides what was in it.
    function collect(uint256 hostingId, address builder, address asset) external returns (uint256 amount);

    /// @notice All that was ever collected of a hosting, in its asset.
    function collectedOf(uint256 hostingId) external view returns (uint128);

    /// @notice Gives `amount` of the caller's to the holders of a model's shares.
    function contribute(uint256 modelId, address asset, uint256 amount) external;

    /// @notice Sends an account what is its own.
    function withdraw(address account, address asset) external returns (uint256 amount);

    /// @notice Sets the first trainers of a model; only the factory may.
    function openTrainers(uint256 modelId, Grant[] calldata trainers) external;
}
