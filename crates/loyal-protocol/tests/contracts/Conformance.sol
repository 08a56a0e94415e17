// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC20TransferAuthorization} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20TransferAuthorization.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {NoncesKeyed} from "@openzeppelin/contracts/utils/NoncesKeyed.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";

/// An asset with EIP-712 approvals (EIP-2612) and EIP-3009 authorizations.
contract Asset is ERC20TransferAuthorization, ERC20Permit {
    constructor() ERC20("Asset", "AST") ERC20Permit("Asset") {
        _mint(msg.sender, 1_000_000 ether);
    }

    function nonces(address owner) public view override(ERC20Permit, Nonces) returns (uint256) {
        return super.nonces(owner);
    }

    function _useCheckedNonce(address owner, uint256 nonce) internal override(Nonces, NoncesKeyed) {
        super._useCheckedNonce(owner, nonce);
    }
}

/// A wallet that signs by its owner's key (EIP-1271).
contract Wallet is IERC1271 {
    address public immutable owner;

    constructor(address owner_) {
        owner = owner_;
    }

    function isValidSignature(bytes32 hash, bytes memory signature) external view returns (bytes4) {
        (address signer, ECDSA.RecoverError error,) = ECDSA.tryRecover(hash, signature);
        return error == ECDSA.RecoverError.NoError && signer == owner ? this.isValidSignature.selector : bytes4(0xffffffff);
    }
}

contract Child {
    constructor() payable {}

    function die(address payable heir) external {
        selfdestruct(heir);
    }
}

/// Everything a chain can get wrong.
contract Probe {
    error Sour(uint256 amount, address who);

    event Seen(address indexed who, uint256 indexed what, bytes data);

    uint256[] public list;
    mapping(uint256 => uint256) public map;
    uint256 transient passing;

    function sour() external payable {
        revert Sour(7, msg.sender);
    }

    function text() external pure {
        require(false, "text of the refusal");
    }

    function divide(uint256 by) external pure returns (uint256) {
        return 1 / by;
    }

    function nothing() external pure {
        assembly {
            revert(0, 0)
        }
    }

    function invalid() external pure {
        assembly {
            invalid()
        }
    }

    function forever() external {
        while (true) list.push(1);
    }

    function fill(uint256 from, uint256 to, uint256 value) external {
        for (uint256 i = from; i < to; i++) map[i] = value;
    }

    function shout(uint256 count) external {
        for (uint256 i = 0; i < count; i++) emit Seen(msg.sender, i, abi.encode(i, "shout"));
    }

    function caught() external returns (bytes memory data) {
        (, data) = address(this).call(abi.encodeCall(this.sour, ()));
        emit Seen(msg.sender, data.length, data);
    }

    function pass(uint256 value) external returns (uint256) {
        passing = value;
        return passing;
    }

    function births(bytes32 salt) external payable returns (address first, address second) {
        Child child = new Child{salt: salt, value: msg.value}();
        first = address(child);
        child.die(payable(msg.sender));
        second = address(new Child());
    }

    function precompile(uint256 number, bytes calldata input) external returns (bool success, bytes memory output) {
        (success, output) = address(uint160(number)).call{gas: 500_000}(input);
        emit Seen(msg.sender, number, output);
    }

    function surroundings() external view returns (uint256 id, uint256 base, uint256 height, uint256 gasLimit, address coinbase) {
        return (block.chainid, block.basefee, block.number, block.gaslimit, block.coinbase);
    }

    receive() external payable {
        emit Seen(msg.sender, msg.value, "");
    }
}
