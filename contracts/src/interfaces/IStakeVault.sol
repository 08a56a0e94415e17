// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

/// @notice Who put what at risk for whom; its hash is the position's id.
/// @dev `arbiter` may freeze and slash; `keeper` may start a thaw; `owner` gets what thaws; `subject` tells positions
/// of one owner apart.
struct Terms {
    address arbiter;
    address keeper;
    address owner;
    address asset;
    bytes32 subject;
}

/// @notice A position.
struct Position {
    Terms terms;
    uint128 bound;
    uint128 thawing;
    uint64 thawsAt;
    uint32 freezes;
}

/// @notice A part of a slash. The zero account burns it.
struct Destination {
    address account;
    uint128 amount;
}

/// @notice What is asked of `drawSeats`: `count` accounts of a roll that had their seats before `cutoff`, none of the barred ones.
struct SeatDraw {
    bytes32 roll;
    bytes32 seed;
    uint48 cutoff;
    uint256 count;
    address[] barred;
}

/// @title Amounts at risk
interface IStakeVault {
    /// @notice Binds `amount` of the caller's under `terms`.
    function bind(Terms calldata terms, uint128 amount) external returns (bytes32 id);

    /// @notice Starts the thaw of `amount`; only the keeper may.
    function thaw(bytes32 id, uint128 amount) external;

    /// @notice Sends what has thawed to the owner.
    function withdraw(bytes32 id) external returns (uint128 amount);

    /// @notice Stops withdrawals until as many `unfreeze`; only the arbiter may.
    function freeze(bytes32 id) external;

    /// @notice Undoes one `freeze`; only the arbiter may.
    function unfreeze(bytes32 id) external;

    /// @notice Takes an amount and divides it; only the arbiter may.
    function slash(bytes32 id, Destination[] calldata destinations) external returns (uint128 amount);

    /// @notice Sends an account what slashes gave it.
    function distribute(address account, address asset) external returns (uint256 amount);

    /// @notice A position.
    function positionOf(bytes32 id) external view returns (Position memory);

    /// @notice What is bound under `terms`; thawing amounts do not count.
    function boundOf(Terms calldata terms) external view returns (uint128);

    /// @notice The roll of seats under an arbiter; `subject` is "validator" or "prover".
    function rollOf(address arbiter, bytes32 subject) external view returns (bytes32);

    /// @notice Distinct accounts with a seat, in the order in which a seed draws them; fewer where there are not as many.
    function drawSeats(SeatDraw calldata draw) external view returns (address[] memory accounts);
}
