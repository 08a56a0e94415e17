// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Grant} from "../libraries/Messages.sol";

/// @title Shares of a model, as the router and the factory see them
interface IModelShares {
    /// @notice Makes a clone the shares of a model and mints them.
    function initialize(
        uint256 modelId,
        string calldata name,
        string calldata symbol,
        Grant[] calldata grants,
        address treasury,
        uint16 reserveBps
    ) external;

    /// @notice Divides `amount`, which the router keeps for this contract, among the holders; only the router may.
    function distribute(address asset, uint256 amount) external;
}
