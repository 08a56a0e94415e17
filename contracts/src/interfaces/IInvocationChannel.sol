// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

/// @notice What a channel is made of; its digest is the channel's id. Names of the x402 standard.
struct ChannelConfig {
    address payer;
    address payerAuthorizer;
    address receiver;
    address receiverAuthorizer;
    address token;
    uint40 withdrawDelay;
    bytes32 salt;
}

/// @notice What lies in a channel, and how much of it the receiver has redeemed so far.
struct ChannelState {
    uint128 balance;
    uint128 totalClaimed;
}

/// @notice A withdrawal the payer has started; `initiatedAt` is zero where there is none.
struct WithdrawalState {
    uint128 amount;
    uint40 initiatedAt;
}

/// @notice What a receiver has redeemed over all its channels, and how much of it was sent.
struct ReceiverState {
    uint128 totalClaimed;
    uint128 totalSettled;
}

/// @notice A signed cumulative ceiling.
struct Voucher {
    ChannelConfig channel;
    uint128 maxClaimableAmount;
}

/// @notice A voucher with its signature, and the cumulative amount its receiver redeems with it.
struct VoucherClaim {
    Voucher voucher;
    bytes signature;
    uint128 totalClaimed;
}

/// @title What pulls a deposit from a payer
interface IDepositCollector {
    /// @notice Sends exactly `amount` of the payer's to the caller, the channel contract.
    function collect(address payer, address token, uint256 amount, bytes32 channelId, bytes calldata collectorData)
        external;
}

/// @title Escrow of the x402 scheme `batch-settlement`
interface IInvocationChannel {
    /// @notice Puts `amount` into a channel, pulled by `collector`.
    function deposit(ChannelConfig calldata config, uint128 amount, address collector, bytes calldata collectorData)
        external;

    /// @notice Sends a receiver what it has redeemed and not been sent.
    function settle(address receiver, address token) external;

    /// @notice The id of a channel.
    function getChannelId(ChannelConfig calldata config) external view returns (bytes32);

    /// @notice The digest of a voucher.
    function getVoucherDigest(bytes32 channelId, uint128 maxClaimableAmount) external view returns (bytes32);

    /// @notice A channel's amounts.
    function channels(bytes32 channelId) external view returns (uint128 balance, uint128 totalClaimed);
}
