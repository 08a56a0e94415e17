// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IParameters, Parameter} from "./interfaces/IParameters.sol";

/// @title Governed values with hard bounds
/// @notice Only the protocol's timelock sets a value, and nobody sets a bound.
contract Parameters is IParameters {
    struct Range {
        uint128 min;
        uint128 max;
    }

    uint64 internal constant EPOCH_SECONDS = 86_400;

    /// @notice The only account that may set a value.
    address public immutable timelock;
    /// @inheritdoc IParameters
    uint64 public immutable genesisTime;

    mapping(Parameter => uint256) private _values;
    mapping(Parameter => Range) private _ranges;

    /// @notice A parameter has a new value.
    event ParameterSet(Parameter indexed parameter, uint256 before, uint256 value);

    /// @dev The value is outside of the parameter's bounds.
    error Parameters_OutOfBounds(Parameter parameter, uint256 value, uint256 min, uint256 max);
    /// @dev Only the timelock may set.
    error Parameters_NotTimelock(address caller);
    /// @dev The time is before genesis.
    error Parameters_BeforeGenesis(uint256 time);

    constructor(address timelock_, uint64 genesisTime_) {
        timelock = timelock_;
        genesisTime = genesisTime_;
        _start(Parameter.OwnershipWindow, 7 days, 1 days, 30 days);
        _start(Parameter.SupersededGrace, 14 days, 1 days, 90 days);
        _start(Parameter.ReportDue, 6 hours, 1 hours, 24 hours);
        _start(Parameter.LateBpsPerHour, 100, 0, 200);
        _start(Parameter.LateHoursMax, 24, 1, 48);
        _start(Parameter.BondFactor, 36, 4, 400);
        _start(Parameter.DuesAfter, 7 days, 1 days, 30 days);
        // Longer than report, answer, vote and appeal together (6 h + 48 h + 48 h + 3 d).
        _start(Parameter.Thaw, 14 days, 8 days, 60 days);
        _start(Parameter.ProtocolFeeBps, 250, 0, 1_000);
        _start(Parameter.RoyaltyBps, 1_000, 0, 2_000);
        _start(Parameter.OnboardingBond, 1_000e18, 1e18, 1_000_000e18);
        _start(Parameter.VersionMintBps, 500, 0, 500);
        _start(Parameter.ValidatorSeat, 10_000e18, 1e18, 10_000_000e18);
        _start(Parameter.ProverSeat, 2_000e18, 1e18, 10_000_000e18);
        _start(Parameter.ReceiptClaimBond, 10e18, 1e18, 10_000e18);
        _start(Parameter.UseClaimBond, 100e18, 10e18, 100_000e18);
        _start(Parameter.OwnershipClaimBond, 1_000e18, 100e18, 1_000_000e18);
        _start(Parameter.ReceiptAnswer, 24 hours, 12 hours, 48 hours);
        _start(Parameter.UseAnswer, 48 hours, 36 hours, 72 hours);
        _start(Parameter.BallotCommit, 24 hours, 12 hours, 36 hours);
        _start(Parameter.BallotReveal, 24 hours, 12 hours, 36 hours);
        _start(Parameter.AppealWindow, 3 days, 1 days, 4 days);
        _start(Parameter.JurySeats, 5, 3, 11);
        _start(Parameter.AppealSeats, 11, 5, 23);
    }

    /// @notice Sets a parameter.
    function set(Parameter parameter, uint256 value) external {
        require(msg.sender == timelock, Parameters_NotTimelock(msg.sender));
        Range memory range = _ranges[parameter];
        require(
            value >= range.min && value <= range.max, Parameters_OutOfBounds(parameter, value, range.min, range.max)
        );
        emit ParameterSet(parameter, _values[parameter], value);
        _values[parameter] = value;
    }

    /// @inheritdoc IParameters
    function get(Parameter parameter) external view returns (uint256) {
        return _values[parameter];
    }

    /// @notice The bounds of a parameter, both allowed.
    function bounds(Parameter parameter) external view returns (uint256 min, uint256 max) {
        Range memory range = _ranges[parameter];
        return (range.min, range.max);
    }

    /// @inheritdoc IParameters
    function epochAt(uint256 time) external view returns (uint32) {
        require(time >= genesisTime, Parameters_BeforeGenesis(time));
        return uint32((time - genesisTime) / EPOCH_SECONDS);
    }

    /// @inheritdoc IParameters
    function epochStart(uint32 epoch) external view returns (uint64) {
        return genesisTime + uint64(epoch) * EPOCH_SECONDS;
    }

    function _start(Parameter parameter, uint256 value, uint128 min, uint128 max) private {
        _values[parameter] = value;
        _ranges[parameter] = Range(min, max);
        emit ParameterSet(parameter, 0, value);
    }
}
