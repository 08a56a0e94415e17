// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// @title The payee of one hosting and one builder
/// @notice The x402 standard settles by receiver and asset, so only the receiver's address can say whose invocation was paid.
/// A clone for each (hosting, builder) has its own address; what lies there can go to the router only.
contract Till {
    using SafeERC20 for IERC20;

    /// @notice The only contract that empties a till.
    address public immutable router;

    /// @dev The caller is not the router.
    error Till_NotRouter(address caller);

    constructor(address router_) {
        router = router_;
    }

    /// @notice Sends all of an asset to the router.
    function sweep(IERC20 asset) external returns (uint256 amount) {
        require(msg.sender == router, Till_NotRouter(msg.sender));
        amount = asset.balanceOf(address(this));
        asset.safeTransfer(router, amount);
    }
}
