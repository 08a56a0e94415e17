// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Initializable} from "@openzeppelin/contracts/proxy/utils/Initializable.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";

/// @title A model's reserve: shares for those who come later, and the revenue of these shares
/// @notice A clone for each model. Whoever controls the model pays out of it: an account at first, then the model's governor.
contract ModelTreasury is Initializable {
    using SafeERC20 for IERC20;

    IRegistry public immutable registry;
    /// @notice The only contract that makes a clone the treasury of a model.
    address public immutable factory;

    /// @notice The model.
    uint256 public modelId;

    /// @notice The reserve paid.
    event Paid(address indexed asset, address indexed to, uint256 amount);

    /// @dev Only the factory makes a clone the treasury of a model.
    error Treasury_NotFactory(address caller);
    /// @dev Only the model's controller pays.
    error Treasury_NotController(address caller);

    constructor(IRegistry registry_, address factory_) {
        registry = registry_;
        factory = factory_;
        _disableInitializers();
    }

    /// @notice Makes a clone the treasury of a model.
    function initialize(uint256 modelId_) external initializer {
        require(msg.sender == factory, Treasury_NotFactory(msg.sender));
        modelId = modelId_;
    }

    /// @notice Pays an amount of an asset, or shares.
    function pay(IERC20 asset, address to, uint256 amount) external {
        require(registry.controllerOf(modelId) == msg.sender, Treasury_NotController(msg.sender));
        emit Paid(address(asset), to, amount);
        asset.safeTransfer(to, amount);
    }
}
