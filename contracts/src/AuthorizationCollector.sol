// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IAuthorizedTransfer} from "./interfaces/IAuthorizedTransfer.sol";
import {IDepositCollector} from "./interfaces/IInvocationChannel.sol";

/// @title Deposits under a signature of the payer (ERC-3009): the payer needs no gas
/// @notice The nonce of the authorization is `keccak256(abi.encode(channelId, salt))`, so that it is good for one channel only.
contract AuthorizationCollector is IDepositCollector {
    using SafeERC20 for IERC20;

    /// @notice The channel contract, and nobody else, collects.
    address public immutable channel;

    /// @dev The caller is not the channel contract.
    error Collector_NotChannel(address caller);

    constructor(address channel_) {
        channel = channel_;
    }

    /// @inheritdoc IDepositCollector
    /// @param collectorData `abi.encode(uint256 validAfter, uint256 validBefore, uint256 salt, bytes signature)`
    function collect(address payer, address token, uint256 amount, bytes32 channelId, bytes calldata collectorData)
        external
    {
        require(msg.sender == channel, Collector_NotChannel(msg.sender));
        (uint256 validAfter, uint256 validBefore, uint256 salt, bytes memory signature) =
            abi.decode(collectorData, (uint256, uint256, uint256, bytes));
        bytes32 nonce = keccak256(abi.encode(channelId, salt));
        IAuthorizedTransfer(token)
            .receiveWithAuthorization(payer, address(this), amount, validAfter, validBefore, nonce, signature);
        IERC20(token).safeTransfer(channel, amount);
    }
}
