// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IBeacon} from "./interfaces/IBeacon.sol";
import {IParameters, Parameter} from "./interfaces/IParameters.sol";
import {IStakeVault, Terms} from "./interfaces/IStakeVault.sol";

/// @title One random seed for each epoch
/// @notice Validators commit in the first half of the epoch before, reveal in the second; whoever comes first afterwards closes
/// it with the block's `prevrandao`. A seed without any reveal is marked weak: the block's proposer alone made it.
contract Beacon is IBeacon {
    /// @notice What is known about the seed of an epoch.
    struct Draw {
        bytes32 mix;
        bytes32 seed;
        uint32 commits;
        uint32 reveals;
        bool weak;
    }

    /// @notice Reveals begin this long before the epoch.
    uint64 public constant REVEAL_SECONDS = 12 hours;

    /// @notice Governed values and the count of epochs.
    IParameters public immutable parameters;
    /// @notice Where validators' stake is.
    IStakeVault public immutable vault;
    /// @notice The arbiter of validators' stake, which slashes for missed reveals.
    address public immutable court;
    /// @notice LOYAL.
    address public immutable currency;

    mapping(uint32 epoch => Draw) private _draws;

    /// @notice What a validator committed to for an epoch; zero where it did not, or has revealed.
    mapping(uint32 epoch => mapping(address validator => bytes32)) public commitOf;

    /// @notice A validator committed.
    event Committed(uint32 indexed epoch, address indexed validator);
    /// @notice A validator revealed.
    event Revealed(uint32 indexed epoch, address indexed validator, bytes32 secret);
    /// @notice The seed of an epoch is fixed.
    event Seeded(uint32 indexed epoch, bytes32 seed, bool weak);

    /// @dev It is not the time for this step of this epoch.
    error Beacon_NotReady(uint32 epoch);
    /// @dev The step was taken already.
    error Beacon_Repeated(uint32 epoch);
    /// @dev The account has no validator's seat.
    error Beacon_NotValidator(address account);
    /// @dev The secret is not the one committed to.
    error Beacon_BadReveal(uint32 epoch);

    constructor(IParameters parameters_, IStakeVault vault_, address court_, address currency_) {
        parameters = parameters_;
        vault = vault_;
        court = court_;
        currency = currency_;
    }

    /// @notice Commits to `keccak256(abi.encode(secret, validator))` for a coming epoch.
    function commit(uint32 epoch, bytes32 commitment) external {
        uint64 start = parameters.epochStart(epoch);
        bool early = block.timestamp + 1 days < start;
        require(!early && block.timestamp + REVEAL_SECONDS < start, Beacon_NotReady(epoch));
        Terms memory terms = Terms(court, msg.sender, msg.sender, currency, bytes32("validator"));
        require(vault.boundOf(terms) >= parameters.get(Parameter.ValidatorSeat), Beacon_NotValidator(msg.sender));
        require(commitOf[epoch][msg.sender] == 0 && commitment != 0, Beacon_Repeated(epoch));
        commitOf[epoch][msg.sender] = commitment;
        _draws[epoch].commits += 1;
        emit Committed(epoch, msg.sender);
    }

    /// @notice Reveals what was committed. Who does not is left with an open commit, for the court to see.
    function reveal(uint32 epoch, bytes32 secret) external {
        uint64 start = parameters.epochStart(epoch);
        bool open = block.timestamp + REVEAL_SECONDS >= start && block.timestamp < start;
        require(open, Beacon_NotReady(epoch));
        bytes32 commitment = keccak256(abi.encode(secret, msg.sender));
        require(commitOf[epoch][msg.sender] == commitment, Beacon_BadReveal(epoch));
        commitOf[epoch][msg.sender] = 0;
        Draw storage draw = _draws[epoch];
        draw.mix ^= keccak256(abi.encode(secret));
        draw.reveals += 1;
        emit Revealed(epoch, msg.sender, secret);
    }

    /// @notice Fixes the seed of an epoch that has begun; anybody may, the first call counts.
    function close(uint32 epoch) external returns (bytes32) {
        require(block.timestamp >= parameters.epochStart(epoch), Beacon_NotReady(epoch));
        Draw storage draw = _draws[epoch];
        require(draw.seed == 0, Beacon_Repeated(epoch));
        draw.weak = draw.reveals == 0;
        draw.seed = keccak256(abi.encode("loyal/beacon/1", epoch, draw.mix, block.prevrandao));
        emit Seeded(epoch, draw.seed, draw.weak);
        return draw.seed;
    }

    /// @inheritdoc IBeacon
    function seed(uint32 epoch) external view returns (bytes32 value) {
        value = _draws[epoch].seed;
        require(value != 0, Beacon_NotReady(epoch));
    }

    /// @notice What is known about the seed of an epoch.
    function drawOf(uint32 epoch) external view returns (Draw memory) {
        return _draws[epoch];
    }
}
