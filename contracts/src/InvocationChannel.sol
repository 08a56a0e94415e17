// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Multicall} from "@openzeppelin/contracts/utils/Multicall.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {
    ChannelConfig,
    ChannelState,
    IDepositCollector,
    IInvocationChannel,
    ReceiverState,
    VoucherClaim,
    WithdrawalState
} from "./interfaces/IInvocationChannel.sol";

/// @title Escrow for many small payments by one cumulative voucher
/// @notice Speaks the interface of the x402 scheme `batch-settlement`: same types, digests, events and errors, so that wallets
/// and facilitators of the standard work unchanged. A voucher binds a ceiling; the receiver redeems up to it, as often as
/// it likes, and only the difference moves. Vouchers that are not redeemed reserve nothing: a payer gets its rest back after
/// `withdrawDelay`, in which the receiver must redeem.
contract InvocationChannel is IInvocationChannel, EIP712, Multicall, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    uint40 public constant MIN_WITHDRAW_DELAY = 15 minutes;
    uint40 public constant MAX_WITHDRAW_DELAY = 30 days;

    bytes32 public constant CHANNEL_CONFIG_TYPEHASH = keccak256(
        "ChannelConfig(address payer,address payerAuthorizer,address receiver,address receiverAuthorizer,address token,uint40 withdrawDelay,bytes32 salt)"
    );
    bytes32 public constant VOUCHER_TYPEHASH = keccak256("Voucher(bytes32 channelId,uint128 maxClaimableAmount)");
    bytes32 public constant REFUND_TYPEHASH = keccak256("Refund(bytes32 channelId,uint256 nonce,uint128 amount)");
    bytes32 public constant CLAIM_ENTRY_TYPEHASH =
        keccak256("ClaimEntry(bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed)");
    bytes32 public constant CLAIM_BATCH_TYPEHASH = keccak256(
        "ClaimBatch(ClaimEntry[] claims)ClaimEntry(bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed)"
    );

    mapping(bytes32 channelId => ChannelState) public channels;
    mapping(bytes32 channelId => uint256) public refundNonce;
    mapping(bytes32 channelId => WithdrawalState) public pendingWithdrawals;
    mapping(address receiver => mapping(address token => ReceiverState)) public receivers;

    /// @notice An empty channel got its first amount.
    event ChannelCreated(bytes32 indexed channelId, ChannelConfig config);
    /// @notice A channel is empty again and nothing was ever redeemed from it.
    event ChannelClosed(bytes32 indexed channelId, ChannelConfig config);
    /// @notice A deposit arrived.
    event Deposited(bytes32 indexed channelId, address indexed sender, uint128 amount, uint128 newBalance);
    /// @notice The receiver redeemed `claimAmount` more.
    event Claimed(bytes32 indexed channelId, address indexed sender, uint128 claimAmount, uint128 newTotalClaimed);
    /// @notice A receiver was sent what it had redeemed.
    event Settled(address indexed receiver, address indexed token, address indexed sender, uint128 amount);
    /// @notice The receiver gave back what it had not redeemed.
    event Refunded(bytes32 indexed channelId, address indexed sender, uint128 amount);
    /// @notice The payer asked for its rest.
    event WithdrawInitiated(bytes32 indexed channelId, uint128 amount, uint40 finalizeAfter);
    /// @notice The payer got its rest.
    event WithdrawFinalized(bytes32 indexed channelId, address indexed sender, uint128 amount);

    error InvalidChannel();
    error ZeroDeposit();
    error DepositOverflow();
    error InvalidSignature();
    error NotReceiverAuthorizer();
    error NotAuthorizedToClaim();
    error NotAuthorizedToRefund();
    error ClaimExceedsCeiling();
    error ClaimExceedsBalance();
    error WithdrawalAlreadyPending();
    error WithdrawalNotPending();
    error NotAuthorizedToFinalizeWithdraw();
    error WithdrawDelayNotElapsed();
    error NothingToWithdraw();
    error WithdrawAmountExceedsAvailable();
    error WithdrawDelayOutOfRange();
    error EmptyBatch();
    error DepositCollectionFailed();
    error InvalidCollector();
    error InvalidRefundNonce();
    error ZeroRefund();

    constructor() EIP712("x402 Batch Settlement", "1") {}

    /// @inheritdoc IInvocationChannel
    /// @dev The balance is compared before and after, so that an asset which takes a fee is refused.
    function deposit(ChannelConfig calldata config, uint128 amount, address collector, bytes calldata collectorData)
        external
        nonReentrant
    {
        _checkConfig(config);
        require(amount != 0, ZeroDeposit());
        require(collector != address(0), InvalidCollector());
        bytes32 channelId = getChannelId(config);
        ChannelState storage state = channels[channelId];
        require(amount <= type(uint128).max - state.balance, DepositOverflow());
        bool first = state.balance == 0 && state.totalClaimed == 0;
        uint128 balance = state.balance + amount;
        state.balance = balance;

        IERC20 token = IERC20(config.token);
        uint256 before = token.balanceOf(address(this));
        IDepositCollector(collector).collect(config.payer, config.token, amount, channelId, collectorData);
        require(token.balanceOf(address(this)) == before + amount, DepositCollectionFailed());

        if (first) emit ChannelCreated(channelId, config);
        emit Deposited(channelId, msg.sender, amount, balance);
    }

    /// @notice Redeems vouchers; the receiver or its authorizer may.
    function claim(VoucherClaim[] calldata voucherClaims) external nonReentrant {
        require(voucherClaims.length != 0, EmptyBatch());
        for (uint256 i = 0; i < voucherClaims.length; ++i) {
            require(_isReceiverSide(voucherClaims[i].voucher.channel), NotAuthorizedToClaim());
            _redeem(voucherClaims[i], getChannelId(voucherClaims[i].voucher.channel));
        }
    }

    /// @notice Redeems vouchers under a signature of the receivers' one authorizer; anybody may bring it.
    function claimWithSignature(VoucherClaim[] calldata voucherClaims, bytes calldata authorizerSignature)
        external
        nonReentrant
    {
        require(voucherClaims.length != 0, EmptyBatch());
        address authorizer = voucherClaims[0].voucher.channel.receiverAuthorizer;
        bytes32[] memory ids = _idsOf(voucherClaims);
        _verify(authorizer, _batchDigest(voucherClaims, ids), authorizerSignature);
        for (uint256 i = 0; i < voucherClaims.length; ++i) {
            require(voucherClaims[i].voucher.channel.receiverAuthorizer == authorizer, NotReceiverAuthorizer());
            _redeem(voucherClaims[i], ids[i]);
        }
    }

    /// @inheritdoc IInvocationChannel
    function settle(address receiver, address token) external nonReentrant {
        ReceiverState storage state = receivers[receiver][token];
        uint128 amount = state.totalClaimed - state.totalSettled;
        if (amount == 0) return;
        state.totalSettled = state.totalClaimed;
        emit Settled(receiver, token, msg.sender, amount);
        IERC20(token).safeTransfer(receiver, amount);
    }

    /// @notice Starts the wait after which the payer gets `amount` of what is not redeemed by then.
    function initiateWithdraw(ChannelConfig calldata config, uint128 amount) external nonReentrant {
        require(_isPayerSide(config), InvalidChannel());
        require(amount != 0, NothingToWithdraw());
        bytes32 channelId = getChannelId(config);
        WithdrawalState storage withdrawal = pendingWithdrawals[channelId];
        require(withdrawal.initiatedAt == 0, WithdrawalAlreadyPending());
        require(amount <= _available(channelId), WithdrawAmountExceedsAvailable());
        withdrawal.amount = amount;
        withdrawal.initiatedAt = uint40(block.timestamp);
        emit WithdrawInitiated(channelId, amount, uint40(block.timestamp) + config.withdrawDelay);
    }

    /// @notice Sends the payer what it asked for, or what is left of it.
    function finalizeWithdraw(ChannelConfig calldata config) external nonReentrant {
        require(_isPayerSide(config), NotAuthorizedToFinalizeWithdraw());
        bytes32 channelId = getChannelId(config);
        WithdrawalState memory withdrawal = pendingWithdrawals[channelId];
        require(withdrawal.initiatedAt != 0, WithdrawalNotPending());
        uint256 ready = uint256(withdrawal.initiatedAt) + config.withdrawDelay;
        require(block.timestamp >= ready, WithdrawDelayNotElapsed());
        delete pendingWithdrawals[channelId];
        uint128 amount = _least(withdrawal.amount, _available(channelId));
        channels[channelId].balance -= amount;
        emit WithdrawFinalized(channelId, msg.sender, amount);
        _pay(config, channelId, amount);
    }

    /// @notice Gives the payer back what is not redeemed, at most `amount`; the receiver or its authorizer may.
    function refund(ChannelConfig calldata config, uint128 amount) external nonReentrant {
        require(_isReceiverSide(config), NotAuthorizedToRefund());
        _refund(config, getChannelId(config), amount);
    }

    /// @notice As `refund`, under a signature of the authorizer; anybody may bring it.
    function refundWithSignature(
        ChannelConfig calldata config,
        uint128 amount,
        uint256 nonce,
        bytes calldata receiverAuthorizerSignature
    ) external nonReentrant {
        bytes32 channelId = getChannelId(config);
        require(nonce == refundNonce[channelId], InvalidRefundNonce());
        _verify(config.receiverAuthorizer, getRefundDigest(channelId, nonce, amount), receiverAuthorizerSignature);
        _refund(config, channelId, amount);
    }

    /// @notice The digest that authorizes `claimWithSignature`.
    function getClaimBatchDigest(VoucherClaim[] calldata voucherClaims) external view returns (bytes32) {
        return _batchDigest(voucherClaims, _idsOf(voucherClaims));
    }

    /// @inheritdoc IInvocationChannel
    function getChannelId(ChannelConfig calldata config) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(CHANNEL_CONFIG_TYPEHASH, config)));
    }

    /// @inheritdoc IInvocationChannel
    function getVoucherDigest(bytes32 channelId, uint128 maxClaimableAmount) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(VOUCHER_TYPEHASH, channelId, maxClaimableAmount)));
    }

    /// @notice The digest that authorizes `refundWithSignature`.
    function getRefundDigest(bytes32 channelId, uint256 nonce, uint128 amount) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(REFUND_TYPEHASH, channelId, nonce, amount)));
    }

    /// @dev A cumulative amount that is not above the last one moves nothing, whatever comes with it.
    function _redeem(VoucherClaim calldata entry, bytes32 channelId) private {
        ChannelState memory state = channels[channelId];
        uint128 total = entry.totalClaimed;
        if (total <= state.totalClaimed) return;
        require(total <= entry.voucher.maxClaimableAmount, ClaimExceedsCeiling());
        require(total <= state.balance, ClaimExceedsBalance());
        ChannelConfig calldata config = entry.voucher.channel;
        bytes32 digest = getVoucherDigest(channelId, entry.voucher.maxClaimableAmount);
        if (config.payerAuthorizer == address(0)) _verify(config.payer, digest, entry.signature);
        else require(ECDSA.recoverCalldata(digest, entry.signature) == config.payerAuthorizer, InvalidSignature());
        uint128 more = total - state.totalClaimed;
        channels[channelId].totalClaimed = total;
        receivers[config.receiver][config.token].totalClaimed += more;
        emit Claimed(channelId, msg.sender, more, total);
    }

    /// @dev The nonce moves even where nothing is left to give back, so that a signature is used once.
    function _refund(ChannelConfig calldata config, bytes32 channelId, uint128 amount) private {
        require(amount != 0, ZeroRefund());
        refundNonce[channelId] += 1;
        uint128 given = _least(amount, _available(channelId));
        if (given == 0) return;
        channels[channelId].balance -= given;
        WithdrawalState storage withdrawal = pendingWithdrawals[channelId];
        if (given >= withdrawal.amount) delete pendingWithdrawals[channelId];
        else withdrawal.amount -= given;
        emit Refunded(channelId, msg.sender, given);
        _pay(config, channelId, given);
    }

    function _pay(ChannelConfig calldata config, bytes32 channelId, uint128 amount) private {
        ChannelState memory state = channels[channelId];
        if (state.balance == 0 && state.totalClaimed == 0) emit ChannelClosed(channelId, config);
        if (amount != 0) IERC20(config.token).safeTransfer(config.payer, amount);
    }

    function _available(bytes32 channelId) private view returns (uint128) {
        ChannelState memory state = channels[channelId];
        return state.balance - state.totalClaimed;
    }

    function _batchDigest(VoucherClaim[] calldata entries, bytes32[] memory ids) private view returns (bytes32) {
        bytes32[] memory hashes = new bytes32[](entries.length);
        for (uint256 i = 0; i < entries.length; ++i) {
            uint128 ceiling = entries[i].voucher.maxClaimableAmount;
            hashes[i] = keccak256(abi.encode(CLAIM_ENTRY_TYPEHASH, ids[i], ceiling, entries[i].totalClaimed));
        }
        bytes32 list = keccak256(abi.encodePacked(hashes));
        return _hashTypedDataV4(keccak256(abi.encode(CLAIM_BATCH_TYPEHASH, list)));
    }

    function _idsOf(VoucherClaim[] calldata entries) private view returns (bytes32[] memory ids) {
        ids = new bytes32[](entries.length);
        for (uint256 i = 0; i < entries.length; ++i) {
            ids[i] = getChannelId(entries[i].voucher.channel);
        }
    }

    function _verify(address signer, bytes32 digest, bytes calldata signature) private view {
        require(SignatureChecker.isValidSignatureNowCalldata(signer, digest, signature), InvalidSignature());
    }

    function _isReceiverSide(ChannelConfig calldata config) private view returns (bool) {
        return msg.sender == config.receiverAuthorizer || msg.sender == config.receiver;
    }

    function _isPayerSide(ChannelConfig calldata config) private view returns (bool) {
        return msg.sender == config.payer || msg.sender == config.payerAuthorizer;
    }

    function _checkConfig(ChannelConfig calldata config) private pure {
        bool whole = config.payer != address(0) && config.receiver != address(0)
            && config.receiverAuthorizer != address(0) && config.token != address(0);
        require(whole, InvalidChannel());
        bool fits = config.withdrawDelay >= MIN_WITHDRAW_DELAY && config.withdrawDelay <= MAX_WITHDRAW_DELAY;
        require(fits, WithdrawDelayOutOfRange());
    }

    function _least(uint128 a, uint128 b) private pure returns (uint128) {
        return a < b ? a : b;
    }
}
