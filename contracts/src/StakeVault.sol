// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {IParameters, Parameter} from "./interfaces/IParameters.sol";
import {Destination, IStakeVault, Position, SeatDraw, Terms} from "./interfaces/IStakeVault.sol";
import {Draw} from "./libraries/Draw.sol";
import {LoyalCurrency} from "./LoyalCurrency.sol";

/// @title Holds bonds and stake, each bound to one arbiter
/// @notice Nobody but a position's arbiter can take from it, and nobody but its owner receives what is left. An amount leaves
/// by a thaw that an open claim freezes. There is no administrator.
contract StakeVault is IStakeVault, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using Checkpoints for Checkpoints.Trace208;

    /// @notice A place on a roll, and when it was whose; zero for "still".
    struct Seat {
        address account;
        uint48 since;
        uint48 until;
    }

    /// @notice Seats under one arbiter, for one duty. Freed places are taken again when no draw looks back at them.
    struct Roll {
        Seat[] seats;
        Checkpoints.Trace208 counts;
        mapping(address account => uint256) placeOf;
        uint256[] freed;
        uint256 freedNext;
    }

    /// The longest that a draw looks back.
    uint256 internal constant LOOK_BACK = 30 days;
    bytes32 internal constant VALIDATOR = "validator";
    bytes32 internal constant PROVER = "prover";

    /// @notice Governed values.
    IParameters public immutable parameters;
    /// @notice LOYAL, which can be burnt.
    LoyalCurrency public immutable currency;
    /// @notice Gets what should burn but cannot.
    address public immutable treasury;

    mapping(bytes32 id => Position) private _positions;

    /// @notice What slashes gave to an account and it has not taken yet.
    mapping(address account => mapping(address asset => uint256)) public rewards;

    mapping(bytes32 roll => Roll) private _rolls;

    /// @notice An account may be drawn from a roll, or no longer.
    event SeatSet(bytes32 indexed roll, address indexed account, bool seated);
    /// @notice `amount` more is at risk; `bound` is the whole.
    event Bound(bytes32 indexed id, address indexed owner, address indexed arbiter, uint128 amount, uint128 bound);
    /// @notice `amount` more thaws; the owner may have all that thaws at `thawsAt`.
    event ThawStarted(bytes32 indexed id, uint128 amount, uint64 thawsAt);
    /// @notice `amount` went back to the owner.
    event Withdrawn(bytes32 indexed id, address indexed owner, uint128 amount);
    /// @notice How many claims hold the position.
    event Frozen(bytes32 indexed id, uint32 freezes);
    /// @notice `amount` was taken.
    event Slashed(bytes32 indexed id, address indexed owner, uint128 amount);
    /// @notice A part of a slash; the zero account burnt it.
    event Rewarded(bytes32 indexed id, address indexed account, uint128 amount);
    /// @notice `amount` of slashes went to an account.
    event RewardPaid(address indexed account, address indexed asset, uint256 amount);

    /// @dev Only the position's arbiter may.
    error Stake_NotArbiter(bytes32 id, address caller);
    /// @dev Only the position's keeper may.
    error Stake_NotKeeper(bytes32 id, address caller);
    /// @dev A claim holds the position.
    error Stake_Frozen(bytes32 id);
    /// @dev Nothing has thawed yet.
    error Stake_Thawing(bytes32 id, uint64 thawsAt);
    /// @dev More than there is.
    error Stake_TooMuch(bytes32 id, uint256 asked, uint256 available);
    /// @dev The amount is zero, or a party is.
    error Stake_Empty();
    /// @dev The asset took a fee on the way in.
    error Stake_AmountChanged(address asset, uint256 expected, uint256 received);

    constructor(IParameters parameters_, LoyalCurrency currency_, address treasury_) {
        parameters = parameters_;
        currency = currency_;
        treasury = treasury_;
    }

    /// @inheritdoc IStakeVault
    function bind(Terms calldata terms, uint128 amount) external nonReentrant returns (bytes32 id) {
        bool named = terms.arbiter != address(0) && terms.keeper != address(0) && terms.owner != address(0);
        require(named && amount != 0, Stake_Empty());
        id = idOf(terms);
        Position storage position = _positions[id];
        if (position.terms.owner == address(0)) position.terms = terms;
        position.bound += amount;
        emit Bound(id, terms.owner, terms.arbiter, amount, position.bound);
        _seat(position);
        IERC20 asset = IERC20(terms.asset);
        uint256 before = asset.balanceOf(address(this));
        asset.safeTransferFrom(msg.sender, address(this), amount);
        uint256 received = asset.balanceOf(address(this)) - before;
        require(received == amount, Stake_AmountChanged(terms.asset, amount, received));
    }

    /// @inheritdoc IStakeVault
    /// @dev What thaws already begins its wait anew: a position has one clock.
    function thaw(bytes32 id, uint128 amount) external {
        Position storage position = _positions[id];
        require(msg.sender == position.terms.keeper, Stake_NotKeeper(id, msg.sender));
        require(amount != 0, Stake_Empty());
        require(amount <= position.bound, Stake_TooMuch(id, amount, position.bound));
        position.bound -= amount;
        position.thawing += amount;
        position.thawsAt = uint64(block.timestamp + parameters.get(Parameter.Thaw));
        emit ThawStarted(id, amount, position.thawsAt);
        _seat(position);
    }

    /// @inheritdoc IStakeVault
    function withdraw(bytes32 id) external nonReentrant returns (uint128 amount) {
        Position storage position = _positions[id];
        amount = position.thawing;
        require(amount != 0, Stake_Empty());
        require(position.freezes == 0, Stake_Frozen(id));
        require(block.timestamp >= position.thawsAt, Stake_Thawing(id, position.thawsAt));
        position.thawing = 0;
        emit Withdrawn(id, position.terms.owner, amount);
        IERC20(position.terms.asset).safeTransfer(position.terms.owner, amount);
    }

    /// @inheritdoc IStakeVault
    function freeze(bytes32 id) external {
        emit Frozen(id, ++_arbitrated(id).freezes);
    }

    /// @inheritdoc IStakeVault
    function unfreeze(bytes32 id) external {
        emit Frozen(id, --_arbitrated(id).freezes);
    }

    /// @inheritdoc IStakeVault
    /// @dev What is bound goes first, then what thaws.
    function slash(bytes32 id, Destination[] calldata destinations) external nonReentrant returns (uint128 amount) {
        Position storage position = _arbitrated(id);
        for (uint256 i = 0; i < destinations.length; ++i) {
            amount += destinations[i].amount;
        }
        uint256 available = uint256(position.bound) + position.thawing;
        require(amount <= available, Stake_TooMuch(id, amount, available));
        uint128 fromBound = amount < position.bound ? amount : position.bound;
        position.bound -= fromBound;
        position.thawing -= amount - fromBound;
        emit Slashed(id, position.terms.owner, amount);
        _seat(position);
        address asset = position.terms.asset;
        for (uint256 i = 0; i < destinations.length; ++i) {
            emit Rewarded(id, destinations[i].account, destinations[i].amount);
            _give(asset, destinations[i]);
        }
    }

    /// @inheritdoc IStakeVault
    function distribute(address account, address asset) external nonReentrant returns (uint256 amount) {
        amount = rewards[account][asset];
        rewards[account][asset] = 0;
        emit RewardPaid(account, asset, amount);
        IERC20(asset).safeTransfer(account, amount);
    }

    /// @inheritdoc IStakeVault
    function positionOf(bytes32 id) external view returns (Position memory) {
        return _positions[id];
    }

    /// @inheritdoc IStakeVault
    function boundOf(Terms calldata terms) external view returns (uint128) {
        return _positions[idOf(terms)].bound;
    }

    /// @inheritdoc IStakeVault
    /// @dev Who may be drawn was fixed before `cutoff`: neither new seats nor seats given up since then move a draw.
    function drawSeats(SeatDraw calldata draw) external view returns (address[] memory accounts) {
        Roll storage roll = _rolls[draw.roll];
        uint256 size = draw.cutoff == 0 ? 0 : roll.counts.upperLookup(draw.cutoff - 1);
        uint256[] memory places = Draw.places(draw.seed, size, 8 * draw.count + 32);
        accounts = new address[](draw.count);
        uint256 found = 0;
        for (uint256 i = 0; i < places.length && found < draw.count; ++i) {
            Seat memory seat = roll.seats[places[i]];
            bool sat = seat.since < draw.cutoff && (seat.until == 0 || seat.until >= draw.cutoff);
            if (sat && !_isBarred(seat.account, draw.barred)) accounts[found++] = seat.account;
        }
        // slither-disable-next-line assembly — the list is cut to what was found.
        assembly ("memory-safe") {
            mstore(accounts, found)
        }
    }

    /// @notice Whether an account may be drawn from a roll by seeds to come.
    function isSeated(bytes32 roll, address account) external view returns (bool) {
        return _rolls[roll].placeOf[account] != 0;
    }

    /// @inheritdoc IStakeVault
    function rollOf(address arbiter, bytes32 subject) public view returns (bytes32) {
        return keccak256(abi.encode(arbiter, address(currency), subject));
    }

    /// @notice The id of a position.
    function idOf(Terms calldata terms) public pure returns (bytes32) {
        return keccak256(abi.encode(terms));
    }

    function _arbitrated(bytes32 id) private view returns (Position storage position) {
        position = _positions[id];
        require(msg.sender == position.terms.arbiter, Stake_NotArbiter(id, msg.sender));
    }

    /// @dev One account has one seat, as long as what is bound reaches the size that held when the position last changed.
    function _seat(Position storage position) private {
        Terms storage terms = position.terms;
        bool validates = terms.subject == VALIDATOR;
        bool own = terms.asset == address(currency) && terms.keeper == terms.owner;
        if (!own || (!validates && terms.subject != PROVER)) return;
        bytes32 id = rollOf(terms.arbiter, terms.subject);
        Roll storage roll = _rolls[id];
        bool seated = roll.placeOf[terms.owner] != 0;
        bool reaches = position.bound >= parameters.get(validates ? Parameter.ValidatorSeat : Parameter.ProverSeat);
        if (reaches == seated) return;
        emit SeatSet(id, terms.owner, reaches);
        if (reaches) _take(roll, terms.owner);
        else _leave(roll, terms.owner);
    }

    function _take(Roll storage roll, address account) private {
        Seat memory seat = Seat(account, uint48(block.timestamp), 0);
        uint256 next = roll.freedNext;
        bool free = next < roll.freed.length && roll.seats[roll.freed[next]].until + LOOK_BACK < block.timestamp;
        if (free) {
            uint256 place = roll.freed[next];
            roll.freedNext = next + 1;
            roll.seats[place] = seat;
            roll.placeOf[account] = place + 1;
        } else {
            roll.seats.push(seat);
            uint256 count = roll.seats.length;
            roll.placeOf[account] = count;
            roll.counts.push(uint48(block.timestamp), uint208(count));
        }
    }

    function _leave(Roll storage roll, address account) private {
        uint256 place = roll.placeOf[account] - 1;
        roll.placeOf[account] = 0;
        roll.seats[place].until = uint48(block.timestamp);
        roll.freed.push(place);
    }

    function _isBarred(address account, address[] calldata barred) private pure returns (bool) {
        for (uint256 i = 0; i < barred.length; ++i) {
            if (barred[i] == account) return true;
        }
        return false;
    }

    function _give(address asset, Destination calldata part) private {
        if (part.account != address(0)) rewards[part.account][asset] += part.amount;
        else if (asset == address(currency)) currency.burn(part.amount);
        else rewards[treasury][asset] += part.amount;
    }
}
