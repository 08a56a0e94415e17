// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @notice A pay asset with six decimals that anybody mints, and that may take a fee or call back.
contract Coin is ERC20 {
    uint256 public feeBps;
    address public hook;
    bytes public hookData;
    bytes public hookResult;

    constructor() ERC20("Coin", "COIN") {}

    function decimals() public pure override returns (uint8) {
        return 6;
    }

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function setFee(uint256 bps) external {
        feeBps = bps;
    }

    /// @notice Calls `target` with `data` on the next transfer, as a hostile asset would.
    function setHook(address target, bytes calldata data) external {
        hook = target;
        hookData = data;
    }

    function _update(address from, address to, uint256 value) internal override {
        if (hook != address(0)) {
            address target = hook;
            hook = address(0);
            (bool success, bytes memory result) = target.call(hookData);
            hookResult = success ? bytes("went through") : result;
        }
        uint256 fee = from == address(0) ? 0 : (value * feeBps) / 10_000;
        super._update(from, to, value - fee);
        if (fee != 0) super._update(from, address(0xfee), fee);
    }
}

/// @notice An ERC-1271 account that takes the signatures of one key.
contract Wallet {
    address public owner;

    constructor(address owner_) {
        owner = owner_;
    }

    function setOwner(address owner_) external {
        owner = owner_;
    }

    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4) {
        (bytes32 r, bytes32 s, uint8 v) =
            (bytes32(signature[0:32]), bytes32(signature[32:64]), uint8(bytes1(signature[64:65])));
        return ecrecover(hash, v, r, s) == owner ? this.isValidSignature.selector : bytes4(0);
    }
}
