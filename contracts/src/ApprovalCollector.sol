// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ChannelConfig, IDepositCollector, IInvocationChannel} from "./interfaces/IInvocationChannel.sol";

/// @title Deposits out of an allowance
/// @notice An allowance does not say for which channel it is, so a deposit begins here and at the payer's own call:
/// otherwise anybody could put the payer's amount into a channel of which he holds the vouchers.
contract ApprovalCollector is IDepositCollector {
    using SafeERC20 for IERC20;

    /// @notice The channel contract, and nobody else, collects.
    IInvocationChannel public immutable channel;

    /// @dev The channel that its payer is depositing into, during one call.
    bytes32 private transient _channelId;

    /// @dev The caller is not the channel contract.
    error Collector_NotChannel(address caller);
    /// @dev The payer did not begin this deposit.
    error Collector_NotPayer(address payer);

    constructor(IInvocationChannel channel_) {
        channel = channel_;
    }

    /// @notice Deposits `amount` of the caller's, who must be the channel's payer and have approved this contract.
    function deposit(ChannelConfig calldata config, uint128 amount) external {
        require(msg.sender == config.payer, Collector_NotPayer(config.payer));
        _channelId = channel.getChannelId(config);
        channel.deposit(config, amount, address(this), "");
        _channelId = 0;
    }

    /// @inheritdoc IDepositCollector
    function collect(address payer, address token, uint256 amount, bytes32 channelId, bytes calldata) external {
        require(msg.sender == address(channel), Collector_NotChannel(msg.sender));
        require(channelId == _channelId && channelId != 0, Collector_NotPayer(payer));
        // slither-disable-next-line arbitrary-send-erc20 — the payer began this deposit, see above.
        IERC20(token).safeTransferFrom(payer, address(channel), amount);
    }
}
