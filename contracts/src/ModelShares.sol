// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ERC20Upgradeable} from "@openzeppelin/contracts-upgradeable/token/ERC20/ERC20Upgradeable.sol";
import {
    ERC20PermitUpgradeable
} from "@openzeppelin/contracts-upgradeable/token/ERC20/extensions/ERC20PermitUpgradeable.sol";
import {
    ERC20VotesUpgradeable
} from "@openzeppelin/contracts-upgradeable/token/ERC20/extensions/ERC20VotesUpgradeable.sol";
import {NoncesUpgradeable} from "@openzeppelin/contracts-upgradeable/utils/NoncesUpgradeable.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IModelShares} from "./interfaces/IModelShares.sol";
import {IParameters, Parameter} from "./interfaces/IParameters.sol";
import {IRegistry, VersionState} from "./interfaces/IRegistry.sol";
import {IRevenueRouter} from "./interfaces/IRevenueRouter.sol";
import {Grant} from "./libraries/Messages.sol";

/// @title Shares of one model: votes, and revenue for each share
/// @notice A clone for each model. Revenue accrues to whoever holds shares at the moment it is divided; a transfer takes none of it
/// along. What has accrued lies here or is owed by the router, and is sent on `withdraw`.
contract ModelShares is IModelShares, ERC20VotesUpgradeable, ERC20PermitUpgradeable, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @notice The shares a model starts with.
    uint256 public constant FIRST_SUPPLY = 1_000_000e18;
    /// @notice How many assets revenue may come in.
    uint256 public constant ASSETS_MAX = 4;
    /// Revenue per share is kept with 36 digits, decimal so that round splits stay exact.
    uint256 internal constant PRECISION = 1e36;

    IRegistry public immutable registry;
    IRevenueRouter public immutable router;
    IParameters public immutable parameters;
    /// @notice The only contract that makes a clone the shares of a model.
    address public immutable factory;

    /// @notice The model.
    uint256 public modelId;
    address[] private _assets;
    mapping(address asset => uint256) private _perShare;
    mapping(address account => mapping(address asset => uint256)) private _paidPerShare;
    mapping(address account => mapping(address asset => uint256)) private _credit;
    /// @notice What a version's vote minted for it.
    mapping(uint32 version => uint256) public mintedFor;

    /// @notice Revenue was divided among the holders.
    event Distributed(address indexed asset, uint256 amount, uint256 supply);
    /// @notice A holder took its revenue.
    event Withdrawn(address indexed account, address indexed asset, uint256 amount);
    /// @notice A vote minted shares for a version's makers.
    event Minted(uint32 indexed version, address indexed to, uint256 amount);

    /// @dev Revenue comes in as many assets as it may.
    error Shares_AssetLimit(address asset);
    /// @dev Only the router divides.
    error Shares_NotRouter(address caller);
    /// @dev Only the factory makes a clone the shares of a model.
    error Shares_NotFactory(address caller);
    /// @dev Only the model's controller mints.
    error Shares_NotController(address caller);
    /// @dev A version mints once, only while it is new, and no more than the parameter says.
    error Shares_MintLimit(uint32 version, uint256 amount, uint256 max);

    constructor(IRegistry registry_, IRevenueRouter router_, IParameters parameters_, address factory_) {
        registry = registry_;
        router = router_;
        parameters = parameters_;
        factory = factory_;
        _disableInitializers();
    }

    /// @inheritdoc IModelShares
    function initialize(
        uint256 modelId_,
        string calldata name_,
        string calldata symbol_,
        Grant[] calldata grants,
        address treasury,
        uint16 reserveBps
    ) external initializer {
        require(msg.sender == factory, Shares_NotFactory(msg.sender));
        __ERC20_init(name_, symbol_);
        __ERC20Permit_init(name_);
        __ERC20Votes_init();
        modelId = modelId_;
        for (uint256 i = 0; i < grants.length; ++i) {
            _mint(grants[i].account, (FIRST_SUPPLY * grants[i].bps) / 10_000);
        }
        _mint(treasury, (FIRST_SUPPLY * reserveBps) / 10_000);
    }

    /// @inheritdoc IModelShares
    function distribute(address asset, uint256 amount) external {
        require(msg.sender == address(router), Shares_NotRouter(msg.sender));
        if (_perShare[asset] == 0 && !_isListed(asset)) {
            require(_assets.length < ASSETS_MAX, Shares_AssetLimit(asset));
            _assets.push(asset);
        }
        uint256 supply = totalSupply();
        _perShare[asset] += Math.mulDiv(amount, PRECISION, supply);
        emit Distributed(asset, amount, supply);
    }

    /// @notice Sends an account the revenue of its shares; anybody may ask.
    function withdraw(address account, address asset) external nonReentrant returns (uint256 amount) {
        _settle(account, asset);
        amount = _credit[account][asset];
        if (amount == 0) return 0;
        _credit[account][asset] = 0;
        emit Withdrawn(account, asset, amount);
        if (IERC20(asset).balanceOf(address(this)) < amount) router.withdraw(address(this), asset);
        IERC20(asset).safeTransfer(account, amount);
    }

    /// @notice Mints for a version that waits in its window or has just become active; only the controller may, once.
    function mint(uint32 version, address to, uint256 amount) external {
        require(registry.controllerOf(modelId) == msg.sender, Shares_NotController(msg.sender));
        uint256 max = (totalSupply() * parameters.get(Parameter.VersionMintBps)) / 10_000;
        VersionState state = registry.stateOf(modelId, version);
        bool fresh = version > 1 && (state == VersionState.Contestable || state == VersionState.Active);
        require(fresh && mintedFor[version] == 0 && amount <= max, Shares_MintLimit(version, amount, max));
        mintedFor[version] = amount;
        emit Minted(version, to, amount);
        _mint(to, amount);
    }

    /// @notice The revenue an account may withdraw in an asset now.
    function withdrawable(address account, address asset) external view returns (uint256) {
        return _credit[account][asset] + _pending(account, asset);
    }

    /// @notice The assets revenue came in so far.
    function assets() external view returns (address[] memory) {
        return _assets;
    }

    /// @notice Seconds, not blocks.
    function clock() public view override returns (uint48) {
        return uint48(block.timestamp);
    }

    /// @notice The clock of ERC-6372.
    // solhint-disable-next-line func-name-mixedcase
    function CLOCK_MODE() public pure override returns (string memory) {
        return "mode=timestamp";
    }

    /// @inheritdoc ERC20PermitUpgradeable
    function nonces(address owner) public view override(ERC20PermitUpgradeable, NoncesUpgradeable) returns (uint256) {
        return super.nonces(owner);
    }

    /// @dev Both sides are credited before balances change, so that a transfer changes nobody's revenue.
    function _update(address from, address to, uint256 value)
        internal
        override(ERC20Upgradeable, ERC20VotesUpgradeable)
    {
        for (uint256 i = 0; i < _assets.length; ++i) {
            if (from != address(0)) _settle(from, _assets[i]);
            if (to != address(0)) _settle(to, _assets[i]);
        }
        super._update(from, to, value);
    }

    function _settle(address account, address asset) private {
        uint256 more = _pending(account, asset);
        _paidPerShare[account][asset] = _perShare[asset];
        if (more != 0) _credit[account][asset] += more;
    }

    function _pending(address account, address asset) private view returns (uint256) {
        return Math.mulDiv(balanceOf(account), _perShare[asset] - _paidPerShare[account][asset], PRECISION);
    }

    function _isListed(address asset) private view returns (bool) {
        for (uint256 i = 0; i < _assets.length; ++i) {
            if (_assets[i] == asset) return true;
        }
        return false;
    }
}
