// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC20Votes} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Votes.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {IAuthorizedTransfer} from "./interfaces/IAuthorizedTransfer.sol";

/// @title LOYAL, the currency of the protocol
/// @notice Votes by timestamp; gasless transfers by ERC-3009 with free nonces, in both forms of signature. The genesis
/// account receives the whole supply; what is burnt later may be minted again by the timelock, never past the cap.
contract LoyalCurrency is ERC20Votes, ERC20Permit, ERC3009, IAuthorizedTransfer {
    /// @notice The most that ever exists: 2^35 LOYAL.
    uint256 public constant CAP = 2 ** 35 * 1e18;

    /// @notice The only account that may mint.
    address public immutable timelock;

    /// @dev Minting `amount` would exceed the cap.
    error Loyal_CapExceeded(uint256 supply, uint256 amount);
    /// @dev Only the timelock may mint.
    error Loyal_NotTimelock(address caller);

    constructor(address timelock_, address genesis) ERC20("Loyal", "LOYAL") ERC20Permit("Loyal") {
        timelock = timelock_;
        _mint(genesis, CAP);
    }

    /// @notice Mints under the cap.
    function mint(address to, uint256 amount) external {
        require(msg.sender == timelock, Loyal_NotTimelock(msg.sender));
        require(totalSupply() + amount <= CAP, Loyal_CapExceeded(totalSupply(), amount));
        _mint(to, amount);
    }

    /// @notice Burns what the caller holds.
    function burn(uint256 amount) external {
        _burn(msg.sender, amount);
    }

    /// @notice ERC-3009 with one signature, which may be an ERC-1271 account's.
    function transferWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external {
        bytes32 hash = keccak256(
            abi.encode(TRANSFER_WITH_AUTHORIZATION_TYPEHASH, from, to, value, validAfter, validBefore, nonce)
        );
        _verify(from, hash, signature);
        _transferWithAuthorization(from, to, value, validAfter, validBefore, nonce);
    }

    /// @inheritdoc IAuthorizedTransfer
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external {
        bytes32 hash = keccak256(
            abi.encode(RECEIVE_WITH_AUTHORIZATION_TYPEHASH, from, to, value, validAfter, validBefore, nonce)
        );
        _verify(from, hash, signature);
        require(to == msg.sender, ERC20InvalidReceiver(to));
        _transferWithAuthorization(from, to, value, validAfter, validBefore, nonce);
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

    /// @inheritdoc ERC20Permit
    function nonces(address owner) public view override(ERC20Permit, Nonces) returns (uint256) {
        return super.nonces(owner);
    }

    function _update(address from, address to, uint256 value) internal override(ERC20, ERC20Votes) {
        super._update(from, to, value);
    }

    function _verify(address from, bytes32 structHash, bytes calldata signature) private view {
        bool valid = SignatureChecker.isValidSignatureNowCalldata(from, _hashTypedDataV4(structHash), signature);
        require(valid, ERC3009InvalidSignature());
    }
}
